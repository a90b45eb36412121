//! Executes a plan: forms a cluster, fires events and applies disturbances, and ends with a calm period.

use crate::agent::Agent;
use crate::askers::{Fired, Firer};
use crate::history::History;
use crate::judge::judge;
use crate::live::Kind;
use crate::network;
use crate::noise::Rng;
use crate::plan::{Blow, Disturbance, Return, draw};
use crate::report;
use crate::runs::Runs;
use crate::settings::Settings;
use std::path::Path;
use std::time::{Duration, Instant};

/// Seconds for all agents to start and join.
const FORMING: f64 = 30.0;
/// Seconds of the calm period in which missing events must arrive.
const CALMING: f64 = 15.0;
/// Number of nodes that a returning agent joins.
const TARGETS: usize = 3;
/// Every eighth event is coalesced.
const COALESCED: usize = 8;
/// Interval at which the driver polls.
const TICK: Duration = Duration::from_millis(2);

/// Runs a soak with this loss; prints broken promises and returns their number.
pub fn run(settings: &Settings, loss: u8) -> usize {
    println!(
        "soak: seed {}, {} s, {loss} % loss, cast {}, {} events/s, profile {}",
        settings.seed,
        settings.seconds,
        settings.cast,
        settings.rate,
        settings.profile.name()
    );
    let folder = tempfile::Builder::new().prefix("cottar-soak-").tempdir();
    let folder = folder.expect("a folder");
    let history = network::in_own_network(|| {
        let mut driver = Driver::new(settings, folder.path(), loss);
        driver.form();
        network::lose(loss);
        driver.play();
        driver.calm();
        driver.history()
    });
    let history = history.expect("a network");
    let verdict = judge(&history);
    report::print(&history, &verdict);
    if let Some(keep) = &settings.keep {
        let kept = keep.join(format!("seed{}-loss{loss}", settings.seed));
        let _ = std::fs::remove_dir_all(&kept);
        std::fs::create_dir_all(keep).expect("a folder");
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .args([folder.path(), &kept])
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "{kept:?}");
        report::write(&history, &verdict, &kept);
        println!("kept in {}", kept.display());
    }
    verdict.broken.len()
}

struct Driver<'a> {
    settings: &'a Settings,
    loss: u8,
    origin: Instant,
    runs: Runs,
    fired: Fired,
    firers: Vec<Firer>,
    agents: Vec<Agent>,
    rng: Rng,
    /// Future disturbances, the next one last.
    plan: Vec<Disturbance>,
}

impl<'a> Driver<'a> {
    fn new(settings: &'a Settings, folder: &Path, loss: u8) -> Driver<'a> {
        let origin = Instant::now();
        let fired = Fired::default();
        let kind = |letter| match letter {
            'C' => Kind::Cottar,
            'S' => Kind::Serf,
            other => panic!("no kind of agent is called {other}"),
        };
        let cast = settings.cast.chars().map(kind).enumerate();
        let agents: Vec<Agent> = cast
            .map(|(index, kind)| Agent::new(index, kind, folder, settings))
            .collect();
        let firers = agents.iter().enumerate();
        let firers = firers.map(|(index, agent)| Firer::new(index, agent.rpc(), &fired, origin));
        let mut plan = draw(
            settings.seed,
            settings.cast.len(),
            settings.seconds,
            settings.pace,
        );
        plan.reverse();
        Driver {
            settings,
            loss,
            origin,
            runs: Runs::new(folder, origin),
            firers: firers.collect(),
            fired,
            agents,
            rng: Rng::new(settings.seed ^ 0x50a4),
            plan,
        }
    }

    fn now(&self) -> f64 {
        self.origin.elapsed().as_secs_f64()
    }

    fn start(&mut self, node: usize, comes_back: Return) {
        let now = self.now();
        let has_journal = self.agents[node].history.has_journal;
        let handler = self.runs.handler(node, has_journal);
        let others: Vec<usize> = (0..self.agents.len())
            .filter(|other| *other != node && self.agents[*other].is_back())
            .collect();
        let agent = &mut self.agents[node];
        let lives = agent.history.lives.len();
        // It can return by its snapshot only if it has one, and no leave has cleared it.
        let remembers = lives > 0 && {
            let life = &agent.history.lives[lives - 1];
            let left = life.end.is_some_and(|(_, blow)| blow == Some(Blow::Leave));
            agent.history.has_snapshot && (agent.history.rejoins || !left)
        };
        let flag = match comes_back {
            Return::Snapshot if remembers => None,
            Return::RetryJoin => Some("-retry-join"),
            _ => Some("-join"),
        };
        let mut flags = Vec::new();
        if let Some(flag) = flag {
            let first = self.rng.below(others.len());
            let some = (0..others.len().min(TARGETS)).map(|i| others[(first + i) % others.len()]);
            flags
                .extend(some.flat_map(|other| [flag.to_owned(), Agent::gossip(other).to_string()]));
        }
        agent.start(now, &handler, &flags);
    }

    /// Polls all agents.
    fn poll(&mut self, is_over: bool) {
        for node in 0..self.agents.len() {
            let now = self.now();
            if let Some(comes_back) = self.agents[node].poll(now, is_over) {
                self.start(node, comes_back);
            }
        }
        std::thread::sleep(TICK);
    }

    fn wait(&mut self, what: &str, seconds: f64, is_over: bool, done: impl Fn(&Driver) -> bool) {
        let deadline = self.now() + seconds * self.settings.patience;
        while !done(self) {
            let states: Vec<bool> = self.agents.iter().map(Agent::is_back).collect();
            assert!(self.now() < deadline, "no {what}: {states:?}");
            self.poll(is_over);
        }
    }

    /// Starts all agents and waits until they know each other.
    fn form(&mut self) {
        for node in 0..self.agents.len() {
            self.start(node, Return::Join);
            self.wait("agent that serves", FORMING, false, |driver| {
                driver.agents[node].is_back()
            });
        }
        let size = self.agents.len();
        for agent in &self.agents {
            let deadline = Instant::now() + Duration::from_secs_f64(FORMING);
            let mut client = crate::rpc::Client::connect(agent.rpc()).expect("an RPC connection");
            while client.members().expect("members") < size {
                assert!(
                    Instant::now() < deadline,
                    "{} knows few",
                    agent.history.name
                );
                std::thread::sleep(TICK * 10);
            }
        }
    }

    /// Fires events, sends queries and applies disturbances as planned.
    fn play(&mut self) {
        let began = self.now();
        let (mut fired, mut asked) = (0, 0);
        let mut struck = 0;
        while self.now() < began + self.settings.seconds {
            let elapsed = self.now() - began;
            while self.plan.last().is_some_and(|next| next.at <= elapsed) {
                let next = self.plan.pop().expect("one");
                let now = self.now();
                struck += usize::from(self.agents[next.node].strike(next, now));
            }
            while (fired as f64) < elapsed * self.settings.rate {
                let coalesced = self.rng.below(COALESCED) == 0;
                self.fire(format!("e{fired}"), coalesced);
                fired += 1;
            }
            if f64::from(asked) < elapsed {
                asked += 1;
                if let Some(node) = self.any() {
                    self.firers[node].ask();
                }
            }
            self.poll(false);
        }
        println!("{fired} events, {asked} queries, {struck} disturbances");
    }

    /// Picks a node that serves RPC.
    fn any(&mut self) -> Option<usize> {
        let all = 0..self.agents.len();
        let some: Vec<usize> = all.filter(|node| self.agents[*node].is_back()).collect();
        let chosen = self.rng.below(some.len());
        some.get(chosen).copied()
    }

    fn fire(&mut self, name: String, coalesced: bool) {
        if let Some(node) = self.any() {
            let life = self.agents[node].life();
            self.firers[node].fire(life, name, coalesced);
        }
    }

    /// How long the calm may last.
    fn calming(&self) -> f64 {
        (CALMING + self.settings.profile.slack()) * self.settings.patience
    }

    /// Starts all agents again, and waits for missing events.
    fn calm(&mut self) {
        self.wait("agents that are back", FORMING, true, |driver| {
            driver.agents.iter().all(Agent::is_back)
        });
        let deadline = self.now() + self.calming();
        let mut look = self.now();
        while self.now() < deadline {
            // Judging takes long, so agents are polled in between.
            if self.now() >= look {
                if judge(&self.history()).is_complete() {
                    break;
                }
                look = self.now() + 0.5;
            }
            self.poll(true);
        }
        // A wrong repetition would run before the handlers of this last event.
        self.fire("last".to_owned(), false);
        let deadline = self.now() + self.calming();
        let size = self.agents.len();
        while self.now() < deadline {
            let runs = self.runs.so_far();
            if runs.iter().filter(|run| run.event == "last").count() >= size {
                break;
            }
            self.poll(true);
        }
    }

    fn history(&self) -> History {
        History {
            now: self.now(),
            loss: self.loss,
            patience: self.settings.patience,
            slack: self.settings.profile.slack(),
            nodes: self
                .agents
                .iter()
                .map(|agent| agent.history.clone())
                .collect(),
            events: self.fired.events.lock().expect("never poisoned").clone(),
            runs: self.runs.so_far(),
            queries: self.fired.queries.lock().expect("never poisoned").clone(),
        }
    }
}
