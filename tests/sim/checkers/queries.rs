//! Checks of queries, acks and answers.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{CommandId, Event, QueryRecord};
use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use super::{Life, Verdict, life, lives_at_the_end, twisted, with_steady};
use crate::history::{Record, Steady, What};

/// Checks that a query of a node that runs to the end ends exactly once and not before its deadline, and that
/// acks and answers arrive by then, once from each node.
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

/// Checks that no life of a node runs its handlers for a query twice, even if the query is repeated.
pub fn queries_are_delivered_at_most_once(history: &[Record]) -> Verdict {
    let mut seen = BTreeSet::new();
    for record in history {
        if let What::Delivered {
            event: Event::Query(query),
            ..
        } = &record.what
        {
            if !seen.insert((life(record), query.ltime, query.id)) {
                let (at, node) = (record.at, record.node);
                return Err(format!("{at:?}: node {node}: {query:?} came twice"));
            }
        }
    }
    Ok(())
}

/// Checks that an answer before the query's deadline is sent, and a later one is refused and counted.
pub fn answers_are_sent_in_time_or_counted_as_late(history: &[Record]) -> Verdict {
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

/// An answer to a query of a node that runs to the end.
pub(super) struct Answer<'a> {
    pub at: Instant,
    pub from: &'a NodeName,
    pub command: CommandId,
    pub asked_at: Instant,
    pub deadline: Instant,
    /// Whether the query asks for acks, and both nodes run this program.
    pub is_promised: bool,
    /// The steady periods in which the query was asked and answered, if any.
    pub steady: (Option<Steady>, Option<Steady>),
    pub came_back: bool,
}

/// All answers, in the order in which they were sent.
pub(super) fn answers(history: &[Record]) -> Vec<Answer<'_>> {
    let living = lives_at_the_end(history);
    let twisted = twisted(history);
    let mut names: BTreeMap<Life, &NodeName> = BTreeMap::new();
    let mut asked = BTreeMap::new();
    let mut returned = BTreeSet::new();
    let mut answers = Vec::new();
    for (steady, record) in with_steady(history) {
        match &record.what {
            What::Started { name, .. } => {
                names.insert(life(record), name);
            }
            What::Asked {
                command,
                ltime,
                id,
                deadline,
                acks,
            } if living.contains(&life(record)) => {
                let is_promised = !acks.is_empty() && !twisted.contains_key(&record.node);
                let query = (*command, record.at, *deadline, is_promised, steady);
                asked.insert((*ltime, *id), query);
            }
            What::Answered {
                ltime,
                id,
                sent: true,
                ..
            } => {
                let (Some(&(command, asked_at, deadline, is_promised, before)), Some(from)) =
                    (asked.get(&(*ltime, *id)), names.get(&life(record)))
                else {
                    continue;
                };
                answers.push(Answer {
                    at: record.at,
                    from,
                    command,
                    asked_at,
                    deadline,
                    is_promised: is_promised && !twisted.contains_key(&record.node),
                    steady: (before, steady),
                    came_back: false,
                });
            }
            What::Returned {
                command,
                record: QueryRecord::Response { from, .. },
            } => {
                returned.insert((*command, from));
            }
            _ => {}
        }
    }
    for answer in &mut answers {
        answer.came_back = returned.contains(&(answer.command, answer.from));
    }
    answers
}

/// Checks that without loss each answer that was sent in time reaches the asker.
pub fn answers_arrive_without_loss(history: &[Record]) -> Verdict {
    let is_calm = |record: &&Record| matches!(record.what, What::Calm);
    let Some(calm) = history.iter().find(is_calm) else {
        return Ok(());
    };
    let way = Duration::from_millis(50);
    for answer in answers(history) {
        let (_, steady) = answer.steady;
        let lossy = steady.is_some_and(|steady| steady.loss > 0.0);
        let matters = !lossy && answer.at >= calm.at && answer.at + way < answer.deadline;
        if matters && !answer.came_back {
            return Err(format!(
                "{:?}: {}'s answer to {:?} got lost in calm",
                answer.at, answer.from, answer.command
            ));
        }
    }
    Ok(())
}
