//! Failing starts: the reference's messages on stdout, the whole log on stderr, exit status 1.

use crate::live::Finished;
use crate::live::{Kind, Lab, reference, run, scenario};
use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::time::Duration;

fn agent(kind: Kind, args: &[&str]) -> Finished {
    let mut command = Command::new(kind.program());
    command.args(["agent", "-node=n1"]).args(args);
    run(&mut command, Duration::from_secs(30)).expect("an end")
}

/// Returns the lines to compare: all but those with the address of a node on a free port.
fn comparable(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("addr:"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn start_errors_go_to_stdout_and_the_log_to_stderr() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = tcp.local_addr().unwrap().to_string();
    let closed = {
        let listener = TcpListener::bind("127.0.0.77:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    // A port of which only the UDP half is in use.
    let (udp, half) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = udp.local_addr().unwrap();
        if TcpListener::bind(address).is_ok() {
            break (udp, address.to_string());
        }
    };
    let free = ["-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"];
    let big_tag = format!("-tag=k={}", "x".repeat(512));
    let cases: &[(&[&str], bool)] = &[
        (&["-bind", &busy], true),
        (&["-bind", &half], true),
        (&[free[0], "-rpc-addr", &busy], true),
        (&[free[0], "-rpc-addr=127.0.0.1"], true),
        (&[free[0], free[1], "-protocol=6"], true),
        (&[free[0], free[1], "-protocol=1"], true),
        (&[free[0], free[1], "-encrypt=YWJj"], true),
        (&[free[0], free[1], &big_tag], true),
        (&[free[0], free[1], "-join", &closed], true),
        (&[free[0], free[1], "-join", &closed, "-join=/x"], true),
        // These fail before there is anything to log.
        (&["-tag=foo"], false),
        (&["-profile=LAN"], false),
        (&["-log-level=FOO"], false),
        (&["-bind=127.0.0.1:99999"], false),
        (&["-encrypt=!abc"], false),
    ];
    for (args, logged) in cases {
        let ours = agent(Kind::Cottar, args);
        assert_eq!(ours.code, 1, "{args:?}: {ours:?}");
        let error = ours.stdout.lines().find(|line| line.starts_with("==> "));
        assert!(error.is_some(), "{args:?}: {ours:?}");
        assert!(!ours.stdout.contains("[INFO]"), "{args:?}: {ours:?}");
        let starting = ours.stderr.contains("[INFO] agent: Serf agent starting");
        assert_eq!(starting, *logged, "{args:?}: {ours:?}");
        // The error itself is on stderr as well, for those who read only stderr.
        let last = ours
            .stdout
            .lines()
            .rev()
            .find(|line| line.starts_with("==> "));
        let reason = last
            .unwrap()
            .trim_start_matches("==> ")
            .trim_start_matches("Error: ");
        assert!(ours.stderr.contains(reason), "{args:?}: {ours:?}");
        if reference().is_some() {
            let theirs = agent(Kind::Serf, args);
            assert_eq!(theirs.code, 1, "{args:?}: {theirs:?}");
            // Cottar prints the port, too, as later releases of the reference do.
            let with_port = format!("Failed to join {closed}:");
            let ours = ours
                .stdout
                .replace(&with_port, "Failed to join 127.0.0.77:");
            assert_eq!(comparable(&ours), comparable(&theirs.stdout), "{args:?}");
        }
    }
    drop((tcp, udp));
}

#[test]
fn a_second_agent_on_the_port_ends_and_the_first_goes_on() {
    scenario("same port", &["CC", "SC", "CS"], |lab: &Lab| {
        let first = lab.start(lab.spec(0));
        let second = lab.launch(
            lab.spec(1)
                .addresses(first.gossip, ([127, 0, 0, 1], 0).into()),
        );
        assert_eq!(second.await_exit(10.0).code(), Some(1));
        assert!(
            second.log().contains("bind: address already in use"),
            "{}",
            second.log()
        );
        let third = lab.launch(lab.spec(1).addresses(([127, 0, 0, 1], 0).into(), first.rpc));
        assert_eq!(third.await_exit(10.0).code(), Some(1));
        let refused = format!(
            "==> Error starting RPC listener: listen tcp {}: bind: address already in use",
            first.rpc
        );
        assert!(third.log().contains(&refused), "{}", third.log());
        assert_eq!(first.members().unwrap().len(), 1);
    });
}
