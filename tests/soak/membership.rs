//! Memberships: consecutive lives of a node over which it remembers handed-over events and later gets the
//! events that it missed.

use crate::history::{Life, NodeHistory};
use std::ops::Range;

/// Seconds that a node must have been back undisturbed to count as settled, because the others may still list
/// it as failed.
const SETTLING: f64 = 5.0;

/// Lives that continue each other.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Indices of the lives.
    pub lives: Range<usize>,
    /// When the life began in which it joined.
    pub began: f64,
    /// When it had joined; never, if infinite.
    pub joined: f64,
    /// When it ended for good.
    pub closed: f64,
    /// Periods in which it ran, had joined and was not stopped.
    spells: Vec<(f64, f64)>,
}

impl Membership {
    /// All memberships of a node.
    pub fn all(node: &NodeHistory) -> Vec<Membership> {
        let count = node.lives.len();
        let starts: Vec<usize> = (0..count).filter(|life| !node.continues(*life)).collect();
        let ends = starts.iter().skip(1).copied().chain([count]);
        let ranges = starts.iter().zip(ends);
        ranges
            .map(|(start, end)| Membership::new(*start..end, &node.lives))
            .collect()
    }

    fn new(range: Range<usize>, lives: &[Life]) -> Membership {
        let is_last = range.end == lives.len();
        let lives = &lives[range.clone()];
        let first = lives.iter().find(|life| life.back.is_some());
        let end = lives.last().and_then(|life| life.end);
        Membership {
            lives: range,
            began: first.map_or(f64::INFINITY, |life| life.start),
            joined: first.and_then(|life| life.back).unwrap_or(f64::INFINITY),
            closed: end.map_or(
                f64::INFINITY,
                |(at, _)| {
                    if is_last { f64::INFINITY } else { at }
                },
            ),
            spells: lives.iter().flat_map(spells).collect(),
        }
    }

    /// How long it ran in this period, in seconds.
    pub fn running(&self, from: f64, to: f64) -> f64 {
        let overlap = |(start, end): &(f64, f64)| (end.min(to) - start.max(from)).max(0.0);
        self.spells.iter().map(overlap).sum()
    }

    /// Whether it ran during the whole period.
    pub fn ran(&self, from: f64, to: f64) -> bool {
        let holds = |(start, end): &(f64, f64)| *start <= from && to <= *end;
        self.spells.iter().any(holds)
    }

    /// Whether it was settled, and stayed until `to`.
    pub fn is_settled(&self, at: f64, to: f64) -> bool {
        // All nodes are settled when the events begin.
        let is_first = self
            .spells
            .first()
            .is_some_and(|(start, end)| self.lives.start == 0 && *start <= at && to <= *end);
        is_first || self.ran(at - SETTLING, to)
    }

    /// When it next runs at or after `at`.
    pub fn next_running(&self, at: f64) -> f64 {
        let spell = self.spells.iter().find(|(_, end)| *end > at);
        spell.map_or(f64::INFINITY, |(start, _)| start.max(at))
    }
}

fn spells(life: &Life) -> Vec<(f64, f64)> {
    let Some(mut from) = life.back else {
        return Vec::new();
    };
    let mut spells = Vec::new();
    for (pause, wake) in &life.pauses {
        spells.push((from, *pause));
        from = *wake;
    }
    let end = life.end.map_or(f64::INFINITY, |(at, _)| at);
    spells.push((from, end));
    spells.retain(|(from, to)| from < to);
    spells
}
