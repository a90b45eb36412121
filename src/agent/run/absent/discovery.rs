//! Replaces discovery in builds without it. [`Mdns`] is uninhabited, so the compiler removes all code that
//! uses it.

use std::net::{IpAddr, SocketAddr};

use mio::{Registry, Token};

use super::Agent;
use crate::agent::config::FixedConfig;
use crate::serf::JoinTarget;
use crate::time::Instant;

/// Uninhabited stand-in for discovery.
#[derive(Debug)]
pub(super) enum Mdns {}

impl Mdns {
    pub(super) const TOKENS: usize = 0;

    pub(super) fn owns(&self, _: Token) -> bool {
        match *self {}
    }
    pub(super) fn handle_readiness(&mut self, _: Token) {
        match *self {}
    }
    pub(super) fn has_more(&self) -> bool {
        match *self {}
    }
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match *self {}
    }
    pub(super) fn receive(&mut self, _: Instant) {
        match *self {}
    }
}

/// Returns nothing: settings that need discovery are refused earlier.
#[allow(clippy::unnecessary_wraps)]
pub(super) fn start(
    _: &FixedConfig,
    _: IpAddr,
    _: SocketAddr,
    _: &Registry,
    _: Instant,
) -> Result<Option<Mdns>, String> {
    Ok(None)
}

impl Agent {
    pub(super) fn step_discovery(&mut self, _: Instant) {}

    pub(super) fn found_joined(&mut self, _: &Result<usize, String>, _: &[(JoinTarget, String)]) {}
}
