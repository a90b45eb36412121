//! Checks of how soon and in which order user events and queries arrive in steady periods, that is, while
//! no node starts, stops or is cut off (delivery spec D4, D5 and D8).

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{CommandId, Event, QueryRecord};
use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use super::queries::answers;
use super::{EventKey, Life, Verdict, life, own_lives_at_the_end, twisted, with_steady};
use crate::cluster::NodeId;
use crate::history::{Record, What};

/// The number of (event, node) pairs in steady periods, and how many of them took longer than the soft limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lateness {
    pub pairs: u64,
    pub late: u64,
}

type Arrivals<'a> = BTreeMap<EventKey<'a>, BTreeMap<Life, Instant>>;

fn arrivals(history: &[Record]) -> Arrivals<'_> {
    let mut got: Arrivals<'_> = BTreeMap::new();
    for record in history {
        if let What::Delivered {
            event: Event::User(event),
            ..
        } = &record.what
        {
            let by = got.entry((&event.name, &event.payload)).or_default();
            by.entry(life(record)).or_insert(record.at);
        }
    }
    got
}

/// Checks that each user event of a steady period reaches every node that runs to the end within the period's
/// hard limit. For events of another program, the time counts from when the first node of this program
/// has it. Returns how many took longer than the soft limit.
pub fn events_arrive_within_the_hard_limit(history: &[Record]) -> Result<Lateness, String> {
    let living = own_lives_at_the_end(history);
    let got = arrivals(history);
    let nobody = BTreeMap::new();
    let twisted = twisted(history);
    let mut lateness = Lateness::default();
    for (steady, record) in with_steady(history) {
        let (Some(steady), What::Fired { name, payload }) = (steady, &record.what) else {
            continue;
        };
        let by = got.get(&(&name[..], &payload[..])).unwrap_or(&nobody);
        let known = living.iter().filter_map(|who| by.get(who)).min();
        let from = match twisted.contains_key(&record.node) {
            true => known.copied(),
            false => Some(record.at),
        };
        let Some(from) = from else {
            continue;
        };
        for who in &living {
            let took = by.get(who).map(|at| at.since(from));
            lateness.pairs += 1;
            lateness.late += u64::from(took.is_none_or(|took| took > steady.hoped));
            if steady
                .bound
                .is_some_and(|bound| took.is_none_or(|took| took > bound))
            {
                return Err(format!(
                    "the event {:?}, fired at {:?} by node {} at a loss of {}, came to node {} {}",
                    String::from_utf8_lossy(payload),
                    record.at,
                    record.node,
                    steady.loss,
                    who.0,
                    took.map_or("never".to_owned(), |took| format!("after {took:?}"))
                ));
            }
        }
    }
    Ok(lateness)
}

/// Checks that each node that is addressed by a query of a steady period acknowledges it, if the query asks
/// for acks, and both nodes run to the end and run this program. Where loss makes missing acks possible,
/// returns how many are missing.
pub fn queries_are_acked_by_all_addressed(history: &[Record]) -> Result<Lateness, String> {
    let living = own_lives_at_the_end(history);
    let mut names: BTreeMap<NodeId, &NodeName> = BTreeMap::new();
    let mut acked: BTreeSet<(CommandId, &NodeName)> = BTreeSet::new();
    for record in history {
        match &record.what {
            What::Started { name, .. } => {
                names.insert(record.node, name);
            }
            What::Returned {
                command,
                record: QueryRecord::Ack { from },
            } => {
                acked.insert((*command, from));
            }
            _ => {}
        }
    }
    let mut lateness = Lateness::default();
    for (steady, record) in with_steady(history) {
        let (Some(steady), What::Asked { command, acks, .. }) = (steady, &record.what) else {
            continue;
        };
        if !living.contains(&life(record)) {
            continue;
        }
        for (node, _) in living.iter().filter(|who| acks.contains(&who.0)) {
            let reached = acked.contains(&(*command, names[node]));
            lateness.pairs += 1;
            lateness.late += u64::from(!reached);
            if !reached && steady.queries_reach_all {
                return Err(format!(
                    "the query {command:?}, asked at {:?} by node {} at a loss of {}, has no ack of node {node}",
                    record.at, record.node, steady.loss
                ));
            }
        }
    }
    Ok(lateness)
}

/// Counts the answers in steady periods between nodes of this program, to queries that ask for acks and whose
/// askers run to the end, and how many of them did not arrive. Only answers in the first half of a query's
/// timeout count: later ones have few of the asker's repetitions left.
pub fn answers_lost_in_steady_periods(history: &[Record]) -> Lateness {
    let mut lateness = Lateness::default();
    for answer in answers(history) {
        let half = answer.asked_at + answer.deadline.since(answer.asked_at) / 2;
        if answer.is_promised && answer.steady.0.is_some() && answer.at <= half {
            lateness.pairs += 1;
            lateness.late += u64::from(!answer.came_back);
        }
    }
    lateness
}

/// Time between two hand-overs in one turn of the loop: what came too late for its place waits for the end of
/// the turn, which is a timeout of the shortest wait.
const ONE_TURN: Duration = Duration::from_nanos(1);

/// Checks that user events handed over in one turn are in the order of their Lamport times, and queries
/// likewise. A query whose deadline leaves its handlers no time does not wait.
pub fn deliveries_of_one_turn_are_in_order(history: &[Record]) -> Verdict {
    let mut last: BTreeMap<(Life, bool), (Instant, u64)> = BTreeMap::new();
    // A leave, which ends all waiting, may have been delayed while the process was stopped.
    let mut resumed = BTreeSet::new();
    for record in history {
        let (is_query, ltime) = match &record.what {
            What::Resumed => {
                resumed.insert((life(record), record.at));
                continue;
            }
            What::Delivered {
                event: Event::User(event),
                ..
            } => (false, event.ltime.0),
            What::Delivered {
                event: Event::Query(query),
                ..
            } if query.deadline > record.at => (true, query.ltime.0),
            _ => continue,
        };
        let before = last.insert((life(record), is_query), (record.at, ltime));
        if let Some((at, before)) = before.filter(|(at, _)| record.at.since(*at) <= ONE_TURN) {
            if before > ltime && !resumed.contains(&(life(record), at)) {
                return Err(format!(
                    "{at:?}: node {} handed {} {ltime} over behind {before}",
                    record.node,
                    if is_query { "query" } else { "event" }
                ));
            }
        }
    }
    Ok(())
}

/// Checks that in steady periods that promise order, the events of one node reach each other node in order,
/// if both run this program.
pub fn events_of_one_sender_arrive_in_order(history: &[Record]) -> Verdict {
    let living = own_lives_at_the_end(history);
    let got = arrivals(history);
    let twisted = twisted(history);
    let mut latest: BTreeMap<(Life, NodeId), Instant> = BTreeMap::new();
    for (steady, record) in with_steady(history) {
        if let What::Steady(_) = record.what {
            latest.clear();
        }
        let (Some(steady), What::Fired { name, payload }) = (steady, &record.what) else {
            continue;
        };
        let Some(by) = got.get(&(&name[..], &payload[..])) else {
            continue;
        };
        for (who, at) in by.iter().filter(|(who, _)| living.contains(who)) {
            let before = latest.insert((*who, record.node), *at);
            let promised = steady.in_order && !twisted.contains_key(&record.node);
            if before.is_some_and(|before| before > *at) && promised {
                return Err(format!(
                    "{at:?}: node {} got {:?} of node {} before an earlier one",
                    who.0,
                    String::from_utf8_lossy(payload),
                    record.node
                ));
            }
        }
    }
    Ok(())
}
