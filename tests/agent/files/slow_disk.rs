//! A disk that hangs while tags or keys are written.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{NEW_KEY, OLD_KEY, files_and_locks, mode, set_mode};
use crate::live::{Agent, COTTAR, content};

/// Simulates a hanging disk: stops the process by which the agent syncs to the disk, with SIGSTOP.
struct SlowDisk(u32);

impl SlowDisk {
    /// Makes changes that the agent must save, until it catches and stops such a process.
    fn catch(agent: &Agent, mut change: impl FnMut() -> Running) -> (SlowDisk, Running) {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let mut running = change();
            while running.is_running() {
                if let Some(pid) = SlowDisk::find(agent) {
                    return (SlowDisk(pid), running);
                }
                assert!(std::time::Instant::now() < deadline, "nothing was caught");
            }
        }
    }

    fn find(agent: &Agent) -> Option<u32> {
        let pid = agent.pid();
        let children = content(Path::new(&format!("/proc/{pid}/task/{pid}/children")));
        children.split_whitespace().find_map(|child| {
            let shown = |file: &str| content(Path::new(&format!("/proc/{child}/{file}")));
            // Only after its exec, for which the agent waits.
            if !shown("cmdline").starts_with("cottar: sync") {
                return None;
            }
            // The file comes first, then its directory.
            let what = fs::read_link(format!("/proc/{child}/fd/0")).ok()?;
            if !what.to_string_lossy().ends_with(".new") {
                return None;
            }
            let id: i32 = child.parse().ok()?;
            kill(id, "STOP");
            let is_stopped = || shown("stat").rsplit(')').next()?.chars().nth(1);
            loop {
                match is_stopped() {
                    Some('T') => return u32::try_from(id).ok(),
                    // It had finished before it was stopped.
                    None | Some('Z' | 'X') => return None,
                    Some(_) => std::thread::yield_now(),
                }
            }
        })
    }

    fn goes_on(self) {
        kill(self.0 as i32, "CONT");
    }
}

fn kill(pid: i32, signal: &str) {
    let command = format!("kill -{signal} {pid} 2>/dev/null");
    let _ = Command::new("/bin/sh").args(["-c", &command]).status();
}

/// A running command of ours.
struct Running(std::process::Child);

impl Running {
    fn start(agent: &Agent, args: &[&str]) -> Running {
        let mut command = Command::new(COTTAR);
        command.arg(args[0]).arg(format!("-rpc-addr={}", agent.rpc));
        command
            .args(&args[1..])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        Running(command.spawn().unwrap())
    }

    fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

#[test]
fn a_slow_disk_blocks_nothing_and_loses_no_change() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tags");
    let flag = format!("-tags-file={}", path.display());
    let agent = Agent::start(&["-node=t", "-profile=local", &flag]);
    let mut number = 0;
    let (disk, mut first) = SlowDisk::catch(&agent, || {
        number += 1;
        Running::start(&agent, &["tags", &format!("-set=a={number}")])
    });
    // The change is not visible, the file is unchanged, and the agent answers other requests.
    let old = content(&path);
    assert!(!old.contains(&format!("\"a\": \"{number}\"")), "{old}");
    assert!(!agent.member("t").ends_with(&format!("a={number}")));
    let mut second = Running::start(&agent, &["tags", "-set=b=2"]);
    let mut third = Running::start(&agent, &["tags", "-set=c=3", "-delete=nothing"]);
    assert!(agent.call("event", &["meanwhile"]).0);
    agent.wait_for("Received event: user-event: meanwhile");
    assert!(first.is_running() && second.is_running() && third.is_running());
    assert_eq!(content(&path), old);
    disk.goes_on();
    for running in [&mut first, &mut second, &mut third] {
        assert!(running.0.wait().unwrap().success());
    }
    let expected = format!("{{\n  \"a\": \"{number}\",\n  \"b\": \"2\",\n  \"c\": \"3\"\n}}");
    assert_eq!(content(&path), expected);
    assert!(agent.member("t").ends_with(&format!("a={number},b=2,c=3")));
    assert_eq!(files_and_locks(dir.path()), (1, 1));
}

#[test]
fn keys_being_written_at_the_end_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    fs::write(&path, format!("[\"{OLD_KEY}\"]")).unwrap();
    set_mode(&path, 0o600);
    let flag = format!("-keyring-file={}", path.display());
    let agent = Agent::start(&["-node=t", "-profile=local", &flag]);
    let mut installs = false;
    let (_disk, mut running) = SlowDisk::catch(&agent, || {
        installs = !installs;
        let change = if installs { "-install" } else { "-remove" };
        Running::start(&agent, &["keys", &format!("{change}={NEW_KEY}")])
    });
    // The key is in use at once, but the change is not confirmed yet.
    assert!(running.is_running());
    let (_, listed) = agent.call("keys", &["-list"]);
    assert_eq!(listed.contains(NEW_KEY), installs, "{listed}");
    assert_eq!(content(&path).contains(NEW_KEY), !installs);
    agent.end(libc::SIGTERM);
    assert_eq!(content(&path).contains(NEW_KEY), installs);
    assert_eq!(mode(&path), 0o600);
    assert_eq!(files_and_locks(dir.path()), (1, 1));
    let _ = running.0.wait();
}
