//! Selecting, merging, holding and debouncing.

use super::*;

#[test]
fn members_are_picked_by_tags_name_and_status() {
    let mut timed = Timed::new(&[
        r#"{"run": "W", "where": {"role": "web|db"}}"#,
        r#"{"run": "N", "node": "a.*"}"#,
        r#"{"run": "S", "status": "left"}"#,
        r#"{"run": "B", "where": {"role": "web"}, "node": "b"}"#,
    ]);
    timed.members(Join, &["a1,role=web", "a2", "b,role=web", "c,role=webb"]);
    assert_eq!(timed.run(0), "W join:a1+b, N join:a1+a2, B join:b");
    timed.members(Leave, &["a2", "c,role=webb"]);
    assert_eq!(timed.run(0), "N leave:a2, S leave:a2+c");
    timed.user("u", "");
    assert_eq!(timed.run(0), "W u:, N u:, S u:, B u:");
}

#[test]
fn an_update_is_handed_over_if_the_member_matched_or_matches() {
    let handler = &[r#"{"run": "W", "where": {"role": "web"}}"#];
    let mut timed = Timed::new(handler);
    timed.members(Join, &["a,role=web", "b,role=db", "c,role=web"]);
    assert_eq!(timed.run(0), "W join:a+c");
    timed.members(Update, &["a,role=db", "b,role=web", "c,role=web,x=1"]);
    assert_eq!(timed.run(0), "W update:a+b+c");
    timed.members(Update, &["a,role=db,x=1"]);
    assert_eq!(timed.run(0), "");
    // Each of two waiting updates has its own tags before the update.
    timed
        .members(Update, &["a,role=web"])
        .members(Update, &["a,role=db"]);
    timed.members(Update, &["a,role=x"]);
    assert_eq!(timed.run(0), "W update:a, W update:a");
    // A handler added by a reload knows the current members' tags.
    let mut timed = Timed::new(&[r#"{"run": "X"}"#]);
    timed.members(Join, &["a,role=web"]).run(0);
    timed.queue.replace_handlers(list(handler));
    timed
        .queue
        .know_members([member("a,role=web", Join)].iter());
    timed.members(Update, &["a,role=db"]);
    assert_eq!(timed.run(0), "W update:a");
}

#[test]
fn this_nodes_own_tags_count_when_the_run_is_due() {
    let mut timed = Timed::new(&[r#"{"run": "S", "self": {"role": "lb"}}"#, r#"{"run": "O"}"#]);
    timed.user("a", "").query("q", 9.0);
    assert_eq!(timed.run(0), "O a:, O query:q");
    timed.user("b", "");
    timed.tags.set(b"role", b"lb");
    assert_eq!(timed.run(0), "S b:, O b:");
    timed.assert_done();
}

#[test]
fn latest_gives_one_run_for_each_kind() {
    let mut timed = Timed::new(&[
        r#"{"run": "N"}"#,
        r#"{"run": "L", "latest": true}"#,
        r#"{"run": "M", "on": "user"}"#,
    ]);
    // Without waiting events, `latest` changes nothing.
    timed.members(Join, &["a"]).user("d", "0");
    assert_eq!(timed.run(0), "N join:a, L join:a, N d:0, L d:0, M d:0");
    timed.user("first", "");
    assert_eq!(timed.begin().unwrap(), "N first:");
    timed
        .members(Join, &["b", "c"])
        .members(Join, &["d"])
        .members(Leave, &["c"]);
    timed
        .user("d", "1")
        .user("e", "1")
        .user("d", "2")
        .query("q", 9.0)
        .query("q", 9.0);
    timed
        .members(Update, &["b,x=1"])
        .members(Failed, &["d"])
        .members(Reap, &["c"]);
    timed.end(0);
    assert_eq!(
        timed.run(0),
        "L first:, M first:, N join:b+c, L join:b, N join:d, N leave:c, N d:1, M d:1, N e:1, L e:1, \
         M e:1, N d:2, L d:2, M d:2, N query:q, L query:q, N query:q, L query:q, N update:b, \
         N failed:d, L failed:d, N reap:c, L reap:c"
    );
    timed.assert_done();
}

#[test]
fn where_goes_before_latest() {
    let mut timed = Timed::new(&[
        r#"{"run": "N", "on": "user"}"#,
        r#"{"run": "L", "latest": true, "where": {"role": "web"}}"#,
    ]);
    timed.user("first", "");
    timed.begin();
    timed
        .members(Join, &["a,role=web", "b"])
        .members(Leave, &["b"]);
    timed
        .members(Update, &["a,role=db"])
        .members(Join, &["c,role=web"]);
    timed.end(0);
    // An update refreshes the waiting join of a member that was selected.
    assert_eq!(timed.run(0), "L first:, L join:a+c");
    timed.members(Leave, &["a,role=db"]);
    assert_eq!(timed.run(0), "");
    timed.assert_done();
}

#[test]
fn settle_waits_for_quiet() {
    let mut timed = Timed::new(&[
        r#"{"run": "S", "settle": "2s"}"#,
        r#"{"run": "N", "on": "user"}"#,
    ]);
    timed.members(Join, &["a"]);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(2.0)));
    timed
        .at(1.5)
        .members(Join, &["b"])
        .user("u", "1")
        .query("q", 9.0);
    assert_eq!(timed.run(0), "N u:1, S query:q");
    assert_eq!(timed.timeout(), Some(3.5));
    assert_eq!(
        timed.states(),
        "S member-join settling, S user-event: u settling"
    );
    timed.at(3.0).user("u", "2").members(Leave, &["a"]);
    assert_eq!(timed.run(0), "N u:2");
    assert_eq!(timed.at(4.9).run(0), "");
    assert_eq!(timed.at(5.0).begin().unwrap(), "S join:b");
    // Events during the runs are debounced again.
    timed.members(Join, &["c"]).end(0);
    assert_eq!(timed.run(0), "S u:2, S leave:a");
    assert_eq!(timed.timeout(), Some(7.0));
    assert_eq!(timed.at(7.0).run(0), "S join:c");
    timed.assert_done();
}

#[test]
fn settle_does_not_wait_for_ever() {
    let mut timed = Timed::new(&[r#"{"run": "S", "settle": "1s"}"#]);
    for number in 0..10 {
        timed.at(f64::from(number)).user("u", &number.to_string());
        timed
            .at(f64::from(number) + 0.5)
            .user("u", &format!("{number}+"));
        assert_eq!(timed.run(0), "");
    }
    assert_eq!(timed.at(10.0).run(0), "S u:9+");
    timed.assert_done();
}

#[test]
fn hold_delivers_only_departures_that_last() {
    let mut timed = Timed::new(&[
        r#"{"run": "H", "hold": "30s"}"#,
        r#"{"run": "F", "on": "member-failed", "hold": "30s"}"#,
    ]);
    timed.members(Join, &["a", "b", "c,x=1", "d"]);
    assert_eq!(timed.run(0), "H join:a+b+c+d");
    // The core saw the departure two seconds before it was delivered.
    let a = NodeName::new(b"a").unwrap();
    timed
        .queue
        .note_member(&a, Failed, Instant::from_millis(8000));
    timed.at(10.0).members(Failed, &["a"]);
    timed
        .at(11.0)
        .members(Failed, &["b", "c,x=1"])
        .user("u", "");
    assert_eq!((timed.run(0), timed.timeout()), ("H u:".into(), Some(38.0)));
    assert_eq!(timed.states().matches("member-failed held").count(), 4);
    // A return without changes cancels the departure; with other tags it becomes an update.
    timed
        .at(20.0)
        .members(Join, &["b"])
        .members(Join, &["c,x=2"]);
    assert_eq!(timed.run(0), "H update:c");
    // A second departure of an absent member has the hold time of the first.
    timed.at(37.9).members(Leave, &["a"]);
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.at(38.0).run(0), "H failed:a, F failed:a, H leave:a");
    // A member whose departure was handed over joins as usual.
    timed.at(39.0).members(Join, &["a"]);
    assert_eq!(timed.run(0), "H join:a");
    // A reap ends the hold time.
    timed.members(Failed, &["d"]);
    timed.at(45.0).members(Reap, &["d"]);
    assert_eq!(timed.run(0), "H failed:d, H reap:d, F failed:d");
    timed.at(99.0).members(Join, &["d"]);
    assert_eq!(timed.run(0), "H join:d");
    timed.assert_done();
}

#[test]
fn a_return_in_the_same_batch_ends_an_absence() {
    let mut timed = Timed::new(&[r#"{"run": "H", "hold": "10s"}"#]);
    let a = NodeName::new(b"a").unwrap();
    timed.members(Join, &["a"]).run(0);
    // Gone, back, gone again: the last absence counts.
    for (kind, at) in [(Failed, 1), (Join, 2), (Failed, 3)] {
        timed
            .queue
            .note_member(&a, kind, Instant::from_millis(at * 1000));
    }
    timed.at(4.0).members(Failed, &["a"]).run(0);
    assert_eq!(timed.timeout(), Some(13.0));
    // A group is handed over together when the last hold time ends.
    let mut timed = Timed::new(&[r#"{"run": "H", "hold": "10s"}"#]);
    timed
        .queue
        .note_member(&a, Failed, Instant::from_millis(1000));
    timed.at(4.0).members(Failed, &["a", "b"]);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(14.0)));
    timed.at(13.0).members(Join, &["a"]);
    assert_eq!(timed.at(14.0).run(0), "H failed:b");
    timed.assert_done();
}

#[test]
fn where_picks_what_is_held_back() {
    let mut timed = Timed::new(&[r#"{"run": "H", "hold": "10s", "where": {"role": "web"}}"#]);
    timed.members(Join, &["a,role=web", "b", "c"]).run(0);
    timed.members(Failed, &["a,role=web", "b", "c"]);
    timed.at(5.0).members(Join, &["a", "b,role=web", "c"]);
    // One matched before, the other matches now; the third does neither.
    assert_eq!(timed.run(0), "H update:a+b");
    timed.at(99.0).assert_done();
}

#[test]
fn hold_comes_before_settle() {
    let mut timed = Timed::new(&[r#"{"run": "H", "hold": "10s", "settle": "2s"}"#]);
    timed.members(Join, &["a", "b"]);
    assert_eq!(timed.at(2.0).run(0), "H join:a+b");
    timed.members(Failed, &["a"]);
    timed.at(3.0).members(Failed, &["b"]);
    timed.at(11.5).members(Join, &["c"]);
    assert_eq!((timed.run(0), timed.timeout()), (String::new(), Some(12.0)));
    // At 12 and 13 s, the departures enter the debounce window.
    assert_eq!(timed.at(12.0).run(0), "");
    assert_eq!(timed.timeout(), Some(13.0));
    assert_eq!(
        (timed.at(13.5).run(0), timed.timeout()),
        (String::new(), Some(15.0))
    );
    assert_eq!(timed.at(15.0).run(0), "H join:c, H failed:a+b");
    timed.assert_done();
}

#[test]
fn the_latest_is_kept_whatever_comes_late() {
    let block = r#"{"run": "B", "on": "user:block"}"#;
    let mut timed = Timed::with_journal(&[
        block,
        r#"{"run": "L", "on": "user:u,member-join,member-failed", "latest": true}"#,
    ]);
    timed.user("block", "");
    assert_eq!(timed.begin().unwrap(), "B block:");
    // Edited during a run: earlier events go to the new handler, too.
    timed.user("u", "1").user("u", "2").members(Join, &["n"]);
    let edited = r#"{"run": "E", "on": "user:u,member-join,member-failed", "latest": true}"#;
    timed.queue.replace_handlers(list(&[block, edited]));
    timed.user("u", "3").members(Failed, &["n"]).end(0);
    assert_eq!(timed.run(0), "E u:3, E failed:n");
    timed.assert_done();
    // An older event, as read back from disk.
    timed.user("block", "");
    assert_eq!(timed.begin().unwrap(), "B block:");
    timed.user("u", "4").members(Join, &["n"]);
    timed.ltime = 2;
    timed.user("u", "0").end(0);
    assert_eq!(timed.run(0), "E u:4, E join:n");
    timed.assert_done();
}
