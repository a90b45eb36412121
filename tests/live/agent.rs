//! Agents on loopback: start, talk to, end; nothing sleeps for luck.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::seen::Seen;
use super::{COTTAR, free};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// The reference, where it is installed.
pub const SERF: &str = "/usr/bin/serf";

/// Whether the reference is there; says so if not.
pub fn has_reference(test: &str) -> bool {
    let there = Path::new(SERF).exists();
    let required = std::env::var("COTTAR_INTEROP").is_ok_and(|value| value == "require");
    assert!(there || !required, "{test}: no {SERF}");
    if !there {
        eprintln!("SKIPPED {test}: no {SERF}");
    }
    there
}

/// A running agent.
pub struct Agent {
    child: Child,
    seen: Seen,
    gossip: SocketAddr,
    rpc: SocketAddr,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Agent {
    /// Our own agent, once it runs.
    pub fn start(args: &[&str]) -> Self {
        Agent::of(COTTAR, free(), args)
    }

    /// Our own agent, whether it will run or not.
    pub fn spawn(args: &[&str]) -> Self {
        Agent::from_command(Command::new(COTTAR), free(), args)
    }

    /// An agent of `program` on a gossip address of its own choice.
    pub fn of(program: &str, gossip: SocketAddr, args: &[&str]) -> Self {
        let agent = Agent::from_command(Command::new(program), gossip, args);
        agent.wait_for("Log data will now stream in as it occurs:");
        agent
    }

    /// The command may be a shell that runs `"$@"`.
    pub fn from_command(mut command: Command, gossip: SocketAddr, args: &[&str]) -> Self {
        let rpc = free();
        command.arg("agent").args(args).stdin(Stdio::null());
        if !args.iter().any(|arg| arg.starts_with("-bind")) {
            command.arg(format!("-bind={gossip}"));
        }
        command.arg(format!("-rpc-addr={rpc}"));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        Agent::follow(child, stdout, (gossip, rpc))
    }

    /// An agent that was started with these addresses for gossip and for RPC, and what is still to be
    /// read of its stdout.
    pub fn follow(
        child: Child,
        stdout: impl Read + Send + 'static,
        (gossip, rpc): (SocketAddr, SocketAddr),
    ) -> Self {
        let seen = Seen::follow(stdout);
        Agent {
            child,
            seen,
            gossip,
            rpc,
        }
    }

    /// Where it gossips.
    pub fn gossip(&self) -> SocketAddr {
        self.gossip
    }

    /// Where it serves RPC clients.
    pub fn rpc(&self) -> SocketAddr {
        self.rpc
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdout so far.
    pub fn text(&self) -> String {
        self.seen.text()
    }

    /// Waits until stdout contains that, and returns all of it.
    #[track_caller]
    pub fn wait_for(&self, needle: &str) -> String {
        self.wait(needle, |text| text.contains(needle))
    }

    /// Waits until stdout is as it should be, and returns all of it.
    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        self.seen.wait(what, done)
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        let status = Command::new("/bin/sh").args(["-c", &kill]).status();
        assert!(status.unwrap().success());
    }

    /// Reloads and waits for the end of that: the next line of stdout that says so, or `mark`.
    #[track_caller]
    pub fn reload(&self, mark: &str) -> String {
        let before = self.text().len();
        self.signal("HUP");
        let text = self.wait(mark, |text| {
            text[before..]
                .split_once("==> Reloading configuration...\n")
                .is_some_and(|(_, rest)| rest.contains(mark))
        });
        text[before..].to_owned()
    }

    /// Runs one of our commands on it: success, and what it printed, its errors last.
    pub fn call(&self, command: &str, args: &[&str]) -> (bool, String) {
        let output = Command::new(COTTAR)
            .args(command.split(' '))
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(args)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// The line of `members` about a node; empty if there is none.
    pub fn member(&self, name: &str) -> String {
        let (_, text) = self.call("members", &[]);
        let own = |line: &&str| line.split_whitespace().next() == Some(name);
        text.lines().find(own).unwrap_or_default().to_owned()
    }

    /// Whether it sees the node in that state.
    pub fn sees(&self, name: &str, status: &str) -> bool {
        let line = self.member(name);
        line.split_whitespace().nth(2) == Some(status)
    }

    /// Ends it and returns its exit status.
    #[track_caller]
    pub fn end(&mut self, signal: &str) -> i32 {
        self.signal(signal);
        self.exit_code()
    }

    /// Waits for its end, and for all that it said: [`Self::text`] is complete from here on.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "still runs:\n{}", self.text());
            thread::sleep(Duration::from_millis(5));
        };
        // What it wrote last may still be in the pipe.
        self.seen.wait_for_end();
        status.code().unwrap_or(-1)
    }
}

/// Runs an agent that is not expected to start: its exit status and stdout.
pub fn refused(args: &[&str]) -> (i32, String) {
    let mut child = Command::new(COTTAR)
        .args(["agent", "-bind=127.0.0.1:0", "-rpc-addr=127.0.0.1:0"])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while stdout.read_line(&mut line).unwrap() > 0 {
        if line.contains("agent running") {
            let _ = child.kill();
        }
        text.push_str(&line);
        line.clear();
    }
    let _ = stdout.read_to_string(&mut text);
    (child.wait().unwrap().code().unwrap_or(-1), text)
}

/// Waits for a condition.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for a condition on what an agent does; shows its log if that does not come.
#[track_caller]
pub fn wait_on(agent: &Agent, what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}:\n{}", agent.text());
        thread::sleep(Duration::from_millis(10));
    }
}

/// The text of a file; empty if there is none.
pub fn content(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
