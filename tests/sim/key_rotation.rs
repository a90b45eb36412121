//! Key changes in a running cluster.

use cottar::serf::{
    Command, CommandId, CommandResult, Event, KeyReport, MemberEventKind, MemberStatus, RawKey,
};
use cottar::time::Duration;

use crate::cluster::{Sim, Spec, host_addr};
use crate::history::What;
use crate::network::Weather;
use crate::rejoin::{heard, recording_cluster};
use crate::stories::{agree, close, secs};

const OLD: [u8; 16] = [1; 16];
const NEW: [u8; 32] = [2; 32];

fn encrypted(seed: u64, size: usize) -> Sim {
    recording_cluster(seed, size, Weather::fair(), &|spec| {
        spec.key = Some(OLD.to_vec());
        spec.config.keyring_file = true;
    })
}

fn report(sim: &mut Sim, id: CommandId) -> KeyReport {
    let ended = sim.run_until(secs(10), |sim| sim.result(id).is_some());
    assert!(ended, "the command does not end");
    match sim.result(id) {
        Some(CommandResult::Keys(report)) => KeyReport::clone(report),
        other => panic!("{other:?}"),
    }
}

fn run(sim: &mut Sim, command: Command) -> KeyReport {
    let id = sim.command(0, command);
    report(sim, id)
}

fn succeed(sim: &mut Sim, command: Command) -> KeyReport {
    let report = run(sim, command);
    assert_eq!(report.error, None, "{:?}", report.messages);
    report
}

fn raw(key: &[u8]) -> RawKey {
    RawKey(key.to_vec())
}

/// Checks that no node has delivered a failure or a leave.
fn nobody_was_lost(sim: &Sim) {
    for record in &sim.history {
        if let What::Delivered {
            event: Event::Member(event),
            ..
        } = &record.what
        {
            let lost = [MemberEventKind::Failed, MemberEventKind::Leave];
            assert!(!lost.contains(&event.kind), "{record:?}");
        }
    }
}

fn fire(sim: &mut Sim, from: usize, event: &str) {
    sim.user_event(from, event, "");
    let ids = sim.up();
    let reached = sim.run_until(secs(30), |sim| {
        ids.iter().all(|&id| heard(sim, id).contains_key(event))
    });
    assert!(reached, "{event} does not reach all");
}

#[test]
fn a_key_is_rotated_although_a_node_is_slow() {
    let mut sim = encrypted(1, 6);
    // Longer than the command waits, and shorter than the failure detection takes.
    sim.pause(4);
    let slow = run(&mut sim, Command::InstallKey(raw(&NEW)));
    assert_eq!(slow.error.as_deref(), Some("5/6 nodes reported success"));
    sim.resume(4);
    sim.run_for(secs(2));
    succeed(&mut sim, Command::InstallKey(raw(&NEW)));
    succeed(&mut sim, Command::UseKey(raw(&NEW)));
    fire(&mut sim, 3, "between");
    succeed(&mut sim, Command::RemoveKey(raw(&OLD)));
    let listed = succeed(&mut sim, Command::ListKeys);
    assert_eq!(listed.keys.values().copied().collect::<Vec<_>>(), [6]);
    assert_eq!(listed.keys, listed.primary_keys);
    for node in &sim.nodes {
        let written = node.disk.keyring.as_ref().unwrap();
        let written: Vec<_> = written.iter().map(|key| key.as_bytes()).collect();
        assert_eq!(written, [&NEW[..]]);
    }
    // A restarted node gets the new key from its file.
    sim.crash(2, false);
    sim.start(2);
    agree(&mut sim, secs(30));
    fire(&mut sim, 2, "after");
    nobody_was_lost(&sim);
    close(sim);
}

#[test]
fn a_full_disk_fails_a_key_change_until_there_is_room() {
    let mut sim = encrypted(2, 3);
    sim.nodes[1].disk.full = true;
    let failed = run(&mut sim, Command::InstallKey(raw(&NEW)));
    assert_eq!(failed.error.as_deref(), Some("1/3 nodes reported failure"));
    let (node, message) = failed.messages.first_key_value().unwrap();
    assert_eq!(node.as_bytes(), b"n1");
    let text = "Failed to write keyring file: no space left on device";
    assert_eq!(message, text.as_bytes());
    sim.nodes[1].disk.full = false;
    succeed(&mut sim, Command::InstallKey(raw(&NEW)));
    let written = sim.nodes[1].disk.keyring.as_ref().unwrap();
    assert_eq!(written.len(), 2);
    close(sim);
}

#[test]
fn a_cluster_goes_from_plaintext_to_encryption() {
    let mut sim = recording_cluster(3, 5, Weather::fair(), &|_| {});
    // The settings of the three rounds: send plaintext and accept both; encrypt; accept only
    // encrypted gossip.
    for (round, (verify_outgoing, verify_incoming)) in [(false, false), (true, false), (true, true)]
        .into_iter()
        .enumerate()
    {
        for id in 0..5 {
            sim.crash(id, false);
            sim.run_for(Duration::from_millis(200));
            let spec = &mut sim.nodes[id].spec;
            spec.key = Some(OLD.to_vec());
            (spec.verify_outgoing, spec.verify_incoming) = (verify_outgoing, verify_incoming);
            sim.start(id);
            agree(&mut sim, secs(20));
            fire(&mut sim, (id + 1) % 5, &format!("round-{round}-{id}"));
        }
    }
    nobody_was_lost(&sim);
    // From now on, gossip without the key is refused, in datagrams and streams.
    let before = sim.serf(0).swim().counters().dropped_undecryptable;
    let stranger = sim.add(Spec::lan("stranger", host_addr(5)));
    sim.start(stranger);
    let join = sim.join(stranger, &[0], true, false);
    sim.run_for(secs(15));
    let Some(CommandResult::Joined { contacted: 0, .. }) = sim.result(join) else {
        panic!("{:?}", sim.result(join));
    };
    assert_eq!(sim.status(0, "stranger"), None::<MemberStatus>);
    assert!(sim.serf(0).swim().counters().dropped_undecryptable > before);
}
