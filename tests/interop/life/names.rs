//! Names: host names, resolved again for each attempt, possibly slowly; and node names, lost in a conflict.

use crate::live::namespace::lacks_networks;
use crate::live::{Agent, Kind, Lab, Member, await_members, eventually, scenario};
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Returns a launcher that mounts a file of the lab over a file of the system.
fn with_file(lab: &Lab, name: &str, target: &str, text: &str) -> (PathBuf, Vec<String>) {
    let file = lab.path().join(name);
    std::fs::write(&file, text).expect("a file");
    let script = format!("mount --bind '{}' {target} && exec \"$@\"", file.display());
    let wrapper = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    (file, wrapper.map(str::to_owned).to_vec())
}

#[test]
fn retry_join_looks_names_up_afresh() {
    if lacks_networks("retry-join by name") {
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
        // Written in place, since the file is mounted, not its name.
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

/// Returns a flag for a file with these settings.
fn settings(lab: &Lab, settings: &serde_json::Value) -> String {
    let file = lab.path().join("settings.json");
    std::fs::write(&file, settings.to_string()).unwrap();
    format!("-config-file={}", file.display())
}

#[test]
fn telemetry_finds_names_that_come_up_later() {
    if lacks_networks("sink by name") {
        return;
    }
    let lab = Lab::new("sink by name", "C");
    let local = "127.0.0.1 localhost\n";
    let (hosts, wrapper) = with_file(&lab, "hosts", "/etc/hosts", local);
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    let statsite = TcpListener::bind("127.0.0.1:0").unwrap();
    let named = |port: u16| format!("cottar-test.invalid:{port}");
    let flag = settings(
        &lab,
        &serde_json::json!({
            "statsd_addr": named(statsd.local_addr().unwrap().port()),
            "statsite_addr": named(statsite.local_addr().unwrap().port()),
        }),
    );
    let node = lab.start(lab.spec(0).wrapper(wrapper).args([flag.as_str()]));
    for kind in ["statsd", "statsite"] {
        node.await_log(
            &format!("Cannot send metrics to {kind} at cottar-test"),
            20.0,
        );
    }
    std::fs::write(&hosts, format!("{local}127.0.0.1 cottar-test.invalid\n")).unwrap();
    for kind in ["statsd", "statsite"] {
        node.await_log(&format!("Sending metrics to {kind} at cottar-test"), 30.0);
    }
    statsd
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // Metrics from before the sink was reachable are kept.
    let join = "serf-agent.serf.member.join:1.000000|c\n";
    let mut bytes = [0; 9000];
    let len = statsd.recv(&mut bytes).expect("a datagram");
    assert!(String::from_utf8_lossy(&bytes[..len]).contains(join));
    let (mut stream, _) = statsite.accept().unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let len = stream.read(&mut bytes).expect("lines");
    assert!(String::from_utf8_lossy(&bytes[..len]).contains(join));
    let told = node.log().matches("Cannot send metrics").count();
    assert_eq!(told, 2, "{}", node.log());
}

/// Returns a launcher with a name server that never answers, on a network without peers.
fn with_a_dead_name_server(lab: &Lab) -> [String; 7] {
    let resolv = lab.path().join("resolv.conf");
    std::fs::write(&resolv, "nameserver 10.78.0.2\n").unwrap();
    let script = format!(
        "ip link set lo up && ip link add void type veth peer name hole && ip address add 10.78.0.1/24 dev void && \
         ip link set void up && ip link set hole up && \
         ip neighbour add 10.78.0.2 lladdr 02:00:00:00:00:02 dev void && mount --bind '{}' /etc/resolv.conf && exec \"$@\"",
        resolv.display()
    );
    let wrapper = ["unshare", "--mount", "--net", "sh", "-c", &script, "sh"];
    wrapper.map(str::to_owned)
}

/// Waits until a process in its own network has queried the dead name server.
fn await_question(node: &Agent, what: &str) {
    eventually(20.0, what, || {
        let sockets =
            std::fs::read_to_string(format!("/proc/{}/net/udp", node.pid())).unwrap_or_default();
        if sockets.contains("02004E0A:0035") {
            Ok(())
        } else {
            Err(node.log())
        }
    });
}

#[test]
fn a_start_does_not_wait_for_the_names_of_sinks() {
    if lacks_networks("slow sink") {
        return;
    }
    let lab = Lab::new("slow sink", "C");
    let sinks = serde_json::json!({"statsd_addr": "slow.example.com", "statsite_addr": "slow.example.com:1"});
    let flag = settings(&lab, &sinks);
    let spec = lab.spec(0).wrapper(with_a_dead_name_server(&lab));
    let spec = spec.addresses(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
    let node = lab.launch(spec.args([flag.as_str()]));
    await_question(&node, "the sinks");
    node.await_log("Serf agent running", 20.0);
    assert!(
        !node.log().contains("Cannot send metrics"),
        "{}",
        node.log()
    );
    node.signal(libc::SIGINT);
    let asked = Instant::now();
    node.await_exit(20.0);
    println!("it ended {:.1?} after the signal", asked.elapsed());
}

#[test]
fn a_signal_ends_a_start_that_waits_for_a_name_server() {
    if lacks_networks("slow resolver") {
        return;
    }
    let lab = Lab::new("slow resolver", "C");
    let wrapper = with_a_dead_name_server(&lab);
    for flag in [
        "-bind=slow.example.com:0",
        "-rpc-addr=slow.example.com:0",
        "-advertise=slow.example.com",
    ] {
        let spec = lab.spec(0).wrapper(wrapper.clone());
        let spec = spec.addresses(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into());
        let node = lab.launch(spec.args([flag]));
        await_question(&node, flag);
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
fn a_name_conflict_is_decided_by_a_vote() {
    // Two voters of the reference; cottar is once the newcomer and once the owner of the name.
    scenario("name conflict", &["SSSC", "SSCS"], |lab| {
        let voter = lab.start(lab.spec(0));
        let other = lab.start(lab.spec(1).join(&voter));
        let owner = lab.start(lab.spec(2).join(&voter));
        let all = [&voter, &other, &owner];
        await_members(&all, &all.map(Member::of), 15.0);
        let newcomer = lab.start(lab.spec(3).name("n3").join(&voter));
        let ended = newcomer.await_exit(30.0).code();
        // Cottar reports the failure to its supervisor; the reference exits with 0.
        let expected = match newcomer.spec.kind {
            Kind::Cottar => 1,
            Kind::Serf => 0,
        };
        assert_eq!(ended, Some(expected), "{}", newcomer.log());
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

#[test]
fn without_others_the_newcomer_gives_the_name_up() {
    let lab = Lab::new("two of one name", "CC");
    let holder = lab.start(lab.spec(0).name("twin"));
    let newcomer = lab.start(lab.spec(1).name("twin").join(&holder));
    let ended = newcomer.await_exit(30.0).code();
    assert_eq!(ended, Some(1), "{}", newcomer.log());
    let words = "no votes in name conflict resolution";
    assert!(
        newcomer.log().contains(&format!("{words}, quitting")),
        "{}",
        newcomer.log()
    );
    holder.await_log(&format!("{words}, keeping the name"), 15.0);
    assert!(!holder.is_over(), "{}", holder.log());
}
