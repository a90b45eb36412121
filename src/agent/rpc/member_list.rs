//! The reply to `members`, encoded once for all clients that ask before a member changes.

use crate::rpc::reply;
use crate::serf::Serf;
use crate::wire::msgpack::{Dialect, Writer};

/// Limit for the bytes that are kept: those of some hundred members.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// The body of the last reply. Clients that poll the members mostly find them unchanged.
#[derive(Debug, Default)]
pub(super) struct MemberList {
    body: Vec<u8>,
    /// The version of the members that the body lists; `None`: nothing is kept.
    version: Option<u64>,
}

impl MemberList {
    /// Writes all members.
    pub fn write(&mut self, writer: &mut Writer, serf: &Serf) {
        let version = serf.members_version();
        if self.version != Some(version) {
            let members: Vec<_> = serf.members().collect();
            let mut buffer = std::mem::take(&mut self.body);
            buffer.clear();
            let mut body = Writer::appending(Dialect::Rpc, buffer);
            reply::write_members(&mut body, &members);
            self.body = body.into_bytes();
            self.version = Some(version);
        }
        writer.verbatim(&self.body);
        if self.body.len() > KEPT_BYTES_MAX {
            *self = MemberList::default();
        }
    }
}
