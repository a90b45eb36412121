//! The decision tables of gossip spec 4.8, exhaustive over small ranges.

use super::*;

const STATES: [NodeState; 4] = [
    NodeState::Alive,
    NodeState::Suspect,
    NodeState::Dead,
    NodeState::Left,
];

/// Makes a script that knows n2 in a state, with incarnation 5, and three other nodes.
fn knowing(state: NodeState) -> Script {
    let mut script = Script::with(Config {
        probe_interval: Duration::from_secs(1_000),
        ..Config::lan()
    });
    script.meet([3, 4, 5]);
    script.hear(2, &[Message::Alive(alive(2, 5))]);
    match state {
        NodeState::Alive => {}
        NodeState::Suspect => script.hear(3, &[suspect(peer(2), 5, 3)]),
        NodeState::Dead => script.hear(3, &[dead(peer(2), 5, peer(3))]),
        NodeState::Left => script.hear(3, &[dead(peer(2), 5, peer(2))]),
    }
    assert_eq!(script.state(2), state);
    // Empty the queue, so that anything queued later comes from the message under test.
    while script.swim.membership_queue_len() > 0 {
        script.run_for(Duration::from_millis(50));
    }
    assert_eq!(script.state(2), state);
    script.outputs.clear();
    script
}

fn record(script: &Script) -> Node {
    script.swim.node(&peer(2)).unwrap().clone()
}

#[test]
fn equal_metas_are_stored_once() {
    let mut script = Script::new();
    script.hear(
        2,
        &[Message::Alive(alive(2, 1)), Message::Alive(alive(3, 1))],
    );
    let meta = |host| script.swim.node(&peer(host)).unwrap().meta.clone();
    assert!(std::sync::Arc::ptr_eq(&meta(2), &meta(3)));
}

#[test]
fn alive_about_another() {
    for state in STATES {
        for incarnation in 4..=6 {
            for moved in [false, true] {
                for other_meta in [false, true] {
                    let mut script = knowing(state);
                    let before = record(&script);
                    let mut message = alive(2, incarnation);
                    if moved {
                        message.addr = addr(20);
                    }
                    if other_meta {
                        message.meta = Some(b"other".as_slice().into());
                    }
                    script.hear(9, &[Message::Alive(message.clone())]);
                    let case = format!("{state:?} {incarnation} {moved} {other_meta}");
                    let after = record(&script);
                    let queued = script.swim.membership_queue_len();
                    let events = script.take_events();
                    if moved && state != NodeState::Left {
                        assert_eq!(after, before, "{case}");
                        assert_eq!(
                            events,
                            [Output::Conflict {
                                existing: before,
                                other: addr(20),
                                encounter: Encounter::Elsewhere,
                            }],
                            "{case}"
                        );
                        assert_eq!(queued, 0, "{case}");
                    } else if incarnation > 5 || moved {
                        assert_eq!(after.state, NodeState::Alive, "{case}");
                        assert_eq!(after.incarnation, incarnation, "{case}");
                        assert_eq!(after.addr, message.addr, "{case}");
                        assert_eq!(Some(after.meta.clone()), message.meta, "{case}");
                        assert_eq!(queued, 1, "{case}");
                        let due = match state {
                            NodeState::Dead | NodeState::Left => vec![Output::Joined(after)],
                            _ if other_meta => vec![Output::Updated(after)],
                            _ => vec![],
                        };
                        assert_eq!(events, due, "{case}");
                    } else {
                        assert_eq!(after, before, "{case}");
                        assert_eq!(events, [], "{case}");
                        assert_eq!(queued, 0, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn suspect_about_another() {
    for state in STATES {
        for incarnation in 4..=6 {
            for from in [3, 4] {
                let mut script = knowing(state);
                let before = record(&script);
                script.hear(from, &[suspect(peer(2), incarnation, from)]);
                let case = format!("{state:?} {incarnation} {from}");
                let after = record(&script);
                let queued = script.swim.membership_queue_len();
                assert_eq!(script.take_events(), [], "{case}");
                match (state, incarnation) {
                    (NodeState::Alive, 5..) => {
                        assert_eq!(after.state, NodeState::Suspect, "{case}");
                        assert_eq!(after.incarnation, incarnation, "{case}");
                        assert_eq!(queued, 1, "{case}");
                    }
                    // The original accuser cannot confirm.
                    (NodeState::Suspect, 5..) => {
                        assert_eq!(after, before, "{case}");
                        assert_eq!(queued, usize::from(from == 4), "{case}");
                    }
                    _ => {
                        assert_eq!(after, before, "{case}");
                        assert_eq!(queued, 0, "{case}");
                    }
                }
            }
        }
    }
}

#[test]
fn dead_about_another() {
    for state in STATES {
        for incarnation in 4..=6 {
            for from in [peer(2), peer(3)] {
                let mut script = knowing(state);
                let before = record(&script);
                script.hear(3, &[dead(peer(2), incarnation, from.clone())]);
                let case = format!("{state:?} {incarnation} {from:?}");
                let after = record(&script);
                let queued = script.swim.membership_queue_len();
                let events = script.take_events();
                if incarnation >= 5 && matches!(state, NodeState::Alive | NodeState::Suspect) {
                    let due = if from == peer(2) {
                        NodeState::Left
                    } else {
                        NodeState::Dead
                    };
                    assert_eq!(
                        (after.state, after.incarnation),
                        (due, incarnation),
                        "{case}"
                    );
                    assert_eq!(events, [Output::Gone(after)], "{case}");
                    assert_eq!(queued, 1, "{case}");
                } else {
                    assert_eq!(after, before, "{case}");
                    assert_eq!((events, queued), (vec![], 0), "{case}");
                }
            }
        }
    }
}

#[test]
fn suspect_and_dead_about_the_unknown_are_ignored() {
    let mut script = Script::new();
    script.hear(3, &[suspect(peer(2), 1, 3), dead(peer(2), 1, peer(2))]);
    assert_eq!(script.swim.node_count(), 1);
    assert_eq!(script.take_events(), []);
}

/// Makes a script whose local node has incarnation 3.
fn with_own_incarnation_3() -> Script {
    let mut script = Script::new();
    script.meet([2]);
    script.hear(2, &[suspect(name("local"), 2, 2)]);
    assert_eq!(script.swim.local().incarnation, 3);
    assert_eq!(script.swim.health_score(), 1);
    script.outputs.clear();
    script
}

#[test]
fn claims_about_self_are_refuted() {
    for incarnation in 2..=5 {
        let mut own = alive(1, incarnation);
        own.node = name("local");
        own.meta = Some(b"own".as_slice().into());
        let mut other_meta = own.clone();
        other_meta.meta = None;
        let mut other_versions = own.clone();
        other_versions.versions = VersionVector::serf(4);
        for (message, refuted_from) in [
            (Message::Alive(own), 4),
            (Message::Alive(other_meta), 3),
            (Message::Alive(other_versions), 3),
            (suspect(name("local"), incarnation, 2), 3),
            (dead(name("local"), incarnation, peer(2)), 3),
            (dead(name("local"), incarnation, name("local")), 3),
        ] {
            let mut script = with_own_incarnation_3();
            script.hear(2, std::slice::from_ref(&message));
            let local = script.swim.local();
            assert_eq!(local.state, NodeState::Alive);
            let refuted = incarnation >= refuted_from;
            let due = if refuted { incarnation.max(3) + 1 } else { 3 };
            assert_eq!(local.incarnation, due, "{message:?}");
            assert_eq!(script.swim.health_score(), 1 + u32::from(refuted));
            assert_eq!(script.take_events(), [], "{message:?}");
            if refuted {
                let (_, news) = script.run_until_sent(|message| {
                    matches!(message, Message::Alive(alive) if alive.node == name("local"))
                });
                let Message::Alive(news) = news else { panic!() };
                assert_eq!(news.incarnation, due);
                assert_eq!(news.meta.as_deref(), Some(&b"own"[..]));
            }
        }
    }
}

#[test]
fn a_claim_with_the_highest_incarnation_does_not_wrap() {
    let mut script = Script::new();
    script.hear(2, &[suspect(name("local"), u32::MAX, 2)]);
    script.hear(2, &[suspect(name("local"), u32::MAX, 2)]);
    assert_eq!(script.swim.local().incarnation, u32::MAX);
    assert_eq!(script.swim.local().state, NodeState::Alive);
    assert_eq!(
        script.swim.membership_queue_len(),
        1,
        "one replaces the other"
    );
}

#[test]
fn another_address_for_the_own_name_is_a_conflict() {
    let mut script = Script::new();
    let mut message = alive(9, 1);
    message.node = name("local");
    script.hear(9, &[Message::Alive(message)]);
    let existing = script.swim.local().clone();
    assert_eq!(
        script.take_events(),
        [Output::Conflict {
            existing,
            other: addr(9),
            encounter: Encounter::Elsewhere,
        }]
    );
}

#[test]
fn what_cannot_be_is_refused_and_not_passed_on() {
    let addresses = [
        "0.0.0.0:7946",
        "224.0.0.1:7946",
        "255.255.255.255:7946",
        "127.0.0.1:7946",
        "[::]:7946",
        "[ff02::1]:7946",
        "[::1]:7946",
        "[::ffff:127.0.0.1]:7946",
        "192.0.2.9:0",
    ];
    let mut refused = Vec::new();
    for text in addresses {
        let mut message = alive(2, 1);
        message.addr = text.parse().unwrap();
        refused.push(message);
    }
    let mut foreign = alive(2, 1);
    foreign.versions.delegate_min = 0;
    foreign.versions.delegate_max = 0;
    foreign.versions.delegate_current = 0;
    refused.push(foreign);
    for message in refused {
        let mut script = Script::new();
        let before = script.swim.membership_queue_len();
        script.swim.handle_alive(message.clone(), script.now);
        script.drain();
        assert_eq!(script.swim.node_count(), 1, "{message:?}");
        assert_eq!(script.swim.membership_queue_len(), before);
        assert_eq!(script.swim.counters().dropped_refused, 1);
        assert_eq!(script.take_events(), []);
    }
}

#[test]
fn an_old_node_without_a_port_has_ours() {
    let mut script = Script::new();
    let mut message = alive(2, 1);
    message.addr.set_port(0);
    message.versions.protocol_current = 1;
    script.swim.handle_alive(message, script.now);
    assert_eq!(script.swim.node(&peer(2)).unwrap().addr, addr(2));
}

#[test]
fn loopback_is_fine_between_nodes_on_loopback() {
    let mut local = local_node("local", 1);
    local.addr = "127.0.0.1:7946".parse().unwrap();
    let now = Instant::ORIGIN;
    let mut swim = Swim::new(Config::local(), local, plain_envelope(), Rng::new(1), now);
    let mut message = alive(2, 1);
    message.addr = "127.0.0.1:7947".parse().unwrap();
    swim.handle_alive(message, now);
    assert_eq!(swim.node_count(), 2);
}

#[test]
fn the_table_is_bounded() {
    let mut config = Config::lan();
    config.nodes_max = 3;
    let mut script = Script::with(config);
    script.meet([2, 3, 4, 5]);
    assert_eq!(script.swim.node_count(), 3);
    assert_eq!(script.swim.counters().dropped_refused, 2);
    script.hear(2, &[Message::Alive(alive(2, 9))]);
    assert_eq!(script.swim.node(&peer(2)).unwrap().incarnation, 9);
}

#[test]
fn a_dead_name_comes_back_elsewhere_after_the_reclaim_time() {
    let mut config = Config::lan();
    config.dead_node_reclaim_time = Duration::from_secs(5);
    let mut script = Script::with(config);
    script.meet([2]);
    script.hear(3, &[dead(peer(2), 1, peer(3))]);
    script.outputs.clear();
    let mut back = alive(2, 1);
    back.addr = addr(22);
    script.run_for(Duration::from_secs(5));
    script.outputs.clear();
    script.hear(22, &[Message::Alive(back.clone())]);
    assert!(matches!(
        script.take_events()[..],
        [Output::Conflict { .. }]
    ));
    script.run_for(Duration::from_millis(1));
    script.hear(22, &[Message::Alive(back)]);
    assert!(matches!(script.take_events()[..], [Output::Joined(_)]));
    assert_eq!(script.swim.node(&peer(2)).unwrap().addr, addr(22));
}

#[test]
fn confirmations_hasten_the_end_of_a_suspect() {
    let mut script = Script::with(Config {
        probe_interval: Duration::from_secs(1_000),
        ..Config::lan()
    });
    script.meet([2, 3, 4, 5]);
    let minimum = Duration::from_secs(4_000);
    script.hear(3, &[suspect(peer(2), 1, 3)]);
    let (start, maximum) = (script.now, minimum * 6);
    assert_eq!(script.swim.suspicions.first().unwrap().0, start + maximum);
    script.hear(4, &[suspect(peer(2), 1, 4)]);
    script.hear(5, &[suspect(peer(2), 1, 5)]);
    assert_eq!(script.swim.suspicions.first().unwrap().0, start + minimum);
    script.outputs.clear();
    script.run_until(start + minimum);
    let gone = script.swim.node(&peer(2)).cloned();
    assert!(gone.is_none_or(|node| node.state == NodeState::Dead));
    assert!(
        script
            .take_events()
            .iter()
            .any(|event| matches!(event, Output::Gone(node) if node.name == peer(2)))
    );
}

#[test]
fn a_refuted_suspicion_does_not_end_a_later_one() {
    let mut script = Script::with(Config {
        probe_interval: Duration::from_secs(100),
        ..Config::lan()
    });
    script.meet([2]);
    script.hear(3, &[suspect(peer(2), 1, 3)]);
    let first = script.swim.suspicions.first().unwrap().0;
    script.run_until(first - Duration::from_secs(1));
    script.hear(2, &[Message::Alive(alive(2, 2))]);
    assert_eq!(script.state(2), NodeState::Alive);
    script.hear(3, &[suspect(peer(2), 2, 3)]);
    script.run_until(first + Duration::from_secs(1));
    assert_eq!(script.state(2), NodeState::Suspect);
}
