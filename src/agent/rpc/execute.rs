//! What each request sets off (agent spec 2.4).

use super::answers::{self, MemberFilter};
use super::{Action, Kind, QueueChange, RequestId, RpcServer, Running, SessionId, TagChange, View};
use crate::agent::files::key::decode_key;
use crate::go;
use crate::rpc::{Request, VERSION, cluster, handlers, queue, reply, request};
use crate::serf::{Command, KeyReport, QueryParams, RawKey, event_hash};
use crate::time::Duration;
use crate::wire::name::Escaped;

/// Queries of one session that are not over.
const QUERIES_MAX: usize = 256;

impl RpcServer {
    pub(super) fn execute(
        &mut self,
        session: SessionId,
        seq: u64,
        request: Request,
        view: &View<'_>,
    ) {
        let auth_key = self.auth_key().unwrap_or_default().to_owned();
        let Some(state) = self.sessions.get_mut(&session) else {
            return;
        };
        let with_scripts = state.may_control();
        match request {
            Request::Handshake { version } => {
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
            Request::Auth { key } => {
                let needed = state.peer.needs_key();
                let fits = !needed || answers::same_key(&key, auth_key.as_bytes());
                state.authenticated |= fits;
                let error = if fits {
                    ""
                } else {
                    "Invalid authentication token"
                };
                state.reply(seq, error);
            }
            _ if !state.authenticated => state.reply(seq, "Authentication required"),
            _ if !state.peer.may(&request) => self.deny(session, seq, &request),
            Request::Members => state.reply_with(seq, "", |writer| {
                reply::write_members(writer, &view.serf.members().collect::<Vec<_>>());
            }),
            Request::MembersFiltered { tags, status, name } => {
                let (error, members) = match MemberFilter::new(&tags, &status, &name) {
                    Ok(filter) => {
                        let all = view.serf.members();
                        (String::new(), all.filter(|m| filter.matches(m)).collect())
                    }
                    Err(why) => (why, Vec::new()),
                };
                state.reply_with(seq, &error, |writer| reply::write_members(writer, &members));
            }
            Request::Stats => state.reply_with(seq, "", |writer| {
                reply::write_stats(writer, &answers::stats(view, self.dropped, with_scripts));
            }),
            Request::Stream { filter } => state.subscribe(seq, &filter, false),
            Request::OwnStream { filter } => state.subscribe(seq, &filter, true),
            Request::Monitor { level } => {
                let error = state.watch(seq, &level, view.logger);
                state.reply(seq, error.as_ref().err().map_or("", String::as_str));
                if error.is_ok() {
                    self.monitors.insert(session);
                    self.watch_changed = true;
                }
            }
            Request::Stop { seq: stopped } => {
                state.unsubscribe(stopped);
                state.reply(seq, "");
                self.watch_changed = true;
            }
            Request::Respond { id, payload } => match state.answerable(id, view.now) {
                None => state.reply(seq, "No pending queries matching ID"),
                Some(query) => {
                    let command = Command::Respond {
                        ltime: query.ltime,
                        id: query.id,
                        payload: payload.unwrap_or_default(),
                    };
                    self.start(session, seq, Kind::Plain, command);
                }
            },
            Request::Event {
                name,
                payload,
                coalesce,
            } => self.fire(session, seq, Kind::Plain, (name, payload, coalesce)),
            Request::OwnEvent {
                name,
                payload,
                coalesce,
            } => {
                let hash = event_hash(&name, payload.as_deref().unwrap_or_default());
                let kind = Kind::Event { hash };
                self.fire(session, seq, kind, (name, payload, coalesce));
            }
            Request::ForceLeave { node, prune } => {
                self.start(
                    session,
                    seq,
                    Kind::Plain,
                    Command::ForceLeave { node, prune },
                );
            }
            Request::Join { existing, replay } => self.join(session, seq, &existing, replay),
            Request::Tags { set, delete } => {
                let request = self.begin(session, seq, Kind::Plain);
                let change = TagChange { set, delete };
                self.actions.push_back(Action::Tags { request, change });
            }
            Request::Leave => self.start(session, seq, Kind::Leave, Command::Leave),
            Request::Query(query) => self.query(session, seq, query),
            Request::InstallKey { key } => {
                log::info!(target: "agent", "Initiating key installation");
                self.change_key(session, seq, &key, Command::InstallKey);
            }
            Request::UseKey { key } => {
                log::info!(target: "agent", "Initiating primary key change");
                self.change_key(session, seq, &key, Command::UseKey);
            }
            Request::RemoveKey { key } => {
                log::info!(target: "agent", "Initiating key removal");
                self.change_key(session, seq, &key, Command::RemoveKey);
            }
            Request::ListKeys => {
                log::info!(target: "agent", "Initiating key listing");
                self.start(
                    session,
                    seq,
                    Kind::Keys { is_list: true },
                    Command::ListKeys,
                );
            }
            Request::Coordinate { node } => state.reply_with(seq, "", |writer| {
                cluster::write_coordinate(writer, view.serf.coordinate(&node));
            }),
            Request::Handlers => state.reply_with(seq, "", |writer| {
                handlers::write_handlers(writer, &answers::handler_list(view));
            }),
            Request::HandlerQueue => state.reply_with(seq, "", |writer| {
                let (entries, more) = answers::queue(view);
                queue::write_queue(writer, &entries, more);
            }),
            Request::DropQueue { target } => {
                let request = self.begin(session, seq, Kind::Drop);
                let change = QueueChange::Drop(target);
                self.actions.push_back(Action::Queue { request, change });
            }
            Request::PauseHandler { name, is_paused } => {
                let request = self.begin(session, seq, Kind::Plain);
                let change = QueueChange::Pause { name, is_paused };
                self.actions.push_back(Action::Queue { request, change });
            }
        }
    }

    /// The command of a client that may only look.
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
        kind: Kind,
        (name, payload, coalesce): (Vec<u8>, Option<Vec<u8>>, bool),
    ) {
        log::debug!(
            target: "agent",
            "Requesting user event send: {}. Coalesced: {coalesce}. Payload: {}",
            Escaped(&name),
            go::quote(payload.as_deref().unwrap_or_default())
        );
        let command = Command::UserEvent {
            name,
            payload,
            coalesce,
        };
        self.start(session, seq, kind, command);
    }

    fn change_key(
        &mut self,
        session: SessionId,
        seq: u64,
        key: &[u8],
        command: impl FnOnce(RawKey) -> Command,
    ) {
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

    /// Hands a command to the core; the session waits for its end.
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
