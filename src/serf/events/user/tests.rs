use super::*;

fn clock_at(time: u64) -> Clock {
    Clock::at(time)
}

#[test]
fn the_memory_reaches_back_512_times() {
    let mut ring = UserEventRing::default();
    let clock = clock_at(1001);
    assert_eq!(
        ring.put(clock, LamportTime(488), b"x", None, false),
        Verdict::Old
    );
    assert_eq!(
        ring.put(clock, LamportTime(489), b"x", None, false),
        Verdict::New
    );
    assert_eq!(
        ring.put(clock, LamportTime(489), b"x", None, false),
        Verdict::Seen
    );
    let clock = clock_at(1002);
    assert_eq!(
        ring.put(clock, LamportTime(489), b"x", None, false),
        Verdict::Old
    );
    ring.check_invariants();
    assert!(ring.recent().is_empty());
}

#[test]
fn name_and_payload_make_an_event_of_a_time() {
    let mut ring = UserEventRing::default();
    let clock = clock_at(10);
    let mut put = |ltime, name: &[u8], payload: Option<&[u8]>| {
        ring.put(clock, LamportTime(ltime), name, payload, false)
    };
    assert_eq!(put(5, b"a", Some(b"1")), Verdict::New);
    assert_eq!(put(5, b"a", Some(b"1")), Verdict::Seen);
    assert_eq!(put(5, b"a", Some(b"2")), Verdict::New);
    assert_eq!(put(5, b"b", Some(b"1")), Verdict::New);
    assert_eq!(put(6, b"a", Some(b"1")), Verdict::New);
    // A nil payload equals an empty one.
    assert_eq!(put(7, b"c", None), Verdict::New);
    assert_eq!(put(7, b"c", Some(b"")), Verdict::Seen);
    let recent = ring.recent();
    assert_eq!(recent.len(), 3);
    let first = recent.first().cloned().flatten();
    assert!(first.is_some_and(|slot| slot.ltime.0 == 5 && slot.events.len() == 3));
}

#[test]
fn the_minimum_only_rises() {
    let mut ring = UserEventRing::default();
    ring.raise_minimum(LamportTime(7));
    ring.raise_minimum(LamportTime(3));
    let clock = clock_at(10);
    let mut put = |ltime| ring.put(clock, LamportTime(ltime), b"x", None, false);
    assert_eq!(put(6), Verdict::Ignored);
    assert_eq!(put(6), Verdict::Seen);
    assert_eq!(put(7), Verdict::New);
}

#[test]
fn what_a_join_ignored_is_remembered_and_passed_on() {
    let (mut joined, mut old) = (UserEventRing::default(), UserEventRing::default());
    joined.raise_minimum(LamportTime(7));
    let clock = clock_at(10);
    for ltime in [5, 8] {
        joined.put(clock, LamportTime(ltime), b"x", None, false);
        old.put(clock, LamportTime(ltime), b"x", None, true);
    }
    let marks =
        |ring: &UserEventRing| -> Vec<_> { ring.marks(LamportTime(1), LamportTime(9)).collect() };
    assert_eq!(marks(&joined), marks(&old));
    assert_eq!(marks(&old).len(), 2);
    assert_eq!(joined.recent().len(), 2);
    for ltime in [5, 8] {
        assert_eq!(joined.messages(LamportTime(ltime)).count(), 1);
    }
    assert!(old.messages(LamportTime(5)).all(|event| event.coalesce));
    joined.check_invariants();
}

#[test]
fn what_is_known_by_its_hash_alone_counts_when_it_is_sent_again() {
    let mut ring = UserEventRing::default();
    let mut seen = SeenEvents::default();
    seen.insert(LamportTime(5), event_hash(b"x", b"1"));
    ring.note_seen(&seen);
    let marks = |ring: &UserEventRing| ring.marks(LamportTime(1), LamportTime(9)).count();
    assert_eq!((marks(&ring), ring.recent().len()), (0, 0));
    for _ in 0..2 {
        let verdict = ring.put(clock_at(10), LamportTime(5), b"x", Some(b"1"), true);
        assert_eq!(verdict, Verdict::Seen);
        ring.check_invariants();
        assert_eq!((marks(&ring), ring.recent().len()), (1, 1));
    }
    let mut whole = UserEventRing::default();
    whole.put(clock_at(10), LamportTime(5), b"x", Some(b"1"), true);
    let first = |ring: &UserEventRing| ring.marks(LamportTime(1), LamportTime(9)).next();
    assert_eq!(first(&ring), first(&whole));
    let message = ring.messages(LamportTime(5)).next();
    assert!(message.is_some_and(|message| message.coalesce));
}

#[test]
fn one_time_holds_a_bounded_number() {
    let mut ring = UserEventRing::default();
    let clock = clock_at(2);
    for n in 0..SLOT_EVENTS_MAX {
        let name = n.to_string();
        let verdict = ring.put(clock, LamportTime(1), name.as_bytes(), None, false);
        assert_eq!(verdict, Verdict::New);
    }
    let verdict = ring.put(clock, LamportTime(1), b"more", None, false);
    assert_eq!(verdict, Verdict::Full);
    ring.check_invariants();
}

#[test]
fn a_given_up_time_is_not_taken_again() {
    let mut ring = UserEventRing::default();
    let mut clock = Clock::new();
    let now = Instant::ORIGIN;
    let payload = vec![0; 64 << 10];
    for time in 1..=100 {
        assert!(clock.witness(LamportTime(time), now));
        let verdict = ring.put(clock, LamportTime(time), b"big", Some(&payload), false);
        assert_eq!(verdict, Verdict::New);
        ring.check_invariants();
    }
    let verdict = ring.put(clock, LamportTime(1), b"big", Some(&payload), false);
    assert_eq!(verdict, Verdict::Old);
    let verdict = ring.put(clock, LamportTime(100), b"big", Some(&payload), false);
    assert_eq!(verdict, Verdict::Seen);
}

#[test]
fn sizes_are_refused_in_the_reference_s_words() {
    let text = |bytes, limit, what, when| check_size(bytes, limit, what, when).err();
    assert_eq!(text(512, 512, "user event", "before"), None);
    assert_eq!(
        text(513, 512, "user event", "before").as_deref(),
        Some("user event exceeds configured limit of 512 bytes before encoding")
    );
    assert_eq!(
        text(600, 512, "encoded user event", "after").as_deref(),
        Some("encoded user event exceeds configured limit of 512 bytes after encoding")
    );
    assert_eq!(
        text(9217, 10_000, "user event", "before").as_deref(),
        Some("user event exceeds sane limit of 9216 bytes before encoding")
    );
    assert_eq!(
        text(9217, 10_000, "encoded user event", "after").as_deref(),
        Some("encoded user event exceeds reasonable limit of 9216 bytes after encoding")
    );
}
