//! Members and the events that handlers and RPC streams see.

use std::net::SocketAddr;

use crate::time::Instant;
use crate::wire::serf::{LamportTime, Tags};
use crate::wire::{NodeName, VersionVector};

/// A member's status (gossip spec 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum MemberStatus {
    None = 0,
    Alive = 1,
    Leaving = 2,
    Left = 3,
    Failed = 4,
}

impl MemberStatus {
    /// The reference's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberStatus::None => "none",
            MemberStatus::Alive => "alive",
            MemberStatus::Leaving => "leaving",
            MemberStatus::Left => "left",
            MemberStatus::Failed => "failed",
        }
    }
}

/// What the node knows of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Its advertised address.
    pub addr: SocketAddr,
    /// Its tags.
    pub tags: Tags,
    /// Its status.
    pub status: MemberStatus,
    /// Its versions.
    pub versions: VersionVector,
}

/// What happened to members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum MemberEventKind {
    Join,
    Leave,
    Failed,
    Update,
    Reap,
    /// Nothing that happened: how things are. Handlers that ask for it get it; the core never says it.
    Sync,
}

impl MemberEventKind {
    /// What may happen.
    pub const ALL: [MemberEventKind; 5] = [
        MemberEventKind::Join,
        MemberEventKind::Leave,
        MemberEventKind::Failed,
        MemberEventKind::Update,
        MemberEventKind::Reap,
    ];

    /// The one of that name, as [`Self::as_str`] has it.
    pub fn named(name: &[u8]) -> Option<Self> {
        let kinds = MemberEventKind::ALL.into_iter();
        let mut kinds = kinds.chain([MemberEventKind::Sync]);
        kinds.find(|kind| kind.as_str().as_bytes() == name)
    }

    /// `member-join` and so on.
    pub const fn as_str(self) -> &'static str {
        match self {
            MemberEventKind::Join => "member-join",
            MemberEventKind::Leave => "member-leave",
            MemberEventKind::Failed => "member-failed",
            MemberEventKind::Update => "member-update",
            MemberEventKind::Reap => "member-reap",
            MemberEventKind::Sync => "sync",
        }
    }
}

/// One kind of thing happened to one or more members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvent {
    /// What.
    pub kind: MemberEventKind,
    /// To whom, in byte order of the names; never empty.
    pub members: Vec<Member>,
}

/// Somebody fired a user event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// Its time.
    pub ltime: LamportTime,
    /// Its name.
    pub name: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// It may be coalesced.
    pub coalesce: bool,
}

/// Somebody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Its time.
    pub ltime: LamportTime,
    /// Its id; time and id name it in [`super::Command::Respond`].
    pub id: u32,
    /// Its name.
    pub name: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Who asks, if the query says so.
    pub source_node: Option<NodeName>,
    /// Until when an answer is of use.
    pub deadline: Instant,
}

/// What handlers and RPC streams see.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    Member(MemberEvent),
    User(UserEvent),
    Query(Query),
}
