//! The traffic of an idle cluster.

use crate::live::namespace::in_own_network;
use crate::live::{Kind, Lab, await_each_other};
use crate::proc;
use crate::table::Row;
use std::time::{Duration, Instant};

const AGENTS: usize = 10;
/// Time after which the broadcasts of the joins have ended.
const SETTLE: Duration = Duration::from_secs(5);
/// Two rounds of the LAN profile's state exchanges.
const WATCHED: Duration = Duration::from_secs(60);

/// The number of push/pulls during the measurement varies at random.
const ALIKE: f64 = 1.05;

/// Ten agents of each kind with the LAN profile, each kind in a separate network, both at the same time: the
/// loopback interface's counters over 60 s (with headers and TCP acknowledgements), per node.
pub fn idle() -> Vec<Row> {
    let names = [
        "traffic, bytes per second and node",
        "traffic, packets per second and node",
    ];
    let measured = std::thread::scope(|scope| {
        [Kind::Cottar, Kind::Serf]
            .map(|kind| scope.spawn(move || in_own_network(|| watch(kind))))
            .map(|thread| thread.join().expect("a measurement"))
    });
    let [Ok(ours), Ok(theirs)] = measured else {
        println!("    no permission to create network namespaces");
        return names.map(|name| Row::missing(name, "needs root")).into();
    };
    let row = |name, ours: f64, theirs: f64| {
        let reached = ours <= ALIKE * theirs;
        Row::numbers(name, ours, theirs, "at most 5 % more", reached)
    };
    let note =
        "a probe a second and a state in half a minute are the protocol's: nobody can send less";
    vec![
        row(names[0], ours.0, theirs.0).note(note.into()),
        row(names[1], ours.1, theirs.1),
    ]
}

fn watch(kind: Kind) -> (f64, f64) {
    let letter = if kind == Kind::Cottar { "C" } else { "S" };
    let lab = Lab::new("traffic", &letter.repeat(AGENTS));
    let nodes = lab.start_all(|_, spec| spec.log_level("info"));
    await_each_other(&nodes, 30.0);
    std::thread::sleep(SETTLE);
    let (before, started) = (proc::loopback_traffic(), Instant::now());
    std::thread::sleep(WATCHED);
    let (after, seconds) = (proc::loopback_traffic(), started.elapsed().as_secs_f64());
    let share = |count: f64| count / seconds / AGENTS as f64;
    (share(after.0 - before.0), share(after.1 - before.1))
}
