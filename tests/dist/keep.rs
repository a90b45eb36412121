//! `keep`, which restarts the agent for OpenRC and procd: never after a leave, always after a failure.

use crate::live::{COTTAR, Process, content, wait_until};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A supervised agent in its own directory, with its RPC socket there.
struct Kept {
    directory: tempfile::TempDir,
    keep: Process,
}

impl Kept {
    fn start(pause: &str) -> Kept {
        let directory = tempfile::tempdir().unwrap();
        let keep = Process::spawn(
            Command::new("sh")
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/dist/openrc/keep.sh"))
                .args([pause, COTTAR, "agent", "-node=kept", "-bind=127.0.0.1:0"])
                .args(["-rpc-addr=unix:rpc.sock", "-snapshot=snapshot"])
                .current_dir(directory.path())
                .stdout(Stdio::null()),
        )
        .unwrap();
        let kept = Kept { directory, keep };
        wait_until("agent", || kept.serves());
        kept
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn ask(&self, command: &str) -> bool {
        let rpc = format!("-rpc-addr=unix:{}", self.at("rpc.sock"));
        let mut asked = Command::new(COTTAR);
        asked.args([command, &rpc]).stdin(Stdio::null());
        let asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.unwrap().success()
    }

    fn serves(&self) -> bool {
        self.ask("info")
    }

    /// Returns the process that `keep` has started.
    fn agent(&self) -> Option<i32> {
        let id = self.keep.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let agent = children.trim().parse().ok()?;
        let exe = fs::read_link(format!("/proc/{agent}/exe")).ok()?;
        (exe == Path::new(COTTAR)).then_some(agent)
    }

    fn await_end(&self) -> Option<i32> {
        wait_until("end of keep", || self.keep.status().is_some());
        self.keep.status().unwrap().code()
    }

    fn has_left(&self) -> bool {
        let snapshot = content(self.at("snapshot").as_ref());
        let mut last = snapshot.lines().rev();
        last.find(|line| *line == "leave" || line.starts_with("alive: ")) == Some("leave")
    }
}

#[test]
fn an_agent_that_was_killed_comes_back_and_one_that_has_left_does_not() {
    let kept = Kept::start("0");
    for _ in 0..3 {
        let before = kept.agent().unwrap();
        // SAFETY: a plain system call. The process is a grandchild, which nothing else reaps.
        unsafe { libc::kill(before, libc::SIGKILL) };
        wait_until("new agent", || {
            kept.agent().is_some_and(|now| now != before) && kept.serves()
        });
    }
    assert!(kept.ask("leave"));
    assert_eq!(kept.await_end(), Some(0));
    assert!(kept.has_left());
}

#[test]
fn signals_are_passed_on_and_end_the_restarts() {
    let kept = Kept::start("0");
    let before = kept.agent();
    kept.keep.signal(libc::SIGHUP);
    wait_until("agent after HUP", || kept.serves());
    assert_eq!(kept.agent(), before, "a reload is not a restart");
    kept.keep.signal(libc::SIGINT);
    assert_eq!(kept.await_end(), Some(0));
    assert!(kept.has_left());

    // If the agent ends without leaving, its status is passed on and nothing is restarted.
    let kept = Kept::start("0");
    kept.keep.signal(libc::SIGTERM);
    assert_eq!(kept.await_end(), Some(1));
    assert!(!kept.has_left());
}

#[test]
fn a_stop_does_not_wait_for_the_pause() {
    let kept = Kept::start("3600");
    let agent = kept.agent().unwrap();
    // SAFETY: as above.
    unsafe { libc::kill(agent, libc::SIGKILL) };
    wait_until("end of the agent", || kept.agent().is_none());
    kept.keep.signal(libc::SIGINT);
    assert_eq!(kept.await_end(), Some(137));
}

#[test]
fn every_service_restarts_failures_without_end() {
    let file = |name: &str| content(&Path::new(env!("CARGO_MANIFEST_DIR")).join(name));
    let unit = file("dist/systemd/cottar.service");
    for line in ["Restart=on-failure", "StartLimitIntervalSec=0"] {
        assert_eq!(unit.lines().filter(|found| *found == line).count(), 1);
    }
    // Other supervisors would restart an agent that has left, or stop restarting after some failures.
    let openrc = file("dist/openrc/cottar.initd");
    assert!(openrc.contains("command_args=\"@LIBEXECDIR@/cottar/keep 5 @BINDIR@/cottar agent "));
    for text in [openrc, file("dist/openwrt/cottar.init")] {
        assert!(text.contains("@LIBEXECDIR@/cottar/keep"));
        assert!(!text.contains("supervise-daemon") && !text.contains("procd_set_param respawn"));
    }
}
