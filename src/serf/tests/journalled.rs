//! User events and the journal.

use super::harness::{config, start as start_node};
use crate::serf::*;
use crate::time::{Duration, Instant};

fn start() -> Serf {
    let mut config = config(1);
    config.journal = true;
    config.snapshot = Some(snapshot::Snapshot::default());
    let mut serf = start_node(config, Instant::ORIGIN);
    drain(&mut serf);
    serf
}

/// Takes the outputs for user events: `taken` or `event`, with their times.
fn drain(serf: &mut Serf) -> Vec<(&'static str, u64)> {
    let outputs = std::iter::from_fn(|| serf.poll_output());
    let told = outputs.filter_map(|output| match output {
        Output::Accepted(event) => Some(("taken", event.ltime.0)),
        Output::Event(Event::User(event)) => Some(("event", event.ltime.0)),
        _ => None,
    });
    told.collect()
}

/// Returns an event of an earlier run to the node.
fn take_back(serf: &mut Serf, ltime: u64, is_coalescing: bool) {
    let event = UserEvent {
        ltime: LamportTime(ltime),
        name: b"deploy".to_vec(),
        payload: Vec::new(),
        coalesce: true,
    };
    let input = Input::Journalled {
        event,
        is_coalescing,
    };
    serf.handle_input(input, Instant::ORIGIN);
}

fn fire(serf: &mut Serf, coalesce: bool, now: Instant) {
    let command = Command::UserEvent {
        name: b"deploy".to_vec(),
        payload: None,
        coalesce,
    };
    let id = CommandId(1);
    serf.handle_input(Input::Command { id, command }, now);
}

fn later(serf: &mut Serf) -> Vec<(&'static str, u64)> {
    let now = Instant::ORIGIN + Duration::from_secs(5);
    serf.handle_input(Input::Timeout, now);
    drain(serf)
}

#[test]
fn an_event_is_told_of_when_it_is_taken_in() {
    let mut serf = start();
    fire(&mut serf, true, Instant::ORIGIN);
    fire(&mut serf, true, Instant::ORIGIN);
    assert_eq!(drain(&mut serf), [("taken", 1), ("taken", 2)]);
    assert_eq!(later(&mut serf), [("event", 2)]);
}

#[test]
fn what_an_earlier_life_has_taken_in_counts_as_seen() {
    let mut serf = start();
    for (time, is_coalescing) in [(3, false), (4, true), (5, true)] {
        take_back(&mut serf, time, is_coalescing);
    }
    // They are already in the journal, and the clock continues after them.
    assert_eq!(drain(&mut serf), []);
    assert_eq!(serf.stats().event_time, 6);
    assert_eq!(later(&mut serf), [("event", 5)]);
}

/// Takes the times of the events recorded as seen in the snapshot.
fn noted(serf: &mut Serf) -> Vec<u64> {
    let outputs = std::iter::from_fn(|| serf.poll_output());
    let lines = outputs.filter_map(|output| match output {
        Output::Snapshot(snapshot::SnapshotLine::Seen { ltime, .. }) => Some(ltime.0),
        _ => None,
    });
    lines.collect()
}

#[test]
fn the_snapshot_hears_of_what_only_the_journal_has() {
    // As after a leave, or after a crash between the writes of the two files.
    let mut serf = start();
    for time in [3, 4, 3] {
        take_back(&mut serf, time, false);
    }
    assert_eq!(noted(&mut serf), [3, 4]);
    // Until it is handed over, only the journal has it.
    take_back(&mut serf, 5, true);
    assert!(noted(&mut serf).is_empty());
    serf.handle_input(Input::Timeout, Instant::ORIGIN + Duration::from_secs(5));
    assert_eq!(noted(&mut serf), [5]);
}

#[test]
fn the_snapshot_is_told_once_of_what_it_has() {
    let event = event_hash(b"deploy", b"");
    let mut config = config(1);
    config.journal = true;
    let mut snapshot = snapshot::Snapshot::default();
    snapshot.follow(&snapshot::SnapshotLine::Seen {
        ltime: LamportTime(3),
        hash: event,
    });
    snapshot.follow(&snapshot::SnapshotLine::EventClock(LamportTime(3)));
    config.snapshot = Some(snapshot);
    let mut serf = start_node(config, Instant::ORIGIN);
    drain(&mut serf);
    take_back(&mut serf, 3, false);
    take_back(&mut serf, 4, false);
    assert_eq!(noted(&mut serf), [4]);
}
