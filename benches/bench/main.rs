//! The figures that cottar is held to, each beside the reference's in the same run, in one table.
//!
//! `cargo bench --bench bench -- [WORD...]` measures only the figures whose name holds a word.
//! `COTTAR_BIN` names the binary to measure (`make bench` gives the static one).
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod cluster;
mod flood;
mod footprint;
mod handlers;
#[path = "../../tests/interop/harness/mod.rs"]
#[allow(dead_code, unused_imports)]
mod harness;
#[path = "../../tests/interop/noise.rs"]
#[allow(dead_code)]
mod noise;
mod rpc;
mod startup;
mod table;

use harness::{Kind, reference};
use table::{Figure, Row};

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if reference().is_none() {
        println!("no `serf` on the path: nothing to measure beside");
        return;
    }
    println!(
        "measuring {} beside {}",
        Kind::Cottar.program().display(),
        Kind::Serf.program().display()
    );
    let figures: &[Figure] = &[
        Figure {
            name: "binary, bytes",
            measure: footprint::binary_size,
        },
        Figure {
            name: "resident, idle, one node, KiB",
            measure: footprint::resident,
        },
        Figure {
            name: "idle wake-ups per second",
            measure: footprint::wake_ups,
        },
        Figure {
            name: "start to first RPC answer, ms",
            measure: startup::first_answer,
        },
        Figure {
            name: "handler runs per second",
            measure: handlers::runs_per_second,
        },
        Figure {
            name: "event to ten agents, median, ms",
            measure: cluster::latency,
        },
        Figure {
            name: "events per second without a loss",
            measure: cluster::rate,
        },
        Figure {
            name: "20 s of garbage",
            measure: flood::garbage,
        },
    ];
    // Figures that race with other work mean little: say how much of it there is.
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average before: {}", load.trim());
    let mut rows: Vec<Row> = Vec::new();
    for figure in figures {
        if !words.is_empty() && !words.iter().any(|word| figure.name.contains(word.as_str())) {
            continue;
        }
        println!("... {}", figure.name);
        rows.push((figure.measure)(figure.name));
    }
    table::print(&rows);
}

/// The middle one of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
