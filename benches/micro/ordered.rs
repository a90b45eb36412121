//! The ordered map compared with the standard library's, with the names of all members as keys.

use crate::{Growth, Step, nanos_per_step, peers};
use cottar::ordered::OrderedMap;
use cottar::wire::NodeName;
use std::collections::BTreeMap;
use std::hint::black_box;

/// The same operations on either map; the two have no trait in common.
macro_rules! measures {
    ($map:ident) => {
        pub fn find(members: usize) -> f64 {
            let (map, names) = (numbered::<$map<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                black_box(names.next().and_then(|name| map.get(name)));
            })
        }

        pub fn replace(members: usize) -> f64 {
            let (mut map, names) = (numbered::<$map<_, _>>(members), shuffled(members));
            let mut names = names.iter().cycle();
            nanos_per_step(1, || {
                if let Some(name) = names.next() {
                    let number = map.remove(name).unwrap();
                    map.insert(name.clone(), number);
                }
            })
        }

        pub fn fill(members: usize) -> f64 {
            let names = shuffled(members);
            nanos_per_step(members, || {
                let mut map = $map::new();
                for (name, number) in names.iter().cloned().zip(0..) {
                    map.insert(name, number);
                }
                while let Some(first) = map.pop_first() {
                    black_box::<(NodeName, usize)>(first);
                }
            })
        }
    };
}

mod ours {
    use super::*;
    measures!(OrderedMap);
}

mod std_map {
    use super::*;
    measures!(BTreeMap);
}

const fn step(name: &'static str, measure: fn(usize) -> f64) -> Step {
    Step {
        name,
        growth: Growth::Logarithm,
        measure,
    }
}

pub const STEPS: &[Step] = &[
    step("map: find", ours::find),
    step("std's map: find", std_map::find),
    step("map: remove, and insert again", ours::replace),
    step("std's map: remove, and insert again", std_map::replace),
    step("map: fill and empty, each entry", ours::fill),
    step("std's map: fill and empty, each entry", std_map::fill),
];

fn numbered<M: FromIterator<(NodeName, usize)>>(members: usize) -> M {
    shuffled(members).into_iter().zip(0..).collect()
}

/// Returns names in random order.
fn shuffled(members: usize) -> Vec<NodeName> {
    (0..members)
        .map(|index| peers::name(index * 7919 % members))
        .collect()
}
