//! Random and mutated bytes: the server keeps its invariants and serves other clients.

use cottar::rng::Rng;
use cottar::rpc::Request;
use cottar::time::Duration;

use crate::commands::{event, headers, stream};
use crate::harness::Agent;

const SESSIONS: u64 = 1500;

/// A sequence of valid requests.
fn sensible(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Request::Handshake { version: 1 }.encode(1);
    for seq in 2..12 {
        let request = match rng.next_u32() % 9 {
            0 => Request::Members,
            1 => event("x"),
            2 => stream("user,query"),
            3 => Request::Stop { seq: 3 },
            4 => Request::Stats,
            5 => Request::MembersFiltered {
                tags: [(b"role".to_vec(), b"w.*".to_vec())].into(),
                status: b"alive".to_vec(),
                name: b"n[0-9]".to_vec(),
            },
            6 => Request::Query(cottar::rpc::request::Query {
                name: b"load".to_vec(),
                request_ack: true,
                timeout_nanos: 100_000_000,
                ..Default::default()
            }),
            7 => Request::Respond {
                id: 1,
                payload: Some(b"y".to_vec()),
            },
            _ => Request::Tags {
                set: [(b"role".to_vec(), b"web".to_vec())].into(),
                delete: vec![b"x".to_vec()],
            },
        };
        bytes.extend(request.encode(seq));
    }
    bytes
}

fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % bytes.len();
        match rng.next_u32() % 4 {
            0 => bytes[at] = rng.next_u32() as u8,
            1 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            2 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, rng.next_u32() as u8),
        }
    }
}

#[test]
fn noise_does_not_affect_other_clients() {
    let mut rng = Rng::new(20_261_122);
    let mut agent = Agent::new(None);
    // Mutations may contain real addresses, which must not be joined.
    agent.hold_joins = true;
    let witness = agent.client();
    for round in 0..SESSIONS {
        let session = agent.connect();
        let mut bytes = sensible(&mut rng);
        if round % 3 == 0 {
            let length = rng.next_u32() % 200;
            bytes.truncate(Request::Handshake { version: 1 }.encode(1).len());
            bytes.extend((0..length).map(|_| rng.next_u32() as u8));
        } else {
            mutate(&mut rng, &mut bytes);
        }
        let chunk = 1 + rng.next_u32() as usize % bytes.len();
        for part in bytes.chunks(chunk) {
            agent.send(session, part);
        }
        assert!(!agent.shutdown, "no mutation of these makes a leave");
        if !agent.peers[&session].closed {
            agent.disconnect(session);
        }
        agent.pass(Duration::from_millis(10));
    }
    assert_eq!(agent.rpc.session_count(), 1);
    agent.send(witness, &Request::Members.encode(9));
    let got = agent.take(witness);
    assert_eq!(headers(&got), [(9, String::new())]);
}
