//! Maps commands of the core to those that wait for their results.

use std::sync::Arc;

use crate::agent::rpc::RequestId;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::CommandId;

/// Identifies a join in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JoinId(pub(super) u64);

/// Receiver of a command's results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A client that waits for the result.
    Rpc(RequestId),
    /// A client that waits for the records of its query.
    Records(RequestId),
    /// A join that the command is part of.
    Join(JoinId),
    /// The answer of a handler, for a warning if it fails: the query as log lines name it, and the size of
    /// the output.
    Answer(Arc<str>, u64),
    /// The leave that a signal has started.
    Leave,
    /// The tags of a reload.
    Tags,
}

/// All waiting receivers; also assigns command ids.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: OrderedMap<CommandId, Waiting>,
    last: u64,
}

impl Waits {
    /// Returns the id for a new command whose result is ignored.
    pub(super) fn new_id(&mut self) -> CommandId {
        self.last += 1;
        CommandId(self.last)
    }

    /// Returns the id for a new command with a receiver for its result.
    pub(super) fn add(&mut self, waiting: Waiting) -> CommandId {
        let id = self.new_id();
        self.waiting.insert(id, waiting);
        id
    }

    /// Removes and returns the receiver of a command that has ended.
    pub(super) fn ended(&mut self, id: CommandId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    /// Makes a client the receiver of the records of its query, which was sent.
    pub(super) fn await_records(&mut self, id: CommandId, request: RequestId) {
        self.waiting.insert(id, Waiting::Records(request));
    }

    /// Returns the client that receives the records of a query.
    pub(super) fn asker(&self, id: CommandId) -> Option<RequestId> {
        match self.waiting.get(&id) {
            Some(Waiting::Rpc(request) | Waiting::Records(request)) => Some(*request),
            _ => None,
        }
    }

    /// Removes the receiver after the last record of a query.
    pub(super) fn records_ended(&mut self, id: CommandId) {
        if let Some(Waiting::Records(_)) = self.waiting.get(&id) {
            self.waiting.remove(&id);
        }
    }

    /// Removes the receivers of these requests' records; returns the ids of their queries.
    pub(super) fn forget(&mut self, requests: &OrderedSet<RequestId>) -> Vec<CommandId> {
        let mut forgotten = Vec::new();
        self.waiting.retain(|id, waiting| match waiting {
            Waiting::Records(request) if requests.contains(request) => {
                forgotten.push(*id);
                false
            }
            // Its result is still to come.
            Waiting::Rpc(request) if requests.contains(request) => {
                forgotten.push(*id);
                true
            }
            _ => true,
        });
        forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_an_id_and_ends_once() {
        let mut waits = Waits::default();
        let leave = waits.add(Waiting::Leave);
        let (nobody, tags) = (waits.new_id(), waits.add(Waiting::Tags));
        assert!(leave != nobody && nobody != tags && leave != tags);
        assert_eq!(waits.ended(tags), Some(Waiting::Tags));
        assert_eq!(waits.ended(tags), None);
        assert_eq!(waits.ended(nobody), None);
        assert_eq!(waits.ended(leave), Some(Waiting::Leave));
    }

    #[test]
    fn records_go_to_who_asked_until_it_is_gone() {
        let mut waits = Waits::default();
        let requests = [1, 2, 3].map(RequestId);
        let ids = requests.map(|request| waits.add(Waiting::Rpc(request)));
        let leave = waits.add(Waiting::Leave);
        for (id, request) in ids.into_iter().zip(requests).take(2) {
            // Ignored: the query was not sent yet.
            waits.records_ended(id);
            assert_eq!(waits.asker(id), Some(request));
            assert_eq!(waits.ended(id), Some(Waiting::Rpc(request)));
            assert_eq!(waits.asker(id), None);
            waits.await_records(id, request);
            assert_eq!(waits.asker(id), Some(request));
        }
        // The second client disconnects; it has also sent the third query.
        let gone = OrderedSet::from_iter([requests[1], requests[2]]);
        assert_eq!(waits.forget(&gone), [ids[1], ids[2]]);
        assert_eq!(waits.asker(ids[0]), Some(requests[0]));
        assert_eq!(waits.asker(ids[1]), None);
        waits.records_ended(ids[0]);
        assert_eq!(waits.asker(ids[0]), None);
        assert_eq!(waits.ended(ids[2]), Some(Waiting::Rpc(requests[2])));
        assert_eq!(waits.ended(leave), Some(Waiting::Leave));
    }
}
