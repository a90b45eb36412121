//! Configuration of the Serf layer (gossip spec 6.2).

use std::net::SocketAddr;

use super::snapshot::Snapshot;
use crate::swim;
use crate::time::Duration;
use crate::wire::NodeName;
use crate::wire::serf::Tags;

/// Identity and settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the node.
    pub name: NodeName,
    /// Advertised address, including the port.
    pub addr: SocketAddr,
    /// Tags of the node.
    pub tags: Tags,
    /// Serf protocol to speak, 2 to 5.
    pub protocol: u8,
    /// Configuration of the membership layer.
    pub swim: swim::Config,
    /// Networks that gossip is restricted to; empty: no restriction.
    pub allowed_networks: Vec<swim::Network>,
    /// Longest time that a command waits for its broadcast to be transmitted.
    pub broadcast_timeout: Duration,
    /// Delay between the transmission of the leave and the end of the leave command.
    pub leave_propagate_delay: Duration,
    /// Interval of the reaper.
    pub reap_interval: Duration,
    /// Interval of reconnect attempts to failed members.
    pub reconnect_interval: Duration,
    /// Time after which a failed member is removed.
    pub reconnect_timeout: Duration,
    /// Time after which a left member is removed.
    pub tombstone_timeout: Duration,
    /// Age at which a buffered intent is dropped.
    pub recent_intent_timeout: Duration,
    /// Interval of the queue depth checks.
    pub queue_check_interval: Duration,
    /// Queue depth from which a warning is logged.
    pub queue_depth_warning: usize,
    /// Queue depth to which queues are truncated.
    pub queue_depth_max: usize,
    /// Multiplier of the default query timeout.
    pub query_timeout_multiplier: u32,
    /// Largest encoded query, in bytes.
    pub query_size_limit_bytes: usize,
    /// Largest encoded response, in bytes.
    pub query_response_size_limit_bytes: usize,
    /// Largest user event, in bytes.
    pub user_event_size_limit_bytes: usize,
    /// Whether to start a vote when another node claims this node's name.
    pub name_conflict_resolution: bool,
    /// Whether to compute and announce network coordinates.
    pub coordinates: bool,
    /// Snapshot to continue from (empty for a new file); changes are output as [`super::Output::Snapshot`].
    /// `None`: no snapshot.
    pub snapshot: Option<Snapshot>,
    /// The keyring is kept in a file; see [`super::Output::KeyringChanged`].
    pub keyring_file: bool,
    /// Output [`super::Output::Accepted`] for each user event that is accepted.
    pub journal: bool,
    /// Output [`super::Output::MemberChanged`] for each change of a member, before coalescing.
    pub member_changes: bool,
    /// Maximum duration of a batch of member events; zero disables coalescing.
    pub coalesce_period: Duration,
    /// Quiescent time that ends a batch of member events.
    pub quiescent_period: Duration,
    /// Maximum duration of a batch of user events; zero disables coalescing.
    pub user_coalesce_period: Duration,
    /// Quiescent time that ends a batch of user events.
    pub user_quiescent_period: Duration,
}

/// Upper bound of [`Config::user_event_size_limit_bytes`].
pub const USER_EVENT_SIZE_MAX_BYTES: usize = 9216;
/// Upper bound of [`Config::query_response_size_limit_bytes`]: the largest UDP payload (65,507 bytes), less
/// room for encryption and a label.
pub const RESPONSE_BYTES_MAX: usize = 65_000;
/// Lowest Serf protocol supported.
pub const PROTOCOL_MIN: u8 = 2;
/// Highest Serf protocol supported.
pub const PROTOCOL_MAX: u8 = 5;

impl Config {
    /// Returns the agent's defaults, based on a profile of the membership layer.
    pub fn new(name: NodeName, addr: SocketAddr, swim: swim::Config) -> Self {
        Config {
            name,
            addr,
            tags: Tags::new(),
            protocol: PROTOCOL_MAX,
            swim,
            allowed_networks: Vec::new(),
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(1),
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(24 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            recent_intent_timeout: Duration::from_secs(300),
            queue_check_interval: Duration::from_secs(30),
            queue_depth_warning: 128,
            queue_depth_max: 4096,
            query_timeout_multiplier: 16,
            query_size_limit_bytes: 1024,
            query_response_size_limit_bytes: 1024,
            user_event_size_limit_bytes: 512,
            name_conflict_resolution: true,
            coordinates: true,
            snapshot: None,
            keyring_file: false,
            journal: false,
            member_changes: false,
            coalesce_period: Duration::from_secs(3),
            quiescent_period: Duration::from_secs(1),
            user_coalesce_period: Duration::from_secs(3),
            user_quiescent_period: Duration::from_secs(1),
        }
    }

    /// Checks whether a node can start with this configuration. Tags are checked where they are encoded.
    ///
    /// # Errors
    /// Returns the reference's error text (agent spec 4.4) if the protocol or a limit is out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        let (protocol, range) = (self.protocol, PROTOCOL_MIN..=PROTOCOL_MAX);
        if !range.contains(&protocol) {
            let word = if protocol < PROTOCOL_MIN {
                "low"
            } else {
                "high"
            };
            return Err(format!(
                "Protocol version '{protocol}' too {word}. Must be in range: \
                 [{PROTOCOL_MIN}, {PROTOCOL_MAX}]"
            ));
        }
        if self.user_event_size_limit_bytes > USER_EVENT_SIZE_MAX_BYTES {
            return Err(format!(
                "user event size limit exceeds limit of {USER_EVENT_SIZE_MAX_BYTES} bytes"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config() -> Config {
        let name = NodeName::new(b"n1").unwrap();
        let addr = "127.0.0.1:7946".parse().unwrap();
        Config::new(name, addr, swim::Config::lan())
    }

    #[test]
    fn the_defaults_are_the_daemon_s() {
        let config = config();
        let seconds = [
            (config.broadcast_timeout, 5),
            (config.leave_propagate_delay, 1),
            (config.reap_interval, 15),
            (config.reconnect_interval, 30),
            (config.reconnect_timeout, 86_400),
            (config.tombstone_timeout, 86_400),
            (config.recent_intent_timeout, 300),
            (config.queue_check_interval, 30),
            (config.coalesce_period, 3),
            (config.quiescent_period, 1),
            (config.user_coalesce_period, 3),
            (config.user_quiescent_period, 1),
        ];
        for (at, (duration, expected)) in seconds.into_iter().enumerate() {
            assert_eq!(duration, Duration::from_secs(expected), "{at}");
        }
        assert_eq!((config.protocol, config.query_timeout_multiplier), (5, 16));
        assert_eq!(config.queue_depth_warning, 128);
        assert_eq!(config.queue_depth_max, 4096);
        assert_eq!(config.query_size_limit_bytes, 1024);
        assert_eq!(config.query_response_size_limit_bytes, 1024);
        assert_eq!(config.user_event_size_limit_bytes, 512);
        assert!(config.name_conflict_resolution && config.tags.is_empty());
        assert!(config.coordinates && config.snapshot.is_none() && !config.keyring_file);
    }

    #[test]
    fn bad_numbers_are_refused_in_the_reference_s_words() {
        let mut bad = config();
        for (protocol, word) in [(0, "low"), (1, "low"), (6, "high"), (255, "high")] {
            bad.protocol = protocol;
            let text =
                format!("Protocol version '{protocol}' too {word}. Must be in range: [2, 5]");
            assert_eq!(bad.check(), Err(text));
        }
        let mut bad = config();
        bad.user_event_size_limit_bytes = 9216;
        assert_eq!(bad.check(), Ok(()));
        bad.user_event_size_limit_bytes = 9217;
        let text = "user event size limit exceeds limit of 9216 bytes".to_owned();
        assert_eq!(bad.check(), Err(text));
    }
}
