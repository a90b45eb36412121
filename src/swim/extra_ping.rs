//! Pings outside the probe cycle, on request of the Serf layer. They carry its bytes after their body and
//! return the payload of the ack. A missing ack does not make the target suspect.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::table::is_live;
use super::{Output, Swim};
use crate::time::{Duration, Instant};
use crate::wire::{Ack, Message, NodeName, Ping};

/// Limit for the extra pings that wait for their ack. Further ones evict the oldest.
const WAITING_MAX: usize = 32;
/// Limit for the nodes that did not ack. Further ones evict the earliest.
const SILENT_MAX: usize = 32;

/// Extra pings that wait for their ack, oldest first.
#[derive(Debug, Default)]
pub(super) struct ExtraPings {
    waiting: VecDeque<ExtraPing>,
    /// Nodes that did not ack one in time and have not acked anything since, the latest last.
    silent: VecDeque<NodeName>,
}

#[derive(Debug)]
struct ExtraPing {
    sequence: u32,
    target: NodeName,
    sent: Instant,
}

impl ExtraPings {
    /// Drops pings whose timeout has passed. Called whenever the pings are used, so no timer is needed.
    fn forget_late(&mut self, timeout: Duration, now: Instant) {
        let is_late = |ping: &ExtraPing| now.since(ping.sent) > timeout;
        while self.waiting.front().is_some_and(is_late) {
            let target = self.waiting.pop_front().map(|ping| ping.target);
            let target = target.filter(|target| !self.silent.contains(target));
            self.silent.extend(target);
        }
        let excess = self.silent.len().saturating_sub(SILENT_MAX);
        self.silent.drain(..excess);
    }

    /// Returns whether a node that acks now did not ack an earlier ping.
    fn end_silence(&mut self, node: &NodeName) -> bool {
        let at = self.silent.iter().position(|silent| silent == node);
        at.and_then(|at| self.silent.remove(at)).is_some()
    }

    fn take(&mut self, sequence: u32) -> Option<ExtraPing> {
        let mut waiting = self.waiting.iter();
        let at = waiting.position(|ping| ping.sequence == sequence)?;
        self.waiting.remove(at)
    }
}

impl Swim {
    pub(super) fn send_extra_ping(
        &mut self,
        target: &NodeName,
        extension: &[u8],
        now: Instant,
    ) -> bool {
        let Some(id) = self.table.find(target).filter(|id| !id.is_local()) else {
            return false;
        };
        let node = &self.table.record(id).node;
        if !is_live(node.state) {
            return false;
        }
        let addr = node.addr;
        let sequence = self.next_sequence();
        let ping = Message::Ping(Ping {
            extension: extension.to_vec(),
            ..self.ping_for(target, sequence)
        });
        self.send_with_piggyback(addr, &ping, Some(id), now);
        let extra = &mut self.extra_pings;
        extra.forget_late(self.config.probe_timeout, now);
        if extra.waiting.len() >= WAITING_MAX {
            extra.waiting.pop_front();
        }
        extra.waiting.push_back(ExtraPing {
            sequence,
            target: target.clone(),
            sent: now,
        });
        true
    }

    /// Consumes the ack of an extra ping; returns any other ack.
    pub(super) fn take_extra_ack(&mut self, ack: Ack, now: Instant) -> Option<Ack> {
        self.extra_pings.forget_late(self.config.probe_timeout, now);
        let Some(ping) = self.extra_pings.take(ack.seq_no) else {
            return Some(ack);
        };
        self.note_answer(&ping.target, now);
        self.outputs.push_back(Output::Acked {
            node: ping.target,
            rtt: now.since(ping.sent),
            payload: ack.payload,
            extra: true,
        });
        None
    }

    /// Notes the direct ack of a node: if an earlier one is missing, the network has lost a datagram.
    pub(super) fn note_answer(&mut self, node: &NodeName, now: Instant) {
        if self.extra_pings.end_silence(node) {
            self.note_lost_datagram(now);
        }
    }

    /// Notes that a datagram was lost, unless this process may have been too late to read it.
    pub(super) fn note_lost_datagram(&mut self, now: Instant) {
        if !self.lag.is_strained(now) {
            self.last_lost_datagram = Some(now);
        }
    }

    /// Reports the extension of a ping that comes from the known address of its sender. A response then goes
    /// only to that member, so no stranger can direct traffic at a third party.
    pub(super) fn note_ping_extension(&mut self, from: SocketAddr, ping: &Ping) {
        let stated = ping.source.unwrap_or(from);
        if ping.extension.is_empty() || stated != from {
            return;
        }
        let Some(name) = &ping.source_node else {
            return;
        };
        let id = self.table.find(name).filter(|id| !id.is_local());
        let node = id.map(|id| &self.table.record(id).node);
        if node.is_some_and(|node| node.addr == from && is_live(node.state)) {
            self.outputs.push_back(Output::Pinged {
                node: name.clone(),
                addr: from,
                extension: ping.extension.clone(),
            });
        }
    }
}
