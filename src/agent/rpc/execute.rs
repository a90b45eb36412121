//! Executes requests (agent spec 2.4).

use super::answers::{self, MemberFilter};
use super::session::Session;
use super::{Action, Kind, QueueChange, RequestId, RpcServer, Running, SessionId, TagChange, View};
use crate::agent::files::key::decode_key;
use crate::go;
use crate::rpc::{Request, TextMap, VERSION, cluster, reply, request};
use crate::serf::{Command, KeyReport, QueryParams, RawKey, event_hash};
use crate::time::{Duration, Instant};
use crate::wire::name::Escaped;

/// Limit for the active queries of one session.
const QUERIES_MAX: usize = 256;

/// A key operation: its name in log lines, and its command.
type KeyChange = (&'static str, fn(RawKey) -> Command);

const INSTALL: KeyChange = ("key installation", Command::InstallKey);
const USE: KeyChange = ("primary key change", Command::UseKey);
const REMOVE: KeyChange = ("key removal", Command::RemoveKey);

/// Executes a handshake.
fn shake_hands(state: &mut Session, seq: u64, version: i32) {
    let error = if version != VERSION {
        "Unsupported IPC version"
    } else if state.handshaken {
        "Handshake already performed"
    } else {
        state.handshaken = true;
        ""
    };
    state.reply(seq, error);
}

impl RpcServer {
    /// Executes a request, if the client is allowed to make it.
    pub(super) fn execute(
        &mut self,
        session: SessionId,
        seq: u64,
        request: Request,
        view: &View<'_>,
    ) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let is_open = matches!(request, Request::Handshake { .. } | Request::Auth { .. });
        if !is_open && !state.authenticated {
            state.reply(seq, "Authentication required");
        } else if !state.peer.may(&request) {
            self.deny(session, seq, &request);
        } else {
            self.carry_out(session, seq, request, view);
        }
    }

    fn carry_out(&mut self, session: SessionId, seq: u64, request: Request, view: &View<'_>) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        match request {
            Request::Handshake { version } => shake_hands(state, seq, version),
            Request::Auth { key } => self.authenticate(session, seq, &key),
            Request::Stream { filter } => state.subscribe(seq, &filter, false),
            Request::OwnStream { filter } => state.subscribe(seq, &filter, true),
            Request::Monitor { level } => self.monitor(session, seq, &level, view),
            Request::Stop { seq: stopped } => self.stop(session, seq, stopped),
            Request::Members => {
                let members = &mut self.members;
                state.reply_with(seq, "", |w| members.write(w, view.serf));
            }
            Request::MembersFiltered { tags, status, name } => {
                let filter = MemberFilter::new(&tags, &status, &name);
                self.list_matches(session, seq, filter, view);
            }
            Request::Stats => {
                let stats = answers::stats(view, self.dropped, state.may_control());
                state.reply_with(seq, "", |w| reply::write_stats(w, &stats));
            }
            Request::Coordinate { node } => {
                let place = view.serf.coordinate(&node);
                state.reply_with(seq, "", |w| cluster::write_coordinate(w, place));
            }
            Request::Handlers => self.ask_for_handlers(session, seq),
            Request::HandlerQueue => state.reply_with(seq, "", |w| answers::write_queue(w, view)),
            Request::Respond { id, payload } => self.respond(session, seq, id, payload, view.now),
            Request::Event {
                name,
                payload,
                coalesce,
            } => self.fire(session, seq, false, (name, payload, coalesce)),
            Request::OwnEvent {
                name,
                payload,
                coalesce,
            } => self.fire(session, seq, true, (name, payload, coalesce)),
            Request::ForceLeave { node, prune } => {
                let command = Command::ForceLeave { node, prune };
                self.start(session, seq, Kind::Plain, command);
            }
            Request::Join { existing, replay } => self.join(session, seq, &existing, replay),
            Request::Tags { set, delete } => self.change_tags(session, seq, set, delete),
            Request::Leave => self.start(session, seq, Kind::Leave, Command::Leave),
            Request::Query(query) => self.query(session, seq, query),
            Request::InstallKey { key } => self.change_key(session, seq, &key, INSTALL),
            Request::UseKey { key } => self.change_key(session, seq, &key, USE),
            Request::RemoveKey { key } => self.change_key(session, seq, &key, REMOVE),
            Request::ListKeys => self.list_keys(session, seq),
            Request::DropQueue { target } => {
                self.change_queue(session, seq, QueueChange::Drop(target));
            }
            Request::PauseHandler { name, is_paused } => {
                self.change_queue(session, seq, QueueChange::Pause { name, is_paused });
            }
            Request::RunHandlers(runs) => {
                let request = self.begin(session, seq, Kind::Plain);
                self.actions
                    .push_back(Action::RunHandlers { request, runs });
            }
        }
    }

    fn monitor(&mut self, session: SessionId, seq: u64, level: &[u8], view: &View<'_>) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let error = state.watch(seq, level, view.logger);
        state.reply(seq, error.as_ref().err().map_or("", String::as_str));
        if error.is_ok() {
            self.monitors.insert(session);
            self.watch_changed = true;
        }
    }

    /// Ends a stream or a monitor.
    fn stop(&mut self, session: SessionId, seq: u64, stopped: u64) {
        if let Some(state) = self.sessions.get_mut(&session) {
            state.unsubscribe(stopped);
            state.reply(seq, "");
            self.watch_changed = true;
        }
    }

    fn list_matches(
        &mut self,
        session: SessionId,
        seq: u64,
        filter: Result<MemberFilter, String>,
        view: &View<'_>,
    ) {
        let (filter, error) = match filter {
            Ok(filter) => (Some(filter), String::new()),
            Err(why) => (None, why),
        };
        if let Some(state) = self.sessions.get_mut(&session) {
            state.reply_with(seq, &error, |w| answers::write_matches(w, view, filter));
        }
    }

    fn ask_for_handlers(&mut self, session: SessionId, seq: u64) {
        let request = self.begin(session, seq, Kind::Plain);
        self.actions.push_back(Action::ListHandlers { request });
    }

    /// Sends an answer to a query that one of the session's streams has shown.
    fn respond(
        &mut self,
        session: SessionId,
        seq: u64,
        id: u64,
        payload: Option<Vec<u8>>,
        now: Instant,
    ) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let Some(query) = state.answerable(id, now) else {
            return state.reply(seq, "No pending queries matching ID");
        };
        let command = Command::Respond {
            ltime: query.ltime,
            id: query.id,
            payload: payload.unwrap_or_default(),
        };
        self.start(session, seq, Kind::Plain, command);
    }

    fn change_tags(&mut self, session: SessionId, seq: u64, set: TextMap, delete: Vec<Vec<u8>>) {
        let request = self.begin(session, seq, Kind::Plain);
        let change = TagChange { set, delete };
        self.actions.push_back(Action::Tags { request, change });
    }

    fn list_keys(&mut self, session: SessionId, seq: u64) {
        log::info!(target: "agent", "Initiating key listing");
        let kind = Kind::Keys { is_list: true };
        self.start(session, seq, kind, Command::ListKeys);
    }

    fn authenticate(&mut self, session: SessionId, seq: u64, key: &[u8]) {
        let wanted = self.auth_key().unwrap_or_default().to_owned();
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let fits = !state.peer.needs_key() || answers::same_key(key, wanted.as_bytes());
        state.authenticated |= fits;
        let error = match fits {
            true => "",
            false => "Invalid authentication token",
        };
        state.reply(seq, error);
    }

    fn change_queue(&mut self, session: SessionId, seq: u64, change: QueueChange) {
        let kind = match &change {
            QueueChange::Drop(_) => Kind::Drop,
            QueueChange::Pause { .. } => Kind::Plain,
        };
        let request = self.begin(session, seq, kind);
        self.actions.push_back(Action::Queue { request, change });
    }

    /// Refuses a request of a client that is restricted to read-only commands.
    fn deny(&mut self, session: SessionId, seq: u64, request: &Request) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let command = match request {
            Request::Stream { .. } => "stream of more than member events",
            other => other.command(),
        };
        log::warn!(target: "agent.ipc", "Permission denied: {command}: {}", state.peer);
        let group = match &self.config.control_group {
            Some(group) => format!(", the agent's user and the group '{group}'"),
            None => " and the agent's user".to_owned(),
        };
        state.reply(
            seq,
            &format!("Permission denied: {command} is for root{group} only"),
        );
    }

    fn fire(
        &mut self,
        session: SessionId,
        seq: u64,
        is_own: bool,
        (name, payload, coalesce): (Vec<u8>, Option<Vec<u8>>, bool),
    ) {
        let content = payload.as_deref().unwrap_or_default();
        log::debug!(
            target: "agent",
            "Requesting user event send: {}. Coalesced: {coalesce}. Payload: {}",
            Escaped(&name),
            go::quote(content)
        );
        let kind = match is_own {
            true => Kind::Event {
                hash: event_hash(&name, content),
            },
            false => Kind::Plain,
        };
        let command = Command::UserEvent {
            name,
            payload,
            coalesce,
        };
        self.start(session, seq, kind, command);
    }

    fn change_key(&mut self, session: SessionId, seq: u64, key: &[u8], (what, command): KeyChange) {
        log::info!(target: "agent", "Initiating {what}");
        let kind = Kind::Keys { is_list: false };
        match decode_key(&String::from_utf8_lossy(key)) {
            Ok(key) => self.start(session, seq, kind, command(RawKey(key))),
            Err(why) => {
                if let Some(state) = self.sessions.get_mut(&session) {
                    state.reply_with(seq, &why, |writer| {
                        cluster::write_keys(writer, &KeyReport::default(), false);
                    });
                }
            }
        }
    }

    fn join(&mut self, session: SessionId, seq: u64, existing: &[Vec<u8>], replay: bool) {
        let request = self.begin(session, seq, Kind::Join);
        self.actions.push_back(Action::Join {
            request,
            addresses: existing
                .iter()
                .map(|address| Escaped(address).to_string())
                .collect(),
            replay,
        });
    }

    fn query(&mut self, session: SessionId, seq: u64, query: request::Query) {
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        if state.asked.len() >= QUERIES_MAX {
            return state.reply(seq, "Too many queries at a time");
        }
        log::debug!(
            target: "agent",
            "Requesting query send: {}. Payload: {}",
            Escaped(&query.name),
            go::quote(query.payload.as_deref().unwrap_or_default())
        );
        let timeout = match query.timeout_nanos {
            0 => None,
            nanos => Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))),
        };
        let command = Command::Query(QueryParams {
            name: query.name,
            payload: query.payload,
            filter_nodes: query.filter_nodes,
            filter_tags: query.filter_tags.into_iter().collect(),
            request_ack: query.request_ack,
            relay_factor: query.relay_factor,
            timeout,
        });
        self.start(session, seq, Kind::Query, command);
    }

    /// Passes a command to the core; the session waits for its result.
    fn start(&mut self, session: SessionId, seq: u64, kind: Kind, command: Command) {
        let request = self.begin(session, seq, kind);
        self.actions.push_back(Action::Run { request, command });
    }

    fn begin(&mut self, session: SessionId, seq: u64, kind: Kind) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        let running = Running {
            session: Some(session),
            seq,
            kind,
        };
        self.running.insert(request, running);
        if kind == Kind::Query {
            self.queries.insert(request, (session, seq));
        }
        if let Some(state) = self.sessions.get_mut(&session) {
            state.busy = Some(request);
            if kind == Kind::Query {
                state.asked.insert(request);
            }
        }
        request
    }
}
