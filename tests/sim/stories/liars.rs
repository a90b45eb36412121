//! What a hostile member can and cannot achieve by lies about clocks and queries.

use cottar::serf::{Command, CommandResult, LamportTime, QueryParams, QueryRecord};
use cottar::swim::NodeState;
use cottar::time::Duration;
use cottar::wire::serf::{
    JoinIntent, LeaveIntent, QueryResponseMessage, RESPONSE_FLAG_ACK, SerfMessage, UserEventMessage,
};
use cottar::wire::{Dead, Message};

use super::{agree, close, cluster, cut_both_ways, got, incarnation, secs, state};
use crate::cluster::{Twist, host_addr, node_name};

/// The highest time that a node with this clock accepts.
fn leap(clock: u64) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(clock + (1 << 40)),
        name: b"deploy".to_vec(),
        payload: Some(format!("leap from {clock}").into_bytes()),
        coalesce: false,
    })
}

/// Seed 8 of the swarm, with a liar: a node refuses times too far ahead of its clock. A node whose clock had
/// been driven further ahead by several messages that only it got refused the others' events as old, and they
/// refused its events, for good. State exchanges end that.
#[test]
fn exchanges_reunite_a_clock_that_was_driven_ahead() {
    let mut sim = cluster(271, 4);
    sim.twist(2, Twist::Liar);
    cut_both_ways(&mut sim, &[3], &[0, 1]);
    sim.network.cut(3, 2);
    for _ in 0..3 {
        let clock = sim.serf(3).stats().event_time;
        sim.say(2, host_addr(3), &[leap(clock)]);
        sim.run_for(Duration::from_millis(10));
    }
    assert!(sim.serf(3).stats().event_time > 3 << 40);
    assert_eq!(sim.serf(0).stats().event_time, 1);
    sim.network.mend_all();
    // Each exchange allows one leap, and the first one three more within seconds.
    sim.run_for(secs(60));
    for id in [0, 1, 3] {
        sim.user_event(id, "deploy", &format!("from {id}"));
    }
    sim.run_for(secs(2));
    for id in [0, 1, 3] {
        for from in [0, 1, 3] {
            assert_eq!(got(&sim, id, &format!("from {from}")), 1, "{from} at {id}");
        }
    }
}

/// Seed 4135 of the swarm: a node followed a clock that was several leaps ahead of all others, and fired an
/// event. For a node whose clock was slightly behind, the event was more than a leap ahead, so it was refused
/// and never delivered.
#[test]
fn events_of_a_node_that_followed_a_leap_are_accepted() {
    let mut sim = cluster(273, 3);
    sim.twist(2, Twist::Liar);
    cut_both_ways(&mut sim, &[2], &[0, 1]);
    for _ in 0..3 {
        let clock = sim.serf(2).stats().event_time;
        sim.say(2, host_addr(2), &[leap(clock)]);
        sim.run_for(Duration::from_millis(10));
    }
    // An event that is still in transit to node 0.
    sim.network.cut(1, 0);
    sim.user_event(1, "deploy", "before");
    sim.network.mend(1, 2);
    sim.network.mend(2, 1);
    sim.join(1, &[2], true, true);
    sim.run_for(Duration::from_millis(20));
    let [behind, ahead] = [0, 1].map(|id| sim.serf(id).stats().event_time);
    assert!(ahead > behind + (1 << 40), "{ahead} and {behind}");
    sim.network.mend(1, 0);
    sim.user_event(1, "deploy", "after");
    sim.run_for(secs(1));
    assert_eq!(got(&sim, 0, "after"), 1);
}

/// Each message may be four leaps ahead of the clock that the one before it has moved. So one datagram could
/// move a clock by thousands of leaps, and a few hundred datagrams could exhaust it for good. Nodes that the
/// datagram did not reach refused everything that the victim sent.
#[test]
fn many_times_far_ahead_move_a_clock_as_far_as_a_few() {
    let mut sim = cluster(274, 4);
    sim.twist(2, Twist::Liar);
    let leap = |step: u64| step << 42;
    let intents: Vec<SerfMessage> = (1..=100)
        .map(|step| {
            SerfMessage::Join(JoinIntent {
                ltime: LamportTime(leap(step)),
                node: node_name(&format!("ghost-{step}")),
            })
        })
        .collect();
    let events: Vec<SerfMessage> = (1..=100)
        .map(|step| {
            SerfMessage::UserEvent(UserEventMessage {
                ltime: LamportTime(leap(step)),
                name: b"deploy".to_vec(),
                payload: Some(format!("step {step}").into_bytes()),
                coalesce: false,
            })
        })
        .collect();
    sim.say(2, host_addr(0), &intents);
    sim.say(2, host_addr(0), &events);
    sim.run_for(secs(1));
    for id in [0, 1, 3] {
        let stats = sim.serf(id).stats();
        for clock in [stats.member_time, stats.event_time] {
            assert!(clock < leap(3), "node {id} is at {clock}");
        }
    }
    sim.run_for(secs(30));
    for id in [0, 1, 3] {
        sim.user_event(id, "deploy", &format!("from {id}"));
        sim.command(
            id,
            Command::ForceLeave {
                node: b"n3".to_vec(),
                prune: false,
            },
        );
    }
    sim.run_for(secs(2));
    for id in [0, 1, 3] {
        for from in [0, 1, 3] {
            assert_eq!(got(&sim, id, &format!("from {from}")), 1, "{from} at {id}");
        }
    }
    agree(&mut sim, secs(30));
}

/// All nodes get a forged message at the same time that a member has left, so that none gossips to it any
/// more. It learns that from the answer to its next probe or push/pull, and refutes.
#[test]
fn a_member_that_all_list_as_gone_comes_back() {
    let mut sim = cluster(275, 5);
    sim.twist(4, Twist::Forger);
    let node = node_name("n1");
    let claim = Message::Dead(Dead {
        incarnation: incarnation(&sim, 0, "n1") + 1_000,
        node: node.clone(),
        from: Some(node.clone()),
    });
    let intent = SerfMessage::Leave(LeaveIntent {
        ltime: LamportTime(1 << 41),
        node,
        prune: true,
    });
    for told in [0, 2, 3] {
        let intent = Message::User(intent.encode());
        sim.tell(4, host_addr(told), &[intent, claim.clone()]);
    }
    sim.run_for(Duration::from_millis(5));
    assert!([0, 2, 3].map(|id| state(&sim, id, "n1")) == [Some(NodeState::Left); 3]);
    agree(&mut sim, secs(35));
    assert!(incarnation(&sim, 0, "n1") > 1_000);
    close(sim);
}

/// Any node that knows a query's id can answer it under any name. Such answers once used up
/// the limit, so that later real answers were refused.
#[test]
fn answers_of_unknown_senders_displace_no_members() {
    let mut sim = cluster(272, 6);
    sim.twist(5, Twist::Liar);
    let params = QueryParams {
        name: b"load".to_vec(),
        request_ack: true,
        ..QueryParams::default()
    };
    let query = sim.query(0, params);
    let Some(&CommandResult::Queried { ltime, id, .. }) = sim.result(query) else {
        panic!("{:?}", sim.result(query));
    };
    for flags in [RESPONSE_FLAG_ACK, 0] {
        for packet in 0..10 {
            let ghost = |number| {
                SerfMessage::QueryResponse(QueryResponseMessage {
                    ltime,
                    id,
                    from: node_name(&format!("ghost-{packet}-{number}")),
                    flags,
                    payload: None,
                })
            };
            let ghosts: Vec<SerfMessage> = (0..20).map(ghost).collect();
            sim.say(5, host_addr(0), &ghosts);
        }
    }
    sim.run_for(secs(5));
    let of_member = |name: &cottar::wire::NodeName| name.as_bytes().starts_with(b"n");
    let (mut acks, mut answers, mut strangers) = (0, 0, 0);
    for (_, record) in &sim.returned[&query] {
        match record {
            QueryRecord::Ack { from } if of_member(from) => acks += 1,
            QueryRecord::Response { from, .. } if of_member(from) => answers += 1,
            QueryRecord::Done => {}
            _ => strangers += 1,
        }
    }
    assert_eq!((acks, answers, strangers), (6, 6, 64));
}
