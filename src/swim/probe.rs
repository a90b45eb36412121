//! The probe cycle: one node at a time, directly, then through relays and over TCP (gossip spec 4.3, 4.4).

use std::net::SocketAddr;

use super::gossip::next_on_grid;
use super::table::NodeId;
use super::{Config, Output, Sample, StreamId, Swim};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::wire::{Ack, IndirectPing, Message, NodeName, Ping, Suspect};

/// First protocol versions with these messages (4.9).
const PROTOCOL_WITH_TCP_PING: u8 = 3;
const PROTOCOL_WITH_NACK: u8 = 4;
/// Limit for the consecutive probes without a verdict because this process was suspended. The next one
/// counts, because otherwise a node that is always late would never detect a failure.
const UNDECIDED_MAX: u32 = 2;

/// The timer of the cycle and the current probe.
#[derive(Debug)]
pub(super) struct Probing {
    interval: Duration,
    /// Random time of one tick; all ticks are whole intervals away from it.
    phase: Instant,
    tick: Option<Instant>,
    current: Option<Probe>,
    /// Number of the last consecutive probes without a verdict.
    undecided: u32,
}

#[derive(Debug)]
struct Probe {
    sequence: u32,
    target: NodeName,
    addr: SocketAddr,
    /// Incarnation of the target at the start of the probe.
    incarnation: u32,
    started: Instant,
    /// Deadline of the direct ack; `None`: it has passed.
    direct: Option<Instant>,
    /// When the probe fails.
    deadline: Instant,
    nacks_expected: u32,
    /// Senders of nacks; each counts once.
    nacks_from: Vec<SocketAddr>,
    stream: Option<StreamId>,
    answered_by_tcp: bool,
}

impl Probing {
    pub(super) fn new(config: &Config, rng: &mut Rng, now: Instant) -> Self {
        Probing {
            interval: config.probe_interval,
            phase: now + rng.duration_below(config.probe_interval),
            tick: None,
            current: None,
            undecided: 0,
        }
    }

    /// Runs the tick while there are other records, which must be probed or dropped.
    pub(super) fn arm(&mut self, others: bool, now: Instant) {
        if !others || self.interval.is_zero() {
            self.tick = None;
        } else if self.tick.is_none() {
            self.tick = Some(next_on_grid(self.phase, self.interval, now));
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let probe = self.current.as_ref();
        let step = probe.map(|probe| {
            probe
                .direct
                .map_or(probe.deadline, |d| d.min(probe.deadline))
        });
        self.tick.into_iter().chain(step).min()
    }
}

impl Swim {
    pub(super) fn tick_probe(&mut self, now: Instant) {
        if self.probing.tick.is_none_or(|tick| tick > now) {
            return;
        }
        self.probing.tick = Some(next_on_grid(self.probing.phase, self.probing.interval, now));
        if self.probing.current.is_some() {
            return;
        }
        let kept = self.config.gossip_to_the_dead_time;
        if let Some(id) = self.table.next_probe(kept, now, &mut self.rng) {
            self.start_probe(id, now);
        }
    }

    fn start_probe(&mut self, id: NodeId, now: Instant) {
        self.counters.degraded_probes += u64::from(self.awareness.score() > 0);
        let sequence = self.next_sequence();
        let node = self.table.record(id).node.clone();
        let ping = Message::Ping(Ping {
            extension: self.probe_extension.clone(),
            ..self.ping_for(&node.name, sequence)
        });
        if let Some(doubt) = self.doubt(id) {
            // Nothing else goes with it, as in the reference.
            let checksum = node.versions.protocol_max >= super::PROTOCOL_WITH_CHECKSUM;
            self.send_datagram(node.addr, &[ping.encode(), doubt.encode()], checksum);
        } else {
            self.send_with_piggyback(node.addr, &ping, Some(id), now);
        }
        // The target may be as busy. Relays would multiply the work, and find out no more.
        let timeout = match self.lag.is_strained(now) {
            true => self.awareness.scale(self.config.probe_timeout),
            false => self.config.probe_timeout,
        };
        self.probing.current = Some(Probe {
            sequence,
            target: node.name.clone(),
            addr: node.addr,
            incarnation: node.incarnation,
            started: now,
            direct: Some(now + timeout),
            deadline: now + self.awareness.scale(self.config.probe_interval),
            nacks_expected: 0,
            nacks_from: Vec::new(),
            stream: None,
            answered_by_tcp: false,
        });
    }

    /// Makes a ping from this node to another.
    pub(super) fn ping_for(&self, target: &NodeName, sequence: u32) -> Ping {
        let local = self.local();
        Ping {
            seq_no: sequence,
            node: Some(target.clone()),
            source: Some(local.addr),
            source_node: Some(local.name.clone()),
            extension: Vec::new(),
        }
    }

    /// Handles an ack, direct or relayed, from any address.
    pub(super) fn handle_ack(&mut self, ack: Ack, now: Instant) {
        let current = &self.probing.current;
        if current
            .as_ref()
            .is_none_or(|probe| probe.sequence != ack.seq_no)
        {
            let Some(ack) = self.take_extra_ack(ack, now) else {
                return;
            };
            if !self.relay_ack(ack.seq_no, now) {
                log::trace!(target: "memberlist", "Ack without a probe: {}", ack.seq_no);
            }
            return;
        }
        let Some(probe) = self.end_probe(now) else {
            return;
        };
        // A late ack does not show that this node is healthy, if it is late itself: the next timeout must not be
        // shorter.
        let is_late = now.since(probe.started) > self.config.probe_timeout;
        if !(is_late && self.lag.is_strained(now)) {
            self.awareness.improve();
        }
        self.probing.undecided = 0;
        // The round trip is valid only before relays were asked.
        if probe.direct.is_none() {
            self.note_lost_datagram(now);
        } else {
            self.note_answer(&probe.target, now);
            self.outputs.push_back(Output::Acked {
                node: probe.target,
                rtt: now.since(probe.started),
                payload: ack.payload,
                extra: false,
            });
        }
    }

    /// Handles a nack of a relay. It does not end the probe, but shows that this node is reachable.
    pub(super) fn handle_nack(&mut self, from: SocketAddr, sequence: u32) {
        let Some(probe) = &mut self.probing.current else {
            return;
        };
        let more = probe.nacks_from.len() < probe.nacks_expected as usize;
        if probe.sequence == sequence && more && !probe.nacks_from.contains(&from) {
            probe.nacks_from.push(from);
        }
    }

    /// Notes that the fallback ping was answered.
    pub(super) fn probe_answered_by_tcp(&mut self, sequence: u32) {
        if let Some(probe) = &mut self.probing.current {
            if probe.sequence == sequence {
                probe.answered_by_tcp = true;
                probe.stream = None;
            }
        }
    }

    /// Does the next step of the current probe, if it is due.
    pub(super) fn advance_probe(&mut self, now: Instant) {
        let Some(probe) = &mut self.probing.current else {
            return;
        };
        let stalled = probe.direct.is_some_and(|direct| direct < probe.deadline);
        if probe.deadline <= now && stalled {
            // No relay was asked because this process was suspended: that is no evidence against the target.
            log::warn!(target: "memberlist", "Probe of {} is overdue, the process was suspended: giving it up", probe.target);
            self.end_probe(now);
            self.awareness.degrade(1);
        } else if probe.deadline <= now {
            self.conclude_probe(now);
        } else if probe.direct.is_some_and(|direct| direct <= now) {
            probe.direct = None;
            self.probe_indirectly(now);
        }
    }

    /// Asks relays and opens the fallback ping (4.4 steps 4 and 5).
    fn probe_indirectly(&mut self, now: Instant) {
        let Some(probe) = &self.probing.current else {
            return;
        };
        let (sequence, target, addr) = (probe.sequence, probe.target.clone(), probe.addr);
        let (deadline, target_id) = (probe.deadline, self.table.find(&target));
        let relays = self
            .table
            .sample_alive(self.config.indirect_checks, target_id, &mut self.rng);
        let mut nacks_expected = 0;
        for id in relays {
            let relay = &self.table.record(id).node;
            let relay_addr = relay.addr;
            let nack = relay.versions.protocol_max >= PROTOCOL_WITH_NACK;
            nacks_expected += u32::from(nack);
            let request = Message::IndirectPing(IndirectPing {
                seq_no: sequence,
                target: addr,
                node: target.clone(),
                nack,
                source: Some(self.local().addr),
                source_node: Some(self.local().name.clone()),
            });
            self.send_with_piggyback(relay_addr, &request, Some(id), now);
        }
        let protocol_max =
            target_id.map_or(0, |id| self.table.record(id).node.versions.protocol_max);
        let over_tcp = self.config.tcp_fallback_ping && protocol_max >= PROTOCOL_WITH_TCP_PING;
        let stream =
            over_tcp.then(|| self.open_fallback_ping(sequence, target.clone(), addr, deadline));
        log::debug!(target: "memberlist", "No ack from {target} in time: sending indirect probes");
        if let Some(probe) = &mut self.probing.current {
            probe.nacks_expected = nacks_expected;
            probe.stream = stream;
        }
    }

    /// Ends the probe and aborts its TCP ping, if it is still running.
    fn end_probe(&mut self, now: Instant) -> Option<Probe> {
        let probe = self.probing.current.take()?;
        self.samples.push(Sample::Probe(now.since(probe.started)));
        if let Some(stream) = probe.stream {
            self.abort_stream(stream);
        }
        Some(probe)
    }

    /// Concludes a probe without a UDP ack (4.4 steps 7 and 8).
    fn conclude_probe(&mut self, now: Instant) {
        let Some(probe) = self.end_probe(now) else {
            return;
        };
        if probe.answered_by_tcp {
            log::warn!(
                target: "memberlist",
                "Was able to reach {} by TCP but not by UDP: is UDP blocked?", probe.target
            );
            self.awareness.improve();
            self.note_lost_datagram(now);
            return;
        }
        let asleep = self.lag.was_asleep(probe.started);
        if asleep && self.probing.undecided < UNDECIDED_MAX {
            // The machine is too busy for this node, and probably for the target as well if it runs there.
            log::warn!(target: "memberlist", "Too late to judge the probe of {}: giving it up", probe.target);
            self.probing.undecided += 1;
            self.awareness.degrade(1);
            return;
        }
        self.probing.undecided = 0;
        let nacks = u32::try_from(probe.nacks_from.len()).unwrap_or(u32::MAX);
        self.awareness.degrade(match probe.nacks_expected {
            0 => 1,
            expected => expected.saturating_sub(nacks),
        });
        log::warn!(
            target: "memberlist",
            "Suspect {} has failed, no acks received", probe.target
        );
        let from = Some(self.local().name.clone());
        self.handle_suspect(
            Suspect {
                incarnation: probe.incarnation,
                node: probe.target,
                from,
            },
            now,
        );
    }
}
