//! Members stuck in `leaving` because of a stale leave intent.

use super::harness::{Net, config};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::serf::{LeaveIntent, SerfMessage, SerfPushPull};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn name(n: u16) -> NodeName {
    config(n).name
}

/// Delivers the push/pull state of a node that missed the return of `of` and lists it as left.
fn tell_stale_news(net: &mut Net, to: u16, of: u16) {
    let state = SerfPushPull {
        ltime: LamportTime(50),
        status_ltimes: vec![(name(of), LamportTime(40))],
        left_members: vec![name(of)],
        event_ltime: LamportTime(0),
        events: Vec::new(),
        query_ltime: LamportTime(0),
    };
    let now = net.now;
    net.host(to)
        .serf
        .handle_user_state(&state.encode(), None, false, now);
    assert_eq!(net.status(to, of), MemberStatus::Leaving);
}

/// Makes three nodes; the third one is up and aborted its leave.
fn with_a_node_stuck_in_its_leave() -> Net {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 3);
    net.host(3).serf.state = State::Leaving;
    say_it_leaves(&mut net, 1, 3);
    net.run_until("all have heard", SECOND * 5, |net| {
        (1..=3).all(|n| net.status(n, 3) == MemberStatus::Leaving)
    });
    net
}

fn say_it_leaves(net: &mut Net, to: u16, of: u16) {
    let leave = LeaveIntent {
        ltime: net.serf(to).member_clock.now(),
        node: name(of),
        prune: false,
    };
    net.gossip_to(to, &SerfMessage::Leave(leave));
}

fn forget_events(net: &mut Net, count: u16) {
    for n in 1..=count {
        net.host(n).take_member_events();
    }
}

#[test]
fn a_living_member_is_called_back_without_an_event() {
    let mut net = Net::joined(4);
    net.run_for(SECOND * 3);
    forget_events(&mut net, 4);
    tell_stale_news(&mut net, 1, 3);
    net.run_for(SECOND * 10);
    assert_eq!(net.status(1, 3), MemberStatus::Leaving, "asked too early");
    net.run_until("n3 is called back", SECOND * 5, |net| {
        net.status(1, 3) == MemberStatus::Alive
    });
    // The question was sent only to n3: for the other nodes it was never leaving.
    assert!((2..=4).all(|n| net.alive_in(n) == 4));
    net.run_for(HOUR);
    for n in 1..=4 {
        assert_eq!(net.alive_in(n), 4);
        assert_eq!(net.host(n).take_member_events(), [""; 0]);
    }
    net.remove(3);
    net.run_until("n3 has failed", SECOND * 60, |net| {
        net.status(1, 3) == MemberStatus::Failed
    });
}

#[test]
fn a_member_with_a_stale_leave_that_dies_before_the_question_counts_as_left() {
    // As in the reference, the last intent counts.
    let mut net = Net::joined(3);
    net.run_for(SECOND * 3);
    forget_events(&mut net, 2);
    net.remove(3);
    tell_stale_news(&mut net, 1, 3);
    net.run_until("n3 is gone", SECOND * 60, |net| {
        net.status(1, 3) == MemberStatus::Left && net.status(2, 3) == MemberStatus::Failed
    });
    net.run_for(SECOND * 3);
    assert_eq!(net.host(1).take_member_events(), ["member-leave n3"]);
    assert_eq!(net.host(2).take_member_events(), ["member-failed n3"]);
}

#[test]
fn who_returns_at_once_is_not_asked() {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 3);
    // Forced out while it is down, and back under its name before its failure is detected.
    net.remove(3);
    net.command(1, {
        let node = "n3".into();
        Command::ForceLeave { node, prune: false }
    });
    net.run_for(SECOND);
    assert_eq!(net.status(2, 3), MemberStatus::Leaving);
    net.add(config(3));
    net.join(3, 2);
    net.run_until("all are back", SECOND * 10, |net| {
        (1..=3).all(|n| net.alive_in(n) == 3)
    });
    let clock = net.serf(1).member_clock.now();
    net.run_for(HOUR);
    assert!((1..=3).all(|n| net.alive_in(n) == 3));
    assert_eq!(net.serf(1).member_clock.now(), clock);
}

#[test]
fn questions_end_and_do_not_call_each_other_up() {
    let mut net = with_a_node_stuck_in_its_leave();
    forget_events(&mut net, 3);
    // Another node starts its questions halfway through those of the first two.
    net.run_for(SECOND * 400);
    net.add(config(4));
    net.join(4, 1);
    say_it_leaves(&mut net, 4, 3);
    let before = net.serf(1).member_clock.now().0;
    net.run_for(HOUR);
    let clock = net.serf(1).member_clock.now().0;
    assert!(clock - before <= 2 * 6, "{before} to {clock}");
    net.run_for(HOUR * 10);
    assert_eq!(net.serf(1).member_clock.now().0, clock);
    for n in 1..=2 {
        assert_eq!(net.status(n, 3), MemberStatus::Leaving);
        assert_eq!(net.host(n).take_member_events(), ["member-join n4"]);
    }
    // It comes back after all; later questions start again.
    net.host(3).serf.state = State::Alive;
    say_it_leaves(&mut net, 1, 3);
    net.run_until("n3 is back", SECOND * 5, |net| {
        (1..=4).all(|n| net.status(n, 3) == MemberStatus::Alive)
    });
    tell_stale_news_again(&mut net);
}

/// Checks that a member which ignored earlier questions is asked again after it was back.
fn tell_stale_news_again(net: &mut Net) {
    tell_stale_news(net, 2, 3);
    net.run_until("n3 is called back", SECOND * 60, |net| {
        net.status(2, 3) == MemberStatus::Alive
    });
}

#[test]
fn zero_leave_timeouts_do_not_spin() {
    let mut net = Net::new(0);
    for n in 1..=2 {
        let mut hasty = config(n);
        hasty.broadcast_timeout = Duration::ZERO;
        hasty.leave_propagate_delay = Duration::ZERO;
        net.add(hasty);
    }
    net.join(2, 1);
    net.run_for(SECOND * 3);
    tell_stale_news(&mut net, 1, 2);
    // The harness panics if a timer causes a busy loop.
    net.run_until("n2 is called back", SECOND * 5, |net| {
        net.status(1, 2) == MemberStatus::Alive
    });
}
