//! Retries, pauses, maximum ages, reloads and syncs.

use super::*;

#[test]
fn retry_repeats_a_run_and_later_events_wait_for_it() {
    let mut timed = Timed::new(&[
        r#"{"run": "R", "retry": {"times": 3, "wait": "10s"}}"#,
        r#"{"run": "O"}"#,
    ]);
    timed.user("a", "").user("b", "");
    assert_eq!(timed.begin().unwrap(), "R a:");
    timed.end(75);
    timed.query("q", 50.0);
    // Other handlers continue, and queries do not wait.
    assert_eq!(timed.run(0), "O a:, O b:, R query:q, O query:q");
    assert_eq!(timed.timeout(), Some(10.0));
    assert_eq!(
        timed.states(),
        "R user-event: a retrying, R user-event: b retrying"
    );
    timed.at(10.0);
    assert_eq!(timed.begin().unwrap(), "R#2 a:");
    timed.end(75).at(11.0);
    timed.begin();
    // Twenty seconds after the end of the run.
    assert_eq!(timed.timeout(), Some(31.0));
    timed.at(31.0);
    assert_eq!(timed.begin().unwrap(), "R#3 a:");
    timed.end(0);
    assert_eq!(timed.run(0), "R b:");
    timed.assert_done();
    // At most three retries.
    timed.user("c", "").user("d", "");
    assert_eq!(timed.begin().unwrap(), "R c:");
    timed.end(75);
    assert_eq!(timed.run(75), "O c:, O d:");
    assert_eq!(timed.at(41.0).run(75), "R#2 c:");
    assert_eq!(timed.at(61.0).run(75), "R#3 c:");
    assert_eq!(timed.at(101.0).begin().unwrap(), "R#4 c:");
    timed.end(75);
    assert_eq!(timed.run(0), "R d:");
    // Any other status ends the retries.
    timed.user("e", "");
    assert_eq!(timed.run(74), "R e:, O e:");
    timed.assert_done();
}

#[test]
fn the_wait_for_another_run_has_a_bound() {
    let retry = settings(r#"{"run": "", "retry": {"times": 99, "wait": "7m"}}"#)
        .retry
        .unwrap();
    let waits = [1, 2, 3, 40, 99].map(|runs| retry.wait_after(runs).as_secs());
    assert_eq!(waits, [420, 600, 600, 600, 600]);
}

#[test]
fn a_query_is_repeated_only_before_its_deadline() {
    let mut timed =
        Timed::new(&[r#"{"run": "R", "on": "query", "retry": {"times": 9, "wait": "2s"}}"#]);
    timed.query("q", 5.0);
    assert_eq!(timed.run(75), "R query:q");
    assert_eq!(timed.queue.poll_handled_query(), None);
    assert_eq!(timed.at(2.0).begin().unwrap(), "R#2 query:q");
    let output = ended(End::Exited(0), b"yes");
    assert!(timed.queue.handle_outcome(output).is_some());
    timed.assert_done();
    assert_eq!(timed.queue.poll_handled_query(), Some((LamportTime(1), 1)));
    timed.query("q", 5.0);
    assert_eq!(timed.run(75), "R query:q");
    assert_eq!(timed.at(4.0).run(75), "R#2 query:q");
    // The next attempt would be after the query's deadline.
    assert_eq!(timed.queue.poll_handled_query(), Some((LamportTime(2), 1)));
    assert_eq!(timed.at(99.0).run(0), "");
    timed.assert_done();
}

#[test]
fn what_comes_meanwhile_joins_a_run_that_is_repeated() {
    let mut timed =
        Timed::new(&[r#"{"run": "R", "latest": true, "retry": {"times": 2, "wait": "10s"}}"#]);
    timed.members(Join, &["a"]);
    assert_eq!(timed.run(75), "R join:a");
    timed.members(Join, &["b"]).user("u", "1").user("u", "2");
    assert_eq!(timed.run(75), "");
    assert_eq!(timed.at(10.0).begin().unwrap(), "R#2 join:a+b");
    timed.end(0);
    assert_eq!(timed.begin().unwrap(), "R u:2");
    timed.end(75);
    // A newer event supersedes one that waits for a retry.
    timed.user("u", "3");
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.at(20.0).run(0), "R u:3");
    timed.assert_done();
}

#[test]
fn a_paused_handler_s_lane_is_held_back() {
    let mut timed = Timed::new(&[r#"{"run": "L", "latest": true, "name": "l"}"#]);
    timed.queue.set_paused("l", true);
    timed.user("a", "1").user("a", "2");
    assert_eq!(
        (timed.run(0), timed.states()),
        (String::new(), "l user-event: a paused".into())
    );
    timed.queue.set_paused("l", false);
    assert_eq!(timed.run(0), "L a:2");
    timed.user("b", "").members(Join, &["n"]);
    assert_eq!(
        (timed.queue.len(), timed.queue.drop_handler("l")),
        (4, Some(2))
    );
    timed.assert_done();
}

#[test]
fn what_has_waited_too_long_is_dropped() {
    let mut timed = Timed::new(&[
        r#"{"run": "A", "max_age": "5s"}"#,
        r#"{"run": "L", "max_age": "5s", "latest": true}"#,
        r#"{"run": "N"}"#,
    ]);
    timed.user("u", "");
    assert_eq!(timed.begin().unwrap(), "A u:");
    timed.user("v", "").at(5.1).end(0);
    assert_eq!(timed.run(0), "N u:, N v:");
    assert_eq!(timed.queue.counters().expired, 3);
    timed.assert_done();
    // The same for a paused handler.
    timed.queue.set_paused("A", true);
    timed.user("w", "");
    assert_eq!(timed.run(0), "L w:, N w:");
    timed.at(12.0).user("x", "");
    assert_eq!(timed.run(0), "L x:, N x:");
    assert_eq!((timed.queue.counters().expired, timed.queue.len()), (4, 1));
}

#[test]
fn earlier_handlers_of_the_event_count_as_waiting() {
    let texts = [
        r#"{"run": "S"}"#,
        r#"{"run": "A", "max_age": "5s"}"#,
        r#"{"run": "N"}"#,
        r#"{"run": "B", "max_age": "5s"}"#,
    ];
    let mut timed = Timed::with_journal(&texts);
    timed.user("u", "");
    assert_eq!(timed.begin().unwrap(), "S u:");
    timed.at(5.1).end(0);
    assert_eq!(timed.begin().unwrap(), "N u:");
    assert_eq!(timed.queue.counters().expired, 1);
    // The journal knows which handlers are through, even after a crash.
    let mut timed = timed.restarted(&texts[..3]);
    assert_eq!(timed.run(0), "N#2! u:");
    assert_eq!(timed.queue.counters().expired, 0);
    let mut timed = Timed::with_journal(&texts);
    timed.user("v", "");
    assert_eq!(timed.begin().unwrap(), "S v:");
    timed.at(5.1).end(0);
    assert_eq!(timed.run(0), "N v:");
    assert_eq!(timed.queue.counters().expired, 2);
    timed.assert_done();
    let mut timed = timed.restarted(&texts);
    timed.assert_done();
    // The same for queries, which then get no more answers, and for an event that is interrupted by a retry.
    let retried = [
        r#"{"run": "R", "retry": {"times": 1, "wait": "1s"}}"#,
        r#"{"run": "S"}"#,
        r#"{"run": "A", "max_age": "5s"}"#,
    ];
    let mut timed = Timed::new(&retried);
    timed.query("q", 50.0).user("w", "");
    assert_eq!(timed.begin().unwrap(), "R query:q");
    timed.at(4.0).end(0);
    assert_eq!(timed.begin().unwrap(), "S query:q");
    timed.at(5.1).end(0);
    assert_eq!(timed.begin().unwrap(), "R w:");
    assert_eq!(timed.queue.poll_handled_query(), Some((LamportTime(1), 1)));
    timed.end(75);
    assert_eq!(timed.begin().unwrap(), "S w:");
    timed.at(6.1).end(0);
    assert_eq!(timed.run(0), "R#2 w:");
    assert_eq!(timed.queue.counters().expired, 2);
    timed.assert_done();
}

#[test]
fn a_reload_keeps_changes_and_removes() {
    let old = [
        r#"{"run": "K", "settle": "5s"}"#,
        r#"{"run": "C", "settle": "5s", "name": "c"}"#,
        r#"{"run": "G", "settle": "5s"}"#,
    ];
    let mut timed = Timed::new(&old);
    timed.user("u", "1");
    assert_eq!(timed.run(0), "");
    let new = [
        old[0],
        r#"{"run": "D", "name": "c"}"#,
        r#"{"run": "L", "latest": true}"#,
    ];
    assert_eq!(timed.queue.replace_handlers(list(&new)), 0);
    // Without `settle` in the new settings, debouncing ends, and a new handler gets the pending events of its
    // predecessors.
    assert_eq!(timed.run(0), "D u:1, L u:1");
    assert_eq!(timed.at(5.0).run(0), "K u:1");
    timed.assert_done();
    // New handlers with `latest` merge events that are already in the FIFO.
    let mut timed = Timed::new(&[r#"{"run": "N"}"#]);
    timed.user("a", "1").begin();
    timed.user("b", "1").user("b", "2");
    timed
        .queue
        .replace_handlers(list(&[r#"{"run": "L", "latest": true}"#]));
    timed.end(0);
    assert_eq!(timed.run(0), "L b:2");
    timed.assert_done();
}

#[test]
fn a_sync_takes_the_place_of_what_has_happened_to_members() {
    let mut timed = Timed::new(&[
        r#"{"run": "S", "on": "sync,member-join,user", "name": "s"}"#,
        r#"{"run": "N"}"#,
        r#"{"run": "W", "on": "sync", "where": {"role": "web"}}"#,
    ]);
    timed.members = vec![
        member("a,role=web", Join),
        member("b", Failed),
        member("c", Join),
    ];
    timed.user("first", "");
    assert_eq!(timed.begin().unwrap(), "S first:");
    timed
        .members(Join, &["x"])
        .user("u", "")
        .members(Join, &["y"]);
    assert_eq!(timed.queue.sync_all(), 2);
    timed.end(0);
    assert_eq!(
        timed.run(0),
        "S sync:a+c, W sync:a, N first:, N join:x, S u:, N u:, N join:y"
    );
    timed.assert_done();
    // A ticket reports the end of a `sync`.
    assert_eq!(timed.queue.sync("s", Some(7)), Ok(()));
    assert_eq!(timed.run(3), "S sync:a+c");
    assert_eq!(
        timed.queue.poll_ended(),
        Some((7, Some(ended(End::Exited(3), b""))))
    );
    assert_eq!(timed.queue.sync("x", Some(8)), Err(NoRun::Unknown));
    assert_eq!(timed.queue.sync("N", Some(8)), Err(NoRun::Unwanted));
    timed.queue.set_paused("s", true);
    assert_eq!(timed.queue.sync("s", Some(8)), Err(NoRun::Paused));
    timed.queue.set_paused("s", false);
    assert_eq!(timed.queue.sync("s", Some(9)), Ok(()));
    timed.queue.drop_handler("s");
    assert_eq!(timed.queue.poll_ended(), Some((9, None)));
    timed.assert_done();
}

#[test]
fn changes_that_a_sync_included_are_not_delivered_later() {
    let mut timed = Timed::new(&[
        r#"{"run": "S", "on": "sync,member-join,member-failed", "name": "s"}"#,
        r#"{"run": "H", "on": "sync,member-join,member-failed", "hold": "10s", "name": "h"}"#,
        r#"{"run": "N"}"#,
    ]);
    timed.members = vec![member("a", Join), member("b", Join)];
    timed.note(Join, &["a", "b"]);
    timed.queue.sync_all();
    assert_eq!(timed.run(0), "S sync:a+b, H sync:a+b");
    // Later changes are delivered.
    timed.note(Failed, &["b"]);
    timed.members(Join, &["a"]).members(Failed, &["b"]);
    assert_eq!(timed.run(0), "N join:a, S failed:b, N failed:b");
    assert_eq!(timed.at(10.0).run(0), "H failed:b");
    timed.note(Join, &["c"]);
    assert_eq!(timed.queue.sync("s", None), Ok(()));
    assert_eq!(timed.run(0), "S sync:a+b");
    timed.note(Join, &["d"]).members(Join, &["c", "d"]);
    assert_eq!(timed.run(0), "S join:d, H join:c+d, N join:c+d");
    // A member that the `sync` did not list later joins like a new one.
    timed.note(Failed, &["c"]);
    timed.queue.sync_all();
    assert_eq!(timed.run(0), "S sync:a+b, H sync:a+b");
    timed.members(Failed, &["c"]);
    assert_eq!(
        (timed.run(0).as_str(), timed.timeout()),
        ("N failed:c", None)
    );
    timed.note(Join, &["c"]).members(Join, &["c"]);
    assert_eq!(timed.run(0), "S join:c, H join:c, N join:c");
    timed.assert_done();
}

#[test]
fn a_sync_between_changes_that_cancel_out_is_repeated() {
    let mut timed = Timed::new(&[
        r#"{"run": "S", "on": "sync,member-join", "name": "s"}"#,
        r#"{"run": "T", "on": "sync", "name": "t"}"#,
        r#"{"run": "N"}"#,
    ]);
    let a = NodeName::new(b"a").unwrap();
    timed.queue.sync_all();
    assert_eq!(timed.run(0), "S sync:, T sync:");
    // It fails and comes back, and the two cancel out before delivery.
    timed.note(Failed, &["a"]);
    assert_eq!(timed.queue.sync("s", None), Ok(()));
    assert_eq!(timed.run(0), "S sync:");
    timed.members = vec![member("a", Join)];
    timed.note(Join, &["a"]);
    assert_eq!(timed.queue.sync("t", None), Ok(()));
    assert_eq!(timed.run(0), "T sync:a");
    timed.queue.note_unchanged(&a);
    assert_eq!(timed.run(0), "S sync:a");
    // No `sync` ran in between.
    timed.note(Failed, &["a"]).note(Join, &["a"]);
    timed.queue.note_unchanged(&a);
    timed.assert_done();
}

#[test]
fn latest_with_sync_replaces_member_events_by_a_sync_run() {
    let mut timed = Timed::new(&[
        r#"{"run": "S", "on": "sync,member-join,member-failed,user", "settle": "2s", "hold": "10s",
            "retry": {"times": 1, "wait": "5s"}}"#,
    ]);
    timed.members = vec![member("a", Join)];
    timed.members(Join, &["a"]).user("u", "");
    timed.at(1.0).members(Join, &["b"]);
    assert_eq!(timed.at(3.0).begin().unwrap(), "S sync:a");
    timed.members(Join, &["c"]).end(75);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(5.0)));
    // The retried run gets the state at its own start.
    assert_eq!(timed.at(8.0).run(0), "S#2 sync:a, S u:");
    timed.members(Failed, &["b"]);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(18.0)));
    timed.members(Join, &["b"]);
    assert_eq!(timed.at(19.0).run(0), "");
    timed.members(Failed, &["b"]);
    assert_eq!(timed.at(30.0).run(0), "");
    assert_eq!(timed.at(32.0).run(0), "S sync:a");
    timed.assert_done();
}

#[test]
fn lanes_have_a_bound() {
    let mut timed = Timed::new(&[]);
    let merged = list(&[r#"{"run": "L", "settle": "1h"}"#]);
    timed.queue = HandlerQueue::with_bytes_max(merged, 100_000);
    for number in 0..2000 {
        timed.user(&format!("u{number}"), "");
        timed.members(Join, &[&format!("n{}", number % 10)]);
        timed.user("same", &number.to_string());
    }
    let lost = timed.queue.counters().dropped_user_events;
    assert!((1000..1999).contains(&lost), "{lost}");
    assert!(timed.queue.handlers.lanes().bytes < 120_000);
    let ran = timed.at(3601.0).run(0);
    assert!(
        ran.contains("L same:1999") && ran.contains("L join:n0+n1+n2"),
        "{ran}"
    );
    assert_eq!(timed.queue.handlers()[0].tally.drops, lost);
    timed.assert_done();
}
