//! Broadcasts to the members at the time of queueing ([`Audience::Present`]).

use super::*;

const INTERVAL: Duration = Duration::from_millis(200);

/// Makes a node that does not probe and so declares no node dead by itself.
fn unprobed() -> Script {
    Script::with(Config {
        probe_interval: Duration::from_secs(1_000),
        ..Config::lan()
    })
}

fn fire(script: &mut Script, number: u8) {
    let message = vec![number; 20].into();
    let id = Some(BroadcastId(number.into()));
    let now = script.now;
    script
        .swim
        .broadcast(Priority::Third, Audience::Present, message, id, now);
    script.drain();
}

/// Takes the datagrams sent and returns the destinations of this event.
fn sent_to(script: &mut Script, number: u8) -> Vec<SocketAddr> {
    let is_it = |message: &Message| matches!(message, Message::User(b) if b[0] == number);
    let sent = script.take_datagrams().into_iter();
    let mut to: Vec<_> = sent
        .filter(|(_, messages)| messages.iter().any(is_it))
        .map(|(to, _)| to)
        .collect();
    to.sort_unstable();
    to.dedup();
    to
}

fn queued(script: &Script) -> usize {
    script.swim.queue_len(Priority::Third)
}

#[test]
fn a_broadcast_without_other_members_ends_at_once() {
    let mut script = unprobed();
    fire(&mut script, 1);
    assert_eq!(queued(&script), 0);
    let ended = Output::BroadcastFinished(BroadcastId(1));
    assert_eq!(script.take_events(), [ended]);
    script.hear(2, &[ping_from(2, 1), Message::Alive(alive(2, 1))]);
    script.run_for(Duration::from_secs(5));
    assert!(sent_to(&mut script, 1).is_empty());
    fire(&mut script, 2);
    script.run_for(Duration::from_secs(5));
    assert_eq!(sent_to(&mut script, 2), [addr(2)]);
    assert_eq!(queued(&script), 0);
}

#[test]
fn who_joins_while_it_is_queued_gets_none_of_it() {
    for peers in [3, 80] {
        let mut script = Script::new();
        script.meet(2..peers);
        script.swim.set_user_member_count(100);
        fire(&mut script, 1);
        script.hear(peers, &[Message::Alive(alive(peers, 1))]);
        // Responses to its pings do not carry it, whether the ping has a sender name or not.
        for source_node in [Some(peer(peers)), None] {
            let ping = Message::Ping(Ping {
                seq_no: 1,
                node: Some(name("local")),
                source: Some(addr(peers)),
                source_node,
                extension: Vec::new(),
            });
            script.hear(peers, &[ping]);
        }
        fire(&mut script, 2);
        script.run_for(Duration::from_secs(20));
        let datagrams = script.outputs.clone();
        assert!(!sent_to(&mut script, 1).contains(&addr(peers)), "{peers}");
        script.outputs = datagrams;
        assert!(peers > 3 || sent_to(&mut script, 2).contains(&addr(peers)));
        assert_eq!(queued(&script), 0);
    }
}

#[test]
fn a_node_that_left_and_returns_gets_no_earlier_broadcasts() {
    let mut script = Script::new();
    script.meet(2..=3);
    fire(&mut script, 1);
    script.hear(3, &[dead(peer(3), 1, peer(3))]);
    script.hear(3, &[Message::Alive(alive(3, 2))]);
    script.run_for(Duration::from_secs(5));
    assert_eq!(sent_to(&mut script, 1), [addr(2)]);
}

#[test]
fn a_failed_node_that_returns_gets_earlier_broadcasts_after_a_delay() {
    let mut script = unprobed();
    script.meet(2..=3);
    script.hear(2, &[dead(peer(3), 1, peer(2))]);
    fire(&mut script, 1);
    // Peer 2 already has it, so it is only queued for peer 3, and dead nodes get none.
    script.hear(2, &[Message::User(vec![1; 20])]);
    script.run_for(INTERVAL * 4);
    assert!(sent_to(&mut script, 1).is_empty());
    script.hear(3, &[Message::Alive(alive(3, 2))]);
    script.run_for(INTERVAL * 4);
    assert!(sent_to(&mut script, 1).is_empty());
    fire(&mut script, 2);
    script.run_for(INTERVAL);
    assert_eq!(
        sent_to(&mut script, 2),
        [addr(2), addr(3)],
        "new ones at once"
    );
    script.run_for(INTERVAL * 2);
    assert_eq!(sent_to(&mut script, 1), [addr(3)]);
}

#[test]
fn who_stays_dead_is_not_waited_for() {
    let mut script = unprobed();
    script.meet([2]);
    script.run_for(Duration::from_secs(10));
    script.hear(2, &[dead(peer(2), 1, name("n9"))]);
    fire(&mut script, 1);
    script.run_for(Duration::from_secs(25));
    assert_eq!(queued(&script), 1);
    script.run_for(Duration::from_secs(10));
    assert_eq!(queued(&script), 0);
    assert!(sent_to(&mut script, 1).is_empty());
    fire(&mut script, 2);
    assert_eq!(queued(&script), 0, "dead for too long to count as a member");
}

#[test]
fn what_came_from_the_only_peer_does_not_go_back() {
    let mut script = Script::new();
    script.meet([2]);
    script.hear(2, &[Message::User(vec![1; 20])]);
    fire(&mut script, 1);
    assert_eq!(queued(&script), 0);
    // This holds only while that datagram is being handled.
    script.hear(2, &[ping_from(2, 1)]);
    fire(&mut script, 1);
    assert_eq!(queued(&script), 1);
}
