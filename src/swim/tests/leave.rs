//! Graceful leave and changes of meta (gossip spec 4.13, 4.14).

use super::cluster::Cluster;
use super::*;

#[test]
fn a_leave_alone_is_over_at_once() {
    let mut script = Script::new();
    let now = script.now;
    script.swim.leave(Duration::from_secs(5), now);
    script.drain();
    let local = script.swim.local().clone();
    assert_eq!(local.state, NodeState::Left);
    assert_eq!(
        script.take_events(),
        [Output::Gone(local), Output::LeaveEnded { in_time: true }]
    );
    script.swim.leave(Duration::from_secs(5), now);
    script.drain();
    assert_eq!(script.take_events(), [Output::LeaveEnded { in_time: true }]);
}

#[test]
fn a_leave_ends_when_it_is_spread() {
    let mut script = Script::new();
    script.meet([2, 3]);
    let start = script.now;
    script.swim.leave(Duration::from_secs(5), start);
    script.drain();
    assert_eq!(script.take_events().len(), 1, "gone, but not yet through");
    let (_, announced) = script.run_until_sent(|m| matches!(m, Message::Dead(_)));
    assert_eq!(announced, dead(name("local"), 1, name("local")));
    assert_eq!(script.now, start, "news");
    script.run_for(Duration::from_secs(4));
    assert!(
        script
            .take_events()
            .contains(&Output::LeaveEnded { in_time: true })
    );
    assert!(!script.swim.announcements.leaving() || script.swim.announcements.deadline().is_none());
}

#[test]
fn after_a_leave_nothing_is_refuted_and_pings_are_answered() {
    let mut script = Script::new();
    script.meet([2]);
    let now = script.now;
    script.swim.leave(Duration::from_secs(5), now);
    script.drain();
    script.outputs.clear();
    let mut own = alive(1, 9);
    own.node = name("local");
    script.hear(
        2,
        &[
            Message::Alive(own),
            suspect(name("local"), 9, 2),
            dead(name("local"), 9, peer(2)),
            ping_from(2, 70),
        ],
    );
    assert_eq!(script.swim.local().state, NodeState::Left);
    assert_eq!(script.swim.local().incarnation, 1);
    let sent = script.take_datagrams();
    assert_eq!(sent[0].1[0], ack(70, None));
    assert_eq!(script.take_events(), []);
}

#[test]
fn a_leave_that_cannot_be_spread_ends_in_time() {
    let mut config = Config::lan();
    config.gossip_interval = Duration::ZERO;
    config.push_pull_interval = Duration::ZERO;
    config.probe_interval = Duration::from_secs(1_000);
    let mut script = Script::with(config);
    script.meet([2]);
    let start = script.now;
    script.swim.leave(Duration::from_secs(5), start);
    script.drain();
    script.take_events();
    script.run_for(Duration::from_secs(5) - Duration::from_nanos(1));
    assert_eq!(script.take_events(), []);
    script.run_for(Duration::from_nanos(1));
    assert_eq!(
        script.take_events(),
        [Output::LeaveEnded { in_time: false }]
    );
}

#[test]
fn new_meta_is_announced_and_waited_for() {
    let mut script = Script::new();
    script.meet([2]);
    let now = script.now;
    let meta: Arc<[u8]> = b"new".as_slice().into();
    script
        .swim
        .update_meta(meta.clone(), Duration::from_secs(5), now);
    script.drain();
    let local = script.swim.local().clone();
    assert_eq!((local.incarnation, &local.meta), (2, &meta));
    assert_eq!(script.take_events(), [Output::Updated(local)]);
    let (_, news) = script.run_until_sent(
        |message| matches!(message, Message::Alive(alive) if alive.node == name("local")),
    );
    let Message::Alive(news) = news else { panic!() };
    assert_eq!((news.incarnation, news.meta), (2, Some(meta)));
    script.run_for(Duration::from_secs(4));
    assert!(
        script
            .take_events()
            .contains(&Output::MetaUpdated { in_time: true })
    );
}

#[test]
fn a_second_update_ends_the_first() {
    let mut script = Script::new();
    script.meet([2]);
    let now = script.now;
    for meta in [&b"a"[..], b"b"] {
        script
            .swim
            .update_meta(meta.into(), Duration::from_secs(5), now);
    }
    script.drain();
    let ended = |script: &mut Script| {
        let events = script.take_events();
        let ends = events
            .iter()
            .filter(|e| matches!(e, Output::MetaUpdated { in_time: true }));
        ends.count()
    };
    assert_eq!(ended(&mut script), 1);
    script.run_for(Duration::from_secs(4));
    assert_eq!(ended(&mut script), 1);
}

#[test]
fn alone_new_meta_needs_nobody() {
    let mut script = Script::new();
    let now = script.now;
    script
        .swim
        .update_meta(b"own".as_slice().into(), Duration::from_secs(5), now);
    script.drain();
    assert_eq!(
        script.take_events(),
        [Output::MetaUpdated { in_time: true }]
    );
}

#[test]
fn all_learn_of_a_leave_and_of_the_return() {
    let config = Config::lan();
    let mut cluster = Cluster::joined(5, &config, 9);
    let now = cluster.now;
    cluster.nodes[4].leave(Duration::from_secs(5), now);
    cluster.flush(4);
    cluster.run_while(Duration::from_secs(5), |cluster| {
        let left = |state: &Option<NodeState>| *state == Some(NodeState::Left);
        !cluster.states_of(5).iter().all(left)
            || !cluster.events[4].contains(&Output::LeaveEnded { in_time: true })
    });
    // It restarts with incarnation 1; the others know a higher one, so it refutes.
    let now = cluster.now;
    cluster.nodes[4] = Swim::new(
        config,
        local_node("n5", 5),
        plain_envelope(),
        Rng::new(8),
        now,
    );
    cluster.nodes[4].join(addr(2), now);
    cluster.flush(4);
    cluster.run_while(Duration::from_secs(5), |cluster| {
        let alive = |state: &Option<NodeState>| *state == Some(NodeState::Alive);
        !cluster.states_of(5).iter().all(alive)
    });
    assert_eq!(cluster.nodes[4].local().incarnation, 2);
    assert_eq!(cluster.nodes[0].node(&peer(5)).unwrap().incarnation, 2);
}
