//! Clusters of a few nodes: joins, events, tags, leaves.

use super::harness::{Net, config, target};
use crate::serf::*;
use crate::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn fire(name: &str, payload: &str) -> Command {
    Command::UserEvent {
        name: name.into(),
        payload: Some(payload.into()),
        coalesce: false,
    }
}

#[test]
fn nodes_join_and_see_each_other() {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 2);
    for n in 1..=3 {
        let joined: Vec<_> = net.host(n).take_member_events();
        let names: Vec<_> = joined
            .iter()
            .flat_map(|line| line.split([' ', ',']))
            .collect();
        for name in ["n1", "n2", "n3"] {
            assert_eq!(
                names.iter().filter(|n| **n == name).count(),
                1,
                "{joined:?}"
            );
        }
        let records = net.serf(n).members.iter();
        let times: Vec<_> = records.map(|record| record.status_ltime.0).collect();
        // n1 never joined a node; the join intents of the others have reached all nodes.
        assert!(times[0] == 0 && times[1] > 0 && times[2] > 0, "{times:?}");
    }
}

#[test]
fn a_join_tries_every_address_and_counts() {
    let mut net = Net::new(3);
    let join = Command::Join {
        targets: vec![target(2), target(9), target(3)],
        ignore_old_events: false,
        announce: true,
    };
    let (result, _) = net.command_to_end(1, join);
    let CommandResult::Joined {
        contacted,
        failures,
    } = result
    else {
        panic!("{result:?}");
    };
    assert_eq!(contacted, 2);
    let failed: Vec<_> = failures.iter().map(|(target, _)| target.clone()).collect();
    assert_eq!(failed, [target(9)]);
    assert!(failures[0].1.contains("refused"), "{failures:?}");
    assert_eq!(net.alive_in(1), 3);
    let nobody = Command::Join {
        targets: Vec::new(),
        ignore_old_events: false,
        announce: true,
    };
    let failures = Vec::new();
    let expected = CommandResult::Joined {
        contacted: 0,
        failures,
    };
    assert_eq!(net.command_now(1, nobody), expected);
}

#[test]
fn a_silent_join_spreads_no_intent() {
    let mut net = Net::new(2);
    let join = Command::Join {
        targets: vec![target(2)],
        ignore_old_events: false,
        announce: false,
    };
    net.command_to_end(1, join);
    assert_eq!(net.serf(1).stats().member_time, 1);
    assert_eq!(net.serf(1).stats().intent_queue, 0);
}

#[test]
fn a_user_event_reaches_everybody_once() {
    let mut net = Net::joined(4);
    net.command(2, fire("deploy", "v1"));
    net.run_for(SECOND * 3);
    for n in 1..=4 {
        let got = net.host(n).take_user_events();
        assert_eq!(got, [("deploy".into(), "v1".into(), 1)], "n{n}");
        assert_eq!(net.serf(n).stats().event_time, 2);
    }
    net.run_for(SECOND * 60);
    for n in 1..=4 {
        assert!(net.host(n).take_user_events().is_empty());
    }
}

#[test]
fn a_joiner_may_have_the_past_or_not() {
    for (ignore_old_events, expected) in [(false, 1), (true, 0)] {
        let mut net = Net::new(2);
        net.command(1, fire("past", ""));
        let join = Command::Join {
            targets: vec![target(1)],
            ignore_old_events,
            announce: true,
        };
        net.command_to_end(2, join);
        assert_eq!(net.host(2).take_user_events().len(), expected);
        net.command(1, fire("present", ""));
        net.run_for(SECOND * 3);
        assert_eq!(net.host(2).take_user_events().len(), 1);
        // Later exchanges do not deliver it again.
        net.run_for(SECOND * 120);
        assert!(net.host(2).take_user_events().is_empty());
    }
}

#[test]
fn tags_travel() {
    let mut net = Net::joined(2);
    net.run_for(SECOND * 2);
    net.host(1).take_member_events();
    net.host(2).take_member_events();
    let mut tags = Tags::new();
    tags.set(b"role", b"db");
    let (result, took) = net.command_to_end(1, Command::SetTags(tags.clone()));
    assert_eq!(result, CommandResult::Done);
    assert!(took < SECOND * 5, "{took:?}");
    net.run_for(SECOND * 2);
    for n in 1..=2 {
        assert_eq!(net.serf(n).member(b"n1").unwrap().tags(), tags, "n{n}");
        assert_eq!(net.host(n).take_member_events(), ["member-update n1"]);
    }
    tags.set(b"long", &[b'x'; 600]);
    let result = net.command_now(1, Command::SetTags(tags));
    let text = "Encoded length of tags exceeds limit of 512 bytes".to_owned();
    assert_eq!(result, CommandResult::Failed(text));
    assert_eq!(net.serf(1).tags().get(b"long"), None);
}

#[test]
fn tag_changes_in_a_row_all_end() {
    let mut net = Net::joined(2);
    let set = |value: &[u8]| {
        let mut tags = Tags::new();
        tags.set(b"v", value);
        Command::SetTags(tags)
    };
    let ids: Vec<_> = [b"1", b"2", b"3"].map(|v| net.command(1, set(v))).into();
    net.run_for(SECOND * 12);
    for id in ids {
        assert_eq!(net.host(1).results.remove(&id), Some(CommandResult::Done));
    }
    assert_eq!(
        net.serf(2).member(b"n1").unwrap().tags().get(b"v"),
        Some(&b"3"[..])
    );
}

#[test]
fn a_lonely_node_leaves_within_the_delay() {
    let mut net = Net::new(1);
    net.run_for(SECOND * 2);
    net.host(1).take_member_events();
    let id = net.command(1, Command::Leave);
    // The delay lets handlers start.
    assert_eq!(net.host(1).take_member_events(), ["member-leave n1"]);
    assert_eq!(net.host(1).results.get(&id), None);
    net.run_for(SECOND);
    assert_eq!(net.host(1).results[&id], CommandResult::Done);
    assert_eq!(net.serf(1).state(), State::Left);
    assert!(net.host(1).take_member_events().is_empty());
}

#[test]
fn a_leave_shows_as_left_and_is_final() {
    let mut net = Net::joined(3);
    net.run_for(SECOND * 2);
    (1..=3).for_each(|n| drop(net.host(n).take_member_events()));
    let first = net.command(2, Command::Leave);
    assert_eq!(net.serf(2).state(), State::Leaving);
    net.run_for(SECOND / 10);
    let second = net.command(2, Command::Leave);
    net.run_until("the leave ends", SECOND * 12, |net| {
        net.serf(2).state() == State::Left
    });
    for id in [first, second] {
        assert_eq!(net.host(2).results.remove(&id), Some(CommandResult::Done));
    }
    assert_eq!(net.command_now(2, Command::Leave), CommandResult::Done);
    assert_eq!(net.host(2).take_member_events(), ["member-leave n2"]);
    for n in 1..=3 {
        assert_eq!(net.status(n, 2), MemberStatus::Left, "n{n}");
    }
    let join = Command::Join {
        targets: vec![target(1)],
        ignore_old_events: false,
        announce: true,
    };
    let text = "Serf can't Join after Leave or Shutdown".to_owned();
    assert_eq!(net.command_now(2, join), CommandResult::Failed(text));
    net.remove(2);
    net.run_for(SECOND * 3);
    for n in [1, 3] {
        assert_eq!(net.host(n).take_member_events(), ["member-leave n2"]);
    }
    // It may come back, as a new run of the program.
    net.add(config(2));
    net.join(2, 1);
    net.run_for(SECOND * 5);
    for n in 1..=3 {
        assert_eq!(net.alive_in(n), 3, "n{n}");
    }
}

#[test]
fn what_gossip_misses_comes_by_push_pull() {
    const NODES: u16 = 30;
    let mut net = Net::joined(NODES);
    for n in 0..100 {
        net.command(1 + n % NODES, fire("burst", &n.to_string()));
    }
    // Two rounds of exchanges, at the interval for this cluster size.
    net.run_for(SECOND * 150);
    for n in 1..=NODES {
        let mut got = net.host(n).take_user_events();
        assert_eq!(got.len(), 100, "n{n}");
        got.sort();
        got.dedup();
        assert_eq!(got.len(), 100, "twice in n{n}");
        assert_eq!(net.alive_in(n), usize::from(NODES));
        assert_eq!(net.serf(n).stats().event_queue, 0);
    }
}
