//! What the machine says of addresses and interfaces in settings: names are looked up, interfaces found.

use std::net::SocketAddr;

use super::{FixedConfig, Settings};
use crate::agent::net::addr;
use crate::os::sys;

/// The addresses of the gossip port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Where gossip is received; port 0 for any.
    pub bind: SocketAddr,
    /// What others are told instead, if anything; port 0 for that of `bind`.
    pub advertise: Option<SocketAddr>,
}

impl Addresses {
    /// Looks up names and interfaces, and waits for that: only before the agent runs.
    ///
    /// # Errors
    /// What to print.
    pub fn resolve(config: &FixedConfig, notices: &mut Vec<String>) -> Result<Self, String> {
        let (bind, advertise) = (&config.bind, &config.advertise);
        Addresses::find(bind, advertise, &config.interface, notices)
    }

    /// The same for settings that need not be good otherwise.
    ///
    /// # Errors
    /// What to print.
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
                // The zone is this host's own affair.
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
    /// Checks that the interface for mDNS exists, if one is named for that alone.
    ///
    /// # Errors
    /// What to print.
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
