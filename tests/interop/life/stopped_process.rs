//! A process that is stopped for a long time and then continued.

use crate::live::{Agent, Member, await_members, await_status, scenario};
use std::time::Duration;

/// Longer than the other nodes gossip to dead ones in this profile (15 s after the failure), so the stopped
/// node is on its own when it continues.
const LET_GO: Duration = Duration::from_secs(18);

#[test]
fn a_stopped_process_fails_returns_and_suspects_nobody() {
    scenario("sleep", &["SCCS", "CSSC"], |lab| {
        let sleeper = lab.size()
            - if lab.kind(1) == crate::live::Kind::Cottar {
                3
            } else {
                1
            };
        let nodes = lab.start_all(|_, spec| spec.args(["-profile=local"]));
        let members: Vec<Member> = nodes.iter().map(Member::of).collect();
        {
            let all: Vec<&Agent> = nodes.iter().collect();
            await_members(&all, &members, 45.0);
        }
        let name = nodes[sleeper].spec.name.clone();
        nodes[sleeper].signal(libc::SIGSTOP);
        {
            let awake: Vec<&Agent> = nodes.iter().filter(|node| node.spec.name != name).collect();
            await_status(&awake, &name, "failed", 60.0);
            // Changes that the stopped node must receive later.
            awake[0].event("meanwhile", "you slept");
        }
        std::thread::sleep(LET_GO);
        nodes[sleeper].signal(libc::SIGCONT);
        let all: Vec<&Agent> = nodes.iter().collect();
        await_members(&all, &members, 60.0);
        nodes[sleeper].await_log("meanwhile", 45.0);
        await_members(&all, &members, 1.0);
        for node in &nodes {
            let log = node.log();
            let accused: Vec<&str> = log
                .lines()
                .filter(|line| {
                    line.contains("EventMemberFailed") && !line.contains(&format!(": {name} "))
                })
                .collect();
            assert!(accused.is_empty(), "{}: {accused:?}\n{log}", node.spec.name);
        }
        let log = nodes[sleeper].log();
        let suspected: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("has failed, no acks"))
            .collect();
        println!("suspected by the sleeper: {suspected:?}");
        assert!(suspected.len() <= 1, "{suspected:?}");
    });
}
