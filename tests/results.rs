//! The results page of `make bench` and its charts. A run of some figures keeps the results of the others.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

#[path = "../benches/bench/charts.rs"]
mod charts;
#[path = "../benches/bench/page.rs"]
mod page;
#[allow(dead_code)]
#[path = "../benches/bench/results.rs"]
mod results;

use std::fs;

use charts::CHARTS;
use results::{Curve, Line, Measurement, Results, Setting};

fn measured(word: &str, median: &str, load: &str) -> Measurement {
    Measurement {
        word: word.into(),
        setting: Setting {
            machine: "a machine".into(),
            cottar: "cottar v1".into(),
            serf: "Serf v0".into(),
            date: "2026-01-01".into(),
            load: load.into(),
        },
        lines: vec![Line {
            name: format!("the {word}, ms"),
            cottar: median.into(),
            serf: "200".into(),
            ratio: "0.01".into(),
            goal: "less".into(),
            is_reached: word != "b",
            note: "a remark".into(),
            rounds: [vec![3.0, 1.0, 2.5], vec![190.0, 210.0]],
        }],
        curves: vec![
            Curve::new(
                "convergence",
                "cottar",
                [[10.0, 0.5], [10.0, 0.25], [30.0, 2.0]],
            ),
            Curve::new("convergence", "serf", [[10.0, 5.0], [30.0, 50.0]]),
        ],
    }
}

#[test]
fn a_later_run_keeps_what_it_does_not_measure() {
    let words = ["a", "b", "c"];
    let mut results = Results::default();
    for (word, median) in [("c", "1.00"), ("a", "2.00"), ("b", "3.00"), ("c", "4.00")] {
        results.take(measured(word, median, "0.2"), &words);
    }
    let order: Vec<&str> = results
        .0
        .iter()
        .map(|measured| &measured.word[..])
        .collect();
    assert_eq!(order, words);
    let medians = results
        .0
        .iter()
        .map(|measured| &measured.lines[0].cottar[..]);
    assert_eq!(medians.collect::<Vec<_>>(), ["2.00", "3.00", "4.00"]);
    let again = Results::decode(&results.encode()).unwrap();
    assert_eq!(again, results);
    for broken in ["", "{}", "[{}]", "[{\"word\": \"a\"}]"] {
        assert!(Results::decode(broken).is_err(), "{broken}");
    }
}

#[test]
fn a_page_has_medians_ranges_and_where_they_are_from() {
    let mut results = Results::default();
    results.take(measured("a", "2.00", "0.2"), &["a", "b"]);
    let page = page::text(&results);
    assert!(
        page.contains("| the a, ms | 2.00 (1.00 to 3.00) | 200 (190 to 210) | 0.01 | less | yes |")
    );
    assert!(page.contains("* the a, ms: a remark.\n"));
    assert!(page.contains("`a`, on 2026-01-01:\n\n* a machine\n* cottar v1\n* Serf v0\n"));
    assert!(!page.contains("shared"), "{page}");
    results.take(measured("b", "2.00", "3.7"), &["a", "b"]);
    let page = page::text(&results);
    assert!(page.contains("| less | **no** |"));
    let shared = "* The machine was shared: others computed on it while `b` were measured (load average \
                  before a figure up to 3.7)";
    assert!(page.contains(shared), "{page}");
}

#[test]
fn a_chart_is_readable_on_any_ground() {
    let mut results = Results::default();
    results.take(measured("a", "2.00", "0.2"), &["a"]);
    let drawn = CHARTS.iter().filter_map(|chart| chart.svg(&results));
    let drawn: Vec<String> = drawn.collect();
    assert_eq!(drawn.len(), 1, "charts of what was not measured");
    // The first element is the background, as large as the chart; both curves are labelled.
    let svg = &drawn[0];
    let ground = svg
        .find("<rect x=\"0\" y=\"0\" width=\"720\" height=\"420\"")
        .unwrap();
    assert!(svg[ground..].lines().next().unwrap().contains("#FFFFFF"));
    assert_eq!(svg.find("<rect"), Some(ground));
    for text in ["cottar", "serf", "nodes", "seconds"] {
        assert!(svg.contains(&format!("\n{text}\n")), "{text}");
    }
}

#[test]
fn the_page_and_the_charts_are_those_of_the_results() {
    let read = |file: &str| fs::read_to_string(results::folder().join(file)).expect(file);
    let results = Results::decode(&read("results.json")).unwrap();
    assert!(!results.0.is_empty());
    let hint = "make bench FIGURES=page";
    assert!(read("RESULTS.md") == page::text(&results), "{hint}");
    for chart in CHARTS {
        let drawn = chart.svg(&results);
        let kept = fs::read_to_string(results::folder().join(chart.file())).ok();
        assert!(kept == drawn, "{}: {hint}", chart.file());
    }
}
