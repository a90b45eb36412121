//! A file has one agent: its lock, and when the lock is released.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{NEW_KEY, OLD_KEY};
use crate::live::{Agent, COTTAR, content, refused, wait_until};

/// Tries each kind of file, by another path than the first agent's. A lock ends with its process.
#[test]
fn a_second_agent_on_the_same_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path(), &link).unwrap();
    let keys = dir.path().join("keyring");
    fs::write(&keys, format!("[\"{OLD_KEY}\"]")).unwrap();
    for name in ["snapshot", "tags-file", "keyring-file"] {
        let file = match name {
            "keyring-file" => keys.clone(),
            _ => dir.path().join(name),
        };
        let agent = Agent::start(&[&format!("-{name}={}", file.display())]);
        let other = link.join(file.file_name().unwrap());
        let flag = format!("-{name}={}", other.display());
        let before = fs::read(&file).ok();
        let (code, output) = refused(&[&flag]);
        assert_eq!(code, 1);
        let real = fs::canonicalize(dir.path()).unwrap();
        let shown = real.join(file.file_name().unwrap());
        let why = format!(
            "==> Failed to setup the Serf agent: {0} is in use by process {1}, which has locked {0}.lock",
            shown.display(),
            agent.pid()
        );
        assert!(output.contains(&why), "{output}");
        if name != "snapshot" {
            assert_eq!(fs::read(&file).ok(), before);
        }
        agent.end(libc::SIGKILL);
        drop(Agent::start(&[&flag]));
    }
}

/// `cottar leave` returns after the handlers of the agent's own leave have run and all files are written.
#[test]
fn a_leave_ends_after_the_last_handler_and_file() {
    let dir = tempfile::tempdir().unwrap();
    let left = dir.path().join("left");
    let flag = format!("-snapshot={}", dir.path().join("snap").display());
    let handler = format!(
        "-event-handler=member-leave=sleep 0.3; echo >> {}",
        left.display()
    );
    for round in 1..=5 {
        let agent = Agent::start(&["-profile=local", &flag, &handler]);
        assert!(!agent.text().contains("is in use by"), "{}", agent.text());
        assert!(agent.call("leave", &[]).0);
        assert_eq!(content(&left).len(), round);
        drop(Agent::start(&[&flag]));
        assert_eq!(agent.exit_code(), 0);
    }
    // A leave from within a handler does not wait, because the agent waits for the handler.
    let address = dir.path().join("address");
    let handler = format!(
        "-event-handler=user={COTTAR} leave -rpc-addr=$(cat {}) && echo >> {}",
        address.display(),
        left.display()
    );
    let agent = Agent::start(&["-profile=local", &handler]);
    fs::write(&address, agent.rpc.to_string()).unwrap();
    assert!(agent.call("event", &["-coalesce=false", "x"]).0);
    assert_eq!(agent.exit_code(), 0);
    wait_until("the handler's end", || content(&left).len() == 6);
}

#[test]
fn a_start_waits_for_an_agent_that_ends() {
    let dir = tempfile::tempdir().unwrap();
    let flag = format!("-tags-file={}", dir.path().join("tags").display());
    let first = Agent::start(&[&flag]);
    let second = Agent::spawn(&[&flag]);
    second.wait_for(". Waiting for it to end");
    first.end(libc::SIGTERM);
    second.wait_for("Log data will now stream in as it occurs:");
}

#[test]
fn a_lock_that_was_removed_is_taken_again() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keyring");
    fs::write(&keys, format!("[\"{OLD_KEY}\"]")).unwrap();
    let path = |name: &str| dir.path().join(name);
    let (tags, snapshot) = (path("tags"), path("snapshot"));
    let flag = |name: &str, path: &Path| format!("-{name}={}", path.display());
    let flags = [
        flag("tags-file", &tags),
        flag("keyring-file", &keys),
        flag("snapshot", &snapshot),
    ];
    let mut all: Vec<_> = flags.iter().map(String::as_str).collect();
    all.push("-profile=local");
    let agent = Agent::start(&all);
    for name in ["tags.lock", "keyring.lock", "snapshot.lock", "snapshot"] {
        fs::remove_file(path(name)).unwrap();
    }
    assert!(agent.call("tags", &["-set=a=b"]).0);
    assert!(agent.call("keys", &["-install", NEW_KEY]).0);
    assert!(agent.call("event", &["x"]).0);
    wait_until("the snapshot", || snapshot.exists());
    for flag in &flags {
        let (code, output) = refused(&[flag]);
        let holder = format!("is in use by process {}", agent.pid());
        assert!(code == 1 && output.contains(&holder), "{output}");
    }
}

/// A handler that outlives the agent does not keep the lock.
#[test]
fn handlers_do_not_inherit_locks() {
    let dir = tempfile::tempdir().unwrap();
    let (snap, stays) = (dir.path().join("snap"), dir.path().join("stays"));
    let flag = format!("-snapshot={}", snap.display());
    let handler = format!(
        "-event-handler=user=echo $$ > {}; sleep 60",
        stays.display()
    );
    let agent = Agent::start(&[&flag, &handler]);
    assert!(agent.call("event", &["-coalesce=false", "x"]).0);
    wait_until("it runs", || content(&stays).ends_with('\n'));
    agent.end(libc::SIGKILL);
    drop(Agent::start(&[&flag]));
    let pid = content(&stays);
    let ended = Command::new("/bin/sh")
        .args(["-c", &format!("kill -KILL -{}", pid.trim())])
        .status();
    assert!(ended.unwrap().success(), "it had stayed until now");
}
