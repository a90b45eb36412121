//! Identity and permissions of RPC clients.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::handler::EventFilter;
use crate::os::accounts;
use crate::os::sys::{self, PeerCredentials};
use crate::rpc::Request;

/// Peer of an RPC connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client, which must authenticate if a key is configured.
    Remote(SocketAddr),
    /// A process of this host, identified by the kernel.
    Local {
        /// Its process id.
        pid: i32,
        /// Its user id.
        uid: u32,
        /// Whether it has full access instead of read-only access.
        may_control: bool,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Remote(addr) => write!(f, "{addr}"),
            Peer::Local { pid, uid, .. } => write!(f, "uid {uid}, pid {pid}"),
        }
    }
}

impl Peer {
    /// Identifies the process behind a Unix socket. Root, the agent's user and members of the group have full
    /// access.
    pub(super) fn local(socket: BorrowedFd<'_>, control_group: Option<u32>) -> io::Result<Self> {
        let PeerCredentials { pid, uid, gid } = sys::peer_credentials(socket)?;
        let belongs_to = |group: u32| {
            let by_kernel = sys::peer_groups(socket).map(|groups| groups.contains(&group));
            gid == group || by_kernel.unwrap_or_else(|_| accounts::is_member(uid, group))
        };
        let is_trusted = uid == 0 || uid == sys::effective_user();
        Ok(Peer::Local {
            pid,
            uid,
            may_control: is_trusted || control_group.is_some_and(belongs_to),
        })
    }

    /// Returns whether the client must authenticate with the RPC key, if there is one.
    pub(super) fn needs_key(&self) -> bool {
        matches!(self, Peer::Remote(_))
    }

    /// Returns whether the client has full access, once it has authenticated if necessary.
    pub(super) fn may_control(&self) -> bool {
        !matches!(
            self,
            Peer::Local {
                may_control: false,
                ..
            }
        )
    }

    /// Returns whether the client may make this request, apart from authentication.
    pub(super) fn may(&self, request: &Request) -> bool {
        self.may_control() || is_a_look(request)
    }
}

/// Returns whether a request is read-only and returns no restricted information.
fn is_a_look(request: &Request) -> bool {
    match request {
        Request::Handshake { .. }
        | Request::Auth { .. }
        | Request::Stop { .. }
        | Request::Members
        | Request::MembersFiltered { .. }
        | Request::Stats
        | Request::Coordinate { .. } => true,
        // An invalid filter is refused later, with its own error.
        Request::Stream { filter } => EventFilter::parse_list(filter).map_or(true, |filters| {
            let mut filters = filters.iter();
            filters.all(|filter| matches!(filter, EventFilter::Member(_)))
        }),
        _ => false,
    }
}
