//! User events and queries are handed over in the order of their Lamport times.

use super::by_hand::query_by_hand;
use super::harness::{Net, config, target};
use crate::serf::snapshot::{Snapshot, SnapshotLine};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::serf::{
    Filter, QueryMessage, RecentEvents, SerfMessage, SerfPushPull, UserEventMessage, query_flag,
};

const SECOND: Duration = Duration::from_secs(1);
/// How long a gossiped event or query waits for a missing earlier one.
const WAIT: Duration = Duration::from_millis(250);

fn event(ltime: u64, coalesce: bool) -> SerfMessage {
    named(format!("e{ltime}").into(), ltime, coalesce)
}

/// Makes an event that another node fired at a time at which there may be one already.
fn event_of_another(ltime: u64) -> SerfMessage {
    named(b"other".to_vec(), ltime, false)
}

fn named(name: Vec<u8>, ltime: u64, coalesce: bool) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(ltime),
        name,
        payload: None,
        coalesce,
    })
}

fn query(ltime: u64, name: &str) -> QueryMessage {
    QueryMessage {
        flags: query_flag::ACK,
        timeout_nanos: 3_200_000_000,
        ..query_by_hand(name, ltime)
    }
}

fn fire(coalesce: bool) -> Command {
    Command::UserEvent {
        name: b"own".to_vec(),
        payload: None,
        coalesce,
    }
}

fn gossip(net: &mut Net, times: impl IntoIterator<Item = u64>) {
    for ltime in times {
        net.gossip_to(1, &event(ltime, false));
    }
}

/// Takes the user events so far; returns their times.
fn events(net: &mut Net) -> Vec<u64> {
    let events = net.host(1).take_user_events();
    events.into_iter().map(|(_, _, ltime)| ltime).collect()
}

/// Takes the queries so far; returns their times.
fn queries(net: &mut Net) -> Vec<u64> {
    let queries = net.host(1).take_queries();
    queries.into_iter().map(|query| query.ltime.0).collect()
}

fn slots(times: impl Iterator<Item = u64>) -> Vec<Option<RecentEvents>> {
    let slot = |ltime| {
        Some(RecentEvents {
            ltime: LamportTime(ltime),
            events: vec![(b"e".to_vec(), None)],
        })
    };
    times.map(slot).collect()
}

fn state(clock: u64, events: Vec<Option<RecentEvents>>) -> Vec<u8> {
    SerfPushPull {
        event_ltime: LamportTime(clock),
        query_ltime: LamportTime(clock),
        events,
        ..SerfPushPull::default()
    }
    .encode()
}

#[test]
fn a_burst_that_comes_backwards_is_handed_over_forwards_at_once() {
    let mut net = Net::new(1);
    net.introduce(1);
    gossip(&mut net, (1..=20).rev());
    assert_eq!(events(&mut net), Vec::from_iter(1..=20));
    assert_eq!(net.serf(1).event_order.deadline(), None);
    assert_eq!(net.serf(1).counters().events_out_of_order, 0);
}

#[test]
fn a_packet_with_the_newest_first_is_handed_over_oldest_first() {
    let mut net = Net::new(1);
    net.introduce(1);
    // Other nodes fired at the same times: none is missing.
    gossip(&mut net, 1..=9);
    assert_eq!(events(&mut net), Vec::from_iter(1..=9));
    net.gossip_together_to(1, &[10, 9, 7, 4].map(event_of_another));
    net.run_for(Duration::from_nanos(1));
    assert_eq!(events(&mut net), [4, 7, 9, 10]);
    net.gossip_together_to(1, &[12, 11].map(event_of_another));
    assert_eq!(events(&mut net), [11, 12], "nothing is late, nothing waits");

    for ltime in 1..=9 {
        net.gossip_to(1, &SerfMessage::Query(query(ltime, "q")));
    }
    assert_eq!(queries(&mut net), Vec::from_iter(1..=9));
    let of_another = |ltime: u64| {
        SerfMessage::Query(QueryMessage {
            id: 77 + ltime as u32,
            ..query(ltime, "q")
        })
    };
    net.gossip_together_to(1, &[10, 9, 7, 4].map(of_another));
    net.run_for(Duration::from_nanos(1));
    assert_eq!(queries(&mut net), [4, 7, 9, 10]);
}

/// Seed 4909 of the swarm: packets of two nodes came at the same instant.
#[test]
fn packets_of_one_turn_are_put_in_order_together() {
    let mut net = Net::new(1);
    net.introduce(1);
    gossip(&mut net, 1..=9);
    assert_eq!(events(&mut net), Vec::from_iter(1..=9));
    // The second packet brings what is late, since other nodes fired at these times as well.
    let newest = [11, 10].map(|ltime| event(ltime, false));
    net.gossip_in_one_turn_to(1, &[&newest, &[8, 9].map(event_of_another)]);
    assert_eq!(events(&mut net), [8, 9, 10, 11]);

    let asked = |ltime, id| {
        SerfMessage::Query(QueryMessage {
            id,
            ..query(ltime, "q")
        })
    };
    net.gossip_in_one_turn_to(1, &[&[asked(1, 1), asked(2, 1)]]);
    assert_eq!(queries(&mut net), [1, 2]);
    let packets: [&[SerfMessage]; 2] = [&[asked(4, 1), asked(3, 1)], &[asked(1, 2)]];
    net.gossip_in_one_turn_to(1, &packets);
    assert_eq!(queries(&mut net), [1, 3, 4]);
}

#[test]
fn what_is_missing_is_waited_for_and_passed_on_at_once() {
    let mut net = Net::joined(2);
    net.cut_all_but(1);
    gossip(&mut net, [2, 4]);
    assert!(events(&mut net).is_empty());
    assert_eq!(net.serf(1).stats().event_queue, 2);
    net.run_for(WAIT / 2);
    gossip(&mut net, [1]);
    assert_eq!(events(&mut net), [1, 2]);
    net.run_for(WAIT / 2 - Duration::from_nanos(1));
    assert!(events(&mut net).is_empty());
    net.run_for(Duration::from_nanos(1));
    assert_eq!(events(&mut net), [4]);
    // A time that was given up is still handed over when it arrives.
    gossip(&mut net, [3, 6, 5]);
    net.run_for(Duration::from_nanos(1));
    assert_eq!(events(&mut net), [3, 5, 6]);
    assert_eq!(net.serf(1).counters().events_out_of_order, 1);
}

#[test]
fn an_own_event_waits_for_the_earlier_ones_too() {
    let mut net = Net::new(1);
    net.introduce(1);
    gossip(&mut net, [2]);
    let fired = CommandResult::Fired(LamportTime(3));
    assert_eq!(net.command_now(1, fire(false)), fired);
    assert!(events(&mut net).is_empty());
    gossip(&mut net, [1]);
    assert_eq!(events(&mut net), [1, 2, 3]);
    net.command_now(1, fire(false));
    assert_eq!(events(&mut net), [4]);
}

#[test]
fn coalesced_events_are_no_gaps_and_come_by_time() {
    let mut net = Net::new(1);
    net.introduce(1);
    for ltime in [4, 2, 5] {
        net.gossip_to(1, &event(ltime, true));
    }
    gossip(&mut net, [3, 1, 6]);
    assert_eq!(events(&mut net), [1, 3, 6]);
    net.run_for(SECOND);
    assert_eq!(events(&mut net), [2, 4, 5]);
    assert_eq!(net.serf(1).counters().events_out_of_order, 0);
}

#[test]
fn a_coalesced_event_is_recorded_when_its_batch_closes() {
    let mut recording = config(1);
    recording.snapshot = Some(Snapshot::default());
    let mut net = Net::new(0);
    net.add(recording);
    net.introduce(1);
    let recorded = |net: &mut Net| {
        let lines = std::mem::take(&mut net.host(1).snapshot).into_iter();
        let times = lines.filter_map(|line| match line {
            SnapshotLine::EventClock(ltime) => Some(ltime.0),
            _ => None,
        });
        times.collect::<Vec<_>>()
    };
    net.command_now(1, fire(true));
    assert!(recorded(&mut net).is_empty());
    // A newer event with the same name replaces it, so the first one is done.
    net.command_now(1, fire(true));
    assert_eq!(recorded(&mut net), [1]);
    net.run_for(SECOND * 3);
    assert_eq!(recorded(&mut net), [2]);
}

#[test]
fn a_state_is_taken_in_lowest_time_first() {
    let mut net = Net::new(1);
    let now = net.now;
    let bytes = state(521, slots((9..=520).rev()));
    net.host(1).serf.handle_user_state(&bytes, None, false, now);
    net.input(1, Input::Timeout);
    assert_eq!(events(&mut net), Vec::from_iter(9..=520));
    // Neither the next event nor the next query waits.
    gossip(&mut net, [521]);
    assert_eq!(events(&mut net), [521]);
    net.gossip_to(1, &SerfMessage::Query(query(521, "q")));
    assert_eq!(queries(&mut net), [521]);
}

#[test]
fn a_state_of_a_node_that_has_forgotten_leaves_no_gap() {
    let mut net = Net::new(1);
    net.introduce(1);
    gossip(&mut net, [1]);
    let now = net.now;
    net.host(1)
        .serf
        .handle_user_state(&state(40, Vec::new()), None, false, now);
    gossip(&mut net, [40]);
    assert_eq!(events(&mut net), [1, 40]);
}

#[test]
fn a_join_without_replay_leaves_no_gap() {
    let mut net = Net::new(2);
    for _ in 0..5 {
        net.command_now(2, fire(false));
    }
    let join = Command::Join {
        targets: vec![target(2)],
        ignore_old_events: true,
        announce: true,
    };
    net.command_to_end(1, join);
    net.run_for(SECOND);
    events(&mut net);
    gossip(&mut net, [6]);
    assert_eq!(events(&mut net), [6]);
}

#[test]
fn a_snapshot_leaves_no_gap() {
    let mut recording = config(1);
    recording.snapshot = Some(Snapshot {
        event_clock: LamportTime(30),
        query_clock: LamportTime(40),
        ..Snapshot::default()
    });
    let mut net = Net::new(0);
    net.add(recording);
    net.introduce(1);
    gossip(&mut net, [31]);
    net.gossip_to(1, &SerfMessage::Query(query(41, "q")));
    assert_eq!(events(&mut net), [31]);
    assert_eq!(queries(&mut net), [41]);
}

#[test]
fn a_leave_hands_over_waiting_events_before_it_is_recorded() {
    let mut recording = config(1);
    recording.snapshot = Some(Snapshot::default());
    let mut net = Net::new(0);
    net.add(recording);
    net.introduce(1);
    gossip(&mut net, [7, 3, 5]);
    net.command(1, Command::Leave);
    // Recorded before the leave line, after which nothing is recorded.
    let lines = &net.host(1).snapshot;
    let clock = SnapshotLine::EventClock(LamportTime(7));
    let at = |line| lines.iter().position(|other| *other == line);
    assert!(at(clock).unwrap() < at(SnapshotLine::Leave).unwrap());
    assert_eq!(events(&mut net), [3, 5, 7]);
}

#[test]
fn more_than_may_wait_go_and_are_counted() {
    let mut net = Net::new(1);
    net.introduce(1);
    // Five events of each time, 1,025 in all.
    let times = (2..=206).rev();
    let times = times.flat_map(|ltime| (1..=5).map(move |n| (ltime, n)));
    for (ltime, n) in times {
        assert!(events(&mut net).is_empty());
        net.gossip_to(
            1,
            &SerfMessage::UserEvent(UserEventMessage {
                ltime: LamportTime(ltime),
                name: format!("e{n}").into(),
                payload: None,
                coalesce: false,
            }),
        );
    }
    let got = events(&mut net);
    assert_eq!(got.len(), 1025);
    assert!(got.is_sorted());
    assert_eq!(net.serf(1).counters().order_pushed_out, 1025);
    assert_eq!(net.serf(1).counters().events_out_of_order, 0);
}

#[test]
fn a_query_is_acked_at_once_and_handed_over_in_its_order() {
    let mut net = Net::new(1);
    for ltime in [5, 3] {
        net.host(1).sent.clear();
        net.gossip_to(1, &SerfMessage::Query(query(ltime, "q")));
        assert!(!net.host(1).sent.is_empty(), "not acked");
    }
    // Internal queries and queries for other nodes leave no gaps.
    net.gossip_to(1, &SerfMessage::Query(query(4, "_serf_ping")));
    let for_another = QueryMessage {
        filters: Some(vec![Filter::Nodes(vec![b"n2".to_vec()]).encode()]),
        ..query(2, "q")
    };
    net.gossip_to(1, &SerfMessage::Query(for_another));
    assert!(queries(&mut net).is_empty());
    net.gossip_to(1, &SerfMessage::Query(query(1, "q")));
    assert_eq!(queries(&mut net), [1, 3, 5]);
}

#[test]
fn a_waiting_query_keeps_most_of_its_time() {
    let mut net = Net::new(1);
    let short = QueryMessage {
        timeout_nanos: 400_000_000,
        ..query(5, "q")
    };
    net.gossip_to(1, &SerfMessage::Query(short));
    net.run_for(Duration::from_millis(49));
    assert!(queries(&mut net).is_empty());
    net.run_for(Duration::from_millis(1));
    assert_eq!(queries(&mut net), [5]);
    // A query with a long timeout waits no longer than an event.
    net.gossip_to(1, &SerfMessage::Query(query(9, "q")));
    net.run_for(WAIT);
    assert_eq!(queries(&mut net), [9]);
}

#[test]
fn an_own_query_waits_for_nothing() {
    let mut net = Net::new(1);
    net.gossip_to(1, &SerfMessage::Query(query(2, "q")));
    let own = QueryParams {
        name: b"own".to_vec(),
        ..QueryParams::default()
    };
    net.command(1, Command::Query(own));
    assert_eq!(queries(&mut net), [3]);
    net.gossip_to(1, &SerfMessage::Query(query(1, "q")));
    net.run_for(Duration::from_nanos(1));
    assert_eq!(queries(&mut net), [1, 2]);
    // A query by this node does not take part in the order.
    assert_eq!(net.serf(1).counters().queries_out_of_order, 0);
}
