//! Events in lanes, and the journal.

use super::*;

#[test]
fn a_pending_retry_survives_a_restart() {
    let texts = [
        r#"{"run": "R", "retry": {"times": 3, "wait": "10s"}}"#,
        r#"{"run": "O"}"#,
    ];
    let mut timed = Timed::with_journal(&texts);
    timed.user("a", "").user("b", "").members(Join, &["n"]);
    assert_eq!(timed.begin().unwrap(), "R a:");
    timed.end(75);
    assert_eq!(timed.run(0), "O a:, O b:, O join:n");
    assert_eq!(timed.at(10.0).run(75), "R#2 a:");
    timed.at(12.0);
    let mut timed = timed.restarted(&texts);
    // The retry delay starts anew. Waiting member events are lost.
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(32.0)));
    assert_eq!(timed.at(32.0).begin().unwrap(), "R#3 a:");
    // The agent is killed during the run: that does not count as status 75.
    let mut timed = timed.restarted(&texts);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(52.0)));
    assert_eq!(timed.at(52.0).begin().unwrap(), "R#4! a:");
    timed.end(0);
    assert_eq!(timed.run(0), "R b:");
    timed.assert_done();
}

#[test]
fn a_members_event_that_is_repeated_outlives_the_agent() {
    let texts = [r#"{"run": "R", "where": {"role": "web"}, "retry": {"times": 3, "wait": "10s"}}"#];
    let mut timed = Timed::with_journal(&texts);
    timed.members(Join, &["a", "b,role=web"]);
    assert_eq!(timed.run(75), "R join:b");
    let mut timed = timed.restarted(&texts);
    assert_eq!(timed.run(75), "");
    assert_eq!(timed.at(10.0).run(0), "R#2 join:b");
    timed.assert_done();
    let mut timed = timed.restarted(&texts);
    assert_eq!(timed.run(0), "");
    timed.assert_done();
}

#[test]
fn held_and_debounced_events_survive_a_restart() {
    let texts = [
        r#"{"run": "H", "hold": "10s"}"#,
        r#"{"run": "S", "settle": "5s", "on": "member-join,member-leave,user"}"#,
        r#"{"run": "T", "settle": "5s", "journal": false}"#,
    ];
    let mut timed = Timed::with_journal(&texts);
    timed
        .members(Failed, &["a", "b"])
        .members(Join, &["c", "d"])
        .members(Leave, &["d"]);
    timed.user("u", "1").user("u", "2");
    assert_eq!(timed.begin().unwrap(), "H join:c+d");
    timed.end(0);
    assert_eq!(timed.run(0), "H u:1, H u:2");
    timed.at(4.0);
    let mut timed = timed.restarted(&texts);
    assert_eq!(timed.run(0), "");
    // Members join again, as after every start.
    timed.members(Join, &["a"]);
    assert_eq!(timed.run(0), "");
    assert_eq!(
        timed.at(9.0).run(0),
        "S join:a+c, S leave:d, S u:2, T join:a"
    );
    assert_eq!(timed.at(14.0).run(0), "H failed:b, H leave:d");
    timed.assert_done();
    let mut timed = timed.restarted(&texts);
    assert_eq!(timed.run(0), "");
    timed.assert_done();
}

#[test]
fn a_crowd_that_is_held_back_is_recorded_in_parts() {
    let texts = [r#"{"run": "H", "hold": "10s"}"#];
    let mut timed = Timed::with_journal(&texts);
    let names: Vec<String> = (0..200)
        .map(|n| format!("n{n:03},x={}", "y".repeat(400)))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    timed.members(Failed, &names);
    let mut timed = timed.restarted(&texts);
    timed.run(0);
    let ran = timed.at(10.0).run(0);
    assert_eq!(ran.matches('n').count(), 200, "{ran}");
    timed.assert_done();
}

#[test]
fn a_merged_event_is_done_for_all_that_it_stands_for() {
    let texts = [
        r#"{"run": "N", "on": "user:x"}"#,
        r#"{"run": "L", "latest": true}"#,
    ];
    let mut timed = Timed::with_journal(&texts);
    timed.user("x", "1").user("x", "2");
    assert_eq!(timed.begin().unwrap(), "N x:1");
    timed.end(0);
    assert_eq!(timed.begin().unwrap(), "N x:2");
    let mut timed = timed.restarted(&texts);
    // For one event the first handler is done, for the other it had begun; the second handler merges them.
    assert_eq!(timed.run(0), "N#2! x:2, L x:2");
    timed.assert_done();
    let mut timed = timed.restarted(&texts);
    assert_eq!(timed.run(0), "");
    timed.assert_done();
}

#[test]
fn what_is_merged_and_spilled_is_run_once() {
    let mut timed = Timed::with_journal(&[r#"{"run": "N"}"#, r#"{"run": "L", "latest": true}"#]);
    timed.queue.bytes_max = 5_000;
    for number in 0..200 {
        timed.user("u", &number.to_string());
        timed.flush();
        timed.queue.spill();
    }
    let ran = timed.run(0);
    assert_eq!(ran.matches("N u:").count(), 200);
    assert_eq!(ran.matches("L u:").count(), 1, "{ran}");
    timed.assert_done();
}
