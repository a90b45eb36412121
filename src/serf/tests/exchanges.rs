//! State exchanges of one node, with states made by the test.

use super::harness::{Net, config, start, target};
use super::node::name;
use crate::serf::*;
use crate::swim::JoinId;
use crate::time::Duration;
use crate::wire::serf::{RecentEvents, SerfPushPull};

#[test]
fn a_push_pull_is_merged() {
    let mut serf = start(config(1), Instant::ORIGIN);
    let slot = |ltime, name: &[u8]| {
        Some(RecentEvents {
            ltime: LamportTime(ltime),
            events: vec![(name.to_vec(), None)],
        })
    };
    let state = SerfPushPull {
        ltime: LamportTime(40),
        event_ltime: LamportTime(50),
        query_ltime: LamportTime(60),
        status_ltimes: vec![
            (name("n1"), LamportTime(12)),
            (name("n8"), LamportTime(30)),
            (name("n9"), LamportTime(31)),
        ],
        left_members: vec![name("n9"), name("n7")],
        events: vec![None, slot(48, b"a"), None, slot(49, b"b")],
    };
    serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    let stats = serf.stats();
    let times = (stats.member_time, stats.event_time, stats.query_time);
    assert_eq!(times, (40, 50, 60));
    let taken = serf.members.record(b"n1").unwrap();
    assert_eq!(taken.status_ltime, LamportTime(12));
    use crate::serf::membership::outcome::IntentKind::{Join, Leave};
    for (node, expected) in [
        ("n8", Some((Join, LamportTime(30)))),
        ("n9", Some((Leave, LamportTime(32)))),
        ("n7", Some((Leave, LamportTime(1)))),
    ] {
        assert_eq!(serf.intents.take(&name(node)), expected, "{node}");
    }
    serf.handle_input(Input::Timeout, Instant::from_millis(1));
    let events = std::iter::from_fn(|| serf.poll_output())
        .filter(|output| matches!(output, Output::Event(Event::User(_))))
        .count();
    assert_eq!(events, 2);
    assert_eq!(serf.stats().intent_queue, 0);
    assert_eq!(serf.stats().event_queue, 0);
}

/// Each time is as far ahead of the one before as a single message may be.
#[test]
fn a_state_moves_a_clock_no_further_than_a_few_messages() {
    let far = |step: u64| LamportTime(step << 42);
    let slot = |step| {
        Some(RecentEvents {
            ltime: far(step),
            events: vec![(b"deploy".to_vec(), None)],
        })
    };
    let state = SerfPushPull {
        ltime: LamportTime(u64::MAX),
        event_ltime: far(1_000),
        query_ltime: far(1_000),
        status_ltimes: (1..1_000)
            .map(|step| (name(&format!("m{step}")), far(step)))
            .collect(),
        events: (1..1_000).map(slot).collect(),
        ..SerfPushPull::default()
    };
    let mut serf = start(config(1), Instant::ORIGIN);
    for _ in 0..100 {
        serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    }
    let stats = serf.stats();
    for clock in [stats.member_time, stats.event_time, stats.query_time] {
        assert!((1 << 43..3 << 42).contains(&clock), "{clock}");
    }
}

#[test]
fn a_large_state_is_taken_in_piece_by_piece() {
    let names: Vec<NodeName> = (0..3_000).map(|n| name(&format!("m{n}"))).collect();
    let times = names.iter().cloned().zip((1..).map(LamportTime));
    let event = RecentEvents {
        ltime: LamportTime(7),
        events: vec![(b"deploy".to_vec(), None)],
    };
    let state = SerfPushPull {
        ltime: LamportTime(3_001),
        event_ltime: LamportTime(8),
        status_ltimes: times.collect(),
        // Out of order, and one of them twice.
        left_members: (0..1_500)
            .rev()
            .chain([3])
            .map(|n| names[n].clone())
            .collect(),
        events: vec![Some(event)],
        ..SerfPushPull::default()
    };
    let mut serf = start(config(1), Instant::ORIGIN);
    while serf.poll_output().is_some() {}
    serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    // The same state again during processing: they are processed one after the other.
    serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    let (mut now, mut pieces) = (Instant::ORIGIN, 0);
    while serf.user_states.deadline().is_some() {
        // Other work is done in between.
        let id = CommandId(pieces);
        let (name, payload, coalesce) = (b"mine".to_vec(), None, false);
        let command = Command::UserEvent {
            name,
            payload,
            coalesce,
        };
        serf.handle_input(Input::Command { id, command }, now);
        let outputs: Vec<Output> = std::iter::from_fn(|| serf.poll_output()).collect();
        let fired = |output: &Output| matches!(output, Output::CommandEnded { id: ended, result: CommandResult::Fired(_) } if *ended == id);
        assert!(outputs.iter().any(fired));
        let is_theirs = |output: &Output| matches!(output, Output::Event(Event::User(event)) if *event.name == *b"deploy");
        // The events are handed over after all members are processed, and only once.
        assert_eq!(outputs.iter().any(is_theirs), pieces == 3, "{pieces}");
        now = serf.poll_timeout().unwrap();
        assert!(now.since(Instant::ORIGIN) < Duration::from_millis(1));
        serf.handle_input(Input::Timeout, now);
        serf.check_invariants();
        pieces += 1;
    }
    assert_eq!(pieces, 6);
    use crate::serf::membership::outcome::IntentKind::{Join, Leave};
    for (n, node) in (0..).zip(&names) {
        let expected = match n {
            0..1_500 => (Leave, LamportTime(n + 2)),
            _ => (Join, LamportTime(n + 1)),
        };
        assert_eq!(serf.intents.take(node), Some(expected), "{node}");
    }
}

#[test]
fn a_join_is_through_when_the_last_intent_is_taken_in() {
    let mut net = Net::new(2);
    let times = (0..3_000).map(|n| (name(&format!("m{n}")), LamportTime(n + 1)));
    let state = SerfPushPull {
        ltime: LamportTime(3_001),
        status_ltimes: times.collect(),
        ..SerfPushPull::default()
    };
    let bytes = state.encode();
    let serf = &mut net.host(1).serf;
    let now = Instant::from_millis(1);
    let id = CommandId(1);
    let command = Command::Join {
        targets: vec![target(2)],
        ignore_old_events: false,
        announce: false,
    };
    serf.handle_input(Input::Command { id, command }, now);
    let join = JoinId(0);
    serf.handle_user_state(&bytes, Some(join), false, now);
    let result = serf.user_states.hold_back(join, Ok(()));
    assert_eq!(result, None, "it waits");
    let other = Err("no".to_owned());
    let result = serf.user_states.hold_back(JoinId(7), other.clone());
    assert_eq!(result, Some(other), "others do not");
    let is_end = |output: Output| matches!(output, Output::CommandEnded { .. });
    let mut pieces = 0;
    while serf.user_states.deadline().is_some() {
        assert!(
            !std::iter::from_fn(|| serf.poll_output()).any(is_end),
            "{pieces}"
        );
        let now = serf.poll_timeout().unwrap();
        serf.handle_input(Input::Timeout, now);
        pieces += 1;
    }
    assert_eq!(pieces, 3);
    let mut outputs = std::iter::from_fn(|| serf.poll_output());
    let result = CommandResult::Joined {
        contacted: 1,
        failures: Vec::new(),
    };
    assert!(outputs.any(|output| output
        == Output::CommandEnded {
            id,
            result: result.clone()
        }));
}

#[test]
fn a_push_pull_that_calls_the_self_left_is_refuted() {
    let mut serf = start(config(1), Instant::ORIGIN);
    let state = SerfPushPull {
        ltime: LamportTime(41),
        status_ltimes: vec![(name("n1"), LamportTime(40))],
        left_members: vec![name("n1")],
        ..SerfPushPull::default()
    };
    serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    assert_eq!(serf.member(b"n1").unwrap().status, MemberStatus::Alive);
    let own = serf.members.record(b"n1").unwrap();
    assert_eq!(own.status_ltime, LamportTime(42));
    assert_eq!(serf.stats().member_time, 43);
}
