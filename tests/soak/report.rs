//! Prints the results.

use crate::history::History;
use crate::judge::{Account, Cause, Kept, Verdict};
use std::fmt::Write as _;
use std::path::Path;

/// Maximum number of broken promises that are printed individually.
const SHOWN: usize = 12;

/// Prints the tables and the first broken promises.
pub fn print(history: &History, verdict: &Verdict) {
    print!("{}", tables(history, verdict));
    for broken in verdict.broken.iter().take(SHOWN) {
        println!("BROKEN {broken}");
    }
    let more = verdict.broken.len().saturating_sub(SHOWN);
    if more > 0 {
        println!("BROKEN {more} more");
    }
    println!("{} promises broken\n", verdict.broken.len());
}

/// Writes the history and the results to a folder.
pub fn write(history: &History, verdict: &Verdict, folder: &Path) {
    let mut text = tables(history, verdict);
    let lists = [
        verdict.broken.clone(),
        history.events.iter().map(|e| format!("{e:?}")).collect(),
        history.nodes.iter().flat_map(lives).collect(),
    ];
    for (kind, account) in &verdict.accounts {
        let _ = writeln!(
            text,
            "{kind:?} lost with the process: {:?}",
            account.lost_in_queue
        );
    }
    for line in lists.iter().flatten() {
        let _ = writeln!(text, "{line}");
    }
    std::fs::write(folder.join("report"), text).expect("a report");
}

fn lives(node: &crate::history::NodeHistory) -> Vec<String> {
    let of = |(index, life): (usize, &crate::history::Life)| {
        format!(
            "{}.{index} {:?} snapshot {} journal {} rejoin {}: start {:.2} back {:.2?} pauses {:.2?} end {:.2?}",
            node.name,
            node.kind,
            node.has_snapshot,
            node.has_journal,
            node.rejoins,
            life.start,
            life.back,
            life.pauses,
            life.end
        )
    };
    node.lives.iter().enumerate().map(of).collect()
}

fn tables(history: &History, verdict: &Verdict) -> String {
    let mut text = String::new();
    for (kind, account) in &verdict.accounts {
        let _ = writeln!(
            text,
            "{:<12}{:>10}{:>8}{:>10}{:>10}{:>10}",
            format!("{kind:?}"),
            "expected",
            "missed",
            "late 2 s",
            "late 5 s",
            "repeated"
        );
        for (cause, tally) in &account.by_cause {
            let _ = writeln!(
                text,
                "  {:<10}{:>10}{:>8}{:>10}{:>10}{:>10}",
                format!("{cause:?}"),
                tally.expected,
                tally.missed,
                tally.late[0],
                tally.late[1],
                tally.repeated
            );
        }
        text.push_str(&rest(account));
    }
    for ((asker, asked), counts) in &verdict.queries {
        let _ = writeln!(
            text,
            "queries {asker:?} to {asked:?}: {} expected, {} acks and {} answers missing",
            counts.expected, counts.acks_missing, counts.answers_missing
        );
    }
    let _ = writeln!(
        text,
        "{} events fired, {} runs",
        history.events.len(),
        history.runs.len()
    );
    text
}

fn journalled((cause, kept): (&Cause, &Kept)) -> String {
    format!(
        "  journal, {cause:?}: {} taken in, {} of them run later, {} again and marked, {} lost\n",
        kept.taken, kept.later, kept.marked, kept.lost
    )
}

fn rest(account: &Account) -> String {
    let kept: String = account.kept.iter().map(journalled).collect();
    let order = &account.order;
    let mut delays = account.delays.clone();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let index = (delays.len() as f64 * share) as usize;
        delays
            .get(index.min(delays.len().saturating_sub(1)))
            .copied()
    };
    format!(
        "{kept}  early {}, out of order {} promptly, {} late and {} behind an equal time of {}, lost with the process {}, \
         missed of uncertain {}, forgotten {}, held up by a Serf {}\n  \
         seconds from firing to running, settled: median {:.3}, 99 % {:.3}, all {:.3}\n",
        account.early,
        order.prompt,
        order.late,
        order.hidden,
        order.runs,
        account.lost_in_queue.len(),
        account.uncertain,
        account.forgotten,
        account.held_up,
        at(0.5).unwrap_or(0.0),
        at(0.99).unwrap_or(0.0),
        at(1.0).unwrap_or(0.0)
    )
}
