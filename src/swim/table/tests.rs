use super::*;
use crate::swim::test_support::node;

const LONG: Duration = Duration::from_secs(30);

fn table(states: &[NodeState]) -> (Table, Rng) {
    let mut rng = Rng::new(5);
    let mut table = Table::new(node("local", 1, NodeState::Alive), Instant::ORIGIN);
    for (index, &state) in states.iter().enumerate() {
        let node = node(&format!("n{index}"), index as u8 + 2, state);
        table.insert(Record::new(node, Instant::ORIGIN), &mut rng);
    }
    (table, rng)
}

#[test]
fn each_live_node_is_probed_once_a_round() {
    use NodeState::*;
    let (mut table, mut rng) = table(&[Alive, Dead, Alive, Left, Alive]);
    let mut probed = Vec::new();
    for _ in 0..3 * 4 {
        probed.push(table.next_probe(LONG, Instant::ORIGIN, &mut rng).unwrap());
    }
    for round in probed.chunks(3) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [NodeId(1), NodeId(3), NodeId(5)]);
    }
    table.check_invariants();
}

#[test]
fn old_records_go_at_the_end_of_a_round_and_their_places_are_used_again() {
    use NodeState::*;
    let (mut table, mut rng) = table(&[Dead, Left, Dead]);
    table.set_state(NodeId(3), Dead, Instant::from_millis(10_000));
    let later = Instant::from_millis(35_000);
    // The first round starts at once; the end of it drops old records.
    assert_eq!(table.next_probe(LONG, later, &mut rng), None);
    assert_eq!(table.next_probe(LONG, later, &mut rng), None);
    assert_eq!(table.len(), 2);
    table.check_invariants();
    let id = table.insert(Record::new(node("new", 9, Alive), later), &mut rng);
    assert!(id < NodeId(4));
    table.check_invariants();
    assert_eq!(table.next_probe(LONG, later, &mut rng), Some(id));
}

#[test]
fn gossip_goes_to_every_target_before_one_comes_again() {
    use NodeState::*;
    let (mut table, mut rng) = table(&[Alive; 9]);
    let mut walked = Vec::new();
    for _ in 0..18 {
        walked.extend(table.next_gossip_target(LONG, Instant::ORIGIN));
    }
    for window in walked.windows(9) {
        let mut window = window.to_vec();
        window.sort_unstable();
        window.dedup();
        assert_eq!(window.len(), 9);
    }
    assert_eq!(walked.len(), 18);
    table.renew_gossip_order(&mut rng);
    table.check_invariants();
}

#[test]
fn gossip_goes_to_the_recently_dead_and_never_to_the_left() {
    use NodeState::*;
    let (mut table, _) = table(&[Dead, Left, Suspect]);
    let mut targets = |now| {
        let walk = (0..9).filter_map(|_| table.next_gossip_target(LONG, now));
        let mut ids: Vec<NodeId> = walk.collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    };
    assert_eq!(targets(Instant::ORIGIN), [NodeId(1), NodeId(3)]);
    assert_eq!(targets(Instant::from_millis(30_001)), [NodeId(3)]);
}

#[test]
fn samples_hold_every_candidate_equally_often() {
    use NodeState::*;
    let (table, mut rng) = table(&[Alive, Suspect, Alive, Alive, Dead, Alive]);
    let mut picked = [0; 8];
    for _ in 0..3_000 {
        let sample = table.sample_alive(2, Some(NodeId(1)), &mut rng);
        assert_eq!(sample.len(), 2);
        assert_ne!(sample[0], sample[1]);
        for id in sample {
            picked[id.0 as usize] += 1;
        }
    }
    assert_eq!(picked[0] + picked[1] + picked[2] + picked[5] + picked[7], 0);
    for index in [3, 4, 6] {
        assert!((1_800..2_200).contains(&picked[index]), "{picked:?}");
    }
    assert_eq!(table.sample_alive(9, None, &mut rng).len(), 4);
}

#[test]
fn a_record_is_small() {
    assert!(size_of::<Option<Record>>() <= 40);
}
