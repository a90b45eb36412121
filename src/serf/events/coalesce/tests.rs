use super::*;
use crate::serf::{MemberStatus, Tags};
use crate::wire::VersionVector;
use MemberEventKind::{Failed, Join, Leave, Reap, Update};

const PERIOD: Duration = Duration::from_secs(3);
const QUIET: Duration = Duration::from_secs(1);

fn member(name: &str) -> Member {
    with_tags(name, &Tags::new())
}

fn with_tags(name: &str, tags: &Tags) -> Member {
    Member::new(
        NodeName::new(name.as_bytes()).unwrap(),
        "127.0.0.1:7946".parse().unwrap(),
        tags,
        MemberStatus::Alive,
        VersionVector::serf(5),
    )
}

fn seconds(tenths: u64) -> Instant {
    Instant::from_millis(tenths * 100)
}

/// Puts the events into a batch and returns what it delivers: kinds and names.
fn batch(
    coalescer: &mut MemberCoalescer,
    events: &[(MemberEventKind, &str)],
) -> Vec<(MemberEventKind, String)> {
    for (kind, name) in events {
        coalescer.put(*kind, member(name), seconds(0));
    }
    let names = |event: &MemberEvent| {
        let names: Vec<_> = event.members.iter().map(|m| m.name.to_string()).collect();
        names.join(",")
    };
    let flushed = coalescer.flush();
    flushed.iter().map(|e| (e.kind, names(e))).collect()
}

#[test]
fn a_batch_ends_by_silence_or_by_age() {
    let mut window = Window::new(PERIOD, QUIET);
    assert_eq!(window.deadline(), None);
    window.note_event(seconds(0));
    assert_eq!(window.deadline(), Some(seconds(10)));
    assert!(!window.is_due(seconds(9)));
    assert!(window.is_due(seconds(10)));
    for tenths in [9, 18, 27] {
        window.note_event(seconds(tenths));
    }
    assert_eq!(window.deadline(), Some(seconds(30)));
}

#[test]
fn the_latest_kind_counts_in_a_fixed_order() {
    let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
    let got = batch(
        &mut coalescer,
        &[
            (Reap, "r"),
            (Update, "u"),
            (Failed, "f"),
            (Leave, "l"),
            (Join, "z"),
            (Failed, "a"),
            (Join, "a"),
        ],
    );
    let expected = [
        (Join, "a,z"),
        (Leave, "l"),
        (Failed, "f"),
        (Update, "u"),
        (Reap, "r"),
    ];
    assert_eq!(got, expected.map(|(k, n)| (k, n.to_owned())));
}

#[test]
fn a_repeated_kind_is_left_out_but_updates_are_not() {
    let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
    assert_eq!(batch(&mut coalescer, &[(Join, "n")]).len(), 1);
    assert_eq!(batch(&mut coalescer, &[(Failed, "n"), (Join, "n")]), []);
    assert_eq!(coalescer.unchanged, [member("n").name.clone()]);
    assert_eq!(batch(&mut coalescer, &[(Update, "n")]).len(), 1);
    assert_eq!(batch(&mut coalescer, &[(Update, "n")]).len(), 1);
    // Later batches do not deliver the old update again.
    let got = batch(&mut coalescer, &[(Join, "m")]);
    assert_eq!(got, [(Join, "m".to_owned())]);
}

fn tagged(value: &str) -> Member {
    let tags = Tags::from_pairs(&[(b"v", value.as_bytes())]);
    with_tags("n", &tags)
}

/// Puts the events into a batch and returns what it delivers: kinds and tag values.
fn told(
    coalescer: &mut MemberCoalescer,
    events: &[(MemberEventKind, &str)],
) -> Vec<(MemberEventKind, String)> {
    for (kind, value) in events {
        coalescer.put(*kind, tagged(value), seconds(0));
    }
    let flushed = coalescer.flush().into_iter();
    let value = |member: &Member| {
        let tags = member.tags();
        String::from_utf8_lossy(tags.get(b"v").unwrap_or_default()).into_owned()
    };
    let each = flushed.flat_map(|event| {
        let values: Vec<_> = event.members.iter().map(value).collect();
        values.into_iter().map(move |value| (event.kind, value))
    });
    each.collect()
}

#[test]
fn the_last_turn_decides_and_an_update_never_hides_it() {
    let of =
        |events: &[(MemberEventKind, &str)]| told(&mut MemberCoalescer::new(PERIOD, QUIET), events);
    let one = |kind, value: &str| vec![(kind, value.to_owned())];
    assert_eq!(of(&[(Join, "1"), (Update, "2")]), one(Join, "2"));
    assert_eq!(
        of(&[(Join, "1"), (Update, "2"), (Update, "3")]),
        one(Join, "3")
    );
    assert_eq!(of(&[(Failed, "1"), (Update, "2")]), one(Failed, "2"));
    assert_eq!(of(&[(Update, "1"), (Leave, "1")]), one(Leave, "1"));
    assert_eq!(
        of(&[(Failed, "1"), (Leave, "1"), (Reap, "1")]),
        one(Reap, "1")
    );
    assert_eq!(of(&[(Reap, "1"), (Join, "2")]), one(Join, "2"));
    assert_eq!(of(&[(Update, "1"), (Update, "2")]), one(Update, "2"));
}

#[test]
fn a_second_join_is_an_update_if_there_was_one() {
    let after_join = |events: &[(MemberEventKind, &str)]| {
        let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
        assert_eq!(told(&mut coalescer, &[(Join, "1")]).len(), 1);
        told(&mut coalescer, events)
    };
    let one = |kind, value: &str| vec![(kind, value.to_owned())];
    assert_eq!(after_join(&[(Failed, "1"), (Join, "1")]), []);
    assert_eq!(
        after_join(&[(Failed, "1"), (Join, "1"), (Update, "2")]),
        one(Update, "2")
    );
    assert_eq!(
        after_join(&[(Update, "2"), (Failed, "2"), (Join, "2")]),
        one(Update, "2")
    );
    // Restarted with another tag, or reaped and joined again.
    assert_eq!(after_join(&[(Leave, "1"), (Join, "2")]), one(Update, "2"));
    assert_eq!(after_join(&[(Leave, "1"), (Reap, "1"), (Join, "1")]), []);
    // The last change differs from the last event delivered.
    assert_eq!(
        after_join(&[(Failed, "1"), (Join, "2"), (Failed, "2")]),
        one(Failed, "2")
    );
}

#[test]
fn reaped_members_are_forgotten() {
    let mut coalescer = MemberCoalescer::new(PERIOD, QUIET);
    batch(&mut coalescer, &[(Join, "n")]);
    assert_eq!(batch(&mut coalescer, &[(Reap, "n")]).len(), 1);
    assert!(coalescer.delivered.is_empty());
    assert_eq!(batch(&mut coalescer, &[(Join, "n")]).len(), 1);
}

fn user(name: &str, ltime: u64, payload: &str) -> UserEvent {
    UserEvent {
        ltime: LamportTime(ltime),
        name: name.into(),
        payload: payload.into(),
        coalesce: true,
    }
}

#[test]
fn the_newest_user_events_of_a_name_survive() {
    let mut coalescer = UserCoalescer::new(PERIOD, QUIET);
    // Name, time, payload, and the payload of the replaced event.
    let events = [
        ("b", 5, "1", None),
        ("a", 7, "2", None),
        ("b", 6, "3", Some("1")),
        ("b", 4, "4", Some("4")),
        ("b", 6, "5", None),
        ("c", 1, "6", None),
    ];
    for (name, ltime, payload, gone) in events {
        let replaced = coalescer.put(user(name, ltime, payload), seconds(0));
        let payloads = replaced.into_iter().map(|event| event.payload);
        let gone = gone.map(|payload: &str| payload.as_bytes().to_vec());
        assert_eq!(payloads.collect::<Vec<_>>(), Vec::from_iter(gone));
    }
    assert_eq!((coalescer.events, coalescer.bytes), (4, 8));
    // Ordered by time, regardless of the names.
    let expected = [
        user("c", 1, "6"),
        user("b", 6, "3"),
        user("b", 6, "5"),
        user("a", 7, "2"),
    ];
    assert_eq!(coalescer.flush(), expected);
    assert_eq!((coalescer.events, coalescer.bytes), (0, 0));
    assert_eq!(coalescer.flush(), []);
}

#[test]
fn a_flood_of_user_events_ends_the_batch() {
    let mut coalescer = UserCoalescer::new(PERIOD, QUIET);
    for _ in 0..BATCH_EVENTS_MAX {
        assert!(!coalescer.is_full());
        coalescer.put(user("x", 1, ""), seconds(0));
    }
    assert!(coalescer.is_full());
}
