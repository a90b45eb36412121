//! What single settings may say.

use std::net::SocketAddr;

use log::LevelFilter;

use super::settings::Settings;
use crate::agent::net::addr;
use crate::agent::observe::logger as agent_log;
use crate::os::sys;
use crate::swim::Network;
use crate::wire::limits::LABEL_BYTES_MAX;
use crate::wire::{Label, NodeName};

/// The name of the node: this text or, if it is empty, the name of the host.
///
/// # Errors
/// What to print.
pub fn node_name(text: &[u8]) -> Result<NodeName, String> {
    let host_name;
    let name = if text.is_empty() {
        host_name = sys::host_name();
        host_name.as_slice()
    } else {
        text
    };
    NodeName::new(name).map_err(|_| {
        "Invalid node name: it must have 1 to 255 bytes and no control characters; see -node"
            .to_owned()
    })
}

/// Permissions of RPC's socket if nobody says which: its owner and its group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Longest name that passes `validate_node_names`, in bytes (R10).
const PLAIN_NAME_BYTES_MAX: usize = 128;

/// Whether a name has letters, digits, dashes and dots only.
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

pub(super) fn check_addresses(
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
        text => {
            let addr = addr::resolve(text, addr::DEFAULT_PORT)
                .map_err(|why| format!("Invalid advertise address: {why}"))?;
            // The zone is this host's own affair.
            Some(addr::without_zone(addr, addr::zone_of(addr)))
        }
    };
    let has_host =
        |text| addr::split_host_port(text).is_ok_and(|(host, _): (&str, _)| !host.is_empty());
    if advertise.is_some_and(|addr| !addr::is_of_one_host(addr.ip()))
        && has_host(&settings.advertise)
    {
        return Err(format!(
            "Invalid advertise address: {} is not an address that others can reach",
            settings.advertise
        ));
    }
    if !bind.ip().is_unspecified() && !addr::is_of_one_host(bind.ip()) {
        return Err(format!(
            "Invalid bind address: {} is not an address of this host",
            settings.bind
        ));
    }
    let interface = settings.interface.as_str();
    if let Some(zone) = sys::interface_index(interface) {
        bind = addr::in_zone(bind, zone);
    }
    if addr::is_link_local(bind.ip()) && bind.is_ipv6() && addr::zone_of(bind) == 0 {
        return Err(format!(
            "Invalid bind address: {} is link-local and needs a zone, as in [{}%eth0], or -iface",
            settings.bind,
            bind.ip()
        ));
    }
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

pub(super) fn check_mdns(settings: &Settings) -> Result<(), String> {
    let interface = &settings.mdns_interface;
    if settings.discover.is_empty() {
        return match interface.is_empty() {
            true => Ok(()),
            false => Err("mDNS interface specified without enabling mDNS discovery".to_owned()),
        };
    }
    #[cfg(feature = "mdns")]
    if !interface.is_empty() {
        crate::agent::mdns::interface_index(interface)?;
    }
    if settings.mdns_disable_ipv4 == Some(true) && settings.mdns_disable_ipv6 == Some(true) {
        return Err("Invalid mDNS configuration: both IPv4 and IPv6 are disabled".to_owned());
    }
    Ok(())
}

/// Reads a label of gossip.
///
/// # Errors
/// What to print.
pub(super) fn check_label(text: &[u8]) -> Result<Label, String> {
    Label::new(text).map_err(|_| {
        let (bytes, most) = (text.len(), LABEL_BYTES_MAX);
        format!("Invalid label: it has {bytes} bytes, {most} are the most; see -label")
    })
}

/// Reads the permissions of a socket; empty text stands for the default.
///
/// # Errors
/// What to print.
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

/// Reads a network of `-allow`.
///
/// # Errors
/// What to print.
pub(super) fn parse_network(text: &str) -> Result<Network, String> {
    Network::parse(text).ok_or_else(|| {
        format!(
            "Invalid network '{text}': it must read like 192.0.2.0/24 or 2001:db8::/32; see -allow"
        )
    })
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
