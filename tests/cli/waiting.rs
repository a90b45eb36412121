//! `wait`, on the reference's agent and on ours.

use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;

use crate::live::{Kind, Spec, free, lacks_reference};
use crate::mock::{header, listen};
use crate::run::{cottar, finish, run};
use crate::samples::start;

/// Starts `wait` with the agent at this address.
fn begin(rpc: std::net::SocketAddr, line: &[&str]) -> Child {
    let mut command = cottar(&["wait", "-timeout=50s"]);
    command.args(line).env("SERF_RPC_ADDR", rpc.to_string());
    command.spawn().unwrap()
}

#[track_caller]
fn ends(child: Child, status: i32, stdout: &str, stderr: &str) {
    let got = finish(child);
    assert_eq!(
        (got.text().as_str(), got.stderr.as_str(), got.status),
        (stdout, stderr, Some(status))
    );
}

fn stories(kind: Kind) {
    let (gossip, rpc) = (free(), free());
    let spec = Spec::bare(kind).name("a").addresses(gossip, rpc);
    let spec = spec.args(["-profile=local"]);
    // Before the agent starts, and across its restart.
    let early = begin(rpc, &["-retry", "-name=a", "-fields=name,status"]);
    let late = begin(rpc, &["-retry", "-tag=role=db", "-fields=name,tag:role"]);
    let a = spec.clone().start();
    ends(early, 0, "a\talive\n", "");
    let hopeful = begin(rpc, &["-retry", "-count=2"]);
    let strict = begin(rpc, &["b"]);
    let got = a.run(&["wait", "-timeout=1s", "-count=2"]);
    let words = "Timed out: 1 of 2 members match\n";
    assert_eq!((got.stderr.as_str(), got.status), (words, Some(2)));
    a.crash();
    let got = finish(strict);
    assert_eq!((got.text().as_str(), got.status), ("", Some(1)));
    assert!(got.stderr.starts_with("Error "), "{}", got.stderr);
    let a = spec.start();
    let join = format!("-join={}", a.gossip);
    let flags = ["-profile=local", "-tag=role=db", &join];
    let b = start(kind, "b", &flags);
    ends(late, 0, "b\tdb\n", "");
    ends(hopeful, 0, "", "");

    // After a change of tags, after a failure, and after the member's return.
    let tagged = begin(rpc, &["-tag=ready=y.s", "b"]);
    b.says(
        &["tags", "-set=ready=yes"],
        0,
        "Successfully updated agent tags\n",
    );
    ends(tagged, 0, "", "");
    let failed = begin(rpc, &["-status=failed", "b"]);
    b.crash();
    ends(failed, 0, "", "");
    let healed = begin(rpc, &["-status=failed", "-count=0"]);
    a.says(&["force-leave", "b"], 0, "");
    ends(healed, 0, "", "");
    a.says(&["wait", "-status=left", "-count=1", "b", "a"], 0, "");
}

#[test]
fn waiting_at_the_references_agent() {
    if !lacks_reference("waiting at the reference's agent") {
        stories(Kind::Serf);
    }
}

#[test]
fn waiting_at_our_agent() {
    stories(Kind::Cottar);
}

#[test]
fn wait_names_missing_members_at_its_timeout() {
    let agent = start(Kind::Cottar, "n", &[]);
    for (line, why) in [
        (&["-count=3"][..], "Timed out: 1 of 3 members match\n"),
        (&["m"], "Timed out: 0 of 1 member matches\n"),
        (&["n", "m"], "Timed out: 1 of 2 members match\n"),
        (&["-count=0"], "Timed out: 1 member still matches\n"),
    ] {
        let line = [&["wait", "-timeout=1s"], line].concat();
        let got = agent.run(&line);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            ("", why, Some(2)),
            "{line:?}"
        );
    }
    for (line, why) in [
        (
            &["-count=3", "n", "m"][..],
            "-count must be between 0 and 2, the names given\n",
        ),
        (&["-count=-1"], "-count must not be negative\n"),
        (&["-tag=x"], "Error: Invalid tag: 'x'\n"),
        (
            &["-rpc-auth=x"],
            "Error connecting to Serf agent: Invalid authentication token\n",
        ),
    ] {
        let line = [&["wait", "-retry", "-timeout=50s"], line].concat();
        let got = agent.run(&line);
        assert_eq!(
            (got.text().as_str(), got.stderr.as_str(), got.status),
            ("", why, Some(1)),
            "{line:?}"
        );
    }
}

#[test]
fn wait_times_out_if_the_agent_does_not_answer() {
    let silent = listen(|mut client| while client.value().is_some() {});
    let address = format!("-rpc-addr={silent}");
    for retry in ["-retry=false", "-retry"] {
        let got = run(&["wait", &address, retry, "-timeout=300ms"]);
        assert_eq!(got.stderr, "Timed out: no agent has answered\n");
        assert_eq!((got.text().as_str(), got.status), ("", Some(2)));
    }
    // Without an agent; an invalid address is not retried.
    let got = run(&["wait", "-rpc-addr=127.0.0.1:1", "-retry", "-timeout=300ms"]);
    let why = "Timed out: Error connecting to Serf agent: dial tcp 127.0.0.1:1: connect: connection refused\n";
    assert_eq!((got.stderr.as_str(), got.status), (why, Some(2)));
    let got = run(&["wait", "-rpc-addr=127.0.0.1", "-retry"]);
    let why =
        "Error connecting to Serf agent: dial tcp: address 127.0.0.1: missing port in address\n";
    assert_eq!((got.stderr.as_str(), got.status), (why, Some(1)));
    // The reference's agents close the connection after an invalid expression.
    let moody = listen(|mut client| {
        client.greet();
        client.value();
        client.value();
        client.send(&header(2));
        client.value();
    });
    let got = run(&["wait", &format!("-rpc-addr={moody}"), "-retry", "-name=("]);
    let why = "Error retrieving members: client closed\n";
    assert_eq!((got.stderr.as_str(), got.status), (why, Some(1)));
}

#[test]
fn wait_requests_events_first_and_lists_seldom() {
    let (asked, requests) = mpsc::channel();
    let address = listen(move |mut client| {
        client.greet();
        let mut seq = 2;
        while let Some(request) = client.value() {
            let is = |name: &[u8]| request.windows(name.len()).any(|window| window == name);
            let _ = asked.send(is(b"members-filtered"));
            client.value();
            client.send(&header(seq));
            if is(b"members-filtered") {
                client.send(b"\x81\xa7Members\x90");
            }
            seq += 1;
        }
    });
    let got = run(&["wait", &format!("-rpc-addr={address}"), "-timeout=2s"]);
    assert_eq!(got.status, Some(2));
    let asked: Vec<_> = std::iter::from_fn(|| requests.recv_timeout(Duration::ZERO).ok()).collect();
    assert!(
        !asked[0] && asked[1..].iter().all(|list| *list),
        "{asked:?}"
    );
    // At once, and after 1/4, 3/4 and 7/4 seconds.
    assert!((2..=5).contains(&asked.len()), "{asked:?}");
}
