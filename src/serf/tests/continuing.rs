//! Which user events a node hands over when it starts, continues from a snapshot, or leaves.

use super::harness::{Net, config, target};
use crate::serf::snapshot::{Snapshot, SnapshotLine};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::serf::{RecentEvents, SerfMessage, SerfPushPull, UserEventMessage};

const SECOND: Duration = Duration::from_secs(1);

fn recording(n: u16, snapshot: Snapshot) -> Config {
    let mut config = config(n);
    config.snapshot = Some(snapshot);
    config
}

fn event(name: &str, ltime: u64) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(ltime),
        name: name.into(),
        payload: None,
        coalesce: false,
    })
}

/// Encodes a state with these events and the event clock `clock`.
fn state(clock: u64, events: &[(&str, u64)]) -> Vec<u8> {
    let slot = |(name, ltime): &(&str, u64)| {
        Some(RecentEvents {
            ltime: LamportTime(*ltime),
            events: vec![(name.as_bytes().to_vec(), None)],
        })
    };
    let state = SerfPushPull {
        event_ltime: LamportTime(clock),
        events: events.iter().map(slot).collect(),
        ..SerfPushPull::default()
    };
    state.encode()
}

/// Merges a state from an exchange that the node did not request.
fn exchange(net: &mut Net, n: u16, clock: u64, events: &[(&str, u64)]) {
    let now = net.now;
    let state = state(clock, events);
    net.host(n).serf.handle_user_state(&state, None, false, now);
    net.input(n, Input::Timeout);
    // Let events that wait for earlier ones time out.
    net.run_for(SECOND / 2);
}

/// Takes the user events that were handed over and returns their names in order.
fn heard(net: &mut Net, n: u16) -> Vec<String> {
    let events = net.host(n).take_user_events();
    events.into_iter().map(|(name, ..)| name).collect()
}

/// Decodes the snapshot from a node's recorded lines.
fn file(net: &mut Net, n: u16, rejoin: bool) -> Snapshot {
    let mut file = Vec::new();
    for line in &net.host(n).snapshot {
        line.encode(&mut file);
    }
    let (snapshot, remarks) = Snapshot::decode(&file, rejoin);
    assert!(remarks.iter().all(|remark| !remark.is_warning()));
    snapshot
}

/// Kills a node and restarts it from its snapshot.
fn restart(net: &mut Net, n: u16) {
    let snapshot = file(net, n, false);
    let old: Vec<SnapshotLine> = snapshot.lines().collect();
    net.add(recording(n, snapshot));
    net.host(n).snapshot.splice(0..0, old);
}

fn join(net: &mut Net, n: u16, to: u16, ignore_old_events: bool) {
    let join = Command::Join {
        targets: vec![target(to)],
        ignore_old_events,
        announce: true,
    };
    net.command_to_end(n, join);
    net.run_for(SECOND);
}

fn fire(net: &mut Net, n: u16, name: &str) {
    let command = Command::UserEvent {
        name: name.into(),
        payload: None,
        coalesce: false,
    };
    let result = net.command_now(n, command);
    assert!(matches!(result, CommandResult::Fired(_)), "{result:?}");
    net.run_for(SECOND / 2);
}

#[test]
fn gossip_waits_for_the_first_exchange() {
    let mut net = Net::new(1);
    net.gossip_to(1, &event("b", 6));
    net.gossip_to(1, &event("a", 5));
    // It is rebroadcast and remembered at once.
    assert_eq!(net.serf(1).stats().event_time, 7);
    net.run_for(SECOND * 4);
    assert!(heard(&mut net, 1).is_empty());
    exchange(&mut net, 1, 8, &[("c", 7), ("0", 4)]);
    assert_eq!(heard(&mut net, 1), ["0", "a", "b", "c"], "by time");
    net.gossip_to(1, &event("d", 8));
    net.run_for(SECOND / 2);
    assert_eq!(heard(&mut net, 1), ["d"]);
    assert_eq!(net.serf(1).join_hold.deadline(), None);
}

#[test]
fn gossip_waits_five_seconds_at_most_and_own_events_do_not() {
    let mut net = Net::new(1);
    net.run_for(SECOND * 60);
    net.gossip_to(1, &event("a", 5));
    net.run_for(SECOND);
    fire(&mut net, 1, "own");
    net.run_for(SECOND * 3 - Duration::from_millis(501));
    assert_eq!(heard(&mut net, 1), ["own"]);
    net.run_for(SECOND * 2);
    assert_eq!(heard(&mut net, 1), ["a"]);
    net.gossip_to(1, &event("c", 7));
    net.run_for(SECOND / 2);
    assert_eq!(heard(&mut net, 1), ["c"]);
}

#[test]
fn too_many_events_do_not_wait() {
    let mut net = Net::new(1);
    for n in 0..1024 {
        net.gossip_to(1, &event("many", 5 + n));
    }
    assert!(heard(&mut net, 1).is_empty());
    net.gossip_to(1, &event("many", 5 + 1024));
    net.run_for(SECOND / 2);
    assert_eq!(heard(&mut net, 1).len(), 1025);
}

#[test]
fn waiting_events_from_before_the_join_are_dropped_unless_replayed() {
    for (ignore_old, expected) in [(true, &["new"][..]), (false, &["old", "new"])] {
        let mut net = Net::new(2);
        fire(&mut net, 2, "old");
        net.gossip_to(1, &event("old", 1));
        net.gossip_to(1, &event("new", 2));
        join(&mut net, 1, 2, ignore_old);
        assert_eq!(heard(&mut net, 1), expected);
    }
}

#[test]
fn another_s_exchange_does_not_overtake_the_own_join() {
    let mut net = Net::new(2);
    fire(&mut net, 2, "old");
    let join = Command::Join {
        targets: vec![target(2)],
        ignore_old_events: true,
        announce: true,
    };
    net.command(1, join);
    let state = state(2, &[("old", 1)]);
    let now = net.now;
    net.host(1).serf.handle_user_state(&state, None, false, now);
    net.run_for(SECOND * 10);
    assert!(heard(&mut net, 1).is_empty());
}

#[test]
fn what_was_missed_is_run_and_nothing_twice() {
    let mut net = Net::new(0);
    net.add(recording(1, Snapshot::default()));
    assert!(!net.serf(1).continues());
    exchange(&mut net, 1, 1, &[]);
    for (name, ltime) in [("a", 3), ("d", 9), ("b", 5)] {
        net.gossip_to(1, &event(name, ltime));
        net.run_for(SECOND / 2);
    }
    assert_eq!(heard(&mut net, 1), ["a", "d", "b"]);
    let all = [("d", 9), ("c", 7), ("a", 3), ("b", 5), ("b", 4), ("e", 11)];
    for _ in 0..3 {
        restart(&mut net, 1);
        assert!(net.serf(1).continues());
        exchange(&mut net, 1, 12, &all);
    }
    assert_eq!(
        heard(&mut net, 1),
        [""; 0],
        "a later life has nothing to hear"
    );
    let seen = file(&mut net, 1, false);
    assert_eq!(seen.seen.iter().count(), 6);
    assert_eq!(seen.event_clock, LamportTime(11));
}

#[test]
fn a_restarted_node_hears_the_missed_in_order() {
    let mut net = Net::new(0);
    net.add(recording(1, Snapshot::default()));
    exchange(&mut net, 1, 1, &[]);
    net.gossip_to(1, &event("b", 5));
    net.run_for(SECOND / 2);
    restart(&mut net, 1);
    net.gossip_to(1, &event("e", 11));
    exchange(
        &mut net,
        1,
        12,
        &[("d", 9), ("b", 5), ("a", 3), ("c", 7), ("e", 11)],
    );
    assert_eq!(heard(&mut net, 1), ["a", "c", "d", "e"]);
}

#[test]
fn what_a_first_join_ignored_stays_ignored() {
    let mut net = Net::new(1);
    for name in ["a", "b", "c"] {
        fire(&mut net, 1, name);
    }
    net.add(recording(2, Snapshot::default()));
    join(&mut net, 2, 1, true);
    let first = file(&mut net, 2, false);
    // The lines for Serf are correct, too.
    assert_eq!(
        (first.event_clock, first.member),
        (LamportTime(3), Some(LamportTime(4)))
    );
    fire(&mut net, 1, "d");
    assert_eq!(heard(&mut net, 2), ["d"]);
    restart(&mut net, 2);
    net.run_for(SECOND * 2);
    assert_eq!(net.alive_in(2), 2);
    assert!(heard(&mut net, 2).is_empty());
    net.remove(2);
}

#[test]
fn the_file_that_serf_has_used_is_taken_as_serf_takes_it() {
    let mut net = Net::new(0);
    net.add(recording(1, Snapshot::default()));
    exchange(&mut net, 1, 1, &[]);
    net.gossip_to(1, &event("a", 5));
    net.run_for(SECOND);
    let line = SnapshotLine::EventClock(LamportTime(8));
    net.host(1).snapshot.push(line);
    restart(&mut net, 1);
    let all = [("missed by a Serf", 7), ("a", 5), ("b", 9)];
    exchange(&mut net, 1, 10, &all);
    assert_eq!(heard(&mut net, 1), ["b"]);
    // This still holds after `Seen` lines of later times.
    restart(&mut net, 1);
    exchange(&mut net, 1, 10, &all);
    assert!(heard(&mut net, 1).is_empty());
}

#[test]
fn absurd_notes_do_not_make_a_member() {
    let mut net = Net::new(1);
    fire(&mut net, 1, "old");
    let mut snapshot = Snapshot::default();
    let (ltime, hash) = (LamportTime(u64::MAX), 1);
    snapshot.follow(&SnapshotLine::Seen { ltime, hash });
    snapshot.follow(&SnapshotLine::EventClock(ltime));
    net.add(recording(2, snapshot));
    assert!(!net.serf(2).continues());
    assert_eq!(net.serf(2).stats().event_time, 1);
    join(&mut net, 2, 1, true);
    assert!(heard(&mut net, 2).is_empty());
    fire(&mut net, 1, "new");
    assert_eq!(heard(&mut net, 2), ["new"]);
}

#[test]
fn a_join_by_command_ignores_no_events_of_members() {
    let mut net = Net::joined(2);
    // Node 1 lacks an event that node 2 has.
    let now = net.now;
    let lost = state(6, &[("lost", 5)]);
    net.host(2).serf.handle_user_state(&lost, None, false, now);
    join(&mut net, 1, 2, true);
    assert_eq!(heard(&mut net, 1), ["lost"]);
    // The events of a non-member are not for it.
    net.add(config(3));
    fire(&mut net, 3, "strange");
    join(&mut net, 1, 3, true);
    assert!(heard(&mut net, 1).is_empty());
}

#[test]
fn a_first_join_ignores_old_events_of_nodes_in_the_snapshot() {
    let mut net = Net::joined(2);
    let lost = state(6, &[("lost", 5)]);
    let now = net.now;
    net.host(2).serf.handle_user_state(&lost, None, false, now);
    // It knows node 1 only from the file, which does not record a membership.
    let mut snapshot = Snapshot::default();
    let (name, addr) = (net.serf(1).local_name().clone(), target(2).addr);
    snapshot.follow(&SnapshotLine::Alive { name, addr });
    let mut lone = config(3);
    lone.snapshot = Some(snapshot);
    net.add(lone);
    assert!(!net.serf(3).continues());
    join(&mut net, 3, 2, true);
    assert!(heard(&mut net, 3).is_empty());
    // Now it is a member.
    let missed = state(8, &[("missed", 7)]);
    let now = net.now;
    net.host(2)
        .serf
        .handle_user_state(&missed, None, false, now);
    join(&mut net, 3, 2, true);
    assert_eq!(heard(&mut net, 3), ["missed"]);
}

#[test]
fn a_join_of_several_strangers_ignores_all_of_theirs() {
    let mut net = Net::joined(3);
    net.add(config(4));
    net.run_for(SECOND * 2);
    // Only node 2 has it.
    let now = net.now;
    let old = state(6, &[("old", 5)]);
    net.host(2).serf.handle_user_state(&old, None, false, now);
    let join = Command::Join {
        targets: vec![target(1), target(2)],
        ignore_old_events: true,
        announce: true,
    };
    net.command_to_end(4, join);
    net.run_for(SECOND / 2);
    assert!(heard(&mut net, 4).is_empty());
}

#[test]
fn nothing_is_handed_over_once_the_leave_is_recorded() {
    let mut net = Net::new(1);
    net.add(recording(2, Snapshot::default()));
    join(&mut net, 2, 1, true);
    fire(&mut net, 1, "before");
    net.command(2, Command::Leave);
    fire(&mut net, 1, "behind");
    net.run_for(SECOND * 10);
    assert_eq!(net.serf(2).state(), State::Left);
    net.input(2, Input::Shutdown);
    assert_eq!(heard(&mut net, 2), ["before"]);
    // With -rejoin it counts as a missed event; without, the snapshot is cleared.
    let snapshot = file(&mut net, 2, true);
    assert_eq!(snapshot.seen.iter().count(), 1);
    let forgetful = file(&mut net, 2, false);
    assert!(!forgetful.continues() && forgetful.seen.iter().count() == 0);
    net.add(recording(2, snapshot));
    net.run_for(SECOND * 2);
    assert_eq!(heard(&mut net, 2), ["behind"]);
}

#[test]
fn a_batch_closes_before_the_leave_is_recorded() {
    let mut net = Net::new(1);
    net.add(recording(2, Snapshot::default()));
    join(&mut net, 2, 1, true);
    let coalesced = Command::UserEvent {
        name: b"batched".to_vec(),
        payload: None,
        coalesce: true,
    };
    net.command_now(2, coalesced);
    assert!(heard(&mut net, 2).is_empty());
    net.command(2, Command::Leave);
    assert_eq!(heard(&mut net, 2), ["batched"]);
    let lines = &net.host(2).snapshot;
    let position = |wanted: fn(&SnapshotLine) -> bool| lines.iter().position(wanted);
    let noted = position(|line| matches!(line, SnapshotLine::Seen { .. }));
    assert!(noted < position(|line| *line == SnapshotLine::Leave));
}

#[test]
fn a_node_without_a_snapshot_hears_events_until_its_end() {
    let mut net = Net::joined(2);
    net.command(2, Command::Leave);
    fire(&mut net, 1, "behind");
    assert_eq!(heard(&mut net, 2), ["behind"]);
}

#[test]
fn what_waits_when_the_program_ends_comes_after_the_restart() {
    for coalesce in [true, false] {
        let mut net = Net::new(1);
        net.add(recording(2, Snapshot::default()));
        join(&mut net, 2, 1, true);
        fire(&mut net, 1, "before");
        // An earlier event is missing permanently.
        let waits = UserEventMessage {
            ltime: LamportTime(9),
            name: "waits".into(),
            payload: None,
            coalesce,
        };
        for node in [1, 2] {
            net.gossip_to(node, &SerfMessage::UserEvent(waits.clone()));
        }
        net.input(2, Input::Shutdown);
        assert_eq!(heard(&mut net, 2), ["before"], "{coalesce}");
        restart(&mut net, 2);
        net.run_for(SECOND * 10);
        assert_eq!(heard(&mut net, 2), ["waits"], "{coalesce}");
    }
}
