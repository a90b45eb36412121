//! The configuration's settings take effect.

use super::harness::{Net, config, target};
use crate::serf::*;
use crate::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Makes nodes n1 to n`count` with an adjusted configuration, all joined.
fn joined(count: u16, adjust: &dyn Fn(&mut Config)) -> Net {
    let mut net = Net::new(0);
    for n in 1..=count {
        let mut config = config(n);
        adjust(&mut config);
        net.add(config);
        if n > 1 {
            net.join(n, 1);
        }
    }
    net.run_until("all know all", SECOND * 10, |net| {
        (1..=count).all(|n| net.alive_in(n) == usize::from(count))
    });
    net
}

#[test]
fn failed_and_left_members_are_kept_for_as_long_as_is_said() {
    for (failed, left, gone_failed, gone_left) in [(20, 500, true, false), (500, 20, false, true)] {
        let mut net = joined(3, &|config| {
            config.reap_interval = SECOND;
            config.reconnect_timeout = SECOND * failed;
            config.tombstone_timeout = SECOND * left;
        });
        net.remove(2);
        net.command_to_end(3, Command::Leave);
        net.remove(3);
        net.run_until("n2 has failed", SECOND * 60, |net| {
            net.status(1, 2) == MemberStatus::Failed
        });
        assert_eq!(net.status(1, 3), MemberStatus::Left);
        net.run_for(SECOND * 25);
        assert_eq!(net.status(1, 2) == MemberStatus::None, gone_failed);
        assert_eq!(net.status(1, 3) == MemberStatus::None, gone_left);
    }
}

#[test]
fn failed_members_are_called_as_often_as_is_said() {
    for (interval, heals) in [(SECOND, true), (SECOND * 3600, false)] {
        let mut net = joined(2, &|config| config.reconnect_interval = interval);
        net.host(2).cut = true;
        net.run_until("each thinks the other failed", SECOND * 90, |net| {
            net.status(1, 2) == MemberStatus::Failed && net.status(2, 1) == MemberStatus::Failed
        });
        // Wait until not even gossip is sent to the dead nodes.
        net.run_for(SECOND * 40);
        net.host(2).cut = false;
        net.run_for(SECOND * 10);
        assert_eq!(
            (net.alive_in(1), net.alive_in(2)),
            if heals { (2, 2) } else { (1, 1) }
        );
    }
}

#[test]
fn a_node_that_does_not_vote_stays() {
    for (votes, stops) in [(true, true), (false, false)] {
        let mut net = Net::joined(2);
        let mut twin = config(9);
        twin.name = NodeName::new(b"n1").unwrap();
        twin.name_conflict_resolution = votes;
        net.add(twin);
        let join = Command::Join {
            targets: vec![target(2)],
            ignore_old_events: false,
            announce: true,
        };
        net.command(9, join);
        net.run_for(SECOND * 60);
        assert_eq!(net.is_stopped(9), stops);
    }
}

#[test]
fn queries_and_answers_keep_to_their_limits() {
    let mut net = joined(1, &|config| {
        config.query_size_limit_bytes = 200;
        config.query_response_size_limit_bytes = 100;
        config.query_timeout_multiplier = 2;
    });
    let ask = |bytes: usize| {
        Command::Query(QueryParams {
            name: b"q".to_vec(),
            payload: Some(vec![0; bytes]),
            ..QueryParams::default()
        })
    };
    let refused = CommandResult::Failed("query exceeds limit of 200 bytes".to_owned());
    assert_eq!(net.command_now(1, ask(200)), refused);
    let CommandResult::Queried {
        ltime,
        id,
        deadline,
    } = net.command_now(1, ask(20))
    else {
        panic!("not sent");
    };
    assert_eq!(deadline.since(net.now), Duration::from_millis(400));
    let payload = vec![0; 100];
    let refused = net.command_now(1, Command::Respond { ltime, id, payload });
    let why = "failed to respond to key query: response exceeds limit of 100 bytes";
    assert_eq!(refused, CommandResult::Failed(why.to_owned()));
}
