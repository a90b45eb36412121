//! Coordinates in the acks of probes.

use super::harness::{Net, addr, config};
use crate::serf::*;
use crate::time::Duration;
use crate::wire::coordinate::Coordinate;

const SECOND: Duration = Duration::from_secs(1);

fn know_each_other(net: &Net) -> bool {
    let knows = |n: u16, of: &str| net.serf(n).coordinate(of.as_bytes()).is_some();
    knows(1, "n2") && knows(2, "n1")
}

#[test]
fn probes_tell_where_nodes_are() {
    let mut net = Net::joined(2);
    let fresh = Coordinate::decode(&net.serf(1).coordinate(b"n1").unwrap().encode()).unwrap();
    assert_eq!((fresh.error, fresh.vec), (1.5, [0.0; 8]));
    assert_eq!(net.serf(1).coordinate(b"n2"), None);
    net.run_until("both know both", SECOND * 10, know_each_other);
    net.run_for(SECOND * 60);
    let near = |n: u16| {
        let serf = net.serf(n);
        let (own, other) = (format!("n{n}"), format!("n{}", 3 - n));
        let own = serf.coordinate(own.as_bytes()).unwrap();
        assert!(own.error < 1.5, "it has learnt");
        let other = serf.coordinate(other.as_bytes()).unwrap();
        coordinates::distance(own, other)
    };
    // A round trip here takes two milliseconds.
    for n in 1..=2 {
        let estimate = near(n);
        let expected = Duration::from_millis(1)..Duration::from_millis(3);
        assert!(expected.contains(&estimate), "n{n}: {estimate:?}");
    }
    assert_eq!(net.serf(1).stats().coordinate_resets, Some(0));
    assert_eq!(net.serf(1).counters().refused_coordinates, 0);
}

#[test]
fn a_node_without_coordinates_sends_and_stores_none() {
    let mut net = Net::new(1);
    let mut silent = config(2);
    silent.coordinates = false;
    net.add(silent);
    net.join(2, 1);
    net.run_for(SECOND * 20);
    assert_eq!(net.alive_in(1), 2);
    assert_eq!(net.serf(1).coordinate(b"n2"), None);
    assert_eq!(net.serf(1).counters().refused_coordinates, 0);
    for name in [&b"n1"[..], b"n2"] {
        assert_eq!(net.serf(2).coordinate(name), None);
    }
    assert_eq!(net.serf(2).stats().coordinate_resets, None);
}

#[test]
fn a_forgotten_member_s_place_is_forgotten() {
    let mut net = Net::joined(3);
    net.run_until("n1 knows n3", SECOND * 20, |net| {
        net.serf(1).coordinate(b"n3").is_some()
    });
    net.remove(3);
    net.run_until("n3 has failed", SECOND * 60, |net| {
        net.status(1, 3) == MemberStatus::Failed
    });
    assert!(net.serf(1).coordinate(b"n3").is_some(), "it may come back");
    let node = b"n3".to_vec();
    net.command(1, Command::ForceLeave { node, prune: true });
    assert_eq!(net.status(1, 3), MemberStatus::None);
    assert_eq!(net.serf(1).coordinate(b"n3"), None);
}

#[test]
fn nonsense_is_counted_and_changes_nothing() {
    let mut net = Net::joined(2);
    net.run_until("both know both", SECOND * 10, know_each_other);
    let before = net.serf(1).coordinate(b"n1").cloned();
    let rtt = Duration::from_millis(2);
    let good = before.clone().unwrap().encode();
    let mut infinite = good.clone();
    let end = infinite.len();
    infinite[end - 8..].copy_from_slice(&f64::INFINITY.to_be_bytes());
    let now = net.now;
    let serf = &mut net.host(1).serf;
    let n2 = NodeName::new(b"n2").unwrap();
    for bad in [
        &b"\x02\x80"[..],
        b"\x01",
        b"\x01\x80",
        b"\x01\xc1",
        &infinite,
    ] {
        serf.handle_acked(&n2, rtt, Some(bad), false, now);
    }
    serf.handle_acked(&n2, SECOND * 11, Some(&good), false, now);
    assert_eq!(serf.counters().refused_coordinates, 6);
    // A missing coordinate is no error, and one from a non-member is ignored.
    serf.handle_acked(&n2, rtt, None, false, now);
    serf.handle_acked(&n2, rtt, Some(b""), false, now);
    let stranger = NodeName::new(b"stranger").unwrap();
    serf.handle_acked(&stranger, rtt, Some(&good), false, now);
    assert_eq!(serf.counters().refused_coordinates, 6);
    assert_eq!(serf.coordinate(b"stranger"), None);
    assert_eq!(serf.coordinate(b"n1").cloned(), before);
    assert_eq!(net.serf(1).swim().local().addr, addr(1));
}
