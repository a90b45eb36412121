//! Watches: exchanges with nodes of the reference while datagrams are being lost.
//!
//! What a cottar node has, its digests show. A node of the reference shows nothing: if all datagrams with an
//! event of its own are lost, only its state has the event. There is no gap either if another node has sent
//! an event with the same time, as is likely while events are frequent.
//!
//! So while events arrive and datagrams are being lost, each node of the reference is watched by one cottar
//! node, which exchanges states with it, and with the others that it watches, in turn. Limits are those of
//! all exchanges for repair.

use super::exchanges::{Cause, EXCHANGE_INTERVAL};
use crate::serf::Serf;
use crate::time::Instant;

impl Serf {
    /// Exchanges states with the next watched node, if datagrams are being lost and the limits permit it.
    /// The next event starts the watches again if there is no reason for them now.
    pub(super) fn watch_for_losses(&mut self, now: Instant) {
        self.repair.next_watch = None;
        let pace = self.repair.pace;
        let is_recent = |lost: Instant| now.since(lost) <= pace.loss_memory;
        let is_lossy = self.swim.last_lost_datagram().is_some_and(is_recent);
        let is_over = self.repair.events_until().is_none_or(|until| until < now);
        if is_over || !is_lossy || !self.join_hold.is_settled() {
            return;
        }
        let own = self.local_name();
        let members = self.swim.live_names().filter(|name| *name != own);
        let last = self.repair.last_watched.as_ref();
        let Some(node) = self.repair.peers.watched(members, own, last).cloned() else {
            return;
        };
        self.repair.next_watch = Some(match self.repair.exchanges.free_from(now) {
            Some(due) if due <= now => {
                self.start_repair_exchange(&node, Cause::Loss, now);
                self.repair.last_watched = Some(node);
                now + self.swim.scaled_interval(EXCHANGE_INTERVAL)
            }
            Some(due) => due,
            None => now + pace.ping,
        });
    }
}
