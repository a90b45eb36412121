//! The rate at which handlers run, compared with a loop that only starts processes.

use crate::live::{Kind, Lab};
use crate::results::Curve;
use crate::rpc::Client;
use crate::table::{Measured, Row};
use std::ffi::CString;
use std::time::{Duration, Instant};

const RUNS: usize = 500;
const ROUNDS: usize = 9;

/// Rounds, in turn. Other load on the machine affects neighbouring measurements alike, so the ratio is taken
/// per round, before the median.
pub fn runs_per_second() -> Measured {
    let rounds: Vec<[f64; 4]> = (0..ROUNDS)
        .map(|_| {
            [
                bare_loop(),
                agent(Kind::Cottar, false),
                agent(Kind::Serf, false),
                agent(Kind::Cottar, true),
            ]
        })
        .collect();
    let all = |index: usize| -> Vec<f64> { rounds.iter().map(|round| round[index]).collect() };
    let median =
        |of: &dyn Fn(&[f64; 4]) -> f64| crate::median(rounds.iter().map(of).collect::<Vec<f64>>());
    let (bare, ours, theirs) = (median(&|r| r[0]), median(&|r| r[1]), median(&|r| r[2]));
    let (of_bare, of_theirs) = (median(&|r| r[1] / r[0]), median(&|r| r[1] / r[2]));
    let (journalled, of_plain) = (median(&|r| r[3]), median(&|r| r[3] / r[1]));
    let reached = of_bare >= 0.85 && of_theirs > 1.0;
    let name = "handler runs per second";
    let plain = Row::numbers(name, ours, theirs, "85 % of the bare loop, ahead", reached);
    let plain = plain.note(format!(
        "bare loop {bare:.0}; round by round cottar is at {:.0} % of it, and at {:.0} % of serf",
        100.0 * of_bare,
        100.0 * of_theirs
    ));
    let name = "handler runs per second, with a journal";
    let goal = "90 % of those without it";
    let journalled = Row::numbers(name, journalled, ours, goal, of_plain >= 0.9).note(format!(
        "beside cottar without one; round by round at {:.0} % of it",
        100.0 * of_plain
    ));
    let curve = |series: &str, index: usize| {
        let runs = all(index).into_iter().map(|runs| [0.0, runs]);
        Curve::new("handlers", series, runs)
    };
    Measured {
        rows: vec![
            plain.rounds(&all(1), &all(2)),
            journalled.rounds(&all(3), &all(1)),
        ],
        curves: vec![
            curve("bare loop", 0),
            curve("cottar", 1),
            curve("with a journal", 3),
            curve("serf", 2),
        ],
    }
}

fn agent(kind: Kind, journal: bool) -> f64 {
    let lab = Lab::new("handlers", if kind == Kind::Cottar { "C" } else { "S" });
    let done = lab.path().join("done");
    let mut spec = lab
        .spec(0)
        .log_level("info")
        .handler("user:run=:")
        .handler(&format!("user:done=:>{}", done.display()));
    if journal {
        let place = |name: &str| lab.path().join(name).display().to_string();
        spec = spec.args([
            "-snapshot",
            &place("snapshot"),
            "-journal",
            &place("journal"),
        ]);
    }
    let node = lab.start(spec);
    let mut client = Client::connect(node.rpc).expect("an RPC connection");
    let started = Instant::now();
    for run in 0..RUNS {
        let name = if run + 1 == RUNS { "done" } else { "run" };
        client
            .send_event(name, run.to_string().as_bytes())
            .expect("an event");
        client.accepted().expect("an event");
    }
    // Handlers run in the order of the events, so the output of the last one shows that all have run.
    while !done.exists() {
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{kind:?}: handlers do not end"
        );
        std::thread::sleep(Duration::from_micros(500));
    }
    RUNS as f64 / started.elapsed().as_secs_f64()
}

/// The minimum that any agent must do for a handler: `posix_spawn`, two pipes, reading them to the end,
/// waiting.
fn bare_loop() -> f64 {
    let started = Instant::now();
    for _ in 0..RUNS {
        spawn_once();
    }
    RUNS as f64 / started.elapsed().as_secs_f64()
}

fn spawn_once() {
    let shell = CString::new("/bin/sh").expect("no NUL");
    let words = ["-c", ":"].map(|word| CString::new(word).expect("no NUL"));
    let argv = [
        shell.as_ptr().cast_mut(),
        words[0].as_ptr().cast_mut(),
        words[1].as_ptr().cast_mut(),
        std::ptr::null_mut(),
    ];
    // SAFETY: plain system calls on values that live to the end of the block; every result is checked, and
    // every descriptor is closed once.
    unsafe {
        unsafe extern "C" {
            static environ: *const *mut libc::c_char;
        }
        let (mut input, mut output) = ([0; 2], [0; 2]);
        assert_eq!(libc::pipe2(input.as_mut_ptr(), libc::O_CLOEXEC), 0);
        assert_eq!(libc::pipe2(output.as_mut_ptr(), libc::O_CLOEXEC), 0);
        let mut actions: libc::posix_spawn_file_actions_t = std::mem::zeroed();
        assert_eq!(libc::posix_spawn_file_actions_init(&mut actions), 0);
        for (from, to) in [(input[0], 0), (output[1], 1), (output[1], 2)] {
            assert_eq!(
                libc::posix_spawn_file_actions_adddup2(&mut actions, from, to),
                0
            );
        }
        let mut id = 0;
        let status = libc::posix_spawn(
            &mut id,
            shell.as_ptr(),
            &actions,
            std::ptr::null(),
            argv.as_ptr(),
            environ,
        );
        assert_eq!(status, 0);
        libc::posix_spawn_file_actions_destroy(&mut actions);
        for end in [input[0], input[1], output[1]] {
            libc::close(end);
        }
        let mut buffer = [0u8; 8192];
        while libc::read(output[0], buffer.as_mut_ptr().cast(), buffer.len()) > 0 {}
        libc::close(output[0]);
        let mut status = 0;
        assert_eq!(libc::waitpid(id, &mut status, 0), id);
        assert_eq!(status, 0);
    }
}
