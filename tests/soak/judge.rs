//! Checks a history against the promises D1 to D6 and D8 of the delivery spec.

mod journal;
mod order;
mod queries;
#[cfg(test)]
mod tests;

use crate::history::{Event, History, Life, NodeHistory, Run};
use crate::live::Kind;
use crate::membership::Membership;
use crate::plan::Blow;
use std::collections::BTreeMap;

pub use journal::Kept;
pub use order::Order;
pub use queries::Queries;

/// Limits of D4 in seconds: nearly all events arrive within the first, all within the second.
pub const SOON: f64 = 2.0;
pub const LATEST: f64 = 5.0;
/// The fraction of events that may arrive later than [`SOON`] at a loss of [`HEAVY_LOSS`] or more.
const LATE_SHARE: f64 = 1e-4;
/// The loss, in percent, from which [`LATE_SHARE`] applies.
pub const HEAVY_LOSS: u8 = 11;
/// The longest coalescing period plus the granularity of its timer, in seconds.
const COALESCING: f64 = 3.3;
/// Number of events that members certainly remember, a little less than 512 Lamport times.
const REMEMBERED: usize = 480;

/// The state of the receiving node when an event was fired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Both it and the sender ran undisturbed before and after.
    Settled,
    /// It ran, but it or the sender had just returned, or was disturbed soon after.
    Unsettled,
    Frozen,
    Killed,
    Stopped,
    Left,
    /// It had started, but not joined yet.
    Starting,
}

/// Pairs of an event and a node.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub expected: usize,
    pub missed: usize,
    /// Events later than [`SOON`] and later than [`LATEST`], in time during which the node ran.
    pub late: [usize; 2],
    pub repeated: usize,
}

/// The results for the nodes of one program.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub by_cause: BTreeMap<Cause, Tally>,
    /// Runs of events from before the join (D1).
    pub early: usize,
    /// Missed events of a Serf or of a node that was disturbed then: possibly no cottar ever got them.
    pub uncertain: usize,
    /// Late events that a Serf had not forwarded in time.
    pub held_up: usize,
    /// Events that were handed over, but lost in the queue of a process without a journal.
    pub lost_in_queue: Vec<String>,
    /// Events in journals, by how the life that had received them ended.
    pub kept: BTreeMap<Cause, Kept>,
    /// Missed events that were too old for the members to remember.
    pub forgotten: usize,
    pub order: Order,
    /// Seconds from when the promise begins (for events of cottars, when they are fired) to the run, for
    /// settled nodes and events that are not coalesced.
    pub delays: Vec<f64>,
}

/// The result of a soak.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    pub accounts: BTreeMap<Kind, Account>,
    pub queries: BTreeMap<(Kind, Kind), Queries>,
    /// Promises that cottar has broken, with details.
    pub broken: Vec<String>,
    open: usize,
}

impl Verdict {
    /// Whether cottars have run handlers for all events that they must handle.
    pub fn is_complete(&self) -> bool {
        self.open == 0
    }
}

/// Checks all promises.
pub fn judge(history: &History) -> Verdict {
    let mut court = Court {
        history,
        memberships: history.nodes.iter().map(Membership::all).collect(),
        times: history
            .runs
            .iter()
            .map(|run| (run.event.as_str(), run.ltime))
            .collect(),
        heard: BTreeMap::new(),
        verdict: Verdict::default(),
    };
    for run in &history.runs {
        if history.nodes[run.node].kind == Kind::Cottar {
            let first = court.heard.entry(&run.event).or_insert(run.at);
            *first = first.min(run.at);
        }
    }
    let mut runs: BTreeMap<(&str, usize), Vec<&Run>> = BTreeMap::new();
    for run in &history.runs {
        runs.entry((&run.event, run.node)).or_default().push(run);
    }
    for event in &history.events {
        for node in 0..history.nodes.len() {
            let some = runs.get(&(event.name.as_str(), node));
            court.pair(event, node, some.map_or(&[], Vec::as_slice));
        }
    }
    court.lateness();
    court.sudden_ends();
    order::judge(&mut court);
    queries::judge(&mut court);
    journal::judge(&mut court);
    court.verdict
}

struct Court<'a> {
    history: &'a History,
    memberships: Vec<Vec<Membership>>,
    /// The Lamport times of the events for which any handler ran.
    times: BTreeMap<&'a str, u64>,
    /// When a cottar first ran a handler for each of them.
    heard: BTreeMap<&'a str, f64>,
    verdict: Verdict,
}

impl Court<'_> {
    fn account(&mut self, node: usize) -> &mut Account {
        let kind = self.history.nodes[node].kind;
        self.verdict.accounts.entry(kind).or_default()
    }

    /// Records a broken promise; only cottar makes promises.
    fn broken(&mut self, node: usize, what: impl FnOnce() -> String) {
        if self.history.nodes[node].kind == Kind::Cottar {
            self.verdict.broken.push(what());
        }
    }

    /// A limit of D4, adjusted for this machine and profile.
    fn allowed(&self, limit: f64) -> f64 {
        (limit + self.history.slack) * self.history.patience
    }

    /// The maximum time that an event may take.
    fn under_way(&self, event: &Event) -> f64 {
        let limit = if self.history.loss < HEAVY_LOSS {
            SOON
        } else {
            LATEST
        };
        self.allowed(limit) + if event.coalesced { COALESCING } else { 0.0 }
    }

    /// Whether another node must have got the event from its sender.
    fn is_certain(&self, event: &Event) -> bool {
        let firer = &self.memberships[event.firer];
        let until = event.asked + self.allowed(SOON);
        event.accepted.is_some() && firer.iter().any(|one| one.ran(event.asked, until))
    }

    /// The time from which the event is promised to a node. For an event of a Serf, that is when the first
    /// cottar has it.
    fn promised_from(&self, event: &Event, node: usize) -> f64 {
        let accepted = event.accepted.unwrap_or(event.asked);
        let kind = |node: usize| self.history.nodes[node].kind;
        if kind(event.firer) == Kind::Cottar || kind(node) == Kind::Serf {
            return accepted;
        }
        let heard = self.heard.get(event.name.as_str());
        heard.map_or(f64::INFINITY, |at| accepted.max(*at))
    }

    fn pair(&mut self, event: &Event, node: usize, runs: &[&Run]) {
        let accepted = event.accepted.unwrap_or(event.asked);
        let under_way = self.under_way(event);
        for index in 0..self.memberships[node].len() {
            let one = self.memberships[node][index].clone();
            let runs: Vec<&Run> = runs
                .iter()
                .filter(|run| one.lives.contains(&run.life))
                .copied()
                .collect();
            if accepted < one.began - under_way {
                self.early(event, node, &one, &runs);
                continue;
            }
            let cause = self.cause(event, node, &one);
            // Marked repetitions stem from the journal.
            if runs.iter().filter(|run| !run.marked).count() > 1 {
                self.account(node)
                    .by_cause
                    .entry(cause)
                    .or_default()
                    .repeated += 1;
                self.broken(node, || {
                    let times: Vec<(usize, f64)> = runs.iter().map(|r| (r.life, r.at)).collect();
                    format!("D3 n{node} ran {event} ({cause:?}) again: life, time {times:?}")
                });
            }
            let is_open = one.closed.is_infinite() || one.running(accepted, one.closed) > under_way;
            let is_expected = event.asked > one.joined && is_open && !self.is_hidden(event, &one);
            if is_expected {
                self.expected(event, node, &one, cause, runs.first().copied());
            }
        }
    }

    fn early(&mut self, event: &Event, node: usize, one: &Membership, runs: &[&Run]) {
        let Some(run) = runs.first() else {
            return;
        };
        self.account(node).early += 1;
        self.broken(node, || {
            let (began, joined) = (one.began, one.joined);
            format!("D1 n{node} (started {began:.2}, joined {joined:.2}) ran the earlier {event}: {run:?}")
        });
    }

    fn expected(
        &mut self,
        event: &Event,
        node: usize,
        one: &Membership,
        cause: Cause,
        run: Option<&Run>,
    ) {
        let accepted = event.accepted.unwrap_or(event.asked);
        let limits = [SOON, LATEST].map(|limit| self.allowed(limit));
        let extra = if event.coalesced { COALESCING } else { 0.0 };
        let Some(run) = run else {
            self.missing(event, node, one, cause);
            return;
        };
        let whole = one.running(accepted, run.at);
        let delay = one.running(self.promised_from(event, node), run.at);
        let is_certain = self.is_certain(event);
        let account = self.account(node);
        let tally = account.by_cause.entry(cause).or_default();
        tally.expected += 1;
        for (late, limit) in tally.late.iter_mut().zip(limits) {
            *late += usize::from(whole > limit + extra);
        }
        account.held_up += usize::from(whole > limits[0] + extra && delay <= limits[0] + extra);
        if cause != Cause::Settled || !is_certain {
            return;
        }
        if !event.coalesced {
            account.delays.push(delay);
        }
        if delay > limits[1] + extra {
            self.broken(node, || {
                format!("D4 n{node} ran {event} late, after {delay:.2} s: {run:?}")
            });
        }
    }

    fn missing(&mut self, event: &Event, node: usize, one: &Membership, cause: Cause) {
        let lives = &self.history.nodes[node].lives[one.lives.clone()];
        let ltime = self.ltime(event);
        let was_handed = lives.iter().any(|life| has_handed(life, event));
        if self.history.nodes[node].has_journal
            && journal::taken_in(self, event, node, one).is_some()
        {
            return;
        }
        let promised = self.promised_from(event, node);
        let is_promised = promised.is_finite();
        // An event of a Serf may still be in transit to the first cottar, or from there to the others.
        let accepted = event.accepted.unwrap_or(event.asked);
        let since = if is_promised { promised } else { accepted };
        let is_by_serf = self.history.nodes[event.firer].kind == Kind::Serf;
        if is_by_serf && self.history.now < since + self.under_way(event) {
            self.verdict.open += usize::from(self.history.nodes[node].kind == Kind::Cottar);
            return;
        }
        let is_certain = self.is_certain(event) && is_promised;
        let is_forgotten = self.is_forgotten(event, one);
        let account = self.account(node);
        if was_handed {
            account.lost_in_queue.push(format!("n{node} {event}"));
        } else if !is_certain {
            account.uncertain += 1;
        } else if is_forgotten {
            account.forgotten += 1;
        } else {
            let tally = account.by_cause.entry(cause).or_default();
            tally.expected += 1;
            tally.missed += 1;
            let promise = if cause <= Cause::Unsettled {
                "D4"
            } else {
                "D2"
            };
            self.broken(node, || {
                format!("{promise} n{node} missed {event}, ltime {ltime:?} ({cause:?})")
            });
            self.verdict.open += usize::from(self.history.nodes[node].kind == Kind::Cottar);
        }
    }

    /// Whether a join hid the event: its sender did not know yet of a later time, above which the join made
    /// the newcomer begin.
    fn is_hidden(&self, event: &Event, one: &Membership) -> bool {
        let youth = event.asked - one.joined;
        // The event may still arrive.
        if youth > self.under_way(event) || self.ltime(event).is_none() {
            return false;
        }
        let before = self
            .history
            .events
            .iter()
            .filter(|other| other.asked <= one.joined);
        let highest = before.filter_map(|other| self.ltime(other)).max();
        self.ltime(event) <= highest
    }

    /// Whether so many events were fired while the node was away that the members may have forgotten this
    /// one.
    fn is_forgotten(&self, event: &Event, one: &Membership) -> bool {
        let back = one.next_running(event.asked);
        let events = &self.history.events;
        let later = events
            .iter()
            .filter(|e| event.asked < e.asked && e.asked < back);
        later.count() > REMEMBERED
    }

    /// The Lamport time of an event, if any handler ran for it.
    fn ltime(&self, event: &Event) -> Option<u64> {
        self.times.get(event.name.as_str()).copied()
    }

    fn cause(&self, event: &Event, node: usize, one: &Membership) -> Cause {
        let accepted = event.accepted.unwrap_or(event.asked);
        let until = accepted + self.under_way(event);
        let firers = &self.memberships[event.firer];
        let is_settled = |some: &[Membership], from| some.iter().any(|m| m.is_settled(from, until));
        if one.ran(accepted, accepted) {
            let own = std::slice::from_ref(one);
            return if is_settled(own, accepted) && is_settled(firers, event.asked) {
                Cause::Settled
            } else {
                Cause::Unsettled
            };
        }
        absence(&self.history.nodes[node], accepted)
    }

    /// Checks the fraction of late events that D4 allows.
    fn lateness(&mut self) {
        let Some(account) = self.verdict.accounts.get(&Kind::Cottar) else {
            return;
        };
        let limit = self.allowed(SOON);
        let late: Vec<f64> = account
            .delays
            .iter()
            .copied()
            .filter(|d| *d > limit)
            .collect();
        let share = if self.history.loss < HEAVY_LOSS {
            0.0
        } else {
            LATE_SHARE
        };
        let count = account.delays.len();
        if late.len() as f64 > (share * count as f64).ceil() {
            let what = format!(
                "D4 {} of {count} later than {limit} s: {late:.1?}",
                late.len()
            );
            self.verdict.broken.push(what);
        }
    }

    /// Checks for agents that ended without a reason.
    fn sudden_ends(&mut self) {
        for (node, history) in self.history.nodes.iter().enumerate() {
            for (index, life) in history.lives.iter().enumerate() {
                if let (Some(_), Some((at, None))) = (life.back, life.end) {
                    self.broken(node, || {
                        format!("n{node}.{index} ended by itself at {at:.2}")
                    });
                }
            }
        }
    }
}

/// Whether a life that has ended had handed the event over.
fn has_handed(life: &Life, event: &Event) -> bool {
    let is_killed = matches!(life.end, Some((end, Some(Blow::Kill)))
        if (life.start..end).contains(&event.asked));
    // Only SIGKILL can come between the snapshot line and the log line.
    let is_noted = is_killed && life.noted.contains(&event.hash());
    life.end.is_some() && (life.handed.contains(&event.name) || is_noted)
}

/// How a life ended.
fn ended_by(blow: Option<Blow>) -> Cause {
    match blow {
        Some(Blow::Leave) => Cause::Left,
        Some(Blow::Stop) => Cause::Stopped,
        _ => Cause::Killed,
    }
}

/// The state of a node that did not run.
fn absence(node: &NodeHistory, at: f64) -> Cause {
    let Some(life) = node.lives.iter().rfind(|life| life.start <= at) else {
        return Cause::Starting;
    };
    match life.end {
        Some((end, blow)) if end <= at => ended_by(blow),
        _ if life.back.is_none_or(|back| at < back) => Cause::Starting,
        _ => Cause::Frozen,
    }
}
