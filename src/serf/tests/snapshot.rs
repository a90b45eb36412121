//! The recorded lines, and restarts from them.

use super::by_hand::query_by_hand;
use super::harness::{Net, addr, config, start};
use crate::serf::snapshot::{Snapshot, SnapshotLine};
use crate::serf::*;
use crate::time::{Duration, Instant};
use crate::wire::serf::{JoinIntent, SerfMessage, UserEventMessage};

const SECOND: Duration = Duration::from_secs(1);

fn name(text: &str) -> NodeName {
    NodeName::new(text.as_bytes()).unwrap()
}

fn recording(n: u16, snapshot: Snapshot) -> Config {
    let mut config = config(n);
    config.snapshot = Some(snapshot);
    config
}

/// Takes the lines so far, as they are in the file.
fn lines(net: &mut Net, n: u16) -> Vec<String> {
    let mut file = Vec::new();
    for line in std::mem::take(&mut net.host(n).snapshot) {
        line.encode(&mut file);
    }
    let text = String::from_utf8(file).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn event(text: &str, ltime: u64) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(ltime),
        name: text.into(),
        payload: None,
        coalesce: false,
    })
}

fn query(text: &str, ltime: u64) -> SerfMessage {
    SerfMessage::Query(query_by_hand(text, ltime))
}

#[test]
fn members_and_times_are_recorded_as_they_come() {
    let mut net = Net::new(2);
    net.add(recording(3, Snapshot::default()));
    assert_eq!(lines(&mut net, 3), ["alive: n3 10.0.0.1:7003"]);
    net.join(3, 1);
    net.run_for(SECOND);
    // Its own join intent has advanced the clock.
    let joined = ["alive: n1 10.0.0.1:7001", "# cottar-member 1", "clock: 1"];
    assert_eq!(lines(&mut net, 3), joined);
    net.join(2, 1);
    net.run_for(SECOND * 2);
    assert_eq!(lines(&mut net, 3), ["alive: n2 10.0.0.1:7002", "clock: 2"]);
    net.gossip_to(3, &event("deploy", 5));
    net.gossip_to(3, &query("load", 8));
    net.gossip_to(3, &query("_serf_ping", 9));
    net.gossip_to(3, &query("older", 7));
    assert_eq!(lines(&mut net, 3), ["query-clock: 8", "query-clock: 9"]);
    let seen = |name: &[u8], ltime: u64| {
        let hash = event_hash(name, b"");
        format!("# cottar-seen {ltime} {hash:016x}")
    };
    // An event is recorded when it is handed over.
    net.run_for(SECOND);
    let expected = [&seen(b"deploy", 5), "event-clock: 5"];
    assert_eq!(lines(&mut net, 3), expected);
    net.gossip_to(3, &event("older", 4));
    net.run_for(SECOND);
    assert_eq!(lines(&mut net, 3), [seen(b"older", 4)]);
    net.remove(1);
    net.run_until("n1 has failed", SECOND * 60, |net| {
        net.status(3, 1) == MemberStatus::Failed
    });
    let (result, _) = net.command_to_end(2, Command::Leave);
    assert_eq!(result, CommandResult::Done);
    net.run_for(SECOND);
    let seen = lines(&mut net, 3);
    assert_eq!(seen[0], "not-alive: n1");
    assert!(seen.contains(&"not-alive: n2".to_owned()), "{seen:?}");
    let node = b"n1".to_vec();
    net.command(3, Command::ForceLeave { node, prune: true });
    net.run_for(SECOND);
    let seen = lines(&mut net, 3);
    assert!(
        !seen.iter().any(|line| line.starts_with("alive")),
        "{seen:?}"
    );
}

#[test]
fn the_clock_is_looked_at_only_while_it_moves() {
    let mut net = Net::new(0);
    net.add(recording(1, Snapshot::default()));
    net.run_for(SECOND * 10);
    lines(&mut net, 1);
    assert_eq!(net.serf(1).poll_timeout(), None, "a node at rest sleeps");
    let intent = JoinIntent {
        ltime: LamportTime(40),
        node: name("stranger"),
    };
    net.gossip_to(1, &SerfMessage::Join(intent));
    assert!(lines(&mut net, 1).is_empty());
    net.run_for(Duration::from_millis(499));
    assert!(lines(&mut net, 1).is_empty());
    net.run_for(Duration::from_millis(1));
    assert_eq!(lines(&mut net, 1), ["clock: 40"]);
    net.run_for(SECOND * 10);
    assert!(lines(&mut net, 1).is_empty());
}

#[test]
fn the_end_of_the_program_records_the_clock() {
    let mut net = Net::new(0);
    net.add(recording(1, Snapshot::default()));
    lines(&mut net, 1);
    let intent = JoinIntent {
        ltime: LamportTime(7),
        node: name("stranger"),
    };
    net.gossip_to(1, &SerfMessage::Join(intent));
    net.input(1, Input::Shutdown);
    assert_eq!(lines(&mut net, 1), ["clock: 7"]);
    net.input(1, Input::Shutdown);
    assert!(lines(&mut net, 1).is_empty());
}

#[test]
fn a_leave_is_recorded_at_once_and_ends_the_record() {
    let mut net = Net::new(1);
    net.add(recording(2, Snapshot::default()));
    net.join(2, 1);
    net.run_for(SECOND * 2);
    lines(&mut net, 2);
    let id = net.command(2, Command::Leave);
    assert_eq!(lines(&mut net, 2).first().unwrap(), "leave");
    net.gossip_to(2, &event("late", 50));
    net.gossip_to(2, &query("late", 50));
    net.run_for(SECOND * 10);
    assert!(net.host(2).results.contains_key(&id));
    let rest = lines(&mut net, 2);
    assert!(
        rest.iter().all(|line| line.starts_with("clock: ")),
        "{rest:?}"
    );
    assert_eq!(net.serf(2).state(), State::Left);
}

fn known() -> Snapshot {
    Snapshot {
        clock: LamportTime(20),
        event_clock: LamportTime(30),
        query_clock: LamportTime(40),
        ..Snapshot::default()
    }
}

#[test]
fn times_go_on_where_they_were() {
    let mut net = Net::new(0);
    net.add(recording(1, known()));
    let stats = net.serf(1).stats();
    let times = (stats.member_time, stats.event_time, stats.query_time);
    assert_eq!(times, (21, 31, 41));
    let started = ["# cottar-member 31", "alive: n1 10.0.0.1:7001"];
    assert_eq!(lines(&mut net, 1), started);
    net.introduce(1);
    for (ltime, new) in [(29, false), (30, false), (31, true)] {
        net.gossip_to(1, &event("e", ltime));
        assert_eq!(
            net.host(1).take_user_events().len(),
            usize::from(new),
            "{ltime}"
        );
    }
    for (ltime, new) in [(39, false), (40, false), (41, true)] {
        net.gossip_to(1, &query("q", ltime));
        assert_eq!(
            net.host(1).take_queries().len(),
            usize::from(new),
            "{ltime}"
        );
    }
    let hash = event_hash(b"e", b"");
    let noted = format!("# cottar-seen 31 {hash:016x}");
    let expected = [&noted, "event-clock: 31", "query-clock: 41"];
    assert_eq!(lines(&mut net, 1), expected);
}

#[test]
fn absurd_times_of_a_snapshot_are_ignored() {
    let absurd = Snapshot {
        clock: LamportTime(u64::MAX),
        event_clock: LamportTime(u64::MAX),
        query_clock: LamportTime(1 << 63),
        ..Snapshot::default()
    };
    let mut net = Net::new(0);
    net.add(recording(1, absurd));
    let stats = net.serf(1).stats();
    let times = (stats.member_time, stats.event_time, stats.query_time);
    assert_eq!(times, (1, 1, 1));
    net.introduce(1);
    lines(&mut net, 1);
    net.gossip_to(1, &event("e", 3));
    net.run_for(SECOND);
    assert_eq!(net.host(1).take_user_events().len(), 1);
    assert_eq!(lines(&mut net, 1).last().unwrap(), "event-clock: 3");
}

#[test]
fn a_node_finds_back_through_whom_it_can() {
    let mut net = Net::joined(2);
    let mut snapshot = known();
    for n in [1, 3, 7, 8, 9] {
        snapshot.alive.insert(name(&format!("n{n}")), addr(n));
    }
    // Its own address under an old name.
    snapshot.alive.insert(name("old"), addr(3));
    net.add(recording(3, snapshot));
    net.run_until("n3 is back", SECOND * 10, |net| net.alive_in(1) == 3);
    net.run_for(SECOND * 5);
    assert_eq!((net.alive_in(2), net.alive_in(3)), (3, 3));
    assert!(net.serf(3).rejoin.is_none());
    // It rejoined without an intent: its clock is just past what it had seen.
    assert_eq!(net.serf(1).stats().member_time, 21);
}

#[test]
fn known_members_are_tried_one_at_a_time_in_any_order() {
    let mut snapshot = Snapshot::default();
    for n in 1..=6 {
        snapshot.alive.insert(name(&format!("n{n}")), addr(n));
    }
    let mut orders = std::collections::BTreeSet::new();
    for seed in 0..8 {
        let mut config = recording(2, snapshot.clone());
        config.addr.set_port(7100 + seed);
        let mut now = Instant::from_millis(1);
        let mut serf = start(config, now);
        let mut tried = Vec::new();
        loop {
            let outputs: Vec<Output> = std::iter::from_fn(|| serf.poll_output()).collect();
            let opened = outputs.iter().filter_map(|output| match output {
                Output::Transmit(Transmit::Open { stream, to }) => Some((*stream, *to)),
                _ => None,
            });
            let opened: Vec<_> = opened.collect();
            let Some(&(stream, to)) = opened.first() else {
                break;
            };
            assert_eq!(opened.len(), 1, "one at a time");
            tried.push(to);
            now += Duration::from_millis(5);
            let end = StreamEnd::Failed("connect: connection refused".to_owned());
            serf.handle_input(Input::StreamClosed { stream, end }, now);
        }
        let mut sorted = tried.clone();
        sorted.sort();
        assert_eq!(sorted, [addr(1), addr(3), addr(4), addr(5), addr(6)]);
        orders.insert(tried);
    }
    assert!(orders.len() > 1);
}

#[test]
fn nobody_is_looked_for_after_a_leave() {
    let mut net = Net::joined(2);
    let mut snapshot = Snapshot::default();
    for n in 7..=9 {
        snapshot.alive.insert(name(&format!("n{n}")), addr(n));
    }
    net.add(recording(3, snapshot));
    net.command(3, Command::Leave);
    net.run_for(SECOND * 10);
    assert_eq!(net.serf(3).state(), State::Left);
    assert!(net.serf(3).rejoin.is_none());
}

#[test]
fn a_record_read_back_is_what_the_node_knew() {
    let mut net = Net::new(2);
    net.add(recording(3, Snapshot::default()));
    net.join(3, 1);
    net.join(2, 1);
    net.gossip_to(3, &event("deploy", 5));
    net.run_for(SECOND * 3);
    let mut followed = Snapshot::default();
    for line in &net.host(3).snapshot {
        followed.follow(line);
    }
    let alive: Vec<_> = followed.alive.keys().map(NodeName::to_string).collect();
    assert_eq!(alive, ["n1", "n2", "n3"]);
    let stats = net.serf(3).stats();
    assert_eq!(followed.clock.0, stats.member_time - 1);
    assert_eq!(followed.event_clock.0, stats.event_time - 1);
    assert!(!net.host(3).snapshot.contains(&SnapshotLine::Leave));
}
