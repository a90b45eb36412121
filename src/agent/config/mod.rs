//! Settings of the agent (agent spec 4.1, 4.2): layers of [`Settings`] are laid over each other and
//! then checked, all before a socket is opened.

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

/// How long the end of the process waits for the handlers of the node's own member-leave, unless told
/// otherwise; and for RPC clients to take their last reply. The event comes up to a second after the leave.
pub const HANDLER_LEAVE_WAIT: Duration = Duration::from_secs(2);

/// A set of timings.
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

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Wan => "wan",
            Profile::Local => "local",
        }
    }

    /// Its numbers.
    pub const fn swim(self) -> swim::Config {
        match self {
            Profile::Lan => swim::Config::lan(),
            Profile::Wan => swim::Config::wan(),
            Profile::Local => swim::Config::local(),
        }
    }
}

/// Settings that are complete and checked.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// What a reload may change.
    pub live: LiveConfig,
    /// What holds from the start to the end.
    pub fixed: FixedConfig,
    /// Warnings, to be printed before the start.
    pub notices: Vec<String>,
}

/// What a reload may change: the keys that [`settings::KEYS`] marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveConfig {
    /// Its tags, the role among them.
    pub tags: Tags,
    /// What the console shows.
    pub log_level: LevelFilter,
    /// Handlers in the order of registration.
    pub event_handlers: Vec<HandlerSettings>,
    /// Directories of further handlers.
    pub handler_dirs: Vec<Vec<u8>>,
    /// Ends handlers that run longer.
    pub handler_timeout: Option<Duration>,
    /// How long output may stay open after a handler's end.
    pub handler_grace: Duration,
    /// How long a leave waits for the handlers of the node's own member-leave.
    pub handler_leave_wait: Duration,
    /// Leave when TERM asks for the end.
    pub leave_on_terminate: bool,
    /// End without a leave on INT.
    pub skip_leave_on_interrupt: bool,
}

/// What holds from the start to the end.
#[derive(Clone, Debug)]
pub struct FixedConfig {
    /// Name of the node.
    pub node: NodeName,
    /// Where gossip is received, as written; see [`Addresses`].
    pub bind: String,
    /// What others are told instead, as written; empty for nothing.
    pub advertise: String,
    /// The network interface whose address `bind` is to be, or has; empty for any.
    pub interface: String,
    /// The only networks with which gossip is exchanged; empty for all.
    pub allowed_networks: Vec<Network>,
    /// The label of all gossip that is sent.
    pub label: Label,
    /// Further labels that gossip of others may have.
    pub labels_accepted: Vec<Label>,
    /// The gossip key, of any length still.
    pub encrypt_key: Option<Vec<u8>>,
    /// Refuse plaintext although there is a key.
    pub verify_incoming: bool,
    /// Encrypt what is sent if there is a key.
    pub verify_outgoing: bool,
    /// Where RPC is served, as written.
    pub rpc_addrs: Vec<String>,
    /// Permissions of RPC's Unix sockets.
    pub rpc_socket_mode: u32,
    /// Their group, by name or number; `None`: the agent's.
    pub rpc_socket_group: Option<String>,
    /// The group that may do everything over them.
    pub rpc_control_group: Option<String>,
    /// Serf protocol; out of range still possible.
    pub protocol: i64,
    /// Timings.
    pub profile: Profile,
    /// Addresses that must be joined at the start.
    pub start_join: Vec<String>,
    /// Take old user events when joining.
    pub replay_on_join: bool,
    /// Addresses to be joined as soon as one answers.
    pub retry_join: Vec<String>,
    /// Time between these attempts.
    pub retry_interval: Duration,
    /// Repetitions of the first attempt; 0: no limit.
    pub retry_max: u64,
    /// Limit for spreading news.
    pub broadcast_timeout: Duration,
    /// Compress gossip.
    pub compression: bool,
    /// The key that RPC clients must show.
    pub rpc_auth: Option<String>,
    /// Where tags are kept.
    pub tags_file: Option<PathBuf>,
    /// Where gossip keys are kept.
    pub keyring_file: Option<PathBuf>,
    /// Where the members and clocks are kept from which the node finds back.
    pub snapshot: Option<PathBuf>,
    /// Directory in which user events are kept that handlers are still to be run for.
    pub journal: Option<PathBuf>,
    /// Bytes of all its files, at most.
    pub journal_size_limit_bytes: u64,
    /// A leave in the snapshot does not count.
    pub rejoin: bool,
    /// Time between attempts to reach a failed member.
    pub reconnect_interval: Option<Duration>,
    /// After this time a failed member is forgotten.
    pub reconnect_timeout: Option<Duration>,
    /// After this time a left member is forgotten.
    pub tombstone_timeout: Option<Duration>,
    /// Vote on a conflict about the own name.
    pub name_conflict_resolution: bool,
    /// Measure the network.
    pub coordinates: bool,
    /// Refuse names of other than letters, digits, dashes and dots.
    pub validate_node_names: bool,
    /// Largest encoded query, in bytes.
    pub query_size_limit_bytes: Option<usize>,
    /// Largest encoded response, in bytes.
    pub query_response_size_limit_bytes: Option<usize>,
    /// Largest user event, in bytes.
    pub user_event_size_limit_bytes: Option<usize>,
    /// The cluster to look for with mDNS.
    pub discover: Option<String>,
    /// The interface for that.
    pub mdns_interface: Option<String>,
    /// Not over IPv4.
    pub mdns_disable_ipv4: bool,
    /// Not over IPv6.
    pub mdns_disable_ipv6: bool,
    /// Log to syslog, too: the facility's name.
    pub syslog_facility: Option<String>,
    /// Where figures go by TCP.
    pub statsite_addr: Option<String>,
    /// Where figures go by UDP.
    pub statsd_addr: Option<String>,
}

/// What there is to say about settings.
#[derive(Debug, Default)]
pub struct Findings {
    /// Warnings, to be printed before the errors.
    pub notices: Vec<String>,
    /// Reasons not to start.
    pub errors: Vec<String>,
}

impl Findings {
    fn notice(&mut self, text: &str) {
        self.notices.push(text.to_owned());
    }

    /// Returns the value, or keeps the error.
    pub fn keep<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.errors.push(why)).ok()
    }
}

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// To be printed first.
    pub notices: Vec<String>,
    /// The reason.
    pub error: String,
}

/// A path as the system has it: bytes. An empty one says nothing.
pub(in crate::agent) fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| OsString::from_vec(bytes).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
