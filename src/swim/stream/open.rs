//! The streams that are open, whose turn it is, and how many there may be.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ordered::OrderedMap;
use crate::swim::sync::Exchange;
use crate::swim::{StreamEnd, StreamId};
use crate::time::Instant;
use crate::wire::{NodeName, PushPull, PushPullNode, PushPullSealer, StreamDecoder};

/// Accepted streams that may be open at once.
const INBOUND_MAX: usize = 128;
/// Of those, from one address that is not loopback.
const INBOUND_PER_SOURCE_MAX: usize = 32;
/// Bytes that all accepted streams together may hold.
pub(super) const INBOUND_BYTES_MAX: usize = 16 << 20;
/// Bytes that decoded states may hold which wait for the answer; the next one is answered in one go,
/// before they fill the memory.
const REQUESTS_BYTES_MAX: usize = 16 << 20;

/// All streams of this node.
#[derive(Debug, Default)]
pub(in crate::swim) struct Streams {
    pub(super) open: OrderedMap<StreamId, Stream>,
    /// Those with work to do for this node, in turn. Only the first one is worked on, to its end: so
    /// there is never more than one large message in all its forms.
    pub(super) work: VecDeque<StreamId>,
    pub(super) next_outbound: u64,
    pub(in crate::swim) next_join: u64,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) peer: SocketAddr,
    pub(super) purpose: Purpose,
    pub(super) phase: Phase,
    /// Of the phase. It does not count while there is work to do: that is not the other side's fault.
    pub(super) deadline: Instant,
    /// Since when the stream is among those with work to do.
    pub(super) busy_since: Option<Instant>,
    /// How the other side ended it while there was still work to do.
    pub(super) ended: Option<StreamEnd>,
    pub(super) decoder: StreamDecoder,
    /// When this node asked for a push/pull on it.
    pub(super) asked_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Purpose {
    /// Accepted; the other side says what for.
    Serve,
    /// A push/pull of this node.
    Sync(Exchange),
    /// A fallback ping, part of the probe with that number.
    Ping { sequence: u32, target: NodeName },
}

#[derive(Debug)]
pub(super) enum Phase {
    Connecting,
    Reading,
    /// The user state is to be asked for, or was. On an accepted stream, with the request.
    StateWanted(Option<PushPull>),
    /// This node's state is being encoded. On an accepted stream, with the request.
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

    /// There is something to do for this node, now or when it is this stream's turn.
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

    /// It is the other side's turn again, with as much time as it had.
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

    /// Whether one more decoded state, beside those that wait, would be too much.
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

    /// Makes sure that connections which nobody uses keep nobody out: the stream to be given up for a
    /// new one, if one must be; `None` if the new one cannot be taken.
    pub(super) fn make_room(&self, peer: SocketAddr) -> Option<Option<StreamId>> {
        let ip = peer.ip().to_canonical();
        let is_same = |stream: &Stream| stream.peer.ip().to_canonical() == ip;
        let same = self.inbound().filter(|stream| is_same(stream)).count();
        // Several peers may share an address, as behind a translator: it has its share back from the
        // silent among its own.
        if !ip.is_loopback() && same >= INBOUND_PER_SOURCE_MAX {
            self.most_silent(is_same).map(Some)
        } else if self.inbound().count() >= INBOUND_MAX {
            self.most_silent(|_| true).map(Some)
        } else {
            Some(None)
        }
    }

    /// The accepted stream that has said nothing for longest, of some.
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
