//! Who waits for which command of the core.

use std::sync::Arc;

use crate::agent::rpc::RequestId;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::serf::CommandId;

/// A join under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JoinId(pub(super) u64);

/// Who waits for a command, and for what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// A client, for its end.
    Rpc(RequestId),
    /// A client, for the records that come back for its query.
    Records(RequestId),
    /// A join, of which it is a part.
    Join(JoinId),
    /// A handler's answer; the query as log lines name it, and the size of the output.
    Answer(Arc<str>, u64),
    /// The leave that a signal asked for.
    Leave,
    /// The tags of a reload.
    Tags,
}

/// All who wait. Commands get their ids here.
#[derive(Debug, Default)]
pub(super) struct Waits {
    waiting: OrderedMap<CommandId, Waiting>,
    last: u64,
}

impl Waits {
    /// The id of a new command, for which nobody waits.
    pub(super) fn new_id(&mut self) -> CommandId {
        self.last += 1;
        CommandId(self.last)
    }

    /// The id of a new command, for which somebody waits.
    pub(super) fn add(&mut self, waiting: Waiting) -> CommandId {
        let id = self.new_id();
        self.waiting.insert(id, waiting);
        id
    }

    /// A command has ended: who waited for it.
    pub(super) fn ended(&mut self, id: CommandId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    /// A client's query was sent; what comes back for it is the client's.
    pub(super) fn await_records(&mut self, id: CommandId, request: RequestId) {
        self.waiting.insert(id, Waiting::Records(request));
    }

    /// Whose query it is for which something came back.
    pub(super) fn asker(&self, id: CommandId) -> Option<RequestId> {
        match self.waiting.get(&id) {
            Some(Waiting::Rpc(request) | Waiting::Records(request)) => Some(*request),
            _ => None,
        }
    }

    /// The last record of a query has come.
    pub(super) fn records_ended(&mut self, id: CommandId) {
        if let Some(Waiting::Records(_)) = self.waiting.get(&id) {
            self.waiting.remove(&id);
        }
    }

    /// The queries of these requests, whose records nobody waits for any more.
    pub(super) fn forget(&mut self, requests: &OrderedSet<RequestId>) -> Vec<CommandId> {
        let mut forgotten = Vec::new();
        self.waiting.retain(|id, waiting| match waiting {
            Waiting::Records(request) if requests.contains(request) => {
                forgotten.push(*id);
                false
            }
            // Its end is still to come.
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
            // Too early to be the last one.
            waits.records_ended(id);
            assert_eq!(waits.asker(id), Some(request));
            assert_eq!(waits.ended(id), Some(Waiting::Rpc(request)));
            assert_eq!(waits.asker(id), None);
            waits.await_records(id, request);
            assert_eq!(waits.asker(id), Some(request));
        }
        // The second client goes, which has asked the third query, too.
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
