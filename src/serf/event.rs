//! Members, and the events for handlers and RPC streams.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use crate::swim::{Announcement, Node};
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
    /// Returns the reference's word for the status.
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

/// A member as known to this node; cheap to clone. Dereferences to its announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it announced last. The meta is as [`Tags::to_meta`] writes it.
    announced: Arc<Announcement>,
    /// Its status.
    pub status: MemberStatus,
}

impl Member {
    /// Makes a member.
    pub fn new(
        name: NodeName,
        addr: SocketAddr,
        tags: &Tags,
        status: MemberStatus,
        versions: VersionVector,
    ) -> Self {
        let meta = tags.to_meta();
        let announced = Arc::new(Announcement {
            name,
            addr,
            meta,
            versions,
        });
        Member { announced, status }
    }

    /// Makes a member that is alive. The flag is false if not all of its tags could be decoded.
    pub(super) fn of_node(node: &Node) -> (Self, bool) {
        let (tags, complete) = Tags::decode_meta(&node.meta);
        let meta = tags.to_meta();
        let announced = match meta == node.meta {
            true => node.announced.clone(),
            false => Arc::new(Announcement {
                meta,
                ..Announcement::clone(node)
            }),
        };
        let status = MemberStatus::Alive;
        (Member { announced, status }, complete)
    }

    /// Returns what it announced last.
    pub(super) fn announced(&self) -> &Arc<Announcement> {
        &self.announced
    }

    /// Returns its tags.
    pub fn tags(&self) -> Tags {
        Tags::from_meta(&self.meta)
    }
}

impl Deref for Member {
    type Target = Announcement;

    fn deref(&self) -> &Announcement {
        &self.announced
    }
}

/// Kind of a member event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum MemberEventKind {
    Join,
    Leave,
    Failed,
    Update,
    Reap,
    /// Not a change but the current state. Only handlers that ask for it get it; the core never produces it.
    Sync,
}

impl MemberEventKind {
    /// The kinds that the core produces.
    pub const ALL: [MemberEventKind; 5] = [
        MemberEventKind::Join,
        MemberEventKind::Leave,
        MemberEventKind::Failed,
        MemberEventKind::Update,
        MemberEventKind::Reap,
    ];

    /// Returns the kind with this name, the inverse of [`Self::as_str`].
    pub fn named(name: &[u8]) -> Option<Self> {
        let kinds = MemberEventKind::ALL.into_iter();
        let mut kinds = kinds.chain([MemberEventKind::Sync]);
        kinds.find(|kind| kind.as_str().as_bytes() == name)
    }

    /// Returns the event's name, such as `member-join`.
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

/// The same kind of change in one or more members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberEvent {
    /// Kind of the change.
    pub kind: MemberEventKind,
    /// The members, in byte order of their names; never empty.
    pub members: Vec<Member>,
}

/// A user event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// Lamport time of the event.
    pub ltime: LamportTime,
    /// Name of the event.
    pub name: Vec<u8>,
    /// Payload of the event.
    pub payload: Vec<u8>,
    /// Whether it may be coalesced.
    pub coalesce: bool,
}

/// A query from another node or from this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Lamport time of the query.
    pub ltime: LamportTime,
    /// Id of the query; [`super::Command::Respond`] needs time and id.
    pub id: u32,
    /// Name of the query.
    pub name: Vec<u8>,
    /// Payload of the query.
    pub payload: Vec<u8>,
    /// Name of the originator, if the query contains it.
    pub source_node: Option<NodeName>,
    /// Time at which the originator stops collecting responses.
    pub deadline: Instant,
}

/// An event for handlers and RPC streams.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    Member(MemberEvent),
    User(UserEvent),
    Query(Query),
}
