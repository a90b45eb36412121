//! One node: its current agent, the current disturbance, and the history of its lives.

use crate::history::{Life, NodeHistory};
use crate::live::{self, Kind, Spec, arg};
use crate::plan::{Blow, Disturbance, Return};
use crate::runs::LIFE;
use crate::settings::Settings;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Seconds after which an agent that was told to end is killed; a leave may take ten.
const ENDING_MAX: f64 = 15.0;

/// The state of a node in the soak.
enum Phase {
    /// Running, or starting.
    Running,
    /// Stopped by SIGSTOP until this time.
    Frozen { until: f64 },
    /// Ending, after a signal or a leave.
    Ending { since: f64 },
    /// Ended; is started again at this time.
    Gone { until: f64 },
}

/// A node of the soak.
pub struct Agent {
    pub history: NodeHistory,
    index: usize,
    folder: PathBuf,
    flags: Vec<String>,
    process: Option<live::Agent>,
    /// Whether its current life joins no other node.
    is_first: bool,
    phase: Phase,
    /// The current disturbance.
    trouble: Option<Disturbance>,
}

impl Agent {
    /// Creates a node that has not run yet. Every fifth node has no snapshot, every other one has `-rejoin`,
    /// and about half of the cottars with a snapshot, chosen by the seed, have a journal.
    pub fn new(index: usize, kind: Kind, folder: &Path, settings: &Settings) -> Agent {
        let has_snapshot = index % 5 != 4;
        let is_drawn = (index + index / 2) % 2 == (settings.seed % 2) as usize;
        let flags = [
            "-log-level",
            &settings.log_level,
            "-profile",
            settings.profile.name(),
        ];
        Agent {
            history: NodeHistory {
                name: format!("n{index}"),
                kind,
                has_snapshot,
                has_journal: kind == Kind::Cottar && has_snapshot && is_drawn,
                rejoins: index / 2 % 2 == 0,
                lives: Vec::new(),
            },
            index,
            folder: folder.to_owned(),
            flags: flags.map(str::to_owned).to_vec(),
            process: None,
            is_first: false,
            phase: Phase::Gone {
                until: f64::INFINITY,
            },
            trouble: None,
        }
    }

    fn ip(index: usize) -> Ipv4Addr {
        Ipv4Addr::new(127, 0, 1, index as u8 + 1)
    }

    /// The gossip address of a node.
    pub fn gossip(index: usize) -> SocketAddr {
        (Agent::ip(index), 7946).into()
    }

    /// The RPC address of the node.
    pub fn rpc(&self) -> SocketAddr {
        (Agent::ip(self.index), 7373).into()
    }

    /// Index of the current or last life.
    pub fn life(&self) -> usize {
        self.history.lives.len() - 1
    }

    fn now_living(&mut self) -> &mut Life {
        self.history.lives.last_mut().expect("a life")
    }

    /// Whether it runs, is not stopped and has joined.
    pub fn is_back(&self) -> bool {
        let life = self.history.lives.last();
        matches!(self.phase, Phase::Running) && life.is_some_and(|life| life.back.is_some())
    }

    /// Starts a life with further flags.
    pub fn start(&mut self, now: f64, handler: &str, flags: &[String]) {
        let life = self.history.lives.len();
        let mut spec = Spec::bare(self.history.kind)
            .name(&self.history.name)
            .addresses(Agent::gossip(self.index), self.rpc())
            .args(&self.flags)
            .env(LIFE, &life.to_string())
            .handler(handler)
            .handler("query:probe=echo here")
            .args(flags);
        if self.history.has_snapshot {
            let snapshot = self.path("snapshot");
            spec = spec.args(["-snapshot", arg(&snapshot)]);
        }
        if self.history.has_journal {
            spec = spec.args(["-journal", arg(&self.path("journal"))]);
        }
        if self.history.rejoins {
            spec = spec.args(["-rejoin"]);
        }
        self.process = Some(spec.folder(&self.folder).launch());
        self.is_first = life == 0 && flags.is_empty();
        self.phase = Phase::Running;
        self.history.lives.push(Life {
            start: now,
            ..Life::default()
        });
    }

    fn path(&self, end: &str) -> PathBuf {
        self.folder.join(format!("{}.{end}", self.history.name))
    }

    /// Evaluates the log lines since the last call.
    fn heard(&self) -> Words {
        let process = self.process.as_ref();
        process.map_or_else(Words::default, |agent| Words::of(&agent.take_lines()))
    }

    /// Applies a disturbance, unless another one is in progress.
    pub fn strike(&mut self, disturbance: Disturbance, now: f64) -> bool {
        if !self.is_back() {
            return false;
        }
        let process = self.process.as_ref().expect("a running agent");
        self.trouble = Some(disturbance);
        let signal = match disturbance.blow {
            Blow::Kill => libc::SIGKILL,
            Blow::Stop => libc::SIGTERM,
            Blow::Leave => libc::SIGINT,
            Blow::Pause => libc::SIGSTOP,
        };
        process.signal(signal);
        let until = now + disturbance.absence;
        if disturbance.blow == Blow::Pause {
            self.now_living().pauses.push((now, f64::INFINITY));
            self.phase = Phase::Frozen { until };
        } else {
            self.now_living().end = Some((now, Some(disturbance.blow)));
            self.phase = Phase::Ending { since: now };
        }
        true
    }

    /// Updates the state; returns how to start the agent again, if that is due.
    pub fn poll(&mut self, now: f64, is_over: bool) -> Option<Return> {
        let words = self.heard();
        if let Some(life) = self.history.lives.last_mut() {
            words.apply(life, self.is_first, now);
        }
        match self.phase {
            Phase::Running | Phase::Ending { .. } => self.watch(now),
            Phase::Frozen { until } if now >= until || is_over => {
                let process = self.process.as_ref().expect("a frozen agent");
                process.signal(libc::SIGCONT);
                self.now_living().pauses.last_mut().expect("a pause").1 = now;
                self.phase = Phase::Running;
            }
            Phase::Gone { until } if now >= until || (is_over && until.is_finite()) => {
                let planned = self.trouble.map(|trouble| trouble.comes_back);
                return Some(planned.unwrap_or(Return::Join));
            }
            Phase::Frozen { .. } | Phase::Gone { .. } => {}
        }
        None
    }

    fn watch(&mut self, now: f64) {
        let process = self.process.as_ref().expect("an agent");
        if process.is_over() {
            self.bury(now);
        } else if let Phase::Ending { since } = self.phase {
            if now > since + ENDING_MAX {
                process.signal(libc::SIGKILL);
            }
        }
    }

    fn bury(&mut self, now: f64) {
        let words = self.heard();
        let noted = noted(&self.path("snapshot"));
        let was_told = matches!(self.phase, Phase::Ending { .. });
        let life = self.history.lives.last_mut().expect("a life");
        words.apply(life, self.is_first, now);
        life.noted = noted;
        life.end.get_or_insert((now, None));
        let absence = match self.trouble {
            Some(trouble) if was_told => trouble.absence,
            _ => 0.2,
        };
        if !was_told {
            // The nodes to join were stopped or have ended; try again with others.
            self.trouble = None;
        }
        let folder = self.path(&format!("{}.snapshot", self.life()));
        let _ = std::fs::copy(self.path("snapshot"), folder);
        self.process = None;
        self.phase = Phase::Gone {
            until: now + absence,
        };
    }
}

/// The hashes of the events that a snapshot records as seen (delivery spec D2).
fn noted(snapshot: &Path) -> BTreeSet<u64> {
    let bytes = std::fs::read(snapshot).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    text.lines()
        .filter_map(|line| line.strip_prefix("# cottar-seen "))
        .filter_map(|rest| u64::from_str_radix(rest.split(' ').nth(1)?, 16).ok())
        .collect()
}

/// Information from log lines.
#[derive(Default)]
struct Words {
    serves: bool,
    joined: bool,
    handed: BTreeSet<String>,
}

impl Words {
    /// Extracts it from log lines.
    fn of(lines: &str) -> Words {
        let mut words = Words::default();
        for line in lines.lines() {
            if let Some((_, name)) = line.split_once("Received event: user-event: ") {
                words.handed.insert(name.to_owned());
            }
            words.serves |= line.contains("Log data will now stream in");
            words.joined |= ["Join completed. Synced with", "Re-joined to previously"]
                .iter()
                .any(|text| line.contains(text));
        }
        words
    }

    fn apply(self, life: &mut Life, is_first: bool, now: f64) {
        if self.joined || (self.serves && is_first) {
            life.back.get_or_insert(now);
        }
        life.handed.extend(self.handed);
    }
}
