//! The table that a run prints.

/// Something to measure.
pub struct Figure {
    /// What it is called.
    pub name: &'static str,
    /// Measures both programs.
    pub measure: fn(&'static str) -> Row,
}

/// What came out.
#[derive(Debug)]
pub struct Row {
    name: &'static str,
    cottar: String,
    serf: String,
    ratio: String,
    goal: String,
    reached: bool,
    note: String,
}

impl Row {
    /// Two numbers, and the goal with whether the measured ones meet it.
    pub fn numbers(name: &'static str, cottar: f64, serf: f64, goal: &str, reached: bool) -> Row {
        Row {
            name,
            cottar: number(cottar),
            serf: number(serf),
            ratio: format!("{:.2}", cottar / serf),
            goal: goal.into(),
            reached,
            note: String::new(),
        }
    }

    /// Two verdicts.
    pub fn verdicts(
        name: &'static str,
        cottar: String,
        serf: String,
        goal: &str,
        reached: bool,
    ) -> Row {
        let ratio = "-".into();
        Row {
            name,
            cottar,
            serf,
            ratio,
            goal: goal.into(),
            reached,
            note: String::new(),
        }
    }

    /// Adds a remark that is printed below the table.
    pub fn note(mut self, note: String) -> Row {
        self.note = note;
        self
    }
}

fn number(value: f64) -> String {
    if value >= 100.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// Prints all rows as one table, and the remarks below it.
pub fn print(rows: &[Row]) {
    let head = ["figure", "cottar", "serf", "ratio", "goal", "reached"].map(str::to_owned);
    let mut cells = vec![head];
    cells.extend(rows.iter().map(|row| {
        let reached = if row.reached { "yes" } else { "NO" };
        [
            row.name.to_owned(),
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
}
