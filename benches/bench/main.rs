//! Measures cottar and the reference in the same run and prints the figures, with their goals, in one table.
//!
//! `cargo bench --bench bench -- [WORD...]` measures only the figures with these words: see [`main`].
//! `COTTAR_BIN` gives the binary to measure (`make bench` sets the static one). The results are kept in
//! `benches/results.json`, from which the page and its charts are generated; the word `page` generates them
//! again.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod charts;
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
mod page;
mod peers;
#[allow(dead_code)]
mod proc;
mod queries;
mod results;
mod rpc;
mod setting;
mod startup;
mod table;
mod traffic;

use live::{Kind, reference};
use results::{Measurement, Results};
use std::fs;
use std::time::Instant;
use table::{Figure, Measured, Row};

/// Generates the page from the kept results, without measuring.
const PAGE: &str = "page";

const FIGURES: [Figure; 14] = [
    Figure {
        word: "size",
        measure: || footprint::binary_size().into(),
    },
    Figure {
        word: "start",
        measure: || startup::first_answer().into(),
    },
    Figure {
        word: "idle",
        measure: || footprint::idle().into(),
    },
    Figure {
        word: "traffic",
        measure: || traffic::idle().into(),
    },
    Figure {
        word: "handlers",
        measure: handlers::runs_per_second,
    },
    Figure {
        word: "rpc",
        measure: || queries::rpc().into(),
    },
    Figure {
        word: "query",
        measure: || queries::answers().into(),
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
        measure: || delivery::missing().into(),
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
        measure: || flood::cost().into(),
    },
    Figure {
        word: "garbage",
        measure: || flood::garbage().into(),
    },
];

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let known = FIGURES.map(|figure| figure.word);
    let is_known = |word: &str| word == PAGE || known.contains(&word);
    if let Some(unknown) = words.iter().find(|word| !is_known(word)) {
        let known = known.join(" ");
        println!("no figure is called {unknown}; there are: {known}, and {PAGE}");
        return;
    }
    let file = results::file();
    let mut kept = match fs::read_to_string(&file).map(|text| Results::decode(&text)) {
        Ok(Ok(kept)) => kept,
        Ok(Err(why)) => return println!("{}: {why}", file.display()),
        Err(_) => Results::default(),
    };
    if words == [PAGE] {
        return write(&kept);
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
    let mut rows: Vec<Row> = Vec::new();
    for figure in FIGURES {
        if !words.is_empty() && !words.iter().any(|word| word == figure.word) {
            continue;
        }
        let (measurement, measured) = measure(&figure);
        rows.extend(measured);
        // A figure that failed keeps its earlier results on the page.
        if let Some(measurement) = measurement {
            kept.take(measurement, &known);
            write(&kept);
        }
    }
    table::print(&rows);
}

/// Measures a figure. If it fails, the reason is printed to stderr and the other figures continue.
fn measure(figure: &Figure) -> (Option<Measurement>, Vec<Row>) {
    let started = Instant::now();
    // Figures measured under other load mean little; the setting records that load.
    let setting = setting::now();
    println!("... {} (load average {})", figure.word, setting.load);
    let measured = std::panic::catch_unwind(figure.measure);
    let Ok(Measured { rows, curves }) = measured else {
        return (None, vec![Row::missing(figure.word, "failed, see above")]);
    };
    rows.iter().for_each(Row::print);
    println!("    {:.0} s", started.elapsed().as_secs_f64());
    let measurement = Measurement {
        word: figure.word.to_owned(),
        setting,
        lines: rows.iter().map(Row::line).collect(),
        curves,
    };
    (Some(measurement), rows)
}

/// Writes the results, the page and the charts.
fn write(results: &Results) {
    let write = |file: String, text: String| {
        fs::write(results::folder().join(file), text).expect("a file in benches");
    };
    write("results.json".into(), results.encode());
    write("RESULTS.md".into(), page::text(results));
    for chart in charts::CHARTS {
        if let Some(svg) = chart.svg(results) {
            write(chart.file(), svg);
        }
    }
}

/// Returns the median of some measurements.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
