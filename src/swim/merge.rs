//! Rules for accepting claims about nodes (gossip spec 4.8), with the checks of 8.6 and 8.7. The order of the
//! rules is part of the protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use super::announce::is_leave;
use super::broadcast::Ticket;
use super::suspicion::Suspicion;
use super::table::{NodeId, Record};
use super::{Announcement, Node, NodeState, Output, Swim};
use crate::time::Instant;
use crate::wire::{Alive, Dead, Message, NodeName, Suspect, VersionVector};

/// First protocol version whose messages carry a port (4.9).
const PROTOCOL_WITH_PORT: u8 = 2;

impl Swim {
    /// Handles an alive message (4.8.1).
    pub(super) fn handle_alive(&mut self, mut alive: Alive, now: Instant) {
        let about_self = alive.node == self.table.local().name;
        if about_self && self.announcements.leaving() {
            return;
        }
        if self.refuse_subject(&alive.node, alive.addr) {
            return;
        }
        if let Err(reason) = self.check_alive(&mut alive) {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Refusing an alive message about {}: {reason}", alive.node);
            return;
        }
        let Some(id) = self.table.find(&alive.node) else {
            return self.add_node(alive, now);
        };
        let record = self.table.record(id);
        let moved = record.node.addr != alive.addr;
        if moved && !self.may_move(record, now) {
            return self.report_conflict(id, alive.addr);
        }
        let recorded = record.node.incarnation;
        if !about_self && alive.incarnation <= recorded && !moved {
            return;
        }
        if about_self && alive.incarnation < recorded {
            return;
        }
        self.suspicions.end(id);
        if about_self {
            if !self.is_own_announcement(&alive) {
                log::warn!(target: "memberlist", "Refuting an alive message about this node");
                self.refute(alive.incarnation, now);
            }
            return;
        }
        self.take_over(id, alive, now);
    }

    /// Checks an alive message independent of its subject. Fills in a missing port.
    fn check_alive(&self, alive: &mut Alive) -> Result<(), &'static str> {
        if alive.incarnation == 0 {
            return Err("incarnation 0");
        }
        if !compatible(self.table.local().versions, alive.versions) {
            return Err("protocol versions that exclude ours");
        }
        if alive.addr.port() == 0 {
            if alive.versions.protocol_current >= PROTOCOL_WITH_PORT {
                return Err("no port");
            }
            alive.addr.set_port(self.table.local().addr.port());
        }
        check_address(alive.addr, self.table.local().addr)
    }

    /// Adds an unknown node. The dead record with incarnation 0 of 4.8.1 rule 4 is not needed: it would
    /// become alive within the same message. The record starts as left instead, so that the node counts as a
    /// new member and not as one that returns.
    fn add_node(&mut self, alive: Alive, now: Instant) {
        if self.table.len() >= self.config.nodes_max {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Refusing node {}: the table is full", alive.node);
            return;
        }
        let node = Node {
            announced: self.announcement(&alive),
            incarnation: 0,
            state: NodeState::Left,
        };
        let id = self.table.insert(Record::new(node, now), &mut self.rng);
        self.take_over(id, alive, now);
    }

    /// Whether a node may change its address (4.8.1 rule 5).
    fn may_move(&self, record: &Record, now: Instant) -> bool {
        let reclaim = self.config.dead_node_reclaim_time;
        match record.node.state {
            NodeState::Left => true,
            NodeState::Dead => !reclaim.is_zero() && now.since(record.changed) > reclaim,
            NodeState::Alive | NodeState::Suspect => false,
        }
    }

    fn report_conflict(&mut self, id: NodeId, other: SocketAddr) {
        let existing = self.table.record(id).node.clone();
        log::debug!(
            target: "memberlist",
            "Conflicting address for {}: ours {}, theirs {other}", existing.name, existing.addr
        );
        let encounter = self.encounter;
        self.outputs.push_back(Output::Conflict {
            existing,
            other,
            encounter,
        });
    }

    /// Whether an alive message about this node equals its own announcement.
    fn is_own_announcement(&self, alive: &Alive) -> bool {
        let local = self.table.local();
        alive.incarnation == local.incarnation
            && *meta_of(alive) == *local.meta
            && alive.versions == local.versions
    }

    /// Applies an accepted alive message (4.8.1 rules 10 and 11).
    fn take_over(&mut self, id: NodeId, alive: Alive, now: Instant) {
        self.counters.alive_accepted += 1;
        let node = &self.table.record(id).node;
        let (was, updated) = (node.state, *node.meta != *meta_of(&alive));
        if updated || (node.addr, node.versions) != (alive.addr, alive.versions) {
            self.table.record_mut(id).node.announced = self.announcement(&alive);
        }
        let node = &mut self.table.record_mut(id).node;
        node.incarnation = alive.incarnation;
        match was {
            NodeState::Left => self.note_new_member(id),
            NodeState::Dead => self.note_return(id, now),
            NodeState::Alive | NodeState::Suspect => {}
        }
        if was != NodeState::Alive {
            self.table.set_state(id, NodeState::Alive, now);
        }
        if !self.is_known_to_all {
            let subject = alive.node.clone();
            self.queue_membership(subject, &Message::Alive(alive), None, now);
        }
        let node = &self.table.record(id).node;
        match was {
            NodeState::Dead | NodeState::Left => {
                self.outputs.push_back(Output::Joined(node.clone()))
            }
            _ if updated => self.outputs.push_back(Output::Updated(node.clone())),
            _ => {}
        }
    }

    fn announcement(&mut self, alive: &Alive) -> Arc<Announcement> {
        Arc::new(Announcement {
            name: alive.node.clone(),
            addr: alive.addr,
            meta: self.shared_metas.share(alive.meta.as_ref()),
            versions: alive.versions,
        })
    }

    /// Handles a suspect message (4.8.2).
    pub(super) fn handle_suspect(&mut self, suspect: Suspect, now: Instant) {
        let Some(id) = self.table.find(&suspect.node) else {
            return;
        };
        let node = &self.table.record(id).node;
        if suspect.incarnation < node.incarnation {
            return;
        }
        match node.state {
            NodeState::Alive => {}
            NodeState::Suspect => {
                if self.suspicions.confirm(id, &suspect.from) {
                    let subject = suspect.node.clone();
                    self.queue_membership(subject, &Message::Suspect(suspect), None, now);
                }
                return;
            }
            NodeState::Dead | NodeState::Left => return,
        }
        if id == NodeId::LOCAL {
            log::warn!(target: "memberlist", "Refuting a suspect message (from: {})", Accuser(&suspect.from));
            self.refute(suspect.incarnation, now);
            return;
        }
        self.start_suspicion(id, suspect, now);
    }

    fn start_suspicion(&mut self, id: NodeId, suspect: Suspect, now: Instant) {
        self.counters.suspect_accepted += 1;
        let suspicion = Suspicion::new(
            suspect.from.clone(),
            self.table.len(),
            (
                self.config.suspicion_multiplier,
                self.config.suspicion_max_multiplier,
            ),
            self.config.probe_interval,
            now,
        );
        self.suspicions.start(id, suspicion);
        self.table.set_state(id, NodeState::Suspect, now);
        self.table.record_mut(id).node.incarnation = suspect.incarnation;
        let subject = suspect.node.clone();
        self.queue_membership(subject, &Message::Suspect(suspect), None, now);
    }

    /// Handles a dead message (4.8.3).
    pub(super) fn handle_dead(&mut self, dead: Dead, now: Instant) {
        let Some(id) = self.table.find(&dead.node) else {
            return;
        };
        if dead.incarnation < self.table.record(id).node.incarnation {
            return;
        }
        // The change of state below also ends a suspicion, since only suspects have one.
        if !super::table::is_live(self.table.record(id).node.state) {
            return;
        }
        if id == NodeId::LOCAL && !self.announcements.leaving() {
            log::warn!(target: "memberlist", "Refuting a dead message (from: {})", Accuser(&dead.from));
            self.refute(dead.incarnation, now);
            return;
        }
        self.counters.dead_accepted += 1;
        self.suspicions.end(id);
        let state = if is_leave(&dead) {
            NodeState::Left
        } else {
            NodeState::Dead
        };
        self.table.record_mut(id).node.incarnation = dead.incarnation;
        self.table.set_state(id, state, now);
        let ticket = (id == NodeId::LOCAL).then_some(Ticket::Leave);
        let subject = dead.node.clone();
        self.queue_membership(subject, &Message::Dead(dead), ticket, now);
        let node = self.table.record(id).node.clone();
        self.outputs.push_back(Output::Gone(node));
    }

    /// Declares nodes dead whose suspicion has timed out.
    pub(super) fn expire_suspicions(&mut self, now: Instant) {
        while let Some((deadline, id)) = self.suspicions.first() {
            if deadline > now {
                break;
            }
            let record = self.table.record(id);
            let suspicion = self.suspicions.get(id);
            let confirmations = suspicion.map_or(0, Suspicion::confirmations);
            if suspicion.is_some_and(|s| !s.is_confirmed()) {
                self.counters.degraded_timeouts += 1;
            }
            log::info!(
                target: "memberlist",
                "Marking {} as failed, suspect timeout reached ({confirmations} peer confirmations)",
                record.node.name
            );
            let dead = Dead {
                incarnation: record.node.incarnation,
                node: record.node.name.clone(),
                from: Some(self.table.local().name.clone()),
            };
            self.handle_dead(dead, now);
            debug_assert_ne!(self.suspicions.first(), Some((deadline, id)));
        }
    }

    /// Refutes a claim about this node with a higher incarnation (4.8.5).
    fn refute(&mut self, claimed: u32, now: Instant) {
        let node = &mut self.table.record_mut(NodeId::LOCAL).node;
        let highest = node.incarnation.max(claimed);
        if highest == u32::MAX && node.incarnation < highest {
            log::error!(
                target: "memberlist",
                "Cannot refute a claim about this node with the highest incarnation: \
                 restart it under another name"
            );
        }
        node.incarnation = highest.saturating_add(1);
        self.awareness.degrade(1);
        self.announce(None, now);
    }
}

/// Returns the meta in an alive message; empty if it is nil.
fn meta_of(alive: &Alive) -> &[u8] {
    alive.meta.as_deref().unwrap_or_default()
}

/// Whether two nodes support each other's versions on both layers (4.10 step A, for a pair).
pub(super) fn compatible(ours: VersionVector, theirs: VersionVector) -> bool {
    let speaks = |speaker: VersionVector, listener: VersionVector| {
        (listener.protocol_min..=listener.protocol_max).contains(&speaker.protocol_current)
            && (listener.delegate_min..=listener.delegate_max).contains(&speaker.delegate_current)
    };
    speaks(ours, theirs) && speaks(theirs, ours)
}

/// Refuses addresses that no node can have (8.6).
fn check_address(addr: SocketAddr, own: SocketAddr) -> Result<(), &'static str> {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, std::net::IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || broadcast {
        return Err("an address that cannot be contacted");
    }
    if ip.is_loopback() && !own.ip().to_canonical().is_loopback() {
        return Err("a loopback address");
    }
    Ok(())
}

/// An optional name, printable for the log.
struct Accuser<'a>(&'a Option<NodeName>);

impl std::fmt::Display for Accuser<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(name) => name.fmt(f),
            None => f.write_str("nobody"),
        }
    }
}
