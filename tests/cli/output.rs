//! The output for unusual replies, and for servers that are not agents.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cottar::serf::{Member, MemberStatus, Tags};
use cottar::wire::msgpack::{Dialect, Writer};
use cottar::wire::{NodeName, VersionVector};

use crate::mock::{header, listen, record};
use crate::run::{Finished, cottar, finish, run};

fn ask(address: SocketAddr, command: &str, arguments: &[&str]) -> Finished {
    let address = format!("-rpc-addr={address}");
    let mut line = vec![command, &address];
    line.extend(arguments);
    run(&line)
}

fn member(name: &str, addr: &str, tags: &[(&[u8], &[u8])]) -> Member {
    let all = Tags::from_pairs(tags);
    Member::new(
        NodeName::new(name.as_bytes()).unwrap(),
        addr.parse().unwrap(),
        &all,
        MemberStatus::Alive,
        VersionVector::serf(5),
    )
}

/// An agent that knows these members.
fn cluster(members: Vec<Member>) -> SocketAddr {
    listen(move |mut client| {
        client.greet();
        client.value();
        client.value();
        let mut writer = Writer::appending(Dialect::Rpc, header(2));
        let members: Vec<_> = members.iter().collect();
        cottar::rpc::reply::write_members(&mut writer, &members);
        client.send(&writer.into_bytes());
    })
}

#[test]
fn members_are_a_table() {
    let address = cluster(vec![
        member("n3", "127.0.0.1:28003", &[]),
        member(
            "node-with-long-name",
            "127.0.0.1:28002",
            &[(b"role", b"db")],
        ),
        member("n1", "[::1]:28001", &[(b"role", b"web"), (b"dc", b"east")]),
    ]);
    let got = ask(address, "members", &[]);
    assert_eq!(
        got.text(),
        "n1                   [::1]:28001      alive  dc=east,role=web\n\
         n3                   127.0.0.1:28003  alive  \n\
         node-with-long-name  127.0.0.1:28002  alive  role=db\n"
    );
    let got = ask(address, "members", &["-detailed"]);
    assert!(got.text().ends_with(
        "alive  role=db           Protocol Version: 5  Available Protocol Range: [2, 5]\n"
    ));
}

#[test]
fn names_and_tags_cannot_break_the_table() {
    let address = cluster(vec![
        member("a|b", "127.0.0.1:1", &[(b"x|", b"|y")]),
        member("a\tb", "127.0.0.1:2", &[(b"k", b"1\n2\x1b[31m\xff")]),
        member("kn\u{f6}tchen", "127.0.0.1:3", &[]),
    ]);
    let got = ask(address, "members", &[]);
    assert_eq!(
        got.text(),
        "a\\tb      127.0.0.1:2  alive  k=1\\n2\\u{1b}[31m\\xff\n\
         a|b       127.0.0.1:1  alive  x|=|y\n\
         kn\u{f6}tchen  127.0.0.1:3  alive\n"
    );
    let got = ask(address, "members", &["-format=json"]);
    let json: serde_json::Value = serde_json::from_slice(&got.stdout).unwrap();
    assert_eq!(json["members"][0]["name"], "a\tb");
    assert_eq!(json["members"][0]["tags"]["k"], "1\n2\u{1b}[31m\u{fffd}");
}

#[test]
fn the_deprecation_goes_to_stderr() {
    let address = cluster(vec![]);
    let got = ask(address, "members", &["-role=web", "-format=json"]);
    assert_eq!(got.text(), "{\n  \"members\": null\n}\n");
    assert_eq!(
        got.stderr,
        "Deprecation warning: 'Role' has been replaced with 'Tags'\n"
    );
    assert_eq!(got.status, Some(0));
}

/// Starts an agent that answers a query with these bytes and closes the connection.
fn answering(bytes: Vec<u8>) -> SocketAddr {
    listen(move |mut client| {
        client.greet();
        client.value();
        client.value();
        client.send(&header(2));
        client.send(&bytes);
    })
}

#[test]
fn answers_are_printed_without_one_trailing_newline() {
    let address = answering(
        [
            record("ack", b"n2", None),
            record("response", b"n2", Some(b"a\n\n")),
            record("response", b"n1", Some(b"\xff\x00b")),
            record("response", b"n3", None),
            record("ack", b"n1", None),
            record("done", b"", None),
        ]
        .concat(),
    );
    let got = ask(address, "query", &["load"]);
    let expected: &[u8] = b"Query 'load' dispatched\nAck from 'n2'\nResponse from 'n2': a\n\n\
        Response from 'n1': \xff\x00b\nResponse from 'n3': \nAck from 'n1'\n\
        Total Acks: 2\nTotal Responses: 3\n";
    assert_eq!((got.status, &*got.stdout), (Some(0), expected));
    let got = ask(address, "query", &["-format=json", "load"]);
    assert_eq!(
        got.text(),
        "{\n  \"Acks\": [\n    \"n1\",\n    \"n2\"\n  ],\n  \"Responses\": {\n    \
         \"n1\": \"\\ufffd\\u0000b\",\n    \"n2\": \"a\\n\\n\",\n    \"n3\": \"\"\n  }\n}\n"
    );
}

#[test]
fn records_without_a_sender_end_a_query() {
    let ack = record("ack", b"n1", None);
    let address =
        answering([ack, record("ack", b"", None), record("response", b"", None)].concat());
    let got = ask(address, "query", &["load"]);
    assert_eq!(got.status, Some(0));
    assert!(got.text().ends_with("Total Acks: 1\nTotal Responses: 0\n"));
}

#[test]
fn a_query_cut_short_shows_what_came_and_fails() {
    let address = answering(record("ack", b"n1", None));
    let got = ask(address, "query", &["load"]);
    assert_eq!(got.status, Some(1));
    assert_eq!(
        got.text(),
        "Query 'load' dispatched\nAck from 'n1'\nTotal Acks: 1\nTotal Responses: 0\n\
         Error receiving answers: client closed\n"
    );
}

#[test]
fn an_interrupted_query_prints_no_totals_and_fails() {
    let (started, wait) = std::sync::mpsc::channel();
    let address = listen(move |mut client| {
        client.greet();
        client.value();
        client.value();
        client.send(&header(2));
        client.send(&record("ack", b"n1", None));
        started.send(()).unwrap();
        client.value();
    });
    let address = format!("-rpc-addr={address}");
    for (format, printed) in [("text", true), ("json", false)] {
        let line = ["query", &address, "-format", format, "load"];
        let mut child = cottar(&line).spawn().unwrap();
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
        if printed {
            // The ack must be printed before the signal arrives.
            let stdout = child.stdout.as_mut().unwrap();
            let mut lines = [0; b"Query 'load' dispatched\nAck from 'n1'\n".len()];
            std::io::Read::read_exact(stdout, &mut lines).unwrap();
            assert!(lines.ends_with(b"Ack from 'n1'\n"));
        }
        let kill = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let got = finish(child);
        assert_eq!((got.status, got.text().as_str()), (Some(1), ""), "{format}");
    }
}

#[test]
fn a_server_that_hangs_up_is_reported_as_no_agent() {
    let address = listen(drop);
    let got = ask(address, "info", &[]);
    let expected = "Error connecting to Serf agent: client closed\n";
    assert_eq!((got.status, got.text().as_str()), (Some(1), expected));
}

#[test]
fn a_server_of_another_protocol_is_reported_as_no_agent() {
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\xc1",
        b"\x82\xa5Error\xa0\xa3Seq\x07",
        b"\x82\xa5Error\x07\xa3Seq\x01",
    ] {
        let address = listen(move |mut client| {
            client.send(bytes);
            client.value();
        });
        let got = ask(address, "info", &[]);
        assert_eq!(got.status, Some(1));
        let text = got.text();
        assert!(text.starts_with("Error connecting to Serf agent: the reply is not RPC ("));
    }
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    let start = Instant::now();
    let address = listen(|mut client| while client.value().is_some() {});
    let got = ask(address, "info", &[]);
    assert_eq!(got.status, Some(1));
    assert!(
        got.text()
            .starts_with("Error connecting to Serf agent: no answer within 10 s")
    );
    assert!(start.elapsed() >= Duration::from_secs(10));
}

#[test]
fn a_member_list_cut_short_is_an_error() {
    let address = listen(|mut client| {
        client.greet();
        client.value();
        client.value();
        client.send(&header(2));
        client.send(b"\x81\xa7Members\x92\xc0");
    });
    let got = ask(address, "members", &[]);
    let expected = "Error retrieving members: client closed\n";
    assert_eq!((got.status, got.text().as_str()), (Some(1), expected));
}
