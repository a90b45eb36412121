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
//!   request for which the command was run, [`RpcServer::event`] for every event.
//!
//! None of these answers anything by itself: drain [`RpcServer::poll_action`] afterwards, once a turn is enough.

mod action;
mod answers;
pub mod connections;
mod execute;
mod peer;
mod results;
mod runs;
mod session;
pub mod socket;

use std::collections::VecDeque;

use log::LevelFilter;

use super::net::Lost;
use super::observe::logger::Logger;
use crate::handler::HandlerQueue;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::rpc::details::Details;
use crate::serf::{Event, Serf};
use crate::time::{Duration, Instant};
pub use action::{Action, QueueChange, TagChange};
pub use peer::Peer;
use runs::AwaitedRuns;
use session::{Ending, Next, Session};

/// Connections at a time; the reference knows no limit.
const SESSIONS_MAX: usize = 512;
/// Of these, those of clients that may only look, or have not shown their key yet: a quarter is kept for
/// who may control.
const LOOKERS_MAX: usize = SESSIONS_MAX / 4 * 3;
/// How long a client may take to shake hands and to show its key. Generous: a person may be typing.
const ADMISSION_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a client may take to read its last reply.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// A client's connection, named by the loop; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A request for which the loop does something; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What the agent lets clients do.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The key that clients must show, if any.
    pub auth_key: Option<String>,
    /// The name of the group that may do everything over a Unix socket, for words.
    pub control_group: Option<String>,
}

/// What replies are made of.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The time.
    pub now: Instant,
    /// The time of day, in microseconds since 1970.
    pub unix_micros: u64,
    /// The node.
    pub serf: &'a Serf,
    /// The handlers, and what became of the events for them.
    pub handlers: &'a HandlerQueue,
    /// The log, for monitors.
    pub logger: &'a Logger,
    /// What the gossip port has lost.
    pub lost: Lost,
}

/// A request that the core or the loop is working on.
#[derive(Debug)]
struct Running {
    /// Whose; none if the client is gone.
    session: Option<SessionId>,
    /// Of the request.
    seq: u64,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Event { hash: u64 },
    Drop,
    Join,
    Leave,
    Query,
    Keys { is_list: bool },
}

/// All RPC sessions.
pub struct RpcServer {
    config: Config,
    sessions: OrderedMap<SessionId, Session>,
    /// Sessions to look at.
    ready: VecDeque<SessionId>,
    actions: VecDeque<Action>,
    running: OrderedMap<RequestId, Running>,
    /// Queries that are not over: whose, and the number of the request.
    queries: OrderedMap<RequestId, (SessionId, u64)>,
    /// Sessions that have, or had, a monitor.
    monitors: OrderedSet<SessionId>,
    /// One of them came or went; the logger does not know yet.
    watch_changed: bool,
    next_request: u64,
    /// Runs of handlers that clients wait for.
    awaited_runs: AwaitedRuns,
    requests: u64,
    dropped: u64,
}

impl RpcServer {
    /// A server without sessions.
    pub fn new(config: Config) -> Self {
        RpcServer {
            config,
            sessions: OrderedMap::new(),
            ready: VecDeque::new(),
            actions: VecDeque::new(),
            running: OrderedMap::new(),
            queries: OrderedMap::new(),
            monitors: OrderedSet::new(),
            watch_changed: false,
            next_request: 1,
            awaited_runs: AwaitedRuns::default(),
            requests: 0,
            dropped: 0,
        }
    }

    /// A client connected. If this is `false` there are too many: close the connection.
    pub fn accept(&mut self, session: SessionId, peer: Peer, now: Instant) -> bool {
        let open = !peer.needs_key() || self.auth_key().is_none();
        let state = Session::new(peer, open, now + ADMISSION_TIME_MAX);
        let others = self.sessions.values();
        let (count, most) = match state.may_control() {
            true => (others.count(), SESSIONS_MAX),
            false => (
                others.filter(|other| !other.may_control()).count(),
                LOOKERS_MAX,
            ),
        };
        if count >= most || self.sessions.len() >= SESSIONS_MAX {
            log::warn!(target: "agent.ipc", "Refused client: {peer}: {count} clients are connected");
            return false;
        }
        log::info!(target: "agent.ipc", "Accepted client: {peer}");
        let replaced = self.sessions.insert(session, state);
        debug_assert!(replaced.is_none(), "a session's id was used twice");
        true
    }

    fn auth_key(&self) -> Option<&str> {
        self.config
            .auth_key
            .as_deref()
            .filter(|key| !key.is_empty())
    }

    /// Whether the loop should read from that connection now.
    pub fn wants_input(&self, session: SessionId) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(Session::wants_input)
    }

    /// Bytes arrived.
    pub fn received(&mut self, session: SessionId, bytes: &[u8]) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.received(bytes);
            self.look_at(session);
        }
    }

    /// What is to be written, front first.
    pub fn output(&self, session: SessionId) -> &[u8] {
        match self.sessions.get(&session) {
            Some(state) => state.output.as_slice(),
            None => &[],
        }
    }

    /// The first `count` bytes of the output were written.
    pub fn sent(&mut self, session: SessionId, count: usize) {
        // Nothing written, nothing new: looking again would only ask for another flush.
        if count == 0 {
            return;
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.output.consume(count);
            self.look_at(session);
        }
    }

    /// The connection ended: end of file or an error. The server forgets it.
    pub fn closed(&mut self, session: SessionId) {
        let Some(state) = self.sessions.remove(&session) else {
            return;
        };
        self.watch_changed |= self.monitors.remove(&session);
        self.running.for_each_mut(|_, running| {
            if running.session == Some(session) {
                running.session = None;
            }
        });
        for query in &state.asked {
            self.queries.remove(query);
        }
        if !state.asked.is_empty() {
            self.actions.push_back(Action::Forget(state.asked));
        }
        if state.ending == Some(Ending::CloseAndShutdown) {
            self.actions.push_back(Action::Shutdown);
        }
    }

    /// Whether [`Self::event`] needs details.
    pub fn wants_details(&self) -> bool {
        self.sessions.values().any(Session::wants_details)
    }

    /// Something happened; goes to every stream that wants it.
    pub fn event(&mut self, event: &Event, details: Option<&Details<'_>>) {
        let mut shared = [None, None];
        self.sessions.for_each_mut(|&session, state| {
            if let Some(lost) = state.event(event, details, &mut shared) {
                self.dropped += lost;
                state.look_at(session, &mut self.ready);
            }
        });
    }

    /// The next thing to do; `None` when there is nothing left for now.
    pub fn poll_action(&mut self, view: &View<'_>) -> Option<Action> {
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if self.ready.is_empty() {
                self.wake_monitors(view.logger);
            }
            let session = self.ready.pop_front()?;
            self.step(session, view);
        }
    }

    /// Looks at the sessions for which there are new lines.
    fn wake_monitors(&mut self, logger: &Logger) {
        if std::mem::take(&mut self.watch_changed) {
            let level = |session| self.sessions.get(session).and_then(Session::watched_level);
            let most = self.monitors.iter().filter_map(level).max();
            logger.set_watched(most.unwrap_or(LevelFilter::Off));
        }
        for &session in &self.monitors {
            if let Some(state) = self.sessions.get_mut(&session) {
                if state.wants_lines(logger) {
                    state.look_at(session, &mut self.ready);
                }
            }
        }
    }

    /// Whether a monitor waits for lines that the log has: [`Self::poll_action`] has something to do.
    pub fn has_lines(&self, logger: &Logger) -> bool {
        let mut sessions = self.monitors.iter().filter_map(|s| self.sessions.get(s));
        sessions.any(|state| state.wants_lines(logger))
    }

    /// When [`Self::handle_timeout`] is due: a client that does not read its last reply, or does not say
    /// who it is, is cut off.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions
            .values()
            .filter_map(Session::poll_timeout)
            .min()
    }

    /// A deadline has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.sessions.for_each_mut(|&session, state| {
            if state.poll_timeout().is_none_or(|deadline| deadline > now) {
                return;
            }
            if state.ending.is_none() {
                log::warn!(
                    target: "agent.ipc",
                    "Closing ipc.client: {}: no handshake and authentication within {} s",
                    state.peer,
                    ADMISSION_TIME_MAX.as_secs()
                );
                state.end(Ending::Close);
            }
            state.deadline = None;
            state.output.clear();
            state.look_at(session, &mut self.ready);
        });
    }

    /// Number of sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Events and records dropped because clients did not read, since the start.
    pub fn dropped_count(&self) -> u64 {
        self.dropped
    }

    /// Requests since the start.
    pub const fn request_count(&self) -> u64 {
        self.requests
    }

    /// Has [`Self::step`] called for the session.
    fn look_at(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.look_at(session, &mut self.ready);
        }
    }

    /// One request of a session, and whatever its buffers call for.
    fn step(&mut self, session: SessionId, view: &View<'_>) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        state.queued = false;
        match state.next_request() {
            Next::Wait => {}
            Next::Request(seq, request) => {
                self.requests += 1;
                self.execute(session, seq, request, view);
                // One at a time, so that a client with many requests does not hold up the others.
                self.look_at(session);
            }
            Next::Refuse(seq, error) => {
                self.requests += 1;
                state.reply(seq, error);
                state.end(Ending::Close);
            }
            Next::Garbage(why) => {
                log::error!(target: "agent.ipc", "{why}");
                state.end(Ending::Close);
            }
        }
        self.settle(session, view);
    }

    /// Flushes, closes, reads on.
    fn settle(&mut self, session: SessionId, view: &View<'_>) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        state.pump();
        self.dropped += state.pump_lines(view.logger);
        if !state.output.is_empty() {
            self.actions.push_back(Action::Flush(session));
        }
        if state.ending.is_some() {
            if state.output.is_empty() {
                self.actions.push_back(Action::Close(session));
                self.closed(session);
            } else if state.deadline.is_none() {
                state.deadline = Some(view.now + FLUSH_TIME_MAX);
            }
        } else if state.resumes_input() {
            self.actions.push_back(Action::Read(session));
        }
    }
}
