//! Handlers are edited, added and removed while events wait for them.

use super::*;

impl Timed {
    fn reload(&mut self, texts: &[&str]) -> &mut Self {
        self.queue.replace_handlers(list(texts));
        self
    }

    /// Returns name, pause state and number of runs of each handler.
    fn handlers(&self) -> String {
        let handlers = self.queue.handlers().iter();
        let shown = handlers.map(|r| format!("{} {} {}", r.name, r.is_paused, r.tally.runs));
        shown.collect::<Vec<_>>().join(", ")
    }
}

#[test]
fn a_paused_handler_stays_so_whatever_is_edited() {
    let other = r#"{"run": "O", "on": "user:o"}"#;
    let mut timed = Timed::new(&[r#"{"run": "P", "on": "user"}"#, other]);
    assert_eq!(timed.user("a", "").run(0), "P a:");
    timed.queue.set_paused("P", true);
    timed.user("b", "");
    // Changes another setting, the filter, the script but not its first word, and the order.
    for texts in [
        [r#"{"run": "P", "on": "user", "timeout": "3s"}"#, other],
        [r#"{"run": "P", "on": "user:b,user:c"}"#, other],
        [r#"{"run": "P x", "on": "user:b,user:c"}"#, other],
        [other, r#"{"run": "P x", "on": "user:b,user:c"}"#],
    ] {
        assert_eq!(timed.reload(&texts).run(0), "");
        assert!(timed.handlers().contains("P true 1"), "{texts:?}");
    }
    timed.queue.set_paused("P", false);
    assert_eq!(timed.run(0), "P x b:");
    timed.assert_done();
}

#[test]
fn a_paused_handler_stays_so_while_it_is_gone() {
    let paused = r#"{"run": "P", "on": "user"}"#;
    let mut timed = Timed::new(&[paused]);
    assert!(timed.queue.set_paused("P", true));
    timed.reload(&[]).reload(&[paused]).user("a", "");
    assert_eq!(
        (timed.run(0), timed.handlers()),
        (String::new(), "P true 0".into())
    );
    timed.reload(&[]);
    assert!(!timed.queue.set_paused("P", true));
    assert!(timed.queue.set_paused("P", false));
    assert!(!timed.queue.set_paused("P", false));
    assert_eq!(timed.reload(&[paused]).user("b", "").run(0), "P b:");
    timed.assert_done();
}

#[test]
fn a_paused_handler_stays_so_under_another_name() {
    for journal in [false, true] {
        let norm = r#"{"name": "norm", "run": "P", "on": "user"}"#;
        let renamed = r#"{"name": "renamed", "run": "P", "on": "user"}"#;
        let mut timed = match journal {
            true => Timed::with_journal(&[norm]),
            false => Timed::new(&[norm]),
        };
        assert!(timed.queue.set_paused("norm", true));
        timed.user("a", "");
        assert_eq!(timed.reload(&[renamed]).run(0), "", "{journal}");
        assert_eq!(timed.handlers(), "renamed true 0");
        assert!(
            !timed.queue.set_paused("norm", false),
            "it has its new name"
        );
        assert!(timed.queue.set_paused("renamed", false));
        assert_eq!(timed.run(0), "P a:", "{journal}");
        timed.assert_done();
    }
}

#[test]
fn a_run_is_listed_with_the_name_of_its_removed_handler() {
    let handlers = [
        (r#"{"name": "one", "run": "A", "on": "user"}"#, "one"),
        (r#"{"run": "A b", "on": "user"}"#, "user=A b"),
    ];
    for (handler, listed) in handlers {
        let mut timed = Timed::new(&[handler]);
        timed.user("a", "");
        assert!(timed.begin().is_some());
        timed.reload(&[]);
        let (entries, _) = timed.queue.entries(10);
        assert_eq!(entries.len(), 1);
        assert_eq!(String::from_utf8_lossy(&entries[0].handler), listed);
    }
}

#[test]
fn a_handler_that_is_edited_and_then_renamed_runs_its_events_once() {
    let named = |name: &str, script: &str| {
        format!(r#"{{"name": "{name}", "run": "{script}", "on": "user"}}"#)
    };
    let long = "x".repeat(300);
    for (first, edited) in [("A", "B"), ("A", &long[..]), (&long[..], "B")] {
        let mut timed = Timed::with_journal(&[&named("one", first)]);
        timed.user("a", "").user("b", "");
        timed.reload(&[&named("one", edited)]);
        timed.reload(&[&named("two", edited)]);
        assert_eq!(timed.run(0), format!("{edited} a:, {edited} b:"));
        assert_eq!(timed.queue.entries(10).0.len(), 0, "none is missing");
        assert_eq!(timed.reload(&[&named("one", first)]).run(0), "");
        timed.assert_done();
    }
}

#[test]
fn a_handler_that_is_added_again_gets_events_still_parked_for_others() {
    let (paused, other) = (r#"{"run": "P"}"#, r#"{"run": "Q"}"#);
    let mut timed = Timed::new(&[paused, other]);
    timed.queue.set_paused("P", true);
    timed.queue.set_paused("Q", true);
    assert_eq!(timed.user("a", "").run(0), "");
    let waiting = |timed: &Timed| {
        let handlers = timed.queue.handlers().iter();
        let counts = handlers.map(|r| timed.queue.waiting_for(r.key));
        counts.collect::<Vec<_>>()
    };
    timed.reload(&[other]).run(0);
    timed.reload(&[paused, other, r#"{"run": "N"}"#]).run(0);
    // No events wait for the handler that was added later.
    assert_eq!(waiting(&timed), [1, 1, 0]);
    timed.queue.set_paused("P", false);
    assert_eq!(timed.run(0), "P a:");
    timed.queue.set_paused("Q", false);
    assert_eq!(timed.run(0), "Q a:");
    timed.assert_done();
}

#[test]
fn a_new_handler_does_not_get_parked_events() {
    for journal in [false, true] {
        let (paused, edited) = (
            r#"{"run": "P", "on": "user"}"#,
            r#"{"run": "P", "on": "user:a,user:b"}"#,
        );
        let new = r#"{"run": "N", "on": "*"}"#;
        let mut timed = match journal {
            true => Timed::with_journal(&[paused]),
            false => Timed::new(&[paused]),
        };
        timed.queue.set_paused("P", true);
        assert_eq!(timed.user("a", "").run(0), "");
        assert_eq!(timed.reload(&[new, paused]).run(0), "", "{journal}");
        assert_eq!(timed.user("b", "").run(0), "N b:");
        assert_eq!(timed.reload(&[new, edited]).run(0), "");
        timed.queue.set_paused("P", false);
        assert_eq!(timed.run(0), "P a:, P b:", "{journal}");
        timed.assert_done();
    }
}

#[test]
fn what_is_to_be_repeated_runs_once_for_an_edited_handler() {
    let paused = r#"{"run": "P"}"#;
    let retried = |run: &str| {
        format!(r#"{{"run": "{run}", "on": "user", "retry": {{"times": 3, "wait": "1s"}}}}"#)
    };
    let mut timed = Timed::new(&[&retried("R 1"), paused]);
    timed.queue.set_paused("P", true);
    assert_eq!(timed.user("a", "").begin().unwrap(), "R 1 a:");
    assert_eq!(timed.end(75).run(0), "");
    assert_eq!(timed.reload(&[&retried("R 2"), paused]).run(0), "R 2 a:");
    timed.queue.set_paused("P", false);
    assert_eq!(timed.run(0), "P a:");
    timed.assert_done();
}

#[test]
fn a_parked_event_ends_when_all_its_handlers_have_dropped_it() {
    let mut timed = Timed::new(&[r#"{"run": "P"}"#, r#"{"run": "Q"}"#]);
    timed.queue.set_paused("P", true);
    timed.queue.set_paused("Q", true);
    assert_eq!(timed.user("a", "").run(0), "");
    assert_eq!(timed.queue.drop_handler("P"), Some(1));
    assert_eq!((timed.run(0), timed.queue.len()), (String::new(), 1));
    assert_eq!(timed.queue.drop_handler("Q"), Some(1));
    timed.assert_done();
}
