//! Joins nodes found by mDNS (agent spec 4.13).

use std::net::{IpAddr, SocketAddr};

use super::join::Joiner;
use super::{Agent, tokens};
use crate::agent::config::FixedConfig;
use crate::agent::mdns;
pub(super) use crate::agent::mdns::Mdns;
use crate::os::sys;
use crate::serf::{JoinTarget, MemberStatus};
use crate::time::Instant;

/// Starts discovery if it is configured.
pub(super) fn start(
    config: &FixedConfig,
    bound: IpAddr,
    advertised: SocketAddr,
    registry: &mio::Registry,
    now: Instant,
) -> Result<Option<Mdns>, String> {
    let Some(cluster) = config.discover.clone() else {
        return Ok(None);
    };
    let config = mdns::Config {
        cluster,
        interface: config.mdns_interface.clone(),
        ipv4: !config.mdns_disable_ipv4,
        ipv6: !config.mdns_disable_ipv6,
        node: config.node.as_bytes().to_vec(),
        host: sys::host_name(),
        addr: advertised,
        bind: bound,
    };
    Mdns::start(&config, registry, tokens::MDNS, now)
        .map(Some)
        .map_err(|why| format!("Error starting mDNS listener: {why}"))
}

impl Agent {
    /// Asks a question when it is due, and joins the nodes found.
    pub(super) fn step_discovery(&mut self, now: Instant) {
        let Some(mdns) = &mut self.mdns else {
            return;
        };
        mdns.handle_timeout(self.poll.registry(), now);
        let Some(mut found) = mdns.poll_found(now) else {
            return;
        };
        let known = |addr: &SocketAddr| {
            let mut members = self.serf.members();
            members.any(|member| member.addr == *addr && member.status == MemberStatus::Alive)
        };
        found.retain(|addr| !known(addr));
        if found.is_empty() || !self.phase.is_running() {
            return;
        }
        let addresses = found.iter().map(ToString::to_string).collect();
        let replay = self.config.replay_on_join;
        self.begin_join(Joiner::Discovery, addresses, replay);
    }

    /// Handles the end of a join of discovered nodes.
    pub(super) fn found_joined(
        &mut self,
        verdict: &Result<usize, String>,
        failed: &[(JoinTarget, String)],
    ) {
        match verdict {
            Ok(contacted) => log::info!(target: "agent.mdns", "Joined {contacted} hosts"),
            Err(why) => log::error!(target: "agent.mdns", "Failed to join: {why}"),
        }
        if let Some(mdns) = &mut self.mdns {
            mdns.forget(failed.iter().map(|(target, _)| target.addr));
        }
    }
}
