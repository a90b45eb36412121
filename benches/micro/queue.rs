//! The broadcast queue with a message about every member.

use crate::peers;
use crate::wire::announcements;
use crate::{Growth, Step, nanos_per_step};
use cottar::swim::{BroadcastQueue, Packing, Selection};
use cottar::wire::Message;
use std::hint::black_box;
use std::sync::Arc;

const PACKET_BYTES: usize = 1_398;
const PARTS_MAX: usize = 127;
const OVERHEAD: usize = 2;

pub const STEPS: &[Step] = &[
    Step {
        name: "queue: insert, and prune the last",
        growth: Growth::Logarithm,
        measure: insert,
    },
    Step {
        name: "queue: invalidate",
        growth: Growth::Logarithm,
        measure: invalidate,
    },
    Step {
        name: "queue: take a packet's worth",
        growth: Growth::Logarithm,
        measure: take,
    },
    Step {
        name: "queue: nothing for a node that has it all",
        growth: Growth::Linear,
        measure: refuse,
    },
];

fn message(index: usize) -> Arc<[u8]> {
    announcements(index + 1, 1)[index].encode().into()
}

fn full(members: usize) -> BroadcastQueue {
    let mut queue = BroadcastQueue::new();
    for (index, message) in announcements(members, 1).iter().enumerate() {
        queue.push(
            Some(peers::name(index)),
            Message::encode(message).into(),
            None,
        );
    }
    queue
}

fn insert(members: usize) -> f64 {
    let (mut queue, message, mut finished) = (full(members), message(9), Vec::new());
    nanos_per_step(1, || {
        queue.push(None, message.clone(), None);
        black_box(queue.prune(members, &mut finished));
    })
}

fn invalidate(members: usize) -> f64 {
    let (mut queue, message) = (full(members), message(9));
    // In a different order from that of the insertions.
    let names: Vec<_> = (0..members)
        .map(|index| peers::name(index * 7919 % members))
        .collect();
    let mut names = names.iter().cycle();
    nanos_per_step(1, || {
        black_box(queue.push(names.next().cloned(), message.clone(), None));
    })
}

fn take(members: usize) -> f64 {
    let mut queue = full(members);
    nanos_per_step(1, || {
        let mut packing = Packing::new(PACKET_BYTES, PARTS_MAX);
        queue.fill(&mut packing, OVERHEAD, u32::MAX, Selection::ANY);
        assert!(packing.messages.len() > 6);
        black_box(packing);
    })
}

/// A cluster small enough to track who was sent which message: at most 64 nodes. The queue has a message
/// about each of up to so many members and, of the other messages, as many as a node keeps: 4,096.
fn refuse(members: usize) -> f64 {
    let mut queue = full(members);
    let wanted = Selection {
        target_bit: 1,
        live_bits: 0b11,
        ..Selection::ANY
    };
    loop {
        let mut packing = Packing::new(PACKET_BYTES, PARTS_MAX);
        queue.fill(&mut packing, OVERHEAD, u32::MAX, wanted);
        if packing.messages.is_empty() {
            break;
        }
    }
    nanos_per_step(1, || {
        let mut packing = Packing::new(PACKET_BYTES, PARTS_MAX);
        queue.fill(&mut packing, OVERHEAD, u32::MAX, wanted);
        assert!(black_box(packing).messages.is_empty());
    })
}
