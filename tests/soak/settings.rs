//! What a soak is told by its environment.

use std::path::PathBuf;
use std::str::FromStr;

/// How long, how hard and with whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `COTTAR_SOAK_SECONDS`: how long events are fired.
    pub seconds: f64,
    /// `COTTAR_SOAK_LOSS`: percentages of UDP datagrams that are dropped, a run each.
    pub losses: Vec<u8>,
    /// `COTTAR_SOAK_SEED`: what the plan is drawn from; without it, a new one from the clock.
    pub seed: u64,
    /// One letter a node: `C` or, with `COTTAR_SOAK_MIXED`, `S` for every other one. `COTTAR_SOAK_CAST`
    /// sets it as a whole.
    pub cast: String,
    /// `COTTAR_SOAK_RATE`: events a second in the whole cluster.
    pub rate: f64,
    /// `COTTAR_SOAK_PACE`: mean seconds between two disturbances; 0 for none.
    pub pace: f64,
    /// `COTTAR_SOAK_PROFILE`: `lan` or `wan`.
    pub profile: Profile,
    /// `COTTAR_SOAK_LOG`: log level of the agents.
    pub log_level: String,
    /// `COTTAR_SOAK_KEEP`: folder that logs, snapshots and the runs are kept in.
    pub keep: Option<PathBuf>,
    /// Factor for what the promises allow, for machines that are busy otherwise (`COTTAR_PATIENCE`).
    pub patience: f64,
}

/// The timing that the agents have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Lan,
    Wan,
}

impl Profile {
    fn from_name(name: &str) -> Profile {
        match name {
            "lan" => Profile::Lan,
            "wan" => Profile::Wan,
            other => panic!("COTTAR_SOAK_PROFILE: '{other}' is neither lan nor wan"),
        }
    }

    /// What the agents' flag calls it.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Wan => "wan",
        }
    }

    /// What D4 allows an event besides, in seconds: with `wan`, two probe intervals.
    pub fn slack(self) -> f64 {
        match self {
            Profile::Lan => 0.0,
            Profile::Wan => 2.0 * 5.0,
        }
    }
}

impl Settings {
    /// Some seconds with a cast, for the default run, on a machine that has other things to do.
    pub fn short(cast: &str) -> Settings {
        Settings {
            seconds: 8.0,
            cast: cast.into(),
            pace: 0.8,
            patience: number("COTTAR_PATIENCE").unwrap_or(BUSY),
            ..Settings::from_env()
        }
    }

    /// A minute of eight cottars without loss, unless the environment says otherwise.
    pub fn from_env() -> Settings {
        let nodes: usize = number("COTTAR_SOAK_NODES").unwrap_or(8);
        let mixed = text("COTTAR_SOAK_MIXED").is_some();
        let letter = |index: usize| if mixed && index % 2 == 1 { 'S' } else { 'C' };
        Settings {
            seconds: number("COTTAR_SOAK_SECONDS").unwrap_or(60.0),
            losses: losses(&text("COTTAR_SOAK_LOSS").unwrap_or_else(|| "0".into())),
            seed: number("COTTAR_SOAK_SEED").unwrap_or_else(new_seed),
            cast: text("COTTAR_SOAK_CAST").unwrap_or_else(|| (0..nodes).map(letter).collect()),
            rate: number("COTTAR_SOAK_RATE").unwrap_or(15.0),
            pace: number("COTTAR_SOAK_PACE").unwrap_or(2.0),
            profile: Profile::from_name(
                &text("COTTAR_SOAK_PROFILE").unwrap_or_else(|| "lan".into()),
            ),
            log_level: text("COTTAR_SOAK_LOG").unwrap_or_else(|| "info".into()),
            keep: text("COTTAR_SOAK_KEEP").map(PathBuf::from),
            patience: number("COTTAR_PATIENCE").unwrap_or(1.0),
        }
    }
}

/// How much longer than on an idle machine things may take in the default run.
const BUSY: f64 = 4.0;

/// A variable that is set to something.
fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &str) -> Option<T> {
    text(name).map(|value| {
        let parsed = value.parse().ok();
        parsed.unwrap_or_else(|| panic!("{name}: '{value}' is no such number"))
    })
}

fn losses(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|word| match word.parse() {
            Ok(percent) if percent < 100 => percent,
            _ => panic!("COTTAR_SOAK_LOSS: '{word}' is no percentage"),
        })
        .collect()
}

fn new_seed() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    since.expect("a clock").subsec_nanos().into()
}
