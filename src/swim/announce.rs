//! Announcements of the local node: alive with its meta, graceful leave (gossip spec 4.13, 4.14).

use std::sync::Arc;

use super::broadcast::Ticket;
use super::table::NodeId;
use super::{Output, Swim};
use crate::time::{Duration, Instant};
use crate::wire::{Alive, Dead, Message};

/// State of the announcements whose completion is reported.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    leaving: bool,
    /// Deadline of the leave, while it is running.
    leave: Option<Instant>,
    /// Number and deadline of each running meta update.
    metas: Vec<(u64, Instant)>,
    next_meta: u64,
}

impl Announcements {
    /// Whether this node has announced that it leaves.
    pub(super) fn leaving(&self) -> bool {
        self.leaving
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let metas = self.metas.iter().map(|&(_, deadline)| deadline);
        self.leave.into_iter().chain(metas).min()
    }
}

/// Whether a dead message announces a graceful leave: the node declares itself dead.
pub(super) fn is_leave(dead: &Dead) -> bool {
    dead.from.as_ref() == Some(&dead.node)
}

impl Swim {
    /// Returns an alive message about the local node.
    pub(super) fn own_alive(&self) -> Message {
        let local = self.table.local();
        Message::Alive(Alive {
            incarnation: local.incarnation,
            node: local.name.clone(),
            addr: local.addr,
            meta: Some(local.meta.clone()),
            versions: local.versions,
        })
    }

    /// Queues an alive message about the local node.
    pub(super) fn announce(&mut self, ticket: Option<Ticket>, now: Instant) {
        let subject = self.local().name.clone();
        self.queue_membership(subject, &self.own_alive(), ticket, now);
    }

    pub(super) fn announce_meta(&mut self, meta: Arc<[u8]>, timeout: Duration, now: Instant) {
        let node = &mut self.table.record_mut(NodeId::LOCAL).node;
        let changed = node.meta != meta;
        Arc::make_mut(&mut node.announced).meta = meta;
        if self.announcements.leaving {
            // An alive message would revoke the leave.
            self.outputs
                .push_back(Output::MetaUpdated { in_time: true });
            return;
        }
        node.incarnation = node.incarnation.saturating_add(1);
        if changed {
            self.outputs.push_back(Output::Updated(node.clone()));
        }
        let number = self.announcements.next_meta;
        self.announcements.next_meta += 1;
        self.announce(Some(Ticket::Meta(number)), now);
        if self.table.live_others() > 0 {
            self.announcements.metas.push((number, now + timeout));
        } else {
            self.outputs
                .push_back(Output::MetaUpdated { in_time: true });
        }
    }

    pub(super) fn announce_leave(&mut self, timeout: Duration, now: Instant) {
        if self.announcements.leaving {
            if self.announcements.leave.is_none() {
                self.outputs.push_back(Output::LeaveEnded { in_time: true });
            }
            return;
        }
        self.announcements.leaving = true;
        let local = self.table.local();
        let message = Dead {
            incarnation: local.incarnation,
            node: local.name.clone(),
            from: Some(local.name.clone()),
        };
        self.handle_dead(message, now);
        if self.table.live_others() > 0 {
            self.announcements.leave = Some(now + timeout);
        } else {
            self.outputs.push_back(Output::LeaveEnded { in_time: true });
        }
    }

    /// Reports the end of a broadcast that has a ticket.
    pub(super) fn finish(&mut self, ticket: Ticket) {
        match ticket {
            Ticket::User(id) => self.outputs.push_back(Output::BroadcastFinished(id)),
            Ticket::Leave => {
                if self.announcements.leave.take().is_some() {
                    self.outputs.push_back(Output::LeaveEnded { in_time: true });
                }
            }
            Ticket::Meta(number) => {
                let metas = &mut self.announcements.metas;
                if let Some(index) = metas.iter().position(|&(waiting, _)| waiting == number) {
                    metas.remove(index);
                    self.outputs
                        .push_back(Output::MetaUpdated { in_time: true });
                }
            }
        }
    }

    pub(super) fn expire_announcements(&mut self, now: Instant) {
        if self
            .announcements
            .leave
            .is_some_and(|deadline| deadline <= now)
        {
            self.announcements.leave = None;
            log::warn!(target: "memberlist", "Timeout waiting for the leave broadcast");
            self.outputs
                .push_back(Output::LeaveEnded { in_time: false });
        }
        let waiting = self.announcements.metas.len();
        self.announcements
            .metas
            .retain(|&(_, deadline)| deadline > now);
        for _ in self.announcements.metas.len()..waiting {
            log::warn!(target: "memberlist", "Timeout waiting for the update broadcast");
            self.outputs
                .push_back(Output::MetaUpdated { in_time: false });
        }
    }
}
