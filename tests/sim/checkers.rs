//! Checkers of a run's history: one function for each promise of the protocol, each with a test that it
//! can fail.

mod events;
mod limits;
mod member_events;
mod membership;
mod queries;
mod restarts;
mod slander;
mod steady;

pub use events::*;
pub use limits::*;
pub use member_events::*;
pub use membership::*;
pub use queries::*;
pub use restarts::*;
pub use slander::*;
pub use steady::*;

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::Member;
use cottar::time::Duration;
use cottar::wire::NodeName;

use crate::cluster::{NodeId, Twist};
use crate::history::{Record, Steady, What};

type Verdict = Result<(), String>;
/// An event's name and payload.
type EventKey<'a> = (&'a [u8], &'a [u8]);
/// One run of a node's process: the node, and the number of the run.
type Life = (NodeId, u32);

fn life(record: &Record) -> Life {
    (record.node, record.life)
}

/// Bounds that depend on the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum depth of each Serf queue.
    pub queue_messages_max: usize,
    /// Maximum age of a stream: the sum of the phases of gossip spec 2.9.5.
    pub stream_age_max: Duration,
    /// Time between two pings of a node that knows that it has missed events.
    pub hurried_ping: Duration,
}

/// Runs all checkers.
pub fn check_all(history: &[Record], limits: &Limits) -> Verdict {
    incarnations_never_decrease(history)?;
    stale_claims_revive_nobody(history)?;
    running_nodes_are_listed_as_alive(history)?;
    member_lists_agree(history)?;
    events_are_delivered_at_most_once(history)?;
    events_reach_joined_nodes(history)?;
    queries_are_delivered_at_most_once(history)?;
    queries_end_once_and_in_time(history)?;
    answers_are_sent_in_time_or_counted_as_late(history)?;
    answers_arrive_without_loss(history)?;
    handlers_run_one_at_a_time_in_order(history)?;
    queues_stay_within_limits(history, limits)?;
    streams_end(history, limits)?;
    clocks_move_within_bounds(history)?;
    false_claims_are_refuted(history)?;
    events_arrive_despite_false_claims(history)?;
    repairs_stay_within_rate_limits(history, limits)?;
    liars_cause_little_traffic(history)?;
    events_are_not_repeated_after_restarts(history)?;
    missed_events_arrive_after_restarts(history)?;
    events_before_a_join_are_not_delivered(history)?;
    deliveries_of_one_turn_are_in_order(history)?;
    events_of_one_sender_arrive_in_order(history)?;
    member_events_match_the_lists(history)
}

fn final_lists(history: &[Record]) -> impl Iterator<Item = (NodeId, &Vec<Member>)> {
    history.iter().filter_map(|record| match &record.what {
        What::Members(members) => Some((record.node, members)),
        _ => None,
    })
}

/// Each record with the steady period to which it belongs, if any.
fn with_steady(history: &[Record]) -> impl Iterator<Item = (Option<Steady>, &Record)> {
    let mut steady = None;
    history.iter().map(move |record| {
        if let What::Steady(now) = record.what {
            steady = now;
        }
        (steady, record)
    })
}

fn lives_at_the_end(history: &[Record]) -> BTreeSet<Life> {
    let ends = history
        .iter()
        .filter(|record| matches!(record.what, What::Members(_)));
    ends.map(life).collect()
}

/// The nodes that simulate the reference or a liar.
fn twisted(history: &[Record]) -> BTreeMap<NodeId, Twist> {
    let twists = history.iter().filter_map(|record| match record.what {
        What::Twisted(twist) => Some((record.node, twist)),
        _ => None,
    });
    twists.collect()
}

/// The nodes that simulate a liar.
fn liars(history: &[Record]) -> BTreeSet<NodeId> {
    let twists = twisted(history).into_iter();
    twists
        .filter(|(_, twist)| twist.lies())
        .map(|(node, _)| node)
        .collect()
}

/// The lives at the end that run this program; its promises hold for them.
fn own_lives_at_the_end(history: &[Record]) -> BTreeSet<Life> {
    let twisted = twisted(history);
    let mut lives = lives_at_the_end(history);
    lives.retain(|(node, _)| !twisted.contains_key(node));
    lives
}

/// The lives at the end that are not liars.
fn honest_lives_at_the_end(history: &[Record]) -> BTreeSet<Life> {
    let liars = liars(history);
    let mut lives = lives_at_the_end(history);
    lives.retain(|(node, _)| !liars.contains(node));
    lives
}

fn living_names(history: &[Record]) -> BTreeSet<NodeName> {
    let lives = lives_at_the_end(history);
    let names = history.iter().filter_map(|record| match &record.what {
        What::Started { name, .. } if lives.contains(&life(record)) => Some(name.clone()),
        _ => None,
    });
    names.collect()
}

/// Checks that two runs of one seed sent the same bytes at the same times.
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
mod delivery_tests;
#[cfg(test)]
mod peer_tests;
#[cfg(test)]
mod slander_tests;
#[cfg(test)]
mod tests;
