//! The plan of disturbances, drawn from a seed.

use crate::noise::Rng;

/// A kind of disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// Killed with KILL, and started again.
    Kill,
    /// Ended with TERM, which is no leave, and started again.
    Stop,
    /// Ended with INT, a leave, and started again.
    Leave,
    /// Stopped with STOP, and continued with CONT.
    Pause,
}

/// How an agent rejoins after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// `-join` with some running nodes.
    Join,
    /// `-retry-join` with some running nodes.
    RetryJoin,
    /// Only its snapshot.
    Snapshot,
}

/// One disturbance.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    /// When, in seconds since the events began.
    pub at: f64,
    pub node: usize,
    pub blow: Blow,
    /// Seconds until it is continued or started again.
    pub absence: f64,
    pub comes_back: Return,
}

/// Longest absence in seconds. Members remember 512 Lamport times, which covers it at 15 events a second.
const ABSENCE_MAX: f64 = 10.0;
/// Seconds without disturbance after an agent's return; otherwise no node would ever be settled.
const RECOVERY: f64 = 6.0;

/// Draws disturbances for this many seconds, `pace` seconds apart on average, so that more than half of the
/// nodes are undisturbed at any time.
pub fn draw(seed: u64, nodes: usize, seconds: f64, pace: f64) -> Vec<Disturbance> {
    let mut rng = Rng::new(seed);
    let mut free_at = vec![0.0; nodes];
    let mut plan = Vec::new();
    let mut at = 0.5;
    while pace > 0.0 && at < seconds {
        let node = rng.below(nodes);
        let blow = [
            Blow::Kill,
            Blow::Stop,
            Blow::Leave,
            Blow::Pause,
            Blow::Pause,
        ][rng.below(5)];
        // Short absences are as likely as long ones, because they race with failure detection.
        let absence = ABSENCE_MAX * fraction(&mut rng) * fraction(&mut rng);
        let comes_back = [Return::Join, Return::RetryJoin, Return::Snapshot][rng.below(3)];
        let troubled = free_at.iter().filter(|free| **free > at).count();
        if free_at[node] <= at && troubled + 1 < nodes.div_ceil(2) {
            free_at[node] = at + absence + RECOVERY;
            plan.push(Disturbance {
                at,
                node,
                blow,
                absence,
                comes_back,
            });
        }
        at += pace * 2.0 * fraction(&mut rng);
    }
    plan
}

/// A number in [0, 1).
pub fn fraction(rng: &mut Rng) -> f64 {
    rng.below(1 << 20) as f64 / f64::from(1 << 20)
}

#[test]
fn a_seed_gives_one_plan_that_spares_a_majority() {
    let plan = draw(7, 8, 600.0, 2.0);
    assert_eq!(format!("{plan:?}"), format!("{:?}", draw(7, 8, 600.0, 2.0)));
    assert!(plan.len() > 100, "{}", plan.len());
    for one in &plan {
        let is_with = |other: &&Disturbance| {
            other.at <= one.at && one.at < other.at + other.absence + RECOVERY
        };
        let mut troubled: Vec<usize> = plan.iter().filter(is_with).map(|d| d.node).collect();
        let count = troubled.len();
        assert!(count < 4, "{count} at {}", one.at);
        troubled.sort_unstable();
        troubled.dedup();
        assert_eq!(troubled.len(), count, "one node twice at {}", one.at);
    }
}
