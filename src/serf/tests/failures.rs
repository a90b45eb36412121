//! Nodes that fail, are forced out, come back, or conflict about a name.

use super::harness::{Net, addr, config};
use crate::serf::*;
use crate::swim::Encounter;
use crate::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn force_leave(node: &str, prune: bool) -> Command {
    Command::ForceLeave {
        node: node.into(),
        prune,
    }
}

/// Makes three nodes of which n3 has failed.
fn with_a_failed_node() -> Net {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 3);
    net.remove(3);
    net.run_until("n3 has failed", SECOND * 60, |net| {
        (1..=2).all(|n| net.status(n, 3) == MemberStatus::Failed)
    });
    net.run_for(SECOND * 2);
    for n in 1..=2 {
        assert!(
            net.host(n)
                .take_member_events()
                .contains(&"member-failed n3".into())
        );
    }
    net
}

#[test]
fn a_vanished_node_is_failed_then_forced_to_leave() {
    let mut net = with_a_failed_node();
    let (result, _) = net.command_to_end(1, force_leave("n3", false));
    assert_eq!(result, CommandResult::Done);
    net.run_for(SECOND * 3);
    for n in 1..=2 {
        assert_eq!(net.status(n, 3), MemberStatus::Left);
        assert_eq!(net.host(n).take_member_events(), ["member-leave n3"]);
    }
}

#[test]
fn a_pruned_node_is_forgotten_by_all() {
    let mut net = with_a_failed_node();
    let (result, _) = net.command_to_end(2, force_leave("n3", true));
    assert_eq!(result, CommandResult::Done);
    net.run_for(SECOND * 3);
    for n in 1..=2 {
        assert_eq!(net.status(n, 3), MemberStatus::None);
        // The leave and the reap are in one batch; the last one counts.
        assert_eq!(net.host(n).take_member_events(), ["member-reap n3"]);
    }
    net.run_for(SECOND * 120);
    for n in 1..=2 {
        assert_eq!(net.status(n, 3), MemberStatus::None);
    }
}

#[test]
fn strangers_and_oneself_leave_without_effect() {
    let mut net = Net::joined(2);
    for node in ["nobody", "n1", "bad\nname", ""] {
        let (result, _) = net.command_to_end(1, force_leave(node, true));
        assert_eq!(result, CommandResult::Done, "{node}");
    }
    net.run_for(SECOND * 10);
    assert_eq!((net.alive_in(1), net.alive_in(2)), (2, 2));
}

#[test]
fn a_living_node_survives_its_prune() {
    let mut net = Net::joined(3);
    for prune in [false, true] {
        let id = net.command(1, force_leave("n2", prune));
        assert_eq!(net.status(1, 2), MemberStatus::Leaving);
        net.run_for(SECOND);
        let why = "Member 'n2' is alive and has refuted the leave".to_owned();
        let result = net.host(1).results.remove(&id);
        assert_eq!(result, Some(CommandResult::Failed(why)));
        net.run_for(SECOND * 20);
        for n in 1..=3 {
            assert_eq!(net.alive_in(n), 3);
            assert!(net.serf(n).prunes.is_empty());
        }
    }
}

#[test]
fn two_nodes_are_enough_to_object() {
    let mut net = Net::joined(2);
    // Wait until all nodes have the join intents: a later leave must have a later time.
    net.run_for(SECOND * 3);
    let (result, took) = net.command_to_end(1, force_leave("n2", true));
    assert!(matches!(result, CommandResult::Failed(_)), "{result:?}");
    assert!(took < SECOND, "{took:?}");
    net.run_for(SECOND * 20);
    assert_eq!((net.alive_in(1), net.alive_in(2)), (2, 2));
}

#[test]
fn who_did_not_hear_it_is_asked_once_more() {
    let mut net = Net::joined(2);
    net.run_for(SECOND * 3);
    net.host(2).cut = true;
    let id = net.command(1, force_leave("n2", true));
    // Longer than the intent is transmitted.
    net.run_for(SECOND * 2);
    net.host(2).cut = false;
    net.run_for(SECOND);
    let result = net.host(1).results.remove(&id);
    let failed = matches!(result, Some(CommandResult::Failed(_)));
    assert!(failed, "{result:?}");
    net.run_for(SECOND * 20);
    assert_eq!((net.alive_in(1), net.alive_in(2)), (2, 2));
}

#[test]
fn who_does_not_object_is_pruned_after_the_wait() {
    let mut net = Net::joined(3);
    net.remove(3);
    // Its failure is not detected yet.
    assert_eq!(net.status(1, 3), MemberStatus::Alive);
    let (result, took) = net.command_to_end(1, force_leave("n3", true));
    assert_eq!(result, CommandResult::Done);
    assert!(took >= SECOND * 5, "{took:?}");
    net.run_until("all forget it", SECOND * 60, |net| {
        (1..=2).all(|n| net.status(n, 3) == MemberStatus::None)
    });
}

#[test]
fn who_leaves_by_itself_does_not_object() {
    let mut net = Net::joined(3);
    net.command(3, Command::Leave);
    net.run_for(SECOND / 10);
    let (result, took) = net.command_to_end(1, force_leave("n3", false));
    assert_eq!(result, CommandResult::Done);
    assert!(took < SECOND * 5, "{took:?}");
    assert_eq!(net.status(1, 3), MemberStatus::Left);
}

#[test]
fn a_prune_waits_for_a_node_that_goes() {
    let mut net = Net::new(0);
    for n in 1..=3 {
        let mut hasty = config(n);
        hasty.broadcast_timeout = SECOND / 4;
        hasty.leave_propagate_delay = SECOND / 4;
        net.add(hasty);
    }
    net.join(2, 1);
    net.join(3, 1);
    // Wait until all nodes have the join intents: a later leave must have a later time.
    net.run_for(SECOND * 3);
    net.remove(3);
    // All nodes consider it alive when it is forced out, and for longer than the prune waits at first.
    net.command(1, force_leave("n3", true));
    net.command(1, force_leave("n3", true));
    assert_eq!(net.status(1, 3), MemberStatus::Leaving);
    // Its time to refute is over.
    net.run_for(SECOND / 3);
    assert_eq!(net.serf(1).prunes.len(), 1);
    net.run_for(SECOND * 2);
    assert_eq!(net.status(1, 3), MemberStatus::Leaving);
    net.run_for(SECOND * 40);
    for n in 1..=2 {
        assert_eq!(net.status(n, 3), MemberStatus::None, "n{n}");
        assert!(net.serf(n).prunes.is_empty());
    }
}

#[test]
fn a_force_leave_without_other_members_ends_at_once() {
    let mut net = Net::new(1);
    let result = net.command_now(1, force_leave("nobody", false));
    assert_eq!(result, CommandResult::Done);
}

#[test]
fn failed_and_left_nodes_are_reaped_in_the_end() {
    for force in [false, true] {
        let mut net = with_a_failed_node();
        if force {
            net.command_to_end(1, force_leave("n3", false));
            net.run_for(SECOND * 3);
        }
        net.host(1).take_member_events();
        // From here on only n1, for speed.
        net.remove(2);
        net.run_for(HOUR * 24 - SECOND * 60);
        assert_ne!(net.status(1, 3), MemberStatus::None);
        net.run_for(SECOND * 180);
        assert_eq!(net.status(1, 3), MemberStatus::None);
        assert_eq!(net.status(1, 2), MemberStatus::None);
        let events = net.host(1).take_member_events();
        assert!(
            events.iter().any(|e| e.starts_with("member-reap")),
            "{events:?}"
        );
        assert_eq!(net.serf(1).periodic_deadline(), None, "nothing left to do");
    }
}

#[test]
fn a_cut_node_comes_back_by_reconnecting() {
    let mut net = Net::joined(3);
    net.host(3).cut = true;
    net.run_until("both sides think the other failed", SECOND * 90, |net| {
        net.status(1, 3) == MemberStatus::Failed
            && net.status(2, 3) == MemberStatus::Failed
            && net.serf(3).stats().failed == 2
    });
    net.run_for(SECOND * 60);
    net.host(3).cut = false;
    net.run_until("all are back", SECOND * 600, |net| {
        (1..=3).all(|n| net.alive_in(n) == 3)
    });
}

#[test]
fn the_newcomer_loses_its_name() {
    let mut net = Net::joined(3);
    let mut twin = config(9);
    twin.name = NodeName::new(b"n1").unwrap();
    net.add(twin);
    let join = Command::Join {
        targets: vec![super::harness::target(2)],
        ignore_old_events: false,
        announce: true,
    };
    net.command(9, join);
    net.run_until("the twin gives up", SECOND * 60, |net| net.is_stopped(9));
    net.remove(9);
    net.run_for(SECOND * 30);
    assert!(!net.is_stopped(1));
    for n in 1..=3 {
        assert_eq!(net.serf(n).member(b"n1").unwrap().addr, addr(1));
        assert_eq!(net.alive_in(n), 3);
    }
}

#[test]
fn conflicts_start_one_vote_at_a_time() {
    let mut net = Net::joined(3);
    let now = net.now;
    let serf = &mut net.host(1).serf;
    let own = serf.swim.local().clone();
    for _ in 0..5 {
        serf.handle_conflict(&own, addr(9), Encounter::Elsewhere, now);
    }
    assert_eq!(serf.stats().query_time, 2);
    net.run_for(SECOND * 4);
    assert!(!net.is_stopped(1), "the others vote for it");
    let now = net.now;
    let serf = &mut net.host(1).serf;
    serf.handle_conflict(&own, addr(9), Encounter::Elsewhere, now);
    assert_eq!(serf.stats().query_time, 2, "there is a pause");
    serf.handle_conflict(&own, addr(9), Encounter::Elsewhere, now + SECOND * 60);
    assert_eq!(serf.stats().query_time, 3);
}

#[test]
fn without_voters_the_newcomer_or_the_higher_address_gives_way() {
    for (encounter, other, stops) in [
        (Encounter::OwnJoin, 9, true),
        (Encounter::TheirJoin, 9, false),
        (Encounter::Elsewhere, 9, false),
        (Encounter::OwnJoin, 1, true),
        (Encounter::TheirJoin, 1, false),
        (Encounter::Elsewhere, 1, true),
    ] {
        let mut net = Net::new(0);
        net.add(config(5));
        let now = net.now;
        let serf = &mut net.host(5).serf;
        let own = serf.swim.local().clone();
        serf.handle_conflict(&own, addr(other), encounter, now);
        net.run_for(SECOND * 2);
        assert!(!net.is_stopped(5), "the vote has its time");
        net.run_for(SECOND * 2);
        assert_eq!(net.is_stopped(5), stops, "{encounter:?} {other}");
    }
}

#[test]
fn of_two_nodes_with_one_name_the_joining_one_gives_way() {
    // First the newcomer has the higher address, then the lower one.
    for (holder, newcomer) in [(1, 9), (9, 1)] {
        let mut net = Net::new(0);
        for n in [holder, newcomer] {
            let mut twin = config(n);
            twin.name = NodeName::new(b"twin").unwrap();
            net.add(twin);
        }
        let join = Command::Join {
            targets: vec![super::harness::target(holder)],
            ignore_old_events: false,
            announce: true,
        };
        net.command(newcomer, join);
        net.run_until("the newcomer gives up", SECOND * 10, |net| {
            net.is_stopped(newcomer)
        });
        net.remove(newcomer);
        net.run_for(SECOND * 30);
        assert!(!net.is_stopped(holder));
    }
}

#[test]
fn broadcast_timeouts_fail_commands_but_not_a_leave() {
    let mut net = Net::new(0);
    let mut hasty = config(1);
    hasty.broadcast_timeout = Duration::from_millis(1);
    net.add(hasty);
    net.add(config(2));
    net.join(1, 2);
    net.run_for(SECOND * 3);
    let failed = |text: &str| CommandResult::Failed(text.to_owned());
    let (result, _) = net.command_to_end(1, force_leave("nobody", false));
    assert_eq!(result, failed("timed out broadcasting node removal"));
    let (result, _) = net.command_to_end(1, Command::SetTags(Tags::new()));
    assert_eq!(result, failed("timeout waiting for update broadcast"));
    let (result, took) = net.command_to_end(1, Command::Leave);
    assert_eq!(result, CommandResult::Done);
    assert_eq!(took, SECOND + Duration::from_millis(2));
    net.run_for(SECOND * 3);
    assert_eq!(net.status(2, 1), MemberStatus::Left);
}
