//! Repeated queries, and repeated answers.

use super::by_hand::query_by_hand;
use super::harness::{Net, addr};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::serf::{
    QueryMessage, RESPONSE_FLAG_PENDING, SerfMessage, message_type, query_flag,
};

const MILLISECOND: Duration = Duration::from_millis(1);

fn name(n: u16) -> NodeName {
    NodeName::new(format!("n{n}").as_bytes()).unwrap()
}

/// Makes a query from n1 to n2.
fn query(id: u32, flags: u32) -> QueryMessage {
    QueryMessage {
        id,
        addr: addr(1),
        source_node: Some(name(1)),
        flags,
        relay_factor: 2,
        timeout_nanos: 1_600_000_000,
        ..query_by_hand("load", 10)
    }
}

const ASKED: u32 = query_flag::ACK;
const REPEATED: u32 = query_flag::ACK | query_flag::NO_BROADCAST;

/// Makes n2, which knows n1 and n3 and is isolated except for what the test passes on.
fn answerer() -> Net {
    let mut net = Net::joined(3);
    net.cut_all_but(2);
    let all = QueryHandlers {
        all: true,
        ..QueryHandlers::default()
    };
    net.input(2, Input::QueryHandlers(all));
    net
}

/// Passes a query from an address to n2; returns the flags of the acks and the number of answers that it
/// sent.
fn ask_from(net: &mut Net, n: u16, message: &QueryMessage) -> (Vec<u32>, usize) {
    let mut bytes = vec![8];
    bytes.extend(SerfMessage::Query(message.clone()).encode());
    net.host(2).sent.clear();
    let (from, bytes) = (addr(n), &bytes[..]);
    net.input(2, Input::Datagram { from, bytes });
    replies(net)
}

fn replies(net: &mut Net) -> (Vec<u32>, usize) {
    let (mut acks, mut answers) = (Vec::new(), 0);
    let sent = std::mem::take(&mut net.host(2).sent);
    // Concatenated user messages of this kind.
    let start = [8, message_type::QUERY_RESPONSE];
    let starts = (0..sent.len()).filter(|at| sent[*at..].starts_with(&start));
    for at in starts {
        match SerfMessage::decode(&sent[at + 1..]) {
            Ok(SerfMessage::QueryResponse(reply)) if reply.flags & 1 != 0 => acks.push(reply.flags),
            Ok(SerfMessage::QueryResponse(_)) => answers += 1,
            other => panic!("{other:?}"),
        }
    }
    (acks, answers)
}

fn respond(net: &mut Net, id: u32) {
    let command = Command::Respond {
        ltime: LamportTime(10),
        id,
        payload: b"answer".to_vec(),
    };
    assert_eq!(net.command_now(2, command), CommandResult::Done);
}

#[test]
fn ack_and_answer_come_again_and_nothing_is_delivered_twice() {
    let mut net = answerer();
    let pending = 1 | RESPONSE_FLAG_PENDING;
    assert_eq!(ask_from(&mut net, 1, &query(7, ASKED)).0, [pending]);
    // The handler is still running.
    assert_eq!(
        ask_from(&mut net, 1, &query(7, REPEATED)),
        (vec![pending], 0)
    );
    respond(&mut net, 7);
    assert_eq!(
        ask_from(&mut net, 1, &query(7, REPEATED)),
        (vec![pending], 1)
    );
    assert_eq!(
        ask_from(&mut net, 1, &query(7, query_flag::NO_BROADCAST)),
        (vec![], 1)
    );
    // An earlier query may be missing; the hand-over waits for it.
    net.run_for(MILLISECOND * 300);
    assert_eq!(net.host(2).take_queries().len(), 1);
    assert_eq!(net.serf(2).counters().repeats_answered, 3);
    assert_eq!(net.serf(2).counters().queries_repeated, 0);
}

#[test]
fn an_ack_says_whether_an_answer_will_come() {
    let mut net = answerer();
    let mut only = QueryHandlers::default();
    only.names.insert(b"load".to_vec());
    net.input(2, Input::QueryHandlers(only));
    let other = QueryMessage {
        name: b"other".to_vec(),
        ..query(1, ASKED)
    };
    assert_eq!(ask_from(&mut net, 1, &other).0, [1]);
    assert_eq!(
        ask_from(&mut net, 1, &query(2, ASKED)).0,
        [1 | RESPONSE_FLAG_PENDING]
    );
    // All handlers have run, and none has answered.
    let (ltime, id) = (LamportTime(10), 2);
    net.input(2, Input::QueryHandled { ltime, id });
    assert_eq!(ask_from(&mut net, 1, &query(2, REPEATED)), (vec![1], 0));
    // An RPC client answers although there is no handler.
    respond(&mut net, 1);
    let again = QueryMessage {
        name: b"other".to_vec(),
        ..query(1, REPEATED)
    };
    assert_eq!(ask_from(&mut net, 1, &again).1, 1);
}

#[test]
fn only_the_asker_itself_is_answered_again() {
    let mut net = answerer();
    ask_from(&mut net, 1, &query(7, ASKED));
    respond(&mut net, 7);
    let nothing = (vec![], 0);
    // A gossiped copy.
    assert_eq!(ask_from(&mut net, 1, &query(7, ASKED)), nothing);
    // Another node repeats it, for n1, for itself, or under another name.
    assert_eq!(ask_from(&mut net, 3, &query(7, REPEATED)), nothing);
    let to_other = QueryMessage {
        addr: addr(3),
        ..query(7, REPEATED)
    };
    assert_eq!(ask_from(&mut net, 3, &to_other), nothing);
    let of_other = QueryMessage {
        source_node: Some(name(3)),
        ..to_other
    };
    assert_eq!(ask_from(&mut net, 3, &of_other), nothing);
    let nameless = QueryMessage {
        source_node: None,
        ..query(7, REPEATED)
    };
    assert_eq!(ask_from(&mut net, 1, &nameless), nothing);
    // A non-member.
    let stranger = QueryMessage {
        addr: addr(50),
        source_node: Some(name(50)),
        ..query(8, ASKED)
    };
    ask_from(&mut net, 50, &stranger);
    let again = QueryMessage {
        flags: REPEATED,
        ..stranger
    };
    assert_eq!(ask_from(&mut net, 50, &again), nothing);
    assert_eq!(net.serf(2).counters().repeats_answered, 0);
    // The originator itself gets the answer.
    assert_eq!(ask_from(&mut net, 1, &query(7, REPEATED)).1, 1);
    // The answers expire.
    net.run_for(MILLISECOND * 1601);
    assert_eq!(ask_from(&mut net, 1, &query(7, REPEATED)), nothing);
}

#[test]
fn a_flood_of_repetitions_is_bounded() {
    let mut net = answerer();
    ask_from(&mut net, 1, &query(7, ASKED));
    let again: usize = (0..100)
        .map(|_| ask_from(&mut net, 1, &query(7, REPEATED)).0.len())
        .sum();
    assert_eq!(again, 16);
    // Over many queries the rate limit applies.
    let mut acks = 0;
    for id in 100..1000 {
        ask_from(&mut net, 1, &query(id, ASKED));
        for _ in 0..2 {
            acks += ask_from(&mut net, 1, &query(id, REPEATED)).0.len();
        }
    }
    assert_eq!(acks, 1024 - 16);
    assert!(net.serf(2).counters().dropped_refused > 500);
}

#[test]
fn a_direct_copy_does_not_keep_the_gossiped_one_from_spreading() {
    let mut net = answerer();
    ask_from(&mut net, 1, &query(7, REPEATED));
    assert_eq!(net.serf(2).stats().query_queue, 0);
    ask_from(&mut net, 1, &query(7, ASKED));
    assert_eq!(net.serf(2).stats().query_queue, 1);
    // An earlier query may be missing; the hand-over waits for it.
    net.run_for(MILLISECOND * 300);
    assert_eq!(net.host(2).take_queries().len(), 1);
}

/// Sends a query from n1 that gets no response; returns the times of its repetitions in milliseconds.
fn repeat_times(net: &mut Net, params: QueryParams) -> Vec<u64> {
    let start = net.now;
    net.command(1, Command::Query(params));
    let mut times = Vec::new();
    let mut before = net.serf(1).counters().queries_repeated;
    while net.now.since(start) < Duration::from_secs(2) {
        net.run_for(MILLISECOND);
        let sent = net.serf(1).counters().queries_repeated;
        if sent != before {
            times.push(net.now.since(start).as_millis() as u64);
            before = sent;
        }
    }
    times
}

fn asking() -> QueryParams {
    QueryParams {
        name: b"load".to_vec(),
        request_ack: true,
        timeout: Some(Duration::from_millis(1600)),
        ..QueryParams::default()
    }
}

#[test]
fn who_is_silent_is_asked_eight_times_at_most() {
    let mut net = Net::joined(3);
    net.cut_all_but(1);
    let times = repeat_times(&mut net, asking());
    assert_eq!(times, [100, 200, 300, 500, 700, 1000, 1300, 1500]);
    assert_eq!(net.serf(1).counters().queries_repeated, 16);
    // Without acks no member is known to be missing.
    let params = QueryParams {
        request_ack: false,
        ..asking()
    };
    assert!(repeat_times(&mut net, params).is_empty());
    // Only to the nodes that the query is for.
    let params = QueryParams {
        filter_nodes: vec![b"n3".to_vec(), b"n1".to_vec()],
        ..asking()
    };
    assert_eq!(repeat_times(&mut net, params).len(), 8);
    assert_eq!(net.serf(1).counters().queries_repeated, 16 + 8);
    let params = QueryParams {
        filter_tags: vec![(b"role".to_vec(), b"web".to_vec())],
        ..asking()
    };
    assert!(repeat_times(&mut net, params).is_empty());
}

#[test]
fn keys_are_asked_for_until_all_have_answered() {
    let mut net = Net::joined(3);
    net.cut_all_but(1);
    net.command(1, Command::ListKeys);
    net.run_for(Duration::from_secs(4));
    assert_eq!(net.serf(1).counters().queries_repeated, 16);
}

#[test]
fn nobody_is_asked_again_who_has_answered() {
    let mut net = Net::joined(4);
    for n in 1..=4 {
        net.host(n).answer = Some(b"x".to_vec());
    }
    assert!(repeat_times(&mut net, asking()).is_empty());
    net.command(1, Command::ListKeys);
    net.run_for(Duration::from_secs(4));
    assert_eq!(net.serf(1).counters().queries_repeated, 0);
    for n in 1..=4 {
        assert_eq!(net.serf(n).counters().duplicate_responses, 0);
    }
}

#[test]
fn a_forgotten_query_is_not_repeated() {
    let mut net = Net::joined(2);
    net.cut_all_but(1);
    let id = net.command(1, Command::Query(asking()));
    net.command(1, Command::ForgetQuery(id));
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.serf(1).counters().queries_repeated, 0);
}

#[test]
fn a_thousand_queries_to_many_do_not_burst() {
    let mut net = Net::joined(12);
    net.cut_all_but(1);
    for _ in 0..1024 {
        let id = net.command(1, Command::Query(asking()));
        assert!(matches!(
            net.host(1).results[&id],
            CommandResult::Queried { .. }
        ));
    }
    let start = net.now;
    let mut before = 0;
    let mut most = 0;
    while net.now.since(start) < Duration::from_secs(2) {
        net.run_for(MILLISECOND * 5);
        let sent = net.serf(1).counters().queries_repeated;
        most = most.max(sent - before);
        before = sent;
    }
    // One step, plus the beginning of the next one.
    assert!(most <= 32, "{most} datagrams within 5 ms");
    assert!(before > 3000, "{before}");
}
