//! D8: user events that are not coalesced are handed over in the order of their Lamport times.

use super::Court;
use crate::history::{Event, Run};
use std::collections::{BTreeMap, BTreeSet};

/// The minimum time, in seconds, for which an event waits for a missing earlier time, less a tolerance for
/// clocks and scripts.
const WAIT: f64 = 0.045;

/// Counts of runs out of order: a later run with a lower time.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Runs that were compared.
    pub runs: usize,
    /// After a higher time that could not have waited, because another event had the same time.
    pub hidden: usize,
    /// After a higher time, of runs within [`SOON`](super::SOON) after the firing.
    pub prompt: usize,
    /// The same for later runs, by repair or after an absence.
    pub late: usize,
}

/// Counts them for each life of each node, and checks that the first event that overtook a late one had
/// waited.
pub fn judge(court: &mut Court) {
    let history = court.history;
    let named = history.events.iter().map(|e| (e.name.as_str(), e));
    let events: BTreeMap<&str, &Event> = named.collect();
    let mut by_time: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    for run in &history.runs {
        by_time.entry(run.ltime).or_default().insert(&run.event);
    }
    let mut so_far: BTreeMap<(usize, usize), Vec<&Run>> = BTreeMap::new();
    for run in &history.runs {
        let Some(event) = events.get(run.event.as_str()).filter(|e| !e.coalesced) else {
            continue;
        };
        let before = so_far.entry((run.node, run.life)).or_default();
        let overtaken = before.iter().filter(|other| other.ltime > run.ltime);
        let first = overtaken.min_by(|a, b| a.at.total_cmp(&b.at)).copied();
        before.push(run);
        let order = &mut court.account(run.node).order;
        order.runs += 1;
        let Some(first) = first else {
            continue;
        };
        let fired = event.accepted.unwrap_or(event.asked);
        if by_time[&run.ltime].len() > 1 {
            order.hidden += 1;
            continue;
        } else if run.at - fired < super::SOON {
            order.prompt += 1;
        } else {
            order.late += 1;
        }
        // The wait begins when the node first learns of a later time, by an event (coalesced or not) or by
        // another node's clock, but not before this event was fired.
        let later = by_time.range(run.ltime + 1..).flat_map(|(_, names)| names);
        let asked = later.map(|name| events.get(name).map_or(first.at, |event| event.asked));
        let noticed = asked.fold(fired, f64::min);
        let has_waited = first.at < fired || first.at > noticed + WAIT;
        let memberships = &court.memberships[run.node];
        let is_settled = memberships.iter().any(|one| one.is_settled(fired, run.at));
        if !has_waited && is_settled {
            court.broken(run.node, || {
                format!("D8 n{} ran {event} behind {first:?}: {run:?}", run.node)
            });
        }
    }
}
