//! Dispatches the core's outputs.

use super::{Agent, STEPS_A_ROUND, Waiting};
use crate::handler::outcome::Answer;
use crate::rpc::details::Details;
use crate::serf::{CommandId, CommandResult, Event, MemberEventKind, Output, QueryRecord};

impl Agent {
    pub(super) fn drain_core(&mut self) -> bool {
        for step in 0..STEPS_A_ROUND {
            let Some(output) = self.serf.poll_output() else {
                return step > 0;
            };
            self.handle_output(output);
        }
        true
    }

    fn handle_output(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => {
                let now = self.clock.now();
                self.gossip.transmit(transmit, self.poll.registry(), now);
            }
            Output::MemberChanged { name, kind } => match kind {
                Some(kind) => self.handlers.note_member(&name, kind, self.clock.now()),
                None => self.handlers.note_unchanged(&name),
            },
            Output::Accepted(event) => {
                self.look_for_handlers();
                self.handlers.take_in(&event, self.clock.moment());
            }
            Output::Event(event) => self.handle_event(event),
            Output::CommandEnded { id, result } => self.command_ended(id, result),
            Output::QueryRecord { id, record } => {
                let is_last = record == QueryRecord::Done;
                if let Some(request) = self.waits.asker(id) {
                    self.server.query_record(request, record);
                }
                if is_last {
                    self.waits.records_ended(id);
                }
            }
            Output::Snapshot(line) => {
                if let Some(snapshot) = &mut self.snapshot {
                    snapshot.record(&line);
                }
            }
            Output::KeyringChanged { change, keys } => self.saving.keyring_changed(change, keys),
            Output::Stop => self.name_lost(),
        }
    }

    /// Passes an event to RPC streams at once, and to the handler queue.
    fn handle_event(&mut self, event: Event) {
        self.look_for_handlers();
        let at = self.clock.moment();
        let details = self.server.wants_details().then(|| Details {
            id: self.handlers.next_id(&event, at),
            taken_micros: self.handlers.taken_micros(&event, at),
            local: (self.serf.local_name().as_bytes(), self.serf.tags()),
            deadline_micros: match &event {
                Event::Query(query) => at.unix_micros_of(query.deadline),
                _ => 0,
            },
        });
        self.server.event(&event, details.as_ref());
        if let Event::Member(change) = &event {
            self.own_leave_seen |= change.kind == MemberEventKind::Leave
                && change
                    .members
                    .iter()
                    .any(|m| m.name == *self.serf.local_name());
        }
        self.handlers.push(event, at);
    }

    fn command_ended(&mut self, id: CommandId, result: CommandResult) {
        let Some(waiting) = self.waits.ended(id) else {
            return;
        };
        match (waiting, result) {
            (Waiting::Rpc(request), result) => {
                let is_sent = matches!(result, CommandResult::Queried { .. });
                self.server.command_ended(request, result);
                if is_sent && self.server.awaits_records(request) {
                    self.waits.await_records(id, request);
                }
            }
            (Waiting::Join(join), result) => self.join_ended(join, &result),
            (Waiting::Answer(query, output_bytes), CommandResult::Failed(why)) => {
                Answer::warn_refused(&query, output_bytes, &why);
            }
            (Waiting::Tags, CommandResult::Failed(why)) => {
                self.logger
                    .print(&format!("==> Failed to update tags: {why}"));
            }
            (Waiting::Leave, result) => self.leave_ended(&result),
            (Waiting::Answer(..) | Waiting::Tags, _) => {}
            (Waiting::Records(_), _) => debug_assert!(false, "a query ends twice"),
        }
    }

    /// Writes the core's snapshot lines before handlers run, so that an event that a handler has seen is not
    /// delivered again after a crash.
    pub(super) fn flush_snapshot(&mut self) {
        if self.is_journal_behind() {
            return;
        }
        if let Some(snapshot) = &mut self.snapshot {
            let start = self.clock.now();
            if snapshot.flush(start) {
                let took = self.clock.now().since(start);
                self.telemetry.snapshot_written(took, &self.clock);
            }
        }
    }
}
