//! The programs: ours and the reference.

use std::path::PathBuf;

/// Our own program.
pub const COTTAR: &str = env!("CARGO_BIN_EXE_cottar");

/// Which program runs as a node or as a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The reference.
    Serf,
    /// Ours.
    Cottar,
}

impl Kind {
    /// The program's file.
    pub fn program(self) -> PathBuf {
        match self {
            Kind::Serf => reference().expect("only called when the reference is there"),
            Kind::Cottar => {
                std::env::var_os("COTTAR_BIN").map_or_else(|| COTTAR.into(), PathBuf::from)
            }
        }
    }
}

/// The reference's binary, if there is one: `COTTAR_SERF`, or `serf` in `PATH`.
pub fn reference() -> Option<PathBuf> {
    match std::env::var_os("COTTAR_SERF") {
        Some(given) => Some(PathBuf::from(given)).filter(|file| file.is_file()),
        None => on_path("serf"),
    }
}

/// Looks a program up in `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
