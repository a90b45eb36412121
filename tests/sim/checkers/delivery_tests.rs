//! Tests that each checker of the delivery spec can fail.

use super::tests::{asked, at, both, delivered, ending, joined, started, tagged, user, with};
use super::*;
use crate::history::{Steady, Stop};
use cottar::serf::{
    CommandId, Event, LamportTime, MemberEvent, MemberEventKind, MemberStatus, Query, QueryRecord,
};
use cottar::time::Instant;

pub(super) fn in_life(life: u32, mut record: Record) -> Record {
    record.life = life;
    record
}

pub(super) fn fired(millis: u64, node: NodeId, payload: &str) -> Record {
    let fired = What::Fired {
        name: b"deploy".to_vec(),
        payload: payload.into(),
    };
    at(millis, node, fired)
}

/// A history in which node 1 stops and starts again, and both nodes run at the end.
pub(super) fn restarted(continues: bool, before: Vec<Record>, after: Vec<Record>) -> Vec<Record> {
    let again = What::Started {
        name: cluster_name("b"),
        addr: crate::cluster::host_addr(0),
        continues,
    };
    let mut news = before;
    news.push(at(100, 1, What::Stopped(Stop::Crashed)));
    news.push(in_life(1, at(200, 1, again)));
    news.extend(after);
    let mut history = with(ending(both(), both()), news);
    if let Some(last) = history.last_mut() {
        last.life = 1;
    }
    history
}

fn cluster_name(name: &str) -> NodeName {
    crate::cluster::node_name(name)
}

#[test]
fn an_event_again_in_a_later_life_is_seen() {
    let run = |continues| {
        let before = vec![delivered(50, 1, 0, user(3, "x"))];
        let after = vec![in_life(1, delivered(300, 1, 0, user(3, "x")))];
        events_are_not_repeated_after_restarts(&restarted(continues, before, after))
    };
    assert!(run(true).is_err());
    run(false).unwrap();
}

#[test]
fn an_event_missed_for_good_is_seen() {
    let run = |continues, after: Vec<Record>| {
        let mut news = vec![delivered(150, 0, 0, user(7, "x")), fired(150, 0, "x")];
        news.extend(after);
        missed_events_arrive_after_restarts(&restarted(continues, vec![], news))
    };
    assert!(run(true, vec![]).is_err());
    let heard = in_life(1, delivered(300, 1, 0, user(7, "x")));
    run(true, vec![heard]).unwrap();
    run(false, vec![]).unwrap();
    // No node remembers the event any more.
    run(true, vec![delivered(400, 0, 1, user(519, "y"))]).unwrap();
    // The first join skipped the event.
    let mut skipped = restarted(
        true,
        vec![at(2, 1, joined(8, &[0]))],
        vec![delivered(150, 0, 0, user(7, "x")), fired(150, 0, "x")],
    );
    missed_events_arrive_after_restarts(&skipped).unwrap();
    skipped.remove(3);
    assert!(missed_events_arrive_after_restarts(&skipped).is_err());
}

#[test]
fn an_event_from_before_a_join_is_seen() {
    let joins = |contacts: &[NodeId], ignores_old, called| What::Joined {
        skipped_before: 3,
        contacts: contacts.to_vec(),
        asked_at: Instant::from_millis(20),
        ignores_old,
        called,
    };
    let run = |known_at, got_at, join: What| {
        let mut history = vec![
            at(0, 0, started("a")),
            delivered(known_at, 0, 0, user(2, "x")),
            at(10, 1, started("b")),
            at(30, 1, join),
            delivered(got_at, 1, 0, user(2, "x")),
        ];
        history.sort_by_key(|record| record.at);
        events_before_a_join_are_not_delivered(&history)
    };
    assert!(run(5, 40, joins(&[0], true, false)).is_err());
    assert!(
        run(5, 25, joins(&[0], true, false)).is_err(),
        "before the merge"
    );
    run(5, 25, joins(&[0], true, true)).unwrap();
    run(5, 40, joins(&[0], false, false)).unwrap();
    run(21, 40, joins(&[0], true, false)).unwrap();
    run(5, 40, joins(&[0, 1], true, false)).unwrap();
}

pub(super) const STEADY: Steady = Steady {
    loss: 0.0,
    bound: Some(Duration::from_secs(2)),
    hoped: Duration::from_secs(1),
    queries_reach_all: true,
    in_order: true,
};

/// A history in which both nodes run and `news` happens in a steady period.
pub(super) fn steadily(steady: Steady, news: Vec<Record>) -> Vec<Record> {
    let mut all = vec![at(10, 0, What::Steady(Some(steady)))];
    all.extend(news);
    all.push(at(8_000, 0, What::Steady(None)));
    with(ending(both(), both()), all)
}

#[test]
fn a_late_event_is_seen() {
    let run = |took: Option<u64>| {
        let mut news = vec![delivered(100, 0, 0, user(1, "x")), fired(100, 0, "x")];
        news.extend(took.map(|took| delivered(100 + took, 1, 0, user(1, "x"))));
        events_arrive_within_the_hard_limit(&steadily(STEADY, news))
    };
    assert_eq!(run(Some(900)), Ok(Lateness { pairs: 2, late: 0 }));
    assert_eq!(run(Some(2_000)), Ok(Lateness { pairs: 2, late: 1 }));
    assert!(run(Some(2_001)).is_err());
    assert!(run(None).is_err());
    let outside = with(ending(both(), both()), vec![fired(100, 0, "x")]);
    assert_eq!(
        events_arrive_within_the_hard_limit(&outside),
        Ok(Lateness::default())
    );
}

#[test]
fn a_query_without_an_ack_is_seen() {
    let command = CommandId(4);
    let run = |heard: bool, queries_reach_all, acks: &[NodeId]| {
        let mut news = vec![at(20, 0, asked(command, acks))];
        let from = cluster_name("b");
        let record = QueryRecord::Ack { from };
        news.extend(heard.then(|| at(30, 0, What::Returned { command, record })));
        let steady = Steady {
            queries_reach_all,
            ..STEADY
        };
        queries_are_acked_by_all_addressed(&steadily(steady, news))
    };
    assert_eq!(run(true, true, &[1]), Ok(Lateness { pairs: 1, late: 0 }));
    assert_eq!(run(false, false, &[1]), Ok(Lateness { pairs: 1, late: 1 }));
    assert_eq!(run(false, true, &[]), Ok(Lateness::default()));
    assert!(run(false, true, &[1]).is_err());
}

#[test]
fn an_answer_that_does_not_come_back_is_counted() {
    let command = CommandId(4);
    let run = |answered_at: u64, comes_back: bool, acks: &[NodeId]| {
        let (ltime, id, deadline) = (LamportTime(1), 9, Instant::from_millis(1_020));
        let asked = What::Asked {
            command,
            ltime,
            id,
            deadline,
            acks: acks.to_vec(),
        };
        let answered = What::Answered {
            ltime,
            id,
            deadline,
            sent: true,
        };
        let mut news = vec![at(20, 0, asked), at(answered_at, 1, answered)];
        let record = QueryRecord::Response {
            from: cluster_name("b"),
            payload: None,
        };
        let returned = at(answered_at + 1, 0, What::Returned { command, record });
        news.extend(comes_back.then_some(returned));
        answers_lost_in_steady_periods(&steadily(STEADY, news))
    };
    assert_eq!(run(520, true, &[1]), Lateness { pairs: 1, late: 0 });
    assert_eq!(run(520, false, &[1]), Lateness { pairs: 1, late: 1 });
    for uncounted in [run(521, false, &[1]), run(520, false, &[])] {
        assert_eq!(uncounted, Lateness::default());
    }
}

#[test]
fn disorder_is_seen() {
    let query_until = |deadline, ltime| {
        Event::Query(Query {
            ltime: LamportTime(ltime),
            id: 1,
            name: b"load".to_vec(),
            payload: Vec::new(),
            source_node: None,
            deadline: Instant::from_millis(deadline),
        })
    };
    let query = |ltime| query_until(6, ltime);
    let run = |first: Record, second: Record| deliveries_of_one_turn_are_in_order(&[first, second]);
    let event = |millis, ltime| delivered(millis, 0, 0, user(ltime, "x"));
    assert!(run(event(5, 2), event(5, 1)).is_err());
    run(event(5, 1), event(5, 2)).unwrap();
    run(event(5, 2), event(6, 1)).unwrap();
    // Late items wait for the end of the turn.
    let later = |nanos, mut record: Record| {
        record.at += Duration::from_nanos(nanos);
        record
    };
    assert!(run(event(5, 2), later(1, event(5, 1))).is_err());
    run(event(5, 2), later(2, event(5, 1))).unwrap();
    run(event(5, 2), delivered(5, 0, 1, query(1))).unwrap();
    assert!(run(delivered(5, 0, 0, query(2)), delivered(5, 0, 1, query(1))).is_err());
    let hasty = delivered(5, 0, 0, query_until(5, 2));
    run(hasty, delivered(5, 0, 1, query(1))).unwrap();
}

#[test]
fn disorder_of_one_senders_events_is_seen() {
    let run = |in_order, by_second| {
        let news = vec![
            delivered(100, 0, 0, user(1, "x")),
            fired(100, 0, "x"),
            delivered(101, by_second, 0, user(2, "y")),
            fired(101, by_second, "y"),
            delivered(102, 1, 1, user(2, "y")),
            delivered(103, 1, 2, user(1, "x")),
        ];
        events_of_one_sender_arrive_in_order(&steadily(Steady { in_order, ..STEADY }, news))
    };
    assert!(run(true, 0).is_err());
    run(false, 0).unwrap();
    run(true, 1).unwrap();
}

#[test]
fn untrue_member_events_are_seen() {
    let delivered = |millis, kind, tags: &[u8]| {
        let members = vec![tagged("b", MemberStatus::Alive, tags)];
        delivered(millis, 0, 0, Event::Member(MemberEvent { kind, members }))
    };
    use MemberEventKind::{Failed, Join, Leave, Update};
    let run = |status, news: Vec<Record>| {
        let about = tagged("b", status, b"web");
        member_events_match_the_lists(&with(ending(vec![about], vec![]), news))
    };
    let alive = MemberStatus::Alive;
    run(alive, vec![delivered(5, Join, b"web")]).unwrap();
    run(
        alive,
        vec![delivered(5, Join, b"db"), delivered(6, Update, b"web")],
    )
    .unwrap();
    assert!(
        run(alive, vec![delivered(5, Join, b"db")]).is_err(),
        "old tags"
    );
    assert!(
        run(alive, vec![delivered(5, Update, b"web")]).is_err(),
        "no join"
    );
    assert!(run(alive, vec![]).is_err(), "nothing");
    let twice = vec![delivered(5, Join, b"web"), delivered(6, Join, b"web")];
    assert!(run(alive, twice).is_err(), "joined twice");
    let went = vec![delivered(5, Join, b"web"), delivered(6, Failed, b"web")];
    assert!(run(alive, went.clone()).is_err(), "failed");
    run(MemberStatus::Failed, went.clone()).unwrap();
    assert!(run(MemberStatus::Left, went).is_err());
    let left = vec![delivered(5, Join, b"web"), delivered(6, Leave, b"web")];
    run(MemberStatus::Left, left).unwrap();
}
