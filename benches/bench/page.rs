//! Generates the results page, benches/RESULTS.md.

use std::fmt::Write;

use crate::charts::CHARTS;
use crate::results::{Line, Measurement, Results, Setting};

/// Load before a measurement from which the page warns of other load on the machine.
const BUSY: f64 = 1.5;

const HEAD: &str = "\
# Results

cottar and Serf, measured on the same machine in the same run; where a figure has rounds, the two programs
take turns. `make bench` writes this page, its charts and `results.json`, from which both are generated;
`make bench FIGURES=\"latency rpc\"` measures only these figures and keeps the others. Each number is the
median of its rounds, followed by the lowest and the highest; numbers without a range were measured once. What
a figure means and where its goal comes from is documented in its code, in `bench`.
";

/// The whole page.
pub fn text(results: &Results) -> String {
    let mut page = HEAD.to_owned();
    for chart in CHARTS {
        if results.curves(chart.name).next().is_some() {
            let (title, file, about) = (chart.title, chart.file(), chart.about);
            let _ = write!(page, "\n## {title}\n\n![{title}]({file})\n\n{about}\n");
        }
    }
    page += "\n## All figures\n\n| figure | cottar | Serf | ratio | goal | reached |\n";
    page += "|---|---|---|---|---|---|\n";
    let lines = || results.0.iter().flat_map(|measured| &measured.lines);
    for line in lines() {
        let [cottar, serf] = [(&line.cottar, 0), (&line.serf, 1)]
            .map(|(median, program)| format!("{median}{}", range(&line.rounds[program])));
        let Line {
            name, ratio, goal, ..
        } = line;
        let reached = if line.is_reached { "yes" } else { "**no**" };
        let _ = writeln!(
            page,
            "| {name} | {cottar} | {serf} | {ratio} | {goal} | {reached} |"
        );
    }
    let mut notes = lines().filter(|line| !line.note.is_empty()).peekable();
    if notes.peek().is_some() {
        page.push('\n');
    }
    for line in notes {
        let _ = writeln!(
            page,
            "* {}: {}.",
            line.name,
            line.note.trim_end_matches('.')
        );
    }
    page += &settings(results);
    page
}

/// The range of some rounds.
fn range(rounds: &[f64]) -> String {
    let (Some(low), Some(high)) = (
        rounds.iter().copied().min_by(f64::total_cmp),
        rounds.iter().copied().max_by(f64::total_cmp),
    ) else {
        return String::new();
    };
    format!(" ({} to {})", number(low), number(high))
}

/// Formats a measured number with its significant digits.
pub fn number(value: f64) -> String {
    if value.is_nan() {
        "-".into()
    } else if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Where and when the figures were measured; those with the same setting together.
fn settings(results: &Results) -> String {
    let mut text = "\n## Machine and versions\n".to_owned();
    let same = |a: &Setting, b: &Setting| {
        (&a.machine, &a.cottar, &a.serf, &a.date) == (&b.machine, &b.cottar, &b.serf, &b.date)
    };
    let mut groups: Vec<Vec<&Measurement>> = Vec::new();
    for measured in &results.0 {
        let group = groups
            .iter_mut()
            .find(|group| same(&group[0].setting, &measured.setting));
        match group {
            Some(group) => group.push(measured),
            None => groups.push(vec![measured]),
        }
    }
    for group in groups {
        let setting = &group[0].setting;
        let list = |members: &[&Measurement]| {
            let words = members.iter().map(|member| format!("`{}`", member.word));
            words.collect::<Vec<_>>().join(", ")
        };
        let _ = write!(
            text,
            "\n{}, on {}:\n\n* {}\n* {}\n* {}\n",
            list(&group),
            setting.date,
            setting.machine,
            setting.cottar,
            setting.serf
        );
        let load = |member: &Measurement| member.setting.load.parse::<f64>().unwrap_or(0.0);
        let busy: Vec<&Measurement> = group
            .iter()
            .copied()
            .filter(|member| load(member) >= BUSY)
            .collect();
        if !busy.is_empty() {
            let loads = busy.iter().map(|member| load(member));
            let highest = loads.fold(0.0, f64::max);
            let _ = writeln!(
                text,
                "* The machine was shared: others computed on it while {} were measured (load average before \
                 a figure up to {highest:.1}), so times are longer than the programs need, and ranges wider.",
                list(&busy)
            );
        }
    }
    text
}
