//! Names: of hosts, looked up afresh for each attempt, and slowly; of nodes, lost to another.

use crate::harness::{Kind, Lab, Member, Node, await_members, eventually, scenario};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Whether mount and network namespaces can be made here.
fn may_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--mount", "--net", "true"])
        .output();
    let may = tried.is_ok_and(|output| output.status.success());
    if !may {
        let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
        assert!(!required, "COTTAR_INTEROP=require, but no namespaces");
        let _ = writeln!(std::io::stderr(), "SKIPPED: no right to make namespaces");
    }
    may
}

/// Runs what follows with a file of the lab in place of one of the system.
fn with_file(lab: &Lab, name: &str, target: &str, text: &str) -> (PathBuf, Vec<String>) {
    let file = lab.path().join(name);
    std::fs::write(&file, text).expect("a file");
    let script = format!("mount --bind '{}' {target} && exec \"$@\"", file.display());
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    (file, wrapper.map(str::to_owned).to_vec())
}

#[test]
fn retry_join_looks_names_up_afresh() {
    if !may_unshare() {
        return;
    }
    scenario("retry-join by name", &["SC", "CC"], |lab| {
        let first = lab.start(lab.spec(0));
        let local = "127.0.0.1 localhost\n";
        let (hosts, wrapper) = with_file(lab, "hosts", "/etc/hosts", local);
        let target = format!("cottar-test.invalid:{}", first.gossip.port());
        let second = lab.start(lab.spec(1).wrapper(wrapper).args([
            "-retry-join",
            &target,
            "-retry-interval=1s",
        ]));
        second.await_log("Failed to resolve cottar-test.invalid", 20.0);
        // Written in place: what is mounted is the file, not its name.
        let name = |ip: &str| std::fs::write(&hosts, format!("{local}{ip} cottar-test.invalid\n"));
        name("127.0.0.250").unwrap();
        second.await_log("Failed to join 127.0.0.250", 20.0);
        name(&first.gossip.ip().to_string()).unwrap();
        second.await_log("Join completed. Synced with 1 initial agents", 20.0);
        let both = [&first, &second];
        await_members(&both, &both.map(Member::of), 10.0);
        let tries = second.log().matches("Joining cluster...").count();
        eventually(1.0, "at least three attempts", || {
            if tries >= 3 {
                Ok(())
            } else {
                Err(second.log())
            }
        });
    });
}

#[test]
fn a_signal_ends_a_start_that_waits_for_a_name_server() {
    if !may_unshare() {
        return;
    }
    // A name server that never answers, on a network that ends nowhere.
    let lab = Lab::new("slow resolver", "C");
    let resolv = lab.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 10.78.0.2\n").unwrap();
    let script = format!(
        "ip link set lo up && ip link add void type veth peer name hole && ip address add 10.78.0.1/24 dev void && \
         ip link set void up && ip link set hole up && \
         ip neighbour add 10.78.0.2 lladdr 02:00:00:00:00:02 dev void && mount --bind '{}' /etc/resolv.conf && exec \"$@\"",
        resolv.display()
    );
    let wrapper = ["unshare", "--mount", "--net", "sh", "-c", &script, "sh"];
    for flag in [
        "-bind=slow.example.com:0",
        "-rpc-addr=slow.example.com:0",
        "-advertise=slow.example.com",
    ] {
        let spec = lab.spec(0).wrapper(wrapper);
        let spec = spec.addresses(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
        let mut node = Node::launch(lab.path(), spec.args([flag]));
        // It has asked, and waits for the answer.
        let waits = |id: u32| {
            let sockets =
                std::fs::read_to_string(format!("/proc/{id}/net/udp")).unwrap_or_default();
            sockets.contains("02004E0A:0035")
        };
        eventually(20.0, flag, || {
            if waits(node.id()) {
                Ok(())
            } else {
                Err(node.log())
            }
        });
        let asked = Instant::now();
        node.signal(libc::SIGINT);
        let status = node.await_exit(10.0);
        // The resolver itself would give up after ten seconds.
        assert!(asked.elapsed() < Duration::from_secs(6), "{}", node.log());
        println!("{flag}: {status} {:.1?} after the signal", asked.elapsed());
        assert!(!status.success(), "{}", node.log());
        assert!(!node.log().contains("Serf agent running"), "{}", node.log());
    }
}

#[test]
fn a_name_conflict_is_decided_by_the_others() {
    // Two voters of the reference; ours once the newcomer, once the owner.
    scenario("name conflict", &["SSSC", "SSCS"], |lab| {
        let voter = lab.start(lab.spec(0));
        let other = lab.start(lab.spec(1).join(&voter));
        let owner = lab.start(lab.spec(2).join(&voter));
        let all = [&voter, &other, &owner];
        await_members(&all, &all.map(Member::of), 15.0);
        let mut newcomer = lab.start(lab.spec(3).name("n3").join(&voter));
        assert_eq!(
            newcomer.await_exit(30.0).code(),
            Some(0),
            "{}",
            newcomer.log()
        );
        if newcomer.spec.kind == Kind::Cottar {
            assert!(
                newcomer
                    .log()
                    .contains("minority in name conflict resolution"),
                "{}",
                newcomer.log()
            );
            assert!(newcomer.log().contains("shutdown complete"));
        }
        await_members(&all, &all.map(Member::of), 20.0);
    });
}
