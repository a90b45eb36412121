//! One agent: how to start it, talk to it and end it.

use super::lab::free_addresses;
use super::process::{Finished, Process, run};
use super::recorder::Recorder;
use super::wait::{eventually, patience, until};
use super::{Kind, Member};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// How an agent is to be started.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Who plays it.
    pub kind: Kind,
    /// Its node name.
    pub name: String,
    /// Its tags at start.
    pub tags: BTreeMap<String, String>,
    join: Vec<String>,
    args: Vec<String>,
    addresses: Option<(SocketAddr, SocketAddr)>,
    log_level: &'static str,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
}

impl Spec {
    /// An agent with nothing but a name.
    pub fn new(kind: Kind, name: &str) -> Spec {
        Spec {
            kind,
            name: name.into(),
            tags: BTreeMap::new(),
            join: Vec::new(),
            args: Vec::new(),
            addresses: None,
            log_level: "debug",
            env: Vec::new(),
            wrapper: Vec::new(),
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
    pub fn join(mut self, other: &Node) -> Spec {
        self.join.push(other.gossip.to_string());
        self
    }

    /// Further flags.
    pub fn args<I: IntoIterator<Item = S>, S: Into<String>>(mut self, args: I) -> Spec {
        self.args.extend(args.into_iter().map(Into::into));
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

    /// Another log level than `debug`.
    pub fn log_level(mut self, level: &'static str) -> Spec {
        self.log_level = level;
        self
    }

    /// A command that runs the agent, and every command line aimed at it, in other surroundings; it
    /// must become what it runs, so that the process id stays.
    #[allow(dead_code, reason = "used where nodes have hosts of their own")]
    pub fn wrapper<I: IntoIterator<Item = S>, S: Into<String>>(mut self, wrapper: I) -> Spec {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// A command that starts `program` in the surroundings of the agent.
    fn command(&self, program: &Path) -> Command {
        match self.wrapper.split_first() {
            None => Command::new(program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        }
    }

    /// A variable of the agent's environment.
    pub fn env(mut self, name: &str, value: &str) -> Spec {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Node {
    /// How it was started.
    pub spec: Spec,
    /// Its gossip address.
    pub gossip: SocketAddr,
    /// Its RPC address.
    pub rpc: SocketAddr,
    process: Process,
    log: PathBuf,
}

impl Node {
    /// Starts an agent and waits until it serves; another process that takes its port in between is
    /// no failure.
    #[track_caller]
    pub fn start(folder: &Path, spec: Spec) -> Node {
        let mut attempts_left = 5;
        loop {
            let mut node = Node::launch(folder, spec.clone());
            let ready = node.await_ready();
            if ready.is_ok() {
                return node;
            }
            attempts_left -= 1;
            let taken = node.log().contains("address already in use");
            assert!(
                taken && attempts_left > 0,
                "{} did not start: {ready:?}",
                node.spec.name
            );
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }

    /// Starts an agent that may well refuse to start.
    pub fn launch(folder: &Path, spec: Spec) -> Node {
        let (gossip, rpc) = spec.addresses.unwrap_or_else(free_addresses);
        // A log per life: what the node said before a restart stays apart from what it says after.
        // A file's name may not hold all that a node's may.
        let name: String = spec.name.replace('/', "_").chars().take(80).collect();
        let mut log = folder.join(format!("{name}-{}.log", gossip.port()));
        for life in 2.. {
            if !log.exists() {
                break;
            }
            log = folder.join(format!("{name}-{}.{life}.log", gossip.port()));
        }
        let output = std::fs::File::create(&log).expect("a log file");
        let mut command = spec.command(&spec.kind.program());
        command
            .args(["agent", "-node", &spec.name, "-bind", &gossip.to_string()])
            .args(["-rpc-addr", &rpc.to_string(), "-log-level", spec.log_level])
            .args(
                spec.tags
                    .iter()
                    .flat_map(|(name, value)| ["-tag".to_owned(), format!("{name}={value}")]),
            )
            .args(spec.join.iter().flat_map(|target| ["-join", target]))
            .args(&spec.args)
            .envs(spec.env.iter().map(|(name, value)| (name, value)))
            .env_remove("SERF_RPC_ADDR")
            .env_remove("SERF_RPC_AUTH")
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log file"))
            .stderr(output);
        let process = Process::spawn(&mut command).expect("an agent");
        Node {
            spec,
            gossip,
            rpc,
            process,
            log,
        }
    }

    /// Waits until the agent has said that it runs and, if it was to join, that it did.
    fn await_ready(&mut self) -> Result<(), String> {
        until(15.0, || {
            let log = self.log();
            if log.contains("Log data will now stream in") {
                return Ok(());
            }
            match self.process.status() {
                Some(status) => Err(format!("ended with {status}:\n{log}")),
                None => Err(format!("still starting:\n{log}")),
            }
        })
    }

    /// Everything that the agent has printed in this life.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds `text`.
    #[track_caller]
    pub fn await_log(&self, text: &str, seconds: f64) {
        eventually(
            seconds,
            &format!("{}: \"{text}\" in the log", self.spec.name),
            || {
                if self.log().contains(text) {
                    Ok(())
                } else {
                    Err("no such line".into())
                }
            },
        );
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process has ended.
    #[allow(dead_code, reason = "asked by the bench")]
    pub fn is_over(&mut self) -> bool {
        self.process.status().is_some()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: i32) {
        self.process.signal(signal);
    }

    /// Waits for the agent's end.
    #[track_caller]
    pub fn await_exit(&mut self, seconds: f64) -> ExitStatus {
        let name = self.spec.name.clone();
        eventually(seconds, &format!("{name}: end of the agent"), || {
            self.process.status().ok_or_else(|| "still running".into())
        })
    }

    /// Kills the agent as a power cut would.
    pub fn crash(&mut self) {
        self.process.signal(libc::SIGKILL);
        self.await_exit(5.0);
    }

    /// A new life for an agent that has ended: same name, same addresses, joining `other`.
    #[track_caller]
    pub fn restart(self, other: &Node) -> Node {
        let folder = self
            .log
            .parent()
            .expect("the log is in a folder")
            .to_path_buf();
        let mut spec = self.spec.clone().addresses(self.gossip, self.rpc);
        spec.join = vec![other.gossip.to_string()];
        drop(self);
        Node::start(&folder, spec)
    }

    /// A command of the given kind's command line, aimed at this agent. Flags go in front.
    pub fn command(&self, kind: Kind, args: &[&str]) -> Command {
        let mut command = self.spec.command(&kind.program());
        let (name, rest) = args.split_first().expect("a command");
        command
            .arg(name)
            .arg(format!("-rpc-addr={}", self.rpc))
            .args(rest)
            .env_remove("SERF_RPC_ADDR")
            .env_remove("SERF_RPC_AUTH");
        command
    }

    /// Runs a command of the given kind's command line against this agent.
    #[track_caller]
    pub fn ask(&self, kind: Kind, args: &[&str]) -> Finished {
        run(&mut self.command(kind, args), patience(30.0)).expect("a command that ends")
    }

    /// Runs a command of the reference's command line, as every scenario does unless the command line
    /// is its subject.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Finished {
        self.ask(Kind::Serf, args)
    }

    /// The member list as this agent sees it.
    pub fn members(&self) -> Result<Vec<Member>, String> {
        let mut command = self.command(Kind::Serf, &["members", "-format=json"]);
        Member::list(&run(&mut command, patience(10.0))?)
    }

    /// Fires a user event that is not coalesced.
    #[track_caller]
    pub fn event(&self, name: &str, payload: &str) {
        self.cli(&["event", "-coalesce=false", name, payload])
            .success();
    }
}
