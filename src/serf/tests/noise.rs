//! Floods a node with well-formed and broken messages and with commands: nothing panics, invariants hold, all
//! buffers stay within their limits, and the node keeps working.

use super::harness::{Net, addr, target};
use crate::rng::Rng;
use crate::serf::*;
use crate::time::Duration;
use crate::wire::serf::{
    Filter, JoinIntent, LeaveIntent, QueryMessage, QueryResponseMessage, RelayMessage, SerfMessage,
    UserEventMessage,
};

fn time(rng: &mut Rng) -> LamportTime {
    LamportTime(match rng.below(20) {
        0 => u64::MAX,
        1 => 0,
        2 => rng.next_u64() >> 24,
        _ => rng.below(2000) as u64,
    })
}

fn name(rng: &mut Rng) -> NodeName {
    let text = match rng.below(4) {
        0 => format!("stranger {}", rng.next_u32()),
        _ => format!("n{}", rng.below(4)),
    };
    NodeName::new(text.as_bytes()).unwrap()
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let length = rng.below(40);
    (0..length).map(|_| rng.next_u32() as u8).collect()
}

fn query(rng: &mut Rng) -> QueryMessage {
    let filter = match rng.below(3) {
        0 => Filter::Nodes(vec![b"n1".to_vec()]).encode(),
        1 => Filter::Tag {
            tag: b"role".to_vec(),
            expression: bytes(rng),
        }
        .encode(),
        _ => bytes(rng),
    };
    let names: [&[u8]; 4] = [b"q", b"_serf_ping", b"_serf_conflict", b"_serf_list-keys"];
    QueryMessage {
        ltime: time(rng),
        id: rng.below(3) as u32,
        addr: addr(rng.below(5) as u16),
        source_node: rng.chance(0.5).then(|| name(rng)),
        filters: rng.chance(0.5).then(|| vec![filter]),
        flags: rng.next_u32(),
        relay_factor: rng.below(4) as u8,
        timeout_nanos: rng.next_u64() as i64,
        name: names[rng.below(4)].to_vec(),
        payload: rng.chance(0.5).then(|| bytes(rng)),
    }
}

fn response(rng: &mut Rng) -> QueryResponseMessage {
    QueryResponseMessage {
        ltime: time(rng),
        id: rng.next_u32(),
        from: name(rng),
        flags: rng.next_u32(),
        payload: rng.chance(0.5).then(|| bytes(rng)),
    }
}

fn message(rng: &mut Rng) -> SerfMessage {
    match rng.below(6) {
        0 => SerfMessage::Leave(LeaveIntent {
            ltime: time(rng),
            node: name(rng),
            prune: rng.chance(0.5),
        }),
        1 => SerfMessage::Join(JoinIntent {
            ltime: time(rng),
            node: name(rng),
        }),
        2 => SerfMessage::UserEvent(UserEventMessage {
            ltime: time(rng),
            name: bytes(rng),
            payload: rng.chance(0.5).then(|| bytes(rng)),
            coalesce: rng.chance(0.5),
        }),
        3 => SerfMessage::Query(query(rng)),
        4 => SerfMessage::QueryResponse(response(rng)),
        _ => SerfMessage::Relay(RelayMessage {
            destination: addr(rng.below(5) as u16),
            destination_name: None,
            message: if rng.chance(0.5) {
                SerfMessage::QueryResponse(response(rng)).encode()
            } else {
                SerfMessage::Query(query(rng)).encode()
            },
        }),
    }
}

fn command(rng: &mut Rng) -> Command {
    let payload = Some(bytes(rng));
    match rng.below(6) {
        0 => Command::UserEvent {
            name: bytes(rng),
            payload,
            coalesce: rng.chance(0.5),
        },
        1 => Command::Query(QueryParams {
            name: b"q".to_vec(),
            payload,
            request_ack: rng.chance(0.5),
            relay_factor: rng.below(3) as u8,
            ..QueryParams::default()
        }),
        2 => Command::ForceLeave {
            node: name(rng).as_bytes().to_vec(),
            prune: rng.chance(0.5),
        },
        3 => Command::Respond {
            ltime: time(rng),
            id: rng.below(3) as u32,
            payload: bytes(rng),
        },
        4 => {
            let mut tags = Tags::new();
            tags.set(b"role", &bytes(rng));
            Command::SetTags(tags)
        }
        _ => Command::Join {
            targets: vec![target(rng.below(5) as u16)],
            ignore_old_events: rng.chance(0.5),
            announce: rng.chance(0.5),
        },
    }
}

#[test]
fn noise_breaks_nothing() {
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut net = Net::joined(3);
        for _ in 0..3000 {
            let n = 1 + rng.below(3) as u16;
            match rng.below(10) {
                0 => {
                    net.command(n, command(&mut rng));
                }
                1 => net.run_for(rng.duration_below(Duration::from_secs(1))),
                _ => {
                    let mut bytes = message(&mut rng).encode();
                    if rng.chance(0.3) {
                        let at = rng.below(bytes.len());
                        bytes[at] ^= 1 << rng.below(8);
                    }
                    net.gossip_bytes_to(n, &bytes);
                }
            }
        }
        net.run_for(Duration::from_secs(400));
        for n in 1..=3 {
            assert_eq!(net.alive_in(n), 3, "seed {seed}, n{n}");
            assert!(net.serf(n).intents.is_empty(), "seed {seed}, n{n}");
        }
        for n in 1..=3 {
            net.host(n).take_user_events();
        }
        let fired = Command::UserEvent {
            name: b"still here".to_vec(),
            payload: None,
            coalesce: false,
        };
        let result = net.command_now(1, fired);
        assert!(matches!(result, CommandResult::Fired(_)));
        net.run_for(Duration::from_secs(5));
        for n in 1..=3 {
            let got = net.host(n).take_user_events();
            assert_eq!(got.len(), 1, "seed {seed}, n{n}: {got:?}");
        }
    }
}
