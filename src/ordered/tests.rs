//! Compares the collections with the standard library's.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::order::{CHUNK_MAX, CHUNK_SMALL};
use super::{OrderedMap, OrderedSet, OrderedTable, Slot, sort_by};
use crate::rng::Rng;

/// Number of seeds; a failure prints its seed.
const SEEDS: u64 = 12;
const STEPS: usize = 6_000;
/// Numbers of distinct keys: from a few entries to dozens of chunks.
const KEYS: [usize; 4] = [5, 60, 1_000, 6_000];

/// Reference-counted values show whether they are dropped; keys are compared as text.
type Subject = OrderedMap<String, Rc<usize>>;
type Model = BTreeMap<String, Rc<usize>>;

fn key(number: usize) -> String {
    format!("{number:05}")
}

fn assert_same(subject: &Subject, model: &Model) {
    subject.check_invariants();
    assert_eq!(subject.len(), model.len());
    assert_eq!(subject.is_empty(), model.is_empty());
    assert!(subject.iter().eq(model));
    assert!(subject.keys().eq(model.keys()));
    assert!(subject.values().eq(model.values()));
    assert_eq!(subject.first_key_value(), model.first_key_value());
    assert_eq!(subject.last_key_value(), model.last_key_value());
}

/// Executes a random operation. `grows` selects whether the number of entries tends to rise or fall.
fn step(subject: &mut Subject, model: &mut Model, keys: usize, grows: bool, rng: &mut Rng) {
    let number = rng.below(keys);
    let (key, value) = (key(number), Rc::new(rng.below(1_000)));
    match rng.below(if grows { 10 } else { 20 }) {
        0..=5 if grows => assert_eq!(
            subject.insert(key.clone(), value.clone()),
            model.insert(key, value)
        ),
        0..=9 if !grows => assert_eq!(subject.remove(key.as_str()), model.remove(&key)),
        0..=12 => match rng.below(8) {
            0 => assert_eq!(
                subject.insert(key.clone(), value.clone()),
                model.insert(key, value)
            ),
            1 => assert_eq!(subject.remove(&key), model.remove(&key)),
            2 => assert_eq!(subject.get(key.as_str()), model.get(&key)),
            3 => assert_eq!(subject.contains_key(&key), model.contains_key(&key)),
            4 => {
                let mine = subject.get_or_insert_with(key.clone(), || value.clone());
                let theirs = model.entry(key).or_insert(value.clone());
                assert_eq!(mine, theirs);
                (*mine, *theirs) = (value.clone(), value);
            }
            5 => {
                let (mine, theirs) = (subject.get_mut(&key), model.get_mut(&key));
                assert_eq!(mine, theirs);
                if let (Some(mine), Some(theirs)) = (mine, theirs) {
                    (*mine, *theirs) = (value.clone(), value);
                }
            }
            6 => assert!(subject.range_from(&key).eq(model.range(key..))),
            _ => assert_eq!(subject.range_from(&key).next(), model.range(key..).next()),
        },
        13..=16 => assert_eq!(subject.pop_first(), model.pop_first()),
        _ => {
            // Remove a range, or every nth key.
            let (from, every) = (rng.below(keys), rng.below(20) + 2);
            let is_kept = |key: &str| {
                let key: usize = key.parse().unwrap();
                !(from..from + keys / 8).contains(&key) && (key % every != 1 || every < 18)
            };
            let mut asked = Vec::new();
            subject.retain(|key, _| {
                asked.push(key.clone());
                is_kept(key)
            });
            assert!(asked.iter().eq(model.keys()));
            model.retain(|key, _| is_kept(key));
        }
    }
}

#[test]
fn it_does_what_the_standard_librarys_map_does() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        let keys = KEYS[seed as usize % KEYS.len()];
        let (mut subject, mut model) = (Subject::new(), Model::new());
        let (mut grows, mut highest) = (true, 0);
        for number in 0..STEPS {
            // Long phases fill the map, short ones remove most of it.
            if rng.chance(if grows { 0.001 } else { 0.02 }) {
                grows = !grows;
            }
            step(&mut subject, &mut model, keys, grows, &mut rng);
            highest = highest.max(model.len());
            if number % 97 == 0 || model.len() < 20 {
                assert_same(&subject, &model);
            }
        }
        assert_same(&subject, &model);
        assert!(highest * 2 > keys.min(2_000), "seed {seed}: {highest}");
        // Removed values are dropped.
        let others: Vec<_> = subject.values().cloned().collect();
        drop(model);
        let copy = subject.clone();
        assert_eq!(copy, subject);
        assert!(
            copy.into_iter().eq(subject
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())))
        );
        assert!(subject.into_values().eq(others.iter().cloned()));
        assert!(
            others.iter().all(|value| Rc::strong_count(value) == 1),
            "seed {seed}"
        );
    }
}

#[test]
fn what_comes_in_order_or_against_it_is_found_again() {
    const COUNT: usize = 10 * CHUNK_MAX + 7;
    let ascending: OrderedMap<usize, usize> = (0..COUNT).map(|key| (key, key)).collect();
    let descending: OrderedMap<usize, usize> = (0..COUNT).rev().map(|key| (key, key)).collect();
    for mut map in [ascending.clone(), descending] {
        map.check_invariants();
        assert_eq!(map, ascending);
        assert!(map.keys().copied().eq(0..COUNT));
        for from in 0..COUNT {
            assert_eq!(map.range_from(&from).next(), Some((&from, &from)));
        }
        assert_eq!(map.range_from(&COUNT).next(), None);
        // In descending order, so that chunks shrink next to full ones.
        for key in (0..COUNT).rev() {
            assert_eq!(map.remove(&key), Some(key));
            map.check_invariants();
        }
        assert_eq!(map.remove(&0), None);
        assert_eq!(map.first_key_value(), None);
    }
}

#[test]
fn ranges_start_between_keys_and_chunks_too() {
    let even: OrderedMap<usize, ()> = (0..3 * CHUNK_MAX).map(|key| (key * 2, ())).collect();
    for from in 0..6 * CHUNK_MAX {
        let first = even.range_from(&from).next().map(|(&key, ())| key);
        let due = from + from % 2;
        assert_eq!(first, (due < 6 * CHUNK_MAX).then_some(due));
        assert_eq!(even.range_from(&from).count(), 3 * CHUNK_MAX - due / 2);
    }
}

#[test]
fn small_chunks_are_joined() {
    let mut map: OrderedMap<usize, ()> = (0..20 * CHUNK_MAX).map(|key| (key, ())).collect();
    map.retain(|key, ()| key % CHUNK_SMALL == 0);
    map.check_invariants();
    for key in 0..20 * CHUNK_MAX {
        map.insert(key, ());
    }
    for key in 0..20 * CHUNK_MAX {
        if key % CHUNK_SMALL != 0 {
            assert_eq!(map.remove(&key), Some(()));
            map.check_invariants();
        }
    }
    assert_eq!(map.len(), 20 * CHUNK_MAX / CHUNK_SMALL);
}

#[test]
fn the_key_of_the_latest_insertion_is_kept() {
    let mut set: OrderedSet<Rc<u8>> = OrderedSet::new();
    let (first, second) = (Rc::new(1), Rc::new(1));
    assert!(set.insert(first.clone()));
    assert!(!set.insert(second.clone()));
    assert_eq!(
        (Rc::strong_count(&first), Rc::strong_count(&second)),
        (1, 2)
    );
}

#[test]
fn all_values_can_be_changed() {
    let mut map = OrderedMap::from([(3, 30), (1, 10), (2, 20)]);
    map.remove(&1);
    let mut seen = Vec::new();
    map.for_each_mut(|&key, value| {
        seen.push(key);
        *value += 1;
    });
    assert_eq!(seen, [2, 3]);
    assert_eq!(map, [(2, 21), (3, 31)].into());
    assert_ne!(map, [(2, 21), (3, 32)].into());
    assert_ne!(map, [(2, 21)].into());
    assert_eq!(format!("{map:?}"), "{2: 21, 3: 31}");
}

#[test]
fn an_empty_map_has_no_memory() {
    let mut map: OrderedMap<u64, u64> = OrderedMap::new();
    assert_eq!((map.entries_capacity(), map.pop_first()), (0, None));
    map.extend((0..10_000).map(|key| (key, key)));
    assert!(map.entries_capacity() <= 12_500);
    // Nor does a map that was large once.
    while map.pop_first().is_some() {}
    assert!(map.is_empty() && map.entries_capacity() < CHUNK_MAX);
    map.insert(1, 1);
    map.clear();
    assert_eq!((map.len(), map.entries_capacity()), (0, 0));
}

#[test]
fn a_tables_entries_keep_their_slots_until_it_is_compacted() {
    type Entry = (u32, &'static str);
    let by_key = |a: &Entry, b: &Entry| a.0.cmp(&b.0);
    let at = |key| move |entry: &Entry| entry.0.cmp(&key);
    let mut table = OrderedTable::new();
    let slots: Vec<Slot> = (0..1_000)
        .map(|number| table.insert((number * 7 % 1_000, "old"), by_key).0)
        .collect();
    let (slot, replaced) = table.insert((7, "new"), by_key);
    assert_eq!((slot, replaced), (slots[1], Some((7, "old"))));
    assert_eq!(table.find(at(14)), Some(slots[2]));
    for key in 0..900 {
        assert!(table.remove(at(key)).is_some());
    }
    assert_eq!((table.remove(at(0)), table.find(at(0))), (None, None));
    for (number, &slot) in (0..1_000).zip(&slots) {
        let kept = table.get(slot).map(|entry| entry.0);
        assert_eq!(kept, Some(number * 7 % 1_000).filter(|key| *key >= 900));
    }
    let (slot, _) = table.insert((5, "again"), by_key);
    assert!(slots.contains(&slot), "a free slot is used again");
    assert_eq!((table.len(), table.slots()), (101, 1_000));
    table.check_invariants();
    table.compact();
    assert_eq!((table.len(), table.slots()), (101, 101));
    table.check_invariants();
    assert!(table.is_tight());
    let keys = table.iter().map(|entry| entry.0);
    assert!(keys.eq([5].into_iter().chain(900..1_000)));
    let from = table.range_from(at(990)).count();
    assert_eq!((from, table.in_any_order().count()), (10, 101));
}

#[test]
fn sorting_keeps_the_order_of_equals() {
    let mut rng = Rng::new(4);
    for count in [0, 1, 2, 20, 10 * CHUNK_MAX] {
        let mut items: Vec<_> = (0..count)
            .map(|at| (rng.below(count / 3 + 1), at))
            .collect();
        let mut due = items.clone();
        due.sort_by_key(|&(key, _)| key);
        sort_by(&mut items, |(a, _), (b, _)| a.cmp(b));
        assert_eq!(items, due);
    }
}

#[test]
fn it_does_what_the_standard_librarys_set_does() {
    let mut rng = Rng::new(3);
    for keys in KEYS {
        let mut subjects = [OrderedSet::new(), OrderedSet::new()];
        let mut models = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..STEPS {
            let which = rng.below(2);
            let (subject, model) = (&mut subjects[which], &mut models[which]);
            let key = rng.below(keys);
            match rng.below(if which == 0 { 8 } else { 5 }) {
                0..=2 => assert_eq!(subject.insert(key), model.insert(key)),
                3 => assert_eq!(subject.remove(&key), model.remove(&key)),
                4 => assert_eq!(
                    (subject.contains(&key), subject.get(&key)),
                    (model.contains(&key), model.get(&key))
                ),
                5 => assert_eq!(subject.first(), model.first()),
                6 => assert_eq!(subject.pop_first(), model.pop_first()),
                _ if rng.chance(0.02) => {
                    subject.retain(|present| present % 7 != key % 7);
                    model.retain(|present| present % 7 != key % 7);
                }
                _ => {}
            }
        }
        let ([a, b], [model_a, model_b]) = (&subjects, &models);
        a.check_invariants();
        b.check_invariants();
        assert!(a.iter().eq(model_a) && b.iter().eq(model_b));
        assert_eq!((b.len(), b.is_empty()), (model_b.len(), model_b.is_empty()));
        assert!(a.difference(b).eq(model_a.difference(model_b)));
        assert!(b.difference(a).eq(model_b.difference(model_a)));
        assert_eq!(&model_a.iter().copied().collect::<OrderedSet<_>>(), a);
        assert_eq!(format!("{a:?}"), format!("{model_a:?}"));
        assert!(a.clone().into_iter().eq(model_a.iter().copied()));
        subjects[0].clear();
        assert!(subjects[0].is_empty());
    }
}
