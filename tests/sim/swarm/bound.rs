//! The maximum time until all nodes agree.

use cottar::serf::Config;
use cottar::swim;
use cottar::time::Duration;

use crate::checkers::push_pull_scale;
use crate::cluster::{RETRY_JOIN, host_addr, node_name};

/// Probability per run that the bound is exceeded by chance alone.
pub(super) const BAD_LUCK: f64 = 1e-6;

/// Returns how long after the last fault all lists must agree.
///
/// Each summand is the worst case of a step that the protocol takes by its own timers. A step with a random
/// choice gets so many attempts that the probability of missing it is below [`BAD_LUCK`]. `n` is the number
/// of hosts, including those that do not run.
///
/// 1. *Rejoining*: a started node tries again after `RETRY_JOIN`. An attempt that hangs ends within the
///    phases of a stream (dial, write, read).
/// 2. *Reconnecting* (gossip spec 5.14): at least one node of one half knows a node of the other half as
///    failed, or from before a restart. In each reconnect interval it tries that node with a probability of
///    at least `1 / others`, where `others` is the number of its live members or of the members that it may
///    try, whichever is greater. So `k` intervals fail with a probability of (1 - 1 / n)^k. More than two
///    islands merge in pairs, in log2 n rounds.
/// 3. *Detecting* the nodes that failed last: in the worst case the probe cycle goes from the front of one
///    shuffled list to the end of the next, which takes 2n - 1 probes, each lengthened by the worst health
///    score. The longest suspicion follows (4.7).
/// 4. *Spreading* what gossip no longer carries: each node starts one push/pull per interval with a random
///    partner, and both learn from it. An epidemic needs about log2 n + ln n rounds to reach all nodes, and
///    ln(n / BAD_LUCK) more to reach the last one with that probability. The refutation or intent that
///    follows spreads once more in the same way.
/// 5. *Asking* members stuck in `leaving`: the first question follows after the duration of a leave, and each
///    further one after twice the time. At the end of the chaos five questions may have been lost.
pub(super) fn convergence_bound(config: &Config, n: usize) -> Duration {
    let swim = &config.swim;
    let rejoin = RETRY_JOIN + swim.stream_timeout * 3;

    let misses = (BAD_LUCK.ln() / (1.0 - 1.0 / n as f64).ln()).ceil();
    let mergers = (n as f64).log2().ceil().max(1.0);
    let draws = (misses + mergers) as u32;
    let reconnect = (config.reconnect_interval + swim.stream_timeout * 3) * draws;

    rejoin + reconnect + refutation_bound(config, n)
}

/// Returns how long after the last false claim about members all lists must agree, if no node is cut off or
/// restarts: the last three summands. `n` includes members that do not exist.
pub(super) fn refutation_bound(config: &Config, n: usize) -> Duration {
    let swim = &config.swim;
    let walk = swim.probe_interval * swim.awareness_max * (2 * n - 1) as u32;
    let least = swim
        .probe_interval
        .mul_f64(f64::from(swim.suspicion_multiplier) * (n as f64).log10().max(1.0));
    let detection = walk + least * swim.suspicion_max_multiplier;

    let scale = push_pull_scale(n);
    let n = n as f64;
    let rounds = (n.log2() + n.ln() + (n / BAD_LUCK).ln()).ceil() as u32;
    let spreading = swim.push_pull_interval * scale * rounds * 2;

    let leave = config.broadcast_timeout * 2 + config.leave_propagate_delay;
    let asking = leave * 32;

    detection + spreading + asking
}

#[test]
fn the_convergence_bound_follows_from_the_timers() {
    let config = Config::new(node_name("a"), host_addr(0), swim::Config::lan());
    // 35 s to rejoin; 35 draws and two mergers of 60 s each; 5 probes of 8 s and 24 s of
    // suspicion; twice 18 rounds of 30 s; 32 times the 11 s of a leave.
    let expected = Duration::from_secs(35 + 37 * 60 + 5 * 8 + 24 + 2 * 18 * 30 + 32 * 11);
    assert_eq!(convergence_bound(&config, 3), expected);
    assert!(convergence_bound(&config, 12) > expected);
    let expected = Duration::from_secs(5 * 8 + 24 + 2 * 18 * 30 + 32 * 11);
    assert_eq!(refutation_bound(&config, 3), expected);
}
