//! The settings of a soak, from environment variables.

use std::path::PathBuf;
use std::str::FromStr;

/// The settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `COTTAR_SOAK_SECONDS`: for how many seconds events are fired.
    pub seconds: f64,
    /// `COTTAR_SOAK_LOSS`: percentages of UDP datagrams that are dropped, one run for each.
    pub losses: Vec<u8>,
    /// `COTTAR_SOAK_SEED`: the seed of the plan; by default taken from the clock.
    pub seed: u64,
    /// One letter per node: `C` or, with `COTTAR_SOAK_MIXED`, `S` for every other node. `COTTAR_SOAK_CAST`
    /// sets the whole text.
    pub cast: String,
    /// `COTTAR_SOAK_RATE`: events a second in the whole cluster.
    pub rate: f64,
    /// `COTTAR_SOAK_PACE`: mean seconds between two disturbances; 0 for none.
    pub pace: f64,
    /// `COTTAR_SOAK_PROFILE`: `lan` or `wan`.
    pub profile: Profile,
    /// `COTTAR_SOAK_LOG`: log level of the agents.
    pub log_level: String,
    /// `COTTAR_SOAK_KEEP`: the folder in which logs, snapshots and runs are kept.
    pub keep: Option<PathBuf>,
    /// Factor for the time limits of the promises, for busy machines (`COTTAR_PATIENCE`).
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

    /// Its name in the agents' flag.
    pub fn name(self) -> &'static str {
        match self {
            Profile::Lan => "lan",
            Profile::Wan => "wan",
        }
    }

    /// Seconds that the profile adds to the limits of D4: two probe intervals with `wan`.
    pub fn slack(self) -> f64 {
        match self {
            Profile::Lan => 0.0,
            Profile::Wan => 2.0 * 5.0,
        }
    }
}

impl Settings {
    /// A soak of some seconds with this cast, for the default run on a busy machine.
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

/// Factor by which time limits are longer than on an idle machine, in the default run.
const BUSY: f64 = 4.0;

/// The value of a variable, if it is set and not empty.
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
