//! From the start of the process to the first answer on its RPC port.

use crate::live::{Kind, Spec, free};
use crate::rpc::Client;
use crate::table::Row;
use std::time::{Duration, Instant};

const ROUNDS: usize = 11;

/// Median over several starts of each program, in turn.
pub fn first_answer() -> Vec<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(once(Kind::Cottar));
        theirs.push(once(Kind::Serf));
    }
    let [our, their] = [&ours, &theirs].map(|times| crate::median(times.clone()));
    let reached = our * 3.0 <= their;
    let name = "start to first RPC answer, median, ms";
    let row = Row::numbers(name, our, their, "at most a third", reached);
    vec![row.rounds(&ours, &theirs)]
}

fn once(kind: Kind) -> f64 {
    let spec = Spec::bare(kind).name("start").addresses(free(), free());
    let started = Instant::now();
    let agent = spec.launch();
    loop {
        if let Ok(mut client) = Client::connect(agent.rpc) {
            assert_eq!(client.members().expect("a member list"), 1);
            return started.elapsed().as_secs_f64() * 1e3;
        }
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{kind:?} does not start"
        );
        std::thread::sleep(Duration::from_micros(100));
    }
}
