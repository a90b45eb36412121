//! The figures that cottar is held to, each beside the reference's in the same run, in one table.
//!
//! `cargo bench --bench bench -- [WORD...]` measures only the figures with these words: see [`main`].
//! `COTTAR_BIN` names the binary to measure (`make bench` gives the static one).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cluster;
mod convergence;
mod crowd;
mod delivery;
mod flood;
mod footprint;
mod handlers;
#[path = "../../tests/live/mod.rs"]
mod live;
#[path = "../../tests/soak/network.rs"]
#[allow(dead_code)]
mod network;
#[allow(dead_code)]
#[path = "../../tests/data/noise.rs"]
mod noise;
mod peers;
#[allow(dead_code)]
mod proc;
mod queries;
mod rpc;
mod startup;
mod table;
mod traffic;

use live::{Kind, reference};
use std::time::Instant;
use table::{Figure, Row};

const FIGURES: &[Figure] = &[
    Figure {
        word: "size",
        measure: footprint::binary_size,
    },
    Figure {
        word: "start",
        measure: startup::first_answer,
    },
    Figure {
        word: "idle",
        measure: footprint::idle,
    },
    Figure {
        word: "traffic",
        measure: traffic::idle,
    },
    Figure {
        word: "handlers",
        measure: handlers::runs_per_second,
    },
    Figure {
        word: "rpc",
        measure: queries::rpc,
    },
    Figure {
        word: "query",
        measure: queries::answers,
    },
    Figure {
        word: "latency",
        measure: cluster::latency,
    },
    Figure {
        word: "throughput",
        measure: cluster::rate,
    },
    Figure {
        word: "delivery",
        measure: delivery::missing,
    },
    Figure {
        word: "convergence",
        measure: convergence::all_at_once,
    },
    Figure {
        word: "members",
        measure: crowd::costs,
    },
    Figure {
        word: "garbage-cpu",
        measure: flood::cost,
    },
    Figure {
        word: "garbage",
        measure: flood::garbage,
    },
];

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if let Some(unknown) = words
        .iter()
        .find(|word| !FIGURES.iter().any(|f| f.word == *word))
    {
        let known: Vec<&str> = FIGURES.iter().map(|figure| figure.word).collect();
        println!(
            "no figure is called {unknown}; there are: {}",
            known.join(" ")
        );
        return;
    }
    if reference().is_none() {
        println!("no `serf` on the path: nothing to measure beside");
        return;
    }
    println!(
        "measuring {} beside {}",
        Kind::Cottar.program().display(),
        Kind::Serf.program().display()
    );
    // Figures that race with other work mean little: say how much of it there is.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average before: {}", load.trim());
    let mut rows: Vec<Row> = Vec::new();
    for figure in FIGURES {
        if !words.is_empty() && !words.iter().any(|word| word == figure.word) {
            continue;
        }
        let started = Instant::now();
        println!("... {}", figure.word);
        // One that goes wrong, with its reason on stderr, does not take the others with it.
        let measured = std::panic::catch_unwind(figure.measure)
            .unwrap_or_else(|_| vec![Row::missing(figure.word, "failed, see above")]);
        measured.iter().for_each(Row::print);
        rows.extend(measured);
        println!("    {:.0} s", started.elapsed().as_secs_f64());
    }
    table::print(&rows);
}

/// The middle one of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
