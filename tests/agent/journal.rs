//! The journal of live agents: events that wait for handlers survive the end of the agent.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::live::{Agent, Hold, Kind, Spec, content, refused, wait_until};
use cottar::cli::client::Client;
use cottar::rpc::Request;

/// A folder for one agent's files.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Place {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn journal(&self) -> PathBuf {
        self.path("journal")
    }

    /// The flags of an agent with a journal in this folder and one handler, which finds the folder in `$D`.
    fn flags(&self, handler: &str) -> Vec<String> {
        let shown = self.dir.path().display();
        let handler = handler.replace("$D", &shown.to_string());
        vec![
            "-node=me".to_owned(),
            "-profile=local".to_owned(),
            format!("-snapshot={shown}/snapshot"),
            format!("-journal={shown}/journal"),
            format!("-event-handler={handler}"),
        ]
    }

    fn start(&self, handler: &str) -> Agent {
        let flags = self.flags(handler);
        Agent::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn lines(&self, name: &str) -> Vec<String> {
        content(&self.path(name))
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn segments(&self) -> usize {
        let entries = fs::read_dir(self.journal()).unwrap().flatten();
        let names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(".journal")).count()
    }
}

/// Fires many events over one connection.
struct Caller(Client);

impl Caller {
    fn new(agent: &Agent) -> Self {
        Caller(Client::connect(&agent.rpc.to_string(), "").unwrap())
    }

    fn event(&mut self, name: &str) {
        self.event_with(name, b"");
    }

    fn event_with(&mut self, name: &str, payload: &[u8]) {
        assert!(self.try_event(name, payload), "{name} is refused");
    }

    /// Whether the agent has accepted it.
    fn try_event(&mut self, name: &str, payload: &[u8]) -> bool {
        let request = Request::Event {
            name: name.as_bytes().to_vec(),
            payload: Some(payload.to_vec()),
            coalesce: false,
        };
        self.0.execute(&request).is_ok()
    }
}

fn fire(agent: &Agent, name: &str) {
    let (worked, text) = agent.call("event", &["-coalesce=false", name]);
    assert!(worked, "{text}");
}

/// The number of runs for the event `name`, and how many of them were repetitions.
fn counted(lines: &[String], name: &str) -> (usize, usize) {
    let of_name = lines
        .iter()
        .filter(|line| line.split(' ').next() == Some(name));
    let repeated = of_name
        .clone()
        .filter(|line| line.ends_with(" replay"))
        .count();
    (of_name.count(), repeated)
}

const WRITES: &str = "user=echo $SERF_USER_EVENT $COTTAR_ATTEMPT ${COTTAR_REPLAY:+replay} >>$D/ran; \
                      while test -e $D/hold; do read x <$D/fifo; done";

fn hold(place: &Place) {
    fs::write(place.path("hold"), "").unwrap();
    let fifo = Command::new("mkfifo").arg(place.path("fifo")).status();
    assert!(fifo.unwrap().success());
}

/// Releases the blocked handler, whichever agent started it.
fn release(place: &Place) {
    fs::remove_file(place.path("hold")).unwrap();
    let fifo = place.path("fifo");
    let open = format!("timeout 5 sh -c 'echo >{}'", fifo.display());
    let _ = Command::new("sh").args(["-c", &open]).status();
}

#[test]
fn waiting_runs_of_a_killed_agent_run_once_and_in_order() {
    let place = Place::new();
    hold(&place);
    let agent = place.start(WRITES);
    let mut client = Caller::new(&agent);
    for number in 0..200 {
        client.event(&format!("e{number}"));
    }
    wait_until("all are taken in", || {
        agent.text().contains("Received event: user-event: e199")
    });
    wait_until("the first runs", || !place.lines("ran").is_empty());
    let first = content(&place.path("ran"));
    assert_eq!(first, "e0 1\n");
    agent.end(libc::SIGKILL);
    // The handler that was running survives its agent; the next agent waits for it.
    let agent = place.start(WRITES);
    agent.wait_for("user events waiting from before");
    agent.wait_for("Handler of the previous agent still runs");
    fire(&agent, "new");
    assert_eq!(content(&place.path("ran")), first);
    release(&place);
    wait_until("all have run", || place.lines("ran").len() == 202);
    let lines = place.lines("ran");
    assert_eq!(lines[1], "e0 2 replay");
    let rest: Vec<String> = (1..200).map(|n| format!("e{n} 1")).collect();
    assert_eq!(lines[2..201], rest[..]);
    assert_eq!(lines[201], "new 1");
}

#[test]
fn waiting_runs_survive_an_orderly_end_but_not_a_leave() {
    let place = Place::new();
    hold(&place);
    let agent = place.start(WRITES);
    for name in ["a", "b", "c"] {
        fire(&agent, name);
    }
    wait_until("the first runs", || !place.lines("ran").is_empty());
    agent.end(libc::SIGTERM);
    assert!(
        agent
            .text()
            .contains("Exiting with 3 user events in the journal"),
        "{}",
        agent.text()
    );
    release(&place);
    let agent = place.start(WRITES);
    agent.wait_for("ran for 'user-event: c'");
    assert_eq!(place.lines("ran"), ["a 1", "a 2 replay", "b 1", "c 1"]);
    agent.end(libc::SIGTERM);
    assert_eq!(place.segments(), 0, "nothing waits");

    fs::write(place.path("hold"), "").unwrap();
    let agent = place.start(WRITES);
    for name in ["d", "e", "f"] {
        fire(&agent, name);
    }
    wait_until("d runs", || place.lines("ran").len() == 5);
    agent.end(libc::SIGINT);
    let text = agent.text();
    assert!(text.contains("Leaving: dropping 3 user events"), "{text}");
    release(&place);
    let agent = place.start(WRITES);
    fire(&agent, "g");
    wait_until("the new one", || place.lines("ran").len() == 6);
    assert_eq!(place.lines("ran")[4..], ["d 1", "g 1"]);
}

#[test]
fn a_handler_that_ends_its_agent_is_repeated_once() {
    let place = Place::new();
    let hold = Hold::new();
    let handler = format!(
        "user=echo $SERF_USER_EVENT $COTTAR_ATTEMPT ${{COTTAR_REPLAY:+replay}} >>$D/ran; \
         test $SERF_USER_EVENT != die || {{ {}; kill -KILL $PPID; }}",
        hold.script()
    );
    let handler = handler.as_str();
    let agent = place.start(handler);
    let mut client = Caller::new(&agent);
    client.event("die");
    client.event("after");
    hold.release();
    agent.exit_code();
    wait_until("it has died", || place.lines("ran").len() == 1);
    let flags = place.flags(handler);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let second = Agent::spawn(&flags);
    second.exit_code();
    assert_eq!(place.lines("ran").len(), 2);
    let third = Agent::start(&flags);
    third.wait_for("[ERR] agent: Giving up handler");
    wait_until("the next event", || place.lines("ran").len() == 3);
    assert_eq!(place.lines("ran"), ["die 1", "die 2 replay", "after 1"]);
}

/// Kills the agent at arbitrary moments of a stream of events: handlers run for all accepted events, in
/// order, and a second run has COTTAR_REPLAY set.
#[test]
fn an_agent_killed_at_random_moments_loses_nothing() {
    let rounds: usize = std::env::var("COTTAR_JOURNAL_ROUNDS").map_or(4, |n| n.parse().unwrap());
    let place = Place::new();
    let handler = "user=echo $SERF_USER_EVENT $COTTAR_ATTEMPT ${COTTAR_REPLAY:+replay} >>$D/ran";
    let mut accepted = Vec::new();
    for round in 0..rounds {
        let agent = place.start(handler);
        // A different, but reproducible moment in each round.
        let count = 3 + (round * 7919) % 40;
        accepted.extend(fire_until_killed(&agent, round, count));
    }
    let agent = place.start(handler);
    fire(&agent, "last");
    wait_until("the last", || {
        place
            .lines("ran")
            .last()
            .is_some_and(|l| l.starts_with("last"))
    });
    let lines = place.lines("ran");
    for name in &accepted {
        assert!(counted(&lines, name).0 >= 1, "{name} is lost");
    }
    // Each event, accepted or not, has at most one first run and at most one repetition.
    let (repeated, ran): (Vec<&String>, Vec<&String>) =
        lines.iter().partition(|line| line.ends_with(" replay"));
    let name = |line: &&String| line.split(' ').next().unwrap().to_owned();
    for lines in [&repeated, &ran] {
        let names: BTreeSet<String> = lines.iter().map(name).collect();
        assert_eq!(names.len(), lines.len(), "again without a word: {lines:?}");
    }
    assert!(repeated.len() <= rounds, "one run at a time had begun");
    let in_order: Vec<String> = ran.iter().map(name).collect();
    let first_runs = accepted.iter().filter(|name| in_order.contains(name));
    let is_accepted = in_order.iter().filter(|name| accepted.contains(name));
    assert!(first_runs.eq(is_accepted), "not in order: {in_order:?}");
}

/// Fires events one after the other, kills the agent when `count` of them are accepted, and returns the
/// names of the accepted ones.
fn fire_until_killed(agent: &Agent, round: usize, count: usize) -> Vec<String> {
    let mut client = Caller::new(agent);
    let (tell, enough) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let firing = scope.spawn(move || {
            let names = (0..).map(|number| format!("r{round}e{number}"));
            let accept = |name: &String| client.try_event(name, b"");
            let tell_enough = |(index, _): &(usize, String)| {
                if index + 1 == count {
                    tell.send(()).unwrap();
                }
            };
            let accepted = names.take_while(accept).enumerate().inspect(tell_enough);
            accepted.map(|(_, name)| name).collect()
        });
        enough.recv().unwrap();
        agent.end(libc::SIGKILL);
        firing.join().unwrap()
    })
}

#[test]
fn the_journal_recovers_from_a_full_disk() {
    // RLIMIT_FSIZE stands for a full disk: writes beyond it fail.
    let place = Place::new();
    let flags = place.flags(WRITES);
    let spec = Spec::bare(Kind::Cottar).args(&flags).piped();
    let agent = spec.after("trap '' XFSZ; ulimit -f 64").start();
    hold(&place);
    let mut client = Caller::new(&agent);
    for number in 0..90 {
        client.event_with(&format!("e{number}"), &[b'x'; 400]);
    }
    agent.wait_for("Failed to write journal");
    // A new segment has room again: what waits in memory is recorded with it.
    agent.wait_for("can be written again");
    release(&place);
    wait_until("all have run", || place.lines("ran").len() == 90);
    assert_eq!(agent.text().matches("Failed to write journal").count(), 1);
}

#[test]
fn a_removed_journal_comes_back_with_its_lock() {
    let place = Place::new();
    let agent = place.start(WRITES);
    hold(&place);
    fs::remove_dir_all(place.journal()).unwrap();
    fire(&agent, "e0");
    wait_until("a segment", || {
        place.journal().exists() && place.segments() == 1
    });
    let journal = format!("-journal={}", place.journal().display());
    let other = format!("-snapshot={}", place.path("other").display());
    let (code, output) = refused(&[&journal, &other]);
    let process = format!("journal is in use by process {}", agent.pid());
    assert!(code == 1 && output.contains(&process), "{output}");
    release(&place);
}

#[test]
fn a_journal_has_one_agent_and_a_snapshot() {
    let place = Place::new();
    let agent = place.start(WRITES);
    let journal = format!("-journal={}", place.journal().display());
    let other = format!("-snapshot={}", place.path("other").display());
    let (code, output) = refused(&[&journal, &other]);
    assert_eq!(code, 1);
    let process = format!("journal is in use by process {}", agent.pid());
    assert!(output.contains(&process), "{output}");
    let (code, output) = refused(&[&journal]);
    assert_eq!(code, 1);
    assert!(
        output.contains("==> -journal requires a snapshot file; see -snapshot"),
        "{output}"
    );
}

#[test]
fn an_operator_lists_and_drops_waiting_runs() {
    let place = Place::new();
    hold(&place);
    let second = format!(
        "-event-handler=user:b=/bin/echo other >>{}",
        place.path("other").display()
    );
    let flags = [place.flags(WRITES), vec![second]].concat();
    let agent = Agent::start(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    // Both are called `echo`.
    assert!(agent.call("handler pause", &["echo-2"]).0);
    for name in ["a", "b", "c", "d"] {
        fire(&agent, name);
    }
    wait_until("the first runs", || !place.lines("ran").is_empty());
    let queue = || {
        let (worked, text) = agent.call("handler queue", &[]);
        assert!(worked, "{text}");
        let lines = text.lines().skip(1).map(str::to_owned);
        lines.collect::<Vec<String>>()
    };
    let lines = queue();
    let states = ["running", "waiting", "paused", "waiting", "waiting"];
    assert_eq!(lines.len(), states.len(), "{lines:?}");
    assert!(
        lines
            .iter()
            .zip(states)
            .all(|(line, state)| line.ends_with(state)),
        "{lines:?}"
    );
    let id = lines[3].split(' ').next().unwrap();
    assert!(id.starts_with("user:3:"), "{id}");
    assert_eq!(
        agent.call("handler drop", &[id]),
        (true, "Dropped 1 event\n".to_owned())
    );
    let (worked, why) = agent.call("handler drop", &[id]);
    assert!(!worked && why.contains("no event in memory"), "{why}");
    assert!(!agent.call("handler pause", &["nobody"]).0);
    release(&place);
    wait_until("the others run", || place.lines("ran").len() == 3);
    assert_eq!(place.lines("ran"), ["a 1", "b 1", "d 1"]);
    wait_until("the paused one alone is left", || queue().len() == 1);
    assert!(!place.path("other").exists());
    assert!(agent.call("handler resume", &["echo-2"]).0);
    wait_until("it runs", || content(&place.path("other")) == "other\n");
    wait_until("nothing is left", || queue().is_empty());
    let (_, info) = agent.call("info", &[]);
    assert!(
        info.contains("journal:\n\tbytes = ") && info.contains("\twaiting = 0\n"),
        "{info}"
    );
}

#[test]
fn a_damaged_journal_does_not_prevent_a_start() {
    let place = Place::new();
    hold(&place);
    let agent = place.start(WRITES);
    for name in ["a", "b", "c"] {
        fire(&agent, name);
    }
    agent.end(libc::SIGKILL);
    let segment = fs::read_dir(place.journal()).unwrap().flatten();
    let segment = segment.map(|entry| entry.path());
    let segment = segment.filter(|path| path.extension().is_some_and(|e| e == "journal"));
    for path in segment {
        let mut bytes = fs::read(&path).unwrap();
        let end = bytes.len() - 3;
        bytes[5] ^= 0xff;
        fs::write(&path, &bytes[..end]).unwrap();
    }
    fs::write(place.journal().join("0000000000000001-xx.journal"), "noise").unwrap();
    release(&place);
    let agent = place.start(WRITES);
    agent.wait_for("bytes kept in");
    fire(&agent, "new");
    wait_until("the new one", || {
        place.lines("ran").last().is_some_and(|l| l == "new 1")
    });
    let (worked, info) = agent.call("info", &[]);
    assert!(worked && info.contains("damaged = "), "{info}");
}
