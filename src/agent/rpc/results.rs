//! Sends results of requests to the clients that wait for them.

use super::answers;
use super::session::Ending;
use super::{Action, Kind, RequestId, RpcServer};
use crate::agent::net::targets::join_failure;
use crate::go;
use crate::handler::HandlerQueue;
use crate::rpc::{cluster, queue, reply};
use crate::serf::{CommandResult, JoinTarget, KeyReport, QueryRecord};
use crate::wire::msgpack::Writer;

impl RpcServer {
    /// Takes the result of a command of [`Action::Run`].
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
        // A query that failed to be sent has no records.
        self.forget_query(request);
    }

    /// Returns whether a client still wants records of a query.
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

    /// Takes the result of [`Action::Join`]: nodes contacted, and failures as complete sentences, such as
    /// `Failed to resolve nohost: no such host`.
    pub fn join_ended(&mut self, request: RequestId, contacted: usize, failures: &[String]) {
        let error = match contacted {
            0 if !failures.is_empty() => go::errors_occurred(failures),
            _ => String::new(),
        };
        self.ended(request, &error, |w, _| reply::write_joined(w, contacted));
    }

    /// Replies to [`Action::ListHandlers`].
    pub fn list_handlers(&mut self, request: RequestId, queue: &HandlerQueue) {
        self.ended(request, "", |w, _| answers::write_handlers(w, queue));
    }

    /// Replies to [`Action::Queue`] with the number of dropped runs or the error.
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

    /// Sends the reply to a request, with the body that `body` writes, and lets the session continue with its
    /// next request.
    pub(super) fn ended(
        &mut self,
        request: RequestId,
        error: &str,
        body: impl FnOnce(&mut Writer, Kind),
    ) {
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

    /// Takes a record of a query.
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
}
