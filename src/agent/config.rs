//! Settings of the agent (agent spec 4.1, 4.2): layers of [`Settings`] are laid over each other and
//! then checked, all before a socket is opened.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::{Engine, alphabet};
use log::LevelFilter;

use super::{addr, child, features, log as agent_log, sys};
use crate::handler::EventScript;
use crate::serf::Tags;
use crate::swim;
use crate::time::Duration;
use crate::wire::NodeName;

pub use super::settings::Settings;

/// The least time between attempts to join, and the least broadcast timeout (agent spec 4.2).
const DURATION_MIN: Duration = Duration::from_secs(1);

/// The flags of a command line, parsed.
pub trait FlagValues {
    /// All values of a flag in the order given.
    fn values(&self, name: &str) -> &[String];
    /// The last value of a flag, if it was given.
    fn value(&self, name: &str) -> Option<&str>;
    /// Whether a switch is on.
    fn flag(&self, name: &str) -> bool;
    /// A whole number, if the flag was given.
    fn integer(&self, name: &str) -> Option<i64>;
    /// The values of several flags in the order in which they were given.
    fn values_of_any(&self, names: &[&str]) -> Vec<&str>;
}

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
    /// The gossip key, of any length still.
    pub encrypt_key: Option<Vec<u8>>,
    /// Refuse plaintext although there is a key.
    pub verify_incoming: bool,
    /// Encrypt what is sent if there is a key.
    pub verify_outgoing: bool,
    /// What the console shows.
    pub log_level: LevelFilter,
    /// Where RPC is served, as written.
    pub rpc_addr: String,
    /// Serf protocol; out of range still possible.
    pub protocol: i64,
    /// Timings.
    pub profile: Profile,
    /// Handlers in the order of registration.
    pub event_handlers: Vec<EventScript>,
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
    /// The key that RPC clients must show.
    pub rpc_auth: Option<String>,
    /// Where tags are kept.
    pub tags_file: Option<PathBuf>,
    /// Where gossip keys are kept.
    pub keyring_file: Option<PathBuf>,
    /// Where the members and clocks are kept from which the node finds back.
    pub snapshot: Option<PathBuf>,
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
        let mut notices = Vec::new();
        match Self::check_noting(settings, &mut notices) {
            Ok(config) => Ok(AgentConfig { notices, ..config }),
            Err(error) => Err(Refused { notices, error }),
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

    fn check_noting(settings: Settings, notices: &mut Vec<String>) -> Result<Self, String> {
        let node = node_name(&settings.node_name)?;
        if !settings.role.is_empty() {
            notices.push("Deprecation warning: 'Role' has been replaced with 'Tags'".to_owned());
        }
        let event_handlers = parse_handlers(&settings.event_handlers)?;
        let encrypt_key = match settings.encrypt_key.as_str() {
            "" => None,
            key => Some(decode_key(key).map_err(|why| format!("Invalid encryption key: {why}"))?),
        };
        let (bind, advertise) = check_addresses(&settings, notices)?;
        features::check(&settings)?;
        check_mdns(&settings)?;
        let log_level = check_level(&settings.log_level)?;
        let profile = match settings.profile.as_str() {
            "" => Profile::Lan,
            name => Profile::parse(name).ok_or_else(|| format!("Unknown profile: {name}"))?,
        };
        let mut at_least_a_second = |value: Option<Duration>, default, name: &str| match value {
            Some(value) if value < DURATION_MIN => {
                notices.push(format!("Warning: '{name}' is too low. Setting to 1s"));
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
        let validate_node_names = settings.validate_node_names.unwrap_or(false);
        if validate_node_names {
            check_name(&node)?;
        }
        let rejoin = settings.rejoin_after_leave.unwrap_or(false);
        if rejoin && settings.snapshot_path.is_empty() {
            notices.push("Warning: 'RejoinAfterLeave' enabled without snapshot file".to_owned());
        }
        let syslog_facility = settings
            .enable_syslog
            .unwrap_or(false)
            .then(|| said(settings.syslog_facility.clone()).unwrap_or_else(|| "LOCAL0".to_owned()));
        Ok(AgentConfig {
            node,
            tags: settings.all_tags(),
            bind,
            advertise,
            encrypt_key,
            verify_incoming: settings.encrypt_verify_incoming.unwrap_or(true),
            verify_outgoing: settings.encrypt_verify_outgoing.unwrap_or(true),
            log_level,
            rpc_addr: match settings.rpc_addr.as_str() {
                "" => "127.0.0.1:7373".to_owned(),
                _ => settings.rpc_addr,
            },
            protocol: match settings.protocol {
                number if number > 0 => number,
                _ => i64::from(crate::serf::config::PROTOCOL_MAX),
            },
            profile,
            event_handlers,
            start_join: settings.start_join,
            replay_on_join: settings.replay_on_join.unwrap_or(false),
            retry_join: settings.retry_join,
            retry_interval,
            retry_max: u64::try_from(settings.retry_max).unwrap_or(0),
            broadcast_timeout,
            compression: settings.enable_compression.unwrap_or(true),
            handler_timeout: settings.handler_timeout.filter(|limit| !limit.is_zero()),
            handler_grace: settings.handler_grace.unwrap_or(child::GRACE),
            rpc_auth: said(settings.rpc_auth),
            tags_file: said(settings.tags_file).map(PathBuf::from),
            keyring_file: said(settings.keyring_file).map(PathBuf::from),
            snapshot: said(settings.snapshot_path).map(PathBuf::from),
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

/// Why the settings cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// To be printed first.
    pub notices: Vec<String>,
    /// The reason.
    pub error: String,
}

fn check_mdns(settings: &Settings) -> Result<(), String> {
    let interface = &settings.mdns_interface;
    if settings.discover.is_empty() {
        return match interface.is_empty() {
            true => Ok(()),
            false => Err("mDNS interface specified without enabling mDNS discovery".to_owned()),
        };
    }
    #[cfg(feature = "mdns")]
    if !interface.is_empty() {
        super::mdns::interface_index(interface)?;
    }
    if settings.mdns_disable_ipv4 == Some(true) && settings.mdns_disable_ipv6 == Some(true) {
        return Err("Invalid mDNS configuration: both IPv4 and IPv6 are disabled".to_owned());
    }
    Ok(())
}

/// The name of the node: this text or, if it is empty, the name of the host.
///
/// # Errors
/// What to print.
pub fn node_name(text: &str) -> Result<NodeName, String> {
    let host_name;
    let name = if text.is_empty() {
        host_name = sys::host_name();
        host_name.as_slice()
    } else {
        text.as_bytes()
    };
    NodeName::new(name).map_err(|_| {
        "Invalid node name: it must have 1 to 255 bytes and no control characters; see -node"
            .to_owned()
    })
}

/// Longest name that passes `validate_node_names`, in bytes (R10).
const PLAIN_NAME_BYTES_MAX: usize = 128;

/// Whether a name has letters, digits, dashes and dots only.
fn check_name(name: &NodeName) -> Result<(), String> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    if name.as_bytes().len() > PLAIN_NAME_BYTES_MAX {
        return Err(format!(
            "Invalid node name: '{name}' has more than {PLAIN_NAME_BYTES_MAX} bytes; \
             see validate_node_names"
        ));
    }
    if !name.as_bytes().iter().all(plain) {
        return Err(format!(
            "Invalid node name: '{name}' has other characters than letters, digits, '-' and '.'; \
             see validate_node_names"
        ));
    }
    Ok(())
}

/// An empty text says nothing.
fn said(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn nonzero(time: Option<Duration>) -> Option<Duration> {
    time.filter(|time| !time.is_zero())
}

fn limit(number: i64) -> Option<usize> {
    (number > 0).then(|| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Reads a list of handlers.
///
/// # Errors
/// What to print about the first bad one.
pub fn parse_handlers(list: &[String]) -> Result<Vec<EventScript>, String> {
    let mut handlers = Vec::new();
    for handler in list {
        let scripts = EventScript::parse(handler.as_bytes()).map_err(|error| error.to_string())?;
        handlers.extend(scripts);
    }
    Ok(handlers)
}

/// Reads a log level; an empty one is the default.
///
/// # Errors
/// What to print.
pub fn check_level(text: &str) -> Result<LevelFilter, String> {
    if text.is_empty() {
        return Ok(LevelFilter::Info);
    }
    agent_log::parse_level(text).ok_or_else(|| {
        let shown = text.to_ascii_uppercase();
        let valid = agent_log::LEVELS;
        format!("Invalid log level: {shown}. Valid log levels are: {valid}")
    })
}

fn check_addresses(
    settings: &Settings,
    notices: &mut Vec<String>,
) -> Result<(SocketAddr, Option<SocketAddr>), String> {
    let mut bind = match settings.bind.as_str() {
        "" => SocketAddr::from(([0, 0, 0, 0], addr::DEFAULT_PORT)),
        text => addr::resolve(text, addr::DEFAULT_PORT)
            .map_err(|why| format!("Invalid bind address: {why}"))?,
    };
    let advertise = match settings.advertise.as_str() {
        "" => None,
        text => Some(
            addr::resolve(text, addr::DEFAULT_PORT)
                .map_err(|why| format!("Invalid advertise address: {why}"))?,
        ),
    };
    if advertise.is_some_and(|addr| addr.ip().is_unspecified()) {
        return Err(format!(
            "Invalid advertise address: {} is not an address that others can reach",
            settings.advertise
        ));
    }
    let interface = settings.interface.as_str();
    if !interface.is_empty() {
        if bind.ip().is_unspecified() {
            let chosen = addr::interface_address(interface, bind.ip())?;
            notices.push(format!("Using interface '{interface}' address '{chosen}'"));
            bind.set_ip(chosen);
        } else {
            addr::check_interface(interface, bind.ip())?;
        }
    }
    Ok((bind, advertise))
}

/// Decodes a key; the error names the first byte that is wrong, as the reference counts.
///
/// # Errors
/// The reference's words.
pub fn decode_key(text: &str) -> Result<Vec<u8>, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    // Line breaks inside are skipped by the reference.
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let lenient = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::STANDARD, lenient)
        .decode(&text)
        .map_err(|_| illegal(first_illegal_byte(text.as_bytes())))
}

/// Where the reference stops in text that is no base64. It reads groups of four and names the start of
/// one that is cut short, or the end where padding is.
fn first_illegal_byte(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() {
        for place in 0..4 {
            match text.get(at + place) {
                Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') => {}
                None => return at,
                Some(b'=') if place == 3 => return at + 4,
                Some(b'=') if place == 2 => {
                    return match text.get(at + 3) {
                        None => text.len(),
                        Some(b'=') => at + 4,
                        Some(_) => at + 2,
                    };
                }
                Some(_) => return at + place,
            }
        }
        at += 4;
    }
    at
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn refused(settings: Settings) -> String {
        AgentConfig::check(settings).unwrap_err().error
    }

    fn named() -> Settings {
        Settings {
            node_name: "n1".into(),
            ..Settings::default()
        }
    }

    #[test]
    fn defaults_are_the_references() {
        let config = AgentConfig::check(named()).unwrap();
        assert_eq!(config.bind.to_string(), "0.0.0.0:7946");
        assert_eq!(config.rpc_addr, "127.0.0.1:7373");
        assert_eq!(config.protocol, 5);
        assert_eq!(config.profile, Profile::Lan);
        assert_eq!(config.log_level, LevelFilter::Info);
        assert_eq!(config.retry_interval, Duration::from_secs(30));
        assert_eq!(config.broadcast_timeout, Duration::from_secs(5));
        assert_eq!(config.handler_grace, Duration::from_secs(1));
        assert_eq!(config.handler_timeout, None);
        assert!(config.compression && config.notices.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_in_the_references_words() {
        let mut level = named();
        level.log_level = "foo".into();
        assert_eq!(
            refused(level),
            "Invalid log level: FOO. Valid log levels are: [TRACE DEBUG INFO WARN ERR]"
        );
        let mut profile = named();
        profile.profile = "LAN".into();
        assert_eq!(refused(profile), "Unknown profile: LAN");
        let mut key = named();
        key.encrypt_key = "!abc".into();
        assert_eq!(
            refused(key),
            "Invalid encryption key: illegal base64 data at input byte 0"
        );
        let mut bind = named();
        bind.bind = "127.0.0.1:99999".into();
        assert_eq!(
            refused(bind),
            "Invalid bind address: address 99999: invalid port"
        );
        let mut advertise = named();
        advertise.advertise = "foo:bar:1".into();
        assert_eq!(
            refused(advertise),
            "Invalid advertise address: address foo:bar:1: too many colons in address"
        );
        let mut name = named();
        name.node_name = "a\nb".into();
        assert!(refused(name).starts_with("Invalid node name"));
    }

    #[test]
    fn short_times_are_raised_with_a_warning() {
        let mut settings = named();
        settings.retry_interval = Some(Duration::from_millis(100));
        settings.broadcast_timeout = Some(Duration::ZERO);
        let config = AgentConfig::check(settings).unwrap();
        assert_eq!(config.retry_interval, Duration::from_secs(1));
        assert_eq!(
            config.notices,
            [
                "Warning: 'RetryInterval' is too low. Setting to 1s",
                "Warning: 'BroadcastTimeout' is too low. Setting to 1s"
            ]
        );
    }

    #[test]
    fn the_table_names_the_defaults_that_hold() {
        let settings = |name: &str, default: &str| {
            let (key, last) = name.rsplit_once('.').map_or(("", name), |pair| pair);
            let value = match default {
                "true" | "false" => default.to_owned(),
                number if number.parse::<i64>().is_ok() => number.to_owned(),
                text => format!("\"{text}\""),
            };
            let entry = format!("{{\"{last}\": {value}}}");
            let text = match key {
                "" => entry,
                object => format!("{{\"{object}\": {entry}}}"),
            };
            let (mut settings, _) = crate::agent::settings::decode(text.as_bytes()).expect(&text);
            if settings.node_name.is_empty() {
                settings.node_name = "n1".into();
            }
            settings
        };
        let core = |config: &AgentConfig| {
            let swim = config.profile.swim();
            let mut core = crate::serf::Config::new(config.node.clone(), config.bind, swim);
            crate::agent::start::apply_limits(config, &mut core);
            format!("{core:?}")
        };
        let unsaid = AgentConfig::check(named()).unwrap();
        for key in crate::agent::settings::KEYS {
            // Nothing, or what depends on another key.
            if key.default.is_empty() || key.name == "syslog_facility" {
                continue;
            }
            let said = AgentConfig::check(settings(key.name, key.default)).unwrap();
            assert_eq!(core(&said), core(&unsaid), "{}", key.name);
            let without = |config: &AgentConfig| {
                let mut config = config.clone();
                // Checked above: there the core's own values stand in for what is not said.
                config.reconnect_interval = None;
                config.reconnect_timeout = None;
                config.tombstone_timeout = None;
                config.query_size_limit_bytes = None;
                config.query_response_size_limit_bytes = None;
                config.user_event_size_limit_bytes = None;
                format!("{config:?}")
            };
            assert_eq!(without(&said), without(&unsaid), "{}", key.name);
        }
    }

    #[test]
    fn names_can_be_validated() {
        let check = |name: &str| {
            let mut settings = named();
            settings.node_name = name.into();
            settings.validate_node_names = Some(true);
            AgentConfig::check(settings)
        };
        assert!(check("web-1.example").is_ok());
        for bad in ["bad_name!", "a b", "\u{e9}", &"x".repeat(129)] {
            let why = check(bad).unwrap_err().error;
            assert!(why.starts_with("Invalid node name: "), "{why}");
        }
    }

    #[test]
    fn keys_are_decoded() {
        assert_eq!(decode_key("YWJj").unwrap(), b"abc");
        let at = |text| decode_key(text).unwrap_err();
        assert_eq!(at("YWJ"), "illegal base64 data at input byte 0");
        assert_eq!(at("YWJjYW!j"), "illegal base64 data at input byte 6");
        // Bits that nobody needs may be anything.
        assert_eq!(decode_key("YWK="), decode_key("YWI="));
    }

    #[test]
    fn keys_are_refused_where_the_reference_refuses_them() {
        for (text, at) in [
            ("!!", 0),
            ("abc", 0),
            ("MDEyMzQ1Njc4OWFiY2RlZg=", 23),
            ("MDEyMzQ1Njc4OWFi=2Rl", 16),
            ("MDEy=MzQ", 4),
            ("MDEyM", 4),
            ("MDEyMz==x", 8),
            ("MDEyMz=", 7),
            ("MDEy====", 4),
        ] {
            let why = format!("illegal base64 data at input byte {at}");
            assert_eq!(decode_key(text), Err(why), "{text}");
        }
    }
}
