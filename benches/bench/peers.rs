//! The state of a cluster of any size, as one of its nodes would send it.

use cottar::wire::serf::{LamportTime, SerfPushPull, Tags};
use cottar::wire::{
    Envelope, NodeName, NonceSource, PushPull, PushPullNode, RemoteState, VersionVector,
};
use std::net::SocketAddr;

/// No key, no label, with compression.
pub fn envelope() -> Envelope {
    Envelope::plain(NonceSource::new([0; 32]))
}

/// Returns the name of a member.
pub fn name(index: usize) -> NodeName {
    NodeName::new(format!("node-{index:05}.example").as_bytes()).expect("a name")
}

/// Returns the tags of a member, 60 bytes when encoded.
pub fn tags(index: usize) -> Tags {
    let mut tags = Tags::new();
    tags.set(b"dc", b"eu-west-1b");
    tags.set(b"rack", format!("r{:05}", index / 40).as_bytes());
    tags.set(b"role", b"web");
    tags.set(b"version", b"1.14.2-rc3+b71");
    debug_assert_eq!(tags.encode_meta(5).len(), 60);
    tags
}

/// Returns the push/pull state of a node that knows this many members, all alive at one address.
pub fn state(members: usize, addr: SocketAddr) -> PushPull {
    let names: Vec<NodeName> = (0..members).map(name).collect();
    let node = |(index, name): (usize, &NodeName)| PushPullNode {
        name: name.clone(),
        addr,
        meta: Some(tags(index).encode_meta(5).into()),
        incarnation: 1,
        state: RemoteState::Alive,
        versions: VersionVector::serf(5),
    };
    let user_state = SerfPushPull {
        ltime: LamportTime(members as u64 + 1),
        status_ltimes: names.iter().cloned().zip((1..).map(LamportTime)).collect(),
        ..SerfPushPull::default()
    };
    PushPull {
        join: false,
        nodes: names.iter().enumerate().map(node).collect(),
        refused: Vec::new(),
        user_state: user_state.encode(),
    }
}
