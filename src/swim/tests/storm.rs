//! Random input: checks the invariants of the tables, and that deadlines lie in the future.

use super::*;
use crate::wire::{
    IndirectPing, Nack, PushPull, PushPullNode, RemoteState, StreamMessage, StreamSide,
};

fn any_name(rng: &mut Rng) -> NodeName {
    match rng.below(8) {
        0 => name("local"),
        host => peer(host as u8 + 1),
    }
}

fn any_addr(rng: &mut Rng) -> SocketAddr {
    match rng.below(8) {
        0 => "127.0.0.1:1".parse().unwrap(),
        1 => "0.0.0.0:0".parse().unwrap(),
        _ => addr(rng.below(9) as u8 + 1),
    }
}

fn any_incarnation(rng: &mut Rng) -> u32 {
    match rng.below(20) {
        0 => u32::MAX,
        1 => u32::MAX - 1,
        small => small as u32 / 4,
    }
}

fn any_versions(rng: &mut Rng) -> VersionVector {
    let mut versions = VersionVector::serf(2 + rng.below(4) as u8);
    if rng.chance(0.05) {
        versions.protocol_min = 3;
        versions.protocol_current = 4;
    }
    versions
}

fn any_message(rng: &mut Rng, sequence: u32) -> Message {
    let node = any_name(rng);
    let from = rng.chance(0.9).then(|| any_name(rng));
    let incarnation = any_incarnation(rng);
    let seq_no = match rng.below(4) {
        0 => rng.next_u32(),
        _ => sequence.wrapping_sub(rng.below(3) as u32),
    };
    let source = rng.chance(0.7).then(|| any_addr(rng));
    let source_node = rng.chance(0.7).then(|| any_name(rng));
    match rng.below(9) {
        0 => Message::Ping(Ping {
            seq_no,
            node: Some(node),
            source,
            source_node,
            extension: Vec::new(),
        }),
        1 => Message::IndirectPing(IndirectPing {
            seq_no,
            target: any_addr(rng),
            node,
            nack: rng.chance(0.5),
            source,
            source_node,
        }),
        2 => ack(seq_no, None),
        3 => Message::Nack(Nack { seq_no }),
        4 => Message::Suspect(Suspect {
            incarnation,
            node,
            from,
        }),
        5 => Message::Dead(Dead {
            incarnation,
            node,
            from,
        }),
        6 => Message::User(vec![3; 1 + rng.below(600)]),
        _ => Message::Alive(Alive {
            incarnation,
            node,
            addr: any_addr(rng),
            meta: Some(vec![0; rng.below(3)].into()),
            versions: any_versions(rng),
        }),
    }
}

fn any_stream_message(rng: &mut Rng) -> StreamMessage {
    let nodes = (0..rng.below(8))
        .map(|_| PushPullNode {
            name: any_name(rng),
            addr: any_addr(rng),
            meta: None,
            incarnation: any_incarnation(rng),
            state: match rng.below(4) {
                0 => RemoteState::Alive,
                1 => RemoteState::Suspect,
                2 => RemoteState::Dead,
                _ => RemoteState::Left,
            },
            versions: any_versions(rng),
        })
        .collect();
    match rng.below(6) {
        0 => StreamMessage::User(b"\x03x".to_vec()),
        1 => StreamMessage::Error(b"no".to_vec()),
        2 => StreamMessage::Ack(Ack {
            seq_no: rng.next_u32(),
            payload: None,
        }),
        _ => StreamMessage::PushPull(PushPull {
            join: rng.chance(0.5),
            nodes,
            refused: Vec::new(),
            user_state: vec![1; rng.below(3)],
        }),
    }
}

/// Feeds one random input to a node.
fn happen(script: &mut Script, rng: &mut Rng, number: u64, open: &mut Vec<StreamId>) {
    let now = script.now;
    let swim = &mut script.swim;
    let stream = open.get(rng.below(open.len())).copied();
    let stream = stream.unwrap_or(StreamId::Inbound(number));
    match rng.below(40) {
        0 => {
            swim.join(any_addr(rng), now);
        }
        1 => swim.update_meta(vec![0; rng.below(4)].into(), Duration::from_secs(5), now),
        2 => {
            let queue = [Priority::First, Priority::Second, Priority::Third][rng.below(3)];
            let message = vec![2; rng.below(1_500)].into();
            let audience = [Audience::All, Audience::Present][rng.below(2)];
            swim.broadcast(queue, audience, message, Some(BroadcastId(number)), now);
        }
        3 => {
            swim.prune_queue(Priority::Third, rng.below(4));
        }
        4 | 5 => {
            swim.handle_stream_accepted(StreamId::Inbound(number), any_addr(rng), now);
            open.push(StreamId::Inbound(number));
        }
        6 => swim.handle_stream_connected(stream, now),
        7 => {
            let end = [StreamEnd::Eof, StreamEnd::Failed("broke".into())][rng.below(2)].clone();
            swim.handle_stream_closed(stream, end, now);
        }
        8..=12 => {
            let side = match stream {
                StreamId::Inbound(_) => StreamSide::Initiator,
                StreamId::Outbound(_) => StreamSide::Responder,
            };
            let mut bytes = plain_envelope().seal_stream(&any_stream_message(rng), side);
            if rng.chance(0.2) {
                let place = rng.below(bytes.len());
                bytes[place] ^= 1 << rng.below(8);
            }
            swim.handle_stream_data(stream, &bytes, now);
        }
        13 => swim.set_user_member_count(rng.below(30)),
        14 if rng.chance(0.02) => swim.leave(Duration::from_secs(5), now),
        15..=22 => {
            let until = now + rng.duration_below(Duration::from_millis(800));
            script.run_until(until);
        }
        _ => {
            let sequence = swim.sequence;
            let messages: Vec<Vec<u8>> = (0..1 + rng.below(4))
                .map(|_| any_message(rng, sequence).encode())
                .collect();
            let bytes = plain_envelope().seal_datagram(&messages, rng.chance(0.5));
            swim.handle_datagram(any_addr(rng), &bytes, now);
        }
    }
}

#[test]
fn a_storm_leaves_the_tables_in_order() {
    for seed in 0..8 {
        let mut rng = Rng::new(seed);
        let mut script = Script::new();
        let mut open = Vec::new();
        let (mut joined, mut gone, mut ended) = (0, 0, 0);
        for number in 0..2_000 {
            happen(&mut script, &mut rng, number, &mut open);
            script.drain();
            for output in std::mem::take(&mut script.outputs) {
                match output {
                    Output::UserStateWanted { stream, .. } => {
                        script.swim.send_push_pull(stream, b"x", script.now);
                        script.drain();
                    }
                    Output::Transmit(Transmit::Open { stream, .. }) => open.push(stream),
                    Output::Transmit(Transmit::Close { stream } | Transmit::Abort { stream }) => {
                        open.retain(|&other| other != stream)
                    }
                    Output::Joined(_) => joined += 1,
                    Output::Gone(_) => gone += 1,
                    Output::JoinEnded { .. } => ended += 1,
                    _ => {}
                }
            }
        }
        assert!(
            joined > 10 && gone > 10 && ended > 10,
            "{joined} {gone} {ended}"
        );
        // Without further input, everything queued or waiting ends.
        script.run_for(Duration::from_secs(600));
        assert_eq!(script.swim.node_count(), 1, "seed {seed}");
        assert_eq!(script.swim.poll_timeout(), None, "seed {seed}");
    }
}
