//! Checks which user events reach handlers, how often and in which order.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::Event;
use cottar::time::Instant;

use super::restarts::{REMEMBERED_TIMES, first_lives, first_of};
use super::{EventKey, Life, Verdict, honest_lives_at_the_end, life, twisted};
use crate::cluster::Twist;
use crate::history::{Record, What};

/// Checks that no life of a node gets the same user event twice.
pub fn events_are_delivered_at_most_once(history: &[Record]) -> Verdict {
    let mut seen = BTreeSet::new();
    for record in history {
        if let What::Delivered {
            event: Event::User(event),
            ..
        } = &record.what
        {
            if !seen.insert((life(record), event.ltime, &event.name, &event.payload)) {
                return Err(format!(
                    "{:?}: node {} got an event of time {} twice",
                    record.at, record.node, event.ltime
                ));
            }
        }
    }
    Ok(())
}

/// Checks that each user event that one running node has got has reached all nodes that were joined when
/// it was fired and still run, while the event is remembered. Exempt are nodes that simulate the
/// reference: their later lives ignore events below the highest time seen before. Names and payloads are
/// unique in a run.
pub fn events_reach_joined_nodes(history: &[Record]) -> Verdict {
    let living = honest_lives_at_the_end(history);
    let twisted = twisted(history);
    let mut newest = 0;
    let first = first_lives(history);
    let mut skipped: BTreeMap<Life, u64> = BTreeMap::new();
    let mut joined: BTreeMap<Life, (Instant, u64)> = BTreeMap::new();
    let mut got: BTreeMap<EventKey<'_>, (u64, BTreeSet<Life>)> = BTreeMap::new();
    for record in history {
        match &record.what {
            // The first node has no node to join.
            What::Started { .. } if life(record) == (0, 0) => {
                joined.insert((0, 0), (record.at, 0));
            }
            // It may have joined and ended without a record of that, so that the skipped events are unknown.
            What::Started {
                continues: true, ..
            } if !joined.contains_key(&(record.node, record.life - 1))
                || twisted.get(&record.node) == Some(&Twist::Reference) =>
            {
                skipped.insert(first_of(&first, life(record)), u64::MAX);
            }
            What::Joined { skipped_before, .. } => {
                let entry = joined.entry(life(record)).or_insert((record.at, 0));
                entry.1 = entry.1.max(*skipped_before);
                // Skipped events stay skipped in the lives that continue from this one.
                let skipped = skipped.entry(first_of(&first, life(record))).or_insert(0);
                *skipped = (*skipped).max(*skipped_before);
            }
            What::Invented { ltime } => newest = newest.max(ltime.0),
            What::Delivered {
                event: Event::User(event),
                ..
            } => {
                newest = newest.max(event.ltime.0);
                let key = (&event.name[..], &event.payload[..]);
                let entry = got.entry(key).or_insert((event.ltime.0, BTreeSet::new()));
                entry.1.insert(life(record));
            }
            _ => {}
        }
    }
    for record in history {
        let What::Fired { name, payload } = &record.what else {
            continue;
        };
        let Some((ltime, by)) = got.get(&(&name[..], &payload[..])) else {
            continue;
        };
        if by.is_disjoint(&living) || ltime + REMEMBERED_TIMES <= newest {
            continue; // died with those who knew, or forgotten
        }
        for (who, (since, skipped_before)) in &joined {
            let earlier = skipped.get(&first_of(&first, *who)).unwrap_or(&0);
            let skipped_before = skipped_before.max(earlier);
            let connected = living.contains(who) && *since <= record.at && skipped_before <= ltime;
            if connected && !by.contains(who) {
                return Err(format!(
                    "the event {:?} of time {ltime}, fired at {:?} by node {}, never reached node {}, joined since {since:?}; got by {by:?}, of whom {living:?} run",
                    String::from_utf8_lossy(payload),
                    record.at,
                    record.node,
                    who.0
                ));
            }
        }
    }
    Ok(())
}

/// Checks that handlers run in the order of the events, each once and one at a time.
pub fn handlers_run_one_at_a_time_in_order(history: &[Record]) -> Verdict {
    #[derive(Default)]
    struct Desk {
        delivered: u64,
        next: u64,
        running: Option<u64>,
    }
    let mut desks: BTreeMap<Life, Desk> = BTreeMap::new();
    for record in history {
        let desk = desks.entry(life(record)).or_default();
        let good = match &record.what {
            What::Delivered { order, .. } => {
                desk.delivered += 1;
                *order + 1 == desk.delivered
            }
            What::HandlerStarted { order } => {
                let fits = *order == desk.next && *order < desk.delivered;
                desk.next += 1;
                fits && desk.running.replace(*order).is_none()
            }
            What::HandlerEnded { order } => desk.running.take() == Some(*order),
            _ => true,
        };
        if !good {
            return Err(format!(
                "{:?}: node {}: {:?} out of turn",
                record.at, record.node, record.what
            ));
        }
    }
    Ok(())
}
