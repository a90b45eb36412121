//! Replaces telemetry in builds without it: nothing is recorded or sent.

use std::sync::Arc;

use super::Agent;
use crate::agent::config::FixedConfig;
use crate::agent::net::lookup::Answer;
use crate::os::clock::Clock;
use crate::time::{Duration, Instant};

/// Telemetry that records nothing.
#[derive(Debug)]
pub(super) struct Telemetry;

impl Telemetry {
    pub(super) fn new(_: &FixedConfig) -> Self {
        Telemetry
    }
    pub(super) fn name_resolved(&mut self, _: &str, _: &Answer, _: Instant) {}
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        None
    }
    pub(super) fn handler_starts(&mut self, _: &Arc<[u8]>) {}
    pub(super) fn handler_ended(&mut self, _: Duration, _: &Clock) {}
    pub(super) fn gossiped(&mut self, _: Duration, _: &Clock) {}
    pub(super) fn snapshot_written(&mut self, _: Duration, _: &Clock) {}
}

impl Agent {
    /// Discards the samples that the core has collected.
    pub(super) fn measure(&mut self) {
        drop(self.serf.take_samples());
    }

    /// Logs that there is no telemetry; the signal must not end the agent.
    pub(super) fn dump_metrics(&mut self) {
        log::warn!(target: "agent", "This build has no telemetry: no metrics to print");
    }
}
