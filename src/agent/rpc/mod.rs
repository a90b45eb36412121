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

mod answers;
pub mod connections;
mod execute;
mod peer;
mod session;
pub mod socket;

use std::collections::VecDeque;

use log::LevelFilter;

use super::net::Lost;
use super::net::targets::join_failure;
use super::observe::logger::Logger;
use crate::go;
use crate::handler::HandlerQueue;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::rpc::details::Details;
use crate::rpc::{TextMap, cluster, queue, reply};
use crate::serf::{Command, CommandResult, Event, JoinTarget, KeyReport, QueryRecord, Serf, Tags};
use crate::time::{Duration, Instant};
use crate::wire::msgpack::Writer;
use crate::wire::name::Escaped;
pub use peer::Peer;
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

/// A change of some tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    set: TextMap,
    delete: Vec<Vec<u8>>,
}

impl TagChange {
    /// The tags after the change.
    pub fn apply(&self, current: &Tags) -> Tags {
        let mut tags = current.clone();
        for tag in &self.delete {
            tags.remove(tag);
        }
        for (tag, value) in &self.set {
            tags.set(tag, value);
        }
        tags
    }
}

/// What an operator wants of the queue of handlers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Give up what waits: for the handler of that name, the event of that id, or, if it is empty, all.
    Drop(Vec<u8>),
    /// Hold the runs of a handler back, or let them go on.
    Pause {
        /// Its name.
        name: Vec<u8>,
        /// Which of the two.
        is_paused: bool,
    },
}

impl QueueChange {
    /// Does it; how many runs were given up.
    ///
    /// # Errors
    /// If there is no such handler or event.
    pub fn apply(&self, queue: &mut HandlerQueue) -> Result<usize, String> {
        match self {
            QueueChange::Drop(target) if target.is_empty() => Ok(queue.drop_all()),
            QueueChange::Drop(target) => {
                let name = Escaped(target).to_string();
                let dropped = queue.drop_handler(&name);
                let dropped = dropped.or_else(|| queue.drop_event(&name).then_some(1));
                dropped.ok_or_else(|| {
                    format!("no handler has the name and no event in memory the id '{name}'")
                })
            }
            QueueChange::Pause { name, is_paused } => {
                let name = Escaped(name).to_string();
                let found = queue.set_paused(&name, *is_paused);
                let missing = || format!("no handler has the name '{name}'");
                found.then_some(0).ok_or_else(missing)
            }
        }
    }
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
        /// Whose.
        request: RequestId,
        /// What.
        command: Command,
    },
    /// Nobody waits any more for what comes back for these queries: hand [`Command::ForgetQuery`] to the core.
    Forget(OrderedSet<RequestId>),
    /// Change the tags: once they are in their file, if there is one, hand [`Command::SetTags`] to the
    /// core.
    Tags {
        /// Whose.
        request: RequestId,
        /// How.
        change: TagChange,
    },
    /// Resolve the addresses (agent spec 4.9), hand [`Command::Join`] to the core, then
    /// [`RpcServer::join_ended`]. Log it as any join.
    Join {
        /// Whose.
        request: RequestId,
        /// As the client wrote them.
        addresses: Vec<String>,
        /// Take user events from before the join.
        replay: bool,
    },
    /// Change the queue of handlers, then [`RpcServer::queue_changed`].
    Queue {
        /// Whose.
        request: RequestId,
        /// How.
        change: QueueChange,
    },
    /// The node has left and the client knows: end the process with status 0.
    Shutdown,
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
            log::warn!(target: "agent.ipc", "Refused client: {peer}: {count} are connected");
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

    /// A command of [`Action::Run`] ended.
    pub fn command_ended(&mut self, request: RequestId, result: CommandResult) {
        if let CommandResult::Joined {
            contacted,
            failures,
        } = &result
        {
            let of = |(target, why): &(JoinTarget, String)| join_failure(&target.addr, why);
            let failures: Vec<_> = failures.iter().map(of).collect();
            return self.join_ended(request, *contacted, &failures);
        }
        if let CommandResult::Keys(report) = &result {
            return self.keys_ended(request, report);
        }
        let error = match &result {
            CommandResult::Failed(why) => why.as_str(),
            _ => "",
        };
        match self.running.get(&request).map(|running| running.kind) {
            Some(Kind::Keys { .. }) => {
                self.keys_ended(request, &KeyReport::not_asked(error.to_owned()))
            }
            Some(Kind::Join) => self.ended(request, error, |w, _| reply::write_joined(w, 0)),
            Some(Kind::Event { hash }) => {
                let ltime = match &result {
                    CommandResult::Fired(ltime) => ltime.0,
                    _ => 0,
                };
                let id_text = format!("user:{ltime}:{hash:016x}").into_bytes();
                let fired = queue::Fired { ltime, id: id_text };
                self.ended(request, error, |w, _| queue::write_fired(w, &fired));
            }
            _ => self.ended(request, error, |_, _| {}),
        }
        if let CommandResult::Queried { .. } = result {
            return;
        }
        // A query that was not sent has no records.
        self.forget_query(request);
    }

    /// Whether records are wanted that come back for a query.
    pub fn awaits_records(&self, request: RequestId) -> bool {
        self.queries.contains_key(&request)
    }

    fn forget_query(&mut self, request: RequestId) {
        if let Some((session, _)) = self.queries.remove(&request) {
            if let Some(state) = self.sessions.get_mut(&session) {
                state.asked.remove(&request);
            }
        }
    }

    /// A join of [`Action::Join`] ended: nodes contacted, and what failed, one complete sentence each,
    /// such as `Failed to resolve nohost: no such host`.
    pub fn join_ended(&mut self, request: RequestId, contacted: usize, failures: &[String]) {
        let error = match contacted {
            0 if !failures.is_empty() => go::errors_occurred(failures),
            _ => String::new(),
        };
        self.ended(request, &error, |w, _| reply::write_joined(w, contacted));
    }

    /// A change of [`Action::Queue`] was made, or why it was not.
    pub fn queue_changed(&mut self, request: RequestId, result: Result<usize, String>) {
        let error = result.as_ref().err().map_or("", String::as_str);
        let count = result.as_ref().map_or(0, |count| *count as u64);
        self.ended(request, error, |w, kind| {
            if kind == Kind::Drop {
                queue::write_dropped(w, count);
            }
        });
    }

    fn keys_ended(&mut self, request: RequestId, report: &KeyReport) {
        let error = report.error.as_deref().unwrap_or_default();
        self.ended(request, error, |w, kind| {
            cluster::write_keys(w, report, kind == Kind::Keys { is_list: true });
        });
    }

    /// Answers the request, with the body that `body` writes, and lets the session go on with the next one.
    fn ended(&mut self, request: RequestId, error: &str, body: impl FnOnce(&mut Writer, Kind)) {
        let Some(running) = self.running.remove(&request) else {
            return;
        };
        let state = running
            .session
            .and_then(|session| self.sessions.get_mut(&session));
        let (Some(session), Some(state)) = (running.session, state) else {
            if running.kind == Kind::Leave {
                self.actions.push_back(Action::Shutdown);
            }
            return;
        };
        debug_assert_eq!(state.busy, Some(request));
        state.busy = None;
        state.reply_with(running.seq, error, |writer| body(writer, running.kind));
        if running.kind == Kind::Leave {
            state.end(Ending::CloseAndShutdown);
        }
        self.look_at(session);
    }

    /// Something came back for a query.
    pub fn query_record(&mut self, request: RequestId, record: QueryRecord) {
        let Some(&(session, seq)) = self.queries.get(&request) else {
            return;
        };
        if record == QueryRecord::Done {
            self.forget_query(request);
        }
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        if state.ending.is_none() {
            state.reply_with(seq, "", |writer| {
                reply::write_query_record(writer, &record);
            });
            self.look_at(session);
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
                    "Closing ipc.client: {}: no handshake and key within {} s",
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
