//! Checks of user events over the lives of a node, that is, over restarts (delivery spec D1 to D3).

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::Event;
use cottar::time::{Duration, Instant};

use super::{
    EventKey, Life, Verdict, honest_lives_at_the_end, liars, life, own_lives_at_the_end, twisted,
};
use crate::cluster::NodeId;
use crate::history::{Record, What};

/// Maps each life to the first life of its chain, in which each life continues from the snapshot of the one
/// before; a life without a snapshot maps to itself.
pub(super) fn first_lives(history: &[Record]) -> BTreeMap<Life, Life> {
    let mut first: BTreeMap<Life, Life> = BTreeMap::new();
    for record in history {
        if let What::Started { continues, .. } = record.what {
            let (node, number) = life(record);
            let before = number.checked_sub(1).map(|before| (node, before));
            let before = before.filter(|_| continues).and_then(|b| first.get(&b));
            let found = before.copied().unwrap_or((node, number));
            first.insert((node, number), found);
        }
    }
    first
}

pub(super) fn first_of(first: &BTreeMap<Life, Life>, life: Life) -> Life {
    first.get(&life).copied().unwrap_or(life)
}

fn delivered(record: &Record) -> Option<(EventKey<'_>, u64)> {
    match &record.what {
        What::Delivered {
            event: Event::User(event),
            ..
        } => Some(((&event.name, &event.payload), event.ltime.0)),
        _ => None,
    }
}

/// Checks that a node gets each user event once over all lives of a chain. Names and payloads are unique in
/// a run.
pub fn events_are_not_repeated_after_restarts(history: &[Record]) -> Verdict {
    let first = first_lives(history);
    let mut got = BTreeSet::new();
    for record in history {
        let Some((key, ltime)) = delivered(record) else {
            continue;
        };
        if !got.insert((first_of(&first, life(record)), key)) {
            return Err(format!(
                "{:?}: node {} got {:?} of time {ltime} again, in life {}",
                record.at,
                record.node,
                String::from_utf8_lossy(key.1),
                record.life
            ));
        }
    }
    Ok(())
}

/// Nodes forget events whose Lamport times are this far below the newest.
pub(super) const REMEMBERED_TIMES: u64 = 512;

/// Checks that a node that runs at the end and continues from an earlier life has got, in one of its lives,
/// each user event that was fired since its first join and that another node got in the life in which it
/// runs at the end.
pub fn missed_events_arrive_after_restarts(history: &[Record]) -> Verdict {
    let living = own_lives_at_the_end(history);
    let honest = honest_lives_at_the_end(history);
    let first = first_lives(history);
    // By first life: the time of its first join, and the clock up to which that join skipped events.
    let mut joined: BTreeMap<Life, (Instant, u64)> = BTreeMap::new();
    let mut got: BTreeMap<EventKey<'_>, (u64, BTreeSet<Life>)> = BTreeMap::new();
    let mut newest = 0;
    for record in history {
        match &record.what {
            What::Started { .. } if life(record) == (0, 0) => {
                joined.insert((0, 0), (record.at, 0));
            }
            What::Joined { skipped_before, .. }
                if first_of(&first, life(record)) == life(record) =>
            {
                let entry = joined.entry(life(record)).or_insert((record.at, 0));
                entry.1 = entry.1.max(*skipped_before);
            }
            What::Invented { ltime } => newest = newest.max(ltime.0),
            _ => {
                if let Some((key, ltime)) = delivered(record) {
                    newest = newest.max(ltime);
                    let by = &mut got.entry(key).or_insert((ltime, BTreeSet::new())).1;
                    by.insert(life(record));
                }
            }
        }
    }
    for record in history {
        let What::Fired { name, payload } = &record.what else {
            continue;
        };
        let Some((ltime, by)) = got.get(&(&name[..], &payload[..])) else {
            continue;
        };
        if ltime + REMEMBERED_TIMES <= newest {
            continue;
        }
        for who in &living {
            let beginning = first_of(&first, *who);
            let Some((since, skipped_before)) = joined.get(&beginning) else {
                continue;
            };
            let due = beginning != *who
                && record.node != who.0
                && *since <= record.at
                && skipped_before <= ltime;
            let someone = by
                .iter()
                .any(|life| life.0 != who.0 && honest.contains(life));
            let got_it = by.iter().any(|life| first_of(&first, *life) == beginning);
            if due && someone && !got_it {
                return Err(format!(
                    "the event {:?} of time {ltime}, fired at {:?} by node {}, was missed by node {} for good, which goes on from its life {}; got by {by:?}",
                    String::from_utf8_lossy(payload),
                    record.at,
                    record.node,
                    who.0,
                    beginning.1
                ));
            }
        }
    }
    Ok(())
}

/// How long a node holds user events from gossip if it has merged no state yet.
const HELD_MAX: Duration = Duration::from_secs(5);

/// The maximum time for which an event waits for earlier ones, with any profile.
const ORDER_WAIT_MAX: Duration = Duration::from_secs(1);

/// How far the clock of a new node can advance at its first exchange.
const FIRST_LEAP: u64 = 1 << 40;

/// Returns the lives of these nodes if all of them had started before an instant.
fn lives_before(
    nodes: &[NodeId],
    started: &BTreeMap<NodeId, (u32, Instant)>,
    before: Instant,
) -> Option<Vec<Life>> {
    let lives = nodes.iter().map(|&node| {
        let (number, since) = started.get(&node)?;
        (*since < before).then_some((node, *number))
    });
    lives.collect()
}

/// When each life got each of its events first.
type FirstDeliveries<'a> = BTreeMap<Life, BTreeMap<EventKey<'a>, Instant>>;

/// Returns the events that all these lives had got before an instant. `None`: there are no lives.
fn delivered_to_all<'a>(
    got: &FirstDeliveries<'a>,
    lives: &[Life],
    before: Instant,
) -> Option<BTreeSet<EventKey<'a>>> {
    let (one, others) = lives.split_first()?;
    let had = |life: &Life, key: &EventKey<'_>| {
        let at = got.get(life).and_then(|got| got.get(key));
        at.is_some_and(|at| *at < before)
    };
    let of_one = got.get(one).into_iter().flat_map(BTreeMap::keys);
    let by_all = of_one.filter(|key| had(one, key) && others.iter().all(|life| had(life, key)));
    Some(by_all.copied().collect())
}

/// Says that a node got an event that all nodes it joined had got before its request.
fn from_before_a_join(record: &Record, key: EventKey<'_>, ltime: &str) -> Verdict {
    let payload = String::from_utf8_lossy(key.1);
    Err(format!(
        "node {} got {payload:?}{ltime} although whom it joined had got it before, judged at {:?}",
        record.node, record.at
    ))
}

/// Checks that a node that joins without replay, and continues from no earlier life, gets no user event that
/// all nodes it joined had got before its request. A node that simulates the reference may get some, if it
/// is taken for its earlier life. Only a liar drives clocks beyond [`FIRST_LEAP`].
pub fn events_before_a_join_are_not_delivered(history: &[Record]) -> Verdict {
    let first = first_lives(history);
    let mut started: BTreeMap<NodeId, (u32, Instant)> = BTreeMap::new();
    let mut got = FirstDeliveries::new();
    let mut far: BTreeSet<EventKey<'_>> = BTreeSet::new();
    // The events that must not be delivered any more, and since when.
    let mut banned: BTreeMap<Life, (Instant, BTreeSet<EventKey<'_>>)> = BTreeMap::new();
    let mut had_joined: BTreeSet<Life> = BTreeSet::new();
    let twisted = twisted(history);
    let liars = liars(history);
    let lies = |node: &NodeId| liars.contains(node);
    for record in history {
        let who = life(record);
        if let Some((key, ltime)) = delivered(record) {
            if banned
                .get(&who)
                .is_some_and(|(since, banned)| record.at >= *since && banned.contains(&key))
            {
                return from_before_a_join(record, key, &format!(" of time {ltime}"));
            }
            if ltime > FIRST_LEAP {
                far.insert(key);
            }
            got.entry(who).or_default().entry(key).or_insert(record.at);
        }
        match &record.what {
            What::Started { .. } => {
                started.insert(record.node, (record.life, record.at));
            }
            What::Joined {
                contacts,
                asked_at,
                ignores_old: true,
                called,
                ..
            } if had_joined.insert(who)
                && first_of(&first, who) == who
                && !contacts.iter().any(lies)
                && !(record.life > 0 && twisted.contains_key(&record.node)) =>
            {
                let lives = lives_before(contacts, &started, *asked_at);
                let known = lives.and_then(|lives| delivered_to_all(&got, &lives, *asked_at));
                let Some(mut known) = known else {
                    continue;
                };
                known.retain(|key| !far.contains(key));
                // Another node may have exchanged states with it first, or it waited for the maximum time.
                let since = started.get(&record.node).map_or(record.at, |s| s.1);
                if !called && record.at.since(since) <= HELD_MAX {
                    let already = got.get(&who).into_iter().flat_map(BTreeMap::keys);
                    if let Some(&key) = already.into_iter().find(|key| known.contains(*key)) {
                        return from_before_a_join(record, key, "");
                    }
                }
                // Events of an earlier exchange, or those from gossip that were held for the maximum time, may
                // still wait in the order stage (seed 6572).
                let wait = if *called || record.at.since(since) > HELD_MAX {
                    ORDER_WAIT_MAX
                } else {
                    Duration::ZERO
                };
                banned.insert(who, (record.at + wait, known));
            }
            _ => {}
        }
    }
    Ok(())
}
