//! Performs the actions that RPC clients request.

use super::waiting::Waiting;
use super::{Agent, STEPS_A_ROUND};
use crate::agent::rpc::{Action, QueueChange, RequestId, View};
use crate::count::Count;
use crate::ordered::OrderedSet;
use crate::serf::{Command, Input};

impl Agent {
    pub(super) fn drain_clients(&mut self) -> bool {
        for step in 0..STEPS_A_ROUND {
            let at = self.clock.moment();
            let view = View {
                now: at.now,
                unix_micros: at.unix_micros,
                serf: &self.serf,
                handlers: &self.handlers,
                logger: &self.logger,
                lost: self.gossip.lost(),
            };
            let Some(action) = self.server.poll_action(&view) else {
                return step > 0;
            };
            self.handle_action(action);
        }
        true
    }

    fn handle_action(&mut self, action: Action) {
        match action {
            // All output is written at the end of the turn.
            Action::Flush(_) => {}
            Action::Read(session) => self.clients.read_again(session),
            Action::Close(session) => self.clients.close(session, self.clock.now()),
            Action::Run { request, command } => self.run_for_client(request, command),
            Action::Forget(requests) => self.forget_queries(&requests),
            Action::Tags { request, change } => self.saving.tags_wanted(request, change),
            Action::Join {
                request,
                addresses,
                replay,
            } => self.join_for_client(request, addresses, replay),
            Action::ListHandlers { request } => {
                self.look_for_handlers();
                self.server.list_handlers(request, &self.handlers);
            }
            Action::Queue { request, change } => {
                self.look_for_handlers();
                let result = change.apply(&mut self.handlers);
                if let (Ok(count), QueueChange::Drop(_)) = (&result, &change) {
                    log::warn!(target: "agent", "Dropped {} from the queue on request", Count(*count as u64, "event"));
                }
                self.server.queue_changed(request, result);
            }
            Action::RunHandlers { request, runs } => {
                self.look_for_handlers();
                let at = self.clock.moment();
                self.server
                    .run_handlers(request, runs, &mut self.handlers, at);
            }
            Action::Shutdown => self.left_by_client(),
        }
    }

    pub(super) fn run_for_client(&mut self, request: RequestId, command: Command) {
        if command == Command::Leave {
            log::info!(target: "agent", "requesting graceful leave from Serf");
            self.retry_join = None;
        }
        self.run_own(Waiting::Rpc(request), command);
    }

    fn forget_queries(&mut self, requests: &OrderedSet<RequestId>) {
        let now = self.clock.now();
        for query in self.waits.forget(requests) {
            let (id, command) = (self.waits.new_id(), Command::ForgetQuery(query));
            self.serf.handle_input(Input::Command { id, command }, now);
        }
    }
}
