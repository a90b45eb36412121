//! Tests of one node with messages made by the test.

use super::harness::{Net, addr, config, start};
use crate::serf::*;
use crate::swim::{Announcement, Node, NodeState};
use crate::time::Duration;
use crate::wire::VersionVector;
use crate::wire::serf::{
    JoinIntent, LeaveIntent, RecentEvents, SerfMessage, SerfPushPull, UserEventMessage,
};

pub(super) fn name(text: &str) -> NodeName {
    NodeName::new(text.as_bytes()).unwrap()
}

fn leave(node: &str, ltime: u64) -> SerfMessage {
    SerfMessage::Leave(LeaveIntent {
        ltime: LamportTime(ltime),
        node: name(node),
        prune: false,
    })
}

fn join(node: &str, ltime: u64) -> SerfMessage {
    SerfMessage::Join(JoinIntent {
        ltime: LamportTime(ltime),
        node: name(node),
    })
}

fn event(text: &str, payload: &str, ltime: u64) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(ltime),
        name: text.into(),
        payload: Some(payload.into()),
        coalesce: false,
    })
}

fn fire(text: &str, bytes: usize) -> Command {
    Command::UserEvent {
        name: text.into(),
        payload: Some(vec![b'x'; bytes]),
        coalesce: false,
    }
}

/// Returns the queue lengths: intents, queries, events.
fn queues(net: &Net) -> (usize, usize, usize) {
    let stats = net.serf(1).stats();
    (stats.intent_queue, stats.query_queue, stats.event_queue)
}

#[test]
fn a_fresh_node_knows_itself() {
    let mut net = Net::new(1);
    assert_eq!(net.status(1, 1), MemberStatus::Alive);
    net.run_for(Duration::from_millis(999));
    assert!(net.host(1).take_member_events().is_empty());
    net.run_for(Duration::from_millis(1));
    assert_eq!(net.host(1).take_member_events(), ["member-join n1"]);
    let stats = net.serf(1).stats();
    let expected = Stats {
        members: 1,
        member_time: 1,
        event_time: 1,
        query_time: 1,
        coordinate_resets: Some(0),
        ..Stats::default()
    };
    assert_eq!(stats, expected);
}

#[test]
fn bad_configurations_do_not_start() {
    let start = |config| {
        let nonces = crate::wire::NonceSource::new([1; 32]);
        Serf::new(config, Envelope::plain(nonces), 1, Instant::ORIGIN).err()
    };
    let mut long = config(1);
    // The map's head takes 2 bytes, the key 2, the value's head 3, and the meta's first byte 1.
    long.tags.set(b"a", &[b'x'; 505]);
    assert_eq!(start(long.clone()), None);
    long.tags.set(b"a", &[b'x'; 507]);
    let text = "Encoded length of tags exceeds limit of 512 bytes";
    assert_eq!(start(long).as_deref(), Some(text));
    let mut high = config(1);
    high.protocol = 6;
    let text = "Protocol version '6' too high. Must be in range: [2, 5]";
    assert_eq!(start(high).as_deref(), Some(text));
}

#[test]
fn a_leave_intent_about_the_living_self_is_refuted() {
    let mut net = Net::new(1);
    net.gossip_to(1, &leave("n1", 100));
    assert_eq!(net.status(1, 1), MemberStatus::Alive);
    assert_eq!(net.serf(1).stats().member_time, 102);
    let record = net.serf(1).members.record(b"n1").unwrap();
    assert_eq!(record.status_ltime, LamportTime(101));
    let refuted = queues(&net);
    // The same intent again and an older one change nothing.
    net.gossip_to(1, &leave("n1", 100));
    net.gossip_to(1, &leave("n1", 5));
    assert_eq!(queues(&net), refuted);
    assert_eq!(net.serf(1).stats().member_time, 102);
}

#[test]
fn intents_about_strangers_wait_for_them() {
    let mut net = Net::new(2);
    net.gossip_to(1, &leave("n2", 7));
    net.gossip_to(1, &join("n3", 8));
    assert_eq!(net.serf(1).members().count(), 1);
    assert!(net.serf(1).intents.contains(&name("n2")));
    // The reaper drops buffered intents in the end.
    net.run_for(Duration::from_secs(290));
    assert!(net.serf(1).intents.contains(&name("n3")));
    net.gossip_to(1, &leave("n2", 9));
    net.run_for(Duration::from_secs(26));
    assert!(!net.serf(1).intents.contains(&name("n3")));
    assert!(net.serf(1).intents.contains(&name("n2")));
    let now = net.now;
    net.host(2).serf.member_clock.catch_up(LamportTime(50), now);
    net.join(1, 2);
    assert!(net.serf(1).intents.is_empty());
    let record = net.serf(1).members.record(b"n2").unwrap();
    assert_eq!(record.status_ltime, LamportTime(9));
    assert_eq!(net.status(1, 2), MemberStatus::Leaving);
}

/// Makes a node as found by the membership layer.
fn found(text: &str) -> Node {
    let announced = Announcement {
        name: name(text),
        addr: addr(50),
        meta: (*b"\xff\x80").into(),
        versions: VersionVector::serf(5),
    };
    Node {
        announced: announced.into(),
        incarnation: 1,
        state: NodeState::Alive,
    }
}

#[test]
fn what_is_new_is_passed_on_and_only_that() {
    use MemberStatus::{Alive, Failed, Leaving, Left};
    for status in [Alive, Leaving, Left, Failed] {
        let mut serf = start(config(1), Instant::ORIGIN);
        let (now, x) = (Instant::ORIGIN, name("x"));
        serf.handle_joined(&found("x"), now);
        if matches!(status, Leaving | Left) {
            serf.members.leave_intent(&x, LamportTime(1));
        }
        if matches!(status, Failed | Left) {
            serf.handle_gone(&found("x"), now);
        }
        assert_eq!(serf.member(b"x").unwrap().status, status);
        let leave = |ltime| LeaveIntent {
            ltime: LamportTime(ltime),
            node: x.clone(),
            prune: false,
        };
        let join = |ltime| JoinIntent {
            ltime: LamportTime(ltime),
            node: x.clone(),
        };
        assert!(serf.handle_leave_intent(&leave(10), now), "{status:?}");
        assert!(!serf.handle_leave_intent(&leave(10), now));
        assert!(!serf.handle_join_intent(&join(10), now));
        assert!(serf.handle_join_intent(&join(11), now));
        assert!(!serf.handle_leave_intent(&leave(11), now));
        assert_eq!(serf.stats().member_time, 12);
        serf.check_invariants();
    }
    let mut serf = start(config(1), Instant::ORIGIN);
    let intent = JoinIntent {
        ltime: LamportTime(3),
        node: name("stranger"),
    };
    assert!(serf.handle_join_intent(&intent, Instant::ORIGIN));
    assert!(!serf.handle_join_intent(&intent, Instant::ORIGIN));
}

#[test]
fn messages_are_passed_on_byte_for_byte() {
    let mut net = Net::joined(2);
    net.host(1).sent.clear();
    // Keys out of order, an integer wider than needed, and an unknown name.
    let mut odd = b"\x01\x83\xa4Node\xa7unknown\xa1?\x92\x01\xc3\xa5LTime".to_vec();
    odd.extend(b"\xcf\0\0\0\0\0\0\0\x63");
    net.gossip_bytes_to(1, &odd);
    net.run_for(Duration::from_secs(2));
    assert!(net.serf(2).intents.contains(&name("unknown")));
    for n in 1..=2 {
        let sent = &net.host(n).sent;
        assert!(sent.windows(odd.len()).any(|window| window == odd), "n{n}");
    }
}

#[test]
fn the_member_table_is_bounded() {
    let mut small = config(1);
    small.swim.nodes_max = 4;
    let mut serf = start(small, Instant::ORIGIN);
    let now = Instant::from_millis;
    for (at, node) in [(1, "a"), (2, "b"), (3, "c")] {
        serf.handle_joined(&found(node), now(at));
    }
    serf.handle_gone(&found("b"), now(4));
    serf.handle_gone(&found("a"), now(5));
    // The member that is gone longest makes room; without any, new ones are ignored.
    for node in ["d", "e", "f"] {
        serf.handle_joined(&found(node), now(6));
        serf.check_invariants();
    }
    let names: Vec<_> = serf.members().map(|m| m.name.to_string()).collect();
    assert_eq!(names, ["c", "d", "e", "n1"]);
}

#[test]
fn deep_queues_are_cut() {
    let mut shallow = config(1);
    shallow.queue_depth_warning = 5;
    shallow.queue_depth_max = 10;
    let mut net = Net::new(0);
    net.add(shallow);
    for n in 0..20 {
        net.gossip_to(1, &join(&format!("x{n}"), 5));
    }
    assert_eq!(queues(&net).0, 20);
    net.gossip_to(1, &join("one too many", 5));
    assert_eq!(queues(&net).0, 10);
    for n in 0..3 {
        net.gossip_to(1, &join(&format!("y{n}"), 5));
    }
    assert_eq!(queues(&net).0, 13);
    net.run_for(Duration::from_secs(31));
    assert_eq!(queues(&net).0, 10);
    // No other node exists that could miss them.
    assert_eq!(net.serf(1).counters().dropped_unsent, 0);
}

#[test]
fn what_a_cut_queue_never_sent_is_counted() {
    let mut net = Net::joined(2);
    net.run_for(Duration::from_secs(5));
    net.host(1).serf.config.queue_depth_max = 10;
    assert_eq!(queues(&net).0, 0);
    let lost = |net: &Net| net.serf(1).counters().dropped_unsent;
    // Broadcasts are sent at once, but at a limited rate: most of a burst has to wait.
    for n in 0..600 {
        net.gossip_to(1, &join(&format!("x{n}"), 5));
    }
    assert!(queues(&net).0 <= 20);
    let lost = lost(&net);
    assert!((1..600).contains(&lost), "{lost}");
}

#[test]
fn gossip_that_comes_too_late_is_counted_and_told() {
    let mut net = Net::new(1);
    net.introduce(1);
    let event = |ltime: u64, name: &str| {
        SerfMessage::UserEvent(UserEventMessage {
            ltime: LamportTime(ltime),
            name: name.into(),
            payload: None,
            coalesce: false,
        })
    };
    let late = |net: &Net| net.serf(1).counters().dropped_old_events;
    net.gossip_to(1, &event(1000, "new"));
    net.run_for(Duration::from_secs(5));
    assert_eq!((late(&net), net.serf(1).poll_timeout()), (0, None));
    net.gossip_to(1, &event(400, "old"));
    net.gossip_to(1, &event(400, "old"));
    assert_eq!(late(&net), 2);
    assert_eq!(net.host(1).take_user_events().len(), 1);
    // The operator is warned once, after a while.
    let due = net.serf(1).poll_timeout().expect("a look at the queues");
    net.run_for(Duration::from_secs(31));
    assert!(net.now > due);
    assert_eq!(net.serf(1).poll_timeout(), None);
    // Repetitions in a push/pull do not count.
    let slot = RecentEvents {
        ltime: LamportTime(400),
        events: vec![(b"old".to_vec(), None)],
    };
    let state = SerfPushPull {
        events: vec![Some(slot)],
        ..SerfPushPull::default()
    };
    let now = net.now;
    let host = net.host(1);
    host.serf
        .handle_user_state(&state.encode(), None, false, now);
    assert_eq!(late(&net), 2);
}

#[test]
fn a_forged_state_delivers_a_bounded_number_of_events() {
    let mut serf = start(config(1), Instant::ORIGIN);
    let slot = |ltime: u64| {
        let events = (0..1000u32).map(|n| (n.to_be_bytes().to_vec(), None));
        Some(RecentEvents {
            ltime: LamportTime(ltime),
            events: events.collect(),
        })
    };
    let state = SerfPushPull {
        event_ltime: LamportTime(101),
        events: (1..=60).map(slot).collect(),
        ..SerfPushPull::default()
    };
    serf.handle_user_state(&state.encode(), None, false, Instant::ORIGIN);
    serf.handle_input(Input::Timeout, Instant::from_millis(1));
    serf.check_invariants();
    let outputs = std::iter::from_fn(|| serf.poll_output());
    assert_eq!(
        outputs.filter(|o| matches!(o, Output::Event(_))).count(),
        16_384
    );
    // Events refused for lack of space are reported after a while.
    assert_eq!(serf.counters().dropped_crowded_events, 60_000 - 16_384);
    assert!(serf.poll_timeout().is_some());
}

#[test]
fn absurd_times_are_ignored_everywhere() {
    let mut net = Net::new(1);
    for message in [
        leave("n1", u64::MAX),
        join("n9", u64::MAX - 1),
        event("e", "", u64::MAX),
    ] {
        net.gossip_to(1, &message);
    }
    let stats = net.serf(1).stats();
    assert_eq!((stats.member_time, stats.event_time), (1, 1));
    assert!(net.host(1).take_user_events().is_empty());
    assert_eq!(net.serf(1).counters().dropped_refused, 3);
}

#[test]
fn events_are_delivered_once_and_old_ones_never() {
    let mut net = Net::new(1);
    net.introduce(1);
    net.gossip_to(1, &event("late", "", 1000));
    assert_eq!(net.serf(1).stats().event_time, 1001);
    net.gossip_to(1, &event("old", "", 488));
    net.gossip_to(1, &event("just", "", 489));
    net.gossip_to(1, &event("just", "", 489));
    net.gossip_to(1, &event("just", "other", 489));
    net.gossip_to(1, &event("late", "", 999));
    net.run_for(Duration::from_millis(250));
    let got = net.host(1).take_user_events();
    let expected = [
        ("just", "", 489),
        ("just", "other", 489),
        ("late", "", 999),
        ("late", "", 1000),
    ];
    assert_eq!(got, expected.map(|(n, p, t)| (n.into(), p.into(), t)));
}

#[test]
fn own_events_have_limits() {
    let mut net = Net::new(1);
    let text = |result| match result {
        CommandResult::Failed(text) => text,
        other => panic!("{other:?}"),
    };
    let result = net.command_now(1, fire("x", 512));
    let expected = "user event exceeds configured limit of 512 bytes before encoding";
    assert_eq!(text(result), expected);
    let result = net.command_now(1, fire("x", 511));
    let expected = "encoded user event exceeds configured limit of 512 bytes after encoding";
    assert_eq!(text(result), expected);
    assert_eq!(net.serf(1).stats().event_time, 1);
    assert!(matches!(
        net.command_now(1, fire("x", 470)),
        CommandResult::Fired(_)
    ));
    assert_eq!(net.serf(1).stats().event_time, 2);
    assert_eq!(net.host(1).take_user_events().len(), 1);
}

#[test]
fn an_event_too_large_for_a_packet_is_kept_for_push_pulls() {
    let mut large = config(1);
    large.user_event_size_limit_bytes = 9216;
    let mut net = Net::new(0);
    net.add(large);
    net.add(config(2));
    assert!(matches!(
        net.command_now(1, fire("big", 2000)),
        CommandResult::Fired(_)
    ));
    assert_eq!(queues(&net), (0, 0, 0));
    assert_eq!(net.host(1).take_user_events().len(), 1);
    net.join(2, 1);
    assert_eq!(net.host(2).take_user_events().len(), 1);
}

#[test]
fn coalesced_events_wait_for_their_batch() {
    let mut net = Net::new(1);
    let coalesced = |payload: &str| Command::UserEvent {
        name: b"deploy".to_vec(),
        payload: Some(payload.into()),
        coalesce: true,
    };
    net.command_now(1, coalesced("1"));
    net.command_now(1, coalesced("2"));
    net.command_now(1, fire("other", 0));
    let got = net.host(1).take_user_events();
    assert_eq!(got, [("other".into(), String::new(), 3)]);
    net.run_for(Duration::from_secs(1));
    let got = net.host(1).take_user_events();
    assert_eq!(got, [("deploy".into(), "2".into(), 2)]);
}

#[test]
fn bad_states_and_messages_are_dropped() {
    let mut serf = start(config(1), Instant::ORIGIN);
    for bad in [&b""[..], b"\x00", b"\x02", b"\x02\x07", b"\x03\x80"] {
        serf.handle_user_state(bad, None, false, Instant::ORIGIN);
    }
    assert_eq!(serf.counters().dropped_malformed, 5);
    for bad in [&b""[..], b"\x02\x80", b"\x63\x80", b"\x04\xff"] {
        serf.handle_user_message(bad.to_vec(), None, Instant::ORIGIN);
    }
    assert_eq!(serf.counters().dropped_malformed, 9);
    serf.check_invariants();
}

#[test]
fn one_seed_gives_one_run() {
    let run = || {
        let mut net = Net::joined(3);
        net.command(1, fire("x", 3));
        net.run_for(Duration::from_secs(20));
        (1..=3)
            .map(|n| format!("{:?}", net.serf(n).stats()))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
