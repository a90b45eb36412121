//! The maximum time until all nodes agree.

use cottar::serf::Config;
use cottar::swim;
use cottar::time::Duration;

use crate::checkers::push_pull_scale;
use crate::cluster::{RETRY_JOIN, host_addr, node_name};

/// Probability per run that the bound is exceeded by chance alone.
pub(super) const BAD_LUCK: f64 = 1e-6;

/// How long after the last misfortune all lists must agree.
///
/// Each summand is the worst case of a step that the protocol takes by its own timers; where a step
/// is a random choice, it is given as many attempts as make missing it less likely than
/// [`BAD_LUCK`]. `n` is the number of hosts, those that do not run included.
///
/// 1. *Rejoining*: a started node tries again after `RETRY_JOIN`; an attempt that hangs ends within
///    the phases of a stream (dial, write, read).
/// 2. *Reconnecting* (gossip spec 5.14): of two halves at least one node of one knows one of the
///    other as failed or from before a restart. Each reconnect interval it calls a certain one of those
///    with a probability of `1 / others` at least, the others being those who are alive for it or those
///    whom it may call, if these are more; misses add up to (1 - 1 / n)^k. More than two islands merge
///    two by two: log2 rounds of it.
/// 3. *Detection* of those that died last: the probe list is walked through, in the worst case from
///    the front of one shuffle to the end of the next, 2n - 1 probes, each as long as the worst
///    health score makes it; then the longest suspicion (4.7).
/// 4. *Spreading* what gossip no longer carries: by push/pulls, each node one an interval with a
///    random partner, both learn. An epidemic needs about log2 n + ln n rounds for all, and ln(n /
///    BAD_LUCK) more to be sure of the last node. Then the refutation or the intent that follows
///    from it spreads once more in the same way.
/// 5. *Asking* those who are said to leave and do not: as long as a leave takes, doubled with each
///    question; at the end of the chaos five may have been lost.
pub(super) fn convergence_bound(config: &Config, n: usize) -> Duration {
    let swim = &config.swim;
    let rejoin = RETRY_JOIN + swim.stream_timeout * 3;

    let misses = (BAD_LUCK.ln() / (1.0 - 1.0 / n as f64).ln()).ceil();
    let mergers = (n as f64).log2().ceil().max(1.0);
    let draws = (misses + mergers) as u32;
    let reconnect = (config.reconnect_interval + swim.stream_timeout * 3) * draws;

    rejoin + reconnect + refutation_bound(config, n)
}

/// How long after the last false claim about members all lists must agree, if no node is cut off or restarts:
/// the last three summands. `n` includes members that do not exist.
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
