//! Members from before a restart that do not respond at first.

use super::harness::{Net, addr, config, start};
use crate::serf::snapshot::{Snapshot, SnapshotLine};
use crate::serf::*;
use crate::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn name(n: u16) -> NodeName {
    NodeName::new(format!("n{n}").as_bytes()).unwrap()
}

fn snapshot(alive: &[u16], failed: &[u16]) -> Snapshot {
    let members = |numbers: &[u16]| numbers.iter().map(|&n| (name(n), addr(n))).collect();
    Snapshot {
        alive: members(alive),
        failed: members(failed),
        ..Snapshot::default()
    }
}

fn recording(n: u16, snapshot: Snapshot) -> Config {
    let mut config = config(n);
    config.snapshot = Some(snapshot);
    config
}

fn lines_of(net: &mut Net, n: u16, of: u16) -> Vec<SnapshotLine> {
    let lines = std::mem::take(&mut net.host(n).snapshot);
    let is_of = |line: &SnapshotLine| match line {
        SnapshotLine::Alive { name: about, .. }
        | SnapshotLine::NotAlive(about)
        | SnapshotLine::Failed { name: about, .. } => *about == name(of),
        _ => false,
    };
    lines.into_iter().filter(is_of).collect()
}

#[test]
fn the_snapshot_keeps_failed_members_until_they_are_reaped() {
    let mut net = Net::new(1);
    let mut forgetful = recording(2, Snapshot::default());
    forgetful.reconnect_timeout = SECOND * 120;
    net.add(forgetful);
    net.join(2, 1);
    net.run_for(SECOND);
    lines_of(&mut net, 2, 1);
    net.remove(1);
    net.run_until("n1 has failed", SECOND * 60, |net| {
        net.status(2, 1) == MemberStatus::Failed
    });
    let (name, addr) = (name(1), addr(1));
    let gone = SnapshotLine::NotAlive(name.clone());
    let failed = SnapshotLine::Failed { name, addr };
    assert_eq!(lines_of(&mut net, 2, 1), [gone.clone(), failed]);
    net.run_until("n1 is reaped", SECOND * 180, |net| {
        net.serf(2).members().count() == 1
    });
    assert_eq!(lines_of(&mut net, 2, 1), [gone]);
}

#[test]
fn reconnects_find_members_that_the_snapshot_has_as_failed() {
    // One knows of the other only that it had failed, the other knows nothing.
    let mut net = Net::new(0);
    net.add(recording(1, snapshot(&[], &[2])));
    net.run_for(SECOND);
    net.add(recording(2, Snapshot::default()));
    assert_eq!(net.alive_in(2), 1);
    net.run_until("n1 calls n2", SECOND * 40, |net| net.alive_in(2) == 2);
    net.run_for(SECOND);
    assert_eq!(net.serf(1).lost.len(), 0);
    assert_eq!(
        lines_of(&mut net, 1, 2),
        [SnapshotLine::Alive {
            name: name(2),
            addr: addr(2)
        }]
    );
}

/// The hosts start before the network does.
#[test]
fn reconnects_to_members_of_the_snapshot_go_on_after_the_rejoin() {
    let mut net = Net::new(0);
    net.add(recording(1, snapshot(&[2], &[])));
    net.run_for(SECOND * 300);
    assert!(net.serf(1).rejoin.is_none());
    net.add(config(2));
    net.run_until("n1 calls n2", SECOND * 40, |net| net.alive_in(2) == 2);
}

#[test]
fn those_who_answer_are_tried_first() {
    for seed in 0..8 {
        let mut config = recording(9, snapshot(&[1], &[2, 3]));
        config.addr.set_port(7100 + seed);
        let mut serf = start(config, Instant::from_millis(1));
        let outputs = std::iter::from_fn(|| serf.poll_output());
        let opened = outputs.filter_map(|output| match output {
            Output::Transmit(Transmit::Open { to, .. }) => Some(to),
            _ => None,
        });
        assert_eq!(opened.collect::<Vec<_>>(), [addr(1)]);
    }
}

#[test]
fn reconnects_to_lost_members_end() {
    let mut net = Net::new(0);
    let mut config = recording(1, snapshot(&[2], &[3]));
    config.reconnect_timeout = SECOND * 1200;
    net.add(config);
    net.run_for(SECOND * 590);
    assert_eq!(net.serf(1).lost.len(), 2);
    assert!(lines_of(&mut net, 1, 3).is_empty());
    net.run_for(SECOND * 60);
    assert_eq!(net.serf(1).lost.len(), 0);
    assert_eq!(net.serf(1).poll_timeout(), None, "a node at rest sleeps");
    // The one that was alive stays in the file.
    let lines = std::mem::take(&mut net.host(1).snapshot);
    let gone = [SnapshotLine::NotAlive(name(3))];
    let written = |line: &&SnapshotLine| matches!(line, SnapshotLine::NotAlive(_));
    assert!(lines.iter().filter(written).eq(&gone));
}

#[test]
fn who_has_left_is_not_called() {
    let mut net = Net::joined(3);
    let (result, _) = net.command_to_end(2, Command::Leave);
    assert_eq!(result, CommandResult::Done);
    net.run_for(SECOND * 60);
    net.add(recording(4, snapshot(&[1], &[2])));
    net.run_until("n4 is back", SECOND * 10, |net| net.alive_in(1) == 3);
    net.run_for(SECOND * 5);
    assert_eq!(net.serf(4).lost.len(), 0);
    let gone = SnapshotLine::NotAlive(name(2));
    assert_eq!(lines_of(&mut net, 4, 2), [gone]);
}
