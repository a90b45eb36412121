#![allow(clippy::unwrap_used)]

use super::tests::{NOW, ended, handlers, members, next, value};
use super::*;
use crate::handler::journal::disk::Disk;
use crate::handler::journal::{Recovered, Settings};
use crate::serf::{LamportTime, MemberEventKind, Tags, UserEvent};
use crate::time::Duration;
use crate::wire::NodeName;

/// A queue with a journal, and the journal's files in memory.
struct Durable {
    queue: HandlerQueue,
    disk: Disk,
}

impl Durable {
    fn new(list: &[&str], bytes_max: usize) -> Self {
        let mut queue = HandlerQueue::with_bytes_max(handlers(list), bytes_max);
        queue.attach_journal(Journal::new(Settings::default(), 1), Recovered::default());
        Durable {
            queue,
            disk: Disk::default(),
        }
    }

    /// Restarts the agent with these handlers.
    fn restarted(self, list: &[&str]) -> Self {
        let (journal, recovered) = self.disk.recover();
        let mut queue = HandlerQueue::with_bytes_max(handlers(list), self.queue.bytes_max);
        queue.attach_journal(journal, recovered);
        Durable {
            queue,
            disk: self.disk,
        }
    }

    fn fire(&mut self, number: u64, coalesce: bool) {
        let event = Self::event(number, coalesce);
        self.queue.take_in(&event, NOW);
        if !coalesce {
            self.queue.push(Event::User(event), NOW);
        }
        self.flush();
    }

    fn event(number: u64, coalesce: bool) -> UserEvent {
        UserEvent {
            ltime: LamportTime(number),
            name: b"deploy".to_vec(),
            payload: number.to_string().into(),
            coalesce,
        }
    }

    fn flush(&mut self) {
        self.disk.flush(self.queue.journal_mut().unwrap());
        self.queue.spill();
        self.queue.carry();
    }

    /// Begins the next run; returns script, payload and attempt.
    fn begin(&mut self) -> Option<String> {
        loop {
            let run = next(&mut self.queue);
            self.flush();
            if let Some(run) = run {
                let payload = String::from_utf8_lossy(&run.stdin).trim().to_owned();
                let attempt = value(&run, "COTTAR_ATTEMPT");
                let script = String::from_utf8_lossy(&run.script).into_owned();
                return Some(format!("{script} {payload} {attempt}"));
            }
            let read = self.queue.poll_read()?;
            self.queue.handle_read(read, Some(self.disk.read(read)));
        }
    }

    fn run_all(&mut self) -> Vec<String> {
        let mut ran = Vec::new();
        while let Some(run) = self.begin() {
            ran.push(run);
            self.queue.handle_outcome(ended(End::Exited(0), b""));
        }
        self.flush();
        ran
    }
}

#[test]
fn what_waits_outlives_the_queue() {
    let mut durable = Durable::new(&["user=A", "user=B"], 1 << 20);
    for number in 1..=3 {
        durable.fire(number, false);
    }
    assert_eq!(durable.begin().unwrap(), "A 1 1");
    durable.queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(durable.begin().unwrap(), "B 1 1");
    let mut durable = durable.restarted(&["user=A", "user=B"]);
    assert_eq!(durable.queue.len(), 3);
    assert_eq!(durable.begin().unwrap(), "B 1 2");
    let mut durable = durable.restarted(&["user=A", "user=B"]);
    assert_eq!(durable.run_all(), ["A 2 1", "B 2 1", "A 3 1", "B 3 1"]);
    assert_eq!(durable.queue.counters().given_up, 1);
    let mut durable = durable.restarted(&["user=A", "user=B"]);
    assert_eq!(durable.run_all(), [""; 0]);
}

#[test]
fn a_missing_handler_s_events_wait_for_it() {
    let mut durable = Durable::new(&["user=A", "user=B"], 1 << 20);
    for number in 1..=2 {
        durable.fire(number, false);
    }
    let mut durable = durable.restarted(&["user=B", "user:deploy=C"]);
    // New handlers get recorded events only if no other handler had them before.
    assert_eq!(durable.run_all(), ["B 1 1", "C 1 1", "B 2 1", "C 2 1"]);
    assert_eq!((durable.queue.len(), durable.queue.is_idle()), (2, true));
    let mut durable = durable.restarted(&["user:deploy=C", "*=D"]);
    assert_eq!(durable.run_all(), [""; 0]);
    durable.queue.replace_handlers(handlers(&["user=A"]));
    assert_eq!(durable.run_all(), ["A 1 1", "A 2 1"]);
    let durable = durable.restarted(&["user=A"]);
    assert_eq!(durable.queue.len(), 0);
}

#[test]
fn an_edited_handler_takes_the_place_of_the_old_one() {
    let mut durable = Durable::new(&["user=A", "user=B"], 1 << 20);
    for number in 1..=5 {
        durable.fire(number, false);
    }
    let step = |durable: &mut Durable, list: &[&str], run: &str| {
        durable.queue.replace_handlers(handlers(list));
        assert_eq!(durable.begin().as_deref(), Some(run));
        durable.queue.handle_outcome(ended(End::Exited(0), b""));
    };
    // Another script, another filter, and the old handler again: none repeats what another has run.
    step(&mut durable, &["user=A2", "user=B"], "A2 1 1");
    step(&mut durable, &["user=A2", "user=B"], "B 1 1");
    step(&mut durable, &["*=A", "user=B"], "A 2 1");
    step(&mut durable, &["*=A", "user=B"], "B 2 1");
    step(&mut durable, &["user=A", "user=B"], "A 3 1");
    // A new handler takes over while its predecessor's event waits for the next handler.
    step(&mut durable, &["user=A2", "user=B"], "B 3 1");
    durable.flush();
    let mut durable = durable.restarted(&["user=B"]);
    assert_eq!(durable.run_all(), ["B 4 1", "B 5 1"]);
    let (entries, _) = durable.queue.entries(10);
    assert!(entries.iter().all(|e| e.state == EntryState::Missing));
    assert_eq!(entries.len(), 2);
    // A replacement gets the events even if other handlers had them.
    let mut durable = durable.restarted(&["user=A3", "user=B"]);
    assert_eq!(durable.begin().as_deref(), Some("A3 4 1"));
    durable.queue.handle_outcome(ended(End::Exited(0), b""));
    durable.flush();
    let mut durable = durable.restarted(&["user=A3", "user=B"]);
    // Events dropped for a replacement are dropped for the handler it replaces.
    assert_eq!(durable.queue.drop_handler("A3"), Some(0));
    assert_eq!(durable.begin().as_deref(), None);
    let mut durable = durable.restarted(&["user=A", "user=B"]);
    assert_eq!(durable.run_all(), [""; 0]);
    assert_eq!(durable.queue.len(), 0);
}

#[test]
fn the_disk_takes_what_the_memory_cannot() {
    let mut durable = Durable::new(&["user=A"], 20_000);
    for number in 1..=5_000 {
        durable.fire(number, false);
        assert!(durable.queue.bytes() <= 20_000);
        if number == 3_000 {
            durable
                .queue
                .push(members(MemberEventKind::Join, &["n"]), NOW);
        }
    }
    assert_eq!(durable.queue.counters().dropped_user_events, 0);
    let expected: Vec<String> = (1..=5_000).map(|n| format!("A {n} 1")).collect();
    assert_eq!(durable.run_all(), expected);
    assert!(durable.queue.is_idle() && durable.queue.is_empty());
    // Reading back keeps only hundreds of kilobytes in memory at a time.
    assert_eq!(durable.queue.bytes(), 0);
}

#[test]
fn what_only_a_lane_needs_takes_no_room_in_the_queue() {
    let latest = timed_tests::list(&[r#"{"run": "L", "on": "user", "latest": true, "name": "l"}"#]);
    let mut durable = Durable::new(&[], 20_000);
    durable.queue.replace_handlers(latest.clone());
    durable.fire(1, false);
    assert_eq!(durable.begin().as_deref(), Some("L 1 1"));
    for number in 2..=20_000 {
        durable.fire(number, false);
    }
    assert_eq!(durable.queue.stored_progress.len(), 0);
    let journal = durable.queue.journal().unwrap();
    assert!(journal.len() < 200, "{}", journal.len());
    assert!(durable.disk.files.len() <= 3);
    let mut durable = durable.restarted(&[]);
    durable.queue.replace_handlers(latest);
    // The interrupted run, and the last event that waited in the lane.
    assert_eq!(durable.run_all(), ["L 1 2", "L 20000 1"]);
    assert_eq!(durable.queue.len(), 0);
}

/// Returns the runs of handlers with and without lanes that have fallen behind and are replaced meanwhile.
fn runs_behind(bytes_max: usize, later: &[&str]) -> Vec<String> {
    const FIRST: [&str; 2] = [
        r#"{"run": "L", "on": "user", "latest": true}"#,
        r#"{"run": "P", "on": "user"}"#,
    ];
    let mut durable = Durable::new(&[], bytes_max);
    durable.queue.replace_handlers(timed_tests::list(&FIRST));
    durable.fire(1, false);
    assert_eq!(durable.begin().as_deref(), Some("L 1 1"));
    for number in 2..=1_000 {
        durable.fire(number, false);
    }
    durable.queue.replace_handlers(timed_tests::list(later));
    durable.flush();
    for number in 1_001..=2_000 {
        durable.fire(number, false);
    }
    assert!(durable.queue.stored_progress.len() < 3);
    durable.queue.handle_outcome(ended(End::Exited(0), b""));
    let mut ran = durable.run_all();
    durable.queue.replace_handlers(timed_tests::list(&FIRST));
    ran.extend(durable.run_all());
    assert!(durable.queue.is_empty() && durable.queue.journal().unwrap().is_empty());
    // Events read back from disk come after those in a lane.
    ran.sort();
    ran
}

#[test]
fn what_lanes_have_is_known_of_events_on_the_disk() {
    let plain = r#"{"run": "P", "on": "user"}"#;
    for other in [
        r#"{"run": "L", "on": "user", "latest": true}"#,
        r#"{"run": "L", "on": "user:deploy"}"#,
        r#"{"run": "N", "on": "user:deploy"}"#,
        r#"{"run": "N", "on": "member-join"}"#,
    ] {
        let later = [plain, other];
        let ran = runs_behind(20_000, &later);
        assert_eq!(ran, runs_behind(1 << 30, &later), "{other}");
        let plain_ran = ran.iter().filter(|run| run.starts_with("P "));
        assert_eq!(plain_ran.count(), 2_000, "{other}");
    }
}

#[test]
fn what_is_given_up_during_a_run_does_not_come_back() {
    let handlers = timed_tests::list(&[
        r#"{"run": "L", "on": "user", "latest": true}"#,
        r#"{"run": "P", "on": "user"}"#,
    ]);
    let mut durable = Durable::new(&[], 20_000);
    durable.queue.replace_handlers(handlers.clone());
    for number in 1..=1_000 {
        durable.fire(number, false);
    }
    // The event is still on disk, for the other handler.
    while durable.begin().unwrap() != "L 1000 1" {
        durable.queue.handle_outcome(ended(End::Exited(0), b""));
    }
    assert!(durable.queue.drop_all() > 800);
    durable.queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(durable.run_all(), [""; 0]);
    assert!(durable.queue.journal().unwrap().is_empty());
    let mut durable = durable.restarted(&[]);
    durable.queue.replace_handlers(handlers);
    assert_eq!(durable.run_all(), [""; 0]);
}

#[test]
fn what_was_in_the_coalescer_goes_there_again() {
    let mut durable = Durable::new(&["user=A"], 1 << 20);
    durable.fire(1, true);
    durable.fire(2, true);
    assert_eq!(durable.disk.recover().1.coalescing.len(), 2);
    // The batch ends: only the last event of the name is handed over, and no other comes back.
    durable
        .queue
        .push(Event::User(Durable::event(2, true)), NOW);
    durable.flush();
    let (_, recovered) = durable.disk.recover();
    assert_eq!((recovered.coalescing.len(), recovered.waiting), (0, 1));
    let mut durable = durable.restarted(&["user=A"]);
    assert_eq!(durable.run_all(), ["A 2 1"]);
}

#[test]
fn a_paused_handler_is_held_back() {
    let mut durable = Durable::new(&["user=/bin/a x", "user=b", "user=a"], 1 << 20);
    let names: Vec<String> = durable
        .queue
        .handlers()
        .iter()
        .map(|r| r.name.clone())
        .collect();
    assert_eq!(names, ["a", "b", "a-2"]);
    assert!(durable.queue.set_paused("a", true) && !durable.queue.set_paused("c", true));
    for number in 1..=2 {
        durable.fire(number, false);
    }
    assert_eq!(durable.run_all(), ["b 1 1", "a 1 1", "b 2 1", "a 2 1"]);
    let (entries, more) = durable.queue.entries(10);
    let shown: Vec<_> = entries
        .iter()
        .map(|e| (e.handler.as_slice(), e.state))
        .collect();
    assert_eq!(shown, [(&b"a"[..], EntryState::Paused); 2]);
    assert_eq!(more, 0);
    durable.queue.set_paused("a", false);
    assert_eq!(durable.run_all(), ["/bin/a x 1 1", "/bin/a x 2 1"]);
}

#[test]
fn what_waits_can_be_dropped() {
    let start = || {
        let mut durable = Durable::new(&["user=a", "user=b"], 1 << 20);
        for number in 1..=3 {
            durable.fire(number, false);
        }
        assert_eq!(durable.begin().unwrap(), "a 1 1");
        durable
    };
    let mut durable = start();
    assert_eq!(durable.queue.drop_handler("b"), Some(3));
    assert_eq!(durable.queue.drop_handler("c"), None);
    durable.flush();
    let mut durable = durable.restarted(&["user=a", "user=b"]);
    assert_eq!(durable.run_all(), ["a 1 2", "a 2 1", "a 3 1"]);
    let mut durable = start();
    // Unwanted events wait, too, but the list does not show them.
    durable.queue.push(super::tests::query("unwanted"), NOW);
    assert_eq!(durable.queue.entries(100).1, 0);
    assert_eq!(durable.queue.drop_all(), 2);
    assert_eq!(durable.queue.len(), 0);
    durable.flush();
    let mut durable = durable.restarted(&["user=a", "user=b"]);
    assert_eq!(durable.run_all(), ["a 1 2", "b 1 1"]);
    let mut durable = start();
    let id = crate::handler::moment::user_event_id(&Durable::event(2, false));
    assert!(durable.queue.drop_event(&id) && !durable.queue.drop_event(&id));
    durable.queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(durable.run_all(), ["b 1 1", "a 3 1", "b 3 1"]);
}

#[test]
fn old_events_do_not_keep_a_journal_from_shrinking() {
    let mut durable = Durable::new(&["user=A", "user:gone=B"], 1 << 20);
    let gone = UserEvent {
        name: b"gone".to_vec(),
        ..Durable::event(1, false)
    };
    durable.queue.take_in(&gone, NOW);
    durable.queue.push(Event::User(gone), NOW);
    durable.queue.replace_handlers(handlers(&["user=A"]));
    for number in 2..60_000 {
        durable.fire(number, false);
        durable.run_all();
        assert!(durable.disk.files.len() <= 6);
    }
    let mut durable = durable.restarted(&["user:gone=B"]);
    assert_eq!(durable.run_all(), ["B 1 1"]);
}

#[test]
fn what_waited_too_long_is_dropped() {
    let mut durable = Durable::new(&["user=A"], 1 << 20);
    durable.fire(1, false);
    let name = NodeName::new(b"self").unwrap();
    let tags = Tags::new();
    let local = Local::alone(&name, &tags);
    let day = NOW + MAX_AGE;
    let late = day + Duration::from_millis(1);
    assert_eq!(durable.queue.poll_invocation(local, late), None);
    assert_eq!(
        (durable.queue.counters().expired, durable.queue.len()),
        (1, 0)
    );
}
