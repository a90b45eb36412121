//! The journal: recovery at startup, and the agent's work on the recovered journal.

use std::collections::BTreeMap;

use cottar::handler::journal::{
    Damage, Journal, RECORDED_MEMBERS_MAX, Recovered, Recovery, SegmentId, Settings, TURN_BYTES_MAX,
};
use cottar::serf::{Event, LamportTime, UserEvent};

use crate::supply::peak_bytes;

/// Fixed salt, which the checksum of each record covers.
const SALT: u64 = 0x5a17;
/// Bitmap of all numbers that a set can span; twice, since it is reallocated while it grows.
const NUMBERS_BYTES: usize = 16 << 20;

/// Kinds of chunks. A chunk is a byte for its kind, a byte for the length, and the content: raw bytes, or the
/// kind and body of a record, to which the check adds frame and checksum, since a fuzzer cannot guess a
/// checksum. All other kinds begin a new segment.
mod chunk {
    pub const RAW: u8 = 0;
    pub const RECORD: u8 = 1;
    pub const SEGMENT: u8 = 2;
}

type Files = BTreeMap<SegmentId, Vec<u8>>;

/// The input is a sequence of chunks of segments.
pub fn check(input: &[u8]) {
    let (peak, ()) = peak_bytes(|| {
        let mut files = files(input);
        let (journal, recovered) = recover(&mut files);
        work(journal, recovered, &mut files);
    });
    let budget = NUMBERS_BYTES + 200 * input.len();
    assert!(peak < budget, "{peak} of {budget} bytes held");
}

fn id(number: u64) -> SegmentId {
    SegmentId { number, salt: SALT }
}

fn files(mut input: &[u8]) -> Files {
    let mut files = Files::from([(id(1), Vec::new())]);
    while let Some(([what, length], rest)) = input.split_first_chunk() {
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        input = rest;
        let number = files.len() as u64;
        let file = files.get_mut(&id(number)).unwrap();
        match (what % 3, bytes) {
            (chunk::RECORD, [kind, body @ ..]) => append_record(file, *kind, body),
            (chunk::RAW, bytes) => file.extend(bytes),
            _ => drop(files.insert(id(number + 1), Vec::new())),
        }
    }
    files
}

fn append_record(file: &mut Vec<u8>, kind: u8, body: &[u8]) {
    let offset = file.len() as u64;
    let mut header = vec![0xc0, 0x77, kind, 0];
    header.extend((body.len() as u32).to_le_bytes());
    let check = checksum(offset, &header);
    file.extend(header);
    file.extend(check);
    file.extend(body);
    file.extend(checksum(offset, body));
}

/// CRC-32 over salt, offset and bytes.
fn checksum(offset: u64, bytes: &[u8]) -> [u8; 4] {
    let (salt, offset) = (SALT.to_le_bytes(), offset.to_le_bytes());
    let bytes = salt.iter().chain(&offset).chain(bytes);
    let remainder = bytes.fold(!0u32, |remainder, byte| {
        (0..8).fold(remainder ^ u32::from(*byte), |remainder, _| {
            remainder >> 1 ^ (0xedb8_8320 * (remainder & 1))
        })
    });
    (!remainder).to_le_bytes()
}

/// Recovers from all files and truncates torn ones, as the agent does; a second recovery must find the same.
fn recover(files: &mut Files) -> (Journal, Recovered) {
    let read = |files: &Files| {
        let mut recovery = Recovery::default();
        let damages: Vec<Damage> = files
            .iter()
            .map(|(id, bytes)| recovery.segment(*id, bytes))
            .collect();
        let (journal, recovered) = recovery.finish(Settings::default(), 1);
        (journal, recovered, damages)
    };
    let (first, at_first, damages) = read(files);
    for (bytes, damage) in files.values_mut().zip(damages) {
        let mut end = 0;
        for (offset, length) in damage.spans {
            assert!(offset >= end && length > 0);
            end = offset + length as u64;
        }
        assert!(end <= bytes.len() as u64);
        if let Some(torn_at) = damage.torn_at {
            bytes.truncate(torn_at as usize);
        }
    }
    let (second, recovered, damages) = read(files);
    assert!(damages.iter().all(|damage| damage.torn_at.is_none()));
    assert_eq!(second.len(), first.len());
    assert_eq!(recovered.progress, at_first.progress);
    assert_eq!(recovered.coalescing, at_first.coalescing);
    assert_eq!(recovered.seen, at_first.seen);
    (second, recovered)
}

/// Simulates an agent: reads the stored events, accepts a new one, and finishes all of them.
fn work(mut journal: Journal, recovered: Recovered, files: &mut Files) {
    assert_eq!(
        journal.len(),
        recovered.waiting + recovered.coalescing.len()
    );
    if let Some(mut stored) = journal.stored() {
        while let Some(read) = journal.next_read(&stored) {
            assert!((1..=TURN_BYTES_MAX).contains(&read.bytes));
            let start = read.offset as usize;
            let bytes = files
                .get(&read.segment)
                .and_then(|file| file.get(start..start + read.bytes));
            for recorded in journal.handle_read(&mut stored, read, bytes) {
                assert!(journal.contains(recorded.number));
            }
        }
        journal.give_up_unfound(&stored);
        assert_eq!(journal.stored_len(), 0);
    }
    let event = Event::User(UserEvent {
        ltime: LamportTime(7),
        name: b"deploy".to_vec(),
        payload: b"now".to_vec(),
        coalesce: false,
    });
    let number = journal.take(&event, 5, false, vec![3]);
    let number = number.filter(|number| !recovered.progress.keys().any(|known| known == number));
    flush(&mut journal, files);
    let mut again = Recovery::default();
    for (id, bytes) in files.iter() {
        again.segment(*id, bytes);
    }
    let (again, _) = again.finish(Settings::default(), 2);
    if let Some(number) = number {
        assert!(again.contains(number));
        journal.done(number, 3);
        journal.drop_handler(3);
        journal.finished(number);
    }
    journal.clear();
    flush(&mut journal, files);
    assert!(journal.is_empty());
    let mut last = Recovery::default();
    for (id, bytes) in files.iter() {
        last.segment(*id, bytes);
    }
    assert!(last.finish(Settings::default(), 3).0.is_empty());
}

fn flush(journal: &mut Journal, files: &mut Files) {
    while let Some(write) = journal.poll_write() {
        let file = files.entry(write.segment).or_default();
        assert_eq!(file.len() as u64, write.offset);
        file.extend(write.bytes);
        journal.handle_written(true);
    }
    while let Some(id) = journal.poll_unlink() {
        files.remove(&id);
    }
}

/// Returns a record of each kind, and a torn segment.
pub fn corpus() -> Vec<Vec<u8>> {
    let numbers =
        |numbers: &[u64]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let record = |kind: u8, body: &[u8]| {
        let length = u8::try_from(1 + body.len()).unwrap();
        [&[chunk::RECORD, length, kind], body].concat()
    };
    let event = |number: u64, flags: u8, name: &[u8], payload: &[u8]| {
        let mut body = numbers(&[number, 1_000, number]);
        body.extend([flags, 1, 0]);
        body.extend((name.len() as u32).to_le_bytes());
        body.extend(numbers(&[3]));
        record(1, &[&body, name, payload].concat())
    };
    let mut member = vec![2, 0, b'n', b'1', 0, 0];
    member.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1]);
    member.extend([0x0a, 0x1f, 1, 1, 5, 2, 2, 5, 4]);
    let members = member.repeat(RECORDED_MEMBERS_MAX.min(3));
    let all = [
        record(7, &[&numbers(&[3])[..], b"user=./deploy"].concat()),
        event(1, 0, b"deploy", b"payload"),
        event(2, 3, b"deploy", b"coalescing"),
        event(3, 4, b"member-join", &members),
        record(2, &numbers(&[2])),
        record(3, &numbers(&[1, 3, 1, 2_000])),
        record(4, &numbers(&[1, 3, 77, 5_000, 9])),
        record(9, &numbers(&[1, 3, 1])),
        vec![chunk::SEGMENT, 0],
        record(5, &numbers(&[2, 3])),
        record(8, &numbers(&[3, 2])),
        record(6, &numbers(&[1, 2])),
        record(10, b"unknown"),
        event(4, 0, b"later", b""),
    ];
    let whole = all.concat();
    let torn = [&whole[..], &[chunk::RAW, 5, 0xc0, 0x77, 1, 0, 9]].concat();
    let damaged = [&all[1][..], &[chunk::RAW, 1, 9], &all[2]].concat();
    let mut inputs = vec![whole, torn, damaged];
    inputs.extend(all);
    inputs
}
