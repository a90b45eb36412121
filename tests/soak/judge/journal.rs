//! D6: with a journal, events that wait for handlers survive the agent.

use super::{Cause, Court, ended_by, has_handed};
use crate::history::{Event, Run};
use crate::membership::Membership;
use std::collections::BTreeMap;

/// Pairs of an event and a node whose journal had it when the agent ended.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// All of them, including those whose run had ended.
    pub taken: usize,
    /// Run by a later agent for the first time.
    pub later: usize,
    /// Run again by a later agent, which marked it as a repetition.
    pub marked: usize,
    pub lost: usize,
}

/// Counts the events in each journal, and checks every marked repetition.
pub fn judge(court: &mut Court) {
    let history = court.history;
    let mut runs: BTreeMap<(usize, &str), Vec<&Run>> = BTreeMap::new();
    for run in &history.runs {
        runs.entry((run.node, &run.event)).or_default().push(run);
    }
    for (node, of) in history.nodes.iter().enumerate() {
        repetitions(court, node);
        if !of.has_journal {
            continue;
        }
        for one in court.memberships[node].clone() {
            for event in &history.events {
                let some = runs.get(&(node, event.name.as_str()));
                kept(court, event, node, &one, some.map_or(&[], Vec::as_slice));
            }
        }
    }
}

/// The first ended life of a node that had received the event, and how it ended. A node that accepts an event
/// has received it.
pub fn taken_in(
    court: &Court,
    event: &Event,
    node: usize,
    one: &Membership,
) -> Option<(usize, Cause)> {
    one.lives.clone().find_map(|index| {
        let life = &court.history.nodes[node].lives[index];
        let (end, blow) = life.end?;
        let is_own = event.firer == node
            && event.accepted.is_some()
            && (life.start..end).contains(&event.asked);
        (is_own || has_handed(life, event)).then(|| (index, ended_by(blow)))
    })
}

fn kept(court: &mut Court, event: &Event, node: usize, one: &Membership, runs: &[&Run]) {
    let Some((index, cause)) = taken_in(court, event, node, one) else {
        return;
    };
    let runs = runs.iter().filter(|run| one.lives.contains(&run.life));
    let (marked, unmarked): (Vec<&Run>, Vec<&Run>) = runs.copied().partition(|run| run.marked);
    let has_run = !marked.is_empty() || !unmarked.is_empty();
    // A leave without -rejoin drops waiting events and accepts no further ones.
    let accepted = event.accepted.unwrap_or(event.asked);
    let is_dropped = one.running(accepted, one.closed) <= court.under_way(event);
    let is_lost = !has_run && !is_dropped;
    let kept = court.account(node).kept.entry(cause).or_default();
    kept.taken += 1;
    kept.later += usize::from(unmarked.first().is_some_and(|run| run.life > index));
    kept.marked += marked.len();
    kept.lost += usize::from(is_lost);
    if is_lost {
        court.verdict.open += 1;
        court.broken(node, || {
            format!("D6 n{node} lost {event}, taken in by life {index} ({cause:?})")
        });
    }
}

/// Checks that only the last started run of a life is repeated, once, by the next agent.
fn repetitions(court: &mut Court, node: usize) {
    let history = court.history;
    let runs: Vec<&Run> = history.runs.iter().filter(|run| run.node == node).collect();
    for (position, run) in runs.iter().enumerate().filter(|(_, run)| run.marked) {
        let before = &runs[..position];
        let is_second = before.iter().any(|r| r.marked && r.life == run.life);
        let first = before.iter().rposition(|r| r.event == run.event);
        // If there is no first run, the agent ended between recording the start and starting the script.
        let was_ended = first.is_some_and(|first| {
            let began = runs[first];
            let has_next = runs[first + 1..].iter().any(|r| r.life == began.life);
            began.marked || began.life >= run.life || has_next
        });
        if !history.nodes[node].has_journal || is_second || was_ended {
            court.broken(node, || {
                format!("D6 n{node} repeated {run:?} for no reason")
            });
        }
    }
}
