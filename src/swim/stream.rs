//! State machines of streams: accepted ones, and push/pulls and fallback pings of this node. Each phase has
//! an absolute deadline (gossip spec 2.9, 8.4).

mod open;

use std::net::SocketAddr;

use super::sync::Exchange;
use super::{Output, Sample, StreamEnd, StreamId, Swim, Transmit};
use crate::time::Instant;
use crate::wire::name::Escaped;
use crate::wire::{
    Ack, DecodeError, NodeName, Ping, PushPull, StreamDecoder, StreamMessage, StreamSide, limits,
};

pub(super) use open::Streams;
use open::{INBOUND_BYTES_MAX, Phase, Purpose, Stream};

impl Swim {
    fn transmit(&mut self, transmit: Transmit) {
        self.outputs.push_back(Output::Transmit(transmit));
    }

    pub(super) fn accept_stream(&mut self, id: StreamId, peer: SocketAddr, now: Instant) {
        if self.refuse_sender("stream", peer) {
            self.transmit(Transmit::Abort { stream: id });
            return;
        }
        let room = self.streams.make_room(peer);
        let Some(silent) = room.filter(|_| matches!(id, StreamId::Inbound(_))) else {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Too many streams: refusing one of {peer}");
            self.transmit(Transmit::Abort { stream: id });
            return;
        };
        if let Some(silent) = silent {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Too many streams: closing an idle one");
            self.abort_stream(silent);
        }
        log::debug!(target: "memberlist", "Stream connection from={peer}");
        let stream = Stream {
            peer,
            purpose: Purpose::Serve,
            phase: Phase::Reading,
            deadline: now + self.config.stream_timeout,
            busy_since: None,
            ended: None,
            decoder: StreamDecoder::new(StreamSide::Responder),
            asked_at: None,
        };
        self.streams.open.insert(id, stream);
    }

    fn open_stream(&mut self, peer: SocketAddr, purpose: Purpose, deadline: Instant) -> StreamId {
        let id = StreamId::Outbound(self.streams.next_outbound);
        self.streams.next_outbound += 1;
        let stream = Stream {
            peer,
            purpose,
            phase: Phase::Connecting,
            deadline,
            busy_since: None,
            ended: None,
            decoder: StreamDecoder::new(StreamSide::Initiator),
            asked_at: None,
        };
        self.streams.open.insert(id, stream);
        self.transmit(Transmit::Open {
            stream: id,
            to: peer,
        });
        id
    }

    /// Opens a stream for a push/pull.
    pub(super) fn open_sync(&mut self, peer: SocketAddr, exchange: Exchange, now: Instant) {
        log::debug!(target: "memberlist", "Initiating push/pull sync with: {peer}");
        let deadline = now + self.config.stream_timeout;
        let id = self.open_stream(peer, Purpose::Sync(exchange), deadline);
        if let Some(stream) = self.streams.open.get_mut(&id) {
            stream.asked_at = Some(now);
        }
    }

    /// Opens a stream for a fallback ping, which ends with the probe.
    pub(super) fn open_fallback_ping(
        &mut self,
        sequence: u32,
        target: NodeName,
        addr: SocketAddr,
        deadline: Instant,
    ) -> StreamId {
        self.open_stream(addr, Purpose::Ping { sequence, target }, deadline)
    }

    /// Aborts a stream without reporting a failure.
    pub(super) fn abort_stream(&mut self, id: StreamId) {
        if self.streams.remove(id).is_some() {
            self.transmit(Transmit::Abort { stream: id });
        }
    }

    pub(super) fn stream_connected(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        if !matches!(stream.phase, Phase::Connecting) {
            return;
        }
        match &stream.purpose {
            Purpose::Serve => {}
            Purpose::Sync(exchange) => {
                let join = exchange.join().is_some();
                self.want_state(id, None, join, now);
            }
            Purpose::Ping { sequence, target } => {
                stream.phase = Phase::Reading;
                let (sequence, target) = (*sequence, target.clone());
                let ping = StreamMessage::Ping(self.ping_for(&target, sequence));
                self.write(id, &ping, StreamSide::Initiator);
            }
        }
    }

    fn write(&mut self, id: StreamId, message: &StreamMessage, side: StreamSide) {
        let stream = self.streams.open.get(&id);
        let label = stream.and_then(|stream| stream.decoder.label());
        let bytes = self.envelope.seal_stream_as(message, side, label);
        self.transmit(Transmit::Write { stream: id, bytes });
    }

    pub(super) fn stream_data(&mut self, id: StreamId, bytes: &[u8], now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        if !matches!(stream.phase, Phase::Reading) {
            return;
        }
        stream.decoder.take(bytes);
        if stream.busy_since.is_none() {
            self.read_some(id, now);
        }
        self.bound_bytes(id);
    }

    /// Does a bounded amount of decoding of a stream's received bytes.
    fn read_some(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        match stream.decoder.work(&self.envelope) {
            Ok(None) if stream.decoder.has_work() => {
                self.streams.put_to_work(id, false, now);
                self.sync.arm_work(now);
            }
            Ok(None) => match stream.ended.take() {
                None => self.streams.release(id, now),
                Some(end) => self.fail_stream(id, end.into_words()),
            },
            Ok(Some(message)) => self.stream_message(id, message, now),
            Err(error) => self.stream_unreadable(id, &error, now),
        }
    }

    /// Aborts a stream if the bytes held exceed the limit.
    fn bound_bytes(&mut self, id: StreamId) {
        let Some(stream) = self.streams.open.get(&id) else {
            return;
        };
        let too_many = match id {
            StreamId::Inbound(_) => self.streams.inbound_bytes() > INBOUND_BYTES_MAX,
            StreamId::Outbound(_) => stream.decoder.buffered_bytes() > limits::STREAM_BYTES_MAX,
        };
        if too_many {
            self.counters.dropped_refused += 1;
            log::debug!(target: "memberlist", "Streams hold too many bytes: closing one");
            self.fail_stream(id, "too much data".into());
        }
    }

    /// Does the next piece of work of the first stream in the work queue.
    pub(super) fn work_on_streams(&mut self, now: Instant) {
        let Some(&id) = self.streams.work.front() else {
            return;
        };
        let Some(stream) = self.streams.open.get(&id) else {
            return;
        };
        match stream.phase {
            Phase::Reading => self.read_some(id, now),
            Phase::StateWanted(_) => self.ask_for_state(id, now),
            Phase::Sealing(..) => self.seal_some(id, now),
            Phase::Connecting => self.streams.release(id, now),
        }
    }

    /// Requests this node's state for a stream: at once if no other stream has work or too much is held,
    /// otherwise when the stream reaches the front of the work queue.
    fn want_state(&mut self, id: StreamId, request: Option<PushPull>, join: bool, now: Instant) {
        let too_much = request
            .as_ref()
            .is_some_and(|request| self.streams.is_too_much(request));
        let idle = !self.streams.have_work();
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        stream.phase = Phase::StateWanted(request);
        stream.deadline = now + self.config.stream_timeout;
        let is_its_turn = stream.busy_since.is_some();
        if idle || too_much {
            self.outputs
                .push_back(Output::UserStateWanted { stream: id, join });
        } else if !is_its_turn {
            self.streams.put_to_work(id, false, now);
            self.sync.arm_work(now);
        }
    }

    fn ask_for_state(&mut self, id: StreamId, now: Instant) {
        self.streams.release(id, now);
        let Some(stream) = self.streams.open.get(&id) else {
            return;
        };
        if let Phase::StateWanted(request) = &stream.phase {
            let join = match (&stream.purpose, request) {
                (Purpose::Sync(exchange), _) => exchange.join().is_some(),
                (_, request) => request.as_ref().is_some_and(|request| request.join),
            };
            self.outputs
                .push_back(Output::UserStateWanted { stream: id, join });
        }
    }

    /// Handles the peer's complete message.
    fn stream_message(&mut self, id: StreamId, message: StreamMessage, now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        match (&stream.purpose, message) {
            (Purpose::Serve, StreamMessage::PushPull(request)) => {
                let join = request.join;
                self.want_state(id, Some(request), join, now);
            }
            (Purpose::Serve, StreamMessage::Ping(ping)) => self.answer_stream_ping(id, &ping),
            (Purpose::Serve, StreamMessage::User(bytes)) => {
                self.close_stream(id);
                if !bytes.is_empty() {
                    self.samples.push(Sample::MessageIn(bytes.len()));
                    let from = None;
                    self.outputs.push_back(Output::UserMessage { bytes, from });
                }
            }
            (&Purpose::Sync(exchange), StreamMessage::PushPull(answer)) => {
                if let Some(asked_at) = stream.asked_at {
                    let took = now.since(asked_at);
                    self.samples.push(Sample::PushPull(took));
                }
                self.close_stream(id);
                let join = exchange.join().is_some();
                if let Err(why) = self.merge_push_pull(answer, join, exchange, now) {
                    self.end_sync(exchange, Err(why));
                }
            }
            (&Purpose::Ping { sequence, .. }, StreamMessage::Ack(ack)) => {
                self.close_stream(id);
                if ack.seq_no == sequence {
                    self.probe_answered_by_tcp(sequence);
                }
            }
            (_, StreamMessage::Error(text)) => {
                let text = format!("remote error: {}", Escaped(&text));
                self.fail_stream(id, text);
            }
            _ => {
                self.counters.dropped_refused += 1;
                self.fail_stream(id, "an answer of the wrong type".into());
            }
        }
    }

    fn answer_stream_ping(&mut self, id: StreamId, ping: &Ping) {
        if ping
            .node
            .as_ref()
            .is_some_and(|node| *node != self.local().name)
        {
            return self.fail_stream(id, "a ping for another node".into());
        }
        let ack = StreamMessage::Ack(Ack {
            seq_no: ping.seq_no,
            payload: None,
        });
        self.write(id, &ack, StreamSide::Responder);
        self.close_stream(id);
    }

    fn stream_unreadable(&mut self, id: StreamId, error: &DecodeError, now: Instant) {
        let Some(stream) = self.streams.open.get(&id) else {
            return;
        };
        let peer = stream.peer;
        let report = match stream.purpose {
            Purpose::Serve => stream.decoder.error_report(),
            Purpose::Sync(_) | Purpose::Ping { .. } => None,
        };
        self.drop_input("stream", peer, error, now);
        if let Some(text) = report {
            let report = StreamMessage::Error(text.into());
            self.write(id, &report, StreamSide::Responder);
            self.close_stream(id);
        } else {
            self.fail_stream(id, format!("cannot read the answer: {error}"));
        }
    }

    fn close_stream(&mut self, id: StreamId) {
        if self.streams.remove(id).is_some() {
            self.transmit(Transmit::Close { stream: id });
        }
    }

    /// Aborts a stream after a local failure and reports it.
    fn fail_stream(&mut self, id: StreamId, why: String) {
        let Some(stream) = self.streams.remove(id) else {
            return;
        };
        self.transmit(Transmit::Abort { stream: id });
        self.end_failed(&stream, why);
    }

    /// Reports the failure of a stream that is already removed.
    fn end_failed(&mut self, stream: &Stream, why: String) {
        log::debug!(target: "memberlist", "Stream with {} failed: {why}", stream.peer);
        if let Purpose::Sync(exchange) = stream.purpose {
            self.end_sync(exchange, Err(why));
        }
    }

    pub(super) fn end_sync(&mut self, exchange: Exchange, result: Result<(), String>) {
        match (exchange, result) {
            (Exchange::Join(join), result) => {
                self.outputs.push_back(Output::JoinEnded { join, result });
            }
            // The stream's failure was already logged.
            (Exchange::Asked, _) => self.outputs.push_back(Output::ExchangeEnded),
            (Exchange::Periodic, Err(why)) => {
                log::warn!(target: "memberlist", "Push/pull with a random node failed: {why}");
            }
            (Exchange::Theirs | Exchange::Periodic, _) => {}
        }
    }

    pub(super) fn stream_closed(&mut self, id: StreamId, end: StreamEnd) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        let is_orderly = end == StreamEnd::Eof;
        let goes_on = match (&stream.purpose, &stream.phase) {
            // The complete message may be among the bytes not yet decoded.
            (Purpose::Serve, Phase::Reading) => is_orderly && stream.busy_since.is_some(),
            (_, Phase::Reading) => stream.busy_since.is_some(),
            // The peer has sent its whole message and waits for the response.
            (Purpose::Serve, _) => is_orderly,
            (_, _) => false,
        };
        if goes_on {
            stream.ended = Some(end);
            return;
        }
        let mut why = end.into_words();
        if matches!(stream.phase, Phase::Connecting) {
            why = format!("dial tcp {}: {why}", stream.peer);
        }
        if is_orderly {
            self.fail_stream(id, why);
        } else if let Some(stream) = self.streams.remove(id) {
            self.end_failed(&stream, why);
        }
    }

    pub(super) fn expire_streams(&mut self, now: Instant) {
        let due: Vec<StreamId> = self
            .streams
            .open
            .iter()
            .filter(|(_, stream)| stream.busy_since.is_none() && stream.deadline <= now)
            .map(|(&id, _)| id)
            .collect();
        for id in due {
            let Some(stream) = self.streams.open.get(&id) else {
                continue;
            };
            let step = match stream.phase {
                Phase::Connecting => "dial",
                Phase::Reading | Phase::StateWanted(_) | Phase::Sealing(..) => "read",
            };
            let why = format!("{step} tcp {}: i/o timeout", stream.peer);
            self.fail_stream(id, why);
        }
    }

    /// Sends this node's state on a stream that waits for it, then merges the peer's state.
    ///
    /// The state is a copy taken now, even if it is encoded in pieces: copies of entries are cheap, and the
    /// announced number of entries must remain correct.
    pub(super) fn answer_push_pull(&mut self, id: StreamId, user_state: &[u8], now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        let Phase::StateWanted(request) = &mut stream.phase else {
            return;
        };
        let request = request.take();
        let (join, side) = match (&stream.purpose, &request) {
            (Purpose::Sync(exchange), _) => (exchange.join().is_some(), StreamSide::Initiator),
            (_, request) => {
                let join = request.as_ref().is_some_and(|request| request.join);
                (join, StreamSide::Responder)
            }
        };
        let label = stream.decoder.label().cloned();
        let too_much = request
            .as_ref()
            .is_some_and(|request| self.streams.is_too_much(request));
        let state = self.own_state(join, user_state);
        let sealer = Box::new(self.envelope.begin_push_pull(state, side, label));
        let at_once = too_much || sealer.is_short();
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        stream.phase = Phase::Sealing(request, sealer);
        if at_once {
            while self.is_sealing(id) {
                self.seal_some(id, now);
            }
        } else {
            self.streams.put_to_work(id, true, now);
            self.sync.arm_work(now);
        }
    }

    fn is_sealing(&self, id: StreamId) -> bool {
        let stream = self.streams.open.get(&id);
        stream.is_some_and(|stream| matches!(stream.phase, Phase::Sealing(..)))
    }

    /// Encodes the next piece of this node's state; sends the state once it is complete.
    fn seal_some(&mut self, id: StreamId, now: Instant) {
        let Some(stream) = self.streams.open.get_mut(&id) else {
            return;
        };
        let Phase::Sealing(request, sealer) = &mut stream.phase else {
            return;
        };
        let Some(bytes) = sealer.work(&mut self.envelope) else {
            return;
        };
        let request = request.take();
        stream.phase = Phase::Reading;
        self.streams.release(id, now);
        if let Some(stream) = self.streams.open.get_mut(&id) {
            stream.deadline = now + self.config.stream_timeout;
        }
        self.transmit(Transmit::Write { stream: id, bytes });
        let Some(request) = request else {
            return;
        };
        self.close_stream(id);
        // Merge after the response is sent, so that the peer does not notice a refusal.
        let join = request.join;
        if let Err(why) = self.merge_push_pull(request, join, Exchange::Theirs, now) {
            log::warn!(target: "memberlist", "Refusing a push/pull: {why}");
        }
    }
}

impl StreamEnd {
    fn into_words(self) -> String {
        match self {
            StreamEnd::Eof => "EOF".to_owned(),
            StreamEnd::Failed(why) => why,
        }
    }
}
