//! Commands to the nodes.

use std::net::SocketAddr;

use cottar::serf::{Command, CommandId, JoinTarget, QueryParams, Tags};
use cottar::time::Instant;

use super::{Incoming, NodeId, Sim};

/// The kind of a pending command.
pub(super) enum Asked {
    Join {
        retry: Option<Command>,
        targets: Vec<SocketAddr>,
        ignore_old: bool,
        at: Instant,
    },
    Leave,
    UserEvent {
        name: Vec<u8>,
        payload: Vec<u8>,
    },
    Query {
        acks: Vec<NodeId>,
    },
    Respond(cottar::serf::Query),
    Other,
}

impl Sim {
    /// Gives a node a command; its end is found in [`Self::results`].
    pub fn command(&mut self, id: NodeId, command: Command) -> CommandId {
        let asked = match &command {
            Command::Join { .. } => self.asked_join(&command, false),
            Command::Leave => Asked::Leave,
            Command::UserEvent { name, payload, .. } => Asked::UserEvent {
                name: name.clone(),
                payload: payload.clone().unwrap_or_default(),
            },
            Command::Query(params) => Asked::Query {
                acks: self.who_acks(params),
            },
            _ => Asked::Other,
        };
        self.command_as(id, command, asked)
    }

    pub(super) fn command_as(&mut self, id: NodeId, command: Command, asked: Asked) -> CommandId {
        let command_id = CommandId(self.next_command);
        self.next_command += 1;
        self.asked.insert(command_id, asked);
        let input = Incoming::Command {
            id: command_id,
            command,
        };
        self.feed(id, input);
        command_id
    }

    /// Joins other hosts' nodes; with `retry` until one of them answered.
    pub fn join(
        &mut self,
        id: NodeId,
        others: &[NodeId],
        ignore_old: bool,
        retry: bool,
    ) -> CommandId {
        // Like the agent's `-retry-join`, and unlike the reference's.
        let goes_on =
            retry && self.is_up(id) && self.serf(id).continues() && !self.is_reference(id);
        let ignore_old = ignore_old && !goes_on;
        let targets = others.iter().map(|&other| JoinTarget {
            name: None,
            addr: self.nodes[other].spec.config.addr,
        });
        let command = Command::Join {
            targets: targets.collect(),
            ignore_old_events: ignore_old,
            announce: true,
        };
        if retry {
            self.nodes[id].calling.extend(others);
        }
        let asked = self.asked_join(&command, retry);
        self.command_as(id, command, asked)
    }

    pub(super) fn asked_join(&self, command: &Command, retry: bool) -> Asked {
        let Command::Join {
            targets,
            ignore_old_events,
            ..
        } = command
        else {
            return Asked::Other;
        };
        Asked::Join {
            retry: retry.then(|| command.clone()),
            targets: targets.iter().map(|target| target.addr).collect(),
            ignore_old: *ignore_old_events,
            at: self.now,
        }
    }

    pub fn user_event(&mut self, id: NodeId, name: &str, payload: &str) -> CommandId {
        self.command(
            id,
            Command::UserEvent {
                name: name.into(),
                payload: Some(payload.into()),
                coalesce: false,
            },
        )
    }

    pub fn query(&mut self, id: NodeId, params: QueryParams) -> CommandId {
        self.command(id, Command::Query(params))
    }

    pub fn set_tag(&mut self, id: NodeId, key: &str, value: &str) -> CommandId {
        let mut tags = self.nodes[id].spec.config.tags.clone();
        tags.set(key.as_bytes(), value.as_bytes());
        self.set_tags(id, tags)
    }

    fn set_tags(&mut self, id: NodeId, tags: Tags) -> CommandId {
        self.nodes[id].spec.config.tags = tags.clone();
        self.command(id, Command::SetTags(tags))
    }
}
