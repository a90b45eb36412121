use super::*;
use std::sync::Arc;

use crate::serf::Tags;
use crate::swim::{Announcement, NodeState};
use crate::wire::VersionVector;
use MemberStatus::{Alive, Failed, Leaving, Left};

const NOW: Instant = Instant::from_millis(1000);

fn member(name: &str, addr: &str, tags: &Tags) -> Member {
    Member::new(
        NodeName::new(name.as_bytes()).unwrap(),
        addr.parse().unwrap(),
        tags,
        Alive,
        VersionVector::serf(5),
    )
}

fn untagged(name: &str) -> Member {
    member(name, "127.0.0.1:7946", &Tags::new())
}

/// Makes a table with one member of this status, intent time 10, and departure time `NOW`.
fn members(status: MemberStatus) -> (Members, NodeName) {
    let mut members = Members::default();
    let x = untagged("x");
    members.joined(x.clone(), Some((IntentKind::Join, LamportTime(10))));
    members.set_status(&x.name, status, NOW);
    members.check_invariants();
    (members, x.name.clone())
}

fn outcome(members: &Members, name: &NodeName) -> (MemberStatus, u64, usize, usize) {
    members.check_invariants();
    let record = members.record(name.as_bytes()).unwrap();
    let ltime = record.status_ltime.0;
    (
        record.member.status,
        ltime,
        members.failed(),
        members.left(),
    )
}

#[test]
fn an_unknown_node_starts_as_its_buffered_intent_says() {
    for (intent, status, ltime) in [
        (None, Alive, 0),
        (Some((IntentKind::Join, LamportTime(7))), Alive, 7),
        (Some((IntentKind::Leave, LamportTime(8))), Leaving, 8),
    ] {
        let mut members = Members::default();
        let x = untagged("x");
        members.joined(x.clone(), intent);
        assert_eq!(outcome(&members, &x.name), (status, ltime, 0, 0));
    }
}

#[test]
fn a_known_node_that_joins_is_alive_and_keeps_its_status_time() {
    for status in [Alive, Leaving, Left, Failed] {
        let (mut members, name) = members(status);
        let tags = Tags::from_pairs(&[(b"role", b"db")]);
        let again = member("x", "127.0.0.2:7947", &tags);
        members.joined(again.clone(), None);
        assert_eq!(outcome(&members, &name), (Alive, 10, 0, 0), "{status:?}");
        assert_eq!(members.member(b"x"), Some(&again));
        assert!(!members.has_departed());
    }
}

#[test]
fn the_intent_decides_between_left_and_failed() {
    let later = Instant::from_millis(5000);
    for (before, after, kind) in [
        (Leaving, Left, Some(MemberEventKind::Leave)),
        (Alive, Failed, Some(MemberEventKind::Failed)),
        (Left, Left, None),
        (Failed, Failed, None),
    ] {
        let (mut members, name) = members(before);
        assert_eq!(members.gone(&name, later), kind, "{before:?}");
        assert_eq!(outcome(&members, &name).0, after);
        let since = members.departed().next().unwrap().0;
        assert_eq!(since, if kind.is_some() { later } else { NOW });
    }
    assert_eq!(Members::default().gone(&untagged("x").name, later), None);
}

#[test]
fn leave_intents_by_status() {
    for (before, after, outcome_11) in [
        (Alive, Leaving, IntentOutcome::Accepted),
        (Failed, Left, IntentOutcome::Left),
        (Leaving, Leaving, IntentOutcome::Accepted),
        (Left, Left, IntentOutcome::Accepted),
    ] {
        let (mut members, name) = members(before);
        let stale = outcome(&members, &name);
        for ltime in [0, 9, 10] {
            let got = members.leave_intent(&name, LamportTime(ltime));
            assert_eq!(got, IntentOutcome::Stale);
        }
        assert_eq!(outcome(&members, &name), stale, "{before:?}");
        assert_eq!(members.leave_intent(&name, LamportTime(11)), outcome_11);
        let (status, ltime, ..) = outcome(&members, &name);
        assert_eq!((status, ltime), (after, 11), "{before:?}");
        if before == Failed {
            assert_eq!(members.departed().next().unwrap().0, NOW);
        }
    }
    let x = untagged("x").name.clone();
    let got = Members::default().leave_intent(&x, LamportTime(1));
    assert_eq!(got, IntentOutcome::Unknown);
}

#[test]
fn join_intents_by_status() {
    for (before, after) in [
        (Alive, Alive),
        (Failed, Failed),
        (Leaving, Alive),
        (Left, Left),
    ] {
        let (mut members, name) = members(before);
        let stale = members.join_intent(&name, LamportTime(10));
        assert_eq!(stale, IntentOutcome::Stale);
        assert_eq!(outcome(&members, &name).0, before);
        let taken = members.join_intent(&name, LamportTime(11));
        assert_eq!(taken, IntentOutcome::Accepted);
        let (status, ltime, ..) = outcome(&members, &name);
        assert_eq!((status, ltime), (after, 11), "{before:?}");
    }
    let x = untagged("x").name.clone();
    let got = Members::default().join_intent(&x, LamportTime(1));
    assert_eq!(got, IntentOutcome::Unknown);
}

#[test]
fn a_forgotten_member_leaves_no_trace() {
    for status in [Alive, Leaving, Left, Failed] {
        let (mut members, name) = members(status);
        assert!(members.remove(&name).is_some());
        members.check_invariants();
        assert_eq!((members.len(), members.has_departed()), (0, false));
    }
}

#[test]
fn a_record_is_small() {
    assert!(size_of::<Record>() <= 32);
}

/// What a step does, whether it changes a member, and the step.
type Step<'a> = (&'a str, bool, &'a dyn Fn(&mut Members));

#[test]
fn the_version_increases_with_each_visible_change_and_only_then() {
    let mut members = Members::default();
    let x = untagged("x");
    let other = member("x", "127.0.0.1:7946", &Tags::from_pairs(&[(b"k", b"v")]));
    let leave = |members: &mut Members, ltime| {
        members.leave_intent(&untagged("x").name, LamportTime(ltime));
    };
    let join = |members: &mut Members, ltime| {
        members.join_intent(&untagged("x").name, LamportTime(ltime));
    };
    let steps: [Step<'_>; 9] = [
        ("an intent about nobody", false, &|m| leave(m, 1)),
        ("a member joins", true, &|m| m.joined(x.clone(), None)),
        ("its tags change", true, &|m| {
            m.updated(other.clone());
        }),
        ("it is leaving", true, &|m| leave(m, 5)),
        ("a stale intent", false, &|m| join(m, 5)),
        ("it stays", true, &|m| join(m, 6)),
        ("an intent that changes nothing", false, &|m| join(m, 7)),
        ("it fails", true, &|m| {
            m.gone(&x.name, NOW);
        }),
        ("it is removed", true, &|m| {
            m.remove(&x.name);
        }),
    ];
    for (what, changes, step) in steps {
        let before = members.version();
        step(&mut members);
        assert_eq!(members.version() > before, changes, "{what}");
    }
}

#[test]
fn a_member_shares_what_its_node_announced_if_the_meta_is_as_this_program_writes_it() {
    for (meta, tags, is_shared) in [
        (
            &b"\xff\x82\xa1a\xa11\xa1b\xa12"[..],
            &["a=1", "b=2"][..],
            true,
        ),
        (b"\xff\x80", &[], true),
        (b"\xff\x82\xa1b\xa12\xa1a\xa11", &["a=1", "b=2"], false),
        (b"web", &["role=web"], false),
        (b"", &["role="], false),
    ] {
        let announced = Arc::new(Announcement {
            meta: meta.into(),
            ..Announcement::clone(&untagged("x"))
        });
        let node = Node {
            announced,
            incarnation: 1,
            state: NodeState::Alive,
        };
        let member = member_of(&node);
        let text = |text| String::from_utf8_lossy(text).into_owned();
        let got = member.tags();
        let got = got.iter().map(|(k, v)| format!("{}={}", text(k), text(v)));
        assert!(got.eq(tags.iter().copied()), "{meta:?}");
        assert_eq!(Arc::ptr_eq(member.announced(), &node.announced), is_shared);
        assert_eq!((&member.name, member.addr), (&node.name, node.addr));
        assert_eq!(*node.meta, *meta);
    }
}
