//! Tests of the checkers of clusters in which a hostile member forges states and membership messages.

use super::delivery_tests::fired;
use super::peer_tests::with_twist;
use super::tests::{LIMITS, at, both, delivered, ending, user, with};
use super::*;
use crate::cluster::{GHOSTS, Twist, host_addr, node_name};
use crate::history::Depths;
use cottar::serf::MemberStatus;
use cottar::swim::NodeState;
use cottar::time::Instant;

fn slander(news: Vec<Record>) -> Vec<Record> {
    let mut all = vec![at(100, 0, What::Slander(true))];
    all.extend(news);
    all.push(at(60_100, 0, What::Slander(false)));
    all.sort_by_key(|record| record.at);
    let mut history = ending(both(), both());
    for record in &mut history {
        if matches!(record.what, What::Members(_)) {
            record.at = Instant::from_millis(90_000);
        }
    }
    with(history, all)
}

#[test]
fn a_claim_that_is_believed_for_long_is_seen() {
    let known = |state| What::Known {
        about: node_name("b"),
        addr: host_addr(1),
        incarnation: 1,
        state,
    };
    let status = |status| What::Status {
        about: node_name("b"),
        status: Some(status),
    };
    let run = |claim: What, end: Option<(u64, What)>| {
        let mut news = vec![at(1_000, 0, claim)];
        news.extend(end.map(|(millis, what)| at(millis, 0, what)));
        slander(news)
    };
    for (claim, truth) in [
        (known(NodeState::Suspect), known(NodeState::Alive)),
        (known(NodeState::Left), known(NodeState::Alive)),
        (status(MemberStatus::Left), status(MemberStatus::Leaving)),
        (status(MemberStatus::Failed), status(MemberStatus::Alive)),
    ] {
        let good = run(claim.clone(), Some((30_000, truth.clone())));
        false_claims_are_refuted(&good).unwrap();
        let late = run(claim.clone(), Some((40_000, truth)));
        assert!(false_claims_are_refuted(&late).is_err());
        let never = run(claim, None);
        assert!(false_claims_are_refuted(&never).is_err());
        // Nothing is promised about a hostile node.
        false_claims_are_refuted(&with_twist(never.clone(), 1, Twist::Forger)).unwrap();
        false_claims_are_refuted(&with_twist(never, 0, Twist::Forger)).unwrap();
    }
}

#[test]
fn an_event_delayed_by_false_claims_is_seen() {
    let run = |arrivals: &[u64]| {
        let mut news = vec![delivered(1_000, 0, 0, user(1, "x")), fired(1_000, 0, "x")];
        let come = arrivals.iter().zip(0..);
        news.extend(come.map(|(&millis, order)| delivered(millis, 1, order, user(1, "x"))));
        slander(news)
    };
    events_arrive_despite_false_claims(&run(&[30_000])).unwrap();
    for bad in [&[][..], &[40_000], &[2_000, 3_000]] {
        assert!(
            events_arrive_despite_false_claims(&run(bad)).is_err(),
            "{bad:?}"
        );
    }
    let forged = with_twist(run(&[]), 1, Twist::Forger);
    events_arrive_despite_false_claims(&forged).unwrap();
    // Nor is anything promised while event clocks leap.
    let leap = |millis, clock| {
        let leap = at(millis, 1, What::ClockLeapt { clock, by: 1 << 40 });
        events_arrive_despite_false_claims(&with(run(&[]), vec![leap]))
    };
    leap(500, 1).unwrap();
    leap(30_000, 1).unwrap();
    assert!(leap(500, 0).is_err());
    assert!(leap(37_000, 1).is_err());
}

#[test]
fn a_clock_that_is_driven_too_fast_is_seen() {
    let leap = |millis, clock, leaps: u64| {
        let by = leaps << 40;
        at(millis, 0, What::ClockLeapt { clock, by })
    };
    let run = |leaps: Vec<Record>| {
        let history = with(ending(both(), both()), leaps);
        clocks_move_within_bounds(&history)
    };
    run(vec![leap(10, 0, 16), leap(10, 1, 16), leap(10_010, 0, 8)]).unwrap();
    assert!(run(vec![leap(10, 0, 17)]).is_err());
    assert!(run(vec![leap(10, 2, 16), leap(5_010, 2, 8)]).is_err());
    let liar = with(ending(both(), both()), vec![leap(10, 0, 17)]);
    clocks_move_within_bounds(&with_twist(liar, 0, Twist::Forger)).unwrap();
}

#[test]
fn only_a_forger_s_ghosts_may_fill_the_queue() {
    let run = |membership| {
        let depths = Depths {
            membership,
            ..Depths::default()
        };
        let full = at(10, 0, What::Queues { depths, end: false });
        with(ending(both(), both()), vec![full])
    };
    let forged = |membership| with_twist(run(membership), 1, Twist::Forger);
    queues_stay_within_limits(&forged(2 + GHOSTS), &LIMITS).unwrap();
    assert!(queues_stay_within_limits(&forged(3 + GHOSTS), &LIMITS).is_err());
    assert!(queues_stay_within_limits(&run(3), &LIMITS).is_err());
}
