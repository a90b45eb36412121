//! What an idle node costs: bytes on disk and in memory, wake-ups.

use crate::harness::process::Process;
use crate::harness::{Kind, Lab, Node};
use crate::rpc::Client;
use crate::table::Row;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

fn idle(lab: &Lab) -> Node {
    let node = lab.start(lab.spec(0).log_level("info"));
    let members = Client::connect(node.rpc).and_then(|mut client| client.members());
    assert_eq!(members.expect("a member list"), 1);
    node
}

/// The size of the files.
pub fn binary_size(name: &'static str) -> Row {
    let [ours, theirs] = [Kind::Cottar, Kind::Serf]
        .map(|kind| std::fs::metadata(kind.program()).expect("a binary").len() as f64);
    Row::numbers(name, ours, theirs, "at most 2 MB", ours <= 2e6)
}

/// Resident memory after a few idle seconds.
pub fn resident(name: &'static str) -> Row {
    let labs = [Lab::new("resident", "C"), Lab::new("resident", "S")];
    let nodes = labs.each_ref().map(idle);
    std::thread::sleep(Duration::from_secs(4));
    let [ours, theirs] = nodes
        .each_ref()
        .map(|node| Process::resident_kb(node.id()) as f64);
    Row::numbers(name, ours, theirs, "at most 2.5 MB", ours * 1024.0 <= 2.5e6)
}

/// How often the threads went to sleep and so had been woken, over ten seconds.
pub fn wake_ups(name: &'static str) -> Row {
    let labs = [Lab::new("wake-ups", "C"), Lab::new("wake-ups", "S")];
    let nodes = labs.each_ref().map(idle);
    // The start's own events are over by then.
    std::thread::sleep(Duration::from_secs(3));
    let before = nodes.each_ref().map(|node| switches(node.id()));
    let started = Instant::now();
    std::thread::sleep(Duration::from_secs(10));
    let after = nodes.each_ref().map(|node| switches(node.id()));
    let seconds = started.elapsed().as_secs_f64();
    let [ours, theirs] = [0, 1].map(|index| {
        let gained: u64 = after[index]
            .iter()
            .map(|(thread, count)| count - before[index].get(thread).unwrap_or(&0))
            .sum();
        gained as f64 / seconds
    });
    Row::numbers(name, ours, theirs, "fewer", ours < theirs)
}

/// Voluntary context switches of each thread.
fn switches(id: u32) -> BTreeMap<String, u64> {
    std::fs::read_dir(format!("/proc/{id}/task"))
        .expect("a live process")
        .filter_map(|entry| {
            let thread = entry.ok()?;
            let status = std::fs::read_to_string(thread.path().join("status")).ok()?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((
                thread.file_name().to_string_lossy().into_owned(),
                line.trim().parse().ok()?,
            ))
        })
        .collect()
}
