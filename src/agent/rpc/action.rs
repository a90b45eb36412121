//! What the loop is asked to do for clients.

use super::{RequestId, SessionId};
use crate::handler::HandlerQueue;
use crate::ordered::OrderedSet;
use crate::rpc::TextMap;
use crate::rpc::request::Runs;
use crate::serf::{Command, Tags};
use crate::wire::name::Escaped;

/// A change of some tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    pub(super) set: TextMap,
    pub(super) delete: Vec<Vec<u8>>,
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
                    format!("no handler has the name '{name}', and no event in memory has this id")
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
    /// Write what [`super::RpcServer::output`] holds, as far as the socket takes it; the rest when it is
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
    /// [`super::RpcServer::join_ended`]. Log it as any join.
    Join {
        /// Whose.
        request: RequestId,
        /// As the client wrote them.
        addresses: Vec<String>,
        /// Take user events from before the join.
        replay: bool,
    },
    /// Look for other handlers, then [`super::RpcServer::list_handlers`].
    ListHandlers {
        /// Whose.
        request: RequestId,
    },
    /// Change the queue of handlers, then [`super::RpcServer::queue_changed`].
    Queue {
        /// Whose.
        request: RequestId,
        /// How.
        change: QueueChange,
    },
    /// Have handlers run: [`super::RpcServer::run_handlers`].
    RunHandlers {
        /// Whose.
        request: RequestId,
        /// Which.
        runs: Runs,
    },
    /// The node has left and the client knows: end the process with status 0.
    Shutdown,
}
