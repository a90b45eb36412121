//! Turns settings as written into checked settings. Pure: addresses and interfaces are resolved afterwards,
//! in [`super::addresses`].

use std::path::PathBuf;

use log::LevelFilter;

use super::checks::{
    check_label, check_level, check_mdns, check_mode, check_name, node_name, parse_network,
};
use super::handlers::parse_handlers;
use super::settings::Settings;
use super::{
    AgentConfig, Findings, FixedConfig, HANDLER_LEAVE_WAIT, LiveConfig, Profile, Refused, features,
    path,
};
use crate::agent::files::key::decode_key;
use crate::agent::net::addr::UNIX_PREFIX;
use crate::agent::process;
use crate::handler::HandlerSettings;
use crate::handler::journal::SIZE_LIMIT_BYTES;
use crate::swim::Network;
use crate::time::Duration;
use crate::wire::{Label, NodeName};

/// Minimum for `retry_interval` and `broadcast_timeout` (agent spec 4.2).
const DURATION_MIN: Duration = Duration::from_secs(1);
/// Minimum size limit of a journal: it must hold an event of the largest size.
const JOURNAL_BYTES_MIN: i64 = 64 << 10;
/// Default RPC address.
const RPC_ADDR: &str = "127.0.0.1:7373";

impl AgentConfig {
    /// Checks settings. `host_name` is the default name of the node.
    ///
    /// # Errors
    /// If a setting is invalid; returns the text to print and the notices to print before it.
    pub fn check(settings: &Settings, host_name: &[u8]) -> Result<Self, Refused> {
        let mut findings = Findings::default();
        let config = Self::check_all(settings, host_name, &mut findings);
        let Findings { notices, errors } = findings;
        match (config, errors.into_iter().next()) {
            (Some(config), None) => Ok(AgentConfig { notices, ..config }),
            (_, error) => Err(Refused {
                notices,
                error: error.unwrap_or_default(),
            }),
        }
    }

    /// Checks settings on a reload and returns those that the running agent applies. A reload is also refused
    /// for errors in settings that only the next start would use, except for addresses, which may need a name
    /// lookup, and the log level, which is applied separately.
    ///
    /// # Errors
    /// If a setting is invalid; returns the text that a start would print.
    pub fn check_reload(settings: &Settings, host_name: &[u8]) -> Result<LiveConfig, String> {
        let without_level = Settings {
            log_level: String::new(),
            ..settings.clone()
        };
        let config = Self::check(&without_level, host_name).map_err(|refused| refused.error)?;
        config.fixed.check_mdns_interface()?;
        Ok(config.live)
    }

    /// Checks like [`Self::check`], but collects all errors; returns `None` if there are any.
    pub fn check_all(
        settings: &Settings,
        host_name: &[u8],
        findings: &mut Findings,
    ) -> Option<Self> {
        let values = Values::check(settings, host_name, findings);
        let values = values.filter(|_| findings.errors.is_empty())?;
        Some(AgentConfig {
            live: values.live(settings),
            fixed: values.fixed(settings),
            notices: Vec::new(),
        })
    }
}

/// Values of settings that may be invalid or cause a warning.
struct Values {
    node: NodeName,
    event_handlers: Vec<HandlerSettings>,
    encrypt_key: Option<Vec<u8>>,
    label: Label,
    labels_accepted: Vec<Label>,
    allowed_networks: Vec<Network>,
    log_level: LevelFilter,
    profile: Profile,
    retry_interval: Duration,
    broadcast_timeout: Duration,
    rpc_addrs: Vec<String>,
    rpc_socket_mode: u32,
}

impl Values {
    fn check(settings: &Settings, host_name: &[u8], findings: &mut Findings) -> Option<Self> {
        let node = findings.keep(node_name(&settings.node_name, host_name));
        if !settings.role.is_empty() {
            findings.notice("Deprecation warning: 'Role' has been replaced with 'Tags'");
        }
        let event_handlers = check_handlers(settings, findings);
        let encrypt_key = match settings.encrypt_key.as_str() {
            "" => None,
            key => {
                let key = decode_key(key);
                findings.keep(key.map_err(|why| format!("Invalid encryption key: {why}")))
            }
        };
        let label = findings.keep(check_label(&settings.label));
        let accepted = settings.label_accept.iter();
        let accepted = accepted.map(|text| check_label(text.as_bytes()));
        let labels_accepted = accepted.filter_map(|label| findings.keep(label)).collect();
        let networks = settings.allow_gossip.iter().map(|text| parse_network(text));
        let allowed_networks = networks.filter_map(|n| findings.keep(n)).collect();
        findings.keep(features::check(settings));
        findings.keep(check_mdns(settings));
        let log_level = findings.keep(check_level(&settings.log_level));
        let profile = findings.keep(check_profile(&settings.profile));
        let retry_interval = at_least_a_second(
            settings.retry_interval.unwrap_or(Duration::from_secs(30)),
            "RetryInterval",
            findings,
        );
        let broadcast_timeout = at_least_a_second(
            settings.broadcast_timeout.unwrap_or(Duration::from_secs(5)),
            "BroadcastTimeout",
            findings,
        );
        let rpc_addrs = rpc_addrs(settings, findings);
        let rpc_socket_mode = findings.keep(check_mode(&settings.rpc_socket_mode));
        if let (Some(true), Some(node)) = (settings.validate_node_names, &node) {
            findings.keep(check_name(node));
        }
        check_snapshot(settings, findings);
        Some(Values {
            node: node?,
            event_handlers,
            encrypt_key,
            label: label?,
            labels_accepted,
            allowed_networks,
            log_level: log_level?,
            profile: profile?,
            retry_interval,
            broadcast_timeout,
            rpc_addrs,
            rpc_socket_mode: rpc_socket_mode?,
        })
    }

    fn live(&self, settings: &Settings) -> LiveConfig {
        LiveConfig {
            tags: settings.all_tags(),
            log_level: self.log_level,
            event_handlers: self.event_handlers.clone(),
            handler_dirs: settings.handler_dirs.clone(),
            handler_timeout: nonzero(settings.handler_timeout),
            handler_grace: settings.handler_grace.unwrap_or(process::GRACE),
            handler_leave_wait: settings.handler_leave_wait.unwrap_or(HANDLER_LEAVE_WAIT),
            leave_on_terminate: settings.leave_on_terminate.unwrap_or(false),
            skip_leave_on_interrupt: settings.skip_leave_on_interrupt.unwrap_or(false),
        }
    }

    fn fixed(self, settings: &Settings) -> FixedConfig {
        let is_logged = settings.enable_syslog.unwrap_or(false);
        let facility = said(&settings.syslog_facility).unwrap_or_else(|| "LOCAL0".to_owned());
        FixedConfig {
            node: self.node,
            bind: settings.bind.clone(),
            advertise: settings.advertise.clone(),
            interface: settings.interface.clone(),
            allowed_networks: self.allowed_networks,
            label: self.label,
            labels_accepted: self.labels_accepted,
            encrypt_key: self.encrypt_key,
            verify_incoming: settings.encrypt_verify_incoming.unwrap_or(true),
            verify_outgoing: settings.encrypt_verify_outgoing.unwrap_or(true),
            rpc_addrs: self.rpc_addrs,
            rpc_socket_mode: self.rpc_socket_mode,
            rpc_socket_group: said(&settings.rpc_socket_group),
            rpc_control_group: said(&settings.rpc_control_group),
            protocol: match settings.protocol {
                number if number > 0 => number,
                _ => i64::from(crate::serf::config::PROTOCOL_MAX),
            },
            profile: self.profile,
            start_join: settings.start_join.clone(),
            replay_on_join: settings.replay_on_join.unwrap_or(false),
            retry_join: settings.retry_join.clone(),
            retry_interval: self.retry_interval,
            retry_max: u64::try_from(settings.retry_max).unwrap_or(0),
            broadcast_timeout: self.broadcast_timeout,
            compression: settings.enable_compression.unwrap_or(true),
            rpc_auth: said(&settings.rpc_auth),
            tags_file: file(&settings.tags_file),
            keyring_file: file(&settings.keyring_file),
            snapshot: file(&settings.snapshot_path),
            journal: file(&settings.journal),
            journal_size_limit_bytes: match settings.journal_size_limit {
                bytes if bytes > 0 => bytes.unsigned_abs(),
                _ => SIZE_LIMIT_BYTES,
            },
            rejoin: settings.rejoin_after_leave.unwrap_or(false),
            reconnect_interval: nonzero(settings.reconnect_interval),
            reconnect_timeout: nonzero(settings.reconnect_timeout),
            tombstone_timeout: nonzero(settings.tombstone_timeout),
            name_conflict_resolution: !settings.disable_name_resolution.unwrap_or(false),
            coordinates: !settings.disable_coordinates.unwrap_or(false),
            validate_node_names: settings.validate_node_names.unwrap_or(false),
            query_size_limit_bytes: limit(settings.query_size_limit),
            query_response_size_limit_bytes: limit(settings.query_response_size_limit),
            user_event_size_limit_bytes: limit(settings.user_event_size_limit),
            discover: said(&settings.discover),
            mdns_interface: said(&settings.mdns_interface).or(said(&settings.interface)),
            mdns_disable_ipv4: settings.mdns_disable_ipv4.unwrap_or(false),
            mdns_disable_ipv6: settings.mdns_disable_ipv6.unwrap_or(false),
            syslog_facility: is_logged.then_some(facility),
            statsite_addr: said(&settings.statsite_addr),
            statsd_addr: said(&settings.statsd_addr),
        }
    }
}

/// Returns the handlers; none if any of them is invalid.
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

/// Returns the RPC addresses. Warns of a TCP address without `rpc_auth` beside a Unix socket: by TCP, all
/// users of this host can connect, whatever the socket's permissions are.
fn rpc_addrs(settings: &Settings, findings: &mut Findings) -> Vec<String> {
    let addrs = settings.rpc_addr.clone();
    if addrs.is_empty() {
        return vec![RPC_ADDR.to_owned()];
    }
    let is_unix = |addr: &&String| addr.starts_with(UNIX_PREFIX);
    let by_tcp = addrs.iter().find(|addr| !is_unix(addr));
    match by_tcp {
        Some(addr) if settings.rpc_auth.is_empty() && addrs.iter().any(|a| is_unix(&a)) => {
            findings.notice(&format!(
                "Warning: every client that can connect to RPC at {addr} controls the agent, \
                 regardless of the permissions of the Unix socket; see rpc_auth"
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

fn at_least_a_second(value: Duration, name: &str, findings: &mut Findings) -> Duration {
    if value < DURATION_MIN {
        findings.notice(&format!("Warning: '{name}' is too low. Setting to 1s"));
    }
    value.max(DURATION_MIN)
}

/// Checks the settings that require a snapshot, and the journal's size limit.
fn check_snapshot(settings: &Settings, findings: &mut Findings) {
    let is_missing = settings.snapshot_path.is_empty();
    if is_missing && settings.rejoin_after_leave.unwrap_or(false) {
        findings.notice("Warning: 'RejoinAfterLeave' enabled without snapshot file");
    }
    if is_missing && !settings.journal.is_empty() {
        let error = "-journal requires a snapshot file; see -snapshot";
        findings.errors.push(error.to_owned());
    }
    if (1..JOURNAL_BYTES_MIN).contains(&settings.journal_size_limit) {
        findings.errors.push(format!(
            "The journal's size limit must be at least {JOURNAL_BYTES_MIN} bytes"
        ));
    }
}

/// Returns the text, or `None` if it is empty, which means "not set".
fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn file(bytes: &[u8]) -> Option<PathBuf> {
    path(bytes.to_vec())
}

fn nonzero(time: Option<Duration>) -> Option<Duration> {
    time.filter(|time| !time.is_zero())
}

fn limit(number: i64) -> Option<usize> {
    (number > 0).then(|| usize::try_from(number).unwrap_or(usize::MAX))
}
