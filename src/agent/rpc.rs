//! RPC sessions without sockets (agent spec 2): bytes in, bytes and things to do out.
//!
//! The loop owns the sockets. It reports what arrives, writes what [`RpcServer::output`] holds, and
//! does what [`RpcServer::poll_action`] asks for, until it asks for nothing more:
//!
//! - a connection is accepted: [`RpcServer::accept`], close it at once if that says no;
//! - it is readable and [`RpcServer::wants_input`]: read, [`RpcServer::received`];
//! - it is writable, or [`Action::Flush`]: write [`RpcServer::output`], [`RpcServer::sent`];
//! - it ended or broke: [`RpcServer::closed`], and drop it;
//! - the core said something: [`RpcServer::command_ended`] and [`RpcServer::query_record`] for the
//!   command ids of which [`RpcServer::owns`] is true, [`RpcServer::event`] for every event.
//!
//! None of these answers anything by itself: drain [`RpcServer::poll_action`] afterwards, once a turn is enough.

use std::net::SocketAddr;

use crate::serf::{Command, CommandId, CommandResult, Event, QueryRecord, Serf};
use crate::time::Instant;

/// A client's connection, named by the loop; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What the agent lets clients do.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The key that clients must show, if any.
    pub auth_key: Option<String>,
}

/// What replies are made of.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The time.
    pub now: Instant,
    /// The node.
    pub serf: &'a Serf,
    /// The handlers for `info`: `<type>:<name>` (such as `*:`, `user:deploy`) and the script.
    pub handlers: &'a [(String, String)],
}

/// What the loop is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write what [`RpcServer::output`] holds, as far as the socket takes it; the rest when it is
    /// writable again.
    Flush(SessionId),
    /// The session wants input again after it did not: read, for edge-triggered readiness may be spent.
    Read(SessionId),
    /// Drop the connection; the server has forgotten it.
    Close(SessionId),
    /// Hand a command to the core.
    Run {
        /// Its id.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// Resolve the addresses (agent spec 4.9), hand [`Command::Join`] to the core, then
    /// [`RpcServer::join_ended`]. Log it as any join.
    Join {
        /// Whose.
        id: CommandId,
        /// As the client wrote them.
        addresses: Vec<String>,
        /// Take user events from before the join.
        replay: bool,
    },
    /// The node has left and the client knows: end the process with status 0.
    Shutdown,
}

/// All RPC sessions.
pub struct RpcServer {
    _private: (),
}

impl RpcServer {
    /// A server without sessions.
    pub fn new(config: Config) -> Self {
        todo!()
    }
    /// A client connected. If this is `false` there are too many: close the connection.
    pub fn accept(&mut self, session: SessionId, peer: SocketAddr) -> bool {
        todo!()
    }
    /// Whether the loop should read from that connection now.
    pub fn wants_input(&self, session: SessionId) -> bool {
        todo!()
    }
    /// Bytes arrived.
    pub fn received(&mut self, session: SessionId, bytes: &[u8]) {
        todo!()
    }
    /// What is to be written, front first.
    pub fn output(&self, session: SessionId) -> &[u8] {
        todo!()
    }
    /// The first `count` bytes of the output were written.
    pub fn sent(&mut self, session: SessionId, count: usize) {
        todo!()
    }
    /// The connection ended: end of file or an error. The server forgets it.
    pub fn closed(&mut self, session: SessionId) {
        todo!()
    }
    /// Whether a command is one of [`Action::Run`] or [`Action::Join`].
    pub fn owns(id: CommandId) -> bool {
        todo!()
    }
    /// A command of [`Action::Run`] ended.
    pub fn command_ended(&mut self, id: CommandId, result: CommandResult) {
        todo!()
    }
    /// A join of [`Action::Join`] ended: nodes contacted, and what failed, one complete sentence each,
    /// such as `Failed to resolve nohost: no such host`.
    pub fn join_ended(&mut self, id: CommandId, contacted: usize, failures: &[String]) {
        todo!()
    }
    /// Something came back for a query.
    pub fn query_record(&mut self, id: CommandId, record: QueryRecord) {
        todo!()
    }
    /// Something happened; goes to every stream that wants it.
    pub fn event(&mut self, event: &Event) {
        todo!()
    }
    /// The next thing to do; `None` when there is nothing left for now.
    pub fn poll_action(&mut self, view: &View<'_>) -> Option<Action> {
        todo!()
    }
    /// When [`Self::handle_timeout`] is due: a client that does not read its last reply is cut off.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
    /// A deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }
    /// Number of sessions.
    pub fn session_count(&self) -> usize {
        todo!()
    }
    /// Events and records dropped because clients did not read, since the start.
    pub fn dropped_count(&self) -> u64 {
        todo!()
    }
}
