//! D8: user events that are not coalesced are handed over in the order of their Lamport times.

use super::Court;
use crate::harness::Kind;
use std::collections::BTreeMap;

/// Pairs of runs, the later one with the lower time.
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// Runs that were compared.
    pub runs: usize,
    /// Behind one with a higher time, of runs within [`SOON`](super::SOON) after the firing.
    pub prompt: usize,
    /// The same of later ones: repairs, and what comes after an absence.
    pub late: usize,
}

/// Counts, for each life of each node. What comes late may run when it comes; without loss nothing is
/// late at nodes that nobody disturbs.
pub fn judge(court: &mut Court) {
    let events: BTreeMap<&str, &crate::history::Event> = court
        .history
        .events
        .iter()
        .map(|event| (event.name.as_str(), event))
        .collect();
    let mut highest: BTreeMap<(usize, usize), (u64, &str, f64)> = BTreeMap::new();
    let is_calm = |node: &crate::history::NodeHistory| {
        node.kind == Kind::Cottar && node.lives.len() == 1 && node.lives[0].pauses.is_empty()
    };
    let is_strict = court.history.loss == 0 && court.history.nodes.iter().all(is_calm);
    for run in &court.history.runs {
        let Some(event) = events
            .get(run.event.as_str())
            .filter(|event| !event.coalesced)
        else {
            continue;
        };
        let is_prompt = run.at - event.accepted.unwrap_or(event.asked) < super::SOON;
        let before = highest.get(&(run.node, run.life)).copied();
        let order = &mut court.account(run.node).order;
        order.runs += 1;
        match before {
            Some((ltime, name, at)) if run.ltime < ltime => {
                if is_prompt {
                    order.prompt += 1;
                } else {
                    order.late += 1;
                }
                if is_strict {
                    court.broken(run.node, || {
                        format!("D8 {run:?} behind {name} with time {ltime} at {at:.3}")
                    });
                }
            }
            _ => {
                highest.insert((run.node, run.life), (run.ltime, &run.event, run.at));
            }
        }
    }
}
