//! Judges of a history: each promise of the protocol is one function, and has a test that it can
//! fail.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{CommandId, Event, Member, MemberStatus, QueryRecord};
use cottar::swim::NodeState;
use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use crate::cluster::NodeId;
use crate::history::{Record, What};

type Verdict = Result<(), String>;
/// One run of a node's program.
type Life = (NodeId, u32);

fn life(record: &Record) -> Life {
    (record.node, record.life)
}

/// An event's name and payload.
type EventKey<'a> = (&'a [u8], &'a [u8]);

/// Bounds that depend on the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of each Serf queue.
    pub queue_messages_max: usize,
    /// Of a stream's life: the phases of gossip spec 2.9.5 one after the other.
    pub stream_age_max: Duration,
}

/// All of them.
pub fn check_all(history: &[Record], limits: &Limits) -> Verdict {
    incarnations_never_go_back(history)?;
    nobody_rises_by_stale_news(history)?;
    the_living_are_not_held_failed(history)?;
    lists_agree(history)?;
    events_come_at_most_once(history)?;
    events_reach_the_connected(history)?;
    queries_end_once_and_in_time(history)?;
    answers_are_on_time_or_counted(history)?;
    answers_arrive_in_calm(history)?;
    handlers_run_one_at_a_time_in_order(history)?;
    queues_stay_within_limits(history, limits)?;
    streams_end(history, limits)
}

/// As long as a node keeps its record of another, the incarnation in it never falls, unless the
/// name came back at another address (gossip spec 4.8.1 rule 5).
pub fn incarnations_never_go_back(history: &[Record]) -> Verdict {
    let mut known: BTreeMap<(Life, &NodeName), (std::net::SocketAddr, u32)> = BTreeMap::new();
    for record in history {
        match &record.what {
            What::Known {
                about,
                addr,
                incarnation,
                ..
            } => {
                let before = known.insert((life(record), about), (*addr, *incarnation));
                if let Some((old_addr, old)) = before {
                    if old_addr == *addr && old > *incarnation {
                        return Err(format!(
                            "{:?}: node {} let {about} fall from incarnation {old} to {incarnation}",
                            record.at, record.node
                        ));
                    }
                }
            }
            What::Dropped { about } => {
                known.remove(&(life(record), about));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A record turns from dead or left to alive only by a higher incarnation, which only its owner can
/// have said, or by another address; and in the end nobody is alive in a list who does not run.
pub fn nobody_rises_by_stale_news(history: &[Record]) -> Verdict {
    let mut known = BTreeMap::new();
    for record in history {
        match &record.what {
            What::Known {
                about,
                addr,
                incarnation,
                state,
            } => {
                let now = (*addr, *incarnation, *state);
                if let Some(before) = known.insert((life(record), about), now) {
                    let gone = |state| matches!(state, NodeState::Dead | NodeState::Left);
                    let rose = gone(before.2) && !gone(*state);
                    if rose && before.0 == *addr && *incarnation <= before.1 {
                        return Err(format!(
                            "{:?}: node {} took {about} back from {:?} at incarnation {} by news of incarnation {incarnation}",
                            record.at, record.node, before.2, before.1
                        ));
                    }
                }
            }
            What::Dropped { about } => {
                known.remove(&(life(record), about));
            }
            _ => {}
        }
    }
    let living = living_names(history);
    for (node, members) in final_lists(history) {
        for member in members {
            let up = matches!(member.status, MemberStatus::Alive | MemberStatus::Leaving);
            if up && !living.contains(&member.name) {
                return Err(format!(
                    "in the end node {node} holds {} {}, which does not run",
                    member.name,
                    member.status.as_str()
                ));
            }
        }
    }
    Ok(())
}

fn final_lists(history: &[Record]) -> impl Iterator<Item = (NodeId, &Vec<Member>)> {
    history.iter().filter_map(|record| match &record.what {
        What::Members(members) => Some((record.node, members)),
        _ => None,
    })
}

fn lives_at_the_end(history: &[Record]) -> BTreeSet<Life> {
    let ends = history
        .iter()
        .filter(|record| matches!(record.what, What::Members(_)));
    ends.map(life).collect()
}

fn living_names(history: &[Record]) -> BTreeSet<NodeName> {
    let lives = lives_at_the_end(history);
    let names = history.iter().filter_map(|record| match &record.what {
        What::Started { name, .. } if lives.contains(&life(record)) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// In the end no running node is failed, left, leaving or missing in the list of another.
pub fn the_living_are_not_held_failed(history: &[Record]) -> Verdict {
    let living = living_names(history);
    for (node, members) in final_lists(history) {
        for name in &living {
            match members.iter().find(|member| member.name == *name) {
                Some(member) if member.status == MemberStatus::Alive => {}
                Some(member) => {
                    let status = member.status.as_str();
                    return Err(format!(
                        "in the end node {node} holds {name} {status}, which runs"
                    ));
                }
                None => {
                    return Err(format!(
                        "in the end node {node} does not know {name}, which runs"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// In the end whoever holds a member holds the same of it. A member that does not run may be
/// missing: nodes that started later never hear of it (gossip spec 4.10).
pub fn lists_agree(history: &[Record]) -> Verdict {
    let mut first: BTreeMap<&NodeName, (NodeId, &Member)> = BTreeMap::new();
    for (node, members) in final_lists(history) {
        for member in members {
            let (by, held) = *first.entry(&member.name).or_insert((node, member));
            let same_facts =
                (held.addr, &held.tags, held.status) == (member.addr, &member.tags, member.status);
            // The facts of one that is gone may have changed while it could not be heard.
            let gone = matches!(member.status, MemberStatus::Failed | MemberStatus::Left);
            let same_fate = gone && held.status == member.status;
            if !(same_facts || same_fate) {
                return Err(format!(
                    "in the end node {by} holds {held:?}, but node {node} {member:?}"
                ));
            }
        }
    }
    Ok(())
}

/// No life of a node gets the same user event twice.
pub fn events_come_at_most_once(history: &[Record]) -> Verdict {
    let mut seen = BTreeSet::new();
    for record in history {
        if let What::Delivered {
            event: Event::User(event),
            ..
        } = &record.what
        {
            if !seen.insert((life(record), event.ltime, &event.name, &event.payload)) {
                return Err(format!(
                    "{:?}: node {} got an event of time {} twice",
                    record.at, record.node, event.ltime
                ));
            }
        }
    }
    Ok(())
}

/// Every user event that a node that still runs has got, has been got by every node that ran and
/// was joined when it was fired, and runs still. (Names and payloads are unique in a run.)
pub fn events_reach_the_connected(history: &[Record]) -> Verdict {
    let living = lives_at_the_end(history);
    let mut joined: BTreeMap<Life, (Instant, u64)> = BTreeMap::new();
    let mut got: BTreeMap<EventKey<'_>, (u64, BTreeSet<Life>)> = BTreeMap::new();
    for record in history {
        match &record.what {
            // The first node of all has nobody to join.
            What::Started { .. } if life(record) == (0, 0) => {
                joined.insert((0, 0), (record.at, 0));
            }
            What::Joined { skipped_before } => {
                let entry = joined.entry(life(record)).or_insert((record.at, 0));
                entry.1 = entry.1.max(*skipped_before);
            }
            What::Delivered {
                event: Event::User(event),
                ..
            } => {
                let key = (&event.name[..], &event.payload[..]);
                let entry = got.entry(key).or_insert((event.ltime.0, BTreeSet::new()));
                entry.1.insert(life(record));
            }
            _ => {}
        }
    }
    for record in history {
        let What::Fired { name, payload } = &record.what else {
            continue;
        };
        let Some((ltime, by)) = got.get(&(&name[..], &payload[..])) else {
            continue;
        };
        if by.is_disjoint(&living) {
            continue; // died with those who knew
        }
        for (who, (since, skipped_before)) in &joined {
            let connected = living.contains(who) && *since <= record.at && skipped_before <= ltime;
            if connected && !by.contains(who) {
                return Err(format!(
                    "the event {:?} of time {ltime}, fired at {:?} by node {}, never reached node {}, joined since {since:?}; got by {by:?}, of whom {living:?} run",
                    String::from_utf8_lossy(payload),
                    record.at,
                    record.node,
                    who.0
                ));
            }
        }
    }
    Ok(())
}

/// A query of a node that runs to the end is done exactly once, not before its deadline; what comes
/// back comes by then, and once from each node.
pub fn queries_end_once_and_in_time(history: &[Record]) -> Verdict {
    let living = lives_at_the_end(history);
    let end = history.last().map_or(Instant::ORIGIN, |record| record.at);
    let mut asked: BTreeMap<CommandId, (Life, Instant)> = BTreeMap::new();
    let mut done: BTreeSet<CommandId> = BTreeSet::new();
    let mut heard = BTreeSet::new();
    for record in history {
        let fault = |what: &str| Err(format!("{:?}: node {}: {what}", record.at, record.node));
        match &record.what {
            What::Asked {
                command, deadline, ..
            } => {
                asked.insert(*command, (life(record), *deadline));
            }
            What::Returned {
                command,
                record: returned,
            } => {
                let Some((_, deadline)) = asked.get(command) else {
                    return fault("something came back for a query that nobody asked");
                };
                if done.contains(command) {
                    return fault("something came back for a query that is done");
                }
                let (kind, from) = match returned {
                    QueryRecord::Done if record.at < *deadline => {
                        return fault("a query is done before its deadline");
                    }
                    QueryRecord::Done => {
                        done.insert(*command);
                        continue;
                    }
                    QueryRecord::Ack { from } => ("ack", from),
                    QueryRecord::Response { from, .. } => ("response", from),
                };
                if record.at > *deadline {
                    return fault("an answer was delivered after its deadline");
                }
                if !heard.insert((*command, kind, from)) {
                    return fault("a node answered twice");
                }
            }
            _ => {}
        }
    }
    for (command, (who, deadline)) in asked {
        if living.contains(&who) && deadline < end && !done.contains(&command) {
            return Err(format!(
                "node {}: the query {command:?} is never done",
                who.0
            ));
        }
    }
    Ok(())
}

/// An answer before the query's deadline is sent, a later one is refused and counted.
pub fn answers_are_on_time_or_counted(history: &[Record]) -> Verdict {
    for record in history {
        if let What::Answered { deadline, sent, .. } = &record.what {
            let late = record.at > *deadline;
            if (late && *sent) || (!*sent && record.at < *deadline) {
                let fate = if *sent { "sent" } else { "refused" };
                return Err(format!(
                    "{:?}: node {}'s answer to a query with deadline {deadline:?} was {fate}",
                    record.at, record.node
                ));
            }
        }
    }
    Ok(())
}

/// With nothing lost any more, each answer that was sent in time reaches the asker.
pub fn answers_arrive_in_calm(history: &[Record]) -> Verdict {
    let living = lives_at_the_end(history);
    let Some(calm) = history
        .iter()
        .find(|record| matches!(record.what, What::Calm))
    else {
        return Ok(());
    };
    let mut names = BTreeMap::new();
    let mut asked = BTreeMap::new();
    let mut heard = BTreeSet::new();
    for record in history {
        match &record.what {
            What::Started { name, .. } => {
                names.insert(life(record), name);
            }
            What::Asked {
                command,
                ltime,
                id,
                deadline,
            } if living.contains(&life(record)) => {
                asked.insert((*ltime, *id), (*command, *deadline));
            }
            What::Returned {
                command,
                record: QueryRecord::Response { from, .. },
            } => {
                heard.insert((*command, from));
            }
            _ => {}
        }
    }
    let way = Duration::from_millis(50);
    for record in history {
        let What::Answered {
            ltime,
            id,
            sent: true,
            ..
        } = &record.what
        else {
            continue;
        };
        let (Some((command, deadline)), Some(name)) =
            (asked.get(&(*ltime, *id)), names.get(&life(record)))
        else {
            continue;
        };
        let matters = record.at >= calm.at && record.at + way < *deadline;
        if matters && !heard.contains(&(*command, *name)) {
            return Err(format!(
                "{:?}: {name}'s answer to {command:?} got lost in calm",
                record.at
            ));
        }
    }
    Ok(())
}

/// Handlers run in the order of the events, each once, never two at a time.
pub fn handlers_run_one_at_a_time_in_order(history: &[Record]) -> Verdict {
    #[derive(Default)]
    struct Desk {
        delivered: u64,
        next: u64,
        running: Option<u64>,
    }
    let mut desks: BTreeMap<Life, Desk> = BTreeMap::new();
    for record in history {
        let desk = desks.entry(life(record)).or_default();
        let good = match &record.what {
            What::Delivered { order, .. } => {
                desk.delivered += 1;
                *order + 1 == desk.delivered
            }
            What::HandlerStarted { order } => {
                let fits = *order == desk.next && *order < desk.delivered;
                desk.next += 1;
                fits && desk.running.replace(*order).is_none()
            }
            What::HandlerEnded { order } => desk.running.take() == Some(*order),
            _ => true,
        };
        if !good {
            return Err(format!(
                "{:?}: node {}: {:?} out of turn",
                record.at, record.node, record.what
            ));
        }
    }
    Ok(())
}

/// No queue is deeper than it may be: one membership message a name, and the Serf queues' limit. In
/// the end, with somebody to tell, all are empty.
pub fn queues_stay_within_limits(history: &[Record], limits: &Limits) -> Verdict {
    let names: BTreeSet<&NodeName> = history
        .iter()
        .filter_map(|record| match &record.what {
            What::Started { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    let company = lives_at_the_end(history).len() > 1;
    for record in history {
        let What::Queues { depths, end } = &record.what else {
            continue;
        };
        let serf = depths.intent.max(depths.query).max(depths.event);
        let deepest = depths.membership.max(serf);
        let over = depths.membership > names.len() || serf > limits.queue_messages_max;
        if over || (*end && company && deepest > 0) {
            return Err(format!(
                "{:?}: node {} has queues of {depths:?}{}",
                record.at,
                record.node,
                if *end { " in the end" } else { "" }
            ));
        }
    }
    Ok(())
}

/// No stream outlives the time limits of its phases.
pub fn streams_end(history: &[Record], limits: &Limits) -> Verdict {
    for record in history {
        if let What::StreamAge { age } = &record.what {
            if *age > limits.stream_age_max {
                return Err(format!(
                    "{:?}: node {} held a stream for {age:?}",
                    record.at, record.node
                ));
            }
        }
    }
    Ok(())
}

/// Two runs of one seed sent the same bytes at the same times.
pub fn runs_are_the_same(first: u64, second: u64) -> Verdict {
    if first == second {
        Ok(())
    } else {
        Err(format!(
            "one seed, two runs: {first:016x} and {second:016x}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::{host_addr, node_name};
    use crate::history::Depths;
    use cottar::serf::{LamportTime, Query, Tags, UserEvent};
    use cottar::wire::VersionVector;

    const LIMITS: Limits = Limits {
        queue_messages_max: 4096,
        stream_age_max: Duration::from_secs(30),
    };

    fn at(millis: u64, node: NodeId, what: What) -> Record {
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

    fn started(name: &str) -> What {
        What::Started {
            name: node_name(name),
            addr: host_addr(0),
        }
    }

    fn member(name: &str, status: MemberStatus) -> Member {
        Member {
            name: node_name(name),
            addr: host_addr(1),
            tags: Tags::new(),
            status,
            versions: VersionVector::serf(5),
        }
    }

    /// Two nodes that run, with these lists in the end.
    fn ending(first: Vec<Member>, second: Vec<Member>) -> Vec<Record> {
        vec![
            at(0, 0, started("a")),
            at(0, 1, started("b")),
            at(1, 1, What::Joined { skipped_before: 0 }),
            at(9_000, 0, What::Members(first)),
            at(9_000, 1, What::Members(second)),
        ]
    }

    fn both() -> Vec<Member> {
        vec![
            member("a", MemberStatus::Alive),
            member("b", MemberStatus::Alive),
        ]
    }

    fn with(mut history: Vec<Record>, news: Vec<Record>) -> Vec<Record> {
        history.splice(3..3, news);
        history
    }

    fn user(ltime: u64, payload: &str) -> Event {
        Event::User(UserEvent {
            ltime: LamportTime(ltime),
            name: b"deploy".to_vec(),
            payload: payload.into(),
            coalesce: false,
        })
    }

    #[test]
    fn a_good_history_passes() {
        check_all(&ending(both(), both()), &LIMITS).unwrap();
    }

    #[test]
    fn a_fallen_incarnation_is_seen() {
        let mut history = vec![
            at(1, 0, known("b", 3, NodeState::Alive)),
            at(2, 0, known("b", 2, NodeState::Alive)),
        ];
        assert!(incarnations_never_go_back(&history).is_err());
        // Forgotten in between, or another node's opinion: no fall.
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
        incarnations_never_go_back(&history).unwrap();
        history.remove(1);
        history[1].node = 1;
        incarnations_never_go_back(&history).unwrap();
    }

    #[test]
    fn a_resurrection_is_seen() {
        let rise = |incarnation| {
            vec![
                at(1, 0, known("b", 3, NodeState::Dead)),
                at(2, 0, known("b", incarnation, NodeState::Alive)),
            ]
        };
        assert!(nobody_rises_by_stale_news(&rise(3)).is_err());
        nobody_rises_by_stale_news(&rise(4)).unwrap();
        let mut ghost = both();
        ghost.push(member("c", MemberStatus::Alive));
        assert!(nobody_rises_by_stale_news(&ending(ghost, both())).is_err());
    }

    #[test]
    fn a_living_node_held_failed_or_missing_is_seen() {
        let mut wrong = both();
        wrong[1].status = MemberStatus::Failed;
        assert!(the_living_are_not_held_failed(&ending(wrong, both())).is_err());
        let mut missing = both();
        missing.pop();
        assert!(the_living_are_not_held_failed(&ending(missing, both())).is_err());
    }

    #[test]
    fn lists_that_differ_are_seen() {
        let mut tagged = both();
        tagged[0].tags.set(b"role", b"web");
        assert!(lists_agree(&ending(tagged, both())).is_err());
        let gone = |status| {
            let mut list = both();
            list.push(member("c", status));
            list
        };
        let (failed, left) = (gone(MemberStatus::Failed), gone(MemberStatus::Left));
        assert!(lists_agree(&ending(failed.clone(), left)).is_err());
        lists_agree(&ending(failed, both())).unwrap();
    }

    #[test]
    fn an_event_twice_is_seen() {
        let twice = |second| {
            vec![
                at(
                    5,
                    0,
                    What::Delivered {
                        order: 0,
                        event: user(1, "x"),
                    },
                ),
                at(
                    6,
                    0,
                    What::Delivered {
                        order: 1,
                        event: user(second, "x"),
                    },
                ),
            ]
        };
        assert!(events_come_at_most_once(&twice(1)).is_err());
        events_come_at_most_once(&twice(2)).unwrap();
    }

    #[test]
    fn an_event_that_misses_a_node_is_seen() {
        let fired = What::Fired {
            name: b"deploy".to_vec(),
            payload: b"x".to_vec(),
        };
        let mut news = vec![
            at(
                5,
                0,
                What::Delivered {
                    order: 0,
                    event: user(7, "x"),
                },
            ),
            at(5, 0, fired),
        ];
        let missed = with(ending(both(), both()), news.clone());
        assert!(events_reach_the_connected(&missed).is_err());
        news.push(at(
            8,
            1,
            What::Delivered {
                order: 0,
                event: user(7, "x"),
            },
        ));
        events_reach_the_connected(&with(ending(both(), both()), news.clone())).unwrap();
        // One that joined later, and asked to skip what was before, need not get it.
        news.pop();
        news.push(at(8, 1, What::Joined { skipped_before: 8 }));
        events_reach_the_connected(&with(ending(both(), both()), news)).unwrap();
    }

    #[test]
    fn query_faults_are_seen() {
        let command = CommandId(4);
        let asked = What::Asked {
            command,
            ltime: LamportTime(1),
            id: 9,
            deadline: Instant::from_millis(1000),
        };
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
        answers_are_on_time_or_counted(&[at(999, 0, answered(true))]).unwrap();
        answers_are_on_time_or_counted(&[at(1001, 0, answered(false))]).unwrap();
        assert!(answers_are_on_time_or_counted(&[at(1001, 0, answered(true))]).is_err());
        assert!(answers_are_on_time_or_counted(&[at(999, 0, answered(false))]).is_err());
        let run = |heard: bool| {
            let command = CommandId(4);
            let asked = What::Asked {
                command,
                ltime: LamportTime(1),
                id: 9,
                deadline: Instant::from_millis(1000),
            };
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
            answers_arrive_in_calm(&with(ending(both(), both()), news))
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
                at(
                    1,
                    0,
                    What::Delivered {
                        order: 0,
                        event: user(1, "x"),
                    },
                ),
                at(
                    1,
                    0,
                    What::Delivered {
                        order: 1,
                        event: query.clone(),
                    },
                ),
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
}
