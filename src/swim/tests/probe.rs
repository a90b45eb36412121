//! The probe cycle and relayed pings, step by step (gossip spec 4.4, 4.5).

use super::*;
use crate::wire::{IndirectPing, Nack, StreamDecoder, StreamMessage, StreamSide};

fn is_ping(message: &Message) -> bool {
    matches!(message, Message::Ping(_))
}

/// Runs until the next probe; returns its target and the ping.
fn next_probe(script: &mut Script) -> (SocketAddr, Ping) {
    script.outputs.clear();
    let (to, message) = script.run_until_sent(is_ping);
    let Message::Ping(ping) = message else {
        panic!("{message:?}")
    };
    (to, ping)
}

#[test]
fn a_node_alone_has_no_timer_and_sends_nothing() {
    let mut script = Script::new();
    assert_eq!(script.swim.poll_timeout(), None, "an idle node sleeps");
    script.run_for(Duration::from_secs(60));
    assert_eq!(script.take_datagrams(), []);
}

#[test]
fn an_ack_in_time_is_reported() {
    let mut script = Script::new();
    script.meet([2]);
    let (to, ping) = next_probe(&mut script);
    assert_eq!(to, addr(2));
    assert_eq!(ping.node, Some(peer(2)));
    assert_eq!(ping.source, Some(addr(1)));
    assert_eq!(ping.source_node, Some(name("local")));
    script.take_events();
    script.run_for(Duration::from_millis(30));
    script.hear(7, &[ack(ping.seq_no, Some(b"there"))]);
    assert_eq!(
        script.take_events(),
        [Output::Acked {
            node: peer(2),
            rtt: Duration::from_millis(30),
            payload: Some(b"there".to_vec()),
            extra: false
        }]
    );
    script.hear(2, &[ack(ping.seq_no, None)]);
    assert_eq!(script.take_events(), [], "a second ack is for nothing");
    assert_eq!(script.swim.last_lost_datagram(), None);
    let (_, second) = next_probe(&mut script);
    assert_eq!(second.seq_no, ping.seq_no.wrapping_add(1));
}

#[test]
fn probes_keep_their_beat() {
    let mut script = Script::new();
    script.meet([2, 3]);
    let mut times = Vec::new();
    for _ in 0..4 {
        let (_, ping) = next_probe(&mut script);
        times.push(script.now);
        script.hear(2, &[ack(ping.seq_no, None)]);
    }
    for pair in times.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_secs(1));
    }
}

/// Runs a probe whose target stays silent; returns the target, the ping, and the indirect pings.
fn silent_target(script: &mut Script) -> (SocketAddr, Ping, Vec<(SocketAddr, IndirectPing)>) {
    let (to, ping) = next_probe(script);
    script.outputs.clear();
    script.run_for(Duration::from_millis(500));
    let mut asked = Vec::new();
    for (relay, messages) in script.take_datagrams() {
        for message in messages {
            if let Message::IndirectPing(request) = message {
                asked.push((relay, request));
            }
        }
    }
    (to, ping, asked)
}

/// Answers all pings except those to one node.
fn answer_pings(script: &mut Script, silent: &NodeName) {
    for (to, messages) in script.take_datagrams() {
        for message in messages {
            let Message::Ping(ping) = message else {
                continue;
            };
            if ping.node.as_ref() != Some(silent) {
                let ack = ack(ping.seq_no, None).encode();
                let bytes = plain_envelope().seal_datagram(&[ack], false);
                script.swim.handle_datagram(to, &bytes, script.now);
            }
        }
    }
}

#[test]
fn relays_are_asked_then_the_target_is_suspect_then_dead() {
    let mut script = Script::new();
    script.meet(2..=6);
    let (to, ping, asked) = silent_target(&mut script);
    let target = ping.node.clone().unwrap();
    assert_eq!(asked.len(), 3);
    for (index, (relay, request)) in asked.iter().enumerate() {
        assert_ne!(*relay, to);
        assert!(!asked[..index].iter().any(|(other, _)| other == relay));
        assert_eq!(request.seq_no, ping.seq_no);
        assert_eq!((request.target, &request.node), (to, &target));
        assert!(request.nack);
        assert_eq!(request.source, Some(addr(1)));
    }
    let opened = script.take_events();
    let [Output::Transmit(Transmit::Open { stream, to: tcp })] = opened[..] else {
        panic!("{opened:?}")
    };
    assert_eq!(tcp, to);
    // Repeated nacks of one relay count once.
    for _ in 0..3 {
        let nack = Message::Nack(Nack {
            seq_no: ping.seq_no,
        });
        let bytes = plain_envelope().seal_datagram(&[nack.encode()], false);
        script.swim.handle_datagram(asked[0].0, &bytes, script.now);
    }
    script.drain();
    script.outputs.clear();
    script.run_for(Duration::from_millis(500));
    assert_eq!(script.swim.node(&target).unwrap().state, NodeState::Suspect);
    assert_eq!(
        script.swim.health_score(),
        2,
        "two of three nacks are missing"
    );
    let events = script.take_events();
    assert_eq!(events[0], Output::Transmit(Transmit::Abort { stream }));
    let start = script.now;
    // No node confirms the suspicion; meanwhile the others answer.
    let mut limit = 0;
    while script.swim.node(&target).unwrap().state == NodeState::Suspect {
        let due = script.swim.poll_timeout().unwrap();
        script.run_until(due);
        answer_pings(&mut script, &target);
        limit += 1;
        assert!(limit < 10_000);
    }
    assert_eq!(script.now.since(start), Duration::from_secs(24));
    script.drain();
    assert!(
        script
            .take_events()
            .iter()
            .any(|event| matches!(event, Output::Gone(node) if node.name == target))
    );
}

#[test]
fn a_relayed_ack_saves_the_target_and_reports_nothing() {
    let mut script = Script::new();
    script.meet(2..=4);
    let (_, ping, asked) = silent_target(&mut script);
    script.take_events();
    let bytes = plain_envelope().seal_datagram(&[ack(ping.seq_no, None).encode()], false);
    script.swim.handle_datagram(asked[0].0, &bytes, script.now);
    script.drain();
    let events = script.take_events();
    assert!(
        matches!(events[..], [Output::Transmit(Transmit::Abort { .. })]),
        "{events:?}"
    );
    script.run_for(Duration::from_millis(600));
    assert_eq!(
        script.swim.node(&ping.node.unwrap()).unwrap().state,
        NodeState::Alive
    );
    assert_eq!(script.swim.health_score(), 0);
    assert!(script.swim.last_lost_datagram().is_some());
}

#[test]
fn the_third_probe_with_late_timers_counts() {
    let mut script = Script::new();
    script.meet([2]);
    let mut given_up = 0;
    loop {
        script.run_until_sent(is_ping);
        script.run_for(Duration::from_millis(300));
        // The ack's deadline is another 200 ms later, and the timer is handled late.
        script.now = script.swim.poll_timeout().unwrap() + Duration::from_millis(251);
        script.swim.handle_timeout(script.now);
        let score = script.swim.health_score();
        while script.swim.health_score() == score {
            script.run_until(script.swim.poll_timeout().unwrap());
        }
        if script.state(2) == NodeState::Suspect {
            break;
        }
        given_up += 1;
    }
    assert_eq!(given_up, 2);
}

#[test]
fn a_ping_over_tcp_saves_the_target() {
    let mut script = Script::new();
    script.meet([2]);
    let (_, ping, asked) = silent_target(&mut script);
    assert_eq!(asked, []);
    let events = script.take_events();
    let [Output::Transmit(Transmit::Open { stream, .. })] = events[..] else {
        panic!("{events:?}")
    };
    script.swim.handle_stream_connected(stream, script.now);
    script.drain();
    let events = script.take_events();
    let [Output::Transmit(Transmit::Write { stream: to, bytes })] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(*to, stream);
    let mut decoder = StreamDecoder::new(StreamSide::Responder);
    let asked = decoder.push(bytes, &plain_envelope()).unwrap();
    assert_eq!(asked, Some(StreamMessage::Ping(ping.clone())));
    let answer = plain_envelope().seal_stream(
        &StreamMessage::Ack(Ack {
            seq_no: ping.seq_no,
            payload: None,
        }),
        StreamSide::Responder,
    );
    for byte in answer {
        script.swim.handle_stream_data(stream, &[byte], script.now);
    }
    script.drain();
    assert_eq!(
        script.take_events(),
        [Output::Transmit(Transmit::Close { stream })]
    );
    script.run_for(Duration::from_millis(500));
    assert_eq!(script.state(2), NodeState::Alive);
    assert_eq!(script.swim.health_score(), 0);
    assert_eq!(script.swim.last_lost_datagram(), Some(script.now));
}

#[test]
fn a_tcp_ack_with_another_number_saves_nobody() {
    let mut script = Script::new();
    script.meet([2]);
    let (_, ping, _) = silent_target(&mut script);
    let events = script.take_events();
    let [Output::Transmit(Transmit::Open { stream, .. })] = events[..] else {
        panic!("{events:?}")
    };
    script.swim.handle_stream_connected(stream, script.now);
    let answer = plain_envelope().seal_stream(
        &StreamMessage::Ack(Ack {
            seq_no: ping.seq_no.wrapping_add(1),
            payload: None,
        }),
        StreamSide::Responder,
    );
    script.swim.handle_stream_data(stream, &answer, script.now);
    script.run_for(Duration::from_millis(500));
    assert_eq!(script.state(2), NodeState::Suspect);
}

#[test]
fn a_poor_score_gives_the_target_more_time() {
    let mut script = Script::new();
    script.meet([2]);
    script.hear(2, &[suspect(name("local"), 1, 2)]);
    script.hear(2, &[suspect(name("local"), 2, 2)]);
    assert_eq!(script.swim.health_score(), 2);
    next_probe(&mut script);
    script.run_for(Duration::from_millis(2_999));
    assert_eq!(script.state(2), NodeState::Alive);
    script.run_for(Duration::from_millis(1));
    assert_eq!(script.state(2), NodeState::Suspect);
    assert_eq!(script.swim.health_score(), 3, "no nack was to be expected");
}

/// Handles the next timer as late as a busy machine would; returns what was sent.
fn handle_late(script: &mut Script) -> Vec<(SocketAddr, Vec<Message>)> {
    script.now = script.swim.poll_timeout().unwrap() + Duration::from_millis(26);
    script.swim.handle_timeout(script.now);
    script.drain();
    script.take_datagrams()
}

#[test]
fn a_node_that_is_behind_waits_longer_for_an_ack() {
    let mut script = Script::new();
    script.meet(2..=6);
    script.run_for(Duration::from_secs(5));
    script.hear(2, &[suspect(name("local"), 1, 2)]);
    script.hear(2, &[suspect(name("local"), 2, 2)]);
    script.take_datagrams();
    let ping = loop {
        let sent = handle_late(&mut script);
        let messages = sent.into_iter().flat_map(|(_, messages)| messages);
        if let Some(Message::Ping(ping)) = messages.into_iter().find(is_ping) {
            break ping;
        }
    };
    let score = script.swim.health_score();
    assert!(score >= 2);
    let asked = |script: &mut Script| {
        let sent = script.take_datagrams();
        let is_request = |message: &Message| matches!(message, Message::IndirectPing(_));
        sent.iter()
            .any(|(_, messages)| messages.iter().any(is_request))
    };
    let timeout = Duration::from_millis(500) * (score + 1);
    script.run_for(timeout - Duration::from_millis(1));
    assert!(!asked(&mut script));
    script.run_for(Duration::from_millis(1));
    assert!(asked(&mut script));
    handle_late(&mut script);
    script.hear(2, &[ack(ping.seq_no, None)]);
    assert_eq!(script.swim.health_score(), score, "a late ack");
}

#[test]
fn a_suspect_is_pinged_with_the_accusation() {
    let mut script = Script::new();
    script.meet([2]);
    script.hear(3, &[suspect(peer(2), 1, 3)]);
    script.outputs.clear();
    let due = script.swim.poll_timeout().unwrap();
    script.run_until(due);
    let datagram = loop {
        let datagrams = script.take_datagrams();
        if let Some(found) = datagrams.into_iter().find(|(_, m)| is_ping(&m[0])) {
            break found;
        }
        let due = script.swim.poll_timeout().unwrap();
        script.run_until(due);
    };
    let [Message::Ping(_), Message::Suspect(accusation)] = &datagram.1[..] else {
        panic!("{datagram:?}")
    };
    assert_eq!((accusation.incarnation, &accusation.node), (1, &peer(2)));
    assert_eq!(accusation.from, Some(name("local")));
}

#[test]
fn pings_are_answered_where_they_ask_for_it() {
    let mut script = Script::new();
    script.swim.set_ack_payload(Some(b"xy".to_vec()));
    let acks = |script: &mut Script| -> Vec<(SocketAddr, Message)> {
        script
            .take_datagrams()
            .into_iter()
            .map(|(to, messages)| (to, messages[0].clone()))
            .collect()
    };
    script.hear(4, &[ping_from(9, 77)]);
    assert_eq!(acks(&mut script), [(addr(9), ack(77, Some(b"xy")))]);
    let plain = |node: Option<NodeName>| {
        Message::Ping(Ping {
            seq_no: 5,
            node,
            source: None,
            source_node: None,
            extension: Vec::new(),
        })
    };
    script.hear(4, &[plain(None)]);
    assert_eq!(acks(&mut script), [(addr(4), ack(5, Some(b"xy")))]);
    script.hear(4, &[plain(Some(peer(8)))]);
    assert_eq!(acks(&mut script), []);
}

#[test]
fn nobody_can_aim_a_flood_of_answers_at_a_third_party() {
    let mut script = Script::new();
    script.meet([9]);
    for _ in 0..1_000 {
        script.hear(4, &[ping_from(8, 1)]);
    }
    assert_eq!(script.take_datagrams().len(), 64);
    for _ in 0..100 {
        script.hear(4, &[ping_from(9, 1)]);
        script.hear(4, &[ping_from(4, 1)]);
    }
    assert_eq!(
        script.take_datagrams().len(),
        200,
        "members and senders are free"
    );
}

fn request(nack: bool) -> Message {
    Message::IndirectPing(IndirectPing {
        seq_no: 500,
        target: addr(3),
        node: peer(3),
        nack,
        source: Some(addr(2)),
        source_node: Some(peer(2)),
    })
}

#[test]
fn a_relay_passes_an_ack_on_with_the_requesters_number() {
    let mut script = Script::new();
    script.hear(2, &[request(true)]);
    let sent = script.take_datagrams();
    let (to, Message::Ping(ping)) = (sent[0].0, &sent[0].1[0]) else {
        panic!("{sent:?}")
    };
    assert_eq!(to, addr(3));
    assert_eq!(ping.node, Some(peer(3)));
    assert_eq!(ping.source, Some(addr(1)));
    let number = ping.seq_no;
    script.hear(3, &[ack(number, Some(b"coordinates"))]);
    let sent = script.take_datagrams();
    assert_eq!((sent[0].0, &sent[0].1[0]), (addr(2), &ack(500, None)));
    script.run_for(Duration::from_secs(2));
    assert_eq!(script.take_datagrams(), [], "no nack after an ack");
}

#[test]
fn a_relay_says_when_the_target_stays_silent_if_asked_to() {
    for wanted in [false, true] {
        let mut script = Script::new();
        script.hear(2, &[request(wanted)]);
        script.take_datagrams();
        script.run_for(Duration::from_millis(499));
        assert_eq!(script.take_datagrams(), []);
        script.run_for(Duration::from_millis(1));
        let sent: Vec<_> = script
            .take_datagrams()
            .into_iter()
            .map(|(to, messages)| (to, messages[0].clone()))
            .collect();
        if wanted {
            assert_eq!(sent, [(addr(2), Message::Nack(Nack { seq_no: 500 }))]);
        } else {
            assert_eq!(sent, []);
        }
    }
}

#[test]
fn the_dead_are_forgotten_after_their_time() {
    let mut script = Script::new();
    script.meet([2, 3]);
    script.hear(3, &[dead(peer(2), 1, peer(3)), dead(peer(3), 1, peer(3))]);
    script.run_for(Duration::from_secs(30));
    assert_eq!(script.swim.node_count(), 3);
    script.run_for(Duration::from_secs(3));
    assert_eq!(script.swim.node_count(), 1);
    assert_eq!(script.swim.poll_timeout(), None);
}

#[test]
fn who_sleeps_accuses_nobody() {
    let mut script = Script::new();
    script.meet([2]);
    next_probe(&mut script);
    script.now += Duration::from_secs(60);
    script.swim.handle_timeout(script.now);
    script.drain();
    assert_eq!(script.state(2), NodeState::Alive);
    assert_eq!(script.swim.health_score(), 1);
}
