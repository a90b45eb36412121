//! RPC sessions without sockets (agent spec 2): bytes in, bytes and actions out.
//!
//! The loop owns the sockets. It reports input, writes [`RpcServer::output`], and performs the actions of
//! [`RpcServer::poll_action`] until there are none:
//!
//! - a connection is accepted: [`RpcServer::accept`]; close it at once if that returns `false`;
//! - it is readable and [`RpcServer::wants_input`] returns `true`: read, then [`RpcServer::received`];
//! - it is writable, or [`Action::Flush`]: write [`RpcServer::output`], then [`RpcServer::sent`];
//! - it has ended or failed: [`RpcServer::closed`], then drop it;
//! - the core has output: [`RpcServer::command_ended`] and [`RpcServer::query_record`] for the request that
//!   the command belongs to, [`RpcServer::event`] for every event.
//!
//! None of these calls performs actions itself: drain [`RpcServer::poll_action`] afterwards; once per turn is
//! enough.

mod action;
mod answers;
pub mod connections;
mod execute;
mod member_list;
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
use member_list::MemberList;
pub use peer::Peer;
use runs::AwaitedRuns;
use session::{Ending, Next, Session};

/// Limit for concurrent connections; the reference has none.
const SESSIONS_MAX: usize = 512;
/// Limit for connections of clients that are read-only or not authenticated yet: a quarter of all is reserved
/// for clients with full access.
const LOOKERS_MAX: usize = SESSIONS_MAX / 4 * 3;
/// Timeout for handshake and authentication; long, because a person may be typing.
const ADMISSION_TIME_MAX: Duration = Duration::from_secs(60);
/// Timeout for a client to read its last reply.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(5);

/// Identifies a client's connection; chosen by the loop and never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Identifies a request that the loop or the core works on; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Access settings of the RPC server.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Key that TCP clients must authenticate with, if any.
    pub auth_key: Option<String>,
    /// Name of the group with full access over Unix sockets, for messages.
    pub control_group: Option<String>,
}

/// State of the agent for building replies.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Monotonic time.
    pub now: Instant,
    /// Time of day in microseconds since 1970.
    pub unix_micros: u64,
    /// The node's core.
    pub serf: &'a Serf,
    /// The handler queue.
    pub handlers: &'a HandlerQueue,
    /// The log, for monitors.
    pub logger: &'a Logger,
    /// Losses of the gossip port.
    pub lost: Lost,
}

/// A request that the core or the loop is working on.
#[derive(Debug)]
struct Running {
    /// The client's session; `None` if it has ended.
    session: Option<SessionId>,
    /// Sequence number of the request.
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
    /// Sessions that [`Self::step`] must process.
    ready: VecDeque<SessionId>,
    actions: VecDeque<Action>,
    running: OrderedMap<RequestId, Running>,
    /// Active queries with their session and the sequence number of the request.
    queries: OrderedMap<RequestId, (SessionId, u64)>,
    /// Sessions with a monitor, or that had one.
    monitors: OrderedSet<SessionId>,
    /// Whether a monitor was added or removed since the logger was last updated.
    watch_changed: bool,
    next_request: u64,
    /// Handler runs that clients wait for.
    awaited_runs: AwaitedRuns,
    members: MemberList,
    requests: u64,
    dropped: u64,
}

impl RpcServer {
    /// Creates a server without sessions.
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
            members: MemberList::default(),
            requests: 0,
            dropped: 0,
        }
    }

    /// Adds a session for a new connection. Returns `false` if there are too many; the connection must then
    /// be closed.
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

    /// Returns whether the loop should read from that connection now.
    pub fn wants_input(&self, session: SessionId) -> bool {
        self.sessions
            .get(&session)
            .is_some_and(Session::wants_input)
    }

    /// Takes input from a connection.
    pub fn received(&mut self, session: SessionId, bytes: &[u8]) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.received(bytes);
            self.look_at(session);
        }
    }

    /// Returns the bytes to write to a connection.
    pub fn output(&self, session: SessionId) -> &[u8] {
        match self.sessions.get(&session) {
            Some(state) => state.output.as_slice(),
            None => &[],
        }
    }

    /// Removes the first `count` bytes of the output, which were written.
    pub fn sent(&mut self, session: SessionId, count: usize) {
        // Without progress, processing the session again would only request another flush.
        if count == 0 {
            return;
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.output.consume(count);
            self.look_at(session);
        }
    }

    /// Removes the session of a connection that has ended or failed.
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

    /// Returns whether [`Self::event`] needs details.
    pub fn wants_details(&self) -> bool {
        self.sessions.values().any(Session::wants_details)
    }

    /// Sends an event to every stream that wants it.
    pub fn event(&mut self, event: &Event, details: Option<&Details<'_>>) {
        let mut shared = [None, None];
        self.sessions.for_each_mut(|&session, state| {
            if let Some(lost) = state.event(event, details, &mut shared) {
                self.dropped += lost;
                state.look_at(session, &mut self.ready);
            }
        });
    }

    /// Returns the next action; `None` if there is none for now.
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

    /// Schedules the sessions whose monitors have new log lines.
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

    /// Returns whether a monitor has unread log lines, so that [`Self::poll_action`] has something to do.
    pub fn has_lines(&self, logger: &Logger) -> bool {
        let mut sessions = self.monitors.iter().filter_map(|s| self.sessions.get(s));
        sessions.any(|state| state.wants_lines(logger))
    }

    /// Returns when [`Self::handle_timeout`] is due: for clients that do not read their last reply, or do not
    /// authenticate in time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.sessions
            .values()
            .filter_map(Session::poll_timeout)
            .min()
    }

    /// Closes sessions whose timeout has passed.
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

    /// Returns the number of sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// Returns how many events and records were dropped since the start because clients did not read.
    pub fn dropped_count(&self) -> u64 {
        self.dropped
    }

    /// Returns the number of requests since the start.
    pub const fn request_count(&self) -> u64 {
        self.requests
    }

    /// Schedules [`Self::step`] for the session.
    fn look_at(&mut self, session: SessionId) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.look_at(session, &mut self.ready);
        }
    }

    /// Executes one request of a session, then updates its buffers.
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
                // Only one, so that a client with many requests does not delay others.
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

    /// Moves records to the output and requests flushing, closing or reading.
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
