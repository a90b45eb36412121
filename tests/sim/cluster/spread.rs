//! Gossip of user events and queries by nodes that simulate the reference (gossip spec 4.11): only at ticks,
//! messages with the fewest transmissions first, then the newest, each a limited number of times to a few
//! random members, even if these have it already.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use cottar::serf::{LamportTime, Transmit};
use cottar::swim::{NodeState, retransmit_limit};
use cottar::wire::Message;
use cottar::wire::serf::{SerfMessage, UserEventMessage};

use super::{Happening, NodeId, Sim};

/// Overhead of a message in a packet, in bytes.
const OVERHEAD_BYTES: usize = 3;

/// The queue of messages that are sent at ticks.
#[derive(Default)]
pub(super) struct Spread {
    /// The messages in the order of their arrival, with the number of transmissions.
    queue: Vec<(Vec<u8>, u32)>,
    /// All messages of this life.
    known: BTreeSet<Vec<u8>>,
    /// A tick is scheduled.
    is_armed: bool,
}

impl Spread {
    /// Queues a message that the core sends, unless it is known.
    pub(super) fn add(&mut self, message: Vec<u8>) {
        if self.known.insert(message.clone()) {
            self.queue.push((message, 0));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// The content of the packet to one member.
    pub(super) fn packet(&mut self, budget: usize, limit: u32) -> Vec<Vec<u8>> {
        let mut order: Vec<usize> = (0..self.queue.len()).collect();
        order.sort_by_key(|&at| (self.queue[at].1, Reverse(at)));
        let (mut packet, mut space) = (Vec::new(), budget);
        for at in order {
            let (message, sent) = &mut self.queue[at];
            let cost = message.len() + OVERHEAD_BYTES;
            if cost <= space {
                space -= cost;
                *sent += 1;
                packet.push(Message::User(message.clone()).encode());
            }
        }
        self.queue.retain(|(_, sent)| *sent < limit);
        packet
    }
}

impl Sim {
    /// Queues a message that the node itself has sent, because its core does not send it without members.
    pub(super) fn spread_fired(
        &mut self,
        id: NodeId,
        ltime: LamportTime,
        name: &[u8],
        payload: &[u8],
    ) {
        if !self.is_reference(id) {
            return;
        }
        let message = SerfMessage::UserEvent(UserEventMessage {
            ltime,
            name: name.to_vec(),
            payload: Some(payload.to_vec()),
            coalesce: false,
        });
        if let Some(twisted) = self.twisted.get_mut(&id) {
            twisted.spread.add(message.encode());
        }
        self.arm_tick(id);
    }

    /// Schedules the next tick of a node with queued messages.
    pub(super) fn arm_tick(&mut self, id: NodeId) {
        let Some(twisted) = self.twisted.get_mut(&id) else {
            return;
        };
        let spread = &mut twisted.spread;
        if spread.queue.is_empty() || std::mem::replace(&mut spread.is_armed, true) {
            return;
        }
        let node = &self.nodes[id];
        let interval = node.spec.config.swim.gossip_interval.as_nanos().max(1);
        let since = self.now.since(node.started_at).as_nanos();
        let ticks = u32::try_from(since / interval + 1).unwrap();
        let at = node.started_at + node.spec.config.swim.gossip_interval * ticks;
        let life = node.life;
        self.schedule(at, 0, Happening::Tick { node: id, life });
    }

    pub(super) fn tick(&mut self, id: NodeId, life: u32) {
        let node = &self.nodes[id];
        let (Some(serf), true) = (&node.serf, node.life == life) else {
            return;
        };
        let own = &node.spec.config.name;
        let others = serf.swim().nodes().filter(|other| other.name != *own);
        let live = |state| matches!(state, NodeState::Alive | NodeState::Suspect);
        let mut targets: Vec<SocketAddr> = others
            .filter(|other| live(other.state))
            .map(|other| other.addr)
            .collect();
        let swim = &node.spec.config.swim;
        let limit = retransmit_limit(swim.retransmit_multiplier, serf.members().count());
        self.rng.shuffle(&mut targets);
        targets.truncate(if node.paused { 0 } else { swim.gossip_nodes });
        for to in targets {
            let Some(twisted) = self.twisted.get_mut(&id) else {
                return;
            };
            let budget = twisted.packet_budget_bytes();
            let packet = twisted.spread.packet(budget, limit);
            if packet.is_empty() {
                break;
            }
            let bytes = twisted.seal(&packet);
            let transmit = Transmit::Datagram { to, bytes };
            self.print(id, &transmit);
            if let (Transmit::Datagram { bytes, .. }, Some(&host)) =
                (transmit, self.by_addr.get(&to))
            {
                self.carry(id, host, bytes);
            }
        }
        if let Some(twisted) = self.twisted.get_mut(&id) {
            twisted.spread.is_armed = false;
        }
        self.arm_tick(id);
    }
}
