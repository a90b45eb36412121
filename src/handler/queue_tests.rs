#![allow(clippy::unwrap_used)]

use super::*;
use crate::serf::{
    LamportTime, Member, MemberEvent, MemberEventKind, MemberStatus, Query, Tags, UserEvent,
};
use crate::time::{Duration, Instant};
use crate::wire::{NodeName, VersionVector};

pub(super) const NOW: Instant = Instant::ORIGIN;

pub(super) fn handlers(list: &[&str]) -> Vec<HandlerSettings> {
    let parsed = list
        .iter()
        .map(|h| HandlerSettings::from_text(h.as_bytes()));
    parsed.collect::<Result<_, _>>().unwrap()
}

fn user(name: &str) -> Event {
    Event::User(UserEvent {
        ltime: LamportTime(1),
        name: name.into(),
        payload: Vec::new(),
        coalesce: false,
    })
}

pub(super) fn query(name: &str) -> Event {
    Event::Query(Query {
        ltime: LamportTime(3),
        id: 44,
        name: name.into(),
        payload: b"asked".to_vec(),
        source_node: None,
        deadline: NOW,
    })
}

pub(super) fn members(kind: MemberEventKind, names: &[&str]) -> Event {
    members_at(kind, names, "10.0.0.1:1")
}

fn members_at(kind: MemberEventKind, names: &[&str], addr: &str) -> Event {
    let member = |name: &&str| {
        Member::new(
            NodeName::new(name.as_bytes()).unwrap(),
            addr.parse().unwrap(),
            &Tags::new(),
            MemberStatus::Alive,
            VersionVector::serf(5),
        )
    };
    Event::Member(MemberEvent {
        kind,
        members: names.iter().map(member).collect(),
    })
}

pub(super) fn ended(end: End, output: &[u8]) -> Outcome {
    Outcome {
        end,
        output: output.to_vec(),
        output_bytes: output.len() as u64,
        duration: Duration::from_millis(3),
    }
}

pub(super) fn next(queue: &mut HandlerQueue) -> Option<Invocation> {
    let name = NodeName::new(b"self").unwrap();
    let tags = Tags::new();
    queue.poll_invocation(Local::alone(&name, &tags), NOW)
}

pub(super) fn value(invocation: &Invocation, name: &str) -> String {
    let found = invocation.env.iter().find(|(n, _)| n == name.as_bytes());
    String::from_utf8(found.map_or(b"-".to_vec(), |(_, value)| value.clone())).unwrap()
}

#[test]
fn the_script_that_runs_is_known() {
    let mut queue = HandlerQueue::new(handlers(&["a", "b"]));
    assert_eq!(queue.running(), None);
    queue.push(user("deploy"), NOW);
    assert_eq!(queue.running(), None);
    for script in [b"a", b"b"] {
        assert!(next(&mut queue).is_some());
        assert_eq!(queue.running(), Some(&script[..]));
        queue.handle_outcome(ended(End::Exited(0), b""));
        assert_eq!(queue.running(), None);
    }
}

/// Completes all runs; returns script, event type and subject of each.
fn run_all(queue: &mut HandlerQueue) -> Vec<String> {
    let mut ran = Vec::new();
    while let Some(run) = next(queue) {
        assert!(next(queue).is_none(), "one at a time");
        let event = value(&run, "SERF_EVENT");
        let about = if event == "user" {
            value(&run, "SERF_USER_EVENT")
        } else {
            String::from_utf8_lossy(&run.stdin).replace('\n', ";")
        };
        ran.push(format!(
            "{} {event} {about}",
            String::from_utf8_lossy(&run.script)
        ));
        assert_eq!(queue.handle_outcome(ended(End::Exited(0), b"")), None);
    }
    ran
}

#[test]
fn runs_are_in_the_order_of_events_then_of_handlers() {
    let mut queue = HandlerQueue::new(handlers(&["user=A", "B", "user,user:x=C", "query=D"]));
    assert!(next(&mut queue).is_none() && queue.is_idle());
    queue.push(user("x"), NOW);
    queue.push(user("y"), NOW);
    assert_eq!(queue.len(), 2);
    let expected = [
        "A user x", "B user x", "C user x", "A user y", "B user y", "C user y",
    ];
    assert_eq!(run_all(&mut queue), expected);
    assert!(queue.is_idle() && queue.bytes() == 0);
    assert_eq!(queue.counters().runs, 6);
}

#[test]
fn a_filter_that_matches_in_several_parts_runs_once() {
    let runs_of = |specs: &[&str]| {
        let mut queue = HandlerQueue::new(handlers(specs));
        queue.push(user("x"), NOW);
        let ran = run_all(&mut queue).len();
        let tallies = queue.handlers().iter().map(|r| r.tally.runs);
        (ran, tallies.collect::<Vec<_>>())
    };
    assert_eq!(runs_of(&["user,user:x=C"]), (1, vec![1]));
    assert_eq!(runs_of(&["query,*,user,user:x=C"]), (1, vec![1]));
    // Two handlers with the same text are two handlers.
    assert_eq!(runs_of(&["user=C", "user:x=C"]), (2, vec![1, 1]));
    assert_eq!(runs_of(&["user,user:x=C"; 2]), (2, vec![1, 1]));
    let mut queue = HandlerQueue::new(handlers(&["user,user:y=C"]));
    queue.replace_handlers(handlers(&["user,user:x=C"]));
    queue.push(user("x"), NOW);
    assert_eq!(run_all(&mut queue), ["C user x"]);
    assert_eq!(queue.handlers()[0].tally.runs, 1);
}

#[test]
fn a_query_is_answered_by_status_zero_with_output() {
    let mut queue = HandlerQueue::new(handlers(&["query=A"; 6]));
    queue.push(query("load"), NOW);
    let mut answers = Vec::new();
    for (end, output) in [
        (End::Exited(1), &b"no"[..]),
        (End::Signalled(9), b"no"),
        (End::TimedOut(Duration::from_secs(1)), b"no"),
        (End::Failed("x".into()), b""),
        (End::Exited(0), b""),
        (End::Exited(0), b"yes\0\n"),
    ] {
        let run = next(&mut queue).unwrap();
        assert_eq!(*run.stdin, *b"asked\n");
        answers.extend(queue.handle_outcome(ended(end, output)));
    }
    let expected = Answer {
        command: Command::Respond {
            ltime: LamportTime(3),
            id: 44,
            payload: b"yes\0\n".to_vec(),
        },
        query: "query: load".into(),
        output_bytes: 5,
    };
    assert_eq!(answers, [expected]);
    let counters = queue.counters();
    assert_eq!(
        (counters.runs, counters.failures, counters.timeouts),
        (6, 4, 1)
    );
    // An outcome without an active run changes nothing.
    assert_eq!(queue.handle_outcome(ended(End::Exited(0), b"x")), None);
    assert_eq!(queue.counters().runs, 6);
}

#[test]
fn the_core_learns_which_queries_handlers_want_and_when_they_are_through() {
    let mut queue = HandlerQueue::new(handlers(&["user=A", "user,query:load=B", "query:x=C"]));
    let wanted = queue.query_handlers();
    let names: Vec<_> = wanted.names.iter().map(|name| &name[..]).collect();
    assert_eq!((wanted.all, names), (false, vec![&b"load"[..], b"x"]));
    for (specs, all) in [(["query=A"], true), (["A"], true), (["user=A"], false)] {
        let queue = HandlerQueue::new(handlers(&specs));
        assert_eq!(queue.query_handlers().all, all, "{specs:?}");
    }
    // A query that a handler runs for, one that no handler wants, and a user event, which does not count.
    queue.push(user("load"), NOW);
    queue.push(query("load"), NOW);
    queue.push(query("other"), NOW);
    assert!(next(&mut queue).is_some());
    queue.handle_outcome(ended(End::Exited(0), b""));
    assert!(next(&mut queue).is_some());
    queue.handle_outcome(ended(End::Exited(0), b""));
    assert!(next(&mut queue).is_some());
    assert_eq!(queue.poll_handled_query(), None);
    queue.handle_outcome(ended(End::Exited(1), b""));
    assert!(next(&mut queue).is_none());
    for _ in 0..2 {
        assert_eq!(queue.poll_handled_query(), Some((LamportTime(3), 44)));
    }
    assert_eq!(queue.poll_handled_query(), None);
    // The queue is full.
    let mut full = HandlerQueue::with_bytes_max(handlers(&["query=A"]), 0);
    full.push(query("load"), NOW);
    assert_eq!(full.poll_handled_query(), Some((LamportTime(3), 44)));
    assert_eq!(full.poll_handled_query(), None);
}

#[test]
fn a_user_event_is_never_answered() {
    let mut queue = HandlerQueue::new(handlers(&["A"]));
    queue.push(user("x"), NOW);
    next(&mut queue).unwrap();
    assert_eq!(queue.handle_outcome(ended(End::Exited(0), b"text")), None);
}

#[test]
fn new_handlers_meet_the_next_event() {
    let mut queue = HandlerQueue::new(handlers(&["user=A", "user=B"]));
    for name in ["x", "y", "z"] {
        queue.push(user(name), NOW);
    }
    assert_eq!(*next(&mut queue).unwrap().script, *b"A");
    queue.replace_handlers(handlers(&["user:z=N"]));
    queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(run_all(&mut queue), ["B user x", "N user z"]);
    queue.push(user("x"), NOW);
    queue.replace_handlers(Vec::new());
    assert!(run_all(&mut queue).is_empty() && queue.is_idle());
}

#[test]
fn an_event_that_fits_no_environment_does_not_hold_up_others() {
    let mut queue = HandlerQueue::new(handlers(&["user=A", "B"]));
    queue.push(user("a\0b"), NOW);
    queue.push(user("c"), NOW);
    assert_eq!(run_all(&mut queue), ["A user c", "B user c"]);
    assert_eq!(queue.counters().refused, 2);
}

#[test]
fn ten_thousand_small_events_fit_several_times_over() {
    let mut queue = HandlerQueue::new(handlers(&["user=A"]));
    for number in 0..50_000 {
        queue.push(user(&format!("event-{number}")), NOW);
    }
    assert_eq!(queue.counters().dropped_user_events, 0);
    for number in 0..50_000 {
        let run = next(&mut queue).unwrap();
        assert_eq!(value(&run, "SERF_USER_EVENT"), format!("event-{number}"));
        queue.handle_outcome(ended(End::Exited(0), b""));
    }
    assert!(next(&mut queue).is_none() && queue.is_idle());
    assert!(queue.fifo.capacity() <= 2 * fifo::IDLE_CAPACITY);
}

/// Returns a queue with room for `count` user events with one-letter names, and one active run.
fn small(list: &[&str], count: usize) -> HandlerQueue {
    let mut queue = HandlerQueue::new(handlers(list));
    queue.push(user("0"), NOW);
    assert!(next(&mut queue).is_some());
    queue.bytes_max = count * cost(&user("x"));
    queue
}

#[test]
fn user_events_and_queries_beyond_the_bound_are_dropped_and_counted() {
    let mut queue = small(&["A"], 3);
    for name in ["1", "2", "3", "4", "5"] {
        queue.push(user(name), NOW);
    }
    queue.push(query("q"), NOW);
    let counters = queue.counters();
    assert_eq!(
        (counters.dropped_user_events, counters.dropped_queries),
        (2, 1)
    );
    queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(run_all(&mut queue), ["A user 1", "A user 2", "A user 3"]);
}

#[test]
fn drops_are_logged_at_once_then_at_intervals() {
    let mut log = DropLog::default();
    let mut unlogged = Vec::new();
    for second in [0, 1, 2, 11, 12] {
        log.unlogged += 1;
        log.log_if_due(1, NOW + Duration::from_secs(second));
        unlogged.push(log.unlogged);
    }
    assert_eq!(unlogged, [0, 1, 2, 0, 1]);
    log.log(1);
    assert_eq!(log.unlogged, 0);
}

/// Returns runs, failures, timeouts, drops, and last and longest duration in ms, of each handler.
fn tallies(queue: &HandlerQueue) -> Vec<[u128; 6]> {
    let tally = |r: &Registered| {
        let t = r.tally;
        let counts = [t.runs, t.failures, t.timeouts, t.drops].map(u128::from);
        let [runs, failures, timeouts, drops] = counts;
        let (last, longest) = (t.last.as_millis(), t.longest.as_millis());
        [runs, failures, timeouts, drops, last, longest]
    };
    queue.handlers().iter().map(tally).collect()
}

fn drops(queue: &HandlerQueue) -> Vec<u128> {
    tallies(queue).iter().map(|tally| tally[3]).collect()
}

fn took(end: End, millis: u64) -> Outcome {
    Outcome {
        duration: Duration::from_millis(millis),
        ..ended(end, b"")
    }
}

#[test]
fn each_handler_has_figures_of_its_own() {
    let mut queue = small(&["user=A", "user:1,query=B", "member-join=A"], 1);
    queue.handle_outcome(took(End::Exited(0), 7));
    for name in ["1", "1", "2"] {
        queue.push(user(name), NOW);
    }
    queue.push(query("1"), NOW);
    assert_eq!(drops(&queue), [2, 2, 0]);
    for (end, millis) in [
        (End::TimedOut(Duration::from_secs(1)), 9),
        (End::Signalled(9), 2),
    ] {
        assert!(next(&mut queue).is_some());
        queue.handle_outcome(took(end, millis));
    }
    assert!(next(&mut queue).is_none());
    assert_eq!(
        tallies(&queue),
        [[2, 1, 1, 2, 9, 9], [1, 1, 0, 2, 2, 2], [0; 6]]
    );
    // An event whose name contains NUL is dropped for each of its handlers.
    queue.push(user("\0"), NOW);
    assert!(next(&mut queue).is_none());
    assert_eq!(drops(&queue), [3, 2, 0]);
}

#[test]
fn figures_outlive_a_reload_that_keeps_the_handler() {
    let mut queue = HandlerQueue::new(handlers(&["A", "user=B", "A"]));
    for end in [End::Exited(0), End::Exited(1), End::Signalled(9)] {
        if queue.is_idle() {
            queue.push(user("x"), NOW);
        }
        next(&mut queue).unwrap();
        queue.handle_outcome(took(end, 4));
    }
    let (a, b, second) = ([1, 0, 0, 0, 4, 4], [1, 1, 0, 0, 4, 4], [1, 1, 0, 0, 4, 4]);
    assert_eq!(tallies(&queue), [a, b, second]);
    queue.push(user("y"), NOW);
    next(&mut queue).unwrap();
    // Another order, one new handler, and only one of two equal ones.
    queue.replace_handlers(handlers(&["user=B", "user=C", "A"]));
    assert_eq!(tallies(&queue), [b, [0; 6], a]);
    // Runs of the current event are still counted for handlers that still exist.
    for millis in [5, 6, 7] {
        queue.handle_outcome(took(End::Exited(0), millis));
        next(&mut queue);
    }
    assert!(queue.is_idle());
    assert_eq!(
        tallies(&queue),
        [[2, 1, 0, 0, 6, 6], [0; 6], [2, 0, 0, 0, 5, 5]]
    );
    assert_eq!(queue.counters().runs, 6);
    queue.replace_handlers(Vec::new());
    queue.replace_handlers(handlers(&["A"]));
    assert_eq!(tallies(&queue), [[0; 6]]);
}

#[test]
fn unwanted_events_are_removed_first_from_a_full_queue() {
    let mut queue = small(&["user:0=A", "user:w=A"], 2);
    queue.push(user("x"), NOW);
    queue.push(user("w"), NOW);
    queue.push(user("y"), NOW);
    assert_eq!(queue.len(), 2);
    queue.push(user("w"), NOW);
    assert_eq!(queue.counters().dropped_user_events, 0);
    queue.push(user("w"), NOW);
    assert_eq!(queue.counters().dropped_user_events, 1);
    queue.handle_outcome(ended(End::Exited(0), b""));
    assert_eq!(run_all(&mut queue), ["A user w", "A user w"]);
}

fn after_merging(kinds: &[(MemberEventKind, &[&str])]) -> Vec<String> {
    let mut queue = small(&["A"], 0);
    for (count, (kind, names)) in kinds.iter().enumerate() {
        queue.push(members_at(*kind, names, &format!("10.0.0.{count}:1")), NOW);
    }
    queue.handle_outcome(ended(End::Exited(0), b""));
    let short = |line: String| {
        line.replace("\t\t\t", "\t")
            .replace("A member-", "")
            .replace("\t10.0.0.", "@")
            .replace('\t', "")
    };
    run_all(&mut queue).into_iter().map(short).collect()
}

#[test]
fn member_events_are_merged_per_node_and_never_dropped() {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    assert_eq!(
        after_merging(&[(Join, &["a", "b", "c"]), (Failed, &["b"]), (Reap, &["b"])]),
        ["join a@0;c@0;", "reap b@2;"]
    );
    assert_eq!(
        after_merging(&[(Failed, &["a"]), (Join, &["a"]), (Update, &["a", "b"])]),
        ["join a@2;", "update b@2;"],
        "an update refreshes the join that waits"
    );
    assert_eq!(
        after_merging(&[(Update, &["a", "b"]), (Leave, &["c"]), (Update, &["a"])]),
        ["update a@2;b@0;", "leave c@1;"]
    );
    assert_eq!(
        after_merging(&[(Leave, &["a"]), (Update, &["a"]), (Join, &["a"])]),
        ["join a@2;"]
    );
}

#[test]
fn a_full_queue_holds_each_node_at_most_once() {
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};
    let mut rng = crate::rng::Rng::new(7);
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let mut queue = small(&["A"], 0);
    for _ in 0..2_000 {
        let mut kinds = [Join, Leave, Failed, Update, Reap];
        rng.shuffle(&mut kinds);
        let some: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|_| rng.below(3) == 0)
            .collect();
        if !some.is_empty() {
            queue.push(members(kinds[0], &some), NOW);
        }
        let cost = queue.fifo.events().map(|w| w.cost).sum::<usize>();
        assert_eq!(queue.bytes(), cost);
        let mut waiting: Vec<&NodeName> = Vec::new();
        for w in queue.fifo.events() {
            if let Event::Member(event) = &w.event {
                assert!(!event.members.is_empty());
                waiting.extend(event.members.iter().map(|m| &m.name));
            }
        }
        let count = waiting.len();
        waiting.sort();
        waiting.dedup();
        assert_eq!(waiting.len(), count);
    }
    assert!(queue.counters().merged_members > 1_000);
}
