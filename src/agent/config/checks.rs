//! Checks of single settings. Pure, like [`super::check`].

use log::LevelFilter;

use super::settings::Settings;
use crate::agent::observe::logger as agent_log;
use crate::swim::Network;
use crate::wire::limits::LABEL_BYTES_MAX;
use crate::wire::{Label, NodeName};

/// Returns the node's name: this text or, if it is empty, the host name.
///
/// # Errors
/// If the name is invalid; returns the text to print.
pub fn node_name(text: &[u8], host_name: &[u8]) -> Result<NodeName, String> {
    let name = if text.is_empty() { host_name } else { text };
    NodeName::new(name).map_err(|_| {
        "Invalid node name: it must have 1 to 255 bytes and no control characters; see -node"
            .to_owned()
    })
}

/// Default permissions of RPC's socket: its owner and its group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Longest name that `validate_node_names` accepts, in bytes (R10).
const PLAIN_NAME_BYTES_MAX: usize = 128;

/// Checks that a name has only letters, digits, dashes and dots, and at most [`PLAIN_NAME_BYTES_MAX`] bytes.
pub(super) fn check_name(name: &NodeName) -> Result<(), String> {
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

pub(super) fn check_mdns(settings: &Settings) -> Result<(), String> {
    let interface = &settings.mdns_interface;
    if settings.discover.is_empty() {
        return match interface.is_empty() {
            true => Ok(()),
            false => Err("mDNS interface specified without enabling mDNS discovery".to_owned()),
        };
    }
    if settings.mdns_disable_ipv4 == Some(true) && settings.mdns_disable_ipv6 == Some(true) {
        return Err("Invalid mDNS configuration: both IPv4 and IPv6 are disabled".to_owned());
    }
    Ok(())
}

/// Parses a gossip label.
///
/// # Errors
/// If it is too long; returns the text to print.
pub(super) fn check_label(text: &[u8]) -> Result<Label, String> {
    Label::new(text).map_err(|_| {
        let (bytes, most) = (text.len(), LABEL_BYTES_MAX);
        format!("Invalid label: it has {bytes} bytes; the maximum is {most}; see -label")
    })
}

/// Parses the permissions of a socket; an empty text means the default.
///
/// # Errors
/// If it is not an octal number up to 777; returns the text to print.
pub(super) fn check_mode(text: &str) -> Result<u32, String> {
    if text.is_empty() {
        return Ok(SOCKET_MODE);
    }
    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| is_octal && *mode <= 0o777).ok_or_else(|| {
        format!("Invalid rpc_socket_mode '{text}': it must be octal digits such as 0660, 0777 at most")
    })
}

/// Parses a network of `-allow`.
///
/// # Errors
/// If it is not an address with a prefix length; returns the text to print.
pub(super) fn parse_network(text: &str) -> Result<Network, String> {
    Network::parse(text).ok_or_else(|| {
        format!(
            "Invalid network '{text}': it must read like 192.0.2.0/24 or 2001:db8::/32; see -allow"
        )
    })
}

/// Parses a log level; an empty text means the default.
///
/// # Errors
/// If it is unknown; returns the text to print.
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
