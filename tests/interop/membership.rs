//! Joins in both directions, member lists, tags, leaves, names.

use crate::live::{
    Agent, Kind, Member, Recorder, await_members, await_status, eventually, scenario,
};

/// Seconds within which all member lists must agree.
const AGREEMENT: f64 = 5.0;
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";

fn everyone(nodes: &[Agent]) -> Vec<Member> {
    nodes.iter().map(Member::of).collect()
}

fn refs(nodes: &[Agent]) -> Vec<&Agent> {
    nodes.iter().collect()
}

#[test]
fn two_nodes_see_each_other_with_and_without_compression() {
    let flags: [&[&str]; 2] = [&[], &["-disable-compression"]];
    scenario("join", &["CS", "SC", "CC"], |lab| {
        for (round, flag) in flags.into_iter().enumerate() {
            let nodes = lab.start_all(|index, spec| {
                spec.name(&format!("r{round}-{index}"))
                    .args(flag.iter().copied())
                    .tag("role", if index == 0 { "web" } else { "db" })
                    .tag("Data-Center.x", "eu 1,a=b\t\u{e9}")
                    .tag("empty", "")
            });
            await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
        }
    });
}

#[test]
fn one_side_may_compress_and_the_other_not() {
    scenario("compression", &["CS", "SC"], |lab| {
        let nodes = lab.start_all(|index, spec| {
            let flags: &[&str] = if index == 0 {
                &["-disable-compression"]
            } else {
                &[]
            };
            spec.args(flags.iter().copied()).tag("role", "web")
        });
        await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
    });
}

#[test]
fn three_and_three_agree() {
    scenario("three and three", &["CSCSCS", "SCSCSC"], |lab| {
        for (round, (encrypted, compressed)) in
            [(false, true), (false, false), (true, true), (true, false)]
                .into_iter()
                .enumerate()
        {
            // Each node joins its predecessor, so that each kind joins the other.
            let mut nodes: Vec<Agent> = Vec::new();
            for index in 0..lab.size() {
                let mut spec = lab
                    .spec(index)
                    .name(&format!("r{round}-{index}"))
                    .tag("role", "web")
                    .tag("place", &index.to_string());
                if encrypted {
                    spec = spec.key(KEY);
                }
                if !compressed {
                    spec = spec.args(["-disable-compression"]);
                }
                if let Some(previous) = nodes.last() {
                    spec = spec.join(previous);
                }
                nodes.push(lab.start(spec));
            }
            await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
        }
    });
}

#[test]
fn a_join_by_command_counts_the_nodes_and_reports_what_fails() {
    scenario("join by command", &["CS", "SC"], |lab| {
        let (first, second) = (lab.start(lab.spec(0)), lab.start(lab.spec(1)));
        let joined = second.cli(&["join", &first.gossip.to_string()]).success();
        assert_eq!(
            joined.stdout,
            "Successfully joined cluster by contacting 1 nodes.\n"
        );
        let nodes = [first, second];
        await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
        let refused = nodes[1].cli(&["join", "127.0.0.1:9"]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(
            refused
                .stdout
                .contains("Error joining the cluster: 1 error"),
            "{refused:?}"
        );
        assert!(
            refused
                .stdout
                .to_lowercase()
                .contains("failed to join 127.0.0.1"),
            "{refused:?}"
        );
    });
}

#[test]
fn a_changed_tag_reaches_the_other_kind() {
    scenario("tags", &["CS", "SC", "CC"], |lab| {
        let watchers: Vec<Recorder> = (0..2)
            .map(|index| Recorder::new(lab.path(), &index.to_string()))
            .collect();
        let mut nodes = lab.start_all(|index, spec| {
            spec.tag("role", "web")
                .tag("old", "1")
                .recorded(&watchers[index])
        });
        await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
        // An update that directly follows a join is merged into the join.
        for watcher in &watchers {
            for node in &nodes {
                watcher.await_records(1, 6.0, |record| {
                    let members = String::from_utf8_lossy(&record.stdin);
                    record.event() == "member-join" && members.contains(&node.spec.name)
                });
            }
        }
        for changed in 0..2 {
            nodes[changed]
                .cli(&["tags", "-set", "role=db", "-set", "x=y", "-delete", "old"])
                .success();
            let tags = &mut nodes[changed].spec.tags;
            tags.remove("old");
            tags.extend([("role".into(), "db".into()), ("x".into(), "y".into())]);
            await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
            let line = format!(
                "{}\t{}\tdb\t",
                nodes[changed].spec.name,
                nodes[changed].gossip.ip()
            );
            for watcher in &watchers {
                watcher.await_records(1, 6.0, |record| {
                    record.event() == "member-update"
                        && String::from_utf8_lossy(&record.stdin).contains(&line)
                });
            }
        }
    });
}

#[test]
fn a_graceful_leave_shows_as_left_and_the_node_may_return() {
    scenario("leave", &["CCS", "SSC"], |lab| {
        let mut nodes = lab.start_all(|_, spec| spec);
        await_members(&refs(&nodes), &everyone(&nodes), AGREEMENT);
        // One node leaves by command, the second by a signal; each is of another kind than a viewer.
        let by_command = nodes.pop().expect("three nodes");
        let by_signal = nodes.pop().expect("three nodes");
        let stays = nodes.pop().expect("three nodes");
        by_command.cli(&["leave"]).success();
        assert_eq!(
            by_command.await_exit(10.0).code(),
            Some(0),
            "{}",
            by_command.log()
        );
        await_status(&[&stays, &by_signal], "n3", "left", AGREEMENT);
        let by_command = by_command.restart(&stays);
        await_members(
            &[&stays, &by_signal, &by_command],
            &[
                Member::of(&stays),
                Member::of(&by_signal),
                Member::of(&by_command),
            ],
            AGREEMENT,
        );
        by_signal.signal(libc::SIGINT);
        assert_eq!(
            by_signal.await_exit(10.0).code(),
            Some(0),
            "{}",
            by_signal.log()
        );
        await_members(
            &[&stays, &by_command],
            &[
                Member::of(&stays),
                Member::with_status(&by_signal, "left"),
                Member::of(&by_command),
            ],
            AGREEMENT,
        );
    });
}

#[test]
fn the_newcomer_loses_a_name_conflict() {
    // Two voters, the owner of the name, and a newcomer of the other kind.
    scenario("name conflict", &["CSCS", "SCSC"], |lab| {
        let [voter, other_voter, owner] = [0, 1, 2].map(|index| lab.spec(index));
        let voter = lab.start(voter);
        let other_voter = lab.start(other_voter.join(&voter));
        let owner = lab.start(owner.join(&voter));
        let all = [voter, other_voter, owner];
        await_members(&refs(&all), &everyone(&all), AGREEMENT);
        let newcomer = lab.start(lab.spec(3).name("n3").join(&all[0]));
        let ended = newcomer.await_exit(25.0).code();
        let expected = match newcomer.spec.kind {
            Kind::Cottar => 1,
            Kind::Serf => 0,
        };
        assert_eq!(ended, Some(expected), "{}", newcomer.log());
        eventually(5.0, "the loser's log", || {
            let log = newcomer.log().to_lowercase();
            if log.contains("conflict") {
                Ok(())
            } else {
                Err(log)
            }
        });
        await_members(&refs(&all), &everyone(&all), 20.0);
    });
}
