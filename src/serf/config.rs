//! Numbers of the Serf layer (gossip spec 6.2).

use std::net::SocketAddr;

use super::snapshot::Snapshot;
use crate::swim;
use crate::time::Duration;
use crate::wire::NodeName;
use crate::wire::serf::Tags;

/// What a node is and how it behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its name.
    pub name: NodeName,
    /// Its advertised address, with the port.
    pub addr: SocketAddr,
    /// Its tags.
    pub tags: Tags,
    /// Serf protocol spoken, 2 to 5.
    pub protocol: u8,
    /// The membership layer's numbers.
    pub swim: swim::Config,
    /// Gossip is exchanged with addresses in these networks only; empty: with all.
    pub allowed_networks: Vec<swim::Network>,
    /// Limit for spreading an intent before a command ends.
    pub broadcast_timeout: Duration,
    /// Time on the network after the farewell was spread.
    pub leave_propagate_delay: Duration,
    /// Time between looks for members to forget.
    pub reap_interval: Duration,
    /// Time between attempts to reach a failed member.
    pub reconnect_interval: Duration,
    /// After this time a failed member is forgotten.
    pub reconnect_timeout: Duration,
    /// After this time a left member is forgotten.
    pub tombstone_timeout: Duration,
    /// Age of a buffered intent at which it is dropped.
    pub recent_intent_timeout: Duration,
    /// Time between looks at the queues' depth.
    pub queue_check_interval: Duration,
    /// Depth from which a warning is logged.
    pub queue_depth_warning: usize,
    /// Depth to which queues are cut.
    pub queue_depth_max: usize,
    /// Multiplier of the default query timeout.
    pub query_timeout_multiplier: u32,
    /// Largest encoded query, in bytes.
    pub query_size_limit_bytes: usize,
    /// Largest encoded response, in bytes.
    pub query_response_size_limit_bytes: usize,
    /// Largest user event, in bytes.
    pub user_event_size_limit_bytes: usize,
    /// Vote on a conflict about the own name.
    pub name_conflict_resolution: bool,
    /// Take part in network coordinates.
    pub coordinates: bool,
    /// Tell by [`super::Output::Snapshot`] what is to be recorded, and go on from this, which is
    /// empty for a new file. `None`: no snapshot.
    pub snapshot: Option<Snapshot>,
    /// The ring is kept in a file, see [`super::Output::KeyringChanged`].
    pub keyring_file: bool,
    /// Tell by [`super::Output::Taken`] of each user event that is taken in.
    pub journal: bool,
    /// Tell by [`super::Output::MemberChanged`] what happens to members, before it is coalesced.
    pub member_changes: bool,
    /// Longest batch of member events; zero: no coalescing.
    pub coalesce_period: Duration,
    /// Quiet time that ends a batch of member events.
    pub quiescent_period: Duration,
    /// Longest batch of user events; zero: no coalescing.
    pub user_coalesce_period: Duration,
    /// Quiet time that ends a batch of user events.
    pub user_quiescent_period: Duration,
}

/// Hard limit of [`Config::user_event_size_limit_bytes`].
pub const USER_EVENT_SIZE_MAX_BYTES: usize = 9216;
/// Largest encoded response whatever [`Config::query_response_size_limit_bytes`] says: what a UDP
/// datagram holds (65,507 bytes), less the room for encryption and a label.
pub const RESPONSE_BYTES_MAX: usize = 65_000;
/// Serf protocols understood.
pub const PROTOCOL_MIN: u8 = 2;
/// Serf protocols understood.
pub const PROTOCOL_MAX: u8 = 5;

impl Config {
    /// The daemon's defaults on top of a profile.
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

    /// Whether a node can start with these numbers. The tags are checked where they are encoded.
    ///
    /// # Errors
    /// The reference's words (agent spec 4.4).
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
