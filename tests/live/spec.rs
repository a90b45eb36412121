//! The settings with which an agent is started.

use super::agent::Agent;
use super::recorder::Recorder;
use super::{Kind, free};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The settings with which an agent is started. The agent gets only flags that the test has asked for, and
/// its addresses.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The program that runs.
    pub kind: Kind,
    /// Its node name; empty for the agent's default.
    pub name: String,
    /// Its tags at start.
    pub tags: BTreeMap<String, String>,
    join: Vec<String>,
    args: Vec<String>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    log_level: Option<&'static str>,
    env: Vec<(String, String)>,
    launcher: Vec<String>,
    wrapper: Vec<String>,
    program: Option<PathBuf>,
    pub(super) is_piped: bool,
    current_dir: Option<PathBuf>,
    pub(super) folder: Option<PathBuf>,
}

impl Spec {
    /// An agent with a name, which logs at level `debug`.
    pub fn new(kind: Kind, name: &str) -> Spec {
        Spec {
            kind,
            name: name.into(),
            log_level: Some("debug"),
            ..Spec::bare(kind)
        }
    }

    /// An agent without flags.
    pub fn bare(kind: Kind) -> Spec {
        Spec {
            kind,
            name: String::new(),
            tags: BTreeMap::new(),
            join: Vec::new(),
            args: Vec::new(),
            addresses: None,
            log_level: None,
            env: Vec::new(),
            launcher: Vec::new(),
            wrapper: Vec::new(),
            program: None,
            is_piped: false,
            current_dir: None,
            folder: None,
        }
    }

    /// Sets the name.
    pub fn name(mut self, name: &str) -> Spec {
        self.name = name.into();
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, name: &str, value: &str) -> Spec {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Adds a node to join at the start.
    pub fn join(mut self, other: &Agent) -> Spec {
        self.join.push(other.gossip.to_string());
        self
    }

    /// Replaces the nodes to join at the start by this one.
    pub fn join_only(mut self, other: &Agent) -> Spec {
        self.join.clear();
        self.join(other)
    }

    /// Adds flags.
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Spec {
        let args = args.into_iter();
        self.args.extend(args.map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds an event handler.
    pub fn handler(self, handler: &str) -> Spec {
        self.args(["-event-handler", handler])
    }

    /// Adds a handler that records every event.
    pub fn recorded(self, recorder: &Recorder) -> Spec {
        self.handler(&recorder.handler())
    }

    /// Sets the encryption key.
    pub fn key(self, key: &str) -> Spec {
        self.args(["-encrypt", key])
    }

    /// Sets fixed addresses for gossip and RPC.
    pub fn addresses(mut self, gossip: SocketAddr, rpc: SocketAddr) -> Spec {
        self.addresses = Some((gossip, rpc));
        self
    }

    /// Sets a fixed address for gossip.
    pub fn gossip(self, gossip: SocketAddr) -> Spec {
        self.addresses(gossip, free())
    }

    /// Sets the log level.
    pub fn log_level(mut self, level: &'static str) -> Spec {
        self.log_level = Some(level);
        self
    }

    /// Sets a variable of the agent's environment.
    pub fn env(mut self, name: &str, value: &str) -> Spec {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Sets a command prefix that executes or runs the agent.
    pub fn launcher(mut self, words: &[&str]) -> Spec {
        self.launcher = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Runs a shell script that then executes the agent.
    pub fn after(self, script: &str) -> Spec {
        self.launcher(&["/bin/sh", "-c", &format!("{script}; exec \"$@\""), "sh"])
    }

    /// Sets a command prefix for the agent and for all commands against it, such as `nsenter`. It must `exec`
    /// the program, so that the process id stays the same.
    pub fn wrapper<I: IntoIterator<Item = S>, S: Into<String>>(mut self, wrapper: I) -> Spec {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the program's file.
    pub fn program(mut self, program: &Path) -> Spec {
        self.program = Some(program.into());
        self
    }

    /// Makes its stdout a pipe, for agents that cannot write (long) files.
    pub fn piped(mut self) -> Spec {
        self.is_piped = true;
        self
    }

    /// Sets the working directory.
    pub fn current_dir(mut self, folder: &Path) -> Spec {
        self.current_dir = Some(folder.into());
        self
    }

    /// Sets the working directory, and keeps the output there for the owner of the folder.
    pub fn folder(mut self, folder: &Path) -> Spec {
        self.folder = Some(folder.into());
        self
    }

    /// Starts the agent and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Agent {
        Agent::start_spec(self)
    }

    /// Starts the agent without waiting; it may refuse to start.
    pub fn launch(self) -> Agent {
        Agent::launch(self)
    }

    /// Whether it gets new addresses at each start.
    pub(super) fn is_anywhere(&self) -> bool {
        self.addresses.is_none()
    }

    /// Its addresses for gossip and RPC.
    pub(super) fn places(&self) -> (SocketAddr, SocketAddr) {
        self.addresses.unwrap_or_else(|| (free(), free()))
    }

    /// A file for its output that no earlier start of the agent has used.
    pub(super) fn output_path(&self, gossip: SocketAddr, end: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        // A node name may contain bytes that a file name may not.
        let name: String = self.name.replace('/', "_").chars().take(80).collect();
        let path = |life: &str| folder.join(format!("{name}-{}{life}.{end}", gossip.port()));
        let later = (2..).map(|life| path(&format!(".{life}")));
        std::iter::once(path(""))
            .chain(later)
            .find(|path| !path.exists())
    }

    /// The command that starts the agent.
    pub(super) fn agent_command(&self, gossip: SocketAddr, rpc: SocketAddr) -> Command {
        let program = self.program.clone();
        let program = program.unwrap_or_else(|| self.kind.program());
        let words = [&self.wrapper[..], &self.launcher].concat();
        let mut command = behind(&words, &program);
        command.arg("agent");
        if !self.name.is_empty() {
            command.args(["-node", &self.name]);
        }
        let is_bound = self.args.iter().any(|arg| arg.starts_with("-bind"));
        if !is_bound {
            command.arg(format!("-bind={gossip}"));
        }
        command.arg(format!("-rpc-addr={rpc}"));
        if let Some(level) = self.log_level {
            command.args(["-log-level", level]);
        }
        for (name, value) in &self.tags {
            command.args(["-tag", &format!("{name}={value}")]);
        }
        for target in &self.join {
            command.args(["-join", target]);
        }
        command
            .args(&self.args)
            .env_remove("SERF_RPC_ADDR")
            .env_remove("SERF_RPC_AUTH")
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = self.current_dir.as_ref().or(self.folder.as_ref()) {
            command.current_dir(folder);
        }
        command
    }

    /// A command that runs `program` with the agent's wrapper, if any.
    pub(super) fn command(&self, program: &Path) -> Command {
        behind(&self.wrapper, program)
    }
}

/// A command with the prefix `words`, which may be empty.
fn behind(words: &[String], program: &Path) -> Command {
    match words.split_first() {
        None => Command::new(program),
        Some((first, rest)) => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    }
}
