//! Single operations of the core with 10, 1,000 and 10,000 members, and of the handler queue with 1, 10 and
//! 100 handlers, to show that none grows faster than it must.
//!
//! `cargo bench --bench micro -- [WORD...]` runs only those whose name contains a word. Each number is the
//! median of some rounds, each of which repeats the operation for a few hundredths of a second. The last
//! columns compare the last number with the first: with 10,000 members instead of 10, an operation that
//! visits every member would be a thousand times slower.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod handlers;
mod heap;
mod ordered;
#[path = "../bench/peers.rs"]
mod peers;
mod queue;
mod table;
mod wire;

use std::time::{Duration, Instant};

/// Numbers of members.
const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// Operations that are measured with the same numbers of members or handlers.
struct Part {
    unit: &'static str,
    sizes: [usize; 3],
    steps: &'static [&'static [Step]],
}

const PARTS: [Part; 2] = [
    Part {
        unit: "members",
        sizes: SIZES,
        steps: &[wire::STEPS, ordered::STEPS, queue::STEPS, table::STEPS],
    },
    Part {
        unit: "handlers",
        sizes: [1, 10, 100],
        steps: &[handlers::STEPS],
    },
];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(25);

/// How the time of an operation may grow with the number of members or handlers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    /// Constant, except for processor cache misses.
    Constant,
    /// Logarithmic, like the depth of a sorted tree: fourfold, plus cache misses.
    Logarithm,
    /// Linear, because each must be visited.
    Linear,
    /// Linear, but at most this many nanoseconds each.
    Below(f64),
}

impl Growth {
    fn is_reached(self, sizes: [usize; 3], nanos: [f64; 3]) -> bool {
        let growth = nanos[2] / nanos[0];
        match self {
            Growth::Constant => growth <= 4.0,
            Growth::Logarithm => growth <= 16.0,
            Growth::Linear => growth <= 2.0 * (sizes[2] / sizes[0]) as f64,
            Growth::Below(nanos_max) => nanos[2] <= nanos_max,
        }
    }

    fn text(self) -> String {
        match self {
            Growth::Constant => "constant".to_owned(),
            Growth::Logarithm => "log n".to_owned(),
            Growth::Linear => "n".to_owned(),
            Growth::Below(nanos_max) => format!("< {nanos_max}"),
        }
    }
}

/// An operation and its measurement with this many members or handlers, in nanoseconds.
struct Step {
    name: &'static str,
    growth: Growth,
    measure: fn(usize) -> f64,
}

/// Returns the time of one of the `steps` operations that each call of `work` performs.
fn nanos_per_step(steps: usize, mut work: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (started, mut calls) = (Instant::now(), 0);
            while started.elapsed() < ROUND {
                work();
                calls += 1;
            }
            started.elapsed().as_secs_f64() * 1e9 / (calls * steps) as f64
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let is_wanted = |step: &&Step| {
        words.is_empty() || words.iter().any(|word| step.name.contains(word.as_str()))
    };
    let mut missed = 0;
    for part in PARTS {
        let mut steps = part
            .steps
            .iter()
            .copied()
            .flatten()
            .filter(is_wanted)
            .peekable();
        if steps.peek().is_some() {
            let [few, some, many] = part.sizes;
            println!("ns per step, by the number of {}", part.unit);
            println!(
                "{:<46}{few:>10}{some:>10}{many:>10}  {:>7}  {:<9} reached",
                "step", "growth", "expected"
            );
        }
        missed += steps.filter(|step| !measured(step, part.sizes)).count();
    }
    if words.is_empty() || words.iter().any(|word| word == "memory") {
        missed += usize::from(!table::memory());
    }
    println!("{missed} steps grow faster than they must");
}

/// Measures an operation and prints the figures. Returns whether it grows as it may.
fn measured(step: &Step, sizes: [usize; 3]) -> bool {
    let nanos = sizes.map(step.measure);
    let is_reached = step.growth.is_reached(sizes, nanos);
    println!(
        "{:<46}{:>10.0}{:>10.0}{:>10.0}  {:>7.2}  {:<9} {}",
        step.name,
        nanos[0],
        nanos[1],
        nanos[2],
        nanos[2] / nanos[0],
        step.growth.text(),
        if is_reached { "yes" } else { "NO" }
    );
    is_reached
}
