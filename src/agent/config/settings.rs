//! Settings as written on the command line and in files (agent spec 4.1, 4.2).
//!
//! [`KEYS`] is the only table of settings. Decoding, merging and the messages of a reload about keys that it
//! cannot apply use it, and a test compares the manual page with it.

use super::Findings;
use super::handlers::HandlerEntry;
use crate::go;
use crate::ordered::OrderedMap;
use crate::serf::Tags;
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Parsed flags of a command line.
pub trait FlagValues {
    /// Returns all values of a text flag in the order given.
    fn values(&self, name: &str) -> &[String];
    /// Returns all values of a flag for paths, scripts, names or tags, which are bytes.
    fn byte_values(&self, name: &str) -> &[Vec<u8>];
    /// Returns the last value of a text flag, if it was given.
    fn value(&self, name: &str) -> Option<&str>;
    /// Returns whether a switch is on.
    fn flag(&self, name: &str) -> bool;
    /// Returns the value of an integer flag, if it was given.
    fn integer(&self, name: &str) -> Option<i64>;
    /// Returns the values of several such flags in the order in which they were given.
    fn byte_values_of_any(&self, names: &[&str]) -> Vec<&[u8]>;
}

/// One source of settings, as written. Settings that a source does not set are empty, zero or `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Settings {
    pub node_name: Vec<u8>,
    pub role: Vec<u8>,
    pub tags: OrderedMap<Vec<u8>, Vec<u8>>,
    pub tags_file: Vec<u8>,
    pub bind: String,
    pub interface: String,
    pub advertise: String,
    pub allow_gossip: Vec<String>,
    pub encrypt_key: String,
    pub encrypt_verify_incoming: Option<bool>,
    pub encrypt_verify_outgoing: Option<bool>,
    pub keyring_file: Vec<u8>,
    pub label: Vec<u8>,
    pub label_accept: Vec<String>,
    pub log_level: String,
    pub rpc_addr: Vec<String>,
    pub rpc_auth: String,
    pub rpc_control_group: String,
    pub rpc_socket_group: String,
    pub rpc_socket_mode: String,
    pub protocol: i64,
    pub profile: String,
    pub event_handlers: Vec<HandlerEntry>,
    pub handler_dirs: Vec<Vec<u8>>,
    pub handler_timeout: Option<Duration>,
    pub handler_grace: Option<Duration>,
    pub handler_leave_wait: Option<Duration>,
    pub start_join: Vec<String>,
    pub replay_on_join: Option<bool>,
    pub retry_join: Vec<String>,
    pub retry_interval: Option<Duration>,
    pub retry_max: i64,
    pub snapshot_path: Vec<u8>,
    pub rejoin_after_leave: Option<bool>,
    pub journal: Vec<u8>,
    pub journal_size_limit: i64,
    pub discover: String,
    pub mdns_interface: String,
    pub mdns_disable_ipv4: Option<bool>,
    pub mdns_disable_ipv6: Option<bool>,
    pub enable_syslog: Option<bool>,
    pub syslog_facility: String,
    pub statsite_addr: String,
    pub statsd_addr: String,
    pub broadcast_timeout: Option<Duration>,
    pub enable_compression: Option<bool>,
    pub leave_on_terminate: Option<bool>,
    pub skip_leave_on_interrupt: Option<bool>,
    pub reconnect_interval: Option<Duration>,
    pub reconnect_timeout: Option<Duration>,
    pub tombstone_timeout: Option<Duration>,
    pub disable_name_resolution: Option<bool>,
    pub disable_coordinates: Option<bool>,
    pub validate_node_names: Option<bool>,
    pub query_response_size_limit: i64,
    pub query_size_limit: i64,
    pub user_event_size_limit: i64,
}

/// Reference to a key's value. Its type also determines how sources merge.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// Text; an empty one means "not set".
    Text(&'a mut String),
    /// A text or a list of texts; files are concatenated, and flags replace the files' values.
    Addresses(&'a mut Vec<String>),
    /// A list; sources are concatenated.
    List(&'a mut Vec<String>),
    /// A path or name as bytes; an empty one means "not set".
    Bytes(&'a mut Vec<u8>),
    /// A list of paths as bytes; sources are concatenated.
    Paths(&'a mut Vec<Vec<u8>>),
    /// A list of handlers; sources are concatenated.
    Handlers(&'a mut Vec<HandlerEntry>),
    /// A map from names to bytes; sources are merged, and the later value of a name wins.
    Map(&'a mut OrderedMap<Vec<u8>, Vec<u8>>),
    /// A boolean, if set; the later source wins.
    Switch(&'a mut Option<bool>),
    /// An integer; zero and negative numbers mean "not set".
    Number(&'a mut i64),
    /// A duration; zero does not override an earlier source.
    Duration(&'a mut Option<Duration>),
    /// A duration for which zero has a meaning; the later source wins.
    Limit(&'a mut Option<Duration>),
    /// Known to the reference, without effect.
    Ignored,
}

impl Slot<'_> {
    /// Returns the type's name in the manual page.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Slot::Text(_) | Slot::Bytes(_) => "string",
            Slot::Addresses(_) => "string or list of strings",
            Slot::List(_) | Slot::Paths(_) => "list of strings",
            Slot::Handlers(_) => "list of strings and objects",
            Slot::Map(_) => "map of strings",
            Slot::Switch(_) => "boolean",
            Slot::Number(_) => "integer",
            Slot::Duration(_) | Slot::Limit(_) => "duration",
            Slot::Ignored => "any",
        }
    }

    /// Merges a later source's value into this one.
    fn merge(&mut self, later: Slot<'_>) {
        match (self, later) {
            (Slot::Text(value), Slot::Text(later)) if !later.is_empty() => {
                **value = std::mem::take(later);
            }
            (Slot::Bytes(value), Slot::Bytes(later)) if !later.is_empty() => {
                **value = std::mem::take(later);
            }
            (Slot::Addresses(value), Slot::Addresses(later))
            | (Slot::List(value), Slot::List(later)) => value.append(later),
            (Slot::Paths(value), Slot::Paths(later)) => value.append(later),
            (Slot::Handlers(value), Slot::Handlers(later)) => value.append(later),
            (Slot::Map(value), Slot::Map(later)) => value.extend(std::mem::take(later)),
            (Slot::Switch(value), Slot::Switch(later)) => **value = later.or(**value),
            (Slot::Number(value), Slot::Number(later)) if *later > 0 => **value = *later,
            (Slot::Duration(value), Slot::Duration(later)) => {
                **value = later.filter(|time| !time.is_zero()).or(**value).or(*later);
            }
            (Slot::Limit(value), Slot::Limit(later)) => **value = later.or(**value),
            _ => {}
        }
    }
}

/// A key of configuration files, and the flag that sets the same value.
#[derive(Debug)]
pub struct Key {
    /// Its name; `a.b` is the key `b` in the object `a`.
    pub name: &'static str,
    /// Name of the flag without the dash; empty if there is none.
    pub flag: &'static str,
    /// Effective value if no source sets it; empty if there is none.
    pub default: &'static str,
    /// Optional part of the build that it belongs to; empty if none.
    pub feature: &'static str,
    /// Whether a reload applies it.
    pub reload: bool,
    /// Whether its flag has the opposite meaning.
    pub inverted: bool,
    /// Whether negative values are accepted as in the reference, and raised to the minimum with a warning.
    raised: bool,
    /// Whether a negative number is an error. For other keys, it means the default, like zero.
    natural: bool,
    slot: fn(&mut Settings) -> Slot<'_>,
}

impl Key {
    /// Returns a reference to its value.
    pub fn slot<'a>(&self, settings: &'a mut Settings) -> Slot<'a> {
        (self.slot)(settings)
    }

    /// Returns its type's name in the manual page.
    pub fn type_name(&self) -> &'static str {
        self.slot(&mut Settings::default()).type_name()
    }

    /// Copies its value from one source to another.
    pub fn copy(&self, from: &Settings, to: &mut Settings) {
        match (self.slot(to), self.slot(&mut from.clone())) {
            (Slot::Text(to), Slot::Text(from)) => to.clone_from(from),
            (Slot::Bytes(to), Slot::Bytes(from)) => to.clone_from(from),
            (Slot::Addresses(to), Slot::Addresses(from)) | (Slot::List(to), Slot::List(from)) => {
                to.clone_from(from);
            }
            (Slot::Paths(to), Slot::Paths(from)) => to.clone_from(from),
            (Slot::Handlers(to), Slot::Handlers(from)) => to.clone_from(from),
            (Slot::Map(to), Slot::Map(from)) => to.clone_from(from),
            (Slot::Switch(to), Slot::Switch(from)) => *to = *from,
            (Slot::Number(to), Slot::Number(from)) => *to = *from,
            (Slot::Duration(to) | Slot::Limit(to), Slot::Duration(from) | Slot::Limit(from)) => {
                *to = *from;
            }
            _ => {}
        }
    }

    const fn reloaded(mut self) -> Self {
        self.reload = true;
        self
    }

    const fn inverted(mut self) -> Self {
        self.inverted = true;
        self
    }

    const fn raised(mut self) -> Self {
        self.raised = true;
        self
    }

    const fn natural(mut self) -> Self {
        self.natural = true;
        self
    }

    const fn of(mut self, feature: &'static str) -> Self {
        self.feature = feature;
        self
    }
}

const fn key(
    name: &'static str,
    flag: &'static str,
    default: &'static str,
    slot: fn(&mut Settings) -> Slot<'_>,
) -> Key {
    Key {
        name,
        flag,
        default,
        feature: "",
        reload: false,
        inverted: false,
        raised: false,
        natural: false,
        slot,
    }
}

/// All keys, sorted by name.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("advertise", "advertise", "", |s| Slot::Text(&mut s.advertise)),
    key("allow_gossip", "allow", "", |s| Slot::List(&mut s.allow_gossip)),
    key("bind", "bind", "0.0.0.0:7946", |s| Slot::Text(&mut s.bind)),
    key("broadcast_timeout", "broadcast-timeout", "5s", |s| Slot::Duration(&mut s.broadcast_timeout)).raised(),
    key("disable_coordinates", "", "false", |s| Slot::Switch(&mut s.disable_coordinates)),
    key("disable_name_resolution", "", "false", |s| Slot::Switch(&mut s.disable_name_resolution)),
    key("discover", "discover", "", |s| Slot::Text(&mut s.discover)).of("mdns"),
    key("enable_compression", "disable-compression", "true", |s| Slot::Switch(&mut s.enable_compression)).inverted(),
    key("enable_syslog", "syslog", "false", |s| Slot::Switch(&mut s.enable_syslog)).of("syslog"),
    key("encrypt_key", "encrypt", "", |s| Slot::Text(&mut s.encrypt_key)),
    key("encrypt_verify_incoming", "", "true", |s| Slot::Switch(&mut s.encrypt_verify_incoming)),
    key("encrypt_verify_outgoing", "", "true", |s| Slot::Switch(&mut s.encrypt_verify_outgoing)),
    key("event_handlers", "event-handler", "", |s| Slot::Handlers(&mut s.event_handlers)).reloaded(),
    key("handler_dirs", "handler-dir", "", |s| Slot::Paths(&mut s.handler_dirs)).reloaded(),
    key("handler_grace", "handler-grace", "1s", |s| Slot::Limit(&mut s.handler_grace)).reloaded(),
    key("handler_leave_wait", "handler-leave-wait", "2s", |s| Slot::Limit(&mut s.handler_leave_wait)).reloaded(),
    key("handler_timeout", "handler-timeout", "0s", |s| Slot::Limit(&mut s.handler_timeout)).reloaded(),
    key("interface", "iface", "", |s| Slot::Text(&mut s.interface)),
    key("journal", "journal", "", |s| Slot::Bytes(&mut s.journal)),
    key("journal_size_limit", "journal-size-limit", "67108864", |s| Slot::Number(&mut s.journal_size_limit)).natural(),
    key("keyring_file", "keyring-file", "", |s| Slot::Bytes(&mut s.keyring_file)),
    key("label", "label", "", |s| Slot::Bytes(&mut s.label)),
    key("label_accept", "", "", |s| Slot::List(&mut s.label_accept)),
    key("leave_on_terminate", "", "false", |s| Slot::Switch(&mut s.leave_on_terminate)).reloaded(),
    key("log_level", "log-level", "INFO", |s| Slot::Text(&mut s.log_level)).reloaded(),
    key("mdns.disable_ipv4", "mdns-disable-ipv4", "false", |s| Slot::Switch(&mut s.mdns_disable_ipv4)).of("mdns"),
    key("mdns.disable_ipv6", "mdns-disable-ipv6", "false", |s| Slot::Switch(&mut s.mdns_disable_ipv6)).of("mdns"),
    key("mdns.interface", "mdns-iface", "", |s| Slot::Text(&mut s.mdns_interface)).of("mdns"),
    key("msgpackusenewtimeformat", "", "", |_| Slot::Ignored),
    key("node_name", "node", "", |s| Slot::Bytes(&mut s.node_name)),
    key("profile", "profile", "lan", |s| Slot::Text(&mut s.profile)),
    key("protocol", "protocol", "5", |s| Slot::Number(&mut s.protocol)),
    key("query_response_size_limit", "", "1024", |s| Slot::Number(&mut s.query_response_size_limit)),
    key("query_size_limit", "", "1024", |s| Slot::Number(&mut s.query_size_limit)),
    key("reconnect_interval", "", "30s", |s| Slot::Duration(&mut s.reconnect_interval)),
    key("reconnect_timeout", "", "24h", |s| Slot::Duration(&mut s.reconnect_timeout)),
    key("rejoin_after_leave", "rejoin", "false", |s| Slot::Switch(&mut s.rejoin_after_leave)),
    key("replay_on_join", "replay", "false", |s| Slot::Switch(&mut s.replay_on_join)),
    key("retry_interval", "retry-interval", "30s", |s| Slot::Duration(&mut s.retry_interval)).raised(),
    key("retry_join", "retry-join", "", |s| Slot::List(&mut s.retry_join)),
    key("retry_max_attempts", "retry-max", "0", |s| Slot::Number(&mut s.retry_max)),
    key("role", "role", "", |s| Slot::Bytes(&mut s.role)).reloaded(),
    key("rpc_addr", "rpc-addr", "127.0.0.1:7373", |s| Slot::Addresses(&mut s.rpc_addr)),
    key("rpc_auth", "", "", |s| Slot::Text(&mut s.rpc_auth)),
    key("rpc_control_group", "", "", |s| Slot::Text(&mut s.rpc_control_group)),
    key("rpc_socket_group", "", "", |s| Slot::Text(&mut s.rpc_socket_group)),
    key("rpc_socket_mode", "", "0660", |s| Slot::Text(&mut s.rpc_socket_mode)),
    key("skip_leave_on_interrupt", "", "false", |s| Slot::Switch(&mut s.skip_leave_on_interrupt)).reloaded(),
    key("snapshot_path", "snapshot", "", |s| Slot::Bytes(&mut s.snapshot_path)),
    key("start_join", "join", "", |s| Slot::List(&mut s.start_join)),
    key("statsd_addr", "", "", |s| Slot::Text(&mut s.statsd_addr)).of("telemetry"),
    key("statsite_addr", "", "", |s| Slot::Text(&mut s.statsite_addr)).of("telemetry"),
    key("syslog_facility", "", "LOCAL0", |s| Slot::Text(&mut s.syslog_facility)).of("syslog"),
    key("tags", "tag", "", |s| Slot::Map(&mut s.tags)).reloaded(),
    key("tags_file", "tags-file", "", |s| Slot::Bytes(&mut s.tags_file)),
    key("tombstone_timeout", "", "24h", |s| Slot::Duration(&mut s.tombstone_timeout)),
    key("user_event_size_limit", "", "512", |s| Slot::Number(&mut s.user_event_size_limit)),
    key("validate_node_names", "", "false", |s| Slot::Switch(&mut s.validate_node_names)),
];

impl Settings {
    /// Converts flags to settings; errors go to `findings`.
    pub fn from_flags(flags: &impl FlagValues, findings: &mut Findings) -> Self {
        let mut settings = Settings::default();
        for key in KEYS.iter().filter(|key| !key.flag.is_empty()) {
            match key.slot(&mut settings) {
                Slot::Bytes(bytes) => {
                    *bytes = flags
                        .byte_values(key.flag)
                        .last()
                        .cloned()
                        .unwrap_or_default();
                }
                Slot::Paths(paths) => *paths = flags.byte_values(key.flag).to_vec(),
                Slot::Handlers(list) => {
                    let texts = flags.byte_values(key.flag).iter();
                    *list = texts.map(|text| HandlerEntry::text(text)).collect();
                }
                Slot::Map(map) => {
                    let tags = parse_tags(flags.byte_values(key.flag));
                    *map = findings.keep(tags).unwrap_or_default();
                }
                slot => {
                    findings.keep(set_from_text(slot, key, flags));
                }
            }
        }
        settings
    }

    /// Returns the tags, including the role.
    pub fn all_tags(&self) -> Tags {
        let mut tags = Tags::new();
        for (key, value) in &self.tags {
            tags.set(key, value);
        }
        if !self.role.is_empty() {
            tags.set(b"role", &self.role);
        }
        tags
    }

    /// Merges flags over the settings of files.
    #[must_use]
    pub fn overruled_by(mut self, flags: Settings) -> Self {
        if !flags.rpc_addr.is_empty() {
            self.rpc_addr.clear();
        }
        self.merged(flags)
    }

    /// Merges `later` over these settings, as [`Slot`] describes for each type.
    #[must_use]
    pub fn merged(mut self, mut later: Settings) -> Self {
        for key in KEYS {
            key.slot(&mut self).merge(key.slot(&mut later));
        }
        self
    }

    /// Returns the keys whose values differ.
    pub fn changed_keys(&self, other: &Settings) -> Vec<&'static Key> {
        let (mut one, mut other) = (self.clone(), other.clone());
        let changed = |key: &&Key| key.slot(&mut one) != key.slot(&mut other);
        KEYS.iter().filter(changed).collect()
    }
}

/// Sets the value of a key from a text flag.
fn set_from_text(slot: Slot<'_>, key: &Key, flags: &impl FlagValues) -> Result<(), String> {
    let values = flags.values(key.flag);
    let Some(last) = values.last() else {
        return Ok(());
    };
    let failed = |why: String| match key.raised {
        // The reference's text.
        true => format!("Error: {why}"),
        false => format!("Error: {why} (-{})", key.flag),
    };
    match slot {
        Slot::Text(text) => text.clone_from(last),
        // As everywhere, an empty text means "not set".
        Slot::Addresses(list) => list.extend(values.iter().filter(|v| !v.is_empty()).cloned()),
        Slot::List(list) => *list = values.to_vec(),
        Slot::Switch(switch) => *switch = Some(flags.flag(key.flag) != key.inverted),
        Slot::Number(number) => {
            let given = flags.integer(key.flag).unwrap_or(0);
            *number = check_number(key, given).map_err(failed)?;
        }
        Slot::Duration(time) | Slot::Limit(time) => {
            *time = parse_time(key, last).map_err(failed)?;
        }
        Slot::Bytes(_) | Slot::Paths(_) | Slot::Handlers(_) | Slot::Map(_) | Slot::Ignored => {}
    }
    Ok(())
}

/// Parses a duration; an empty text means "not set".
pub(super) fn parse_time(key: &Key, text: &str) -> Result<Option<Duration>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if key.raised && go::parse_nanos(text)? < 0 {
        return Ok(Some(Duration::ZERO));
    }
    go::parse_duration(text).map(Some)
}

/// Checks a number.
pub(super) fn check_number(key: &Key, number: i64) -> Result<i64, String> {
    match key.natural && number < 0 {
        true => Err(format!("{} must not be negative", key.name)),
        false => Ok(number),
    }
}

fn parse_tags(list: &[Vec<u8>]) -> Result<OrderedMap<Vec<u8>, Vec<u8>>, String> {
    let mut tags = OrderedMap::new();
    for tag in list {
        let mut parts = tag.splitn(2, |byte| *byte == b'=');
        match (parts.next(), parts.next()) {
            (Some(key), Some(value)) if !key.is_empty() => {
                tags.insert(key.to_vec(), value.to_vec());
            }
            _ => return Err(format!("Error: Invalid tag: '{}'", Escaped(tag))),
        }
    }
    Ok(tags)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
