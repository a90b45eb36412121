//! The table that a run prints.

use crate::page::number;
use crate::results::{Curve, Line};

/// Figures that are measured together.
pub struct Figure {
    /// Its name on the command line.
    pub word: &'static str,
    /// Measures both programs.
    pub measure: fn() -> Measured,
}

/// The results of a figure.
#[derive(Debug, Default)]
pub struct Measured {
    pub rows: Vec<Row>,
    /// Its points for the charts.
    pub curves: Vec<Curve>,
}

impl From<Vec<Row>> for Measured {
    fn from(rows: Vec<Row>) -> Self {
        Measured {
            rows,
            curves: Vec::new(),
        }
    }
}

/// The values of a row.
#[derive(Debug)]
pub struct Row {
    name: String,
    cottar: String,
    serf: String,
    ratio: String,
    goal: String,
    reached: bool,
    note: String,
    rounds: [Vec<f64>; 2],
}

impl Row {
    /// Two numbers, and the goal with whether they meet it.
    pub fn numbers(
        name: impl Into<String>,
        cottar: f64,
        serf: f64,
        goal: &str,
        reached: bool,
    ) -> Row {
        let ratio = if cottar == serf { 1.0 } else { cottar / serf };
        Row {
            ratio: number(ratio),
            ..Row::verdicts(name, number(cottar), number(serf), goal, reached)
        }
    }

    /// A row of two numbers of which cottar's should be smaller.
    pub fn less(name: impl Into<String>, cottar: f64, serf: f64) -> Row {
        Row::numbers(name, cottar, serf, "less", cottar < serf)
    }

    /// A row of two numbers of which cottar's should be greater.
    pub fn more(name: impl Into<String>, cottar: f64, serf: f64) -> Row {
        Row::numbers(name, cottar, serf, "more", cottar > serf)
    }

    /// A row of two verdicts.
    pub fn verdicts(
        name: impl Into<String>,
        cottar: String,
        serf: String,
        goal: &str,
        reached: bool,
    ) -> Row {
        Row {
            name: name.into(),
            cottar,
            serf,
            ratio: "-".into(),
            goal: goal.into(),
            reached,
            note: String::new(),
            rounds: [Vec::new(), Vec::new()],
        }
    }

    /// A row for a figure that could not be measured here.
    pub fn missing(name: impl Into<String>, why: &str) -> Row {
        Row::verdicts(name, "?".into(), "?".into(), "less", false).note(why.into())
    }

    /// Adds a remark that is printed below the table.
    pub fn note(mut self, note: String) -> Row {
        self.note = note;
        self
    }

    /// Adds the results of each round.
    pub fn rounds(mut self, cottar: &[f64], serf: &[f64]) -> Row {
        self.rounds = [cottar.to_vec(), serf.to_vec()];
        self
    }

    /// Returns the part that the page keeps.
    pub fn line(&self) -> Line {
        Line {
            name: self.name.clone(),
            cottar: self.cottar.clone(),
            serf: self.serf.clone(),
            ratio: self.ratio.clone(),
            goal: self.goal.clone(),
            is_reached: self.reached,
            note: self.note.clone(),
            rounds: self.rounds.clone(),
        }
    }

    /// Prints the row at once, in case the run ends before the table.
    pub fn print(&self) {
        let (name, ours, theirs, ratio) = (&self.name, &self.cottar, &self.serf, &self.ratio);
        println!("    {name}: cottar {ours}, serf {theirs}, ratio {ratio}");
    }

    /// Whether the goal is met.
    pub fn is_reached(&self) -> bool {
        self.reached
    }
}

/// Prints all rows as one table, and the remarks below it.
pub fn print(rows: &[Row]) {
    let head = ["figure", "cottar", "serf", "ratio", "goal", "reached"].map(str::to_owned);
    let mut cells = vec![head];
    cells.extend(rows.iter().map(|row| {
        let reached = if row.reached { "yes" } else { "NO" };
        [
            row.name.clone(),
            row.cottar.clone(),
            row.serf.clone(),
            row.ratio.clone(),
            row.goal.clone(),
            reached.to_owned(),
        ]
    }));
    let widths: Vec<usize> = (0..cells[0].len())
        .map(|column| {
            cells
                .iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    println!();
    for row in &cells {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{}", line.join("  ").trim_end());
    }
    for row in rows.iter().filter(|row| !row.note.is_empty()) {
        println!("{}: {}", row.name, row.note);
    }
    let reached = rows.iter().filter(|row| row.is_reached()).count();
    println!("{reached} of {} goals reached", rows.len());
}
