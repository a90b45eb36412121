//! How an agent is to be started.

use super::agent::Agent;
use super::recorder::Recorder;
use super::{Kind, free};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How an agent is to be started. Nothing is said to it that the test has not asked for, but where it
/// listens.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who plays it.
    pub kind: Kind,
    /// Its node name; empty if it is to find one.
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
    /// An agent with a name that says all that it does.
    pub fn new(kind: Kind, name: &str) -> Spec {
        Spec {
            kind,
            name: name.into(),
            log_level: Some("debug"),
            ..Spec::bare(kind)
        }
    }

    /// An agent as it is without any flags.
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

    /// Another name.
    pub fn name(mut self, name: &str) -> Spec {
        self.name = name.into();
        self
    }

    /// A tag.
    pub fn tag(mut self, name: &str, value: &str) -> Spec {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// A node to join at start.
    pub fn join(mut self, other: &Agent) -> Spec {
        self.join.push(other.gossip.to_string());
        self
    }

    /// Nobody to join at start but this one.
    pub fn join_only(mut self, other: &Agent) -> Spec {
        self.join.clear();
        self.join(other)
    }

    /// Further flags.
    pub fn args<S: AsRef<str>>(mut self, args: impl IntoIterator<Item = S>) -> Spec {
        let args = args.into_iter();
        self.args.extend(args.map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// An event handler.
    pub fn handler(self, handler: &str) -> Spec {
        self.args(["-event-handler", handler])
    }

    /// A handler that records every event that it is run for.
    pub fn recorded(self, recorder: &Recorder) -> Spec {
        self.handler(&recorder.handler())
    }

    /// An encryption key.
    pub fn key(self, key: &str) -> Spec {
        self.args(["-encrypt", key])
    }

    /// Fixed addresses: gossip, RPC.
    pub fn addresses(mut self, gossip: SocketAddr, rpc: SocketAddr) -> Spec {
        self.addresses = Some((gossip, rpc));
        self
    }

    /// A fixed address for gossip.
    pub fn gossip(self, gossip: SocketAddr) -> Spec {
        self.addresses(gossip, free())
    }

    /// Another log level than the usual one.
    pub fn log_level(mut self, level: &'static str) -> Spec {
        self.log_level = Some(level);
        self
    }

    /// A variable of the agent's environment.
    pub fn env(mut self, name: &str, value: &str) -> Spec {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A command that becomes the agent that it is given, or that runs it.
    pub fn launcher(mut self, words: &[&str]) -> Spec {
        self.launcher = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// A shell that does this before it becomes the agent.
    pub fn after(self, script: &str) -> Spec {
        self.launcher(&["/bin/sh", "-c", &format!("{script}; exec \"$@\""), "sh"])
    }

    /// A command that runs the agent, and every command line aimed at it, in other surroundings; it
    /// must become what it runs, so that the process id stays.
    pub fn wrapper<I: IntoIterator<Item = S>, S: Into<String>>(mut self, wrapper: I) -> Spec {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Another file of the program.
    pub fn program(mut self, program: &Path) -> Spec {
        self.program = Some(program.into());
        self
    }

    /// Its stdout is a pipe: it may write no files, or none that are long.
    pub fn piped(mut self) -> Spec {
        self.is_piped = true;
        self
    }

    /// A folder to run in.
    pub fn current_dir(mut self, folder: &Path) -> Spec {
        self.current_dir = Some(folder.into());
        self
    }

    /// A folder to run in, and to leave its output in for whoever owns the folder.
    pub fn folder(mut self, folder: &Path) -> Spec {
        self.folder = Some(folder.into());
        self
    }

    /// Starts the agent and waits until it serves.
    #[track_caller]
    pub fn start(self) -> Agent {
        Agent::start_spec(self)
    }

    /// Starts the agent, which may well refuse to start.
    pub fn launch(self) -> Agent {
        Agent::launch(self)
    }

    /// Whether it gets other addresses each time.
    pub(super) fn is_anywhere(&self) -> bool {
        self.addresses.is_none()
    }

    /// Where it is to gossip, and to serve RPC.
    pub(super) fn places(&self) -> (SocketAddr, SocketAddr) {
        self.addresses.unwrap_or_else(|| (free(), free()))
    }

    /// A file for what it prints, that no other life of it has.
    pub(super) fn output_path(&self, gossip: SocketAddr, end: &str) -> Option<PathBuf> {
        let folder = self.folder.as_ref()?;
        // A file's name may not hold all that a node's may.
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

    /// A command that starts `program` in the surroundings of the agent.
    pub(super) fn command(&self, program: &Path) -> Command {
        behind(&self.wrapper, program)
    }
}

/// A command that is run by some words in front of it, if there are any.
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
