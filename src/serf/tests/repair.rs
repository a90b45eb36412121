//! Repair of missed user events: digests in acks, summaries in pings, exchanges.

use super::harness::{Net, addr, config};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::event_digest::{EventDigest, EventSummary};
use crate::wire::serf::{SerfMessage, SerfPushPull, UserEventMessage};
use crate::wire::{Ack, Envelope, Message, NonceSource, Ping};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn envelope() -> Envelope {
    Envelope::plain(NonceSource::new([1; 32]))
}

/// Makes n1, which knows n2; the test plays n2.
fn lone() -> Net {
    lone_with(|_| {})
}

fn lone_with(adjust: impl FnOnce(&mut Config)) -> Net {
    let mut net = Net::new(0);
    let mut alone = config(1);
    // No node answers probes, so turn off whatever would detect that.
    alone.swim.probe_interval = Duration::ZERO;
    alone.swim.push_pull_interval = Duration::ZERO;
    adjust(&mut alone);
    net.add(alone);
    net.add(config(2));
    net.join(2, 1);
    net.run_for(SECOND * 20);
    net.remove(2);
    net
}

fn name(n: u16) -> NodeName {
    NodeName::new(format!("n{n}").as_bytes()).unwrap()
}

/// Sends n1 a datagram from n2; returns what n1 sends in response.
fn as_n2(net: &mut Net, message: &Message) -> Vec<Message> {
    let bytes = envelope().seal_datagram(&[message.encode()], false);
    let (now, from) = (net.now, addr(2));
    let host = net.host(1);
    host.serf.handle_input(
        Input::Datagram {
            from,
            bytes: &bytes,
        },
        now,
    );
    sent_by_n1(net)
}

fn sent_by_n1(net: &mut Net) -> Vec<Message> {
    let mut sent = Vec::new();
    while let Some(output) = net.host(1).serf.poll_output() {
        if let Output::Transmit(Transmit::Datagram { bytes, .. }) = output {
            let packet = envelope().open_datagram(&bytes).unwrap();
            sent.extend(packet.messages.into_iter().map(Result::unwrap));
        }
    }
    sent
}

/// Fires n1's timers for a time; returns the messages that it sends.
fn run_n1(net: &mut Net, time: Duration) -> Vec<Message> {
    let end = net.now + time;
    let mut sent = Vec::new();
    while let Some(due) = net.serf(1).poll_timeout().filter(|due| *due <= end) {
        net.now = net.now.max(due);
        let now = net.now;
        net.host(1).serf.handle_input(Input::Timeout, now);
        sent.extend(sent_by_n1(net));
    }
    net.now = end;
    sent
}

fn ping(extension: Vec<u8>) -> Message {
    Message::Ping(Ping {
        seq_no: 77,
        node: Some(name(1)),
        source: Some(addr(2)),
        source_node: Some(name(2)),
        extension,
    })
}

fn summary(first: u32, marks: &[u8], is_answer: bool) -> Message {
    let summary = EventSummary {
        is_answer,
        salt: 5,
        first,
        marks: marks.to_vec(),
    };
    ping(summary.encode())
}

fn ack_payload(sent: &[Message]) -> Vec<u8> {
    let mut payloads = sent.iter().filter_map(|message| match message {
        Message::Ack(Ack { payload, .. }) => payload.clone(),
        _ => None,
    });
    payloads.next_back().unwrap_or_default()
}

fn summaries(sent: &[Message]) -> Vec<EventSummary> {
    let extensions = sent.iter().filter_map(|message| match message {
        Message::Ping(ping) if !ping.extension.is_empty() => Some(&ping.extension),
        _ => None,
    });
    extensions
        .map(|extension| EventSummary::decode(extension).unwrap())
        .collect()
}

fn user_events(sent: &[Message]) -> Vec<UserEventMessage> {
    let messages = sent.iter().filter_map(|message| match message {
        Message::User(bytes) => SerfMessage::decode(bytes).ok(),
        _ => None,
    });
    messages
        .filter_map(|message| match message {
            SerfMessage::UserEvent(event) => Some(event),
            _ => None,
        })
        .collect()
}

fn event(ltime: u64, name: &str) -> SerfMessage {
    SerfMessage::UserEvent(UserEventMessage {
        ltime: LamportTime(ltime),
        name: name.into(),
        payload: None,
        coalesce: true,
    })
}

fn hear(net: &mut Net, ltime: u64, name: &str) {
    let mut bytes = vec![8];
    bytes.extend(event(ltime, name).encode());
    let (now, from) = (net.now, addr(2));
    let input = Input::Datagram {
        from,
        bytes: &bytes,
    };
    net.host(1).serf.handle_input(input, now);
    sent_by_n1(net);
}

#[test]
fn acks_carry_a_digest_for_a_minute_after_an_event() {
    let mut net = lone();
    let idle = ack_payload(&as_n2(&mut net, &ping(Vec::new())));
    hear(&mut net, 5, "a");
    net.now += MILLI * 100;
    let fresh = ack_payload(&as_n2(&mut net, &ping(Vec::new())));
    assert_eq!(fresh.len(), idle.len() + 12);
    assert_eq!(fresh[..idle.len()], idle);
    let upto = |payload: &[u8]| payload[idle.len() + 1..][..4].to_vec();
    assert_eq!(
        upto(&fresh),
        [0, 0, 0, 0],
        "the event may be on its way to others"
    );
    net.now += MILLI * 600;
    let later = ack_payload(&as_n2(&mut net, &ping(Vec::new())));
    assert_eq!(upto(&later), [0, 0, 0, 5]);
    net.now += SECOND * 59;
    net.now += MILLI * 200;
    assert_eq!(ack_payload(&as_n2(&mut net, &ping(Vec::new()))), later);
    net.now += SECOND;
    assert_eq!(ack_payload(&as_n2(&mut net, &ping(Vec::new()))), idle);
    // A node that sends summaries always gets the digest.
    let compared = ack_payload(&as_n2(&mut net, &summary(1, &[], false)));
    assert_eq!(compared, later);
}

#[test]
fn probes_carry_a_digest_for_a_minute_after_an_event() {
    let digests = |sent: &[Message]| -> Vec<bool> {
        let pings = sent.iter().filter_map(|message| match message {
            Message::Ping(ping) => Some(EventDigest::decode_of_ping(&ping.extension).is_some()),
            _ => None,
        });
        pings.collect()
    };
    let mut net = lone_with(|config| config.swim.probe_interval = SECOND);
    assert_eq!(digests(&run_n1(&mut net, SECOND)), [false]);
    hear(&mut net, 3, "a");
    assert!(digests(&run_n1(&mut net, SECOND * 2)).contains(&true));
}

#[test]
fn who_may_lack_an_event_goes_after_it_for_two_seconds() {
    let mut net = lone();
    hear(&mut net, 3, "a");
    run_n1(&mut net, SECOND * 10);
    let differs = EventDigest {
        upto: 4,
        digest: [9; 7],
    };
    let sent = as_n2(&mut net, &ping(differs.encode_for_ping()));
    assert_eq!(summaries(&sent).len(), 1, "it compares at once");
    let chase = summaries(&run_n1(&mut net, SECOND * 2));
    assert!((15..=20).contains(&chase.len()), "{}", chase.len());
    for summary in &chase {
        // Up to the time in n2's digest, although n1 knows no event that late.
        assert_eq!((summary.first, summary.marks.len()), (0, 5));
    }
    assert!(summaries(&run_n1(&mut net, SECOND * 10)).is_empty());
}

#[test]
fn without_coordinates_only_who_compares_gets_a_digest() {
    let mut net = lone_with(|config| config.coordinates = false);
    hear(&mut net, 5, "a");
    net.now += SECOND;
    assert!(ack_payload(&as_n2(&mut net, &ping(Vec::new()))).is_empty());
    let digest = ack_payload(&as_n2(&mut net, &summary(1, &[], false)));
    assert_eq!((digest.len(), digest[0]), (12, 0xc1));
}

#[test]
fn who_lacks_an_event_is_sent_just_that() {
    let mut net = lone();
    for (ltime, name) in [(5, "a"), (6, "b"), (7, "c")] {
        hear(&mut net, ltime, name);
    }
    net.now += SECOND;
    let mine = summaries(&as_n2(&mut net, &summary(5, &[0, 0, 9], false)));
    let [mine] = &mine[..] else {
        panic!("it asks for what 7 may be: {mine:?}")
    };
    assert!(mine.is_answer && mine.marks.iter().all(|mark| *mark != 0));
    assert_eq!((mine.first, mine.marks.len()), (5, 3));
    net.now += SECOND;
    // The summary of a node that has only event 6.
    let theirs = EventSummary {
        is_answer: false,
        salt: mine.salt,
        first: 5,
        marks: vec![0, mine.marks[1], mine.marks[2]],
    };
    let sent = as_n2(&mut net, &ping(theirs.encode()));
    let [sent_event] = &user_events(&sent)[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(sent_event.ltime, LamportTime(5));
    assert!(sent_event.coalesce, "as it was fired");
    assert_eq!(net.serf(1).counters().repair_events_sent, 1 + 3);
    // An immediate repetition is not answered again.
    let again = as_n2(&mut net, &ping(theirs.encode()));
    assert!(user_events(&again).is_empty());
}

#[test]
fn an_answer_is_not_answered_by_a_summary() {
    let mut net = lone();
    hear(&mut net, 5, "a");
    let sent = as_n2(&mut net, &summary(4, &[7, 0, 7], true));
    assert_eq!(user_events(&sent).len(), 1);
    assert!(summaries(&sent).is_empty());
}

#[test]
fn only_a_member_at_its_own_address_is_answered() {
    let mut net = lone();
    hear(&mut net, 5, "a");
    let bytes = envelope().seal_datagram(&[summary(5, &[0], false).encode()], false);
    let (now, from) = (net.now, addr(9));
    let input = Input::Datagram {
        from,
        bytes: &bytes,
    };
    net.host(1).serf.handle_input(input, now);
    let sent = sent_by_n1(&mut net);
    assert!(user_events(&sent).is_empty());
    assert!(!net.serf(1).is_known_cottar(&name(2)));
}

#[test]
fn a_node_compares_for_two_seconds_after_an_event() {
    let mut net = lone();
    assert!(summaries(&run_n1(&mut net, SECOND)).is_empty());
    hear(&mut net, 5, "a");
    let asked = summaries(&run_n1(&mut net, SECOND * 2 + MILLI * 300));
    assert!((6..=9).contains(&asked.len()), "{}", asked.len());
    assert!(asked.last().is_some_and(|last| last.first <= 5));
    assert!(
        asked[1..]
            .iter()
            .any(|summary| summary.marks.last() != Some(&0))
    );
    assert!(summaries(&run_n1(&mut net, SECOND * 20)).is_empty());
}

#[test]
fn two_that_agree_are_soon_silent() {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 30);
    let before = net.serf(1).counters().repair_pings;
    assert_eq!(before, 0, "nothing to compare without events");
    net.command(
        1,
        Command::UserEvent {
            name: b"deploy".to_vec(),
            payload: None,
            coalesce: false,
        },
    );
    net.run_for(SECOND * 5);
    for n in 1..=3 {
        let pings = net.serf(n).counters().repair_pings;
        assert!((1..=8).contains(&pings), "n{n}: {pings}");
        assert!(!net.serf(n).is_known_cottar(&name(n)));
    }
    let others = |n: u16| (1..=3).filter(move |other| *other != n);
    assert!((1..=3).all(|n| others(n).any(|other| net.serf(n).is_known_cottar(&name(other)))));
    let pings = net.serf(2).counters().repair_pings;
    net.run_for(SECOND * 120);
    assert_eq!(net.serf(2).counters().repair_pings, pings);
}

#[test]
fn a_gap_is_looked_for_at_three_members_and_given_up() {
    let mut net = Net::joined(5);
    net.run_for(SECOND * 10);
    let exchanges = |net: &Net| net.serf(1).counters().repair_exchanges_for_gaps;
    hear(&mut net, 5, "a");
    hear(&mut net, 7, "c");
    net.run_for(MILLI * 500);
    assert_eq!(exchanges(&net), 0, "it may be on its way");
    net.run_for(SECOND * 60);
    // The other members soon turn out to run cottar and need not be asked.
    assert!(exchanges(&net) <= 3, "{}", exchanges(&net));
    let (at, spent) = (net.now, exchanges(&net));
    net.run_for(SECOND * 60);
    assert_eq!(exchanges(&net), spent, "after {at:?}");
}

#[test]
fn a_node_that_compares_nothing_is_watched_while_datagrams_are_lost() {
    for (first_is_lost, expected) in [(false, 0), (true, 1)] {
        let mut net = lone_with(|config| config.swim.probe_interval = SECOND * 3_600);
        let exchanges = |net: &Net| net.serf(1).counters().repair_exchanges_for_losses;
        let mut answers = !first_is_lost;
        for number in 1..20 {
            hear(&mut net, number, "a");
            for message in run_n1(&mut net, MILLI * 250) {
                // n2 knows no digests. After this ack it gets no further ping outside the probe cycle.
                if let (Message::Ping(Ping { seq_no, .. }), true) = (message, answers) {
                    let payload = None;
                    as_n2(&mut net, &Message::Ack(Ack { seq_no, payload }));
                }
            }
            if number == 5 {
                assert_eq!(exchanges(&net), 0, "nothing is lost, or n2 is dead");
                answers = true;
            }
        }
        assert_eq!(exchanges(&net), expected);
        // Nobody accepts the stream, so that the exchange lasts until its timeout.
        run_n1(&mut net, SECOND * 60);
        assert_eq!(exchanges(&net), expected, "no event, no exchange");
        assert!(net.serf(1).repair_deadline().is_none());
    }
}

#[test]
fn more_members_are_asked_when_the_clock_has_jumped() {
    let mut net = Net::joined(5);
    net.run_for(SECOND * 10);
    let jump = |net: &mut Net, to: u64| {
        let state = SerfPushPull {
            event_ltime: LamportTime(to),
            ..SerfPushPull::default()
        };
        let now = net.now;
        let serf = &mut net.host(1).serf;
        serf.handle_user_state(&state.encode(), None, false, now);
        net.input(1, Input::Timeout);
    };
    let exchanges = |net: &Net| net.serf(1).counters().repair_exchanges_for_jumps;
    jump(&mut net, 250);
    net.run_for(SECOND * 10);
    assert_eq!(exchanges(&net), 0);
    jump(&mut net, 600);
    net.run_for(MILLI * 900);
    assert_eq!(exchanges(&net), 1);
    net.run_for(SECOND * 30);
    assert_eq!(exchanges(&net), 3);
    // A peer that lies about its clock repeatedly causes fewer and fewer exchanges.
    for lie in 1..=120u64 {
        jump(&mut net, 600 + 1_000 * lie);
        net.run_for(SECOND);
    }
    assert!(exchanges(&net) <= 12, "{}", exchanges(&net));
}

#[test]
fn a_loop_that_was_held_up_forgets_all_that_nobody_can_be_asked_for() {
    let mut net = Net::new(1);
    let now = net.now;
    let state = SerfPushPull {
        event_ltime: LamportTime(1_000),
        ..SerfPushPull::default()
    };
    let serf = &mut net.host(1).serf;
    serf.handle_user_state(&state.encode(), None, false, now);
    for ltime in [1_001, 1_005] {
        net.gossip_to(1, &event(ltime, "e"));
    }
    let late = net.now + SECOND * 10;
    let serf = &mut net.host(1).serf;
    // Both the jump of the clock and the gap are long overdue.
    assert!(serf.poll_timeout().is_some_and(|due| due < late));
    serf.handle_input(Input::Timeout, late);
    assert!(serf.poll_timeout().is_none_or(|due| due > late));
    assert_eq!(serf.counters().repair_exchanges(), 0);
}
