//! Checks of limits: queues, streams, and the cost of repairs and liars.

use std::collections::{BTreeMap, BTreeSet};

use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use super::{Life, Limits, Verdict, liars, life, lives_at_the_end, twisted};
use crate::cluster::{GHOSTS, Twist};
use crate::history::{Record, Spent, What};

/// Checks that no queue exceeds its limit: one membership message per name, and the limit of the Serf
/// queues. At the end, all queues are empty if there is another member.
pub fn queues_stay_within_limits(history: &[Record], limits: &Limits) -> Verdict {
    let names: BTreeSet<&NodeName> = history
        .iter()
        .filter_map(|record| match &record.what {
            What::Started { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    // A forger makes up members.
    let forged = twisted(history)
        .values()
        .any(|twist| *twist == Twist::Forger);
    let names = names.len() + if forged { GHOSTS } else { 0 };
    let company = lives_at_the_end(history).len() > 1;
    for record in history {
        let What::Queues { depths, end } = &record.what else {
            continue;
        };
        let serf = depths.intent.max(depths.query).max(depths.event);
        let deepest = depths.membership.max(serf);
        let over = depths.membership > names || serf > limits.queue_messages_max;
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

/// Checks that no stream is older than the time limits of its phases allow.
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

/// By how much the push/pull interval grows with the number of nodes (gossip spec 4.2).
pub fn push_pull_scale(nodes: usize) -> u32 {
    match nodes {
        0..=32 => 1,
        _ => ((nodes as f64).log2() - 5.0).ceil() as u32 + 1,
    }
}

/// How far others may move a clock within [`CLOCK_WINDOW`].
const CLOCK_MOVE_MAX: u64 = 8 << 40;
pub(super) const CLOCK_WINDOW: Duration = Duration::from_secs(10);

/// Checks that no clock of an honest node moves further than allowed, whatever others send: by as much as in
/// two windows at once, and by as much as in one in each window after that.
pub fn clocks_move_within_bounds(history: &[Record]) -> Verdict {
    let liars = liars(history);
    let mut moved: BTreeMap<(Life, usize), (Instant, u64)> = BTreeMap::new();
    for record in history {
        let What::ClockLeapt { clock, by } = record.what else {
            continue;
        };
        if liars.contains(&record.node) {
            continue;
        }
        let (since, sum) = moved.entry((life(record), clock)).or_insert((record.at, 0));
        let windows = record.at.since(*since).as_secs_f64() / CLOCK_WINDOW.as_secs_f64();
        let rest = sum.saturating_sub((windows * CLOCK_MOVE_MAX as f64) as u64);
        *sum = rest.saturating_add(by);
        *since = record.at;
        if *sum > 2 * CLOCK_MOVE_MAX + CLOCK_MOVE_MAX / 64 {
            return Err(format!(
                "{:?}: node {}'s clock {clock} has moved by {sum} too fast, now by {by}",
                record.at, record.node
            ));
        }
    }
    Ok(())
}

/// Traffic and exchanges of nodes of this program between two observations, the time between them, and
/// whether the period was quiet.
fn spending(history: &[Record]) -> impl Iterator<Item = (&Record, Spent, Duration, bool)> {
    let twisted = twisted(history);
    let mut last: BTreeMap<Life, (Instant, Spent)> = BTreeMap::new();
    history.iter().filter_map(move |record| {
        let What::Spent { spent, quiet } = record.what else {
            return None;
        };
        let before = last.insert(life(record), (record.at, spent));
        let (since, before) = before.filter(|_| !twisted.contains_key(&record.node))?;
        let between = Spent {
            datagrams: spent.datagrams - before.datagrams,
            exchanges: spent.exchanges - before.exchanges,
            pings: spent.pings - before.pings,
            answers: spent.answers - before.answers,
        };
        Some((record, between, record.at.since(since), quiet))
    })
}

/// Checks the rate limits of repairs, whatever others send: one repair exchange a second, and no more pings
/// on behalf of others and answers to repeated queries than their token buckets allow (delivery spec,
/// "Summaries, digests, gaps" and "Repeated queries").
pub fn repairs_stay_within_rate_limits(history: &[Record], limits: &Limits) -> Verdict {
    for (record, spent, time, _) in spending(history) {
        let seconds = time.as_secs_f64();
        let own = seconds / limits.hurried_ping.as_secs_f64();
        let within = spent.exchanges as f64 <= seconds + 1.0
            && spent.pings as f64 <= own + 16.0 + seconds * 50.0 + 1.0
            && spent.answers as f64 <= 1_024.0 * (1.0 + seconds);
        if !within {
            return Err(format!(
                "{:?}: node {} has spent {spent:?} in {time:?}",
                record.at, record.node
            ));
        }
    }
    Ok(())
}

/// Exchanges that one liar causes in a quiet minute: at once and after 1, 3, 7, 15, 31 and 61 seconds.
const EXCHANGES_OF_A_LIAR: u64 = 7;
/// Exchanges that stem from the time before: a gap, for which a node asks three members.
const EXCHANGES_LEFT_OVER: u64 = 3;
/// Datagrams that a node sends per second of a quiet period, including probes and acks.
const DATAGRAMS_PER_SECOND: f64 = 16.0;

/// Checks that in a quiet period a liar causes only few exchanges and datagrams of each node of this program.
pub fn liars_cause_little_traffic(history: &[Record]) -> Verdict {
    let liars = liars(history).len() as u64;
    for (record, spent, time, quiet) in spending(history) {
        let datagrams = DATAGRAMS_PER_SECOND * time.as_secs_f64();
        let within = spent.exchanges <= liars * EXCHANGES_OF_A_LIAR + EXCHANGES_LEFT_OVER
            && spent.datagrams as f64 <= datagrams;
        if quiet && liars > 0 && !within {
            return Err(format!(
                "{:?}: with {liars} liars node {} has spent {spent:?} in quiet {time:?}",
                record.at, record.node
            ));
        }
    }
    Ok(())
}
