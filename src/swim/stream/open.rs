//! The open streams, their work queue, and their limits.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ordered::OrderedMap;
use crate::swim::sync::Exchange;
use crate::swim::{StreamEnd, StreamId};
use crate::time::Instant;
use crate::wire::{NodeName, PushPull, PushPullNode, PushPullSealer, StreamDecoder};

/// Limit for the accepted streams open at once.
const INBOUND_MAX: usize = 128;
/// Limit for the accepted streams from one address other than loopback.
const INBOUND_PER_SOURCE_MAX: usize = 32;
/// Limit for the bytes held by all accepted streams together.
pub(super) const INBOUND_BYTES_MAX: usize = 16 << 20;
/// Limit for the bytes of decoded requests that wait for their response. Beyond this, the next request is
/// answered at once instead of in pieces, to bound memory.
const REQUESTS_BYTES_MAX: usize = 16 << 20;

/// All streams of this node.
#[derive(Debug, Default)]
pub(in crate::swim) struct Streams {
    pub(super) open: OrderedMap<StreamId, Stream>,
    /// Streams with local work to do, in order. Each stream keeps the front until its work is done, so that
    /// at most one large message exists in all its forms.
    pub(super) work: VecDeque<StreamId>,
    pub(super) next_outbound: u64,
    pub(in crate::swim) next_join: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) peer: SocketAddr,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    /// Deadline of the current phase. Suspended while the stream has local work to do, since that is not the
    /// peer's fault.
    pub(super) deadline: Instant,
    /// Time since which the stream is in the work queue.
    pub(super) busy_since: Option<Instant>,
    /// How the peer ended the stream while there was still local work to do.
    pub(super) ended: Option<StreamEnd>,
    pub(super) decoder: StreamDecoder,
    /// Start of a push/pull by this node.
    pub(super) asked_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Purpose {
    /// Accepted; the peer's message determines the purpose.
    Serve,
    /// A push/pull by this node.
    Sync(Exchange),
    /// A fallback ping of the probe with that sequence number.
    Ping { sequence: u32, target: NodeName },
}

#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    Reading,
    /// Waits for the user state of this node, requested now or later. On an accepted stream, holds the peer's
    /// request.
    StateWanted(Option<PushPull>),
    /// Encodes this node's state. On an accepted stream, holds the peer's request.
    Sealing(Option<PushPull>, Box<PushPullSealer>),
}

impl Streams {
    pub(in crate::swim) fn deadline(&self) -> Option<Instant> {
        let idle = self.open.values().filter(|s| s.busy_since.is_none());
        idle.map(|stream| stream.deadline).min()
    }

    pub(in crate::swim) fn have_work(&self) -> bool {
        !self.work.is_empty()
    }

    /// Adds a stream to the work queue and suspends its deadline. `first`: at the front.
    pub(super) fn put_to_work(&mut self, id: StreamId, first: bool, now: Instant) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        if stream.busy_since.is_some() {
            return;
        }
        stream.busy_since = Some(now);
        if first {
            self.work.push_front(id);
        } else {
            self.work.push_back(id);
        }
    }

    /// Removes a stream from the work queue and moves its deadline by the time that it spent there.
    pub(super) fn release(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.open.get_mut(&id) else {
            return;
        };
        if let Some(since) = stream.busy_since.take() {
            stream.deadline += now.since(since);
            self.work.retain(|&other| other != id);
        }
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.open.remove(&id)?;
        if stream.busy_since.is_some() {
            self.work.retain(|&other| other != id);
        }
        Some(stream)
    }

    /// Whether one more decoded request would exceed the limit on waiting requests.
    pub(super) fn is_too_much(&self, request: &PushPull) -> bool {
        let bytes = |state: &PushPull| {
            let entries = state.nodes.len() * (size_of::<PushPullNode>() + 128);
            entries.saturating_add(state.user_state.len())
        };
        let waiting = self.work.iter().filter_map(|id| self.open.get(id));
        let held = waiting.filter_map(|stream| match &stream.phase {
            Phase::StateWanted(request) | Phase::Sealing(request, _) => request.as_ref(),
            Phase::Connecting | Phase::Reading => None,
        });
        let held: usize = held.map(bytes).sum();
        held > 0 && held.saturating_add(bytes(request)) > REQUESTS_BYTES_MAX
    }

    pub(super) fn inbound(&self) -> impl Iterator<Item = &Stream> {
        self.open
            .values()
            .filter(|stream| matches!(stream.purpose, Purpose::Serve))
    }

    /// Chooses a silent stream to abort in favour of a new one, so that idle connections cannot exhaust the
    /// limits. `Some(None)`: no abort is needed; `None`: refuse the new stream.
    pub(super) fn make_room(&self, peer: SocketAddr) -> Option<Option<StreamId>> {
        let ip = peer.ip().to_canonical();
        let is_same = |stream: &Stream| stream.peer.ip().to_canonical() == ip;
        let same = self.inbound().filter(|stream| is_same(stream)).count();
        // Peers behind a NAT share an address, so the per-address limit, too, is enforced by aborting its own
        // silent streams.
        if !ip.is_loopback() && same >= INBOUND_PER_SOURCE_MAX {
            self.most_silent(is_same).map(Some)
        } else if self.inbound().count() >= INBOUND_MAX {
            self.most_silent(|_| true).map(Some)
        } else {
            Some(None)
        }
    }

    /// Finds the accepted stream that has sent nothing for the longest time, among those that `among`
    /// accepts.
    pub(super) fn most_silent(&self, among: impl Fn(&Stream) -> bool) -> Option<StreamId> {
        let silent = self.open.iter().filter(|(_, stream)| {
            matches!(stream.purpose, Purpose::Serve)
                && matches!(stream.phase, Phase::Reading)
                && stream.busy_since.is_none()
                && stream.decoder.buffered_bytes() == 0
                && among(stream)
        });
        let oldest = silent.min_by_key(|(id, stream)| (stream.deadline, **id));
        oldest.map(|(id, _)| *id)
    }

    pub(super) fn inbound_bytes(&self) -> usize {
        self.inbound()
            .map(|stream| stream.decoder.buffered_bytes())
            .sum()
    }

    pub(in crate::swim) fn check_invariants(&self) {
        assert!(self.inbound().count() <= INBOUND_MAX);
        for (id, stream) in &self.open {
            let inbound = matches!(id, StreamId::Inbound(_));
            assert_eq!(inbound, matches!(stream.purpose, Purpose::Serve));
            let connecting = matches!(stream.phase, Phase::Connecting);
            assert!(!(inbound && connecting));
            let turns = self.work.iter().filter(|other| *other == id).count();
            assert_eq!(turns, usize::from(stream.busy_since.is_some()));
        }
        assert!(self.work.iter().all(|id| self.open.contains_key(id)));
    }
}
