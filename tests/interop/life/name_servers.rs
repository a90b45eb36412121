//! Host names, resolved by name servers that answer badly or not at all.

use crate::live::Finished;
use crate::live::namespace::{own_network, replace_file, system};
use crate::live::{Agent, Kind, Lab, Process, eventually, patience, run};
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::Instant;

/// The answer for one address family of a name.
#[derive(Clone, Copy)]
enum Answer {
    Address(&'static [u8]),
    Code(u8),
    Nothing,
}

const A: u8 = 1;
const LOOPBACK: Answer = Answer::Address(&[127, 0, 0, 1]);
const LOOPBACK_V6: Answer = Answer::Address(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The name server's records: first label, IPv4, IPv6.
const NAMES: [(&str, Answer, Answer); 9] = [
    ("nodata", LOOPBACK, Answer::Code(0)),
    ("servfail", LOOPBACK, Answer::Code(2)),
    ("nxdomain", LOOPBACK, Answer::Code(3)),
    ("notimp", LOOPBACK, Answer::Code(4)),
    ("refused", LOOPBACK, Answer::Code(5)),
    ("silent", LOOPBACK, Answer::Nothing),
    ("v6", Answer::Code(2), LOOPBACK_V6),
    ("broken", Answer::Code(2), Answer::Code(2)),
    ("lost", Answer::Nothing, Answer::Nothing),
];

fn answer_to(name: &str, kind: u8) -> Answer {
    // Queries for "lost1" and so on are dropped as well.
    let name = name.trim_end_matches(|last: char| last.is_ascii_digit() && !name.starts_with('v'));
    let known = NAMES.iter().find(|(known, ..)| *known == name);
    match known {
        None => Answer::Code(3),
        Some((_, v4, _)) if kind == A => *v4,
        Some((.., v6)) => *v6,
    }
}

/// Runs a name server at 127.0.0.1 as long as the test's process.
fn serve_names(lab: &Lab) {
    let resolv = "nameserver 127.0.0.1\noptions timeout:2 attempts:1\n";
    replace_file(lab.path(), "/etc/resolv.conf", resolv);
    let socket = UdpSocket::bind("127.0.0.1:53").expect("the port of a name server");
    std::thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut bytes) {
            if let Some(reply) = reply_to(&bytes[..len]) {
                let _ = socket.send_to(&reply, from);
            }
        }
    });
}

fn reply_to(query: &[u8]) -> Option<Vec<u8>> {
    let first = query.get(13..13 + usize::from(*query.get(12)?))?;
    let end = 12 + query.get(12..)?.iter().position(|&byte| byte == 0)? + 5;
    let answer = answer_to(std::str::from_utf8(first).ok()?, query[end - 3]);
    let (code, data) = match answer {
        Answer::Address(data) => (0, Some(data)),
        Answer::Code(code) => (code, None),
        Answer::Nothing => return None,
    };
    let count = u8::from(data.is_some());
    let mut reply = query[..2].to_vec();
    reply.extend([0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    reply.extend(&query[12..end]);
    if let Some(data) = data {
        reply.extend([0xc0, 12, 0, query[end - 3], 0, 1, 0, 0, 0, 60]);
        reply.extend((data.len() as u16).to_be_bytes());
        reply.extend(data);
    }
    Some(reply)
}

/// Starts a node at the default port of the loopback address.
fn start_at_loopback(lab: &Lab, index: usize) -> Agent {
    let mut addresses = [0; 2].map(|_| {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.local_addr().unwrap()
    });
    addresses.sort();
    lab.start(lab.spec(index).addresses(addresses[0], addresses[1]))
}

fn ask(node: &Agent, args: &[&str]) -> Finished {
    run(&mut node.command(Kind::Cottar, args), patience(60.0)).expect("a command that ends")
}

/// Waits for a line in the list of members that contains `text`.
fn await_line(node: &Agent, text: &str) {
    eventually(10.0, "a member", || {
        let members = ask(node, &["members"]).stdout;
        let is_there = members.contains(text) && members.contains("n1 ");
        if is_there { Ok(()) } else { Err(members) }
    });
}

#[test]
fn addresses_of_one_family_are_enough() {
    own_network(
        "life::name_servers::addresses_of_one_family_are_enough",
        || {
            let lab = Lab::new("one family", "CC");
            serve_names(&lab);
            let first = start_at_loopback(&lab, 0);
            let second = start_at_loopback(&lab, 1);
            let port = first.gossip.port();
            for name in [
                "nodata", "servfail", "nxdomain", "notimp", "refused", "silent",
            ] {
                let asked = Instant::now();
                let target = format!("{name}.example:{port}");
                let joined = ask(&second, &["join", &target]);
                assert_eq!(joined.code, 0, "{joined:?}");
                println!("{name}: joined in {:.1?}", asked.elapsed());
                let rpc = format!("-rpc-addr={name}.example:{}", second.rpc.port());
                let command = &mut Command::new(Kind::Cottar.program());
                let members = run(command.args(["members", &rpc]), patience(20.0)).unwrap();
                assert_eq!(members.code, 0, "{members:?}");
            }
            await_line(&second, "n1 ");
            // IPv6 only, while the query for IPv4 addresses fails. Nothing listens there.
            let failed = ask(&second, &["join", &format!("v6.example:{port}")]);
            assert!(failed.stdout.contains("dial tcp [::1]"), "{failed:?}");
            // Names in `-bind` are resolved during the start.
            for flag in ["-bind=servfail.example:0", "-bind=nxdomain.example:0"] {
                let node = lab.launch(lab.spec(0).name("bound").args([flag]));
                node.await_log("Serf agent running", 20.0);
            }
        },
    );
}

#[test]
fn name_errors_of_agent_and_commands_are_the_same() {
    own_network(
        "life::name_servers::name_errors_of_agent_and_commands_are_the_same",
        || {
            let lab = Lab::new("words", "C");
            serve_names(&lab);
            let node = start_at_loopback(&lab, 0);
            for (name, words) in [
                (
                    "broken.example",
                    "lookup broken.example: server misbehaving",
                ),
                ("unknown.example", "lookup unknown.example: no such host"),
            ] {
                let target = format!("{name}:1");
                let joined = ask(&node, &["join", &target]);
                assert_eq!(joined.code, 1);
                assert!(joined.stdout.contains(words), "{joined:?}");
                let rpc = format!("-rpc-addr={target}");
                let command = &mut Command::new(Kind::Cottar.program());
                let members = run(command.args(["members", &rpc]), patience(20.0)).unwrap();
                assert_eq!(members.code, 1);
                assert!(members.stdout.contains(words), "{members:?}");
            }
        },
    );
}

#[test]
fn a_good_name_is_used_beside_unresolvable_ones() {
    own_network(
        "life::name_servers::a_good_name_is_used_beside_unresolvable_ones",
        || {
            let lab = Lab::new("lost names", "CC");
            serve_names(&lab);
            let first = start_at_loopback(&lab, 0);
            let second = start_at_loopback(&lab, 1);
            let mut targets: Vec<String> = (1..9).map(|n| format!("lost{n}.example:1")).collect();
            targets.push(format!("nodata.example:{}", first.gossip.port()));
            let mut args = vec!["join"];
            args.extend(targets.iter().map(String::as_str));
            let asked = Instant::now();
            let mut command = second.command(Kind::Cottar, &args);
            let joining = Process::spawn(command.stdout(Stdio::null())).unwrap();
            // A target is joined as soon as its name is resolved; the reply follows when all names are.
            await_line(&second, "n1 ");
            assert!(joining.status().is_none(), "{:?}", asked.elapsed());
            // Each dropped name takes two seconds per address family.
            eventually(12.0, "the answer", || {
                let status = joining.status().ok_or_else(String::new)?;
                if status.success() {
                    Ok(())
                } else {
                    Err(status.to_string())
                }
            });
        },
    );
}

#[test]
fn names_are_looked_up_without_a_proc() {
    own_network(
        "life::name_servers::names_are_looked_up_without_a_proc",
        || {
            let lab = Lab::new("no proc", "CC");
            replace_file(
                lab.path(),
                "/etc/hosts",
                "127.0.0.1 localhost peer.example\n",
            );
            system("mount -t tmpfs none /proc");
            let first = start_at_loopback(&lab, 0);
            let snapshot = lab.path().join("snapshot");
            let keys = lab.path().join("tags");
            let second = lab.spec(1).args([
                "-retry-join".to_owned(),
                format!("peer.example:{}", first.gossip.port()),
                format!("-snapshot={}", snapshot.display()),
                format!("-tags-file={}", keys.display()),
            ]);
            let second = lab.start(second);
            second.await_log("Join completed. Synced with 1 initial agents", 20.0);
            let set = ask(&second, &["tags", "-set", "a=b"]);
            assert_eq!(set.code, 0, "{set:?}");
            await_line(&second, "a=b");
            let log = second.log();
            assert!(!log.contains("[WARN]") && !log.contains("[ERR]"), "{log}");
        },
    );
}
