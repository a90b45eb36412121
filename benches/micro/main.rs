//! Single steps of the core at 10, 1,000 and 10,000 members, to show that none grows faster than it must.
//!
//! `cargo bench --bench micro -- [WORD...]` runs only those whose name holds a word. Each number is the
//! median of some rounds, each of which repeats the step for a few hundredths of a second. The last columns
//! compare 10,000 members with 10: a step that looks at every member would be a thousand times slower.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod heap;
mod ordered;
#[path = "../bench/peers.rs"]
mod peers;
mod queue;
mod table;
mod wire;

use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [10, 1_000, 10_000];
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(25);

/// How the time of a step may grow with the number of members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Growth {
    /// Not at all, but for what leaves the processor's caches.
    Constant,
    /// With the depth of a sorted tree: fourfold, and the caches.
    Logarithm,
    /// With each of them, because each has to be looked at.
    Linear,
}

impl Growth {
    /// What 10,000 members may take of what 10 take.
    fn ratio_max(self) -> f64 {
        match self {
            Growth::Constant => 4.0,
            Growth::Logarithm => 16.0,
            Growth::Linear => 2_000.0,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Growth::Constant => "constant",
            Growth::Logarithm => "log n",
            Growth::Linear => "n",
        }
    }
}

/// A step and how it is measured: with so many members, in nanoseconds.
struct Step {
    name: &'static str,
    growth: Growth,
    measure: fn(usize) -> f64,
}

/// The time of one of the `steps` that each call of `work` does.
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
    let steps = [wire::STEPS, ordered::STEPS, queue::STEPS, table::STEPS].concat_steps();
    println!("ns per step at {SIZES:?} members");
    println!(
        "{:<46}{:>10}{:>10}{:>10}  {:>7}  {:<9} reached",
        "step", "10", "1,000", "10,000", "growth", "expected"
    );
    let mut missed = 0;
    for step in steps {
        if !words.is_empty() && !words.iter().any(|word| step.name.contains(word.as_str())) {
            continue;
        }
        let nanos = SIZES.map(step.measure);
        let growth = nanos[2] / nanos[0];
        let reached = growth <= step.growth.ratio_max();
        missed += usize::from(!reached);
        println!(
            "{:<46}{:>10.0}{:>10.0}{:>10.0}  {growth:>7.2}  {:<9} {}",
            step.name,
            nanos[0],
            nanos[1],
            nanos[2],
            step.growth.as_str(),
            if reached { "yes" } else { "NO" }
        );
    }
    if words.is_empty() || words.iter().any(|word| word == "memory") {
        missed += usize::from(!table::memory());
    }
    println!("{missed} steps grow faster than they must");
}

/// One list of several.
trait ConcatSteps {
    fn concat_steps(self) -> Vec<&'static Step>;
}

impl<const N: usize> ConcatSteps for [&'static [Step]; N] {
    fn concat_steps(self) -> Vec<&'static Step> {
        self.into_iter().flatten().collect()
    }
}
