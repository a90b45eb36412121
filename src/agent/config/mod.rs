//! Settings of the agent (agent spec 4.1, 4.2): layers of [`Settings`] are laid over each other and
//! then checked, all before a socket is opened.

mod checks;
mod decode;
pub mod directory;
pub mod features;
pub mod handlers;
mod limits;
pub mod settings;
pub mod sources;

pub use checks::{check_level, node_name};
pub use decode::{DecodeError, decode};
pub use handlers::parse_handlers;
pub use settings::{FlagValues, Settings};

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use log::LevelFilter;

use super::files::key::decode_key;
use super::net::addr::UNIX_PREFIX;
use super::process;
use crate::handler::HandlerSettings;
use crate::handler::journal::SIZE_LIMIT_BYTES;
use crate::serf::Tags;
use crate::swim::{self, Network};
use crate::time::Duration;
use crate::wire::{Label, NodeName};
use checks::{check_addresses, check_label, check_mdns, check_mode, check_name, parse_network};

/// The least time between attempts to join, and the least broadcast timeout (agent spec 4.2).
const DURATION_MIN: Duration = Duration::from_secs(1);

/// The least limit for a journal: one event of the largest size must have room.
const JOURNAL_BYTES_MIN: i64 = 64 << 10;
/// How long the end of the process waits for the handlers of the node's own member-leave, unless told
/// otherwise; and for RPC clients to take their last reply. The event comes up to a second after the leave.
pub const HANDLER_LEAVE_WAIT: Duration = Duration::from_secs(2);
/// Where RPC is served if nobody says where.
const RPC_ADDR: &str = "127.0.0.1:7373";

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
    /// Name of the node.
    pub node: NodeName,
    /// Its tags, the role among them.
    pub tags: Tags,
    /// Where gossip is received; port 0 for any.
    pub bind: SocketAddr,
    /// What others are told instead, if anything; port 0 for that of `bind`.
    pub advertise: Option<SocketAddr>,
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
    /// What the console shows.
    pub log_level: LevelFilter,
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
    /// Handlers in the order of registration.
    pub event_handlers: Vec<HandlerSettings>,
    /// Directories of further handlers.
    pub handler_dirs: Vec<Vec<u8>>,
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
    /// Ends handlers that run longer.
    pub handler_timeout: Option<Duration>,
    /// How long output may stay open after a handler's end.
    pub handler_grace: Duration,
    /// How long a leave waits for the handlers of the node's own member-leave.
    pub handler_leave_wait: Duration,
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
    /// Leave when TERM asks for the end.
    pub leave_on_terminate: bool,
    /// End without a leave on INT.
    pub skip_leave_on_interrupt: bool,
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
    /// To be printed before the start.
    pub notices: Vec<String>,
}

impl AgentConfig {
    /// Checks settings. Resolves host names, and waits for that.
    ///
    /// # Errors
    /// What to print, and the notices to be printed before it.
    pub fn check(settings: Settings) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let config = Self::check_all(settings, &mut findings);
        let Findings { notices, errors } = findings;
        match (config, errors.into_iter().next()) {
            (Some(config), None) => Ok(AgentConfig { notices, ..config }),
            (_, error) => Err(Refused {
                notices,
                error: error.unwrap_or_default(),
            }),
        }
    }

    /// What is wrong with settings that a running agent was told to read, those included that only the
    /// next start applies. Addresses are left to that start, since a name among them may have to be
    /// looked up, and so is the log level, whose fault is no reason to refuse the rest.
    ///
    /// # Errors
    /// The reason, as a start would give it.
    pub fn check_reload(settings: &Settings) -> Result<(), String> {
        let without_addresses = Settings {
            bind: "127.0.0.1".to_owned(),
            advertise: String::new(),
            interface: String::new(),
            log_level: String::new(),
            ..settings.clone()
        };
        match Self::check(without_addresses) {
            Ok(_) => Ok(()),
            Err(refused) => Err(refused.error),
        }
    }

    /// The same, with all errors instead of the first one; `None` if there are any.
    pub fn check_all(settings: Settings, findings: &mut Findings) -> Option<Self> {
        let node = findings.keep(node_name(&settings.node_name));
        if !settings.role.is_empty() {
            let warning = "Deprecation warning: 'Role' has been replaced with 'Tags'";
            findings.notices.push(warning.to_owned());
        }
        let event_handlers = check_handlers(&settings, findings);
        let encrypt_key = match settings.encrypt_key.as_str() {
            "" => None,
            key => {
                let key = decode_key(key);
                findings.keep(key.map_err(|why| format!("Invalid encryption key: {why}")))
            }
        };
        let addresses = check_addresses(&settings, &mut findings.notices);
        let addresses = findings.keep(addresses);
        let label = findings.keep(check_label(&settings.label));
        let accepted = settings.label_accept.iter();
        let accepted = accepted.map(|text| check_label(text.as_bytes()));
        let labels_accepted = accepted.filter_map(|label| findings.keep(label)).collect();
        let networks = settings.allow_gossip.iter().map(|text| parse_network(text));
        let allowed_networks = networks.filter_map(|n| findings.keep(n)).collect();
        findings.keep(features::check(&settings));
        findings.keep(check_mdns(&settings));
        let log_level = findings.keep(check_level(&settings.log_level));
        let profile = findings.keep(check_profile(&settings.profile));
        let mut at_least_a_second = |value: Option<Duration>, default, name: &str| match value {
            Some(value) if value < DURATION_MIN => {
                let warning = format!("Warning: '{name}' is too low. Setting to 1s");
                findings.notices.push(warning);
                DURATION_MIN
            }
            value => value.unwrap_or(default),
        };
        let retry_interval = at_least_a_second(
            settings.retry_interval,
            Duration::from_secs(30),
            "RetryInterval",
        );
        let broadcast_timeout = at_least_a_second(
            settings.broadcast_timeout,
            Duration::from_secs(5),
            "BroadcastTimeout",
        );
        let rpc_addrs = rpc_addrs(&settings, &mut findings.notices);
        let rpc_socket_mode = findings.keep(check_mode(&settings.rpc_socket_mode));
        let validate_node_names = settings.validate_node_names.unwrap_or(false);
        if let (true, Some(node)) = (validate_node_names, &node) {
            findings.keep(check_name(node));
        }
        let rejoin = settings.rejoin_after_leave.unwrap_or(false);
        if rejoin && settings.snapshot_path.is_empty() {
            let warning = "Warning: 'RejoinAfterLeave' enabled without snapshot file";
            findings.notices.push(warning.to_owned());
        }
        if !settings.journal.is_empty() && settings.snapshot_path.is_empty() {
            let error = "A journal needs a snapshot file: see -snapshot";
            findings.errors.push(error.to_owned());
        }
        if (1..JOURNAL_BYTES_MIN).contains(&settings.journal_size_limit) {
            findings.errors.push(format!(
                "The journal's size limit must be at least {JOURNAL_BYTES_MIN} bytes"
            ));
        }
        let syslog_facility = settings
            .enable_syslog
            .unwrap_or(false)
            .then(|| said(settings.syslog_facility.clone()).unwrap_or_else(|| "LOCAL0".to_owned()));
        if !findings.errors.is_empty() {
            return None;
        }
        let (bind, advertise) = addresses?;
        Some(AgentConfig {
            node: node?,
            tags: settings.all_tags(),
            bind,
            advertise,
            allowed_networks,
            label: label?,
            labels_accepted,
            encrypt_key,
            verify_incoming: settings.encrypt_verify_incoming.unwrap_or(true),
            verify_outgoing: settings.encrypt_verify_outgoing.unwrap_or(true),
            log_level: log_level?,
            rpc_addrs,
            rpc_socket_mode: rpc_socket_mode?,
            rpc_socket_group: said(settings.rpc_socket_group),
            rpc_control_group: said(settings.rpc_control_group),
            protocol: match settings.protocol {
                number if number > 0 => number,
                _ => i64::from(crate::serf::config::PROTOCOL_MAX),
            },
            profile: profile?,
            event_handlers,
            handler_dirs: settings.handler_dirs,
            start_join: settings.start_join,
            replay_on_join: settings.replay_on_join.unwrap_or(false),
            retry_join: settings.retry_join,
            retry_interval,
            retry_max: u64::try_from(settings.retry_max).unwrap_or(0),
            broadcast_timeout,
            compression: settings.enable_compression.unwrap_or(true),
            handler_timeout: settings.handler_timeout.filter(|limit| !limit.is_zero()),
            handler_grace: settings.handler_grace.unwrap_or(process::GRACE),
            handler_leave_wait: settings.handler_leave_wait.unwrap_or(HANDLER_LEAVE_WAIT),
            rpc_auth: said(settings.rpc_auth),
            tags_file: path(settings.tags_file),
            keyring_file: path(settings.keyring_file),
            snapshot: path(settings.snapshot_path),
            journal: path(settings.journal),
            journal_size_limit_bytes: match settings.journal_size_limit {
                bytes if bytes > 0 => bytes.unsigned_abs(),
                _ => SIZE_LIMIT_BYTES,
            },
            rejoin,
            leave_on_terminate: settings.leave_on_terminate.unwrap_or(false),
            skip_leave_on_interrupt: settings.skip_leave_on_interrupt.unwrap_or(false),
            reconnect_interval: nonzero(settings.reconnect_interval),
            reconnect_timeout: nonzero(settings.reconnect_timeout),
            tombstone_timeout: nonzero(settings.tombstone_timeout),
            name_conflict_resolution: !settings.disable_name_resolution.unwrap_or(false),
            coordinates: !settings.disable_coordinates.unwrap_or(false),
            validate_node_names,
            query_size_limit_bytes: limit(settings.query_size_limit),
            query_response_size_limit_bytes: limit(settings.query_response_size_limit),
            user_event_size_limit_bytes: limit(settings.user_event_size_limit),
            discover: said(settings.discover),
            mdns_interface: said(settings.mdns_interface).or(said(settings.interface)),
            mdns_disable_ipv4: settings.mdns_disable_ipv4.unwrap_or(false),
            mdns_disable_ipv6: settings.mdns_disable_ipv6.unwrap_or(false),
            syslog_facility,
            statsite_addr: said(settings.statsite_addr),
            statsd_addr: said(settings.statsd_addr),
            notices: Vec::new(),
        })
    }
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
    /// Returns the value, or keeps the error.
    pub fn keep<T>(&mut self, result: Result<T, String>) -> Option<T> {
        result.map_err(|why| self.errors.push(why)).ok()
    }
}

/// The handlers, or, if one of them is wrong, none.
fn check_handlers(settings: &Settings, findings: &mut Findings) -> Vec<HandlerSettings> {
    let entries = &settings.event_handlers;
    let before = findings.errors.len();
    for entry in entries {
        findings.keep(parse_handlers(std::slice::from_ref(entry)));
    }
    if findings.errors.len() > before {
        return Vec::new();
    }
    findings.keep(parse_handlers(entries)).unwrap_or_default()
}

/// Where RPC is served. By TCP anybody on the host may connect, whatever the rights of the socket beside it.
fn rpc_addrs(settings: &Settings, notices: &mut Vec<String>) -> Vec<String> {
    let addrs = settings.rpc_addr.clone();
    if addrs.is_empty() {
        return vec![RPC_ADDR.to_owned()];
    }
    let is_unix = |addr: &&String| addr.starts_with(UNIX_PREFIX);
    let by_tcp = addrs.iter().find(|addr| !is_unix(addr));
    match by_tcp {
        Some(addr) if settings.rpc_auth.is_empty() && addrs.iter().any(|a| is_unix(&a)) => {
            notices.push(format!(
                "Warning: whoever can connect to RPC at {addr} controls the agent, whatever the rights \
                 of the socket beside it; see rpc_auth"
            ));
        }
        _ => {}
    }
    addrs
}

fn check_profile(name: &str) -> Result<Profile, String> {
    match name {
        "" => Ok(Profile::Lan),
        name => Profile::parse(name).ok_or_else(|| format!("Unknown profile: {name}")),
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

/// An empty text says nothing.
fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// A path as the system has it: bytes. An empty one says nothing.
pub(in crate::agent) fn path(bytes: Vec<u8>) -> Option<PathBuf> {
    (!bytes.is_empty()).then(|| OsString::from_vec(bytes).into())
}

fn nonzero(time: Option<Duration>) -> Option<Duration> {
    time.filter(|time| !time.is_zero())
}

fn limit(number: i64) -> Option<usize> {
    (number > 0).then(|| usize::try_from(number).unwrap_or(usize::MAX))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
