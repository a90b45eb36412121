//! Requests of the RPC server to the agent's loop.

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
    /// Returns the tags after the change.
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

/// An operator's change of the handler queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueueChange {
    /// Drops waiting events: those for the handler with that name, the event with that id, or all if empty.
    Drop(Vec<u8>),
    /// Pauses or resumes a handler.
    Pause {
        /// Name of the handler.
        name: Vec<u8>,
        /// Whether to pause it.
        is_paused: bool,
    },
}

impl QueueChange {
    /// Applies the change; returns how many runs were dropped.
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

/// Something that the loop must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write [`super::RpcServer::output`] as far as the socket takes it, and the rest when it is writable
    /// again.
    Flush(SessionId),
    /// Read again from a session that did not want input before; edge-triggered readiness may already have
    /// been consumed.
    Read(SessionId),
    /// Close the connection; the server has removed the session.
    Close(SessionId),
    /// Pass a command to the core.
    Run {
        /// The client's request.
        request: RequestId,
        /// The command.
        command: Command,
    },
    /// Pass [`Command::ForgetQuery`] to the core for these queries: no client waits for their records any
    /// more.
    Forget(OrderedSet<RequestId>),
    /// Change the tags: write them to the tags file, if there is one, then pass [`Command::SetTags`] to the
    /// core.
    Tags {
        /// The client's request.
        request: RequestId,
        /// The change.
        change: TagChange,
    },
    /// Resolve the addresses (agent spec 4.9), pass [`Command::Join`] to the core, log the result like any
    /// join, and report it with [`super::RpcServer::join_ended`].
    Join {
        /// The client's request.
        request: RequestId,
        /// Addresses as written by the client.
        addresses: Vec<String>,
        /// Whether to accept user events from before the join.
        replay: bool,
    },
    /// Check the handler directories for changes, then call [`super::RpcServer::list_handlers`].
    ListHandlers {
        /// The client's request.
        request: RequestId,
    },
    /// Change the handler queue, then call [`super::RpcServer::queue_changed`].
    Queue {
        /// The client's request.
        request: RequestId,
        /// The change.
        change: QueueChange,
    },
    /// Call [`super::RpcServer::run_handlers`].
    RunHandlers {
        /// The client's request.
        request: RequestId,
        /// The requested runs.
        runs: Runs,
    },
    /// End the process with status 0: the node has left, and the client has the reply.
    Shutdown,
}
