//! Named stories: what a cluster does when one thing happens to it.

use cottar::serf::{
    Command, CommandResult, Event, MemberEventKind, MemberStatus, QueryParams, QueryRecord,
};
use cottar::swim::NodeState;
use cottar::time::Duration;

use crate::checkers::{self, Limits};
use crate::cluster::{NodeId, Sim, Spec, host_addr, node_name};
use crate::history::{Stop, What};
use crate::network::Weather;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// `n0` to `n(size - 1)` on a good LAN, all joined.
fn cluster(seed: u64, size: usize) -> Sim {
    let mut sim = Sim::new(seed, Weather::fair());
    for host in 0..size {
        sim.add(Spec::lan(&format!("n{host}"), host_addr(host)));
        sim.start(host);
        if host > 0 {
            let join = sim.join(host, &[0], true, false);
            sim.run_for(Duration::from_millis(100));
            let joined = CommandResult::Joined {
                contacted: 1,
                failures: Vec::new(),
            };
            assert_eq!(sim.result(join), Some(&joined));
        }
    }
    agree(&mut sim, secs(2));
    sim
}

fn agree(sim: &mut Sim, limit: Duration) {
    let agreed = sim.run_until(limit, |sim| sim.disagreement().is_none());
    assert!(agreed, "after {limit:?}: {:?}", sim.disagreement());
}

/// Ends a story: waits until the news has spread, and has every checker judge the run.
fn close(mut sim: Sim) {
    sim.run_for(secs(40));
    sim.finish();
    let limits = Limits {
        queue_messages_max: 4096,
        stream_age_max: secs(30),
    };
    checkers::check_all(&sim.history, &limits).unwrap();
}

fn all(sim: &Sim, ids: &[NodeId], name: &str, status: Option<MemberStatus>) -> bool {
    ids.iter().all(|&id| sim.status(id, name) == status)
}

/// How often a node's handlers were told this of a member.
fn told(sim: &Sim, id: NodeId, kind: MemberEventKind, name: &str) -> usize {
    let name = node_name(name);
    let matches = |what: &What| match what {
        What::Delivered {
            event: Event::Member(event),
            ..
        } => event.kind == kind && event.members.iter().any(|member| member.name == name),
        _ => false,
    };
    let of_node = sim.history.iter().filter(|record| record.node == id);
    of_node.filter(|record| matches(&record.what)).count()
}

/// How often a node's handlers got a user event with this payload.
fn got(sim: &Sim, id: NodeId, payload: &str) -> usize {
    let matches = |what: &What| match what {
        What::Delivered {
            event: Event::User(event),
            ..
        } => event.payload == payload.as_bytes(),
        _ => false,
    };
    let of_node = sim.history.iter().filter(|record| record.node == id);
    of_node.filter(|record| matches(&record.what)).count()
}

fn cut_both_ways(sim: &mut Sim, one: &[NodeId], other: &[NodeId]) {
    for &a in one {
        for &b in other {
            sim.network.cut(a, b);
            sim.network.cut(b, a);
        }
    }
}

fn state(sim: &Sim, id: NodeId, of: &str) -> Option<NodeState> {
    sim.serf(id)
        .swim()
        .node(&node_name(of))
        .map(|node| node.state)
}

fn incarnation(sim: &Sim, id: NodeId, of: &str) -> u32 {
    sim.serf(id)
        .swim()
        .node(&node_name(of))
        .unwrap()
        .incarnation
}

#[test]
fn join_tells_everybody_once() {
    let sim = cluster(1, 5);
    for id in 0..5 {
        for other in 0..5 {
            assert_eq!(
                told(&sim, id, MemberEventKind::Join, &format!("n{other}")),
                1
            );
        }
    }
    close(sim);
}

#[test]
fn a_dead_host_is_found_by_probing() {
    let mut sim = cluster(2, 5);
    sim.crash(4, true);
    let others = [0, 1, 2, 3];
    // Each of four nodes reaches it after at most 2 * 4 - 1 probes of a second; then the longest
    // suspicion: 4 * 1 s * 6.
    let failed = |sim: &Sim| all(sim, &others, "n4", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(8 + 24), failed));
    for id in others {
        assert_eq!(told(&sim, id, MemberEventKind::Failed, "n4"), 1);
        assert_eq!(told(&sim, id, MemberEventKind::Leave, "n4"), 0);
    }
    close(sim);
}

#[test]
fn a_killed_process_is_found_by_probing() {
    let mut sim = cluster(3, 3);
    sim.crash(1, false);
    let failed = |sim: &Sim| all(sim, &[0, 2], "n1", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(4 + 24), failed));
    close(sim);
}

#[test]
fn relays_bridge_a_cut_between_two() {
    let mut sim = cluster(4, 4);
    cut_both_ways(&mut sim, &[0], &[1]);
    sim.run_for(secs(90));
    for id in 0..4 {
        for other in 0..4 {
            assert_eq!(
                told(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                0
            );
        }
    }
    assert_eq!(sim.disagreement(), None);
    close(sim);
}

#[test]
fn streams_bridge_where_datagrams_are_lost() {
    // Nothing but streams gets through, and those with delay.
    let mut sim = cluster(5, 2);
    sim.network.weather.loss = 0.3;
    sim.run_for(secs(120));
    for (id, other) in [(0, "n1"), (1, "n0")] {
        assert_eq!(told(&sim, id, MemberEventKind::Failed, other), 0);
    }
    sim.network.weather = Weather::fair();
    close(sim);
}

#[test]
fn a_suspect_refutes() {
    let mut sim = cluster(6, 3);
    cut_both_ways(&mut sim, &[2], &[0, 1]);
    let suspected = |sim: &Sim| state(sim, 0, "n2") == Some(NodeState::Suspect);
    assert!(sim.run_until(secs(6), suspected));
    let before = incarnation(&sim, 0, "n2");
    sim.network.mend_all();
    let back = |sim: &Sim| {
        [0, 1].iter().all(|&id| {
            state(sim, id, "n2") == Some(NodeState::Alive) && incarnation(sim, id, "n2") > before
        })
    };
    assert!(
        sim.run_until(secs(4), back),
        "before the shortest suspicion ends"
    );
    sim.run_for(secs(30));
    assert_eq!(told(&sim, 0, MemberEventKind::Failed, "n2"), 0);
    assert_eq!(told(&sim, 1, MemberEventKind::Failed, "n2"), 0);
    close(sim);
}

#[test]
fn a_partition_heals() {
    let mut sim = cluster(7, 6);
    let (left, right) = ([0, 1, 2], [3, 4, 5]);
    cut_both_ways(&mut sim, &left, &right);
    let apart = |sim: &Sim| {
        right
            .iter()
            .all(|id| all(sim, &left, &format!("n{id}"), Some(MemberStatus::Failed)))
            && left
                .iter()
                .all(|id| all(sim, &right, &format!("n{id}"), Some(MemberStatus::Failed)))
    };
    assert!(sim.run_until(secs(120), apart));
    sim.user_event(0, "deploy", "left side");
    sim.user_event(5, "deploy", "right side");
    sim.run_for(secs(60)); // until the records are dropped: only the reconnect finds the way back
    sim.network.mend_all();
    // A draw every 30 s on each of six nodes, all of whose failed members run.
    agree(&mut sim, secs(30 + 30));
    for id in left {
        for other in right {
            assert_eq!(
                told(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                1
            );
            assert_eq!(
                told(&sim, id, MemberEventKind::Join, &format!("n{other}")),
                2
            );
        }
    }
    // What was fired during the cut crosses by push/pull: log2 6 + some rounds of 30 s.
    let crossed = |sim: &Sim| {
        (0..6).all(|id| got(sim, id, "left side") == 1 && got(sim, id, "right side") == 1)
    };
    assert!(sim.run_until(secs(8 * 30), crossed));
    close(sim);
}

#[test]
fn leaving_is_not_failing() {
    let mut sim = cluster(8, 5);
    let leave = sim.command(4, Command::Leave);
    assert!(sim.run_until(secs(5 + 5 + 1), |sim| sim.result(leave).is_some()));
    assert_eq!(sim.result(leave), Some(&CommandResult::Done));
    assert_eq!(sim.nodes[4].stopped, Some(Stop::Left));
    let others = [0, 1, 2, 3];
    let left = |sim: &Sim| all(sim, &others, "n4", Some(MemberStatus::Left));
    assert!(sim.run_until(secs(2), left));
    sim.run_for(secs(60));
    for id in others {
        assert_eq!(told(&sim, id, MemberEventKind::Leave, "n4"), 1);
        assert_eq!(told(&sim, id, MemberEventKind::Failed, "n4"), 0);
    }
    close(sim);
}

#[test]
fn a_farewell_that_nobody_heard_is_a_failure() {
    let mut sim = cluster(9, 3);
    cut_both_ways(&mut sim, &[2], &[0, 1]);
    let leave = sim.command(2, Command::Leave);
    // Both broadcasts wait in vain, five seconds each, or end when gossip has sent them often enough.
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    let failed = |sim: &Sim| all(sim, &[0, 1], "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(30), failed));
    close(sim);
}

#[test]
fn force_leave_and_prune() {
    let mut sim = cluster(10, 5);
    sim.crash(3, true);
    sim.crash(4, true);
    let others = [0, 1, 2];
    let both =
        |sim: &Sim, status| all(sim, &others, "n3", status) && all(sim, &others, "n4", status);
    assert!(sim.run_until(secs(60), |sim| both(sim, Some(MemberStatus::Failed))));
    let force = |node: &[u8], prune| Command::ForceLeave {
        node: node.to_vec(),
        prune,
    };
    let plain = sim.command(0, force(b"n3", false));
    let prune = sim.command(1, force(b"n4", true));
    let done = |sim: &Sim| {
        all(sim, &others, "n3", Some(MemberStatus::Left)) && all(sim, &others, "n4", None)
    };
    assert!(sim.run_until(secs(10), done));
    sim.run_for(secs(5));
    assert_eq!(sim.result(plain), Some(&CommandResult::Done));
    assert_eq!(sim.result(prune), Some(&CommandResult::Done));
    for id in others {
        assert_eq!(told(&sim, id, MemberEventKind::Leave, "n3"), 1);
        assert_eq!(told(&sim, id, MemberEventKind::Leave, "n4"), 1);
        assert_eq!(told(&sim, id, MemberEventKind::Reap, "n4"), 1);
    }
    sim.run_for(secs(120));
    assert!(done(&sim), "pruned is pruned");
    // The unknown succeed.
    let unknown = sim.command(2, force(b"nobody", false));
    sim.run_for(secs(6));
    assert_eq!(sim.result(unknown), Some(&CommandResult::Done));
    close(sim);
}

#[test]
fn the_living_refute_a_force_leave() {
    let mut sim = cluster(11, 4);
    let force = Command::ForceLeave {
        node: b"n2".to_vec(),
        prune: false,
    };
    sim.command(0, force);
    sim.run_for(secs(10));
    assert_eq!(sim.disagreement(), None);
    for id in 0..4 {
        assert_eq!(told(&sim, id, MemberEventKind::Leave, "n2"), 0);
    }
    close(sim);
}

#[test]
fn a_force_leave_that_the_living_did_not_hear_is_asked_about() {
    let mut sim = cluster(32, 3);
    // The intent gets around between the others while n2 hears nothing. Then it is too late for
    // gossip, and a push/pull only tells n2 the time of it, as of any status.
    sim.network.cut(0, 2);
    sim.network.cut(1, 2);
    let force = Command::ForceLeave {
        node: b"n2".to_vec(),
        prune: false,
    };
    sim.command(0, force);
    // All transmissions, but no probe with all its means.
    sim.run_for(Duration::from_millis(950));
    sim.network.mend_all();
    assert!(all(&sim, &[0, 1], "n2", Some(MemberStatus::Leaving)));
    // A leave takes 5 + 5 + 1 s at most: then whoever still sees n2 asks it.
    agree(&mut sim, secs(11 + 2));
    close(sim);
}

fn answers(sim: &Sim, query: cottar::serf::CommandId) -> (Vec<String>, Vec<String>, usize) {
    let (mut acks, mut responses, mut done) = (Vec::new(), Vec::new(), 0);
    for (_, record) in sim.returned.get(&query).into_iter().flatten() {
        match record {
            QueryRecord::Ack { from } => acks.push(from.to_string()),
            QueryRecord::Response { from, payload } => {
                let expected = format!("answer of {from}");
                assert_eq!(payload.as_deref(), Some(expected.as_bytes()));
                responses.push(from.to_string());
            }
            QueryRecord::Done => done += 1,
        }
    }
    acks.sort();
    responses.sort();
    (acks, responses, done)
}

#[test]
fn a_query_is_answered_by_all() {
    let mut sim = cluster(12, 3);
    let query = sim.query(
        0,
        QueryParams {
            name: b"load".to_vec(),
            request_ack: true,
            ..QueryParams::default()
        },
    );
    sim.run_for(secs(4));
    let everybody: Vec<String> = (0..3).map(|id| format!("n{id}")).collect();
    assert_eq!(answers(&sim, query), (everybody.clone(), everybody, 1));
    close(sim);
}

#[test]
fn filters_choose_who_answers() {
    let mut sim = cluster(13, 3);
    sim.set_tag(1, "role", "web-1");
    sim.set_tag(2, "role", "db");
    agree(&mut sim, secs(6));
    let by_tag = QueryParams {
        name: b"load".to_vec(),
        filter_tags: vec![(b"role".to_vec(), b"^web-[0-9]+$".to_vec())],
        request_ack: true,
        ..QueryParams::default()
    };
    let by_name = QueryParams {
        name: b"load".to_vec(),
        filter_nodes: vec![b"n2".to_vec(), b"nobody".to_vec()],
        ..QueryParams::default()
    };
    let by_tag = sim.query(0, by_tag);
    let by_name = sim.query(0, by_name);
    sim.run_for(secs(4));
    let one = |name: &str| vec![name.to_owned()];
    assert_eq!(answers(&sim, by_tag), (one("n1"), one("n1"), 1));
    assert_eq!(answers(&sim, by_name), (Vec::new(), one("n2"), 1));
    close(sim);
}

#[test]
fn relayed_answers_go_around_a_cut() {
    let mut sim = cluster(14, 4);
    // n1 hears n0's query from the others, but cannot answer directly.
    sim.network.cut(1, 0);
    let ask = |sim: &mut Sim, relay_factor| {
        let query = sim.query(
            0,
            QueryParams {
                name: b"load".to_vec(),
                request_ack: true,
                relay_factor,
                ..QueryParams::default()
            },
        );
        sim.run_for(secs(4));
        answers(sim, query)
    };
    let heard = |names: &[String]| names.iter().any(|name| name == "n1");
    let (acks, responses, _) = ask(&mut sim, 0);
    assert!(!heard(&acks) && !heard(&responses));
    // Of three others two are asked to relay; at most one of them is n0 itself.
    let (acks, responses, done) = ask(&mut sim, 2);
    assert!(heard(&acks) && heard(&responses), "{acks:?} {responses:?}");
    assert_eq!(done, 1);
    sim.network.mend_all();
    close(sim);
}

#[test]
fn a_late_answer_is_refused() {
    let mut sim = Sim::new(15, Weather::fair());
    for host in 0..2 {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.pace = crate::handlers::Pace::Fixed(secs(1));
        sim.add(spec);
        sim.start(host);
    }
    sim.join(1, &[0], true, false);
    agree(&mut sim, secs(5));
    sim.run_for(secs(10));
    let query = sim.query(
        0,
        QueryParams {
            name: b"load".to_vec(),
            timeout: Some(Duration::from_millis(900)),
            ..QueryParams::default()
        },
    );
    sim.run_for(secs(5));
    assert_eq!(answers(&sim, query), (Vec::new(), Vec::new(), 1));
    let refused = |what: &What| matches!(what, What::Answered { sent: false, .. });
    let refused = sim
        .history
        .iter()
        .filter(|record| refused(&record.what))
        .count();
    assert_eq!(refused, 2);
    close(sim);
}

#[test]
fn events_cross() {
    let mut sim = cluster(16, 8);
    for id in 0..8 {
        sim.user_event(id, "deploy", &format!("from {id}"));
    }
    let crossed =
        |sim: &Sim| (0..8).all(|id| (0..8).all(|from| got(sim, id, &format!("from {from}")) == 1));
    // By gossip in a moment; whom it missed by chance, a push/pull tells.
    assert!(sim.run_until(secs(60), crossed));
    close(sim);
}

#[test]
fn an_event_does_not_wait_for_the_tick() {
    let mut sim = cluster(17, 10);
    sim.run_for(secs(30));
    let mut slowest = Duration::ZERO;
    for number in 0..20 {
        let payload = format!("number {number}");
        sim.user_event(number % 10, "deploy", &payload);
        let fired = sim.now;
        let all = |sim: &Sim| (0..10).all(|id| got(sim, id, &payload) == 1);
        assert!(sim.run_until(secs(60), all));
        slowest = slowest.max(sim.now.since(fired).min(secs(1)));
        sim.run_for(secs(1));
    }
    println!("slowest of 20 events at ten nodes: {slowest:?}");
    close(sim);
}

#[test]
fn a_crashed_node_comes_back() {
    let mut sim = cluster(18, 4);
    sim.crash(2, false);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.start(2);
    sim.join(2, &[1], true, true);
    agree(&mut sim, secs(5));
    for id in others {
        assert_eq!(told(&sim, id, MemberEventKind::Join, "n2"), 2);
    }
    assert!(incarnation(&sim, 0, "n2") > 1, "it outbid its own obituary");
    close(sim);
}

#[test]
fn a_node_that_restarts_unnoticed_takes_its_place() {
    let mut sim = cluster(19, 4);
    sim.set_tag(2, "v", "1");
    agree(&mut sim, secs(6));
    sim.crash(2, false);
    sim.start(2);
    sim.set_tag(2, "v", "2");
    sim.join(2, &[1], true, true);
    agree(&mut sim, secs(5));
    close(sim);
}

#[test]
fn the_others_call_a_failed_node() {
    let mut sim = cluster(20, 4);
    sim.crash(2, true);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.run_for(secs(60));
    // It comes back and calls nobody. Each of three draws with probability 1/3 every 30 s:
    // (2/3)^(3 * 12) is 5e-7.
    sim.start(2);
    agree(&mut sim, secs(12 * 30));
    close(sim);
}

#[test]
fn a_newcomer_with_a_taken_name_stops() {
    let mut sim = cluster(21, 4);
    let intruder = sim.add(Spec::lan("n2", host_addr(77)));
    sim.start(intruder);
    sim.join(intruder, &[0], true, false);
    // The vote takes a query's time, 3.2 s; it starts when either hears of the other.
    let stopped = |sim: &Sim| sim.nodes[4].stopped == Some(Stop::LostItsName);
    assert!(sim.run_until(secs(60), stopped));
    sim.run_for(secs(30));
    assert!(sim.is_up(2), "who had the name keeps it");
    assert_eq!(sim.disagreement(), None);
    sim.history.retain(|record| record.node != intruder);
    close(sim);
}

#[test]
fn tags_change_everywhere() {
    let mut sim = cluster(22, 5);
    let set = sim.set_tag(3, "role", "web");
    agree(&mut sim, secs(5));
    sim.run_for(secs(6));
    assert_eq!(sim.result(set), Some(&CommandResult::Done));
    for id in 0..5 {
        let member = sim.serf(id).member(b"n3").unwrap();
        assert_eq!(member.tags.get(b"role"), Some(&b"web"[..]));
        assert_eq!(told(&sim, id, MemberEventKind::Update, "n3"), 1);
    }
    close(sim);
}

#[test]
fn a_long_pause_fails_and_ends() {
    let mut sim = cluster(23, 5);
    sim.pause(1);
    let others = [0, 2, 3, 4];
    let failed = |sim: &Sim| all(sim, &others, "n1", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    sim.user_event(0, "deploy", "meanwhile");
    sim.run_for(secs(60));
    sim.resume(1);
    // It probes and exchanges as before, hears that it is dead, and refutes.
    agree(&mut sim, secs(2 * 30));
    let heard = |sim: &Sim| got(sim, 1, "meanwhile") == 1;
    assert!(sim.run_until(secs(8 * 30), heard));
    for id in others {
        assert_eq!(told(&sim, id, MemberEventKind::Failed, "n1"), 1);
    }
    close(sim);
}

#[test]
fn a_short_pause_is_forgiven() {
    let mut sim = cluster(24, 5);
    for _ in 0..10 {
        sim.pause(1);
        sim.run_for(secs(2));
        sim.resume(1);
        sim.run_for(secs(5));
    }
    for id in 0..5 {
        for other in 0..5 {
            assert_eq!(
                told(&sim, id, MemberEventKind::Failed, &format!("n{other}")),
                0
            );
        }
    }
    agree(&mut sim, secs(10));
    close(sim);
}

#[test]
fn who_left_may_return_elsewhere() {
    let mut sim = cluster(25, 4);
    let leave = sim.command(2, Command::Leave);
    assert!(sim.run_until(secs(12), |sim| sim.result(leave).is_some()));
    sim.run_for(secs(2));
    sim.move_to(2, host_addr(99));
    sim.start(2);
    sim.join(2, &[0], true, true);
    agree(&mut sim, secs(5));
    assert_eq!(sim.serf(0).member(b"n2").unwrap().addr, host_addr(99));
    assert!([0, 1, 3].iter().all(|&id| sim.is_up(id)));
    close(sim);
}

#[test]
fn who_died_may_return_elsewhere_when_forgotten() {
    let mut sim = cluster(26, 4);
    sim.crash(2, false);
    let others = [0, 1, 3];
    let failed = |sim: &Sim| all(sim, &others, "n2", Some(MemberStatus::Failed));
    assert!(sim.run_until(secs(60), failed));
    // The record is dropped at the end of a round of probes after 30 s.
    sim.run_for(secs(30 + 10));
    sim.move_to(2, host_addr(99));
    sim.start(2);
    sim.join(2, &[0], true, true);
    agree(&mut sim, secs(5));
    assert_eq!(sim.serf(3).member(b"n2").unwrap().addr, host_addr(99));
    close(sim);
}

#[test]
fn another_key_does_not_open_the_door() {
    let mut sim = Sim::new(27, Weather::fair());
    let keys = [
        Some(vec![1; 16]),
        Some(vec![1; 16]),
        Some(vec![2; 16]),
        None,
    ];
    for (host, key) in keys.into_iter().enumerate() {
        let mut spec = Spec::lan(&format!("n{host}"), host_addr(host));
        spec.key = key;
        sim.add(spec);
        sim.start(host);
    }
    let joins: Vec<_> = (1..4).map(|id| sim.join(id, &[0], true, false)).collect();
    sim.run_for(secs(60));
    let contacted = |id| match sim.result(id) {
        Some(CommandResult::Joined {
            contacted,
            failures,
        }) => Some((*contacted, failures.len())),
        other => panic!("{other:?}"),
    };
    let contacted: Vec<_> = joins.into_iter().map(contacted).collect();
    assert_eq!(contacted, [Some((1, 0)), Some((0, 1)), Some((0, 1))]);
    let names = |id| {
        let members = sim.serf(id).members();
        members
            .map(|member| member.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["n0", "n1"]);
    assert_eq!(names(2), ["n2"]);
    assert_eq!(names(3), ["n3"]);
}

#[test]
fn joining_nobody_says_why() {
    let mut sim = cluster(28, 2);
    sim.crash(1, false);
    let refused = sim.join(0, &[1], true, false);
    sim.run_for(secs(1));
    let silent = sim.add(Spec::lan("n2", host_addr(2)));
    sim.nodes[silent].host_up = false;
    let unanswered = sim.join(0, &[silent], true, false);
    sim.run_for(secs(31));
    let why = |id| match sim.result(id) {
        Some(CommandResult::Joined {
            contacted: 0,
            failures,
        }) => failures[0].1.clone(),
        other => panic!("{other:?}"),
    };
    assert!(
        why(refused).contains("connection refused"),
        "{}",
        why(refused)
    );
    assert!(!why(unanswered).is_empty());
}

#[test]
fn a_lone_node_cuts_its_queue() {
    let mut sim = Sim::new(29, Weather::fair());
    sim.add(Spec::lan("n0", host_addr(0)));
    sim.start(0);
    for number in 0..6000 {
        sim.user_event(0, "deploy", &number.to_string());
    }
    // The queues are looked at every 30 s (gossip spec 5.16).
    sim.run_for(secs(31));
    assert!(sim.serf(0).stats().event_queue <= 4096);
    let all = (0..6000).all(|number| got(&sim, 0, &number.to_string()) == 1);
    assert!(all, "its own handlers get each event");
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let mut sim = cluster(seed, 5);
        sim.network.weather.loss = 0.1;
        sim.crash(2, true);
        sim.run_for(secs(60));
        sim.fingerprint()
    };
    checkers::runs_are_the_same(run(30), run(30)).unwrap();
    assert_ne!(run(30), run(31));
}
