//! Runs for operators' synthetic events.

use super::*;
use crate::handler::synthetic::QUERY_TIME;

impl Timed {
    fn ask(&mut self, name: &str, event: Event, ticket: Option<u64>) -> Result<(), NoRun> {
        let at = self.instant().into();
        self.queue.run(name, event, ticket, at)
    }

    fn ended(&mut self, ticket: u64) -> Option<Outcome> {
        let (ended, outcome) = self.queue.poll_ended().unwrap();
        assert_eq!((ended, self.queue.poll_ended()), (ticket, None));
        outcome
    }
}

fn user(name: &str) -> Event {
    Event::User(UserEvent {
        ltime: LamportTime(1),
        name: name.into(),
        payload: Vec::new(),
        coalesce: true,
    })
}

fn query(ltime: u64, id: u32) -> Event {
    Event::Query(Query {
        ltime: LamportTime(ltime),
        id,
        name: b"q".to_vec(),
        payload: Vec::new(),
        source_node: None,
        deadline: Instant::FAR_FUTURE,
    })
}

fn members(kind: MemberEventKind, names: &[&str]) -> Event {
    let members = names.iter().map(|name| member(name, kind)).collect();
    Event::Member(MemberEvent { kind, members })
}

#[test]
fn a_requested_run_comes_next_whatever_the_settings_say_of_events() {
    let mut timed = Timed::with_journal(&[
        r#"{"run": "A", "on": "user"}"#,
        r#"{"run": "B", "on": "user:go,member-join", "name": "b", "where": {"role": "web"}, "node": "w.*",
            "self": {"role": "lb"}, "hold": "1h", "settle": "1h", "max_age": "1s",
            "retry": {"times": 3, "wait": "10s"}}"#,
    ]);
    timed.user("first", "").user("second", "");
    assert_eq!(timed.begin().unwrap(), "A first:");
    let ask = |timed: &mut Timed, event, ticket| timed.ask("b", event, ticket);
    assert_eq!(ask(&mut timed, user("x"), Some(1)), Ok(()));
    assert_eq!(ask(&mut timed, members(Leave, &["c"]), None), Ok(()));
    assert_eq!(
        timed.states(),
        "A user-event: first running, b user-event: x waiting, b member-leave waiting, \
         A user-event: second waiting"
    );
    // None of them is retried, and none is recorded in the journal.
    let recorded = timed.queue.journal().unwrap().len();
    timed.at(60.0).end(0);
    assert_eq!(timed.begin().unwrap(), "B x:");
    assert!(!timed.queue.wants_process());
    timed
        .queue
        .handle_outcome(self::ended(End::Exited(75), b"out"));
    assert_eq!(
        timed.ended(1),
        Some(self::ended(End::Exited(75), b"out")),
        "with its output"
    );
    assert_eq!(timed.begin().unwrap(), "B leave:c");
    timed.end(75);
    assert_eq!(timed.queue.journal().unwrap().len(), recorded - 1);
    assert_eq!(timed.run(0), "A second:");
    let tally = timed.queue.handlers()[1].tally;
    assert_eq!((tally.runs, tally.failures), (2, 2));
    timed.assert_done();
}

#[test]
fn a_requested_run_does_not_wait_behind_a_repetition() {
    let mut timed = Timed::new(&[
        r#"{"run": "R", "on": "user,sync", "name": "r", "latest": true,
            "retry": {"times": 3, "wait": "10s"}}"#,
    ]);
    timed.user("a", "");
    assert_eq!(timed.begin().unwrap(), "R a:");
    timed.end(75);
    assert_eq!(timed.run(0), "");
    // It is not merged with waiting events, a `sync` does not drop it, and it does not end a retry delay.
    assert_eq!(timed.ask("r", user("a"), Some(1)), Ok(()));
    assert_eq!(
        timed.ask("r", members(MemberEventKind::Sync, &["m"]), Some(2)),
        Ok(())
    );
    assert_eq!(timed.queue.sync("r", Some(3)), Ok(()));
    assert_eq!(timed.run(0), "R a:, R sync:m");
    assert!(timed.queue.poll_ended().unwrap().1.is_some());
    assert!(timed.ended(2).is_some());
    assert_eq!(timed.at(9.0).run(0), "");
    assert_eq!(timed.at(10.0).run(0), "R sync:, R#2 a:");
    assert!(timed.ended(3).is_some());
    timed.assert_done();
}

#[test]
fn what_cannot_be_run_now_is_refused() {
    let mut timed = Timed::new(&[
        r#"{"run": "A", "name": "a"}"#,
        r#"{"run": "B", "on": "user:b", "name": "b"}"#,
    ]);
    assert_eq!(timed.ask("x", user("u"), Some(1)), Err(NoRun::Unknown));
    assert!(timed.queue.set_paused("a", true));
    assert_eq!(timed.ask("a", user("u"), Some(1)), Err(NoRun::Paused));
    assert!(timed.queue.set_paused("a", false));
    timed.queue.bytes_max = 2 * room::cost(&user("u"));
    assert_eq!(timed.ask("a", user("u"), Some(1)), Ok(()));
    assert_eq!(timed.ask("a", user("u"), Some(2)), Ok(()));
    assert_eq!(timed.ask("b", user("u"), Some(3)), Err(NoRun::Full));
    assert_eq!(timed.run(0), "A u:, A u:");
    assert!(timed.queue.poll_ended().is_some());
    assert!(timed.ended(2).is_some());
    // The handler is paused when the run would begin.
    assert_eq!(timed.ask("a", user("u"), Some(4)), Ok(()));
    timed.queue.set_paused("a", true);
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.ended(4), None);
    timed.queue.set_paused("a", false);
    timed.assert_done();
    let give_up: [fn(&mut HandlerQueue, &str); 3] = [
        |queue, id| assert!(queue.drop_event(id)),
        |queue, _| assert_eq!(queue.drop_handler("a"), Some(1)),
        |queue, _| assert_eq!(queue.drop_all(), 1),
    ];
    for give_up in give_up {
        assert_eq!(timed.ask("a", members(Join, &["m"]), Some(5)), Ok(()));
        let id = timed.queue.entries(1).0.remove(0).id;
        assert!(id.starts_with("run:"), "{id}");
        give_up(&mut timed.queue, &id);
        assert_eq!(timed.ended(5), None);
        timed.assert_done();
    }
    // Its name contains NUL.
    assert_eq!(timed.ask("a", user("\0"), Some(6)), Ok(()));
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.ended(6), None);
    timed.assert_done();
}

#[test]
fn a_requested_run_outlives_a_reload_as_its_handler_does() {
    let (one, other) = (
        r#"{"run": "A", "on": "user:x", "name": "a"}"#,
        r#"{"run": "A2", "name": "a", "settle": "5s"}"#,
    );
    let mut timed = Timed::new(&[one]);
    assert_eq!(timed.ask("a", user("u"), Some(1)), Ok(()));
    assert_eq!(timed.queue.replace_handlers(list(&[other])), 0);
    assert_eq!(timed.run(0), "A2 u:");
    assert!(timed.ended(1).is_some());
    assert_eq!(timed.ask("a", user("u"), Some(2)), Ok(()));
    // Another handler that wants such events does not get it.
    let stranger = r#"{"run": "B", "on": "user"}"#;
    timed.queue.replace_handlers(list(&[stranger]));
    assert_eq!(timed.run(0), "");
    assert_eq!(timed.ended(2), None);
    timed.assert_done();
}

#[test]
fn a_synthetic_query_is_not_one_of_the_cluster() {
    let mut timed = Timed::new(&[r#"{"run": "A", "on": "query", "name": "a", "input": "json"}"#]);
    // Its time and id equal those of the waiting query: it does not end that query, and its output is no
    // answer.
    timed.query("q", 60.0);
    let ids = (LamportTime(1), 1);
    assert_eq!(timed.ask("a", query(1, 1), Some(1)), Ok(()));
    timed.at(30.0);
    let name = NodeName::new(b"self").unwrap();
    let local = Local::alone(&name, &timed.tags);
    let now = timed.instant();
    let run = timed.queue.poll_invocation(local, now).unwrap();
    let read: serde_json::Value = serde_json::from_slice(&run.stdin).unwrap();
    assert_eq!(read["id"], value(&run, "COTTAR_EVENT_ID"));
    assert_eq!(read["id"], "run:2");
    assert_eq!(
        read["deadline"], "1970-01-01T00:00:33.200Z",
        "{QUERY_TIME:?}"
    );
    let answered = ended(End::Exited(0), b"out");
    assert_eq!(timed.queue.handle_outcome(answered.clone()), None);
    assert_eq!(timed.ended(1), Some(answered.clone()));
    assert_eq!(timed.queue.poll_handled_query(), None);
    assert_eq!(timed.begin().unwrap(), "A query:q");
    // Nor does it keep the real query open.
    assert_eq!(timed.ask("a", query(1, 1), None), Ok(()));
    assert!(timed.queue.handle_outcome(answered).is_some());
    assert!(timed.begin().is_some());
    assert_eq!(timed.queue.poll_handled_query(), Some(ids));
    timed.end(0);
    assert_eq!(timed.begin(), None);
    assert_eq!(timed.queue.poll_handled_query(), None);
    timed.assert_done();
}
