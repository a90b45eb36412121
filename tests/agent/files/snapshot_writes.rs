//! How the snapshot is written: compaction, and disks and directories that fail for a while.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{files_and_locks, join, mode, set_mode};
use crate::live::{Agent, Kind, Spec, content, wait_until};

#[test]
fn a_long_snapshot_is_compacted() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    let mut file = fs::File::create(&snap).unwrap();
    for number in 0..20_000 {
        writeln!(file, "clock: {number}").unwrap();
    }
    drop(file);
    set_mode(&snap, 0o640);
    let before = fs::metadata(&snap).unwrap();
    assert!(before.len() > 128 << 10);
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", "-profile=local", &flag]);
    wait_until("compaction", || fs::metadata(&snap).unwrap().len() < 1000);
    assert_ne!(fs::metadata(&snap).unwrap().ino(), before.ino());
    assert_eq!(mode(&snap), 0o640);
    let clock = |text: &str| -> Option<u64> {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix("clock: ")?.parse().ok())
    };
    let text = content(&snap);
    assert!(text.contains("alive: me "), "{text}");
    assert!(clock(&text) >= Some(19_999), "{text}");
    // The agent writes to the new file.
    assert!(agent.call("event", &["after"]).0);
    wait_until("the event's time", || {
        content(&snap)
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("event-clock: "))
            && content(&snap).len() > text.len()
    });
    assert_eq!(agent.end(libc::SIGINT), 0);
    assert!(content(&snap).contains("leave\n"));
    assert_eq!(files_and_locks(dir.path()), (1, 1), "no leftovers");
}

/// The number of log lines that say that the snapshot cannot be written.
fn complaints(agent: &Agent) -> usize {
    agent.text().matches("Failed to write snapshot").count()
}

#[test]
fn a_full_disk_is_logged_once_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let snap = dir.path().join("snap");
    fs::write(&snap, format!("#{}\n", "x".repeat(500))).unwrap();
    let flag = format!("-snapshot={}", snap.display());
    let agent = Spec::bare(Kind::Cottar)
        .args(["-node=me", "-profile=local", &flag])
        // The soft limit only, so that it can be raised again.
        .after("ulimit -S -f 1")
        .piped()
        .start();
    let peer = Agent::start(&["-node=peer", "-profile=local", &join(&agent)]);
    wait_until("joined", || agent.sees("peer", "alive"));
    let mut lost = 0;
    wait_until("the limit is reached", || {
        lost += 1;
        assert!(
            peer.call("event", &["-coalesce=false", &format!("e{lost}")])
                .0
        );
        complaints(&agent) > 0
    });
    for number in 0..20 {
        assert!(
            agent
                .call("event", &["-coalesce=false", &format!("f{number}")])
                .0
        );
    }
    assert!(fs::metadata(&snap).unwrap().len() <= 1024);
    assert!(content(&snap).ends_with('\n'), "no half line");
    let pid = agent.pid().to_string();
    let raised = Command::new("prlimit")
        .args(["--pid", &pid, "--fsize=unlimited:"])
        .status();
    assert!(raised.unwrap().success());
    agent.wait_for("can be written again");
    assert_eq!(complaints(&agent), 1, "{}", agent.text());
    let text = content(&snap);
    assert!(
        text.contains(&format!("alive: peer {}\n", peer.gossip)),
        "{text}"
    );
    assert!(!text.contains("xxx"), "a new file: {text}");
    // Further events are recorded.
    assert!(agent.call("event", &["-coalesce=false", "again"]).0);
    wait_until("new lines", || content(&snap).len() > text.len());
    assert_eq!(agent.end(libc::SIGINT), 0);
}

#[test]
fn a_lost_directory_is_logged_once_and_survived() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let snap = folder.join("snap");
    let flag = format!("-snapshot={}", snap.display());
    let agent = Agent::start(&["-node=me", "-profile=local", &flag]);
    wait_until("first lines", || content(&snap).contains("alive: me "));
    fs::remove_dir_all(&folder).unwrap();
    for number in 0..5 {
        assert!(
            agent
                .call("event", &["-coalesce=false", &format!("e{number}")])
                .0
        );
    }
    agent.wait_for("Failed to write snapshot");
    fs::create_dir(&folder).unwrap();
    agent.wait_for("can be written again");
    assert_eq!(complaints(&agent), 1, "{}", agent.text());
    assert!(content(&snap).contains("alive: me "));
}
