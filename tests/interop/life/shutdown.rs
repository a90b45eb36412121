//! Shutdown: signals in every phase, and leaves within the time that their profile needs.

use crate::live::{Agent, Lab, Member, Recorder, await_members, await_status, reference, scenario};
use std::net::TcpListener;
use std::time::{Duration, Instant};

fn lab(name: &str) -> Lab {
    Lab::new(name, "C")
}

#[test]
fn signals_during_the_start_join() {
    let lab = lab("signals during the start join");
    // Accepts connections and never sends anything.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = silent.local_addr().unwrap().to_string();
    let joining = || {
        let node = lab.launch(lab.spec(0).args(["-join", &target]));
        node.await_log("==> Joining cluster...(replay: false)", 15.0);
        node
    };
    // A reload does not interrupt the join.
    let node = joining();
    node.signal(libc::SIGHUP);
    node.await_log("==> Reloading configuration...", 5.0);
    node.signal(libc::SIGTERM);
    assert_eq!(node.await_exit(5.0).code(), Some(1), "{}", node.log());
    assert!(node.log().contains("==> Caught signal: terminated"));
    assert!(node.log().contains("Shutdown without a Leave"));
    // A leave interrupts the join.
    let node = joining();
    node.signal(libc::SIGINT);
    node.await_log("==> Gracefully shutting down agent...", 5.0);
    assert_eq!(node.await_exit(10.0).code(), Some(0), "{}", node.log());
    assert!(!node.log().contains("Join completed"));
    // Two signals before or after the first iteration of the event loop: either way the agent ends.
    let node = lab.launch(lab.spec(0).args(["-join", &target]));
    node.signal(libc::SIGINT);
    node.signal(libc::SIGTERM);
    let status = node.await_exit(5.0);
    assert!(
        !status.success() || node.log().contains("Gracefully"),
        "{status}: {}",
        node.log()
    );
}

#[test]
fn signals_during_a_leave() {
    if reference().is_none() {
        return scenario("signals during a leave", &["SC"], |_| {});
    }
    scenario("signals during a leave", &["SCCCC", "CCCCC"], |lab| {
        let peer = lab.start(lab.spec(0));
        let signals = [
            (1, libc::SIGINT, "interrupt"),
            (2, libc::SIGTERM, "terminated"),
            (3, libc::SIGHUP, "hangup"),
        ];
        for (index, second, word) in signals {
            let node = lab.start(lab.spec(index).join(&peer));
            node.signal(libc::SIGINT);
            node.await_log("==> Gracefully shutting down agent...", 5.0);
            node.signal(second);
            assert_eq!(
                node.await_exit(2.0).code(),
                Some(1),
                "{word}: {}",
                node.log()
            );
            assert!(
                node.log().contains(&format!("==> Caught signal: {word}")),
                "{}",
                node.log()
            );
        }
        // A leave that a client requested is not cut short by INT, and succeeds.
        let node = lab.start(lab.spec(4).join(&peer));
        await_status(&[&peer], "n5", "alive", 10.0);
        let mut leave = node.command(crate::live::Kind::Cottar, &["leave"]);
        let leave = crate::live::Process::spawn(&mut leave).unwrap();
        node.await_log("requesting graceful leave from Serf", 5.0);
        node.signal(libc::SIGINT);
        node.await_log("==> Gracefully shutting down agent...", 5.0);
        assert_eq!(node.await_exit(10.0).code(), Some(0), "{}", node.log());
        crate::live::eventually(5.0, "the end of the client", || {
            leave
                .status()
                .map(|status| assert!(status.success()))
                .ok_or_else(String::new)
        });
        await_status(&[&peer], "n5", "left", 10.0);
    });
}

#[test]
fn a_signal_while_the_last_handlers_run_ends_at_once() {
    // Without the signal, the agent would wait two seconds; one fast end out of three is proof enough.
    let took: Vec<Duration> = (0..3).map(|_| interrupted_last_handler()).collect();
    println!("ended after {took:.1?}");
    let quickest = took.iter().min();
    assert!(quickest < Some(&Duration::from_millis(1500)), "{took:?}");
}

/// Returns how long an agent takes to end after a signal while its last handler runs.
fn interrupted_last_handler() -> Duration {
    let lab = lab("last handlers");
    let mark = lab.path().join("started");
    let handler = format!("member-leave=touch '{}'; sleep 60", mark.display());
    let node = lab.start(lab.spec(0).handler(&handler));
    node.signal(libc::SIGINT);
    crate::live::eventually(10.0, "the handler of the leave", || {
        if mark.exists() {
            Ok(())
        } else {
            Err(node.log())
        }
    });
    let asked = Instant::now();
    node.signal(libc::SIGTERM);
    // The leave may have completed or not; the agent ends at once in either case.
    let status = node.await_exit(10.0);
    let took = asked.elapsed();
    assert!(
        matches!(status.code(), Some(0 | 1)),
        "{status}: {}",
        node.log()
    );
    took
}

#[test]
fn a_leave_ends_in_time_with_every_profile() {
    scenario("leave", &["SCS", "CCC", "CSC"], |lab| {
        for profile in ["local", "lan", "wan"] {
            let prepare = |index: usize| {
                lab.spec(index)
                    .name(&format!("{profile}{index}"))
                    .args(["-profile", profile])
            };
            let peer = lab.start(prepare(0));
            let leaver = lab.start(prepare(1).join(&peer));
            let other = lab.start(prepare(2).join(&peer));
            let all = [&peer, &leaver, &other];
            await_members(&all, &all.map(Member::of), 30.0);
            let asked = Instant::now();
            leaver.signal(libc::SIGINT);
            let status = leaver.await_exit(15.0);
            println!(
                "{profile}: {:?} ended with {status} after {:.1?}",
                leaver.spec.kind,
                asked.elapsed()
            );
            if leaver.spec.kind == crate::live::Kind::Cottar {
                assert_eq!(status.code(), Some(0), "{profile}: {}", leaver.log());
                assert!(
                    !leaver.log().contains("without a Leave"),
                    "{}",
                    leaver.log()
                );
            }
            await_status(&[&peer, &other], &leaver.spec.name, "left", 20.0);
        }
    });
}

#[test]
fn a_leave_without_live_members_ends_in_time() {
    // All leave at once, so the last ones have no live node to announce their leave to.
    scenario("all leave", &["CCC", "CSC"], |lab| {
        let recorder = Recorder::new(lab.path(), "n1");
        let mut nodes = lab.start_all(|index, spec| {
            if index == 0 {
                spec.recorded(&recorder)
            } else {
                spec
            }
        });
        let views: Vec<&Agent> = nodes.iter().collect();
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        await_members(&views, &members, 15.0);
        for node in &mut nodes {
            node.signal(libc::SIGINT);
        }
        for node in &mut nodes {
            let status = node.await_exit(15.0);
            if node.spec.kind == crate::live::Kind::Cottar {
                assert_eq!(status.code(), Some(0), "{}", node.log());
            }
        }
        recorder.await_records(1, 1.0, |record| record.event() == "member-leave");
    });
}
