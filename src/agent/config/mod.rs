//! Settings of the agent (agent spec 4.1, 4.2): several layers of [`Settings`] are merged and then checked,
//! before any socket is opened.

mod addresses;
mod check;
mod checks;
mod decode;
pub mod directory;
pub mod features;
pub mod handlers;
mod limits;
pub mod settings;
pub mod sources;

pub use addresses::Addresses;
pub use checks::{check_level, node_name};
pub use decode::{DecodeError, decode};
pub use handlers::parse_handlers;
pub use settings::{FlagValues, Settings};

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use log::LevelFilter;

use crate::handler::HandlerSettings;
use crate::serf::Tags;
use crate::swim::{self, Network};
use crate::time::Duration;
use crate::wire::{Label, NodeName};

/// Default time that the agent waits at its end for handlers of its own member-leave; also for RPC clients to
/// take their last reply. The event comes up to a second after the leave.
pub const HANDLER_LEAVE_WAIT: Duration = Duration::from_secs(2);

/// A preset of the protocol's timings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Profile {
    Lan,
    Wan,
    Local,
}

impl Profile {
    fn parse(name: &str) -> Option<Self> {
        match name {
            "lan" => Some(Profile::Lan),
            "wan" => Some(Profile::Wan),
            "local" => Some(Profile::Local),
            _ => None,
        }
    }

    /// Returns the profile's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Wan => "wan",
            Profile::Local => "local",
        }
    }

    /// Returns the profile's timings.
    pub const fn swim(self) -> swim::Config {
        match self {
            Profile::Lan => swim::Config::lan(),
            Profile::Wan => swim::Config::wan(),
            Profile::Local => swim::Config::local(),
        }
    }
}

/// Complete, checked settings.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Settings that a reload may change.
    pub live: LiveConfig,
    /// Settings that are fixed from start to end.
    pub fixed: FixedConfig,
    /// Warnings to print before the start.
    pub notices: Vec<String>,
}

/// Settings that a reload may change: the keys that [`settings::KEYS`] marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Tags of the node, including the role.
    pub tags: Tags,
    /// Level of the log on the console.
    pub log_level: LevelFilter,
    /// Handlers in order of registration.
    pub event_handlers: Vec<HandlerSettings>,
    /// Handler directories.
    pub handler_dirs: Vec<Vec<u8>>,
    /// Default time limit of a handler.
    pub handler_timeout: Option<Duration>,
    /// How long output may stay open after a handler's process has ended.
    pub handler_grace: Duration,
    /// How long a leave waits for the handlers of this node's own member-leave.
    pub handler_leave_wait: Duration,
    /// Whether SIGTERM causes a graceful leave.
    pub leave_on_terminate: bool,
    /// Whether SIGINT ends the agent without a leave.
    pub skip_leave_on_interrupt: bool,
}

/// Settings that are fixed from start to end.
#[derive(Clone, Debug)]
pub struct FixedConfig {
    /// Name of the node.
    pub node: NodeName,
    /// Address for gossip, as written; see [`Addresses`].
    pub bind: String,
    /// Address that other members get instead, as written; empty for none.
    pub advertise: String,
    /// Network interface for `bind`; empty for any.
    pub interface: String,
    /// Networks that gossip is restricted to; empty for no restriction.
    pub allowed_networks: Vec<Network>,
    /// Label of all gossip that this node sends.
    pub label: Label,
    /// Further labels that received gossip may have.
    pub labels_accepted: Vec<Label>,
    /// Gossip key; its length was not checked yet.
    pub encrypt_key: Option<Vec<u8>>,
    /// Whether to refuse plaintext if there is a key.
    pub verify_incoming: bool,
    /// Whether to encrypt outgoing gossip if there is a key.
    pub verify_outgoing: bool,
    /// RPC addresses, as written.
    pub rpc_addrs: Vec<String>,
    /// Permissions of the RPC Unix sockets.
    pub rpc_socket_mode: u32,
    /// Group of the RPC sockets, by name or number; `None`: the agent's.
    pub rpc_socket_group: Option<String>,
    /// Group whose members may use all RPC commands on the sockets.
    pub rpc_control_group: Option<String>,
    /// Serf protocol version; its range was not checked yet.
    pub protocol: i64,
    /// Preset of the timings.
    pub profile: Profile,
    /// Addresses that the agent must join at the start, or fail.
    pub start_join: Vec<String>,
    /// Whether to accept old user events when joining.
    pub replay_on_join: bool,
    /// Addresses to join in the background, repeated until one answers.
    pub retry_join: Vec<String>,
    /// Interval between these attempts.
    pub retry_interval: Duration,
    /// Maximum number of retries; 0: no limit.
    pub retry_max: u64,
    /// Timeout for waiting until a broadcast has been sent.
    pub broadcast_timeout: Duration,
    /// Whether to compress gossip.
    pub compression: bool,
    /// Key that RPC clients must authenticate with.
    pub rpc_auth: Option<String>,
    /// File that stores tags.
    pub tags_file: Option<PathBuf>,
    /// File that stores gossip keys.
    pub keyring_file: Option<PathBuf>,
    /// File that stores members and clocks, with which the node rejoins after a restart.
    pub snapshot: Option<PathBuf>,
    /// Directory of the journal, which stores user events whose handlers have not run yet.
    pub journal: Option<PathBuf>,
    /// Size limit of all files of the journal together.
    pub journal_size_limit_bytes: u64,
    /// Whether to rejoin even if the snapshot ends with a leave.
    pub rejoin: bool,
    /// Interval between attempts to reconnect to failed members.
    pub reconnect_interval: Option<Duration>,
    /// Time after which failed members are reaped.
    pub reconnect_timeout: Option<Duration>,
    /// Time after which members that have left are reaped.
    pub tombstone_timeout: Option<Duration>,
    /// Whether to vote when another node uses this node's name.
    pub name_conflict_resolution: bool,
    /// Whether to compute network coordinates.
    pub coordinates: bool,
    /// Whether to refuse names with other characters than letters, digits, dashes and dots.
    pub validate_node_names: bool,
    /// Size limit of an encoded query, in bytes.
    pub query_size_limit_bytes: Option<usize>,
    /// Size limit of an encoded response, in bytes.
    pub query_response_size_limit_bytes: Option<usize>,
    /// Size limit of a user event, in bytes.
    pub user_event_size_limit_bytes: Option<usize>,
    /// Name of the cluster to discover with mDNS.
    pub discover: Option<String>,
    /// Interface for mDNS.
    pub mdns_interface: Option<String>,
    /// Whether mDNS must not use IPv4.
    pub mdns_disable_ipv4: bool,
    /// Whether mDNS must not use IPv6.
    pub mdns_disable_ipv6: bool,
    /// Facility for logging to syslog, if enabled.
    pub syslog_facility: Option<String>,
    /// Address of a statsite server (TCP).
    pub statsite_addr: Option<String>,
    /// Address of a statsd server (UDP).
    pub statsd_addr: Option<String>,
}

/// Warnings and errors about settings.
#[derive(Debug, Default)]
pub struct Findings {
    /// Warnings to print before the errors.
    pub notices: Vec<String>,
    /// Errors that prevent the start.
    pub errors: Vec<String>,
}

impl Findings {
    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }

    /// Returns the value, or stores the error and returns `None`.
    pub fn keep<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.errors.push(why)).ok()
    }
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Warnings to print before the error.
    pub notices: Vec<String>,
    /// The error.
    pub error: String,
}

/// Converts bytes to a path; `None` if empty, which means "not set".
pub(in crate::agent) fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| OsString::from_vec(bytes).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
