use super::*;
use crate::cluster::{host_addr, node_name};
use crate::history::Depths;
use cottar::serf::{
    CommandId, Event, LamportTime, MemberEvent, MemberEventKind, MemberStatus, Query, QueryRecord,
    Tags, UserEvent,
};
use cottar::swim::NodeState;
use cottar::time::Instant;
use cottar::wire::VersionVector;

pub(super) const LIMITS: Limits = Limits {
    queue_messages_max: 4096,
    stream_age_max: Duration::from_secs(30),
    hurried_ping: Duration::from_millis(100),
};

pub(super) fn at(millis: u64, node: NodeId, what: What) -> Record {
    Record {
        at: Instant::from_millis(millis),
        node,
        life: 0,
        what,
    }
}

fn known(about: &str, incarnation: u32, state: NodeState) -> What {
    What::Known {
        about: node_name(about),
        addr: host_addr(1),
        incarnation,
        state,
    }
}

pub(super) fn started(name: &str) -> What {
    What::Started {
        name: node_name(name),
        addr: host_addr(0),
        continues: false,
    }
}

pub(super) fn member(name: &str, status: MemberStatus) -> Member {
    with_tags(name, status, &Tags::new())
}

/// A member with this role.
pub(super) fn tagged(name: &str, status: MemberStatus, role: &[u8]) -> Member {
    with_tags(name, status, &Tags::from_pairs(&[(b"role", role)]))
}

fn with_tags(name: &str, status: MemberStatus, tags: &Tags) -> Member {
    let (name, addr) = (node_name(name), host_addr(1));
    Member::new(name, addr, tags, status, VersionVector::serf(5))
}

pub(super) fn joined(skipped_before: u64, contacts: &[NodeId]) -> What {
    What::Joined {
        skipped_before,
        contacts: contacts.to_vec(),
        asked_at: Instant::from_millis(1),
        ignores_old: skipped_before > 0,
        called: false,
    }
}

/// A history in which two nodes run and have these lists at the end.
pub(super) fn ending(first: Vec<Member>, second: Vec<Member>) -> Vec<Record> {
    vec![
        at(0, 0, started("a")),
        at(0, 1, started("b")),
        at(1, 1, joined(0, &[0])),
        at(9_000, 0, What::Members(first)),
        at(9_000, 1, What::Members(second)),
    ]
}

pub(super) fn both() -> Vec<Member> {
    vec![
        member("a", MemberStatus::Alive),
        member("b", MemberStatus::Alive),
    ]
}

pub(super) fn with(mut history: Vec<Record>, news: Vec<Record>) -> Vec<Record> {
    history.splice(3..3, news);
    history
}

pub(super) fn delivered(millis: u64, node: NodeId, order: u64, event: Event) -> Record {
    at(millis, node, What::Delivered { order, event })
}

/// A query with time 1 and id 9 that ends after a second.
pub(super) fn asked(command: CommandId, acks: &[NodeId]) -> What {
    What::Asked {
        command,
        ltime: LamportTime(1),
        id: 9,
        deadline: Instant::from_millis(1000),
        acks: acks.to_vec(),
    }
}

pub(super) fn user(ltime: u64, payload: &str) -> Event {
    Event::User(UserEvent {
        ltime: LamportTime(ltime),
        name: b"deploy".to_vec(),
        payload: payload.into(),
        coalesce: false,
    })
}

#[test]
fn a_good_history_passes() {
    let delivered = |node| {
        let (kind, members) = (MemberEventKind::Join, both());
        delivered(5, node, 0, Event::Member(MemberEvent { kind, members }))
    };
    let history = with(ending(both(), both()), vec![delivered(0), delivered(1)]);
    check_all(&history, &LIMITS).unwrap();
}

#[test]
fn a_fallen_incarnation_is_seen() {
    let mut history = vec![
        at(1, 0, known("b", 3, NodeState::Alive)),
        at(2, 0, known("b", 2, NodeState::Alive)),
    ];
    assert!(incarnations_never_decrease(&history).is_err());
    // No decrease: the record was dropped in between, or belongs to another node.
    history.insert(
        1,
        at(
            1,
            0,
            What::Dropped {
                about: node_name("b"),
            },
        ),
    );
    incarnations_never_decrease(&history).unwrap();
    history.remove(1);
    history[1].node = 1;
    incarnations_never_decrease(&history).unwrap();
}

#[test]
fn a_revival_by_a_stale_claim_is_seen() {
    let rise = |incarnation| {
        vec![
            at(1, 0, known("b", 3, NodeState::Dead)),
            at(2, 0, known("b", incarnation, NodeState::Alive)),
        ]
    };
    assert!(stale_claims_revive_nobody(&rise(3)).is_err());
    stale_claims_revive_nobody(&rise(4)).unwrap();
    let mut ghost = both();
    ghost.push(member("c", MemberStatus::Alive));
    assert!(stale_claims_revive_nobody(&ending(ghost, both())).is_err());
}

#[test]
fn a_living_node_held_failed_or_missing_is_seen() {
    let mut wrong = both();
    wrong[1].status = MemberStatus::Failed;
    assert!(running_nodes_are_listed_as_alive(&ending(wrong, both())).is_err());
    let mut missing = both();
    missing.pop();
    assert!(running_nodes_are_listed_as_alive(&ending(missing, both())).is_err());
}

#[test]
fn lists_that_differ_are_seen() {
    let mut other_tags = both();
    other_tags[0] = tagged("a", MemberStatus::Alive, b"web");
    assert!(member_lists_agree(&ending(other_tags, both())).is_err());
    let gone = |status| {
        let mut list = both();
        list.push(member("c", status));
        list
    };
    let (failed, left) = (gone(MemberStatus::Failed), gone(MemberStatus::Left));
    assert!(member_lists_agree(&ending(failed.clone(), left)).is_err());
    member_lists_agree(&ending(failed, both())).unwrap();
}

#[test]
fn an_event_twice_is_seen() {
    let twice = |second| {
        vec![
            delivered(5, 0, 0, user(1, "x")),
            delivered(6, 0, 1, user(second, "x")),
        ]
    };
    assert!(events_are_delivered_at_most_once(&twice(1)).is_err());
    events_are_delivered_at_most_once(&twice(2)).unwrap();
}

#[test]
fn an_event_that_misses_a_node_is_seen() {
    let fired = What::Fired {
        name: b"deploy".to_vec(),
        payload: b"x".to_vec(),
    };
    let mut news = vec![delivered(5, 0, 0, user(7, "x")), at(5, 0, fired)];
    let missed = with(ending(both(), both()), news.clone());
    assert!(events_reach_joined_nodes(&missed).is_err());
    news.push(delivered(8, 1, 0, user(7, "x")));
    events_reach_joined_nodes(&with(ending(both(), both()), news.clone())).unwrap();
    // A node that joined later without replay need not get the event.
    news.pop();
    news.push(at(8, 1, joined(8, &[0])));
    events_reach_joined_nodes(&with(ending(both(), both()), news)).unwrap();
}

#[test]
fn a_query_that_comes_twice_is_seen() {
    let query = |node, id| {
        let event = Event::Query(Query {
            ltime: LamportTime(1),
            id,
            name: b"load".to_vec(),
            payload: Vec::new(),
            source_node: None,
            deadline: Instant::from_millis(5),
        });
        at(1, node, What::Delivered { order: 0, event })
    };
    queries_are_delivered_at_most_once(&[query(0, 1), query(0, 2), query(1, 1)]).unwrap();
    assert!(queries_are_delivered_at_most_once(&[query(0, 1), query(1, 1), query(0, 1)]).is_err());
    let mut later = query(0, 1);
    later.life = 1;
    queries_are_delivered_at_most_once(&[query(0, 1), later]).unwrap();
}

#[test]
fn query_faults_are_seen() {
    let command = CommandId(4);
    let asked = asked(command, &[]);
    let back = |millis, record| at(millis, 0, What::Returned { command, record });
    let ack = || QueryRecord::Ack {
        from: node_name("b"),
    };
    let run = |rest: Vec<Record>| {
        let mut news = vec![at(10, 0, asked.clone())];
        news.extend(rest);
        queries_end_once_and_in_time(&with(ending(both(), both()), news))
    };
    run(vec![back(20, ack()), back(1000, QueryRecord::Done)]).unwrap();
    assert!(run(vec![back(20, ack())]).is_err(), "never done");
    assert!(
        run(vec![back(999, QueryRecord::Done)]).is_err(),
        "too early"
    );
    let late = vec![back(1001, ack()), back(1001, QueryRecord::Done)];
    assert!(run(late).is_err(), "late answer");
    let after = vec![back(1000, QueryRecord::Done), back(1000, ack())];
    assert!(run(after).is_err(), "after the end");
    let again = vec![back(1000, QueryRecord::Done), back(1001, QueryRecord::Done)];
    assert!(run(again).is_err(), "done twice");
    let twice = vec![
        back(20, ack()),
        back(30, ack()),
        back(1000, QueryRecord::Done),
    ];
    assert!(run(twice).is_err(), "two acks of one node");
}

#[test]
fn answers_out_of_time_are_seen() {
    let answered = |sent| What::Answered {
        ltime: LamportTime(1),
        id: 9,
        deadline: Instant::from_millis(1000),
        sent,
    };
    answers_are_sent_in_time_or_counted_as_late(&[at(999, 0, answered(true))]).unwrap();
    answers_are_sent_in_time_or_counted_as_late(&[at(1001, 0, answered(false))]).unwrap();
    assert!(answers_are_sent_in_time_or_counted_as_late(&[at(1001, 0, answered(true))]).is_err());
    assert!(answers_are_sent_in_time_or_counted_as_late(&[at(999, 0, answered(false))]).is_err());
    let run = |heard: bool| {
        let command = CommandId(4);
        let asked = asked(command, &[]);
        let mut news = vec![
            at(5, 0, What::Calm),
            at(10, 0, asked),
            at(20, 1, answered(true)),
        ];
        if heard {
            let record = QueryRecord::Response {
                from: node_name("b"),
                payload: None,
            };
            news.push(at(21, 0, What::Returned { command, record }));
        }
        answers_arrive_without_loss(&with(ending(both(), both()), news))
    };
    run(true).unwrap();
    assert!(run(false).is_err());
}

#[test]
fn handlers_out_of_turn_are_seen() {
    let query = Event::Query(Query {
        ltime: LamportTime(1),
        id: 1,
        name: b"load".to_vec(),
        payload: Vec::new(),
        source_node: None,
        deadline: Instant::from_millis(5),
    });
    let start = |order| at(5, 0, What::HandlerStarted { order });
    let end = |order| at(6, 0, What::HandlerEnded { order });
    let run = |rest: Vec<Record>| {
        let mut history = vec![
            delivered(1, 0, 0, user(1, "x")),
            delivered(1, 0, 1, query.clone()),
        ];
        history.extend(rest);
        handlers_run_one_at_a_time_in_order(&history)
    };
    run(vec![start(0), end(0), start(1), end(1)]).unwrap();
    assert!(run(vec![start(0), start(1)]).is_err(), "two at a time");
    assert!(run(vec![start(1)]).is_err(), "out of order");
    assert!(run(vec![start(0), end(0), start(0)]).is_err(), "twice");
    assert!(
        run(vec![start(0), end(0), start(1), end(1), start(2)]).is_err(),
        "from nothing"
    );
}

#[test]
fn a_deep_queue_is_seen() {
    let run = |depths, end| {
        let news = vec![at(9, 0, What::Queues { depths, end })];
        queues_stay_within_limits(&with(ending(both(), both()), news), &LIMITS)
    };
    let deep = |membership, event| Depths {
        membership,
        event,
        ..Depths::default()
    };
    run(deep(2, 4096), false).unwrap();
    assert!(run(deep(3, 0), false).is_err());
    assert!(run(deep(0, 4097), false).is_err());
    assert!(run(deep(0, 1), true).is_err());
}

#[test]
fn an_old_stream_is_seen() {
    let aged = |secs| {
        let age = Duration::from_secs(secs);
        streams_end(&[at(9, 0, What::StreamAge { age })], &LIMITS)
    };
    aged(30).unwrap();
    assert!(aged(31).is_err());
}

#[test]
fn runs_that_differ_are_seen() {
    runs_are_the_same(1, 1).unwrap();
    assert!(runs_are_the_same(1, 2).is_err());
}
