//! Push/pulls, pings and failures on streams (gossip spec 2.9, 4.10).

use super::*;
use crate::wire::{PushPull, PushPullNode, RemoteState, StreamDecoder, StreamMessage, StreamSide};

pub(super) fn entry(host: u8, incarnation: u32, state: RemoteState) -> PushPullNode {
    PushPullNode {
        name: peer(host),
        addr: addr(host),
        meta: Some(b"meta".as_slice().into()),
        incarnation,
        state,
        versions: VersionVector::serf(5),
    }
}

pub(super) fn push_pull(join: bool, nodes: Vec<PushPullNode>, user_state: &[u8]) -> StreamMessage {
    StreamMessage::PushPull(PushPull {
        join,
        nodes,
        refused: Vec::new(),
        user_state: user_state.to_vec(),
    })
}

pub(super) const INBOUND: StreamId = StreamId::Inbound(1);

/// Accepts a stream from a peer that writes this message.
pub(super) fn receive(script: &mut Script, message: &StreamMessage) {
    let now = script.now;
    script.swim.handle_stream_accepted(INBOUND, addr(2), now);
    let bytes = plain_envelope().seal_stream(message, StreamSide::Initiator);
    for chunk in bytes.chunks(7) {
        script.swim.handle_stream_data(INBOUND, chunk, now);
    }
    script.drain();
}

/// Returns the stream that the node just opened, and its destination.
fn opened(script: &mut Script) -> (StreamId, SocketAddr) {
    match script.take_events()[..] {
        [Output::Transmit(Transmit::Open { stream, to })] => (stream, to),
        ref other => panic!("{other:?}"),
    }
}

pub(super) fn answer(script: &mut Script, stream: StreamId, message: &StreamMessage) {
    let bytes = plain_envelope().seal_stream(message, StreamSide::Responder);
    let now = script.now;
    script.swim.handle_stream_data(stream, &bytes, now);
    script.drain();
}

pub(super) fn written(output: &Output, reader: StreamSide) -> StreamMessage {
    let Output::Transmit(Transmit::Write { bytes, .. }) = output else {
        panic!("{output:?}")
    };
    let mut decoder = StreamDecoder::new(reader);
    decoder.push(bytes, &plain_envelope()).unwrap().unwrap()
}

pub(super) fn join(script: &mut Script) -> (JoinId, StreamId) {
    let now = script.now;
    let join = script.swim.join(addr(2), now);
    script.drain();
    let (stream, to) = opened(script);
    assert_eq!(to, addr(2));
    (join, stream)
}

pub(super) fn failure(script: &mut Script, join: JoinId) -> String {
    let ends: Vec<String> = script
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Output::JoinEnded { join: of, result } => {
                assert_eq!(of, join);
                Some(result.unwrap_err())
            }
            _ => None,
        })
        .collect();
    assert_eq!(ends.len(), 1, "{ends:?}");
    ends[0].clone()
}

#[test]
fn a_join_sends_asks_and_merges() {
    let mut script = Script::new();
    let (join, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.drain();
    assert_eq!(
        script.take_events(),
        [Output::UserStateWanted { stream, join: true }]
    );
    script.swim.send_push_pull(stream, b"mine", now);
    script.drain();
    let events = script.take_events();
    let StreamMessage::PushPull(sent) = written(&events[0], StreamSide::Responder) else {
        panic!("{events:?}")
    };
    assert!(sent.join);
    assert_eq!(sent.user_state, b"mine");
    assert_eq!(sent.nodes.len(), 1);
    assert_eq!(sent.nodes[0].name, name("local"));
    let nodes = vec![
        entry(2, 4, RemoteState::Alive),
        entry(3, 5, RemoteState::Alive),
        entry(4, 6, RemoteState::Dead),
        entry(5, 7, RemoteState::Left),
    ];
    answer(&mut script, stream, &push_pull(true, nodes, b"yours"));
    let events = script.take_events();
    assert_eq!(events[0], Output::Transmit(Transmit::Close { stream }));
    assert!(matches!(&events[1], Output::Joined(node) if node.name == peer(2)));
    assert!(matches!(&events[2], Output::Joined(node) if node.name == peer(3)));
    assert_eq!(
        events[3..],
        [
            Output::UserState {
                bytes: b"yours".to_vec(),
                join: true,
                initiated: Some(join),
                asked: false,
            },
            Output::JoinEnded {
                join,
                result: Ok(())
            }
        ]
    );
    assert_eq!(script.swim.node_count(), 3, "the dead are not learned");
}

#[test]
fn a_push_pull_is_answered_before_it_is_judged() {
    for join in [false, true] {
        let mut script = Script::new();
        script.meet([3]);
        let nodes = vec![entry(2, 1, RemoteState::Alive)];
        receive(&mut script, &push_pull(join, nodes, b"theirs"));
        assert_eq!(
            script.take_events(),
            [Output::UserStateWanted {
                stream: INBOUND,
                join
            }]
        );
        let now = script.now;
        script.swim.send_push_pull(INBOUND, b"", now);
        script.drain();
        let events = script.take_events();
        let StreamMessage::PushPull(sent) = written(&events[0], StreamSide::Initiator) else {
            panic!("{events:?}")
        };
        assert_eq!(sent.join, join);
        let names: Vec<NodeName> = sent.nodes.into_iter().map(|node| node.name).collect();
        assert_eq!(names, [name("local"), peer(3)], "not yet with the newcomer");
        assert_eq!(
            events[1],
            Output::Transmit(Transmit::Close { stream: INBOUND })
        );
        assert!(matches!(&events[2], Output::Joined(node) if node.name == peer(2)));
        assert_eq!(
            events[3..],
            [Output::UserState {
                bytes: b"theirs".to_vec(),
                join,
                initiated: None,
                asked: false
            }]
        );
    }
}

#[test]
fn remote_states_are_taken_as_the_protocol_says() {
    for (state, due) in [
        (RemoteState::Alive, NodeState::Alive),
        (RemoteState::Suspect, NodeState::Suspect),
        (RemoteState::Dead, NodeState::Suspect),
        (RemoteState::Left, NodeState::Left),
    ] {
        let mut script = Script::new();
        script.meet([2, 3]);
        let mut nodes = vec![entry(3, 1, state)];
        nodes.push(entry(2, 1, RemoteState::Alive));
        receive(&mut script, &push_pull(false, nodes, b""));
        let now = script.now;
        script.swim.send_push_pull(INBOUND, b"", now);
        script.drain();
        assert_eq!(script.state(3), due, "{state:?}");
        if due == NodeState::Suspect {
            let (_, message) = script.run_until_sent(|m| matches!(m, Message::Suspect(_)));
            let Message::Suspect(message) = message else {
                panic!()
            };
            assert_eq!(message.from, Some(name("local")));
        }
    }
}

#[test]
fn incompatible_versions_reject_a_join_with_the_words_of_the_reference() {
    let mut script = Script::new();
    let (join, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    let mut node = entry(2, 1, RemoteState::Alive);
    node.versions.delegate_max = 4;
    node.versions.delegate_current = 4;
    answer(&mut script, stream, &push_pull(true, vec![node], b"state"));
    assert_eq!(
        failure(&mut script, join),
        "Node 'local' delegate protocol version (5) is incompatible: [2, 4]"
    );
    assert_eq!(script.swim.node_count(), 1);
}

#[test]
fn one_absurd_entry_does_not_stop_the_exchange() {
    let mut script = Script::new();
    let mut absurd = entry(3, 1, RemoteState::Alive);
    absurd.versions.protocol_min = 200;
    absurd.versions.protocol_max = 255;
    absurd.versions.protocol_current = 201;
    let nodes = vec![absurd, entry(2, 1, RemoteState::Alive)];
    receive(&mut script, &push_pull(false, nodes, b""));
    let now = script.now;
    script.swim.send_push_pull(INBOUND, b"", now);
    script.drain();
    assert_eq!(script.swim.node_count(), 2);
    assert_eq!(script.swim.counters().dropped_refused, 1);
}

#[test]
fn a_state_larger_than_the_table_is_refused() {
    let mut script = Script::with(Config {
        nodes_max: 2,
        ..Config::lan()
    });
    let nodes = (2..5).map(|h| entry(h, 1, RemoteState::Alive)).collect();
    receive(&mut script, &push_pull(false, nodes, b"state"));
    let now = script.now;
    script.swim.send_push_pull(INBOUND, b"", now);
    script.drain();
    assert_eq!(script.swim.node_count(), 1);
    let user_state = |event: &Output| matches!(event, Output::UserState { .. });
    assert!(!script.take_events().iter().any(user_state));
}

#[test]
fn joins_fail_in_the_words_of_the_reference() {
    let end = |text: &str| StreamEnd::Failed(text.to_owned());
    let mut script = Script::new();
    let (id, stream) = join(&mut script);
    let now = script.now;
    let refused = end("connect: connection refused");
    script.swim.handle_stream_closed(stream, refused, now);
    script.drain();
    assert_eq!(
        failure(&mut script, id),
        "dial tcp 192.0.2.2:7946: connect: connection refused"
    );

    let (id, _) = join(&mut script);
    script.run_for(Duration::from_millis(9_999));
    assert_eq!(script.take_events(), []);
    script.run_for(Duration::from_millis(1));
    assert_eq!(
        failure(&mut script, id),
        "dial tcp 192.0.2.2:7946: i/o timeout"
    );

    let (id, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    script.drain();
    script.outputs.clear();
    script.run_for(Duration::from_secs(10));
    let aborted = Output::Transmit(Transmit::Abort { stream });
    assert!(script.outputs.contains(&aborted));
    assert_eq!(
        failure(&mut script, id),
        "read tcp 192.0.2.2:7946: i/o timeout"
    );

    let (id, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    let report = StreamMessage::Error(b"no\nthanks".to_vec());
    answer(&mut script, stream, &report);
    assert_eq!(failure(&mut script, id), "remote error: no\\nthanks");

    let (id, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    script
        .swim
        .handle_stream_closed(stream, StreamEnd::Eof, now);
    script.drain();
    assert_eq!(failure(&mut script, id), "EOF");
}

#[test]
fn a_ping_is_acked_on_its_stream_and_one_for_another_is_not() {
    for (node, answered) in [
        (Some(name("local")), true),
        (None, true),
        (Some(peer(9)), false),
    ] {
        let mut script = Script::new();
        script.swim.set_ack_payload(Some(b"not here".to_vec()));
        let ping = StreamMessage::Ping(Ping {
            seq_no: 44,
            node,
            source: Some(addr(2)),
            source_node: Some(peer(2)),
            extension: Vec::new(),
        });
        receive(&mut script, &ping);
        let events = script.take_events();
        if answered {
            assert_eq!(
                written(&events[0], StreamSide::Initiator),
                StreamMessage::Ack(Ack {
                    seq_no: 44,
                    payload: None
                })
            );
            let closed = Output::Transmit(Transmit::Close { stream: INBOUND });
            assert_eq!(events[1..], [closed]);
        } else {
            let aborted = Output::Transmit(Transmit::Abort { stream: INBOUND });
            assert_eq!(events, [aborted]);
        }
    }
}

#[test]
fn user_messages_on_streams_are_delivered() {
    let mut script = Script::new();
    receive(&mut script, &StreamMessage::User(b"\x03big".to_vec()));
    let message = Output::UserMessage {
        bytes: b"\x03big".to_vec(),
        from: None,
    };
    assert!(script.take_events().contains(&message));
}

#[test]
fn what_cannot_be_read_is_reported_or_dropped() {
    let mut script = Script::new();
    let now = script.now;
    script.swim.handle_stream_accepted(INBOUND, addr(2), now);
    // An encrypted frame, while no keyring is configured.
    script
        .swim
        .handle_stream_data(INBOUND, &[10, 0, 0, 0, 40, 1, 2, 3], now);
    script.swim.handle_stream_data(INBOUND, &[0; 64], now);
    script.drain();
    let events = script.take_events();
    let StreamMessage::Error(text) = written(&events[0], StreamSide::Initiator) else {
        panic!("{events:?}")
    };
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("encryption is not configured")
    );
    assert_eq!(
        events[1..],
        [Output::Transmit(Transmit::Close { stream: INBOUND })]
    );
    assert_eq!(script.swim.counters().dropped_undecryptable, 1);
    // A type byte that no stream may start with.
    let other = StreamId::Inbound(2);
    script.swim.handle_stream_accepted(other, addr(2), now);
    script.swim.handle_stream_data(other, &[99, 1, 2], now);
    script.drain();
    assert_eq!(
        script.take_events(),
        [Output::Transmit(Transmit::Abort { stream: other })]
    );
}

#[test]
fn a_live_peer_is_chosen_for_the_periodic_exchange() {
    let mut script = Script::new();
    script.meet([2, 3]);
    script.hear(2, &[dead(peer(3), 1, peer(3))]);
    script.outputs.clear();
    let start = script.now;
    let limit = start + Duration::from_secs(61);
    let (mut streams, mut first) = (0, None);
    while script.now < limit {
        let due = script.swim.poll_timeout().unwrap();
        script.run_until(due.min(limit));
        for (to, messages) in script.take_datagrams() {
            if let Some(Message::Ping(ping)) = messages.first() {
                let answer = ack(ping.seq_no, None).encode();
                let bytes = plain_envelope().seal_datagram(&[answer], false);
                script.swim.handle_datagram(to, &bytes, script.now);
            }
        }
        for event in script.take_events() {
            if let Output::Transmit(Transmit::Open { to, stream }) = event {
                assert_eq!(to, addr(2));
                streams += 1;
                first.get_or_insert(script.now);
                script.swim.handle_stream_connected(stream, script.now);
                let wanted = script.swim.poll_output();
                assert_eq!(
                    wanted,
                    Some(Output::UserStateWanted {
                        stream,
                        join: false
                    })
                );
            }
        }
    }
    assert!((1..=2).contains(&streams), "{streams}");
    assert!(first.unwrap().since(start) >= Duration::from_secs(30));
}

#[test]
fn late_and_foreign_stream_reports_are_ignored() {
    let mut script = Script::new();
    let now = script.now;
    for stream in [StreamId::Inbound(7), StreamId::Outbound(7)] {
        script.swim.handle_stream_connected(stream, now);
        script.swim.handle_stream_data(stream, b"\x06", now);
        script.swim.send_push_pull(stream, b"", now);
        script
            .swim
            .handle_stream_closed(stream, StreamEnd::Eof, now);
    }
    script
        .swim
        .handle_stream_accepted(StreamId::Outbound(3), addr(2), now);
    script.drain();
    assert_eq!(script.take_events().len(), 1, "an abort of the last");
}
