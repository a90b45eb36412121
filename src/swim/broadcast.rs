//! The queue of messages to be gossiped a bounded number of times (gossip spec 4.11).

use std::cmp::Reverse;
use std::sync::Arc;

use super::BroadcastId;
use crate::ordered::OrderedMap;
use crate::wire::NodeName;

/// The smallest k with 10^k >= n + 1: the number of decimal digits of n, none for 0.
pub fn decimal_digits(n: usize) -> u32 {
    n.checked_ilog10().map_or(0, |k| k + 1)
}

/// How often a message is sent among so many nodes: `multiplier * ceil(log10(nodes + 1))`.
pub fn retransmit_limit(multiplier: u32, nodes: usize) -> u32 {
    multiplier.saturating_mul(decimal_digits(nodes))
}

/// Who waits for the end of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// The layer above.
    User(BroadcastId),
    /// The farewell of a leave.
    Leave,
    /// An update of the own meta, by number.
    Meta(u64),
}

/// The order of the queue: fewest transmissions, then longest, then newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    transmissions: u32,
    bytes: Reverse<usize>,
    number: Reverse<u64>,
}

#[derive(Clone, Debug)]
struct Entry {
    message: Arc<[u8]>,
    key: Option<NodeName>,
    ticket: Option<Ticket>,
    /// Its place among all broadcasts for the members of their time; `None`: it is for everybody.
    order: Option<u64>,
    /// One bit for each node (of a small cluster) that is to get this message.
    members: u64,
    /// The bits of those that have it for sure: it came from them.
    known_by: u64,
    /// One bit for each node (of a small cluster) that was sent this message.
    sent_to: u64,
    /// At some time it had been sent to every node that lived.
    told_all: bool,
    /// Of the last packet; see [`Selection::batch`].
    batch: u64,
}

impl Entry {
    fn new(message: Arc<[u8]>, key: Option<NodeName>, ticket: Option<Ticket>) -> Self {
        Entry {
            message,
            key,
            ticket,
            order: None,
            members: u64::MAX,
            known_by: 0,
            sent_to: 0,
            told_all: false,
            batch: 0,
        }
    }

    /// The bits of those among the given nodes that are to get the message and may lack it.
    const fn wanting(&self, nodes: u64) -> u64 {
        nodes & self.members & !self.known_by
    }
}

/// An entry that is through.
#[derive(Debug)]
pub struct Ended(Entry);

/// A broadcast for those that are members when it is queued ([`super::Audience::Present`]).
#[derive(Clone, Debug)]
pub struct ForPresent {
    /// Its number; grows with each such broadcast and with each node that joins.
    pub order: u64,
    /// The bits of the members; 0 if the cluster has too many.
    pub members: u64,
    /// The bits of those that sent it to this node.
    pub known_by: u64,
}

/// Which entries a packet may take.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// The destination's bit; 0 if it has none. An entry goes to every other peer first before it
    /// goes to one for the second time.
    pub target_bit: u64,
    /// The bits of all peers that live: the dead do not pass on what the living lack.
    pub live_bits: u64,
    /// Of the broadcasts for the members of their time, only those with this number or a later one:
    /// the destination was no member before.
    pub order_min: u64,
    /// Only entries with fewer transmissions than this.
    pub transmissions_below: u32,
    /// The same for membership messages and the first priority, where a packet is filled from several queues.
    pub members_below: u32,
    /// Packets with one number go to one node at one time: no entry is taken for two of them. 0: a
    /// packet of its own.
    pub batch: u64,
}

impl Selection {
    /// Whatever is there, to nobody in particular.
    pub const ANY: Selection = Selection {
        target_bit: 0,
        live_bits: 0,
        order_min: 0,
        transmissions_below: u32::MAX,
        members_below: u32::MAX,
        batch: 0,
    };

    fn admits(&self, entry: &Entry) -> bool {
        if self.batch != 0 && entry.batch == self.batch {
            return false;
        }
        if entry.order.is_some_and(|order| order < self.order_min)
            || entry.known_by & self.target_bit != 0
        {
            return false;
        }
        let wanting = entry.wanting(self.live_bits);
        entry.sent_to & self.target_bit == 0 || entry.sent_to & wanting == wanting
    }
}

/// A packet in the making.
#[derive(Debug)]
pub struct Packing {
    /// Bytes left.
    pub space: usize,
    /// Messages that may still be added.
    pub parts_left: usize,
    /// The messages taken.
    pub messages: Vec<Arc<[u8]>>,
    /// Tickets of entries that are through.
    pub finished: Vec<Ticket>,
}

impl Packing {
    /// An empty packet.
    pub fn new(space: usize, parts_left: usize) -> Self {
        Packing {
            space,
            parts_left,
            messages: Vec::new(),
            finished: Vec::new(),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct BroadcastQueue {
    entries: OrderedMap<Rank, Entry>,
    by_key: OrderedMap<NodeName, Rank>,
    /// The entries for the members of their time, by content: their copies arrive, too.
    by_content: OrderedMap<Arc<[u8]>, Rank>,
    next_number: u64,
    bytes: usize,
    /// An entry is through when every live node was sent it, if its number of transmissions does not
    /// end it before.
    once_to_each: bool,
}

impl BroadcastQueue {
    /// An empty queue.
    pub fn new() -> Self {
        BroadcastQueue::default()
    }

    /// An empty queue that sends nobody an entry twice, as far as the cluster is small enough to know.
    pub fn once_to_each() -> Self {
        BroadcastQueue {
            once_to_each: true,
            ..BroadcastQueue::default()
        }
    }

    /// Messages waiting.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes waiting, without any overhead.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Transmissions of the entry that is next.
    pub fn fewest_transmissions(&self) -> Option<u32> {
        self.entries
            .first_key_value()
            .map(|(rank, _)| rank.transmissions)
    }

    /// Adds a message. One with the same key is replaced; its ticket comes back, for it is through.
    pub fn push(
        &mut self,
        key: Option<NodeName>,
        message: Arc<[u8]>,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        let replaced = key.as_ref().and_then(|key| self.take(key));
        self.append(Entry::new(message, key, ticket));
        replaced.and_then(|entry| entry.ticket)
    }

    /// Adds a message for the members of this time.
    pub fn push_for_present(
        &mut self,
        message: Arc<[u8]>,
        ticket: Option<Ticket>,
        present: &ForPresent,
    ) {
        self.append(Entry {
            order: Some(present.order),
            members: match present.members {
                0 => u64::MAX,
                members => members,
            },
            known_by: present.known_by,
            ..Entry::new(message, None, ticket)
        });
    }

    /// A copy of a message came from the node with the given bit, so it needs none. Ends the entry
    /// if none of the given nodes needs one any more, and returns its ticket.
    pub fn note_copy(&mut self, message: &[u8], from_bit: u64, nodes: u64) -> Option<Ticket> {
        let rank = self.by_content.get(message).copied()?;
        let entry = self.entries.get_mut(&rank)?;
        entry.known_by |= from_bit;
        if nodes == 0 || entry.wanting(nodes) != 0 {
            return None;
        }
        self.remove(rank)?.ticket
    }

    /// A node's bit stands for another node from now on, or for one that was away: it gets nothing of
    /// what is for the members of an earlier time.
    pub fn forget_bit(&mut self, bit: u64) {
        if bit == 0 {
            return;
        }
        self.entries.for_each_mut(|_, entry| {
            entry.sent_to &= !bit;
            entry.known_by &= !bit;
            if entry.order.is_some() {
                entry.members &= !bit;
            }
        });
    }

    /// Drops what is for the members of an earlier time of whom none is left: entries with a number
    /// below `order_min`, and those that none of the given nodes needs. Adds their tickets to
    /// `finished`.
    pub fn drop_needless(&mut self, order_min: u64, nodes: u64, finished: &mut Vec<Ticket>) {
        let needless = |(_, entry): &(&Rank, &Entry)| {
            entry
                .order
                .is_some_and(|order| order < order_min || nodes != 0 && entry.wanting(nodes) == 0)
        };
        let needless = self.entries.iter().filter(needless);
        let ranks: Vec<Rank> = needless.map(|(rank, _)| *rank).collect();
        for rank in ranks {
            finished.extend(self.remove(rank).and_then(|entry| entry.ticket));
        }
    }

    /// Goes on with what another queue is through with, unless all have it already. What this queue has
    /// under the same key is older.
    pub fn push_ended(&mut self, Ended(entry): Ended) {
        self.forget(entry.key.as_ref());
        if !entry.told_all {
            self.append(entry);
        }
    }

    /// Drops what is queued under a key.
    pub fn forget(&mut self, key: Option<&NodeName>) {
        key.and_then(|key| self.take(key));
    }

    fn take(&mut self, key: &NodeName) -> Option<Entry> {
        let rank = self.by_key.get(key).copied()?;
        self.remove(rank)
    }

    fn append(&mut self, entry: Entry) {
        let rank = Rank {
            transmissions: 0,
            bytes: Reverse(entry.message.len()),
            number: Reverse(self.next_number),
        };
        self.next_number += 1;
        self.insert(rank, entry);
    }

    fn insert(&mut self, rank: Rank, entry: Entry) {
        if let Some(key) = &entry.key {
            self.by_key.insert(key.clone(), rank);
        }
        if entry.order.is_some() {
            self.by_content.insert(entry.message.clone(), rank);
        }
        self.bytes += entry.message.len();
        self.entries.insert(rank, entry);
    }

    fn remove(&mut self, rank: Rank) -> Option<Entry> {
        let entry = self.entries.remove(&rank)?;
        self.forget_place(rank, &entry);
        Some(entry)
    }

    /// An entry that was at `rank` is in the queue no more.
    fn forget_place(&mut self, rank: Rank, entry: &Entry) {
        if let Some(key) = &entry.key {
            self.by_key.remove(key);
        }
        if self.by_content.get(&*entry.message) == Some(&rank) {
            self.by_content.remove(&*entry.message);
        }
        self.bytes -= entry.message.len();
    }

    /// Puts an entry that was at `from` to another place.
    fn put_back(&mut self, from: Rank, to: Rank, entry: Entry) {
        if let Some(rank) = entry.key.as_ref().and_then(|key| self.by_key.get_mut(key)) {
            *rank = to;
        }
        let by_content = match entry.order {
            Some(_) => self.by_content.get_mut(&*entry.message),
            None => None,
        };
        if let Some(rank) = by_content.filter(|rank| **rank == from) {
            *rank = to;
        }
        self.entries.insert(to, entry);
    }

    /// Fills a packet: counts of transmissions in ascending order, and within one repeatedly the
    /// first entry that still fits. Each message costs `overhead` bytes more than its length. Returns
    /// the entries that are through.
    pub fn fill(
        &mut self,
        packing: &mut Packing,
        overhead: usize,
        limit: u32,
        wanted: Selection,
    ) -> Vec<Ended> {
        let mut ended = Vec::new();
        for rank in self.select(packing, overhead, wanted) {
            if let Some(entry) = self.count_transmission(rank, limit, wanted) {
                packing.finished.extend(entry.ticket);
                ended.push(Ended(Entry {
                    ticket: None,
                    ..entry
                }));
            }
        }
        ended
    }

    /// Takes messages into the packet and says from where; nothing moves yet, so that no entry gets
    /// into one packet twice.
    fn select(&self, packing: &mut Packing, overhead: usize, wanted: Selection) -> Vec<Rank> {
        let mut taken = Vec::new();
        let mut from = Rank {
            transmissions: 0,
            bytes: Reverse(usize::MAX),
            number: Reverse(u64::MAX),
        };
        'seek: loop {
            for (&rank, entry) in self.entries.range_from(&from) {
                if packing.parts_left == 0
                    || packing.space <= overhead
                    || rank.transmissions >= wanted.transmissions_below
                {
                    return taken;
                }
                let longest = packing.space - overhead;
                if entry.message.len() > longest {
                    // Jump to the first entry of this count that is short enough.
                    from = Rank {
                        transmissions: rank.transmissions,
                        bytes: Reverse(longest),
                        number: Reverse(u64::MAX),
                    };
                    continue 'seek;
                }
                if wanted.admits(entry) {
                    packing.messages.push(entry.message.clone());
                    packing.space = longest - entry.message.len();
                    packing.parts_left -= 1;
                    taken.push(rank);
                }
            }
            return taken;
        }
    }

    /// The entry comes back if it is through.
    fn count_transmission(&mut self, rank: Rank, limit: u32, wanted: Selection) -> Option<Entry> {
        let Some(mut entry) = self.entries.remove(&rank) else {
            debug_assert!(false, "a selected entry is in the queue");
            return None;
        };
        if entry.sent_to & wanted.target_bit != 0 {
            entry.sent_to = 0;
        }
        entry.sent_to |= wanted.target_bit;
        let wanting = entry.wanting(wanted.live_bits);
        entry.told_all |= wanted.live_bits != 0 && entry.sent_to & wanting == wanting;
        entry.batch = wanted.batch;
        let transmissions = rank.transmissions.saturating_add(1);
        if transmissions >= limit || self.once_to_each && entry.told_all {
            self.forget_place(rank, &entry);
            return Some(entry);
        }
        let next = Rank {
            transmissions,
            ..rank
        };
        self.put_back(rank, next, entry);
        None
    }

    /// Drops entries from the end of the order until `messages_max` are left; returns how many, and
    /// how many of these were never sent. Adds their tickets to `finished`.
    pub fn prune(&mut self, messages_max: usize, finished: &mut Vec<Ticket>) -> (usize, usize) {
        let (mut dropped, mut unsent) = (0, 0);
        while self.entries.len() > messages_max {
            let Some((&rank, _)) = self.entries.last_key_value() else {
                break;
            };
            finished.extend(self.remove(rank).and_then(|entry| entry.ticket));
            dropped += 1;
            unsent += usize::from(rank.transmissions == 0);
        }
        (dropped, unsent)
    }

    /// Panics if the tables contradict each other.
    pub fn check_invariants(&self) {
        let bytes: usize = self.entries.values().map(|entry| entry.message.len()).sum();
        assert_eq!(bytes, self.bytes);
        let keyed = self.entries.values().filter(|entry| entry.key.is_some());
        assert_eq!(keyed.count(), self.by_key.len());
        for (key, rank) in &self.by_key {
            assert_eq!(
                self.entries.get(rank).and_then(|entry| entry.key.as_ref()),
                Some(key)
            );
        }
        for (content, rank) in &self.by_content {
            let entry = self.entries.get(rank);
            assert_eq!(entry.map(|entry| &entry.message), Some(content));
        }
        for (rank, entry) in &self.entries {
            assert_eq!(rank.bytes.0, entry.message.len());
            assert!(rank.number.0 < self.next_number);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
