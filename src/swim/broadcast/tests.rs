use super::*;
use crate::swim::test_support::vectors;

fn message(bytes: usize) -> Arc<[u8]> {
    vec![0; bytes].into()
}

fn number(value: &serde_json::Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn digits_are_counted() {
    for (n, expected) in [(0, 0), (1, 1), (9, 1), (10, 2), (99, 2), (100, 3)] {
        assert_eq!(decimal_digits(n), expected, "{n}");
    }
    assert_eq!(
        decimal_digits(usize::MAX),
        usize::MAX.to_string().len() as u32
    );
}

#[test]
fn the_limit_is_the_references() {
    for case in vectors("retransmitLimit").as_array().unwrap() {
        assert_eq!(
            retransmit_limit(number(&case["mult"]) as u32, number(&case["nodes"])) as usize,
            number(&case["limit"]),
            "{case}"
        );
    }
    assert_eq!(retransmit_limit(u32::MAX, usize::MAX), u32::MAX);
}

#[test]
fn a_large_cluster_needs_more_transmissions_than_the_limit() {
    // 2 ln(nodes) + ln(100), rounded up.
    for (nodes, needed) in [
        (0, 0),
        (1, 5),
        (10, 10),
        (100, 14),
        (298, 16),
        (299, 17),
        (1_000, 19),
        (10_000, 24),
    ] {
        assert_eq!(transmissions_to_all(nodes), needed);
    }
}

/// Returns a ticket as its letter in the captured sequence.
fn letter(ticket: &Ticket) -> String {
    match ticket {
        Ticket::User(BroadcastId(id)) => char::from(*id as u8).to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn packets_are_filled_as_captured() {
    let vectors = vectors("broadcastQueue");
    let limit = retransmit_limit(2, 5);
    let mut queue = BroadcastQueue::new();
    let add = |queue: &mut BroadcastQueue, name: u8, bytes| {
        let ticket = Ticket::User(BroadcastId(name.into()));
        assert_eq!(queue.push(None, message(bytes), Some(ticket)), None);
    };
    for (name, bytes) in [
        (b'A', 100),
        (b'B', 300),
        (b'C', 300),
        (b'D', 50),
        (b'E', 700),
    ] {
        add(&mut queue, name, bytes);
    }
    for (index, step) in vectors["steps"].as_array().unwrap().iter().enumerate() {
        if index == 2 {
            add(&mut queue, b'F', 10);
        }
        let operation = step["Op"].as_str().unwrap();
        let space = operation
            .trim_end_matches(')')
            .rsplit('=')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(operation.contains("overhead=2,"));
        let mut packing = Packing::new(space, usize::MAX);
        queue.fill(&mut packing, 2, limit, Selection::ANY);
        queue.check_invariants();
        let sizes: Vec<usize> = packing.messages.iter().map(|m| m.len()).collect();
        let due: Vec<usize> = step["Sizes"]
            .as_array()
            .map_or(Vec::new(), |sizes| sizes.iter().map(number).collect());
        assert_eq!(sizes, due, "step {index}");
        let mut finished: Vec<String> = packing.finished.iter().map(letter).collect();
        let mut due: Vec<String> = step["Finished"].as_array().map_or(Vec::new(), |names| {
            names.iter().map(|n| n.as_str().unwrap().into()).collect()
        });
        finished.sort();
        due.sort();
        assert_eq!(finished, due, "step {index}");
        assert_eq!(queue.len(), number(&step["Left"]), "step {index}");
    }
}

#[test]
fn a_key_is_held_once_and_the_loser_is_reported() {
    let name = NodeName::new(b"n").unwrap();
    let mut queue = BroadcastQueue::new();
    queue.push(Some(name.clone()), message(5), Some(Ticket::Leave));
    queue.push(None, message(5), None);
    assert_eq!(
        queue.push(Some(name), message(9), Some(Ticket::Meta(1))),
        Some(Ticket::Leave)
    );
    assert_eq!((queue.len(), queue.bytes()), (2, 14));
    queue.check_invariants();
}

#[test]
fn a_limit_of_zero_sends_once() {
    let mut queue = BroadcastQueue::new();
    queue.push(None, message(1), Some(Ticket::Leave));
    let mut packing = Packing::new(100, 10);
    queue.fill(&mut packing, 2, 0, Selection::ANY);
    assert_eq!(packing.messages.len(), 1);
    assert_eq!(packing.finished, [Ticket::Leave]);
    assert!(queue.is_empty());
}

#[test]
fn a_giant_blocks_nothing_and_is_pruned_last_of_its_count() {
    let mut queue = BroadcastQueue::new();
    queue.push(None, message(5_000), Some(Ticket::Meta(0)));
    queue.push(None, message(10), Some(Ticket::Meta(1)));
    let mut packing = Packing::new(1_398, 127);
    queue.fill(&mut packing, 2, 4, Selection::ANY);
    assert_eq!(packing.messages.len(), 1);
    assert_eq!(packing.messages[0].len(), 10);
    let mut finished = Vec::new();
    assert_eq!(queue.prune(1, &mut finished), (1, 0));
    assert_eq!(finished, [Ticket::Meta(1)]);
    assert_eq!(queue.bytes(), 5_000);
    assert_eq!(queue.prune(0, &mut finished), (1, 1));
}

#[test]
fn parts_are_bounded() {
    let mut queue = BroadcastQueue::new();
    for _ in 0..10 {
        queue.push(None, message(0), None);
    }
    let mut packing = Packing::new(1_398, 4);
    queue.fill(&mut packing, 2, 2, Selection::ANY);
    assert_eq!(packing.messages.len(), 4);
    let mut packing = Packing::new(1_398, 127);
    queue.fill(&mut packing, 2, 2, Selection::ANY);
    assert_eq!((packing.messages.len(), queue.len()), (10, 6));
}

#[test]
fn every_peer_comes_once_before_one_comes_twice() {
    let mut queue = BroadcastQueue::new();
    queue.push(None, message(8), None);
    let mut sent = [0; 3];
    let mut offers = 0;
    while !queue.is_empty() {
        let peer = [0, 0, 1, 1, 0, 2][offers % 6];
        let mut packing = Packing::new(100, 10);
        queue.fill(
            &mut packing,
            2,
            5,
            Selection {
                target_bit: 1 << peer,
                live_bits: 0b111,
                ..Selection::ANY
            },
        );
        sent[peer] += packing.messages.len();
        offers += 1;
        if sent.iter().sum::<usize>() == 3 {
            assert_eq!(sent, [1, 1, 1]);
        }
        assert!(offers < 100);
    }
    assert_eq!(sent.iter().sum::<usize>(), 5);
}

#[test]
fn the_dead_do_not_stand_in_for_the_living() {
    let mut queue = BroadcastQueue::new();
    queue.push(None, message(8), None);
    let mut offer = |peer: u64| {
        let mut packing = Packing::new(100, 10);
        let wanted = Selection {
            target_bit: 1 << peer,
            live_bits: 0b011,
            ..Selection::ANY
        };
        queue.fill(&mut packing, 2, 4, wanted);
        packing.messages.len()
    };
    // Peer 2 is dead: it may be sent the entry, but peer 0 gets it again only after peer 1.
    assert_eq!(
        [offer(2), offer(0), offer(0), offer(1), offer(0)],
        [1, 1, 0, 1, 1]
    );
}

fn sent_to(queue: &mut BroadcastQueue, limit: u32, peer: u64, live_bits: u64) -> Vec<Completed> {
    let mut packing = Packing::new(100, 10);
    let wanted = Selection {
        target_bit: 1 << peer,
        live_bits,
        ..Selection::ANY
    };
    queue.fill(&mut packing, 2, limit, wanted)
}

#[test]
fn what_is_through_goes_on_with_those_who_lack_it() {
    let name = NodeName::new(b"n").unwrap();
    let mut queue = BroadcastQueue::new();
    queue.push(Some(name.clone()), message(8), Some(Ticket::Leave));
    assert!(sent_to(&mut queue, 2, 0, 0b1111).is_empty());
    let completed = sent_to(&mut queue, 2, 1, 0b1111);
    assert!(queue.is_empty() && completed.len() == 1);
    let mut extra = BroadcastQueue::once_to_each();
    completed
        .into_iter()
        .for_each(|entry| extra.push_completed(entry));
    for peer in [0, 1] {
        let mut packing = Packing::new(100, 10);
        let wanted = Selection {
            target_bit: 1 << peer,
            live_bits: 0b1111,
            ..Selection::ANY
        };
        extra.fill(&mut packing, 2, 9, wanted);
        assert!(packing.messages.is_empty(), "it was told");
    }
    assert!(sent_to(&mut extra, 9, 2, 0b1111).is_empty());
    extra.check_invariants();
    // All nodes have it, so it ends before its transmission limit.
    assert_eq!(sent_to(&mut extra, 9, 3, 0b1111).len(), 1);
    assert!(extra.is_empty());
    // If the cluster is too large to track, only the number of transmissions counts.
    let mut completed = Vec::new();
    queue.push(Some(name.clone()), message(8), None);
    completed.extend(sent_to(&mut queue, 1, 0, 0));
    completed
        .into_iter()
        .for_each(|entry| extra.push_completed(entry));
    assert!(sent_to(&mut extra, 2, 0, 0).is_empty());
    assert_eq!((sent_to(&mut extra, 2, 0, 0).len(), extra.len()), (1, 0));
}

#[test]
fn what_all_have_does_not_go_on() {
    let name = NodeName::new(b"n").unwrap();
    let mut queue = BroadcastQueue::new();
    queue.push(Some(name.clone()), message(8), None);
    // Three transmissions to two peers: the third is the second one to a peer.
    for peer in [0, 1] {
        assert!(sent_to(&mut queue, 3, peer, 0b11).is_empty());
    }
    let mut extra = BroadcastQueue::once_to_each();
    let completed = sent_to(&mut queue, 3, 0, 0b11);
    assert_eq!(completed.len(), 1);
    completed
        .into_iter()
        .for_each(|entry| extra.push_completed(entry));
    assert!(extra.is_empty());
    // A newer entry replaces an older one.
    queue.push(Some(name.clone()), message(8), None);
    let completed = sent_to(&mut queue, 1, 0, 0b111);
    completed
        .into_iter()
        .for_each(|entry| extra.push_completed(entry));
    assert_eq!(extra.len(), 1);
    extra.forget(Some(&name));
    assert!(extra.is_empty());
    extra.check_invariants();
}

/// Makes a present-members broadcast with this number and these bits.
fn present(order: u64, members: u64, known_by: u64) -> ForPresent {
    ForPresent {
        order,
        members,
        known_by,
    }
}

/// Fills a packet to a peer with broadcasts from `order_min` on; returns the number of messages.
fn taken(queue: &mut BroadcastQueue, peer: u64, live_bits: u64, order_min: u64) -> usize {
    let mut packing = Packing::new(100, 10);
    let wanted = Selection {
        target_bit: 1 << peer,
        live_bits,
        order_min,
        ..Selection::ANY
    };
    queue.fill(&mut packing, 2, 9, wanted);
    queue.check_invariants();
    packing.messages.len()
}

#[test]
fn who_joins_later_gets_only_what_is_queued_later() {
    let mut queue = BroadcastQueue::new();
    queue.push_for_present(message(8), None, &present(3, 0b011, 0));
    queue.push(None, message(9), None);
    // Peer 2 joined after number 3; it also gets the broadcast to all.
    assert_eq!(taken(&mut queue, 2, 0b111, 4), 1);
    assert_eq!(taken(&mut queue, 0, 0b111, 0), 2);
    // Peer 0 again only after peer 1; peer 2 does not matter.
    assert_eq!(taken(&mut queue, 0, 0b111, 0), 0);
    assert_eq!(taken(&mut queue, 1, 0b111, 0), 2);
    assert_eq!(taken(&mut queue, 0, 0b111, 0), 2);
}

#[test]
fn who_sent_a_copy_gets_none_and_the_last_copy_ends_the_entry() {
    let mut queue = BroadcastQueue::new();
    let ticket = Ticket::User(BroadcastId(1));
    queue.push_for_present(message(8), Some(ticket), &present(0, 0b111, 0b001));
    assert_eq!(taken(&mut queue, 0, 0b111, 0), 0);
    assert_eq!(taken(&mut queue, 1, 0b111, 0), 1);
    assert_eq!(queue.note_copy(&message(8), 0b010, 0b111), None);
    assert_eq!(
        taken(&mut queue, 1, 0b111, 0),
        0,
        "it has shown that it has it"
    );
    assert_eq!(taken(&mut queue, 2, 0b111, 0), 1);
    assert_eq!(
        taken(&mut queue, 2, 0b111, 0),
        1,
        "the copy may have been lost"
    );
    assert_eq!(
        queue.note_copy(&message(7), 0b100, 0b111),
        None,
        "another message"
    );
    assert_eq!(queue.note_copy(&message(8), 0b100, 0b111), Some(ticket));
    assert!(queue.is_empty());
    queue.check_invariants();
}

#[test]
fn what_nobody_may_get_is_dropped() {
    let mut queue = BroadcastQueue::new();
    let ticket = |number| Some(Ticket::User(BroadcastId(number)));
    queue.push_for_present(message(8), ticket(1), &present(1, 0b001, 0));
    queue.push_for_present(message(9), ticket(2), &present(5, 0b011, 0));
    queue.push(None, message(10), ticket(3));
    let mut finished = Vec::new();
    queue.drop_needless(2, 0b110, &mut finished);
    assert_eq!(
        Vec::from_iter(finished.drain(..)),
        Vec::from_iter(ticket(1))
    );
    // The bit is reassigned to another node.
    queue.forget_bit(0b010);
    queue.drop_needless(2, 0b110, &mut finished);
    assert_eq!(finished, Vec::from_iter(ticket(2)));
    assert_eq!(queue.len(), 1);
    queue.check_invariants();
}
