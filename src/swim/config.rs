//! Configuration of the membership layer (gossip spec 6.1).

use crate::time::Duration;

/// Timers, counts and limits: one of the three profiles, with adjustments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Timeout of each phase of a stream exchange (2.9.5).
    pub stream_timeout: Duration,
    /// Time between probes at health score 0.
    pub probe_interval: Duration,
    /// Timeout of a direct ack, and of the target's ack when this node relays.
    pub probe_timeout: Duration,
    /// Number of relays to ask when the direct ack does not arrive.
    pub indirect_checks: usize,
    /// Whether to fall back to a ping over TCP.
    pub tcp_fallback_ping: bool,
    /// Multiplier of the retransmission limit (4.11).
    pub retransmit_multiplier: u32,
    /// Membership broadcasts are transmitted as often as 4.11 requires for at least this number of nodes, and
    /// as often as it takes to reach all nodes ([`super::transmissions_to_all`]): with the LAN and the WAN
    /// profile, that is more often from 299 nodes on. In clusters of up to 64 nodes, transmissions beyond
    /// the limit for the real number of nodes go only to nodes that the broadcast was not yet sent to. 0
    /// turns both off.
    ///
    /// The reference has no such setting. It is needed because gossip targets are random: all nodes together
    /// miss a given node with a probability of about `e^-limit`. With the LAN profile's limit of 4 below 10
    /// nodes and 8 below 100, one in ten or twenty series of joins leaves some node unaware of another until
    /// push/pull repairs it minutes later. The limit for 1,000 nodes is 16; if only half of the nodes use it,
    /// the exponent for 60 nodes still rises from 8 to 12. In large clusters the limit of 16 misses a pair
    /// of nodes in a series of joins again: 3,000 nodes agreed 272 s after the last one had joined. How
    /// often a node transmits is a local choice, so the wire format does not change.
    ///
    /// User broadcasts keep the limit of 4.11: there may be thousands of them, in clusters of any size.
    pub membership_retransmit_nodes_min: usize,
    /// Multiplier of the minimum suspicion timeout (4.7).
    pub suspicion_multiplier: u32,
    /// Maximum suspicion timeout as a multiple of the minimum.
    pub suspicion_max_multiplier: u32,
    /// Time between periodic push/pulls, before scaling (4.2); zero disables them.
    pub push_pull_interval: Duration,
    /// Time between gossip ticks; zero disables them.
    pub gossip_interval: Duration,
    /// Number of targets per gossip tick.
    pub gossip_nodes: usize,
    /// How long a dead node remains a gossip target and its record is kept (4.3).
    pub gossip_to_the_dead_time: Duration,
    /// Upper bound (exclusive) of the health score (M).
    pub awareness_max: u32,
    /// Time after which a dead node's name may be reused at another address; zero: never.
    pub dead_node_reclaim_time: Duration,
    /// Maximum number of nodes in the table (8.7).
    pub nodes_max: usize,
}

impl Config {
    /// Returns the profile for a local network.
    pub const fn lan() -> Self {
        Config {
            stream_timeout: Duration::from_secs(10),
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            tcp_fallback_ping: true,
            retransmit_multiplier: 4,
            membership_retransmit_nodes_min: 1_000,
            suspicion_multiplier: 4,
            suspicion_max_multiplier: 6,
            push_pull_interval: Duration::from_secs(30),
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead_time: Duration::from_secs(30),
            awareness_max: 8,
            dead_node_reclaim_time: Duration::ZERO,
            nodes_max: 65_536,
        }
    }

    /// Returns the profile for a wide area network.
    pub const fn wan() -> Self {
        Config {
            stream_timeout: Duration::from_secs(30),
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_multiplier: 6,
            push_pull_interval: Duration::from_secs(60),
            gossip_interval: Duration::from_millis(500),
            gossip_nodes: 4,
            gossip_to_the_dead_time: Duration::from_secs(60),
            ..Config::lan()
        }
    }

    /// Returns the profile for nodes on one machine.
    pub const fn local() -> Self {
        Config {
            stream_timeout: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(200),
            indirect_checks: 1,
            retransmit_multiplier: 2,
            suspicion_multiplier: 3,
            push_pull_interval: Duration::from_secs(15),
            gossip_interval: Duration::from_millis(100),
            gossip_to_the_dead_time: Duration::from_secs(15),
            ..Config::lan()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the table of gossip spec 6.1, column by column.
    #[test]
    fn the_profiles_are_the_references() {
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        let common = |config: &Config| {
            assert!(config.tcp_fallback_ping);
            // The only value that the reference does not have.
            assert_eq!(config.membership_retransmit_nodes_min, 1_000);
            assert_eq!(config.suspicion_max_multiplier, 6);
            assert_eq!(config.awareness_max, 8);
            assert_eq!(config.dead_node_reclaim_time, Duration::ZERO);
            assert_eq!(config.nodes_max, 65_536);
        };
        let times = |config: &Config| {
            [
                config.stream_timeout,
                config.probe_interval,
                config.probe_timeout,
                config.push_pull_interval,
                config.gossip_interval,
                config.gossip_to_the_dead_time,
            ]
        };
        let counts = |config: &Config| {
            (
                config.indirect_checks,
                config.retransmit_multiplier,
                config.suspicion_multiplier,
                config.gossip_nodes,
            )
        };
        for (config, due_times, due_counts) in [
            (
                Config::lan(),
                [
                    secs(10),
                    secs(1),
                    millis(500),
                    secs(30),
                    millis(200),
                    secs(30),
                ],
                (3, 4, 4, 3),
            ),
            (
                Config::wan(),
                [secs(30), secs(5), secs(3), secs(60), millis(500), secs(60)],
                (3, 4, 6, 4),
            ),
            (
                Config::local(),
                [
                    secs(1),
                    secs(1),
                    millis(200),
                    secs(15),
                    millis(100),
                    secs(15),
                ],
                (1, 2, 3, 3),
            ),
        ] {
            common(&config);
            assert_eq!(times(&config), due_times);
            assert_eq!(counts(&config), due_counts);
        }
    }
}
