//! Resolves host names and interfaces in address settings.

use std::net::SocketAddr;

use super::{FixedConfig, Settings};
use crate::agent::net::addr;
use crate::os::sys;

/// Resolved addresses of the gossip port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Address to listen on; port 0 lets the system choose.
    pub bind: SocketAddr,
    /// Address that other members get instead, if any; port 0 means that of `bind`.
    pub advertise: Option<SocketAddr>,
}

impl Addresses {
    /// Resolves names and interfaces. Blocks, so it must be called before the agent's loop runs.
    ///
    /// # Errors
    /// If a name or interface cannot be resolved; returns the text to print.
    pub fn resolve(config: &FixedConfig, notices: &mut Vec<String>) -> Result<Self, String> {
        let (bind, advertise) = (&config.bind, &config.advertise);
        Addresses::find(bind, advertise, &config.interface, notices)
    }

    /// Resolves like [`Self::resolve`], for settings that may have other errors.
    ///
    /// # Errors
    /// If a name or interface cannot be resolved; returns the text to print.
    pub fn resolve_settings(
        settings: &Settings,
        notices: &mut Vec<String>,
    ) -> Result<Self, String> {
        let (bind, advertise) = (&settings.bind, &settings.advertise);
        Addresses::find(bind, advertise, &settings.interface, notices)
    }

    fn find(
        bind_text: &str,
        advertise_text: &str,
        interface: &str,
        notices: &mut Vec<String>,
    ) -> Result<Self, String> {
        let mut bind = match bind_text {
            "" => SocketAddr::from(([0, 0, 0, 0], addr::DEFAULT_PORT)),
            text => addr::resolve(text, addr::DEFAULT_PORT)
                .map_err(|why| format!("Invalid bind address: {why}"))?,
        };
        let advertise = match advertise_text {
            "" => None,
            text => {
                let addr = addr::resolve(text, addr::DEFAULT_PORT)
                    .map_err(|why| format!("Invalid advertise address: {why}"))?;
                // A zone has a meaning only on this host.
                Some(addr::without_zone(addr, addr::zone_of(addr)))
            }
        };
        let has_host =
            |text| addr::split_host_port(text).is_ok_and(|(host, _): (&str, _)| !host.is_empty());
        if advertise.is_some_and(|addr| !addr::is_of_one_host(addr.ip()))
            && has_host(advertise_text)
        {
            return Err(format!(
                "Invalid advertise address: {} is not an address that others can reach",
                advertise_text
            ));
        }
        if !bind.ip().is_unspecified() && !addr::is_of_one_host(bind.ip()) {
            return Err(format!(
                "Invalid bind address: {} is not an address of this host",
                bind_text
            ));
        }
        if let Some(zone) = sys::interface_index(interface) {
            bind = addr::in_zone(bind, zone);
        }
        if addr::is_link_local(bind.ip()) && bind.is_ipv6() && addr::zone_of(bind) == 0 {
            return Err(format!(
                "Invalid bind address: {} is link-local and needs a zone, as in [{}%eth0], or -iface",
                bind_text,
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
        Ok(Addresses { bind, advertise })
    }
}

impl FixedConfig {
    /// Checks that the interface exists that is configured only for mDNS, if there is one.
    ///
    /// # Errors
    /// If it does not exist; returns the text to print.
    pub fn check_mdns_interface(&self) -> Result<(), String> {
        #[cfg(feature = "mdns")]
        if self.discover.is_some() {
            let own = self.mdns_interface.as_deref();
            own.filter(|name| *name != self.interface)
                .map_or(Ok(0), crate::agent::mdns::interface_index)?;
        }
        Ok(())
    }
}
