//! Tags, keyring and snapshot files of live agents (agent spec 4.10), alone and shared with the reference.

mod locks;
mod rejoin;
mod slow_disk;
mod snapshot_writes;
mod tags_and_keys;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::live::Agent;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The flag with which an agent joins another one.
fn join(other: &Agent) -> String {
    format!("-retry-join={}", other.gossip)
}

const OLD_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQ==";
const NEW_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// The numbers of other files and of lock files in a folder.
fn files_and_locks(dir: &Path) -> (usize, usize) {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let (locks, files): (Vec<_>, Vec<_>) = names.partition(|name| name.ends_with(".lock"));
    (files.len(), locks.len())
}
