//! Queue of broadcasts, each transmitted a bounded number of times (gossip spec 4.11).

use std::cmp::Reverse;
use std::sync::Arc;

use super::BroadcastId;
use crate::ordered::OrderedMap;
use crate::wire::NodeName;

/// Returns the number of decimal digits of n, 0 for 0: the smallest k with 10^k >= n + 1.
pub fn decimal_digits(n: usize) -> u32 {
    n.checked_ilog10().map_or(0, |k| k + 1)
}

/// Returns the number of transmissions of a message: `multiplier * ceil(log10(nodes + 1))`.
pub fn retransmit_limit(multiplier: u32, nodes: usize) -> u32 {
    multiplier.saturating_mul(decimal_digits(nodes))
}

/// Returns the number of transmissions by each node with which a change of every node reaches all: of the
/// `nodes^2` pairs of a change and a node, gossip misses 0.01 on average. It misses a pair with a probability
/// of about `e^-transmissions`, since targets are random.
pub fn transmissions_to_all(nodes: usize) -> u32 {
    let pairs = (nodes as f64).powi(2);
    (pairs * 100.0).ln().ceil().max(0.0) as u32
}

/// Identifies what waits for the end of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticket {
    /// A broadcast of the Serf layer.
    User(BroadcastId),
    /// The dead message of this node's graceful leave.
    Leave,
    /// An update of this node's meta, by number.
    Meta(u64),
}

/// Sort key of the queue: fewest transmissions first, then longest, then newest.
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
    /// Number among the present-members broadcasts; `None`: for all nodes.
    order: Option<u64>,
    /// Bits of the nodes that should get the message, in a small cluster.
    members: u64,
    /// Bits of the nodes that have it for sure, because they sent it to this node.
    known_by: u64,
    /// Bits of the nodes that it was sent to, in a small cluster.
    sent_to: u64,
    /// Whether it had been sent to all live nodes at some time.
    sent_to_all: bool,
    /// Batch of the last packet; see [`Selection::batch`].
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
            sent_to_all: false,
            batch: 0,
        }
    }

    /// Returns the bits among `nodes` that should get the message and may lack it.
    const fn wanting(&self, nodes: u64) -> u64 {
        nodes & self.members & !self.known_by
    }
}

/// An entry that has left the queue because its transmissions are complete.
#[derive(Debug)]
pub struct Completed(Entry);

/// Data of a broadcast to present members ([`super::Audience::Present`]).
#[derive(Clone, Debug)]
pub struct ForPresent {
    /// Its number, which increases with each such broadcast and with each new member.
    pub order: u64,
    /// Bits of the members; 0 if the cluster has too many nodes.
    pub members: u64,
    /// Bits of the nodes that sent it to this node.
    pub known_by: u64,
}

/// Criteria for the entries that a packet may take.
#[derive(Clone, Copy, Debug)]
pub struct Selection {
    /// Bit of the destination; 0 if it has none. An entry is sent to every other peer before it is sent to
    /// the same one again.
    pub target_bit: u64,
    /// Bits of all live peers. Dead ones are excluded, because they do not pass entries on to live ones.
    pub live_bits: u64,
    /// Lowest number of present-members broadcasts to take: the destination was not a member before.
    pub order_min: u64,
    /// Take only entries with fewer transmissions than this.
    pub transmissions_below: u32,
    /// As `transmissions_below`, for membership messages and the first priority when a packet is filled from
    /// several queues.
    pub members_below: u32,
    /// Identifies packets that are sent to one node at the same time: an entry is taken for only one of them.
    /// 0: no batch.
    pub batch: u64,
}

impl Selection {
    /// Takes any entry, without a particular destination.
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

/// A packet that is being assembled.
#[derive(Debug)]
pub struct Packing {
    /// Bytes that are left.
    pub space: usize,
    /// Number of messages that may still be added.
    pub parts_left: usize,
    /// Messages taken so far.
    pub messages: Vec<Arc<[u8]>>,
    /// Tickets of entries whose transmissions are complete.
    pub finished: Vec<Ticket>,
}

impl Packing {
    /// Creates an empty packet.
    pub fn new(space: usize, parts_left: usize) -> Self {
        Packing {
            space,
            parts_left,
            messages: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Adds a message, which takes `overhead` bytes in addition to its own.
    pub fn push(&mut self, message: Arc<[u8]>, overhead: usize) {
        self.space = self.space.saturating_sub(message.len() + overhead);
        self.parts_left = self.parts_left.saturating_sub(1);
        self.messages.push(message);
    }
}

/// Queue of broadcasts; see the module's documentation.
#[derive(Clone, Debug, Default)]
pub struct BroadcastQueue {
    entries: OrderedMap<Rank, Entry>,
    by_key: OrderedMap<NodeName, Rank>,
    /// Present-members entries by content, to recognize copies that arrive.
    by_content: OrderedMap<Arc<[u8]>, Rank>,
    next_number: u64,
    bytes: usize,
    /// Whether an entry ends as soon as it was sent to every live node, unless the transmission limit ends it
    /// earlier.
    once_to_each: bool,
}

impl BroadcastQueue {
    /// Creates an empty queue.
    pub fn new() -> Self {
        BroadcastQueue::default()
    }

    /// Creates an empty queue that sends no entry twice to the same node, if the cluster is small enough to
    /// track.
    pub fn once_to_each() -> Self {
        BroadcastQueue {
            once_to_each: true,
            ..BroadcastQueue::default()
        }
    }

    /// Returns the number of queued messages.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the queue is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the total size of the queued messages, without overhead.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of transmissions of the first entry.
    pub fn fewest_transmissions(&self) -> Option<u32> {
        self.entries
            .first_key_value()
            .map(|(rank, _)| rank.transmissions)
    }

    /// Adds a message. Replaces one with the same key and returns its ticket, since that broadcast is over.
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

    /// Adds a broadcast to present members.
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

    /// Notes that a node sent a copy of a message, so that it needs none. If none of `nodes` needs it any
    /// more, removes the entry and returns its ticket.
    pub fn note_copy(&mut self, message: &[u8], from_bit: u64, nodes: u64) -> Option<Ticket> {
        let rank = self.by_content.get(message).copied()?;
        let entry = self.entries.get_mut(&rank)?;
        entry.known_by |= from_bit;
        if nodes == 0 || entry.wanting(nodes) != 0 {
            return None;
        }
        self.remove(rank)?.ticket
    }

    /// Clears a bit that is reassigned to another node, or whose node returned after it was gone. The node
    /// gets no present-members broadcast from before.
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

    /// Removes present-members broadcasts whose members are all gone: those with a number below `order_min`,
    /// and those that none of `nodes` needs. Appends their tickets to `finished`.
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

    /// Adds an entry whose transmissions in another queue are complete, unless it was sent to all nodes.
    /// Replaces an entry with the same key, which is older.
    pub fn push_completed(&mut self, Completed(entry): Completed) {
        self.forget(entry.key.as_ref());
        if !entry.sent_to_all {
            self.append(entry);
        }
    }

    /// Removes the entry with this key.
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

    /// Removes an entry that was at `rank` from the indexes.
    fn forget_place(&mut self, rank: Rank, entry: &Entry) {
        if let Some(key) = &entry.key {
            self.by_key.remove(key);
        }
        if self.by_content.get(&*entry.message) == Some(&rank) {
            self.by_content.remove(&*entry.message);
        }
        self.bytes -= entry.message.len();
    }

    /// Reinserts an entry that was at `from` under another rank.
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

    /// Fills a packet. Takes entries with the fewest transmissions first, and among these always the first
    /// one that fits. Each message takes `overhead` bytes in addition to its length. Returns the entries
    /// whose transmissions are complete.
    pub fn fill(
        &mut self,
        packing: &mut Packing,
        overhead: usize,
        limit: u32,
        wanted: Selection,
    ) -> Vec<Completed> {
        let mut completed = Vec::new();
        for rank in self.select(packing, overhead, wanted) {
            if let Some(entry) = self.count_transmission(rank, limit, wanted) {
                packing.finished.extend(entry.ticket);
                completed.push(Completed(Entry {
                    ticket: None,
                    ..entry
                }));
            }
        }
        completed
    }

    /// Selects the entries for a packet and returns their ranks. Changes no ranks yet, so that no entry is
    /// taken twice.
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
                    // Jump to the first entry with this number of transmissions that is short enough.
                    from = Rank {
                        transmissions: rank.transmissions,
                        bytes: Reverse(longest),
                        number: Reverse(u64::MAX),
                    };
                    continue 'seek;
                }
                if wanted.admits(entry) {
                    packing.push(entry.message.clone(), overhead);
                    taken.push(rank);
                }
            }
            return taken;
        }
    }

    /// Counts a transmission; removes and returns the entry if its transmissions are complete.
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
        entry.sent_to_all |= wanted.live_bits != 0 && entry.sent_to & wanting == wanting;
        entry.batch = wanted.batch;
        let transmissions = rank.transmissions.saturating_add(1);
        if transmissions >= limit || self.once_to_each && entry.sent_to_all {
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

    /// Removes entries from the end of the queue until `messages_max` are left. Returns how many were
    /// removed, and how many of them were never sent. Appends their tickets to `finished`.
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

    /// Panics if the indexes are inconsistent.
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
