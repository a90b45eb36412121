#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::super::RECORDED_MEMBERS_MAX;
use super::super::scan::{Found, Scan};
use super::*;
use crate::rng::Rng;
use crate::serf::{Member, MemberEvent, MemberEventKind, MemberStatus, Tags};
use crate::wire::{NodeName, VersionVector};

const SALT: u64 = 0x1234_5678_9abc_def0;

fn event(rng: &mut Rng, number: u64) -> Record {
    let mut bytes = |max| {
        let count = rng.below(max);
        (0..count)
            .map(|_| rng.next_u32() as u8)
            .collect::<Vec<u8>>()
    };
    let (name, payload) = (bytes(40), bytes(600));
    let event = match rng.below(4) {
        0 => members(rng),
        _ => Event::User(UserEvent {
            ltime: LamportTime(rng.next_u64()),
            name,
            payload,
            coalesce: rng.chance(0.5),
        }),
    };
    Record::Event(Recorded {
        number,
        taken_micros: rng.next_u64(),
        event,
        is_coalescing: rng.chance(0.5),
        handlers: (0..rng.below(5)).map(|_| rng.next_u64()).collect(),
    })
}

fn members(rng: &mut Rng) -> Event {
    let member = |rng: &mut Rng| {
        let mut tags = Tags::new();
        tags.set(b"role", &[b'x'; 400][..rng.below(400)]);
        let ip: std::net::IpAddr = match rng.chance(0.5) {
            true => std::net::Ipv4Addr::from(rng.next_u32()).into(),
            false => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        Member::new(
            NodeName::new(&[b'n'; 255][..=rng.below(255)]).unwrap(),
            (ip, rng.next_u32() as u16).into(),
            &tags,
            MemberStatus::Failed,
            VersionVector::serf(4),
        )
    };
    Event::Member(MemberEvent {
        kind: MemberEventKind::ALL[rng.below(5)],
        members: (0..rng.below(RECORDED_MEMBERS_MAX))
            .map(|_| member(rng))
            .collect(),
    })
}

fn any(rng: &mut Rng, number: u64) -> Record {
    let handler = rng.next_u64();
    match rng.below(9) {
        0 => Record::HandedOver(number),
        1 => Record::Begun {
            number,
            handler,
            attempt: rng.next_u32(),
            at_micros: rng.next_u64(),
        },
        2 => Record::Process {
            number,
            handler,
            process: ProcessId {
                pid: rng.next_u32(),
                start_ticks: rng.next_u64(),
                boot: rng.next_u64(),
            },
        },
        3 => Record::Done { number, handler },
        4 => Record::Finished {
            first: number,
            last: rng.next_u64(),
        },
        5 => Record::Handler {
            key: handler,
            text: b"user:x=echo".to_vec(),
        },
        7 => Record::Postponed {
            number,
            handler,
            attempt: rng.next_u32(),
        },
        6 => Record::Dropped {
            handler,
            last: number,
        },
        _ => event(rng, number),
    }
}

/// Returns a segment and the offset of each of its records.
fn segment(rng: &mut Rng, count: usize) -> (Vec<u8>, Vec<(usize, Record)>) {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    for number in 0..count {
        let record = any(rng, number as u64);
        records.push((bytes.len(), record.clone()));
        record.encode(SALT, bytes.len() as u64, &mut bytes);
    }
    (bytes, records)
}

fn found(bytes: &[u8]) -> (Vec<Record>, usize) {
    let (mut records, mut lost) = (Vec::new(), 0);
    for found in Scan::new(SALT, 0, bytes) {
        match found {
            Found::Record(record) => records.push(record),
            Found::Damaged { bytes, .. } | Found::Torn { bytes, .. } => lost += bytes,
        }
    }
    (records, lost)
}

#[test]
fn what_is_written_is_read_back() {
    let mut rng = Rng::new(1);
    for round in 0..200 {
        let (bytes, records) = segment(&mut rng, round % 20);
        let expected: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        assert_eq!(found(&bytes), (expected, 0));
    }
}

#[test]
fn the_length_of_an_event_s_record_is_known_before() {
    let mut rng = Rng::new(2);
    for number in 0..200 {
        let record = event(&mut rng, number);
        let mut bytes = Vec::new();
        record.encode(SALT, 7, &mut bytes);
        let Record::Event(recorded) = record else {
            unreachable!();
        };
        assert_eq!(recorded.record_bytes(), bytes.len());
    }
}

#[test]
fn a_segment_cut_anywhere_keeps_what_is_whole() {
    let mut rng = Rng::new(3);
    for _ in 0..20 {
        let (bytes, records) = segment(&mut rng, 8);
        for end in 0..bytes.len() {
            let starts = records.iter().map(|(start, _)| *start).skip(1);
            let whole = starts.filter(|start| *start <= end).count();
            let (kept, lost) = found(&bytes[..end]);
            let expected: Vec<Record> = records[..whole].iter().map(|r| r.1.clone()).collect();
            assert_eq!(kept, expected);
            assert_eq!(lost, end - records.get(whole).map_or(end, |r| r.0));
        }
    }
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let mut rng = Rng::new(4);
    for _ in 0..2000 {
        let (mut bytes, records) = segment(&mut rng, 6);
        let bit = rng.below(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let hit = records
            .iter()
            .rposition(|(start, _)| *start <= bit / 8)
            .unwrap();
        let mut expected: Vec<Record> = records.into_iter().map(|r| r.1).collect();
        expected.remove(hit);
        let (kept, lost) = found(&bytes);
        assert_eq!(kept, expected);
        assert!(lost > 0);
    }
}

#[test]
fn noise_and_holes_are_passed_over() {
    let mut rng = Rng::new(5);
    for _ in 0..300 {
        let (mut bytes, records) = segment(&mut rng, 10);
        let start = rng.below(bytes.len());
        let end = start + rng.below(bytes.len() - start) + 1;
        let end = end.min(bytes.len());
        for byte in &mut bytes[start..end] {
            *byte = if rng.chance(0.5) {
                0xc0
            } else {
                rng.next_u32() as u8
            };
        }
        // All records outside the overwritten range are found, and no others.
        let ends = records.iter().skip(1).map(|r| r.0).chain([bytes.len()]);
        let spans: Vec<(usize, usize)> = records.iter().map(|r| r.0).zip(ends).collect();
        let untouched = |at: &usize| spans[*at].1 <= start || spans[*at].0 >= end;
        let kept: Vec<Record> = (0..records.len())
            .filter(untouched)
            .map(|at| records[at].1.clone())
            .collect();
        let all = found(&bytes).0;
        assert!(kept.iter().all(|record| all.contains(record)));
        assert!(
            all.iter()
                .all(|record| records.iter().any(|r| r.1 == *record))
        );
    }
}

#[test]
fn a_payload_never_passes_for_a_record() {
    // The sender of an event knows the format, but neither the salt nor the offset.
    let mut forged = Vec::new();
    Record::Finished { first: 0, last: 99 }.encode(0, 0, &mut forged);
    let mut rng = Rng::new(6);
    let Record::Event(mut recorded) = event(&mut rng, 1) else {
        unreachable!();
    };
    recorded.event = Event::User(UserEvent {
        ltime: LamportTime(1),
        name: Vec::new(),
        payload: forged.repeat(10),
        coalesce: false,
    });
    let mut bytes = Vec::new();
    Record::Event(recorded).encode(SALT, 0, &mut bytes);
    bytes[0] ^= 1;
    assert_eq!(found(&bytes), (Vec::new(), bytes.len()));
    // Nor does a valid record moved from another position.
    let mut moved = vec![0xc0; 5];
    Record::HandedOver(3).encode(SALT, 0, &mut moved);
    assert_eq!(found(&moved).0, []);
}

#[test]
fn lengths_are_checked_and_unknown_kinds_skipped() {
    let mut bytes = Vec::new();
    Record::HandedOver(3).encode(SALT, 0, &mut bytes);
    let seal = |bytes: &mut Vec<u8>, kind: u8, length: u32| {
        bytes[2] = kind;
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        let check = checksum(SALT, 0, &bytes[..8]);
        bytes[8..12].copy_from_slice(&check);
    };
    seal(&mut bytes, 2, u32::MAX);
    assert_eq!(Record::decode(SALT, 0, &bytes), Decoded::Damaged);
    seal(&mut bytes, 2, RECORD_BYTES_MAX as u32);
    assert_eq!(Record::decode(SALT, 0, &bytes), Decoded::Damaged);
    seal(&mut bytes, 99, 8);
    assert_eq!(Record::decode(SALT, 0, &bytes), Decoded::Record(24, None));
    assert_eq!(found(&bytes), (Vec::new(), 0));
    // A body of the wrong length for its kind is damaged.
    seal(&mut bytes, 5, 8);
    assert_eq!(Record::decode(SALT, 0, &bytes), Decoded::Damaged);
}
