//! How long agreement may take.

use cottar::serf::Config;
use cottar::swim;
use cottar::time::Duration;

use crate::cluster::{RETRY_JOIN, host_addr, node_name};

/// The chance, a run, that a bound is missed by bad luck alone.
pub(super) const BAD_LUCK: f64 = 1e-6;

/// How long after the last misfortune all lists must agree.
///
/// Each summand is the worst case of a step that the protocol takes by its own timers; where a step
/// is a random choice, it is given as many attempts as make missing it less likely than
/// [`BAD_LUCK`]. `n` is the number of hosts, `gone` that of those that do not run.
///
/// 1. *Rejoining*: a started node tries again after `RETRY_JOIN`; an attempt that hangs ends within
///    the phases of a stream (dial, write, read).
/// 2. *Reconnecting* (gossip spec 5.14): of two halves that hold each other failed, the smaller
///    one's nodes each draw a failed member every reconnect interval, with probability 1, because
///    at least as many are failed as are alive there. A draw hits a running one with
///    `q = live / (live + gone)` at least, live being half of the running ones; misses add up to
///    (1 - q)^k. More than two islands merge two by two: log2 rounds of it.
/// 3. *Detection* of those that died last: the probe list is walked through, in the worst case from
///    the front of one shuffle to the end of the next, 2n - 1 probes, each as long as the worst
///    health score makes it; then the longest suspicion (4.7).
/// 4. *Spreading* what gossip no longer carries: by push/pulls, each node one an interval with a
///    random partner, both learn. An epidemic needs about log2 n + ln n rounds for all, and ln(n /
///    BAD_LUCK) more to be sure of the last node. Then the refutation or the intent that follows
///    from it spreads once more in the same way.
/// 5. *Asking* those who are said to leave and do not: as long as a leave takes, doubled with each
///    question; at the end of the chaos five may have been lost.
pub(super) fn convergence_bound(config: &Config, n: usize, gone: usize) -> Duration {
    let swim = &config.swim;
    let rejoin = RETRY_JOIN + swim.stream_timeout * 3;

    let live = (n - gone) as f64;
    let hit = (live / 2.0).max(1.0) / ((live / 2.0).max(1.0) + gone as f64);
    let misses = if hit >= 1.0 {
        1.0
    } else {
        (BAD_LUCK.ln() / (1.0 - hit).ln()).ceil()
    };
    let mergers = live.log2().ceil().max(1.0);
    let draws = (misses + mergers) as u32;
    let reconnect = (config.reconnect_interval + swim.stream_timeout * 3) * draws;

    let walk = swim.probe_interval * swim.awareness_max * (2 * n - 1) as u32;
    let least = swim
        .probe_interval
        .mul_f64(f64::from(swim.suspicion_multiplier) * (n as f64).log10().max(1.0));
    let detection = walk + least * swim.suspicion_max_multiplier;

    let n = n as f64;
    let scale = if n <= 32.0 {
        1
    } else {
        (n.log2() - 5.0).ceil() as u32 + 1
    };
    let rounds = (n.log2() + n.ln() + (n / BAD_LUCK).ln()).ceil() as u32;
    let spreading = swim.push_pull_interval * scale * rounds * 2;

    let leave = config.broadcast_timeout * 2 + config.leave_propagate_delay;
    let asking = leave * 32;

    rejoin + reconnect + detection + spreading + asking
}

#[test]
fn the_bound_is_what_the_timers_say() {
    let config = Config::new(node_name("a"), host_addr(0), swim::Config::lan());
    // 35 s to rejoin; one lucky draw and two mergers of 60 s each; 5 probes of 8 s and 24 s of
    // suspicion; twice 18 rounds of 30 s; 32 times the 11 s of a leave.
    let expected = Duration::from_secs(35 + 3 * 60 + 5 * 8 + 24 + 2 * 18 * 30 + 32 * 11);
    assert_eq!(convergence_bound(&config, 3, 0), expected);
    assert!(convergence_bound(&config, 3, 1) > expected);
    assert!(convergence_bound(&config, 12, 0) > expected);
}
