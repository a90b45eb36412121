//! Cost of an idle node: bytes on disk and in memory, processor time, wake-ups.

use crate::live::{Agent, Kind, Lab};
use crate::proc;
use crate::rpc::Client;
use crate::table::Row;
use std::time::{Duration, Instant};

/// Time until the work of the start has ended.
const SETTLE: Duration = Duration::from_secs(4);
const WATCHED: Duration = Duration::from_secs(20);

/// Sizes of the files; both are stripped.
pub fn binary_size() -> Vec<Row> {
    let [ours, theirs] = [Kind::Cottar, Kind::Serf]
        .map(|kind| std::fs::metadata(kind.program()).expect("a binary").len() as f64);
    let reached = ours <= 1.6e6;
    vec![Row::numbers(
        "binary, bytes",
        ours,
        theirs,
        "at most 1.6 MB",
        reached,
    )]
}

/// One node of each kind, alone, at the same time: memory after the start has settled, then processor time
/// and sleeps of all threads over 20 s, as the kernel counts them.
pub fn idle() -> Vec<Row> {
    let labs = [Lab::new("idle", "C"), Lab::new("idle", "S")];
    let nodes = labs.each_ref().map(|lab| {
        let node = lab.start(lab.spec(0).log_level("info"));
        let members = Client::connect(node.rpc).and_then(|mut client| client.members());
        assert_eq!(members.expect("a member list"), 1);
        node
    });
    std::thread::sleep(SETTLE);
    let [ours, theirs] = nodes.each_ref().map(|node| proc::memory(node.pid()));
    let before = nodes.each_ref().map(Counted::of);
    let started = Instant::now();
    std::thread::sleep(WATCHED);
    let seconds = started.elapsed().as_secs_f64();
    let spent = [0, 1].map(|index| Counted::of(&nodes[index]).since(&before[index], seconds));
    let [(our_time, our_sleeps), (their_time, their_sleeps)] = spent;
    vec![
        Row::numbers(
            "idle, resident, KiB",
            ours.resident_kb,
            theirs.resident_kb,
            "at most 2.5 MB",
            ours.resident_kb * 1024.0 <= 2.5e6,
        ),
        Row::less(
            "idle, private dirty, KiB",
            ours.private_dirty_kb,
            theirs.private_dirty_kb,
        ),
        Row::less("idle, processor time, us per second", our_time, their_time),
        Row::less("idle, wake-ups per second", our_sleeps, their_sleeps),
    ]
}

/// Resources that a process has used so far.
struct Counted {
    time: Duration,
    sleeps: std::collections::BTreeMap<String, u64>,
}

impl Counted {
    fn of(node: &Agent) -> Counted {
        Counted {
            time: proc::processor_time(node.pid()),
            sleeps: proc::sleeps(node.pid()),
        }
    }

    /// Microseconds and sleeps per second.
    fn since(&self, before: &Counted, seconds: f64) -> (f64, f64) {
        let gained: u64 = self
            .sleeps
            .iter()
            .map(|(thread, count)| count - before.sleeps.get(thread).unwrap_or(&0))
            .sum();
        let time = self.time.saturating_sub(before.time).as_secs_f64() * 1e6;
        (time / seconds, gained as f64 / seconds)
    }
}
