//! Numbers of the membership layer (gossip spec 6.1).

use crate::time::Duration;

/// Timers, counts and limits; one of the three profiles, then adjusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Limit of each phase of a stream exchange (2.9.5).
    pub stream_timeout: Duration,
    /// Time between probes at health score 0.
    pub probe_interval: Duration,
    /// Wait for a direct ack, and of a relay for its target's.
    pub probe_timeout: Duration,
    /// Relays asked when the direct ack stays out.
    pub indirect_checks: usize,
    /// Fall back to a ping over TCP.
    pub tcp_fallback_ping: bool,
    /// Multiplier of the retransmission limit (4.11).
    pub retransmit_multiplier: u32,
    /// News of members are transmitted as often as 4.11 says for at least this number of nodes, but on
    /// top of what it says for the real number only to nodes that were not sent them yet; 0: no more
    /// often.
    ///
    /// Why, as the reference does without: targets are chosen at random, and each node hears a piece of
    /// news from about as many others as each sends it to. So all of them pass a node over with a
    /// probability of about `e^-limit`. With the LAN profile's limit of 4 below 10 nodes and 8 below 100,
    /// one series of joins in ten or twenty ends with somebody who does not know somebody until
    /// push/pull brings it, minutes later. The limit for 1,000 nodes is 16; if only half of the nodes
    /// keep to that, the exponent of 60 nodes still goes from 8 to 12. How often a node sends something
    /// is its own affair: nothing changes on the wire.
    ///
    /// User broadcasts are left alone: they come by the thousand, in clusters of any size.
    pub membership_retransmit_nodes_min: usize,
    /// Multiplier of the least suspicion time (4.7).
    pub suspicion_multiplier: u32,
    /// Longest suspicion time as a multiple of the least.
    pub suspicion_max_multiplier: u32,
    /// Time between periodic push/pulls, before scaling (4.2); zero: none.
    pub push_pull_interval: Duration,
    /// Time between gossip ticks; zero: none.
    pub gossip_interval: Duration,
    /// Targets of a gossip tick.
    pub gossip_nodes: usize,
    /// How long a dead node is still gossiped to, and kept (4.3).
    pub gossip_to_the_dead_time: Duration,
    /// Bound of the health score (M).
    pub awareness_max: u32,
    /// After this time a dead node's name may come back at another address; zero: never.
    pub dead_node_reclaim_time: Duration,
    /// Nodes that the table holds at most (8.7).
    pub nodes_max: usize,
}

impl Config {
    /// For one local network.
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

    /// For networks far apart.
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

    /// For one machine.
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

    /// Gossip spec 6.1, column by column.
    #[test]
    fn the_profiles_are_the_references() {
        let secs = Duration::from_secs;
        let millis = Duration::from_millis;
        let common = |config: &Config| {
            assert!(config.tcp_fallback_ping);
            // The only one that is not the reference's.
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
