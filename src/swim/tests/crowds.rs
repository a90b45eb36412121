//! Limits on the number of streams and the bytes they hold (gossip spec 8.4).

use super::streams::push_pull;
use super::*;
use crate::wire::RemoteState;
use crate::wire::StreamSide;

#[test]
fn accepted_streams_are_bounded_in_number_and_time() {
    let mut script = Script::new();
    let now = script.now;
    let aborted = |script: &mut Script| -> Vec<StreamId> {
        let abort = |event| match event {
            Output::Transmit(Transmit::Abort { stream }) => stream,
            other => panic!("{other:?}"),
        };
        script.take_events().into_iter().map(abort).collect()
    };
    let accept = |script: &mut Script, number, peer: SocketAddr| {
        let id = StreamId::Inbound(number);
        script.swim.handle_stream_accepted(id, peer, now);
        script.drain();
        aborted(script)
    };
    let own = |number| vec![StreamId::Inbound(number)];
    // Limit of one address: the oldest silent stream is aborted for each further one.
    for number in 0..40 {
        let expected = if number < 32 {
            vec![]
        } else {
            own(number - 32)
        };
        assert_eq!(accept(&mut script, number, addr(2)), expected);
    }
    let loopback: SocketAddr = "127.0.0.1:5000".parse().unwrap();
    for number in 100..196 {
        assert_eq!(accept(&mut script, number, loopback), []);
    }
    // The same for the limit of all addresses together.
    for number in 0..32 {
        assert_eq!(accept(&mut script, 200 + number, loopback), own(8 + number));
    }
    for number in 100..196 {
        assert_eq!(accept(&mut script, 200 + number, loopback), own(number));
    }
    // A stream with part of a request is not silent.
    for number in (200..232).chain(300..396) {
        let id = StreamId::Inbound(number);
        script.swim.handle_stream_data(id, &[6, 0x83], now);
        script.drain();
    }
    assert_eq!(accept(&mut script, 400, loopback), own(400));
    script.run_for(Duration::from_millis(9_999));
    assert_eq!(script.take_events(), []);
    script.run_for(Duration::from_millis(1));
    let aborted = script.take_events();
    assert_eq!(aborted.len(), 128);
    assert_eq!(script.swim.poll_timeout(), None);
}

#[test]
fn an_address_has_no_more_than_its_share() {
    let mut script = Script::new();
    let now = script.now;
    let accept = |script: &mut Script, number, peer| {
        let id = StreamId::Inbound(number);
        script.swim.handle_stream_accepted(id, peer, now);
        script.swim.handle_stream_data(id, &[6, 0x83], now);
        script.drain();
        script.take_events()
    };
    for number in 0..32 {
        assert_eq!(accept(&mut script, number, addr(2)), []);
    }
    let stream = StreamId::Inbound(32);
    let refused = [Output::Transmit(Transmit::Abort { stream })];
    assert_eq!(accept(&mut script, 32, addr(2)), refused);
    assert_eq!(accept(&mut script, 33, addr(3)), []);
}

#[test]
fn what_accepted_streams_hold_together_is_bounded() {
    let mut script = Script::new();
    let now = script.now;
    let mut envelope = plain_envelope();
    envelope.compression = false;
    let message = push_pull(false, Vec::new(), &vec![7; 9 << 20]);
    let bytes = envelope.seal_stream(&message, StreamSide::Initiator);
    let mut aborted = Vec::new();
    for number in 1..=2 {
        let stream = StreamId::Inbound(number);
        script.swim.handle_stream_accepted(stream, addr(2), now);
        for chunk in bytes[..bytes.len() - 1].chunks(1 << 16) {
            script.swim.handle_stream_data(stream, chunk, now);
        }
        script.drain();
        aborted.push(script.take_events());
    }
    let stream = StreamId::Inbound(2);
    assert_eq!(
        aborted,
        [vec![], vec![Output::Transmit(Transmit::Abort { stream })]]
    );
    let first = StreamId::Inbound(1);
    script
        .swim
        .handle_stream_data(first, &bytes[bytes.len() - 1..], now);
    script.drain();
    assert_eq!(
        script.take_events(),
        [Output::UserStateWanted {
            stream: first,
            join: false
        }]
    );
}

/// Joins a cluster of nodes 2 to 5; returns the nodes that this node then announces to others. `before`:
/// nodes known before the join; `meanwhile`: nodes that join before the response arrives.
fn told_after_a_join(before: &[u8], meanwhile: &[u8]) -> Vec<u8> {
    let mut script = Script::new();
    script.meet(before.iter().copied());
    script.run_for(Duration::from_secs(3));
    script.outputs.clear();
    let (_, stream) = streams::join(&mut script);
    let now = script.now;
    script.swim.handle_stream_connected(stream, now);
    script.swim.send_push_pull(stream, b"", now);
    script.meet(meanwhile.iter().copied());
    let nodes = (2..=5).map(|host| streams::entry(host, 1, RemoteState::Alive));
    let answer = streams::push_pull(true, nodes.collect(), b"");
    streams::answer(&mut script, stream, &answer);
    script.run_for(Duration::from_secs(5));
    let sent = script.take_datagrams();
    let messages: Vec<Message> = sent.into_iter().flat_map(|d| d.1).collect();
    let is_about = |host: &u8| {
        let about = |message: &Message| matches!(message, Message::Alive(alive) if alive.node == peer(*host));
        messages.iter().any(about)
    };
    (2..10).filter(is_about).collect()
}

#[test]
fn a_lone_node_does_not_gossip_the_state_that_its_join_brought() {
    assert_eq!(told_after_a_join(&[], &[]), [0; 0]);
    assert_eq!(told_after_a_join(&[7], &[]), [2, 3, 4, 5]);
    assert_eq!(told_after_a_join(&[], &[7]), [2, 3, 4, 5, 7]);
}
