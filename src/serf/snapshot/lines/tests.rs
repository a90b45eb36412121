use super::*;

fn name(text: &str) -> NodeName {
    NodeName::new(text.as_bytes()).unwrap()
}

fn decode(text: &str) -> (Snapshot, Vec<Remark>) {
    Snapshot::decode(text.as_bytes(), false)
}

#[test]
fn the_last_line_wins() {
    let (snapshot, remarks) = decode(
        "alive: n 2 127.0.0.1:28202\nalive: n3 [::1]:7946\nclock: 4\nnot-alive: n3\n\
         alive: n 2 127.0.0.1:28203\n# a comment\ncoordinate: old\nclock: 7\nevent-clock: 2\n\
         query-clock: 3\n",
    );
    assert!(remarks.is_empty());
    assert_eq!(snapshot.alive.len(), 1);
    assert_eq!(
        snapshot.alive.get(&name("n 2")),
        Some(&"127.0.0.1:28203".parse().unwrap())
    );
    let clocks = (
        snapshot.clock.0,
        snapshot.event_clock.0,
        snapshot.query_clock.0,
    );
    assert_eq!(clocks, (7, 2, 3));
}

#[test]
fn a_leave_forgets_unless_told_otherwise() {
    let text = "alive: a 127.0.0.1:1\nclock: 4\nleave\nclock: 6\n";
    let (snapshot, _) = decode(text);
    assert!(snapshot.alive.is_empty());
    assert_eq!(snapshot.clock, LamportTime(6));
    let (snapshot, remarks) = Snapshot::decode(text.as_bytes(), true);
    assert_eq!(
        (snapshot.alive.len(), remarks),
        (1, vec![Remark::LeaveIgnored])
    );
}

#[test]
fn bad_lines_are_passed_over() {
    let (snapshot, remarks) = decode(
        "alive: nowhere\nalive: x 1.2.3:4\nclock: -1\nevent-clock: x\n\nbogus\r\n\
         clock: 5\r\nalive: b 127.0.0.1:9\nalive: c 127.0",
    );
    assert_eq!(snapshot.clock, LamportTime(5));
    assert_eq!(snapshot.alive.len(), 1);
    let expected = [
        Remark::Address(b"nowhere".to_vec()),
        Remark::Address(b"x 1.2.3:4".to_vec()),
        Remark::Clock("clock", b"-1".to_vec()),
        Remark::Clock("event clock", b"x".to_vec()),
        Remark::Unrecognized(Vec::new()),
        Remark::Unrecognized(b"bogus".to_vec()),
        Remark::TornTail(14),
    ];
    assert_eq!(remarks, expected);
}

#[test]
fn what_is_written_is_read_back() {
    let mut snapshot = Snapshot::default();
    let lines = [
        SnapshotLine::Alive {
            name: name("a b"),
            addr: "[::1]:7946".parse().unwrap(),
        },
        SnapshotLine::Alive {
            name: name("c"),
            addr: "10.0.0.1:7946".parse().unwrap(),
        },
        SnapshotLine::NotAlive(name("c")),
        SnapshotLine::Failed {
            name: name("c"),
            addr: "10.0.0.1:7946".parse().unwrap(),
        },
        SnapshotLine::Clock(LamportTime(9)),
        SnapshotLine::EventClock(LamportTime(u64::MAX)),
        SnapshotLine::QueryClock(LamportTime(1)),
        SnapshotLine::Member(LamportTime(3)),
        SnapshotLine::Seen {
            ltime: LamportTime(7),
            hash: 0xabc,
        },
        SnapshotLine::Seen {
            ltime: LamportTime(5),
            hash: u64::MAX,
        },
    ];
    let mut file = Vec::new();
    for line in &lines {
        line.encode(&mut file);
        snapshot.follow(line);
    }
    assert_eq!(
        Snapshot::decode(&file, false),
        (snapshot.clone(), Vec::new())
    );
    let mut compacted = Vec::new();
    snapshot
        .lines()
        .for_each(|line| line.encode(&mut compacted));
    assert_eq!(
        Snapshot::decode(&compacted, false),
        (snapshot.clone(), Vec::new())
    );
    SnapshotLine::Leave.encode(&mut file);
    snapshot.follow(&SnapshotLine::Leave);
    assert_eq!(Snapshot::decode(&file, false), (snapshot, Vec::new()));
}

#[test]
fn who_failed_is_noted_until_it_is_heard_of_again() {
    let failed = |text: &str| {
        let (snapshot, remarks) = decode(text);
        assert!(remarks.is_empty() && snapshot.alive.is_empty());
        snapshot.failed.get(&name("n 1")).copied()
    };
    let text = "alive: n 1 10.0.0.1:1\nnot-alive: n 1\n# cottar-failed n 1 10.0.0.1:1\n";
    assert_eq!(failed(text), Some("10.0.0.1:1".parse().unwrap()));
    for gone in ["not-alive: n 1", "leave"] {
        assert_eq!(failed(&format!("{text}{gone}\n")), None);
    }
    let (back, _) = decode(&format!("{text}alive: n 1 10.0.0.1:2\n"));
    assert!(back.failed.is_empty() && back.alive.len() == 1);
    let (_, remarks) = decode("# cottar-failed n 1\n");
    assert_eq!(remarks, [Remark::Address(b"n 1".to_vec())]);
}

#[test]
fn events_are_noted_as_comments() {
    let text = "# cottar-member 9\n# cottar-seen 10 00000000000000ff\n# cottar-later\n";
    let (snapshot, remarks) = decode(text);
    assert!(remarks.is_empty());
    let seen = [(LamportTime(10), 255)];
    assert_eq!(snapshot.seen.iter().collect::<Vec<_>>(), seen);
    assert_eq!(snapshot.member, Some(LamportTime(9)));
    let mut lines = Vec::new();
    snapshot.lines().for_each(|line| line.encode(&mut lines));
    let kept = text.trim_end_matches("# cottar-later\n");
    assert!(lines.ends_with(kept.as_bytes()));
    for bad in [
        "seen 10",
        "seen x 1",
        "seen 10 x",
        "seen 10 1 1",
        "member",
        "member x",
    ] {
        let (snapshot, remarks) = decode(&format!("# cottar-{bad}\n"));
        let shown = remarks.iter().all(Remark::is_warning);
        assert!(!snapshot.continues() && shown, "{bad}");
    }
}

#[test]
fn event_clocks_of_the_reference_override_the_seen_lines() {
    for (text, continues, first) in [
        ("clock: 9\nquery-clock: 4\n", false, 1),
        ("event-clock: 8\n", true, 9),
        // A first join that ignored earlier events.
        ("event-clock: 8\n# cottar-member 9\n", true, 9),
        ("# cottar-member 0\n", true, 1),
        (
            "event-clock: 8\n# cottar-member 9\n# cottar-seen 11 1\nevent-clock: 11\n",
            true,
            9,
        ),
        // The `Seen` line is written first, and the process may be killed after it.
        (
            "# cottar-seen 11 1\nevent-clock: 11\n# cottar-seen 12 1\n",
            true,
            0,
        ),
        // The reference has seen one more.
        (
            "# cottar-seen 11 1\nevent-clock: 11\nevent-clock: 12\n",
            true,
            13,
        ),
        (
            "# cottar-member 9\n# cottar-seen 11 1\nevent-clock: 11\nleave\n",
            false,
            1,
        ),
    ] {
        let (snapshot, _) = decode(text);
        assert_eq!(snapshot.continues(), continues, "{text}");
        assert_eq!(snapshot.first_event_time(), LamportTime(first), "{text}");
    }
}
