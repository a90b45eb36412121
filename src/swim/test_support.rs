//! Helpers shared by the test modules of this layer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::net::SocketAddr;

use super::{Announcement, Node, NodeState};
use crate::wire::{NodeName, VersionVector};

/// Returns a table of the captured vectors.
pub fn vectors(name: &str) -> serde_json::Value {
    const TEXT: &str = include_str!("../../tests/data/gossip-vectors.json");
    let mut all: serde_json::Value = serde_json::from_str(TEXT).unwrap();
    let table = all["algorithms"][name].take();
    assert!(!table.is_null(), "no vectors called {name}");
    table
}

/// Returns an address in a documentation network.
pub fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], 7946))
}

/// Makes a node name.
pub fn name(text: &str) -> NodeName {
    NodeName::new(text.as_bytes()).unwrap()
}

/// Makes a node with the reference's versions.
pub fn node(text: &str, host: u8, state: NodeState) -> Node {
    let announced = Announcement {
        name: name(text),
        addr: addr(host),
        meta: b"meta".as_slice().into(),
        versions: VersionVector::serf(5),
    };
    Node {
        announced: announced.into(),
        incarnation: 1,
        state,
    }
}
