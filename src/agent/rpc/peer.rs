//! Who is at the other end of a connection, and what that means.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use crate::handler::EventFilter;
use crate::os::accounts;
use crate::os::sys::{self, PeerCredentials};
use crate::rpc::Request;

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// Somebody who came by TCP, and shows a key if there is one.
    Remote(SocketAddr),
    /// A process of this host, as the kernel knows it.
    Local {
        /// Its number.
        pid: i32,
        /// Its user.
        uid: u32,
        /// Whether it may do everything, or only look.
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
    /// The process behind a Unix socket. Root and the agent's user may do everything, and those who belong
    /// to the group.
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

    /// Whether the key of RPC is asked for.
    pub(super) fn needs_key(&self) -> bool {
        matches!(self, Peer::Remote(_))
    }

    /// Whether it may do everything, once it has shown a key if there is one.
    pub(super) fn may_control(&self) -> bool {
        !matches!(
            self,
            Peer::Local {
                may_control: false,
                ..
            }
        )
    }

    /// Whether it may ask for this, as far as it is not a question of a key.
    pub(super) fn may(&self, request: &Request) -> bool {
        self.may_control() || is_a_look(request)
    }
}

/// Whether a request changes nothing and tells nothing that is not for everybody.
fn is_a_look(request: &Request) -> bool {
    match request {
        Request::Handshake { .. }
        | Request::Auth { .. }
        | Request::Stop { .. }
        | Request::Members
        | Request::MembersFiltered { .. }
        | Request::Stats
        | Request::Coordinate { .. } => true,
        // What is no filter is refused for that.
        Request::Stream { filter } => EventFilter::parse_list(filter).map_or(true, |filters| {
            let mut filters = filters.iter();
            filters.all(|filter| matches!(filter, EventFilter::Member(_)))
        }),
        _ => false,
    }
}
