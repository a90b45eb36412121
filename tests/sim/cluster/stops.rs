//! Processes that are killed, stopped and continued.

use super::{NodeId, Sim};
use crate::history::{Depths, Stop, What};
use crate::network::Piece;

impl Sim {
    /// Kills the process; its kernel resets its connections. If the whole host goes down, the peers get no
    /// reset.
    pub fn crash(&mut self, id: NodeId, host_too: bool) {
        if host_too {
            self.nodes[id].host_up = false;
        }
        self.stop(id, Stop::Crashed);
    }

    pub(super) fn stop(&mut self, id: NodeId, why: Stop) {
        let node = &mut self.nodes[id];
        if node.serf.take().is_none() {
            return;
        }
        node.stopped = Some(why);
        node.stopping = None;
        node.paused = false;
        node.busy_until = self.now;
        node.has_turn = false;
        node.wake = None;
        node.inbox.clear();
        node.known.clear();
        node.statuses.clear();
        node.deepest = Depths::default();
        node.next_inbound = 0;
        node.called = false;
        node.calling.clear();
        if let Some(twisted) = self.twisted.get_mut(&id) {
            twisted.forget();
        }
        let streams = std::mem::take(&mut node.streams);
        let host_up = node.host_up;
        self.record(id, What::Stopped(why));
        for (connection, side) in streams.into_values() {
            let Some(found) = self.network.connections.get_mut(&connection) else {
                continue;
            };
            let was_open = std::mem::take(&mut found.ends[side].open);
            if !host_up {
                found.lanes[side].pieces.clear();
            } else if was_open {
                self.send_piece(connection, side, Piece::Reset);
            }
            self.network.forget_if_over(connection);
        }
    }

    /// Stops the process, as SIGSTOP does: arriving data waits in the kernel.
    pub fn pause(&mut self, id: NodeId) {
        if self.nodes[id].serf.is_some() && !self.nodes[id].paused {
            self.nodes[id].paused = true;
            self.record(id, What::Paused);
        }
    }

    /// Continues the process, as SIGCONT does.
    pub fn resume(&mut self, id: NodeId) {
        if !std::mem::take(&mut self.nodes[id].paused) {
            return;
        }
        self.nodes[id].resumed_at = self.now;
        self.record(id, What::Resumed);
        if !self.nodes[id].turn_time.is_zero() {
            return self.schedule_turn(id);
        }
        // The first turn of the loop reads all waiting data before anything else. The checkers see each step:
        // a member may leave, turn up elsewhere and return in one turn (seed 3541).
        while let Some(input) = self.nodes[id].inbox.pop_front() {
            self.give(id, input);
            if self.observing {
                self.observe(id, false);
            }
        }
        self.after_input(id);
    }
}
