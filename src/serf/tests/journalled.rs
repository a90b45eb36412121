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

/// What becomes of user events: `taken` or `event`, and their times.
fn drain(serf: &mut Serf) -> Vec<(&'static str, u64)> {
    let outputs = std::iter::from_fn(|| serf.poll_output());
    let told = outputs.filter_map(|output| match output {
        Output::Taken(event) => Some(("taken", event.ltime.0)),
        Output::Event(Event::User(event)) => Some(("event", event.ltime.0)),
        _ => None,
    });
    told.collect()
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
        let event = UserEvent {
            ltime: LamportTime(time),
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
    // The journal has them already, and the clock goes on from there.
    assert_eq!(drain(&mut serf), []);
    assert_eq!(serf.stats().event_time, 6);
    assert_eq!(later(&mut serf), [("event", 5)]);
}
