//! Pings and exchanges on request of the Serf layer, outside the protocol's own cycles.

use super::*;

fn ping_with(host: u8, extension: &[u8]) -> Message {
    let Message::Ping(ping) = ping_from(host, 5) else {
        panic!("no ping")
    };
    Message::Ping(Ping {
        extension: extension.to_vec(),
        ..ping
    })
}

/// A node without probes, which would be evidence, and without periodic exchanges.
fn without_cycles() -> Script {
    Script::with(Config {
        probe_interval: Duration::ZERO,
        push_pull_interval: Duration::ZERO,
        ..Config::lan()
    })
}

/// Returns the extra ping that was sent, and its destination.
fn sent_ping(script: &mut Script) -> (SocketAddr, Ping) {
    let pings = script.take_datagrams().into_iter();
    let mut pings = pings.flat_map(|(to, messages)| {
        let only_pings = messages.into_iter().filter_map(|message| match message {
            Message::Ping(ping) => Some(ping),
            _ => None,
        });
        only_pings.map(move |ping| (to, ping)).collect::<Vec<_>>()
    });
    let ping = pings.next().expect("a ping");
    assert_eq!(pings.next(), None);
    ping
}

#[test]
fn an_extra_ping_brings_back_its_ack_and_nothing_else() {
    let mut script = Script::new();
    script.meet([2, 3]);
    script.drain();
    script.outputs.clear();
    let health = script.swim.health_score();
    assert!(script.swim.ping_member(&peer(2), b"behind", script.now));
    script.drain();
    let (to, ping) = sent_ping(&mut script);
    assert_eq!((to, &ping.node), (addr(2), &Some(peer(2))));
    assert_eq!(ping.extension, b"behind");
    script.run_for(Duration::from_millis(20));
    script.outputs.clear();
    script.hear(2, &[ack(ping.seq_no, Some(b"there"))]);
    assert_eq!(
        script.take_events(),
        [Output::Acked {
            node: peer(2),
            rtt: Duration::from_millis(20),
            payload: Some(b"there".to_vec()),
            extra: true
        }]
    );
    script.hear(2, &[ack(ping.seq_no, None)]);
    assert_eq!(script.take_events(), [], "a second ack is for nothing");
    assert_eq!(script.swim.health_score(), health);
}

#[test]
fn a_missing_or_late_ack_of_an_extra_ping_has_no_effect() {
    let mut script = without_cycles();
    script.meet([2]);
    script.run_for(Duration::from_secs(5));
    let before = script.swim.poll_timeout();
    assert!(script.swim.ping_member(&peer(2), b"x", script.now));
    assert_eq!(script.swim.poll_timeout(), before, "it has no timer");
    script.drain();
    let (_, ping) = sent_ping(&mut script);
    script.run_for(Duration::from_secs(5));
    assert_eq!(script.state(2), NodeState::Alive);
    assert_eq!(script.swim.health_score(), 0);
    script.hear(2, &[ack(ping.seq_no, None)]);
    assert_eq!(script.take_events(), []);
}

#[test]
fn a_node_that_acks_again_has_missed_a_datagram() {
    let mut script = without_cycles();
    script.meet([2, 3]);
    // Whether nodes 2 and 3 ack the ping of a second.
    for (acks, lost) in [
        ([true, true], false),
        ([true, false], false),
        ([true, false], false),
        ([true, true], true),
    ] {
        for (host, acks) in [2, 3].into_iter().zip(acks) {
            script.outputs.clear();
            assert!(script.swim.ping_member(&peer(host), b"x", script.now));
            script.drain();
            let (_, ping) = sent_ping(&mut script);
            if acks {
                script.hear(host, &[ack(ping.seq_no, None)]);
            }
        }
        let seen = script.swim.last_lost_datagram();
        assert_eq!(seen, lost.then_some(script.now), "{acks:?}");
        script.run_for(Duration::from_secs(1));
    }
}

#[test]
fn extra_pings_are_forgotten_when_they_are_many() {
    let mut script = Script::new();
    script.meet([2]);
    let mut sequences = Vec::new();
    for _ in 0..40 {
        script.outputs.clear();
        assert!(script.swim.ping_member(&peer(2), b"x", script.now));
        script.drain();
        sequences.push(sent_ping(&mut script).1.seq_no);
    }
    let mut told = 0;
    for sequence in sequences {
        script.hear(2, &[ack(sequence, None)]);
        told += script.take_events().len();
    }
    assert_eq!(told, 32);
}

#[test]
fn only_others_that_live_are_asked() {
    let mut script = Script::new();
    script.meet([2, 3]);
    script.hear(3, &[dead(peer(3), 1, peer(3))]);
    let now = script.now;
    for nobody in [peer(3), peer(9), name("local")] {
        assert!(!script.swim.ping_member(&nobody, b"x", now));
        assert!(!script.swim.exchange_with(&nobody, now));
    }
    assert_eq!(script.swim.sample_members(8), [peer(2)]);
}

#[test]
fn an_extension_is_believed_of_a_member_at_its_own_address_alone() {
    let mut script = Script::new();
    script.swim.set_ack_payload(Some(b"plain".to_vec()));
    let extended = Some(b"extended".to_vec());
    script.swim.set_extended_ack_payload(extended.clone());
    script.meet([2, 3]);
    let pinged = |extension: &[u8]| Output::Pinged {
        node: peer(2),
        addr: addr(2),
        extension: extension.to_vec(),
    };
    let mut stated_elsewhere = ping_with(2, b"ext");
    if let Message::Ping(ping) = &mut stated_elsewhere {
        ping.source = Some(addr(3));
    }
    // Sender, ping, payload of the ack, outputs to the Serf layer.
    for (host, message, payload, told) in [
        (2, ping_with(2, b"ext"), "extended", vec![pinged(b"ext")]),
        (2, ping_with(2, b""), "plain", vec![]),
        (3, ping_with(2, b"ext"), "extended", vec![]),
        (2, stated_elsewhere, "extended", vec![]),
        (9, ping_with(9, b"ext"), "extended", vec![]),
    ] {
        script.outputs.clear();
        script.hear(host, &[message]);
        let acks = script.take_datagrams();
        let acked = acks.iter().flat_map(|(_, messages)| messages);
        let due = ack(5, Some(payload.as_bytes()));
        assert!(acked.into_iter().any(|message| *message == due));
        assert_eq!(script.take_events(), told);
    }
}

#[test]
fn an_exchange_that_was_asked_for_ends_in_any_case() {
    let mut script = Script::new();
    script.meet([2]);
    assert!(script.swim.exchange_with(&peer(2), script.now));
    script.drain();
    let opened = script.take_events();
    let [Output::Transmit(Transmit::Open { stream, to })] = opened[..] else {
        panic!("{opened:?}")
    };
    assert_eq!(to, addr(2));
    let refused = StreamEnd::Failed("connection refused".to_owned());
    script
        .swim
        .handle_stream_closed(stream, refused, script.now);
    script.drain();
    assert_eq!(script.take_events(), [Output::ExchangeEnded]);
}

#[test]
fn user_messages_fill_datagrams_in_their_order() {
    let mut script = Script::new();
    let messages: Vec<Vec<u8>> = (0..10).map(|n| vec![n; 400]).collect();
    script.swim.send_user_messages(addr(2), &messages);
    script.drain();
    let datagrams = script.take_datagrams();
    assert_eq!(datagrams.len(), 4, "three of them fit");
    let sent = datagrams.into_iter().flat_map(|(to, messages)| {
        assert_eq!(to, addr(2));
        messages
    });
    let due: Vec<_> = messages.into_iter().map(Message::User).collect();
    assert_eq!(sent.collect::<Vec<_>>(), due);
    script.swim.send_user_messages(addr(2), &[]);
    script.drain();
    assert_eq!(script.take_events(), []);
}
