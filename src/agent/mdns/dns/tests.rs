use super::*;
use crate::rng::Rng;

fn service() -> Name {
    Name::dotted(b"_serf_cl1._tcp.local.")
}

fn question() -> Message {
    Message {
        id: 0xea01,
        flags: 0,
        questions: vec![Question {
            name: service(),
            kind: number::PTR,
            class: number::CLASS_IN,
            unicast: false,
        }],
        records: Vec::new(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const QUESTION: &str =
    "ea0100000001000000000000095f736572665f636c31045f746370056c6f63616c00000c0001";

#[test]
fn a_question_is_written_as_it_was_captured() {
    let bytes = question().encode();
    assert_eq!(hex(&bytes), QUESTION.replace(' ', ""));
    assert_eq!(Message::decode(&bytes).unwrap(), question());
}

#[test]
fn names_cannot_loop_or_run_away() {
    let header = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let read = |name: &[u8]| {
        let mut bytes = header.to_vec();
        bytes.extend(name);
        bytes.extend([0, 12, 0, 1]);
        Message::decode(&bytes).unwrap().questions.len()
    };
    assert_eq!(read(&[1, b'a', 0]), 1);
    assert_eq!(read(&[0xc0, 12]), 0, "points at itself");
    assert_eq!(read(&[1, b'a', 0xc0, 12]), 0, "points at its own start");
    assert_eq!(read(&[0xc0, 200]), 0, "points beyond");
    assert_eq!(read(&[0x40, 0]), 0, "a label of no kind");
    let mut long = Vec::new();
    for _ in 0..4 {
        long.push(63);
        long.extend([b'x'; 63]);
    }
    long.push(0);
    assert_eq!(read(&long), 0, "257 bytes");
}

#[test]
fn a_message_counts_as_far_as_it_goes() {
    let mut message = question();
    message.flags = FLAGS_ANSWER;
    for text in ["one", "two"] {
        message.records.push(Record {
            name: service(),
            ttl: 120,
            data: Data::Txt(text.into()),
        });
    }
    let bytes = message.encode();
    assert_eq!(Message::decode(&bytes).unwrap(), message);
    let cut = Message::decode(&bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(cut.records, message.records[..1]);
    assert_eq!(Message::decode(&bytes[..11]), None);
}

#[test]
fn names_are_told_apart() {
    let name = service().child(b"a.b");
    assert!(name.is_below(&service()));
    assert_eq!(name.first(), b"a.b");
    assert!(!service().is_below(&service()));
    assert!(!name.is_below(&Name::dotted(b"_SERF_cl1._tcp.local")));
    assert_eq!(service().to_string(), "_serf_cl1._tcp.local.");
}

fn random_name(rng: &mut Rng) -> Name {
    let mut name = if rng.below(2) == 0 {
        service()
    } else {
        Name::default()
    };
    for _ in 0..rng.below(3) {
        let len = 1 + rng.below(5);
        let label: Vec<u8> = (0..len).map(|_| rng.below(4) as u8 + b'a').collect();
        name = name.child(&label);
    }
    name
}

fn random_message(rng: &mut Rng) -> Message {
    let mut message = Message {
        id: rng.next_u32() as u16,
        flags: rng.next_u32() as u16,
        ..Message::default()
    };
    for _ in 0..rng.below(4) {
        message.questions.push(Question {
            name: random_name(rng),
            kind: rng.below(300) as u16,
            class: rng.below(3) as u16,
            unicast: rng.below(2) == 0,
        });
    }
    for _ in 0..rng.below(6) {
        let data = match rng.below(5) {
            0 => Data::Ptr(random_name(rng)),
            1 => Data::Srv {
                priority: 10,
                weight: 1,
                port: rng.next_u32() as u16,
                target: random_name(rng),
            },
            2 => Data::Address(Ipv4Addr::from(rng.next_u32()).into()),
            3 => Data::Address(Ipv6Addr::from(u128::from(rng.next_u64())).into()),
            _ => Data::Txt(vec![b't'; rng.below(256)]),
        };
        message.records.push(Record {
            name: random_name(rng),
            ttl: rng.next_u32(),
            data,
        });
    }
    message
}

#[test]
fn what_is_written_is_read_and_damage_does_no_harm() {
    let seed = std::env::var("COTTAR_FUZZ_SEED").ok();
    let seed = seed.and_then(|text| text.parse().ok()).unwrap_or(7);
    for round in 0..20_000 {
        let mut rng = Rng::new(seed + round);
        let message = random_message(&mut rng);
        let mut bytes = message.encode();
        let read = Message::decode(&bytes);
        assert_eq!(read, Some(message), "seed {}", seed + round);
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = rng.next_u32() as u8;
        }
        let cut = rng.below(bytes.len() + 1);
        if let Some(read) = Message::decode(&bytes[..cut]) {
            // No amplification: every entry corresponds to bytes in the message.
            assert!(read.questions.len() * 5 + read.records.len() * 11 <= bytes.len());
            read.encode();
        }
    }
}
