//! Statistics of the kernel about a process and its network.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// All resident memory, including shared pages of files.
    pub resident_kb: f64,
    /// Private dirty memory: what would be free without the process.
    pub private_dirty_kb: f64,
    /// Proportional memory: each page divided by the number of processes that share it.
    pub proportional_kb: f64,
}

/// Returns the memory of a process.
pub fn memory(id: u32) -> Memory {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).expect("a live process");
    let field = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let number = line.expect(name).trim().trim_end_matches(" kB");
        number.parse().expect("a number")
    };
    Memory {
        resident_kb: field("Rss:"),
        private_dirty_kb: field("Private_Dirty:"),
        proportional_kb: field("Pss:"),
    }
}

/// Returns the files called `name` of a process's threads.
fn threads(id: u32, name: &str) -> Vec<(String, String)> {
    fs::read_dir(format!("/proc/{id}/task"))
        .expect("a live process")
        .filter_map(|entry| {
            let thread = entry.ok()?;
            let text = fs::read_to_string(thread.path().join(name)).ok()?;
            Some((thread.file_name().to_string_lossy().into_owned(), text))
        })
        .collect()
}

/// Returns the processor time of all running threads.
pub fn processor_time(id: u32) -> Duration {
    let nanos = threads(id, "schedstat")
        .iter()
        .filter_map(|(_, text)| text.split(' ').next()?.parse::<u64>().ok())
        .sum();
    Duration::from_nanos(nanos)
}

/// Returns how often each thread went to sleep, which equals its wake-ups.
pub fn sleeps(id: u32) -> BTreeMap<String, u64> {
    threads(id, "status")
        .into_iter()
        .filter_map(|(thread, status)| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            Some((thread, line.trim().parse().ok()?))
        })
        .collect()
}

/// Returns the bytes and packets that have passed the loopback interface of this thread's network.
pub fn loopback_traffic() -> (f64, f64) {
    let text = fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
    let line = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("lo:"))
        .expect("a loopback interface");
    let numbers: Vec<f64> = line
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}
