//! Runs real scripts with the runner: whatever a handler does, the event loop continues and nothing leaks.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Read;
use std::process;
use std::sync::{Mutex, MutexGuard};

use cottar::agent::process::{KILL_AFTER, Limits, Process, Runner, Tokens};
use cottar::handler::{Action, End, HandlerSettings, Invocation, Outcome};
use cottar::os::sys;
use cottar::time::{Duration, Instant};
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

const SIGNAL: Token = Token(0);
const FIRST: usize = 1;
/// Deadline of all waits.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Tests run one at a time, since they count the process's descriptors and zombies.
static TURN: Mutex<()> = Mutex::new(());

/// A minimal event loop.
struct Loop {
    poll: Poll,
    events: Events,
    signals: UnixStream,
    signal_id: signal_hook::SigId,
    runner: Runner,
    origin: std::time::Instant,
    _turn: MutexGuard<'static, ()>,
}

impl Drop for Loop {
    fn drop(&mut self) {
        signal_hook::low_level::unregister(self.signal_id);
    }
}

impl Loop {
    fn new(time_limit: Option<Duration>) -> Self {
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        sys::isolate_children();
        let poll = Poll::new().unwrap();
        let (mut signals, writer) = UnixStream::pair().unwrap();
        let registry = poll.registry();
        registry
            .register(&mut signals, SIGNAL, Interest::READABLE)
            .unwrap();
        let signal_id = signal_hook::low_level::pipe::register(libc::SIGCHLD, writer).unwrap();
        Loop {
            poll,
            events: Events::with_capacity(64),
            signals,
            signal_id,
            runner: Runner::new(FIRST, time_limit),
            origin: std::time::Instant::now(),
            _turn: turn,
        }
    }

    fn now(&self) -> Instant {
        Instant::ORIGIN + self.origin.elapsed()
    }

    /// Runs one iteration; returns whether a SIGCHLD arrived.
    fn poll(&mut self, deadline: Option<Instant>) -> (bool, Vec<Token>) {
        let patience = std::time::Duration::from_millis(500);
        let wait = deadline.map_or(patience, |at| at.since(self.now()).min(patience));
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => result.unwrap(),
        }
        let tokens: Vec<Token> = self.events.iter().map(|event| event.token()).collect();
        let signalled = tokens.contains(&SIGNAL);
        if signalled {
            let mut buffer = [0; 64];
            while self.signals.read(&mut buffer).is_ok_and(|count| count > 0) {}
        }
        (signalled, tokens)
    }

    fn turn(&mut self) {
        let (signalled, tokens) = self.poll(self.runner.poll_timeout());
        let now = self.now();
        let registry = self.poll.registry();
        if signalled {
            self.runner.handle_sigchld(registry, now);
        }
        for token in tokens.into_iter().filter(|&token| token != SIGNAL) {
            assert!(self.runner.owns(token));
            self.runner.handle_event(token, registry, now);
        }
        if self.runner.poll_timeout().is_some_and(|at| at <= now) {
            self.runner.handle_timeout(registry, now);
            assert!(self.runner.poll_timeout().is_none_or(|at| at > now));
        }
    }

    fn start(&mut self, invocation: Invocation) {
        let now = self.now();
        self.runner.start(invocation, self.poll.registry(), now);
    }

    fn finish(&mut self) -> Outcome {
        let start = std::time::Instant::now();
        loop {
            if let Some(outcome) = self.runner.poll_outcome() {
                assert!(!self.runner.is_running());
                return outcome;
            }
            assert!(start.elapsed() < PATIENCE, "the script never ends");
            self.turn();
        }
    }

    fn run(&mut self, script: &str) -> Outcome {
        self.run_with(script, b"")
    }

    fn run_with(&mut self, script: &str, stdin: &[u8]) -> Outcome {
        self.start(invocation(script, stdin));
        self.finish()
    }

    /// Runs the loop until `met` returns true.
    fn until(&mut self, what: &str, mut met: impl FnMut(&Self) -> bool) {
        let start = std::time::Instant::now();
        while !met(self) {
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
            self.turn();
        }
    }
}

fn invocation(script: &str, stdin: &[u8]) -> Invocation {
    Invocation {
        script: script.as_bytes().into(),
        settings: HandlerSettings::new(Action::Run(script.as_bytes().into())).into(),
        env: vec![(b"SERF_EVENT".to_vec(), b"user".to_vec())],
        stdin: stdin.into(),
    }
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8_lossy(&outcome.output).into_owned()
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Returns the ended children of this process that were not reaped.
fn zombies() -> usize {
    let parent = process::id().to_string();
    let stats = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            let rest = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = rest.split_whitespace();
            fields.next() == Some("Z") && fields.next() == Some(&parent)
        })
        .count()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with('Z')
}

#[test]
fn output_status_and_environment() {
    let mut lp = Loop::new(None);
    let outcome = lp.run("echo out; echo err >&2; echo $0 $# $SERF_EVENT; exit 3");
    assert_eq!(text(&outcome), "out\nerr\n/bin/sh 0 user\n");
    assert_eq!((outcome.end, outcome.output_bytes), (End::Exited(3), 23));
    assert_eq!(lp.run("kill -9 $$").end, End::Signalled(9));
    assert_eq!(lp.run("kill $$").end, End::Signalled(15));
    assert_eq!(lp.run("/nonexistent/x 2>/dev/null").end, End::Exited(127));
    assert_eq!(lp.run("").end, End::Exited(0));
    let piped = lp.run_with("awk '{print $2}' | grep foo", b"a foo\nb bar\n");
    assert_eq!(
        (text(&piped).as_str(), piped.end),
        ("foo\n", End::Exited(0))
    );
}

#[test]
fn children_inherit_only_what_they_should() {
    let mut lp = Loop::new(None);
    // Checks each number, since listing the directory would open another descriptor.
    let fds = lp
        .run("n=0; while [ $n -lt 500 ]; do [ ! -h /proc/$$/fd/$n ] || echo $n; n=$((n+1)); done");
    assert_eq!(text(&fds), "0\n1\n2\n");
    let status = text(&lp.run("grep -E '^(SigBlk|SigIgn)' /proc/self/status"));
    assert!(status.contains("SigBlk:\t0000000000000000"), "{status}");
    let ignored = status.split("SigIgn:").nth(1).unwrap().trim();
    let sigpipe = 1 << (libc::SIGPIPE - 1);
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & sigpipe, 0);
    let group = text(&lp.run("set -- $(cat /proc/$$/stat); echo $1 $5"));
    let (pid, pgid) = group.trim().split_once(' ').unwrap();
    assert_eq!(pid, pgid);
}

#[test]
fn a_process_that_cannot_start_is_an_outcome() {
    let mut lp = Loop::new(None);
    let before = open_descriptors();
    let outcome = lp.run("a\0b");
    assert!(matches!(outcome.end, End::NotStarted(_)), "{outcome:?}");
    // One argument cannot be longer than 128 KiB on Linux.
    let outcome = lp.run(&"x".repeat(200_000));
    assert!(matches!(outcome.end, End::NotStarted(_)), "{outcome:?}");
    assert_eq!(text(&lp.run("echo next")), "next\n");
    assert_eq!(open_descriptors(), before);
}

#[test]
fn megabytes_of_stdin_are_read_or_ignored() {
    let mut lp = Loop::new(None);
    let stdin = vec![b'x'; 5 << 20];
    assert_eq!(text(&lp.run_with("wc -c", &stdin)).trim(), "5242880");
    assert_eq!(lp.run_with("exit 0", &stdin).end, End::Exited(0));
    assert_eq!(
        lp.run_with("exec <&-; echo fine", &stdin).end,
        End::Exited(0)
    );
    assert_eq!(text(&lp.run_with("head -c 3; sleep 0.1", &stdin)), "xxx");
    for bytes in [0, 1, 4096, 4097, 65_536, 65_537] {
        let found = text(&lp.run_with("wc -c", &vec![b'x'; bytes]));
        assert_eq!(found.trim(), bytes.to_string());
    }
}

#[test]
fn a_hundred_megabytes_of_output_leave_the_last_8192_bytes() {
    let mut lp = Loop::new(None);
    let outcome = lp.run("head -c 100000000 /dev/zero; printf END");
    assert_eq!(outcome.output_bytes, 100_000_003);
    assert_eq!(outcome.output.len(), 8192);
    assert!(outcome.output.ends_with(b"\0END"));
    assert_eq!(outcome.end, End::Exited(0));
}

#[test]
fn closed_descriptors_do_not_end_a_run() {
    let mut lp = Loop::new(None);
    let outcome = lp.run("exec <&- >&- 2>&-; sleep 0.3; exit 5");
    assert_eq!(outcome.end, End::Exited(5));
    assert!(outcome.duration >= Duration::from_millis(300));
}

#[test]
fn background_children_without_the_output_are_not_waited_for() {
    let mut lp = Loop::new(None);
    // `wait` takes as long as the child sleeps.
    lp.runner.set_limits(None, Duration::from_secs(600));
    let outcome = lp.run("sleep 300 >/dev/null 2>&1 & echo $!");
    assert!(outcome.duration < Duration::from_secs(300), "{outcome:?}");
    let pid = text(&outcome);
    assert!(is_alive(&pid));
    assert_eq!(lp.runner.leftovers(), 0);
    lp.run(&format!("kill {pid}"));
}

#[test]
fn background_children_with_the_output_hold_it_for_the_grace() {
    let mut lp = Loop::new(None);
    let before = open_descriptors();
    // The child writes more than a pipe holds after the queue has moved on, and records the result in a file.
    let dir = tempfile::tempdir().unwrap();
    let (go, file) = (dir.path().join("go"), dir.path().join("survived"));
    let script = format!(
        "(until [ -e {} ]; do sleep 0.05; done; head -c 300000 /dev/zero && echo ok >{}; \
         exec sleep 300) & echo $!",
        go.display(),
        file.display()
    );
    let outcome = lp.run(&script);
    assert_eq!(outcome.end, End::Exited(0));
    assert!(outcome.duration >= Duration::from_secs(1), "{outcome:?}");
    let pid = text(&outcome);
    assert!(is_alive(&pid));
    assert_eq!(lp.runner.leftovers(), 1);
    assert_eq!(text(&lp.run("echo next")), "next\n");
    fs::write(go, "").unwrap();
    lp.until("the child writes all of it", |_| {
        fs::read_to_string(&file).is_ok_and(|text| text == "ok\n")
    });
    assert!(is_alive(&pid));
    lp.run(&format!("kill {pid}"));
    lp.until("the pipe is closed", |lp| lp.runner.leftovers() == 0);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_time_limit_ends_the_whole_group() {
    // Long enough for the scripts to write their output before it.
    let limit = Duration::from_millis(1500);
    let mut lp = Loop::new(Some(limit));
    let outcome = lp.run("echo before; sleep 60; echo after");
    assert_eq!(text(&outcome), "before\n");
    assert_eq!(outcome.end, End::TimedOut(limit));
    assert!(outcome.duration < limit + KILL_AFTER, "TERM was enough");

    let outcome = lp.run("trap '' TERM; sleep 60 & echo $!; while :; do sleep 1; done");
    assert_eq!(outcome.end, End::TimedOut(limit));
    assert!(outcome.duration >= limit + KILL_AFTER);
    let pid = text(&outcome);
    lp.until("the child is killed as well", |_| !is_alive(&pid));

    // The shell obeys the signal; the child that holds the output does not.
    let outcome = lp.run("(trap '' TERM; while :; do sleep 1; done) & echo $!; wait");
    assert!(outcome.duration >= limit + KILL_AFTER);
    let pid = text(&outcome);
    lp.until("the stubborn child is killed", |_| !is_alive(&pid));
    assert_eq!(lp.runner.leftovers(), 0);
    assert_eq!(lp.run("exit 4").end, End::Exited(4));
    assert_eq!(zombies(), 0);
}

#[test]
fn a_thousand_runs_leak_nothing() {
    let mut lp = Loop::new(None);
    lp.run(":");
    let before = open_descriptors();
    for number in 0..1_000 {
        let outcome = lp.run_with("cat", number.to_string().as_bytes());
        assert_eq!(text(&outcome), number.to_string());
    }
    assert_eq!(open_descriptors(), before);
    assert_eq!(zombies(), 0);
}

#[test]
fn very_many_holders_of_output_are_bounded() {
    let mut lp = Loop::new(None);
    lp.runner.set_limits(None, Duration::ZERO);
    lp.run(":");
    let before = open_descriptors();
    let dir = tempfile::tempdir().unwrap();
    let stop = dir.path().join("stop");
    // All of them end when the pipe gets a writer.
    lp.run(&format!("mkfifo {}", stop.display()));
    let script = format!("(read x <{}) &", stop.display());
    let max = cottar::agent::process::LEFTOVERS_MAX;
    for number in 0..max + 20 {
        assert_eq!(lp.run(&script).end, End::Exited(0));
        assert!(lp.runner.leftovers() <= max, "{number}");
    }
    lp.until("the bound is reached", |l| l.runner.leftovers() == max);
    assert_eq!(open_descriptors(), before + max);
    // A reader that opens late misses nothing: the writer stays until the last pipe is closed.
    let writer = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&stop)
        .unwrap();
    std::io::Write::write_all(&mut &writer, &vec![b'\n'; max + 20]).unwrap();
    lp.until("all are gone", |l| l.runner.leftovers() == 0);
    drop(writer);
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_flood_in_the_background_does_not_stop_the_queue() {
    let mut lp = Loop::new(None);
    lp.runner.set_limits(None, Duration::from_millis(50));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    lp.run(&format!("yes & echo $! >{}", file.display()));
    let pid = fs::read_to_string(&file).unwrap();
    for _ in 0..20 {
        assert_eq!(text(&lp.run("echo next")), "next\n");
    }
    assert_eq!(lp.runner.leftovers(), 1);
    assert!(is_alive(&pid));
    lp.run(&format!("kill {pid}"));
    lp.until("the flood ends", |lp| lp.runner.leftovers() == 0);
}

#[test]
fn a_process_of_any_program_can_be_ended_early() {
    let mut lp = Loop::new(None);
    let mut command = process::Command::new("sleep");
    command.arg("60");
    let tokens = Tokens {
        stdin: Token(900),
        output: Token(901),
    };
    let limits = Limits {
        time: None,
        grace: Duration::ZERO,
        output_bytes_max: 100,
    };
    let now = lp.now();
    let registry = lp.poll.registry();
    let mut child =
        Process::start(command, Vec::new().into(), limits, tokens, registry, now).unwrap();
    assert_eq!(child.poll_timeout(), None);
    child.terminate(now);
    let start = std::time::Instant::now();
    let (outcome, leftover) = loop {
        assert!(start.elapsed() < PATIENCE);
        if let Some(ended) = child.poll_outcome() {
            break ended;
        }
        let (signalled, tokens) = lp.poll(child.poll_timeout());
        let now = lp.now();
        if signalled {
            child.handle_sigchld(lp.poll.registry(), now);
        }
        for token in tokens {
            child.handle_event(token, lp.poll.registry(), now);
        }
        child.handle_timeout(lp.poll.registry(), now);
    };
    assert!(matches!(outcome.end, End::TimedOut(_)));
    assert!(leftover.is_none() && child.poll_outcome().is_none());
}
