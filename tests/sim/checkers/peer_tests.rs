//! Tests of the checkers with nodes that simulate the reference or a liar.

use super::delivery_tests::{STEADY, fired, in_life, restarted, steadily};
use super::tests::{LIMITS, asked, at, both, delivered, ending, joined, started, user, with};
use super::*;
use crate::history::Spent;
use cottar::serf::{CommandId, LamportTime, QueryRecord};
use cottar::time::Instant;

/// The same history, with a node that simulates another program.
pub(super) fn with_twist(mut history: Vec<Record>, node: NodeId, twist: Twist) -> Vec<Record> {
    history.insert(0, at(0, node, What::Twisted(twist)));
    history
}

#[test]
fn late_events_count_for_this_program_only() {
    let run = |by: NodeId, at: [Option<u64>; 2], twisted: Option<NodeId>| {
        let mut news = vec![fired(100, by, "x")];
        for (node, at) in at.into_iter().enumerate() {
            news.extend(at.map(|at| delivered(at, node, 0, user(1, "x"))));
        }
        news.sort_by_key(|record| record.at);
        let history = steadily(STEADY, news);
        events_arrive_within_the_hard_limit(&match twisted {
            Some(node) => with_twist(history, node, Twist::Reference),
            None => history,
        })
    };
    assert!(run(0, [Some(100), None], None).is_err());
    // The receiver is the reference.
    let one = Ok(Lateness { pairs: 1, late: 0 });
    assert_eq!(run(0, [Some(100), None], Some(1)), one);
    // The sender is the reference: the time counts from when the first node of this program has the event.
    assert_eq!(run(0, [Some(100), Some(7_000)], Some(0)), one);
    assert_eq!(run(0, [Some(100), None], Some(0)), Ok(Lateness::default()));
    assert!(run(1, [None, Some(100)], None).is_err());
}

#[test]
fn only_nodes_of_this_program_must_ack_each_other() {
    let command = CommandId(4);
    let asked = asked(command, &[1]);
    let answered = |came_back: bool| {
        let record = QueryRecord::Response {
            from: crate::cluster::node_name("b"),
            payload: None,
        };
        let sent = What::Answered {
            ltime: LamportTime(1),
            id: 9,
            deadline: Instant::from_millis(1000),
            sent: true,
        };
        let mut news = vec![at(20, 0, asked.clone()), at(30, 1, sent)];
        news.extend(came_back.then(|| at(31, 0, What::Returned { command, record })));
        steadily(STEADY, news)
    };
    let lost = answered(false);
    assert!(queries_are_acked_by_all_addressed(&lost).is_err());
    assert_eq!(
        answers_lost_in_steady_periods(&lost),
        Lateness { pairs: 1, late: 1 }
    );
    for node in [0, 1] {
        let mixed = with_twist(lost.clone(), node, Twist::Reference);
        assert_eq!(
            queries_are_acked_by_all_addressed(&mixed),
            Ok(Lateness::default())
        );
        assert_eq!(answers_lost_in_steady_periods(&mixed), Lateness::default());
    }
}

#[test]
fn the_reference_may_miss_what_came_before_it_restarted() {
    let news = vec![delivered(150, 0, 0, user(7, "x")), fired(150, 0, "x")];
    let missed = restarted(true, vec![], news);
    assert!(missed_events_arrive_after_restarts(&missed).is_err());
    let mixed = with_twist(missed, 1, Twist::Reference);
    missed_events_arrive_after_restarts(&mixed).unwrap();
    // It gets events fired after its second join, except that it may ignore those with low times.
    let after = |continues| {
        let rejoined = in_life(1, at(250, 1, joined(0, &[0])));
        let news = vec![
            rejoined,
            delivered(300, 0, 0, user(7, "x")),
            fired(300, 0, "x"),
        ];
        restarted(continues, vec![], news)
    };
    for twist in [Twist::Reference, Twist::Liar] {
        let mixed = with_twist(after(true), 1, twist);
        events_reach_joined_nodes(&mixed).unwrap();
    }
    assert!(events_reach_joined_nodes(&after(true)).is_err());
    let mixed = with_twist(after(false), 1, Twist::Reference);
    assert!(events_reach_joined_nodes(&mixed).is_err());
}

#[test]
fn events_before_a_clock_leap_are_exempt() {
    let run = |ltime| {
        let leap = What::Invented {
            ltime: LamportTime(ltime),
        };
        let news = vec![
            delivered(100, 0, 0, user(7, "x")),
            fired(100, 0, "x"),
            at(110, 0, leap),
        ];
        events_reach_joined_nodes(&with(ending(both(), both()), news))
    };
    assert!(run(518).is_err());
    run(519).unwrap();
}

#[test]
fn a_node_that_joins_a_liar_is_exempt() {
    let join = What::Joined {
        skipped_before: 3,
        contacts: vec![0],
        asked_at: Instant::from_millis(20),
        ignores_old: true,
        called: false,
    };
    let history = vec![
        at(0, 0, started("a")),
        delivered(5, 0, 0, user(2, "x")),
        at(10, 1, started("b")),
        at(30, 1, join),
        delivered(40, 1, 0, user(2, "x")),
    ];
    assert!(events_before_a_join_are_not_delivered(&history).is_err());
    let of = |node, twist| with_twist(history.clone(), node, twist);
    events_before_a_join_are_not_delivered(&of(0, Twist::Liar)).unwrap();
    for node in [0, 1] {
        let first_life = of(node, Twist::Reference);
        assert!(events_before_a_join_are_not_delivered(&first_life).is_err());
    }
}

/// Judges what the first node has spent within a minute: whether its repairs stay within their rate limits, and
/// whether a liar caused little traffic.
fn judged(spent: Spent, quiet: bool, twisted: Option<(NodeId, Twist)>) -> (bool, bool) {
    let mut history = vec![
        at(0, 0, started("a")),
        at(
            1_000,
            0,
            What::Spent {
                spent: Spent::default(),
                quiet: false,
            },
        ),
        at(61_000, 0, What::Spent { spent, quiet }),
    ];
    if let Some((node, twist)) = twisted {
        history = with_twist(history, node, twist);
    }
    let bounds = repairs_stay_within_rate_limits(&history, &LIMITS);
    (bounds.is_ok(), liars_cause_little_traffic(&history).is_ok())
}

#[test]
fn excess_repairs_and_exchanges_are_seen() {
    let most = Spent {
        datagrams: 960,
        exchanges: 10,
        pings: 3_617,
        answers: 1_024 * 61,
    };
    let liar = Some((1, Twist::Liar));
    assert_eq!(judged(most, true, liar), (true, true));
    for (more, by_quiet) in [
        (
            Spent {
                exchanges: 11,
                ..most
            },
            (true, false),
        ),
        (
            Spent {
                datagrams: 961,
                ..most
            },
            (true, false),
        ),
        (
            Spent {
                exchanges: 62,
                ..most
            },
            (false, false),
        ),
        (
            Spent {
                pings: 3_618,
                ..most
            },
            (false, true),
        ),
        (
            Spent {
                answers: 1_024 * 61 + 1,
                ..most
            },
            (false, true),
        ),
    ] {
        assert_eq!(judged(more, true, liar), by_quiet, "{more:?}");
        assert_eq!(judged(more, false, liar), (by_quiet.0, true));
        assert_eq!(judged(more, true, None), (by_quiet.0, true));
        // Nodes of another program are not checked.
        assert_eq!(judged(more, true, Some((0, Twist::Liar))), (true, true));
    }
}
