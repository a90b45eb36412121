//! Checks that nothing is accepted from or sent to addresses outside the allowed networks.

use super::streams::{INBOUND, answer, entry, failure, join, push_pull, receive};
use super::*;
use crate::wire::{
    IndirectPing, Key, Keyring, Label, PushPullNode, RemoteState, StreamDecoder, StreamMessage,
    StreamSide,
};

/// Returns an address that is not allowed; all other test hosts are at `addr(host)`.
fn foreign() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 1], 7946))
}

fn bounded() -> Script {
    let networks = ["192.0.2.0/24", "2001:db8::/32"];
    let mut script = Script::new();
    let networks = networks.map(|text| Network::parse(text).unwrap());
    script.swim.allow_networks(networks.to_vec());
    script.meet([2]);
    script
}

fn hear_from(script: &mut Script, from: SocketAddr, message: &Message) {
    let bytes = plain_envelope().seal_datagram(&[message.encode()], false);
    script.swim.handle_datagram(from, &bytes, script.now);
    script.drain();
}

#[test]
fn datagrams_and_streams_of_others_are_dropped_and_counted() {
    let mut script = bounded();
    let mapped: SocketAddr = "[::ffff:192.0.2.9]:7946".parse().unwrap();
    for (from, is_answered) in [
        (foreign(), false),
        ("[2001:db9::1]:7946".parse().unwrap(), false),
        ("[::ffff:198.51.100.1]:7946".parse().unwrap(), false),
        ("[2001:db8::1]:7946".parse().unwrap(), true),
        (mapped, true),
    ] {
        let Message::Ping(mut ping) = ping_from(2, 1) else {
            panic!()
        };
        ping.source = None;
        hear_from(&mut script, from, &Message::Ping(ping));
        assert_eq!(
            script.take_datagrams().len(),
            usize::from(is_answered),
            "{from}"
        );
    }
    assert_eq!(script.swim.counters().foreign_in, 3);
    let now = script.now;
    script.swim.handle_stream_accepted(INBOUND, foreign(), now);
    script.drain();
    let aborted = Output::Transmit(Transmit::Abort { stream: INBOUND });
    assert_eq!(script.take_events(), [aborted]);
    assert_eq!(script.swim.counters().foreign_in, 4);
}

#[test]
fn what_is_said_about_nodes_elsewhere_is_dropped_singly() {
    let mut script = bounded();
    let elsewhere = Alive {
        addr: foreign(),
        ..alive(3, 1)
    };
    script.hear(2, &[Message::Alive(elsewhere), Message::Alive(alive(4, 1))]);
    assert!(script.swim.node(&peer(3)).is_none());
    assert_eq!(script.state(4), NodeState::Alive);
    let at_foreign = |host, state| PushPullNode {
        addr: foreign(),
        ..entry(host, 9, state)
    };
    // Foreign entries have no effect: no node becomes suspect, moves or is refused.
    let state = push_pull(
        true,
        vec![
            at_foreign(2, RemoteState::Alive),
            at_foreign(4, RemoteState::Dead),
            at_foreign(5, RemoteState::Alive),
            PushPullNode {
                versions: VersionVector {
                    protocol_min: 6,
                    protocol_max: 6,
                    protocol_current: 6,
                    ..VersionVector::serf(5)
                },
                ..at_foreign(6, RemoteState::Alive)
            },
            entry(7, 1, RemoteState::Alive),
        ],
        b"",
    );
    receive(&mut script, &state);
    let now = script.now;
    script.swim.send_push_pull(INBOUND, b"", now);
    script.drain();
    let names: Vec<String> = script.swim.nodes().map(|n| n.name.to_string()).collect();
    assert_eq!(names, ["local", "n2", "n4", "n7"]);
    assert_eq!(script.state(4), NodeState::Alive);
    assert_eq!(script.swim.node(&peer(2)).unwrap().addr, addr(2));
    assert_eq!(script.swim.counters().foreign_nodes, 5);
    assert_eq!(script.swim.counters().dropped_refused, 0);
}

#[test]
fn the_answer_to_a_join_is_sifted_too() {
    let mut script = bounded();
    let (_, stream) = join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    script.drain();
    let elsewhere = PushPullNode {
        addr: foreign(),
        ..entry(3, 1, RemoteState::Alive)
    };
    let state = push_pull(true, vec![elsewhere, entry(4, 1, RemoteState::Alive)], b"");
    answer(&mut script, stream, &state);
    assert!(script.swim.node(&peer(3)).is_none());
    assert_eq!(script.state(4), NodeState::Alive);
}

#[test]
fn nothing_is_sent_elsewhere_on_a_peer_s_word() {
    let mut script = bounded();
    let Message::Ping(ping) = ping_from(2, 7) else {
        panic!()
    };
    let indirect = |target, source| {
        Message::IndirectPing(IndirectPing {
            seq_no: 8,
            target,
            node: peer(2),
            nack: true,
            source,
            source_node: Some(peer(2)),
        })
    };
    let requests = [
        Message::Ping(Ping {
            source: Some(foreign()),
            ..ping
        }),
        indirect(foreign(), None),
        indirect(addr(2), Some(foreign())),
    ];
    for (index, request) in requests.iter().enumerate() {
        hear_from(&mut script, addr(2), request);
        script.run_for(Duration::from_millis(600));
        let receivers = script.take_datagrams().into_iter().map(|(to, _)| to);
        assert!(
            !receivers.collect::<Vec<_>>().contains(&foreign()),
            "{index}"
        );
        assert!(script.swim.counters().foreign_out > index as u64, "{index}");
    }
    let now = script.now;
    script.swim.send_user_message(foreign(), b"answer");
    script
        .swim
        .send_user_messages(foreign(), &[b"answer".to_vec()]);
    script.swim.handle_timeout(now);
    script.drain();
    let receivers = script.take_datagrams().into_iter().map(|(to, _)| to);
    assert!(!receivers.collect::<Vec<_>>().contains(&foreign()));
}

#[test]
fn a_join_elsewhere_says_why_it_fails() {
    let mut script = bounded();
    let now = script.now;
    let join = script.swim.join(foreign(), now);
    script.drain();
    let why = "198.51.100.1 is not in an allowed network, see -allow";
    assert_eq!(failure(&mut script, join), why);
}

#[test]
fn other_labels_are_counted_and_named_once_a_minute() {
    let mut script = Script::new();
    let second = Duration::from_secs(1);
    let mut other = plain_envelope();
    other.label = Label::new(b"other").unwrap();
    let mut warned = Vec::new();
    for (count, pause) in [0, 1, 58, 1, 59, 1].into_iter().enumerate() {
        script.now += second * pause;
        let due = script.swim.next_label_warning;
        let now = script.now;
        let ping = ping_from(2, 1).encode();
        if count % 2 == 0 {
            let bytes = other.seal_datagram(&[ping], false);
            script.swim.handle_datagram(addr(2), &bytes, now);
        } else {
            let message = push_pull(false, Vec::new(), b"");
            let bytes = other.seal_stream(&message, StreamSide::Initiator);
            script.swim.handle_stream_accepted(INBOUND, addr(2), now);
            script.swim.handle_stream_data(INBOUND, &bytes, now);
        }
        script.drain();
        assert!(script.take_datagrams().is_empty());
        assert_eq!(script.swim.counters().dropped_mislabelled, count as u64 + 1);
        warned.push(script.swim.next_label_warning > due);
    }
    assert_eq!(warned, [true, false, false, true, false, true]);
    // Such a stream is closed without a response.
    let ends = script.take_events();
    assert_eq!(ends.len(), 3, "{ends:?}");
    let aborted = Output::Transmit(Transmit::Abort { stream: INBOUND });
    assert!(ends.iter().all(|end| *end == aborted), "{ends:?}");
}

#[test]
fn a_state_is_answered_under_the_label_of_its_request() {
    let label = |text: &[u8]| Label::new(text).unwrap();
    let mut script = Script::new();
    let envelope = script.swim.envelope_mut();
    envelope.keyring = Some(Keyring::new(Key::new(&[5; 16]).unwrap()));
    envelope.labels_accepted = vec![label(b"new")];
    let mut peer = plain_envelope();
    peer.keyring.clone_from(&envelope.keyring);
    peer.label = label(b"new");
    let message = push_pull(true, Vec::new(), b"");
    let bytes = peer.seal_stream(&message, StreamSide::Initiator);
    let now = script.now;
    script.swim.handle_stream_accepted(INBOUND, addr(2), now);
    script.swim.handle_stream_data(INBOUND, &bytes, now);
    script.swim.send_push_pull(INBOUND, b"", now);
    script.drain();
    let written = script
        .take_events()
        .into_iter()
        .find_map(|output| match output {
            Output::Transmit(Transmit::Write { bytes, .. }) => Some(bytes),
            _ => None,
        });
    let mut decoder = StreamDecoder::new(StreamSide::Initiator);
    let answer = decoder.push(&written.unwrap(), &peer);
    assert!(
        matches!(answer, Ok(Some(StreamMessage::PushPull(_)))),
        "{answer:?}"
    );
}

#[test]
fn the_own_address_is_always_allowed() {
    let mut script = Script::new();
    let elsewhere = Network::parse("198.51.100.0/24").unwrap();
    script.swim.allow_networks(vec![elsewhere]);
    let now = script.now;
    for (peer, is_own) in [(addr(1), true), (foreign(), true), (addr(2), false)] {
        assert_eq!(script.swim.permits(peer), is_own, "{peer}");
    }
    let mapped = "[::ffff:192.0.2.1]:9".parse().unwrap();
    assert!(script.swim.permits(mapped));
    script.swim.handle_stream_accepted(INBOUND, addr(1), now);
    script.drain();
    assert!(script.take_events().is_empty());
    // An entry about this node itself is never foreign.
    let own = PushPullNode {
        name: name("local"),
        ..entry(1, 1, RemoteState::Alive)
    };
    let StreamMessage::PushPull(state) = push_pull(false, vec![own], b"") else {
        panic!()
    };
    let entries = state.nodes.iter();
    let mut entries = entries.map(|entry| script.swim.refuse_subject(&entry.name, entry.addr));
    assert!(entries.all(|refused| !refused));
}
