//! The ordered map beside the standard library's, with the names of all members as keys.

use crate::{Growth, Step, nanos_per_step, peers};
use cottar::ordered::OrderedMap;
use cottar::wire::NodeName;
use std::collections::BTreeMap;
use std::hint::black_box;

pub const STEPS: &[Step] = &[
    Step {
        name: "map: find",
        growth: Growth::Logarithm,
        measure: |members| {
            let (map, names) = (numbered::<OrderedMap<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                black_box(names.next().and_then(|name| map.get(name)));
            })
        },
    },
    Step {
        name: "std's map: find",
        growth: Growth::Logarithm,
        measure: |members| {
            let (map, names) = (numbered::<BTreeMap<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                black_box(names.next().and_then(|name| map.get(name)));
            })
        },
    },
    Step {
        name: "map: remove, and insert again",
        growth: Growth::Logarithm,
        measure: |members| {
            let (mut map, names) = (numbered::<OrderedMap<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                if let Some(name) = names.next() {
                    let number = map.remove(name).unwrap();
                    map.insert(name.clone(), number);
                }
            })
        },
    },
    Step {
        name: "std's map: remove, and insert again",
        growth: Growth::Logarithm,
        measure: |members| {
            let (mut map, names) = (numbered::<BTreeMap<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                if let Some(name) = names.next() {
                    let number = map.remove(name).unwrap();
                    map.insert(name.clone(), number);
                }
            })
        },
    },
    Step {
        name: "map: fill and empty, each entry",
        growth: Growth::Logarithm,
        measure: |members| {
            let names = shuffled(members);
            nanos_per_step(members, || {
                let mut map: OrderedMap<_, _> = names.iter().cloned().zip(0..).collect();
                while let Some(first) = map.pop_first() {
                    black_box::<(NodeName, usize)>(first);
                }
            })
        },
    },
    Step {
        name: "std's map: fill and empty, each entry",
        growth: Growth::Logarithm,
        measure: |members| {
            let names = shuffled(members);
            nanos_per_step(members, || {
                let mut map = BTreeMap::new();
                for (name, number) in names.iter().cloned().zip(0..) {
                    map.insert(name, number);
                }
                while let Some(first) = map.pop_first() {
                    black_box::<(NodeName, usize)>(first);
                }
            })
        },
    },
];

fn numbered<M: FromIterator<(NodeName, usize)>>(members: usize) -> M {
    shuffled(members).into_iter().zip(0..).collect()
}

/// Names away from their order.
fn shuffled(members: usize) -> Vec<NodeName> {
    (0..members)
        .map(|index| peers::name(index * 7919 % members))
        .collect()
}
