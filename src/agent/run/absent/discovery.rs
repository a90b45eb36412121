//! Stands in for discovery in a build without it. There is no value of [`Mdns`], so nothing of what is
//! said about one is ever done, and none of it is in the binary.

use std::net::{IpAddr, SocketAddr};

use mio::{Registry, Token};

use super::Agent;
use crate::agent::config::FixedConfig;
use crate::serf::JoinTarget;
use crate::time::Instant;

/// Discovery that does not exist.
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

/// Settings that ask for discovery have been refused before.
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
