//! A running agent: its output, commands against it, and its end.

use super::Kind;
use super::members::Member;
use super::output::{Output, tail};
use super::process::{Finished, Process, run};
use super::spec::Spec;
use super::wait::{PATIENCE, Wait, patience};
use std::net::SocketAddr;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

/// The line that an agent prints when it serves and the join at the start has succeeded.
const READY: &str = "Log data will now stream in as it occurs:";
/// How much of an agent's output is printed when a test fails.
const SHOWN_BYTES_MAX: usize = 20_000;

/// Prints the last part of an agent's output; for tests that fail.
pub(super) fn show(title: &str, text: &str) {
    // Leaves out the log lines of the RPC clients that the test itself starts.
    let told = text.split_inclusive('\n');
    let told: String = told
        .filter(|line| !line.contains("Accepted client"))
        .collect();
    if !told.is_empty() {
        println!("--- {title}\n{}", tail(&told, SHOWN_BYTES_MAX));
    }
}

/// A running agent, which is killed when this is dropped. Prints the end of its output if the test fails.
#[derive(Debug)]
pub struct Agent {
    /// How it was started.
    pub spec: Spec,
    /// Its gossip address.
    pub gossip: SocketAddr,
    /// Its RPC address.
    pub rpc: SocketAddr,
    process: Process,
    stdout: Output,
    stderr: Output,
}

impl Agent {
    /// Starts our agent with these flags and waits until it serves.
    #[track_caller]
    pub fn start(args: &[&str]) -> Agent {
        Spec::bare(Kind::Cottar).args(args).start()
    }

    /// Starts our agent with these flags, without waiting.
    pub fn spawn(args: &[&str]) -> Agent {
        Spec::bare(Kind::Cottar).args(args).launch()
    }

    /// Starts an agent and waits until it serves; tries other ports if another process has taken the
    /// chosen ones meanwhile.
    #[track_caller]
    pub(super) fn start_spec(spec: Spec) -> Agent {
        let mut attempts_left = 5;
        loop {
            let agent = Agent::launch(spec.clone());
            let why = match agent.look_for(READY, PATIENCE, |text| text.contains(READY)) {
                Ok(_) => return agent,
                Err(why) => why,
            };
            attempts_left -= 1;
            let taken = agent.log().contains("address already in use");
            assert!(
                taken && spec.is_anywhere() && attempts_left > 0,
                "{:?} does not start: {why}",
                spec.name
            );
        }
    }

    /// Starts an agent without waiting; it may refuse to start.
    pub(super) fn launch(spec: Spec) -> Agent {
        let (gossip, rpc) = spec.places();
        let [stdout, stderr] =
            ["log", "err"].map(|end| Output::new(spec.output_path(gossip, end).as_deref()));
        let mut command = spec.agent_command(gossip, rpc);
        command.stdin(Stdio::null()).stderr(stderr.writer());
        match spec.is_piped {
            true => command.stdout(Stdio::piped()),
            false => command.stdout(stdout.writer()),
        };
        let process = Process::spawn(&mut command).expect("an agent");
        if let Some(pipe) = process.child().stdout.take() {
            stdout.copy(pipe);
        }
        Agent {
            process,
            spec,
            gossip,
            rpc,
            stdout,
            stderr,
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its stdout so far.
    pub fn text(&self) -> String {
        self.stdout.text()
    }

    /// Its stderr so far.
    pub fn errors(&self) -> String {
        self.stderr.text()
    }

    /// Removes the complete lines from its stdout so far and returns them.
    pub fn take_lines(&self) -> String {
        self.stdout.take_lines()
    }

    /// Everything that it has printed so far, on stdout and then on stderr.
    pub fn log(&self) -> String {
        self.text() + &self.errors()
    }

    /// Waits until stdout contains `needle`, and returns all of stdout.
    #[track_caller]
    pub fn wait_for(&self, needle: &str) -> String {
        self.wait(needle, |text| text.contains(needle))
    }

    /// The same, for at most `seconds`, which are stretched on a busy machine.
    #[track_caller]
    pub fn await_log(&self, needle: &str, seconds: f64) {
        let found = self.look_for(needle, patience(seconds), |text| text.contains(needle));
        found.unwrap_or_else(|why| panic!("{why}"));
    }

    /// Waits until `done` accepts stdout, and returns all of stdout.
    #[track_caller]
    pub fn wait(&self, what: &str, done: impl Fn(&str) -> bool) -> String {
        let found = self.look_for(what, PATIENCE, done);
        found.unwrap_or_else(|why| panic!("{why}"));
        self.text()
    }

    /// Waits until `done` accepts stdout.
    ///
    /// # Errors
    /// If the agent ends or the deadline passes first.
    fn look_for(
        &self,
        what: &str,
        limit: Duration,
        done: impl Fn(&str) -> bool,
    ) -> Result<(), String> {
        let wait = Wait::new(limit);
        loop {
            // Checked before the output: if the process has ended, its whole output is there.
            let ended = self.process.status();
            if self.stdout.look(&done) {
                return Ok(());
            }
            if ended.is_some() || !wait.goes_on() {
                let state = ended.map_or("still runs".to_owned(), |status| status.to_string());
                let log = self.log();
                let shown = tail(&log, SHOWN_BYTES_MAX);
                return Err(format!(
                    "no {what:?} within {limit:?} ({state}) in:\n{shown}"
                ));
            }
        }
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        self.process.signal(signal);
    }

    /// Sends SIGHUP and waits until a new line of stdout shows the end of the reload, or contains `mark`.
    #[track_caller]
    pub fn reload(&self, mark: &str) -> String {
        let before = self.text().len();
        self.signal(libc::SIGHUP);
        let text = self.wait(mark, |text| {
            text[before..]
                .split_once("==> Reloading configuration...\n")
                .is_some_and(|(_, rest)| rest.contains(mark))
        });
        text[before..].to_owned()
    }

    /// Whether the process has ended.
    pub fn is_over(&self) -> bool {
        self.process.status().is_some()
    }

    /// Waits for its end, for at most `seconds`, which are stretched on a busy machine.
    #[track_caller]
    pub fn await_exit(&self, seconds: f64) -> ExitStatus {
        self.exit_within(patience(seconds))
    }

    /// Waits for its end; its exit code, or -1 if a signal ended it.
    #[track_caller]
    pub fn exit_code(&self) -> i32 {
        self.exit_within(PATIENCE).code().unwrap_or(-1)
    }

    #[track_caller]
    fn exit_within(&self, limit: Duration) -> ExitStatus {
        let wait = Wait::new(limit);
        loop {
            if let Some(status) = self.process.status() {
                return status;
            }
            assert!(
                wait.goes_on(),
                "{:?} still runs after {limit:?}:\n{}",
                self.spec.name,
                tail(&self.log(), SHOWN_BYTES_MAX)
            );
        }
    }

    /// Ends it and returns its exit code, or -1 if the signal ended it.
    #[track_caller]
    pub fn end(&self, signal: i32) -> i32 {
        self.signal(signal);
        self.exit_code()
    }

    /// Kills the agent as a power cut would.
    #[track_caller]
    pub fn crash(&self) {
        self.end(libc::SIGKILL);
    }

    /// Starts an agent that has ended again, with the same name and addresses, joining `other`.
    #[track_caller]
    pub fn restart(self, other: &Agent) -> Agent {
        let spec = self.spec.clone().addresses(self.gossip, self.rpc);
        drop(self);
        spec.join_only(other).start()
    }

    /// A command of the given program for this agent; `args` are the command's name of one or two words,
    /// then flags, then arguments.
    pub fn command(&self, kind: Kind, args: &[&str]) -> Command {
        let mut command = self.spec.command(&kind.program());
        let (name, rest) = args.split_first().expect("a command");
        command
            .args(name.split(' '))
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(rest)
            .env_remove("SERF_RPC_ADDR")
            .env_remove("SERF_RPC_AUTH");
        command
    }

    /// Runs a command of the given program against this agent.
    #[track_caller]
    pub fn ask(&self, kind: Kind, args: &[&str]) -> Finished {
        run(&mut self.command(kind, args), patience(30.0)).expect("a command that ends")
    }

    /// Runs a command of the reference against this agent; scenarios use it unless they test our own
    /// command line.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Finished {
        self.ask(Kind::Serf, args)
    }

    /// Runs one of our commands; returns whether it succeeded, and its stdout followed by its stderr.
    #[track_caller]
    pub fn call(&self, command: &str, args: &[&str]) -> (bool, String) {
        let finished = self.ask(Kind::Cottar, &[&[command], args].concat());
        (finished.code == 0, finished.stdout + &finished.stderr)
    }

    /// The member list as this agent sees it.
    pub fn members(&self) -> Result<Vec<Member>, String> {
        let mut command = self.command(Kind::Serf, &["members", "-format=json"]);
        Member::list(&run(&mut command, patience(10.0))?)
    }

    /// The line of `members` about a node; empty if there is none.
    pub fn member(&self, name: &str) -> String {
        let (_, text) = self.call("members", &[]);
        let own = |line: &&str| line.split_whitespace().next() == Some(name);
        text.lines().find(own).unwrap_or_default().to_owned()
    }

    /// Whether it lists the node with that status.
    pub fn sees(&self, name: &str, status: &str) -> bool {
        let line = self.member(name);
        line.split_whitespace().nth(2) == Some(status)
    }

    /// Fires a user event that is not coalesced.
    #[track_caller]
    pub fn event(&self, name: &str, payload: &str) {
        self.cli(&["event", "-coalesce=false", name, payload])
            .success();
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // The owner of the folder prints the output that is kept there.
        if !thread::panicking() || self.spec.folder.is_some() {
            return;
        }
        for (what, output) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let title = format!("{what} of {:?} at {}", self.spec.name, self.gossip);
            show(&title, &output.text());
        }
    }
}

/// Runs our agent, which must refuse to start; returns its exit code and stdout.
pub fn refused(args: &[&str]) -> (i32, String) {
    let agent = Spec::bare(Kind::Cottar)
        .addresses(([127, 0, 0, 1], 0).into(), ([127, 0, 0, 1], 0).into())
        .args(args)
        .launch();
    super::wait_until("a refusal", || {
        if agent.text().contains("agent running") {
            agent.signal(libc::SIGKILL);
        }
        agent.is_over()
    });
    (agent.exit_code(), agent.text())
}
