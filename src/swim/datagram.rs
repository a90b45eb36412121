//! Receives and sends datagrams, and answers pings (gossip spec 2.3, 3.4, 4.11).

use std::net::SocketAddr;

use super::broadcast::{Packing, Selection};
use super::gossip::{MESSAGE_OVERHEAD_BYTES, as_user_message};
use super::table::NodeId;
use super::{NodeState, Output, Sample, Swim, Transmit};
use crate::time::{Duration, Instant};
use crate::wire::limits::COMPOUND_PARTS_SENT_MAX;
use crate::wire::{Ack, Dead, DecodeError, Label, Message, NodeName, Ping, Suspect};

/// Minimum time between warnings about foreign labels, for all senders together.
const LABEL_WARNING_INTERVAL: Duration = Duration::from_secs(60);

impl Swim {
    pub(super) fn receive_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        self.counters.datagrams_in += 1;
        if self.refuse_sender("datagram", from) {
            return;
        }
        self.forget_senders();
        let incarnation = self.local().incarnation;
        match self.envelope.open_datagram(bytes) {
            Ok(packet) => {
                for message in packet.messages {
                    match message {
                        Ok(message) => self.handle_message(from, message, now),
                        Err(error) => self.drop_input("message", from, &error, now),
                    }
                }
            }
            Err(error) => self.drop_input("datagram", from, &error, now),
        }
        if self.local().incarnation != incarnation {
            self.answer_claim(from, now);
        }
    }

    /// Sends this node's refutation to the member that made or passed on the claim. Gossip reaches it too, but
    /// not soon where most members do not exist or are down.
    fn answer_claim(&mut self, from: SocketAddr, now: Instant) {
        if let Some(id) = self.table.find_at(None, from) {
            let alive = self.own_alive();
            self.send_with_piggyback(from, &alive, Some(id), now);
        }
    }

    /// Counts and logs unreadable input. Undecryptable input hints at a configuration error that an operator
    /// must see, but anybody can send any amount of it. So only each power of two of its count is logged as a
    /// warning, and everything else at debug level.
    pub(super) fn drop_input(
        &mut self,
        what: &str,
        from: SocketAddr,
        error: &DecodeError,
        now: Instant,
    ) {
        match error {
            DecodeError::OtherLabel(label) => {
                self.counters.dropped_mislabelled += 1;
                if now >= self.next_label_warning {
                    self.next_label_warning = now + LABEL_WARNING_INTERVAL;
                    return self.warn_of_label(from, label);
                }
            }
            DecodeError::NotEncrypted | DecodeError::NoKeyring | DecodeError::Decryption => {
                self.counters.dropped_undecryptable += 1;
                let count = self.counters.dropped_undecryptable;
                if count.is_power_of_two() {
                    log::warn!(
                        target: "memberlist",
                        "Dropping a {what} from {from}: {error} ({count} such so far)"
                    );
                    return;
                }
            }
            _ => self.counters.dropped_malformed += 1,
        }
        log::debug!(target: "memberlist", "Dropping a {what} from {from}: {error}");
    }

    /// Warns that another cluster is reachable, or that one cluster is changing its label.
    fn warn_of_label(&self, from: SocketAddr, found: &Label) {
        let named = |label: &Label, with: &str, without: &str| match label.is_empty() {
            true => without.to_owned(),
            false => format!("{with} {label}"),
        };
        let found = named(found, "the label", "no label");
        let ours = named(
            &self.envelope.label,
            "this cluster's is",
            "this cluster has none",
        );
        let count = self.counters.dropped_mislabelled;
        log::warn!(target: "memberlist", "Gossip from {from} has {found}, {ours} ({count} such so far)");
    }

    fn handle_message(&mut self, from: SocketAddr, message: Message, now: Instant) {
        log::trace!(target: "memberlist", "From {from}: {message:?}");
        match message {
            Message::Ping(ping) => self.handle_ping(from, &ping, now),
            Message::IndirectPing(request) => self.handle_indirect_ping(from, &request, now),
            Message::Ack(ack) => self.handle_ack(ack, now),
            Message::Nack(nack) => self.handle_nack(from, nack.seq_no),
            Message::Suspect(suspect) => self.handle_suspect(suspect, now),
            Message::Alive(alive) => self.handle_alive(alive, now),
            Message::Dead(dead) => self.handle_dead(dead, now),
            Message::User(bytes) => {
                self.samples.push(Sample::MessageIn(bytes.len()));
                self.note_sender(from, &bytes, now);
                let from = Some(from);
                self.outputs.push_back(Output::UserMessage { bytes, from });
            }
        }
    }

    fn handle_ping(&mut self, from: SocketAddr, ping: &Ping, now: Instant) {
        if ping
            .node
            .as_ref()
            .is_some_and(|node| *node != self.local().name)
        {
            log::debug!(target: "memberlist", "Ping from {from} is for another node");
            return;
        }
        let Some(to) = self.answer_address(ping.source, ping.source_node.as_ref(), from, now)
        else {
            return;
        };
        let ack = Message::Ack(Ack {
            seq_no: ping.seq_no,
            payload: match ping.extension[..] {
                [] => self.ack_payload.clone(),
                _ => self.extended_ack_payload.clone(),
            },
        });
        let target = self.table.find_at(ping.source_node.as_ref(), to);
        self.send_with_piggyback(to, &ack, target, now);
        self.note_ping_extension(from, ping);
    }

    /// Returns the address to answer to. A sender may state an address other than its source; replies to
    /// addresses of non-members are rate-limited, so that nobody can direct a flood at a third party (8.6).
    pub(super) fn answer_address(
        &mut self,
        stated: Option<SocketAddr>,
        name: Option<&NodeName>,
        from: SocketAddr,
        now: Instant,
    ) -> Option<SocketAddr> {
        let Some(stated) = stated else {
            return Some(from);
        };
        let same_host = stated.ip().to_canonical() == from.ip().to_canonical();
        if same_host || self.is_member_at(name, stated) || self.strangers.take(now) {
            return Some(stated);
        }
        self.counters.dropped_refused += 1;
        log::debug!(target: "memberlist", "Not answering {from}: it asks for a reply to {stated}, which is not a member");
        None
    }

    /// Whether the member with that name has that address.
    pub(super) fn is_member_at(&self, name: Option<&NodeName>, addr: SocketAddr) -> bool {
        name.and_then(|name| self.table.find(name))
            .is_some_and(|id| self.table.record(id).node.addr == addr)
    }

    /// Returns the next sequence number; never 0, which means a missing number.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        self.sequence
    }

    /// Sends a message and fills the datagram with broadcasts queued for the target. A target that is not held
    /// alive is told so first: it may refute that.
    pub(super) fn send_with_piggyback(
        &mut self,
        to: SocketAddr,
        message: &Message,
        target: Option<NodeId>,
        now: Instant,
    ) {
        // Checked before packing, so that no broadcast counts as transmitted.
        if self.refuse_receiver(to) {
            return;
        }
        let budget = self.envelope.packet_budget_bytes();
        let mut packing = Packing::new(budget, COMPOUND_PARTS_SENT_MAX);
        packing.push(message.encode().into(), 0);
        if let Some(doubt) = target.and_then(|id| self.doubt(id)) {
            packing.push(doubt.encode().into(), MESSAGE_OVERHEAD_BYTES);
        }
        let selection = match target {
            Some(id) => self.selection(id, now),
            // Non-members get no broadcasts that are addressed to members.
            None => Selection {
                order_min: u64::MAX,
                ..Selection::ANY
            },
        };
        self.pack(&mut packing, selection, true);
        self.send_datagram(to, &packing.messages, false);
    }

    /// Returns the claim about a member that is not held alive.
    pub(super) fn doubt(&self, id: NodeId) -> Option<Message> {
        let subject = &self.table.record(id).node;
        let (incarnation, node) = (subject.incarnation, subject.name.clone());
        let from = match subject.state {
            NodeState::Alive => return None,
            NodeState::Suspect => {
                return Some(Message::Suspect(Suspect {
                    incarnation,
                    node,
                    from: Some(self.local().name.clone()),
                }));
            }
            NodeState::Dead => self.local().name.clone(),
            NodeState::Left => node.clone(),
        };
        Some(Message::Dead(Dead {
            incarnation,
            node,
            from: Some(from),
        }))
    }

    /// Sends user messages in order, filling each datagram before it starts the next.
    pub(super) fn send_packed(&mut self, to: SocketAddr, messages: &[Vec<u8>]) {
        let budget = self.envelope.packet_budget_bytes();
        let (mut packet, mut space) = (Vec::new(), budget);
        for message in messages {
            let message = as_user_message(message);
            let cost = message.len() + MESSAGE_OVERHEAD_BYTES;
            if (cost > space || packet.len() >= COMPOUND_PARTS_SENT_MAX) && !packet.is_empty() {
                self.send_datagram(to, &std::mem::take(&mut packet), false);
                space = budget;
            }
            space = space.saturating_sub(cost);
            packet.push(message);
        }
        if !packet.is_empty() {
            self.send_datagram(to, &packet, false);
        }
    }

    /// Sends messages in one datagram.
    pub(super) fn send_datagram<M: AsRef<[u8]>>(
        &mut self,
        to: SocketAddr,
        messages: &[M],
        checksum: bool,
    ) {
        if self.refuse_receiver(to) {
            return;
        }
        let bytes = self.envelope.seal_datagram(messages, checksum);
        self.counters.datagrams_out += 1;
        self.outputs
            .push_back(Output::Transmit(Transmit::Datagram { to, bytes }));
    }
}
