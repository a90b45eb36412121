//! Suspicion timeouts (gossip spec 4.7).

use super::table::NodeId;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::time::{Duration, Instant};
use crate::wire::NodeName;

/// Returns the minimum timeout: `multiplier * max(1, log10(nodes)) * probe_interval`, the logarithm truncated
/// to three decimals.
pub fn timeout_min(multiplier: u32, nodes: usize, probe_interval: Duration) -> Duration {
    // The margin corrects logarithms that are whole numbers but round down. No other table size has a
    // logarithm that close below the next thousandth.
    let thousandths = ((nodes.max(1) as f64).log10() * 1000.0 + 1e-7).max(1000.0) as u32;
    (probe_interval * multiplier).saturating_mul(thousandths) / 1000
}

/// Returns the total timeout, from the start of the suspicion, after `confirmations` of the `expected`
/// confirmations.
pub fn timeout_with(confirmations: u32, expected: u32, min: Duration, max: Duration) -> Duration {
    if expected == 0 {
        return min;
    }
    let share = f64::from(confirmations + 1).ln() / f64::from(expected + 1).ln();
    let (min_s, max_s) = (min.as_secs_f64(), max.as_secs_f64());
    let millis = ((max_s - share * (max_s - min_s)) * 1000.0).floor();
    Duration::from_millis(millis.max(0.0) as u64).max(min)
}

/// A running suspicion.
#[derive(Clone, Debug)]
pub struct Suspicion {
    started: Instant,
    min: Duration,
    max: Duration,
    expected: u32,
    /// Accusers so far. The first is the original one, who cannot confirm. `None` counts as a name of its
    /// own.
    accusers: Vec<Option<NodeName>>,
}

impl Suspicion {
    /// Starts a suspicion; `nodes` is the number of records.
    pub fn new(
        accuser: Option<NodeName>,
        nodes: usize,
        (multiplier, max_multiplier): (u32, u32),
        probe_interval: Duration,
        now: Instant,
    ) -> Self {
        let wanted = multiplier.saturating_sub(2);
        let others = nodes.saturating_sub(2);
        let min = timeout_min(multiplier, nodes, probe_interval);
        Suspicion {
            started: now,
            min,
            max: min.saturating_mul(max_multiplier),
            expected: if others < wanted as usize { 0 } else { wanted },
            accusers: vec![accuser],
        }
    }

    /// Returns the number of confirmations so far.
    pub fn confirmations(&self) -> u32 {
        (self.accusers.len() - 1) as u32
    }

    /// Whether all expected confirmations have arrived.
    pub fn is_confirmed(&self) -> bool {
        self.confirmations() >= self.expected
    }

    /// Adds an accusation; returns whether it is a new confirmation.
    pub fn confirm(&mut self, accuser: &Option<NodeName>) -> bool {
        if self.confirmations() >= self.expected || self.accusers.contains(accuser) {
            return false;
        }
        self.accusers.push(accuser.clone());
        true
    }

    /// Returns the time at which the suspect is declared dead; may have passed.
    pub fn deadline(&self) -> Instant {
        self.started + timeout_with(self.confirmations(), self.expected, self.min, self.max)
    }
}

/// The running suspicions, by suspect.
#[derive(Debug, Default)]
pub struct Suspicions {
    by_node: OrderedMap<NodeId, Suspicion>,
    by_deadline: OrderedSet<(Instant, NodeId)>,
}

impl Suspicions {
    /// Returns the number of suspects.
    pub fn len(&self) -> usize {
        self.by_node.len()
    }

    /// Returns the suspicion of a node.
    pub fn get(&self, id: NodeId) -> Option<&Suspicion> {
        self.by_node.get(&id)
    }

    /// Returns the suspicion that times out first, with its deadline.
    pub fn first(&self) -> Option<(Instant, NodeId)> {
        self.by_deadline.first().copied()
    }

    /// Starts to suspect a node.
    pub fn start(&mut self, id: NodeId, suspicion: Suspicion) {
        self.by_deadline.insert((suspicion.deadline(), id));
        self.by_node.insert(id, suspicion);
    }

    /// Adds an accusation of a suspect; returns whether it is a new confirmation.
    pub fn confirm(&mut self, id: NodeId, accuser: &Option<NodeName>) -> bool {
        let Some(suspicion) = self.by_node.get_mut(&id) else {
            return false;
        };
        let before = suspicion.deadline();
        let is_new = suspicion.confirm(accuser);
        if is_new {
            let after = suspicion.deadline();
            self.by_deadline.remove(&(before, id));
            self.by_deadline.insert((after, id));
        }
        is_new
    }

    /// Ends the suspicion of a node, if any.
    pub fn end(&mut self, id: NodeId) {
        if let Some(suspicion) = self.by_node.remove(&id) {
            self.by_deadline.remove(&(suspicion.deadline(), id));
        }
    }

    /// Panics if the two indexes differ, or contain a node that is not suspect.
    pub fn check_invariants(&self, mut is_suspect: impl FnMut(NodeId) -> bool) {
        assert_eq!(self.by_deadline.len(), self.by_node.len());
        for (&id, suspicion) in &self.by_node {
            assert!(self.by_deadline.contains(&(suspicion.deadline(), id)));
            assert!(is_suspect(id));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::swim::test_support::vectors;

    fn nanos(value: &serde_json::Value) -> i64 {
        value.as_i64().unwrap()
    }

    fn duration(value: &serde_json::Value) -> Duration {
        Duration::from_nanos(value.as_u64().unwrap())
    }

    #[test]
    fn the_shortest_time_is_the_references() {
        for case in vectors("suspicionTimeout").as_array().unwrap() {
            let min = timeout_min(
                nanos(&case["mult"]) as u32,
                nanos(&case["nodes"]) as usize,
                duration(&case["probeIntervalNanos"]),
            );
            assert_eq!(min, duration(&case["nanos"]), "{case}");
        }
    }

    #[test]
    fn confirmations_shorten_it_as_in_the_reference() {
        for case in vectors("suspicionRemaining").as_array().unwrap() {
            let total = timeout_with(
                nanos(&case["confirmations"]) as u32,
                nanos(&case["expected"]) as u32,
                duration(&case["minNanos"]),
                duration(&case["maxNanos"]),
            );
            let remaining = i64::try_from(total.as_nanos()).unwrap() - nanos(&case["elapsedNanos"]);
            assert_eq!(remaining, nanos(&case["remainingNanos"]), "{case}");
        }
    }

    #[test]
    fn the_accuser_and_repeats_confirm_nothing() {
        let name = |text: &[u8]| Some(NodeName::new(text).unwrap());
        let start = Instant::from_millis(100);
        let mut suspicion = Suspicion::new(name(b"a"), 4, (4, 6), Duration::from_secs(1), start);
        assert_eq!(suspicion.deadline(), start + Duration::from_secs(24));
        assert!(!suspicion.confirm(&name(b"a")));
        assert!(suspicion.confirm(&name(b"b")));
        assert!(!suspicion.confirm(&name(b"b")));
        assert_eq!(suspicion.deadline(), start + Duration::from_millis(11_381));
        assert!(suspicion.confirm(&None));
        assert_eq!(suspicion.deadline(), start + Duration::from_secs(4));
        assert!(!suspicion.confirm(&name(b"c")), "no more are expected");
    }

    #[test]
    fn nobody_is_waited_for_who_is_not_there() {
        let start = Instant::ORIGIN;
        let suspicion = Suspicion::new(None, 3, (4, 6), Duration::from_secs(1), start);
        assert_eq!(suspicion.deadline(), start + Duration::from_secs(4));
    }
}
