//! Immediate broadcasts, gossip ticks, and long queues (gossip spec 4.11).

use super::cluster::Cluster;
use super::*;

/// Makes an event of the size that a short name and a short payload have.
fn event(number: u32) -> Vec<u8> {
    let mut bytes = vec![3; 70];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn is_event(message: &Message) -> bool {
    matches!(message, Message::User(_))
}

fn broadcast(script: &mut Script, number: u32, id: Option<u64>) {
    let id = id.map(BroadcastId);
    let now = script.now;
    script.swim.broadcast(
        Priority::Third,
        Audience::Present,
        event(number).into(),
        id,
        now,
    );
    script.drain();
}

/// Makes a node that has long known nine others.
fn one_of_ten() -> Script {
    let mut script = Script::new();
    script.meet(2..=10);
    script.swim.set_user_member_count(10);
    script.run_for(Duration::from_secs(3));
    script
}

/// Handles the next timeout too late.
fn be_late(script: &mut Script) {
    let due = script.swim.poll_timeout().unwrap();
    script.now = script.now.max(due + Duration::from_millis(26));
    script.swim.handle_timeout(script.now);
    script.drain();
}

#[test]
fn news_go_out_in_their_turn_and_the_rest_at_ticks() {
    // No probes, because their packets carry broadcasts.
    let mut script = Script::with(Config {
        probe_interval: Duration::from_secs(1_000),
        ..Config::lan()
    });
    script.meet(2..=10);
    script.swim.set_user_member_count(10);
    while script.swim.membership_queue_len() > 0 {
        script.run_for(Duration::from_millis(200));
    }
    script.take_events();
    broadcast(&mut script, 1, Some(7));
    assert_eq!(script.swim.poll_timeout(), Some(script.now));
    let start = script.now;
    script.run_until(start);
    let first: Vec<SocketAddr> = script.take_datagrams().iter().map(|d| d.0).collect();
    assert_eq!(first.len(), 3);
    let mut targets = first;
    script.run_for(Duration::from_millis(10));
    targets.extend(script.take_datagrams().iter().map(|d| d.0));
    assert_eq!(targets.len(), 6, "three quarters of eight are early");
    let mut ticks = 0;
    while script.swim.queue_len(Priority::Third) > 0 {
        ticks += 1;
        assert!(script.swim.poll_timeout().unwrap() > script.now);
        script.run_until(script.swim.poll_timeout().unwrap());
        let sent = script.take_datagrams().into_iter();
        targets.extend(sent.filter(|d| d.1.iter().any(is_event)).map(|d| d.0));
    }
    // The limit for ten members is 8: eight of the nine others got it, none twice.
    assert_eq!(targets.len(), 8);
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), 8);
    assert_eq!(ticks, 1, "the rest comes in a tick");
    assert!(script.now.since(start) <= Duration::from_millis(200));
    assert!(
        script
            .take_events()
            .contains(&Output::BroadcastFinished(BroadcastId(7)))
    );
}

#[test]
fn a_node_that_is_behind_sends_at_ticks_only() {
    let mut script = one_of_ten();
    script.take_datagrams();
    let sent_at_once = |script: &mut Script, number| {
        broadcast(script, number, None);
        script.run_until(script.now);
        let sent = script.take_datagrams();
        sent.iter().any(|d| d.1.iter().any(is_event))
    };
    assert!(sent_at_once(&mut script, 1));
    script.run_for(Duration::from_secs(1));
    script.take_datagrams();
    // A probe tick.
    be_late(&mut script);
    script.run_for(Duration::from_millis(1));
    script.take_datagrams();
    assert!(!sent_at_once(&mut script, 2));
    script.run_for(Duration::from_millis(199));
    let sent = script.take_datagrams();
    let with_event = sent.iter().filter(|d| d.1.iter().any(is_event));
    assert_eq!(with_event.count(), 3, "at the tick");
    // It is in time again.
    script.run_for(Duration::from_millis(400));
    assert!(sent_at_once(&mut script, 3));
}

#[test]
fn a_node_that_stays_behind_gossips_to_one_target() {
    let mut script = one_of_ten();
    let mut number = 0;
    let mut targets = |script: &mut Script| {
        number += 1;
        broadcast(script, number, None);
        loop {
            script.take_datagrams();
            be_late(script);
            let sent = script.take_datagrams();
            match sent.iter().filter(|d| d.1.iter().any(is_event)).count() {
                0 => {}
                count => return count,
            }
        }
    };
    be_late(&mut script);
    assert_eq!(targets(&mut script), 3);
    let begin = script.now;
    while script.now.since(begin) < Duration::from_secs(31) {
        be_late(&mut script);
    }
    assert_eq!(targets(&mut script), 1);
}

#[test]
fn news_are_bounded_in_rate() {
    let mut script = one_of_ten();
    script.take_events();
    let mut rounds = 0;
    let start = script.now;
    for number in 0..500 {
        script.run_until(start + Duration::from_micros(number));
        broadcast(&mut script, number as u32, None);
        script.run_until(script.now);
        rounds += usize::from(!script.take_datagrams().is_empty());
    }
    assert_eq!(rounds, 4, "then the bucket is empty");
}

#[test]
fn alone_nothing_is_sent_and_no_timer_runs() {
    let mut script = Script::new();
    let (now, message) = (script.now, event(1).into());
    script
        .swim
        .broadcast(Priority::Third, Audience::All, message, None, now);
    script.drain();
    assert_eq!(script.swim.poll_timeout(), None);
    assert_eq!(script.swim.queue_len(Priority::Third), 1);
    // The response to a stranger's ping carries it, together with the own alive message.
    script.hear(2, &[ping_from(2, 1)]);
    let sent = script.take_datagrams();
    assert_eq!(sent[0].1.len(), 3);
    // Gossip starts as soon as there is a first other member.
    script.meet([2]);
    assert_eq!(script.swim.poll_timeout(), Some(script.now));
}

#[test]
fn what_fits_into_no_packet_is_not_queued() {
    let mut script = Script::new();
    script.meet([2]);
    let budget = script.swim.envelope.packet_budget_bytes();
    for (bytes, taken) in [(budget - 3, 1), (budget - 2, 0)] {
        let now = script.now;
        let message = vec![1; bytes].into();
        script.swim.broadcast(
            Priority::Second,
            Audience::All,
            message,
            Some(BroadcastId(9)),
            now,
        );
        script.drain();
        assert_eq!(script.swim.queue_len(Priority::Second), taken);
        let finished = script
            .take_events()
            .contains(&Output::BroadcastFinished(BroadcastId(9)));
        assert_eq!(finished, taken == 0);
        script.swim.prune_queue(Priority::Second, 0);
        script.drain();
        script.outputs.clear();
    }
}

#[test]
fn packets_carry_membership_then_intents_queries_events() {
    let mut script = Script::new();
    script.meet([2]);
    let now = script.now;
    for (queue, byte) in [
        (Priority::Third, 3),
        (Priority::Second, 2),
        (Priority::First, 1),
    ] {
        script
            .swim
            .broadcast(queue, Audience::All, vec![byte; 9].into(), None, now);
    }
    script.run_until(now);
    let sent = script.take_datagrams();
    let kinds: Vec<u8> = sent[0]
        .1
        .iter()
        .map(|message| match message {
            Message::User(bytes) => bytes[0],
            _ => 0,
        })
        .collect();
    assert_eq!(kinds, [0, 0, 1, 2, 3]);
}

#[test]
fn checksums_go_to_those_who_know_them_and_only_with_gossip() {
    let wrapped = |script: &mut Script| -> Vec<bool> {
        let sent = script.outputs.iter().filter_map(|output| match output {
            Output::Transmit(Transmit::Datagram { bytes, .. }) => {
                Some(bytes[0] == crate::wire::membership::message_type::CHECKSUM)
            }
            _ => None,
        });
        sent.collect()
    };
    for (protocol_max, due) in [(4, false), (5, true)] {
        let mut script = Script::new();
        let mut message = alive(2, 1);
        message.versions.protocol_max = protocol_max;
        script.hear(2, &[Message::Alive(message)]);
        script.outputs.clear();
        script.run_until(script.now);
        assert_eq!(wrapped(&mut script), [due]);
        script.outputs.clear();
        script.hear(2, &[ping_from(2, 9)]);
        script.swim.send_user_message(addr(2), b"\x05direct");
        script.drain();
        assert_eq!(wrapped(&mut script), [false, false]);
    }
}

#[test]
fn an_event_reaches_ten_nodes_at_once() {
    for seed in 0..60 {
        let mut cluster = Cluster::joined(10, &Config::lan(), seed);
        for node in &mut cluster.nodes {
            node.set_user_member_count(10);
        }
        cluster.run_for(Duration::from_secs(5));
        cluster.fire(3, event(1));
        let start = cluster.now;
        cluster.run_while(Duration::from_secs(1), |cluster| {
            cluster.heard.iter().any(|heard| heard.is_empty())
        });
        // The first copies take one or two hops; the second round reaches the nodes that they miss.
        let took = cluster.now.since(start);
        assert!(took <= Duration::from_millis(20), "{took:?}");
    }
}

/// Fires events at one node of ten; returns how long each took to reach all nodes.
fn flood(per_second: u32, seconds: u32, loss: f64) -> Vec<Duration> {
    let mut cluster = Cluster::joined(10, &Config::lan(), 11);
    cluster.loss = loss;
    for node in &mut cluster.nodes {
        node.set_user_member_count(10);
    }
    let mut fired = Vec::new();
    for number in 0..per_second * seconds {
        fired.push(cluster.now);
        cluster.fire(0, event(number));
        cluster.run_for(Duration::from_secs(1) / per_second);
    }
    cluster.run_for(Duration::from_secs(2));
    let queued: usize = cluster
        .nodes
        .iter()
        .map(|n| n.queue_len(Priority::Third))
        .sum();
    assert_eq!(queued, 0);
    let mut took = Vec::new();
    let mut copies = 0;
    for (number, start) in fired.into_iter().enumerate() {
        let arrivals = cluster.heard.iter().map(|heard| {
            let &(count, at) = heard.get(&event(number as u32)).expect("it arrived");
            copies += count;
            at.since(start)
        });
        took.push(arrivals.max().unwrap());
    }
    // One copy at the originator, and 8 transmissions by each of ten nodes.
    let each = f64::from(copies) / f64::from(per_second * seconds);
    assert!(each <= 81.0, "{each} copies of each");
    took
}

#[test]
fn two_thousand_events_a_second_reach_all() {
    let took = flood(2_000, 2, 0.0);
    let longest = took.iter().max().unwrap();
    // Receivers refuse an event after 512 later ones, which is after 256 ms at this rate.
    assert!(*longest < Duration::from_millis(128), "{longest:?}");
}

#[test]
fn lost_packets_cost_no_event() {
    let took = flood(1_000, 2, 0.05);
    let longest = took.iter().max().unwrap();
    assert!(*longest < Duration::from_millis(256), "{longest:?}");
}

/// Tells a node about a change of another one; returns the time and destination of each datagram that passes
/// it on.
pub(super) fn told(script: &mut Script, news: Alive) -> Vec<(Instant, SocketAddr)> {
    script.take_datagrams();
    let news = Message::Alive(news);
    script.hear(2, std::slice::from_ref(&news));
    let mut told = Vec::new();
    let end = script.now + Duration::from_secs(60);
    while let Some(due) = script.swim.poll_timeout().filter(|&due| due <= end) {
        script.run_until(due);
        let sent = script.take_datagrams().into_iter();
        let about = sent.filter(|datagram| datagram.1.contains(&news));
        told.extend(about.map(|datagram| (due, datagram.0)));
        script.outputs.clear();
    }
    told
}

/// As [`told`], among so many others.
fn told_among(others: u8, nodes_min: usize) -> Vec<(Instant, SocketAddr)> {
    let mut script = Script::with(Config {
        probe_interval: Duration::from_secs(1_000),
        membership_retransmit_nodes_min: nodes_min,
        ..Config::lan()
    });
    script.meet(2..others + 2);
    script.run_for(Duration::from_secs(60));
    told(&mut script, alive(2, 9))
}

#[test]
fn additional_transmissions_reach_nodes_that_gossip_missed() {
    for (others, nodes_min, due) in [
        // Limit 4: each of the three gets it, one of them twice.
        (3, 1_000, 4),
        // Up to 12 transmissions more, if there are enough nodes that were not sent it.
        (6, 0, 4),
        (6, 1_000, 6),
        (8, 1_000, 8),
        // Limit 8.
        (30, 0, 8),
        (30, 100, 12),
        (30, 1_000, 16),
    ] {
        let told = told_among(others, nodes_min);
        let mut targets: Vec<SocketAddr> = told.iter().map(|&(_, to)| to).collect();
        assert_eq!(targets.len(), due, "{others} others, {nodes_min} nodes");
        // Three at once, then three per tick; no additional rounds in between.
        let first = told[0].0;
        let at_once = told.iter().filter(|&&(at, _)| at == first).count();
        assert_eq!(at_once, 3);
        for window in told.windows(4).skip(1) {
            let took = window[3].0.since(window[0].0);
            assert!(
                took >= Duration::from_millis(200) || window[0].0 == first,
                "{told:?}"
            );
        }
        targets.sort_unstable();
        targets.dedup();
        assert_eq!(targets.len(), due.min(others.into()), "nobody twice");
    }
}

#[test]
fn a_leave_does_not_wait_for_additional_transmissions() {
    let ends = |nodes_min| {
        let mut script = Script::with(Config {
            membership_retransmit_nodes_min: nodes_min,
            ..Config::lan()
        });
        script.meet(2..=30);
        script.run_for(Duration::from_secs(60));
        script.take_events();
        let (now, timeout) = (script.now, Duration::from_secs(60));
        script.swim.leave(timeout, now);
        script.drain();
        let mut after = Duration::ZERO;
        while !script
            .take_events()
            .contains(&Output::LeaveEnded { in_time: true })
        {
            script.run_for(Duration::from_millis(10));
            after = script.now.since(now);
            assert!(after < Duration::from_secs(5));
        }
        after
    };
    assert!(ends(1_000) <= ends(0) + Duration::from_millis(200));
}
