//! States of thousands of entries are processed in pieces, and other work continues in between.

use super::gossip::told;
use super::streams::{INBOUND, answer, entry, failure, join, push_pull, receive, written};
use super::*;
use crate::wire::{PushPull, PushPullNode, RemoteState, StreamMessage, StreamSide};

const MANY: u32 = 10_000;

fn many(entries: u32) -> Vec<PushPullNode> {
    let node = |index: u32| PushPullNode {
        name: name(&format!("many-{index:05}")),
        meta: Some(vec![index as u8; 60].into()),
        ..entry(2, 1, RemoteState::Alive)
    };
    (0..entries).map(node).collect()
}

/// Encodes a state of 10,000 entries as a peer sends it.
fn large_state(writer: StreamSide) -> Vec<u8> {
    plain_envelope().seal_stream(&push_pull(true, many(MANY), b"state"), writer)
}

/// Encodes an uncompressed response, so that a prefix of the bytes holds a prefix of the entries.
fn uncompressed_answer() -> Vec<u8> {
    let mut envelope = plain_envelope();
    envelope.compression = false;
    envelope.seal_stream(&push_pull(true, many(MANY), b""), StreamSide::Responder)
}

impl Script {
    /// Does the next piece of work, which must be due within a millisecond.
    fn piece(&mut self) {
        let due = self.swim.poll_timeout().expect("there is work");
        assert!(
            due.since(self.now) < Duration::from_millis(1),
            "no work is left"
        );
        self.run_until(due);
    }

    fn pieces_until(&mut self, done: impl Fn(&Script) -> bool) -> usize {
        let mut pieces = 0;
        while !done(self) {
            self.piece();
            pieces += 1;
        }
        pieces
    }

    /// Checks that a ping is acked at once.
    fn answers_a_ping(&mut self, number: u32) {
        self.take_datagrams();
        self.hear(9, &[ping_from(9, number)]);
        let acked = |(to, messages): &(SocketAddr, Vec<Message>)| {
            *to == addr(9) && messages.contains(&ack(number, None))
        };
        assert!(self.take_datagrams().iter().any(acked), "ping {number}");
    }

    fn says(&self, wanted: impl Fn(&Output) -> bool) -> bool {
        self.outputs.iter().any(wanted)
    }

    /// Starts a join that waits for the peer's state.
    fn joining(&mut self) -> (JoinId, StreamId) {
        let (id, stream) = join(self);
        self.swim.handle_stream_connected(stream, self.now);
        self.swim.send_push_pull(stream, b"", self.now);
        self.drain();
        self.take_events();
        (id, stream)
    }

    /// Makes a node that knows 10,000 others.
    fn of_many() -> Script {
        Script::new().with_many()
    }

    /// Joins 10,000 others.
    fn with_many(mut self) -> Script {
        let script = &mut self;
        let (id, stream) = script.joining();
        script.send(stream, &large_state(StreamSide::Responder));
        script.pieces_until(|script| script.says(ended(id)));
        script.outputs.clear();
        self
    }

    fn send(&mut self, stream: StreamId, bytes: &[u8]) {
        for piece in bytes.chunks(1 << 16) {
            self.swim.handle_stream_data(stream, piece, self.now);
        }
        self.drain();
    }

    fn ends(&mut self, stream: StreamId, end: StreamEnd) {
        self.swim.handle_stream_closed(stream, end, self.now);
        self.drain();
    }
}

#[test]
fn a_change_is_sent_often_enough_to_reach_ten_thousand() {
    for (nodes_min, transmissions) in [(0, 20), (1_000, 24)] {
        let mut script = Script::with(Config {
            probe_interval: Duration::from_secs(1_000),
            push_pull_interval: Duration::ZERO,
            membership_retransmit_nodes_min: nodes_min,
            ..Config::lan()
        })
        .with_many();
        let change = Alive {
            node: name("many-00042"),
            ..alive(2, 9)
        };
        assert_eq!(told(&mut script, change).len(), transmissions);
    }
}

fn ended(join: JoinId) -> impl Fn(&Output) -> bool {
    move |output| {
        let result = Ok(());
        *output == Output::JoinEnded { join, result }
    }
}

fn is_close(of: StreamId) -> impl Fn(&Output) -> bool {
    move |output| *output == Output::Transmit(Transmit::Close { stream: of })
}

fn is_wanted(of: StreamId) -> impl Fn(&Output) -> bool {
    move |output| matches!(output, Output::UserStateWanted { stream, .. } if *stream == of)
}

#[test]
fn between_the_pieces_of_a_large_state_pings_are_answered() {
    let mut script = Script::new();
    let (id, stream) = script.joining();
    script.send(stream, &large_state(StreamSide::Responder));
    let (mut pieces, mut counts) = (0, vec![script.swim.node_count()]);
    while !script.says(ended(id)) {
        script.answers_a_ping(pieces);
        script.piece();
        pieces += 1;
        counts.push(script.swim.node_count());
    }
    assert_eq!(counts.last(), Some(&(MANY as usize + 1)));
    assert!(counts.windows(2).all(|pair| pair[1] - pair[0] <= 256));
    // Decompressing and decoding take pieces, too, before the first entry is merged.
    let before = counts.iter().filter(|&&count| count == 1).count();
    assert!((5..60).contains(&before), "{before}");
    let at = |wanted: &dyn Fn(&Output) -> bool| script.outputs.iter().position(wanted).unwrap();
    let told = at(&|output| matches!(output, Output::UserState { bytes, .. } if bytes == b"state"));
    assert!(at(&|output| matches!(output, Output::Joined(_))) < told);
    assert!(
        told < at(&ended(id)),
        "the join is through when all is merged"
    );
}

#[test]
fn a_large_state_is_sent_in_pieces_and_as_of_one_moment() {
    let mut script = Script::of_many();
    receive(&mut script, &push_pull(false, many(1), b""));
    assert!(script.says(is_wanted(INBOUND)));
    script.outputs.clear();
    script.swim.send_push_pull(INBOUND, b"mine", script.now);
    script.drain();
    let is_write = |output: &Output| matches!(output, Output::Transmit(Transmit::Write { .. }));
    let mut pieces = 0;
    while !script.says(is_write) {
        script.answers_a_ping(pieces);
        // Later changes belong to the next exchange.
        let mut late = alive(7, 1);
        late.node = name(&format!("late-{pieces}"));
        script.hear(7, &[Message::Alive(late)]);
        script.piece();
        pieces += 1;
    }
    assert!(pieces >= 10, "{pieces}");
    let events = script.take_events();
    let sent = events.iter().find(|output| is_write(output)).unwrap();
    let StreamMessage::PushPull(PushPull {
        nodes, user_state, ..
    }) = written(sent, StreamSide::Initiator)
    else {
        panic!("{sent:?}")
    };
    assert_eq!(user_state, b"mine");
    let known: Vec<NodeName> = script.swim.nodes().map(|node| node.name.clone()).collect();
    assert_eq!(known.len(), nodes.len() + pieces as usize);
    let known = known
        .into_iter()
        .filter(|name| !name.as_bytes().starts_with(b"late"));
    assert!(known.eq(nodes.into_iter().map(|node| node.name)));
    assert!(events.iter().any(is_close(INBOUND)));
}

#[test]
fn the_end_of_a_stream_waits_for_what_came_before_it() {
    let reset = || StreamEnd::Failed("read: connection reset by peer".into());
    for end in [StreamEnd::Eof, reset()] {
        let mut script = Script::new();
        let (id, stream) = script.joining();
        script.send(stream, &large_state(StreamSide::Responder));
        script.piece();
        script.ends(stream, end);
        script.pieces_until(|script| script.says(ended(id)));
        assert_eq!(script.swim.node_count(), MANY as usize + 1);
    }
    // A peer that waits for the response gets it, unless the connection broke.
    for (end, answered) in [(StreamEnd::Eof, true), (reset(), false)] {
        for pieces_before in [1, 10] {
            let mut script = Script::new();
            script
                .swim
                .handle_stream_accepted(INBOUND, addr(2), script.now);
            script.send(INBOUND, &large_state(StreamSide::Initiator));
            (0..pieces_before).for_each(|_| script.piece());
            assert!(!script.says(is_wanted(INBOUND)));
            script.ends(INBOUND, end.clone());
            script.run_for(Duration::from_millis(1));
            assert_eq!(script.says(is_wanted(INBOUND)), answered);
            script.swim.send_push_pull(INBOUND, b"", script.now);
            script.run_for(Duration::from_millis(1));
            assert_eq!(script.says(is_close(INBOUND)), answered);
            let known = if answered { MANY as usize + 1 } else { 1 };
            assert_eq!(script.swim.node_count(), known);
        }
    }
}

#[test]
fn a_message_that_lacks_its_end_comes_to_nothing() {
    let bytes = uncompressed_answer();
    let mut script = Script::new();
    let (id, stream) = script.joining();
    // All bytes at once, so that undone work remains.
    let now = script.now;
    script
        .swim
        .handle_stream_data(stream, &bytes[..bytes.len() - 1], now);
    script.ends(stream, StreamEnd::Eof);
    assert!(script.take_events().is_empty(), "there may be more");
    script.run_for(Duration::from_millis(1));
    let aborted = Output::Transmit(Transmit::Abort { stream });
    assert!(script.says(|output| *output == aborted));
    assert_eq!(failure(&mut script, id), "EOF");
    assert_eq!(script.swim.node_count(), 1);
}

#[test]
fn the_time_for_a_stream_is_that_of_the_other_side() {
    let mut script = Script::new();
    let (id, stream) = script.joining();
    let bytes = large_state(StreamSide::Responder);
    let (most, last) = bytes.split_at(bytes.len() - 1);
    script.send(stream, most);
    // The last byte arrives when 9 of the peer's 10 seconds have passed; then this node takes a minute.
    script.run_for(Duration::from_secs(9));
    script.send(stream, last);
    while !script.says(ended(id)) {
        script.now += Duration::from_secs(5);
        script.swim.handle_timeout(script.now);
        script.drain();
        let aborted = Output::Transmit(Transmit::Abort { stream });
        assert!(!script.says(|output| *output == aborted));
    }

    // A peer that sends half a state has 10 seconds, not counting this node's decoding time.
    let bytes = uncompressed_answer();
    let mut script = Script::new();
    let (id, stream) = script.joining();
    let now = script.now;
    script
        .swim
        .handle_stream_data(stream, &bytes[..bytes.len() / 2], now);
    script.now += Duration::from_secs(60);
    script.run_for(Duration::from_millis(9_999));
    assert!(!script.says(|output| matches!(output, Output::JoinEnded { .. })));
    script.run_for(Duration::from_millis(2));
    assert_eq!(
        failure(&mut script, id),
        "read tcp 192.0.2.2:7946: i/o timeout"
    );
}

#[test]
fn streams_take_turns_and_small_ones_do_not_wait() {
    let mut script = Script::new();
    let large = large_state(StreamSide::Initiator);
    let streams = [1, 2, 3].map(StreamId::Inbound);
    for (host, stream) in (2..).zip(streams) {
        script
            .swim
            .handle_stream_accepted(stream, addr(host), script.now);
        script.send(stream, &large);
    }
    // A ping on another stream in between.
    script.piece();
    let ping = StreamMessage::Ping(Ping {
        seq_no: 5,
        node: None,
        source: None,
        source_node: None,
        extension: Vec::new(),
    });
    let small = StreamId::Inbound(4);
    script
        .swim
        .handle_stream_accepted(small, addr(6), script.now);
    let ping = plain_envelope().seal_stream(&ping, StreamSide::Initiator);
    script.send(small, &ping);
    assert!(script.says(is_close(small)));
    script.outputs.clear();
    let mut answered = Vec::new();
    while answered.len() < streams.len() {
        script.piece();
        for output in std::mem::take(&mut script.outputs) {
            match output {
                Output::UserStateWanted { stream, .. } => {
                    script.swim.send_push_pull(stream, b"", script.now);
                    script.drain();
                }
                Output::Transmit(Transmit::Close { stream }) => answered.push(stream),
                _ => {}
            }
        }
    }
    assert_eq!(answered, streams);
}

#[test]
fn a_leave_in_the_middle_of_a_large_state_goes_through() {
    let mut script = Script::new();
    let (id, stream) = script.joining();
    script.send(stream, &large_state(StreamSide::Responder));
    script.pieces_until(|script| script.swim.node_count() > 1_000);
    script.swim.leave(Duration::from_secs(5), script.now);
    script.drain();
    script.pieces_until(|script| script.says(ended(id)));
    script.run_for(Duration::from_secs(6));
    assert!(script.says(|output| matches!(output, Output::LeaveEnded { .. })));
    assert_eq!(script.swim.local().state, NodeState::Left);
}

#[test]
fn small_states_are_through_at_once() {
    let mut script = Script::new();
    let (id, stream) = script.joining();
    answer(&mut script, stream, &push_pull(true, many(256), b"state"));
    assert!(script.says(ended(id)));
    assert_eq!(script.swim.node_count(), 257);
}
