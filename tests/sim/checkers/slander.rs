//! Checks of a period in which a hostile member makes false claims about members, and nothing else happens.

use std::collections::{BTreeMap, BTreeSet};

use cottar::serf::{Event, MemberStatus};
use cottar::swim::NodeState;
use cottar::time::{Duration, Instant};
use cottar::wire::NodeName;

use super::limits::{CLOCK_WINDOW, push_pull_scale};
use super::{EventKey, Life, Verdict, honest_lives_at_the_end, life, own_lives_at_the_end};
use crate::cluster::{GHOSTS, NodeId};
use crate::history::{Record, What};

/// The push/pull interval of up to 32 nodes.
const PUSH_PULL_INTERVAL: Duration = Duration::from_secs(30);
/// Time for what a push/pull brings to be refuted and passed on.
const PASSING_ON: Duration = Duration::from_secs(5);
/// Index of the event clock in [`What::ClockLeapt`].
const EVENT_CLOCK: usize = 1;

/// The beginning and the end of the period.
fn period(history: &[Record]) -> Option<(Instant, Instant)> {
    let find = |wanted: bool| {
        let is_it = |record: &&Record| matches!(record.what, What::Slander(on) if on == wanted);
        history.iter().find(is_it).map(|record| record.at)
    };
    find(true).zip(find(false))
}

/// The longest time until a push/pull of one of two nodes. For so long an honest node may believe a false
/// claim about another one, if the claim has reached all others, and they gossip no more to the accused; and
/// for so long an event may take. A forger's members count as well (seed 225).
fn exchange_time_max(history: &[Record]) -> Duration {
    let started = history.iter().filter_map(|record| match &record.what {
        What::Started { name, .. } => Some(name),
        _ => None,
    });
    let names: BTreeSet<&NodeName> = started.collect();
    PUSH_PULL_INTERVAL * push_pull_scale(names.len() + GHOSTS) + PASSING_ON
}

/// Checks that no honest node holds another one suspect, failed or left for longer than it takes to refute
/// the claim. A member may be leaving for longer: it refutes a leave intent only when its clock is near that
/// of the node that believes it (seed 259).
pub fn false_claims_are_refuted(history: &[Record]) -> Verdict {
    let Some((start, end)) = period(history) else {
        return Ok(());
    };
    let most = exchange_time_max(history);
    let honest = honest_lives_at_the_end(history);
    let names: BTreeSet<&NodeName> = names_of(history, &honest);
    // Since when a node holds another one as something other than alive, by layer.
    let mut doubted: BTreeMap<(NodeId, &NodeName, bool), Instant> = BTreeMap::new();
    for record in history {
        let (about, is_status, is_alive) = match &record.what {
            What::Known { about, state, .. } => (about, false, *state == NodeState::Alive),
            What::Status { about, status } => {
                let up = [Some(MemberStatus::Alive), Some(MemberStatus::Leaving)];
                (about, true, up.contains(status))
            }
            What::Dropped { about } => (about, false, false),
            _ => continue,
        };
        if !honest.contains(&life(record)) || !names.contains(about) {
            continue;
        }
        let key = (record.node, about, is_status);
        match is_alive {
            false => {
                doubted.entry(key).or_insert(record.at);
            }
            true => {
                let since = doubted.remove(&key).unwrap_or(record.at);
                judge(key, since, record.at, (start, end), most)?;
            }
        }
    }
    let last = history.last().map_or(end, |record| record.at);
    for (key, since) in doubted {
        judge(key, since, last, (start, end), most)?;
    }
    Ok(())
}

/// Judges the part of the time from `since` to `until` that lies in the period.
fn judge(
    (node, about, is_status): (NodeId, &NodeName, bool),
    since: Instant,
    until: Instant,
    (start, end): (Instant, Instant),
    most: Duration,
) -> Verdict {
    let doubted = until.min(end).since(since.max(start));
    if doubted > most {
        return Err(format!(
            "node {node} did not hold {about} up{} from {since:?} to {until:?}, which was slandered",
            if is_status { " as a member" } else { "" },
        ));
    }
    Ok(())
}

fn names_of<'a>(history: &'a [Record], lives: &BTreeSet<Life>) -> BTreeSet<&'a NodeName> {
    let names = history.iter().filter_map(|record| match &record.what {
        What::Started { name, .. } if lives.contains(&life(record)) => Some(name),
        _ => None,
    });
    names.collect()
}

/// Checks that each event which a node of this program fires in the period reaches all others of this program
/// in time, and only once.
///
/// An event from before the period, with a time far ahead, may be accepted only now. Events of nodes that
/// have not followed the leap yet, which may take them a [`CLOCK_WINDOW`], are then too old for those that
/// have, and may be lost (seeds 2508 and 2865).
pub fn events_arrive_despite_false_claims(history: &[Record]) -> Verdict {
    let Some((start, end)) = period(history) else {
        return Ok(());
    };
    let most = exchange_time_max(history);
    let own = own_lives_at_the_end(history);
    let mut got: BTreeMap<(EventKey<'_>, Life), Instant> = BTreeMap::new();
    for record in history {
        if let What::Delivered {
            event: Event::User(event),
            ..
        } = &record.what
        {
            let key = (&event.name[..], &event.payload[..]);
            if got.insert((key, life(record)), record.at).is_some() {
                return Err(format!("{:?}: {event:?} twice", record.at));
            }
        }
    }
    let leaps = |record: &&Record| {
        own.contains(&life(record))
            && matches!(record.what, What::ClockLeapt { clock, .. } if clock == EVENT_CLOCK)
    };
    let leaps: BTreeSet<Instant> = history.iter().filter(leaps).map(|leap| leap.at).collect();
    for record in history {
        let What::Fired { name, payload } = &record.what else {
            continue;
        };
        if !own.contains(&life(record)) || !(start..end).contains(&record.at) {
            continue;
        }
        let is_hit =
            |leap: &Instant| leap.since(record.at) < most && record.at.since(*leap) < CLOCK_WINDOW;
        if leaps.iter().any(is_hit) {
            continue;
        }
        for who in &own {
            let at = got.get(&((&name[..], &payload[..]), *who));
            let took = at.map(|at| at.since(record.at));
            if took.is_none_or(|took| took > most) {
                return Err(format!(
                    "despite slander {:?}, fired at {:?} by node {}, should reach node {}; took {took:?}",
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
