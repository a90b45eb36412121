//! Combinations of settings in one handler, and their effect on waiting events.

use super::*;

#[test]
fn a_pause_ends_although_members_come_at_that_moment() {
    let mut timed = Timed::new(&[
        r#"{"run": "R", "hold": "5s", "retry": {"times": 2, "wait": "10s"}}"#,
        r#"{"run": "O", "on": "user"}"#,
    ]);
    timed.user("a", "").user("b", "");
    assert_eq!(timed.begin().unwrap(), "R a:");
    timed.end(75);
    assert_eq!(timed.run(0), "O a:, O b:");
    timed.at(10.0).members(Join, &["m"]);
    // Events that waited behind the retried run follow it, and member events keep their order.
    assert_eq!(timed.run(0), "R#2 a:, R b:, R join:m");
    timed.assert_done();
}

#[test]
fn a_query_is_open_until_its_last_handler_is_done() {
    let mut timed = Timed::new(&[
        r#"{"run": "A", "retry": {"times": 3, "wait": "1s"}}"#,
        r#"{"run": "B", "retry": {"times": 3, "wait": "2s"}}"#,
        r#"{"run": "C"}"#,
    ]);
    timed.query("q", 60.0);
    assert_eq!(timed.begin().unwrap(), "A query:q");
    timed.end(75);
    assert_eq!(timed.begin().unwrap(), "B query:q");
    timed.at(1.5).end(75);
    // The first handler finishes before the third begins.
    assert_eq!(timed.begin().unwrap(), "A#2 query:q");
    timed.end(0);
    assert_eq!(timed.begin().unwrap(), "C query:q");
    assert_eq!(timed.queue.poll_handled_query(), None);
    timed.end(0);
    assert_eq!(timed.begin(), None);
    assert_eq!(timed.queue.poll_handled_query(), None);
    timed.at(9.0);
    assert_eq!(timed.run(0), "B#2 query:q");
    assert_eq!(timed.queue.poll_handled_query(), Some((LamportTime(1), 1)));
    assert_eq!(timed.queue.poll_handled_query(), None);
    timed.assert_done();
}

#[test]
fn whoever_waits_for_a_sync_hears_that_it_will_not_be() {
    let mut timed =
        Timed::new(&[r#"{"run": "S", "on": "sync", "self": {"role": "lb"}, "name": "s"}"#]);
    assert_eq!(timed.queue.sync("s", Some(5)), Ok(()));
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.queue.poll_ended(), Some((5, None)));
    timed.tags.set(b"role", b"lb");
    assert_eq!(timed.queue.sync("s", Some(6)), Ok(()));
    assert_eq!(timed.run(0), "S sync:");
    assert_eq!(
        timed.queue.poll_ended(),
        Some((6, Some(ended(End::Exited(0), b""))))
    );
    assert_eq!(timed.queue.sync("s", Some(7)), Ok(()));
    timed.queue.replace_handlers(Vec::new());
    assert_eq!(timed.queue.poll_ended(), Some((7, None)));
    // An edit removes its `sync` filter.
    let asks = r#"{"run": "S", "on": "sync", "name": "s"}"#;
    timed.queue.replace_handlers(list(&[asks]));
    assert_eq!(timed.queue.sync("s", Some(8)), Ok(()));
    let changed = r#"{"run": "S", "on": "user", "name": "s"}"#;
    timed.queue.replace_handlers(list(&[changed]));
    assert_eq!(timed.queue.poll_ended(), Some((8, None)));
    timed.assert_done();
}

#[test]
fn what_settles_runs_at_once_when_the_node_has_left() {
    let mut timed = Timed::new(&[r#"{"run": "S", "settle": "30s"}"#]);
    timed.members(Join, &["a"]).user("u", "1");
    assert_eq!(timed.run(0), "");
    timed.queue.hurry();
    assert_eq!(timed.run(0), "S join:a, S u:1");
    timed.members(Leave, &["self"]);
    assert_eq!(timed.run(0), "S leave:self");
    timed.assert_done();
}

#[test]
fn a_paused_handler_with_held_departures_has_a_bound() {
    let mut timed = Timed::new(&[]);
    let held = list(&[r#"{"run": "H", "hold": "1s", "name": "h"}"#]);
    timed.queue = HandlerQueue::with_bytes_max(held, 50_000);
    timed.queue.set_paused("h", true);
    for number in 0..2000 {
        timed.at(f64::from(number) * 2.0);
        let name = format!("n{}", number % 10);
        timed.members(Failed, &[&name]).run(0);
        timed.at(f64::from(number) * 2.0 + 1.5);
        timed.members(Join, &[&name]).run(0);
    }
    assert!(
        timed.queue.handlers.lanes().bytes < 60_000,
        "{}",
        timed.queue.handlers.lanes().bytes
    );
    timed.queue.set_paused("h", false);
    // The remaining events have the last change of each member.
    let ran = timed.run(0);
    for number in 0..10 {
        let name = format!("n{number}");
        let last = ran.split(", ").filter(|run| run.contains(&name)).last();
        assert!(
            last.is_some_and(|run| run.contains("join")),
            "{name}: {ran}"
        );
    }
    timed.assert_done();
}

#[test]
fn nothing_is_due_while_a_process_of_an_earlier_life_is_awaited() {
    let texts = [
        r#"{"run": "S", "settle": "2s"}"#,
        r#"{"run": "O", "on": "user"}"#,
    ];
    let mut timed = Timed::with_journal(&texts);
    timed.user("u", "");
    assert_eq!(timed.begin().unwrap(), "O u:");
    let process = ProcessId {
        pid: 7,
        start_ticks: 1,
        boot: 1,
    };
    timed.queue.handle_started(process);
    let mut timed = timed.restarted(&texts);
    assert!(timed.queue.awaited().is_some());
    timed.members(Join, &["a"]);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), None));
    timed.at(5.0).queue.handle_gone();
    assert_eq!(timed.run(0), "S join:a, O#2! u:");
    assert_eq!(timed.at(7.0).run(0), "S u:");
    timed.assert_done();
}

#[test]
fn an_edited_handler_gets_what_waited_in_the_lane_of_the_old_one() {
    let old = r#"{"run": "R", "on": "user", "retry": {"times": 3, "wait": "10s"}}"#;
    let new = r#"{"run": "F", "on": "user", "retry": {"times": 3, "wait": "10s"}}"#;
    let other = r#"{"run": "O"}"#;
    for mut timed in [
        Timed::new(&[old, other]),
        Timed::with_journal(&[old, other]),
    ] {
        timed.user("a", "").user("b", "").query("q", 60.0);
        assert_eq!(timed.begin().unwrap(), "R a:");
        timed.end(75);
        assert_eq!(timed.run(0), "O a:, O b:, O query:q");
        assert_eq!(timed.queue.replace_handlers(list(&[new, other])), 0);
        assert_eq!(timed.run(0), "F a:, F b:");
        timed.assert_done();
    }
    // The same while another handler runs for the event, and while the event waits in the FIFO.
    let mut timed = Timed::with_journal(&[old, other]);
    timed.user("a", "");
    timed.begin();
    timed.end(75);
    assert_eq!(timed.begin().unwrap(), "O a:");
    assert_eq!(timed.queue.replace_handlers(list(&[new, other])), 0);
    timed.at(1.0).end(0);
    assert_eq!(timed.run(0), "F a:");
    timed.assert_done();
    let latest = r#"{"run": "L", "on": "user", "latest": true}"#;
    let slow = r#"{"run": "O", "on": "user:slow"}"#;
    let mut timed = Timed::with_journal(&[slow, latest]);
    timed.user("slow", "");
    assert_eq!(timed.begin().unwrap(), "O slow:");
    timed.user("u", "1").user("u", "2");
    assert_eq!(timed.queue.replace_handlers(list(&[slow, new])), 0);
    timed.at(1.0).end(0);
    assert_eq!(timed.run(0), "F slow:, F u:2");
    timed.assert_done();
}

#[test]
fn without_a_successor_what_the_journal_has_waits_and_the_rest_is_counted() {
    let old = r#"{"run": "S", "on": "user:u,member-join", "settle": "5s"}"#;
    let other = r#"{"run": "O", "on": "user"}"#;
    let mut timed = Timed::with_journal(&[old, other]);
    timed.user("u", "1").members(Join, &["m"]);
    assert_eq!(timed.run(0), "O u:1");
    assert_eq!(timed.queue.replace_handlers(list(&[other])), 1);
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.states(), "user:u,member-join=S user-event: u missing");
    // The handler comes back, before or after a restart.
    let mut timed = timed.restarted(&[old, other]);
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.at(5.0).run(0), "S u:1");
    timed.assert_done();
}
