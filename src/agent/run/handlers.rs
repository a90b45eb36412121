//! Which handler runs next, and what becomes of its answer.

use super::{Agent, Waiting};
use crate::handler::Local;
use crate::serf::{Input, Member, MemberStatus, Serf};

impl Agent {
    /// Takes the end of a handler and starts the next one.
    pub(super) fn step_handlers(&mut self) -> bool {
        let mut busy = false;
        if let Some(outcome) = self.runner.poll_outcome() {
            busy = true;
            self.telemetry.handler_ended(outcome.duration, &self.clock);
            if let Some(answer) = self.handlers.handle_outcome(outcome) {
                let waiting = Waiting::Answer(answer.query, answer.output_bytes);
                self.run_own(waiting, answer.command);
            }
        }
        let at = self.clock.moment();
        if self.start_sync.poll(|| has_peers(&self.serf), at.now) {
            self.handlers.sync_all();
        }
        if self.runner.is_running() || !self.may_begin_run() {
            return busy;
        }
        let local = Local {
            name: self.serf.local_name(),
            tags: self.serf.tags(),
            members: &|| self.serf.members().cloned().collect(),
        };
        if let Some(invocation) = self.handlers.poll_invocation(local, at) {
            busy = true;
            self.telemetry.handler_starts(&invocation.script);
            // That it begins is written before it does: it may be the end of this process.
            self.flush_journal();
            self.runner.start(invocation, self.poll.registry(), at.now);
            self.record_process();
        } else if let Some(journal) = &mut self.journal {
            busy |= journal.read_for(&mut self.handlers);
        }
        while let Some((ltime, id)) = self.handlers.poll_handled_query() {
            self.serf
                .handle_input(Input::QueryHandled { ltime, id }, at.now);
        }
        busy
    }

    /// Tells the core for which queries there are handlers.
    pub(super) fn announce_query_handlers(&mut self) {
        let input = Input::QueryHandlers(self.handlers.query_handlers());
        self.serf.handle_input(input, self.clock.now());
    }
}

/// Whether others are members of the cluster.
fn has_peers(serf: &Serf) -> bool {
    let is_peer = |m: &Member| m.status == MemberStatus::Alive && m.name != *serf.local_name();
    serf.members().any(is_peer)
}
