//! Join commands, which contact one address after the other (gossip spec 4.12, 5.12).

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::ordered::OrderedSet;
use crate::serf::{CommandId, CommandResult, JoinTarget, Serf, State};
use crate::swim::JoinId;
use crate::time::Instant;

/// Error text of joins after a leave.
const LEFT: &str = "Serf can't Join after Leave or Shutdown";

/// A running join command.
#[derive(Debug)]
pub(in crate::serf) struct Join {
    command: CommandId,
    /// The running exchange.
    current: JoinId,
    target: JoinTarget,
    /// The remaining targets.
    rest: VecDeque<JoinTarget>,
    contacted: usize,
    failures: Vec<(JoinTarget, String)>,
    ignore_old_events: bool,
    /// Addresses of the targets that were already members when the join began.
    members: OrderedSet<SocketAddr>,
    announce: bool,
}

impl Join {
    /// Whether the running exchange ignores the user events from before it.
    pub(in crate::serf) fn ignores_old_events(&self) -> bool {
        self.ignore_old_events && !self.members.contains(&self.target.addr)
    }
}

impl Serf {
    pub(in crate::serf) fn start_join(
        &mut self,
        command: CommandId,
        targets: Vec<JoinTarget>,
        ignore_old_events: bool,
        announce: bool,
        now: Instant,
    ) {
        if self.state != State::Alive {
            self.end_command(command, CommandResult::Failed(LEFT.to_owned()));
            return;
        }
        let members = self.members_among(&targets);
        let mut rest = VecDeque::from(targets);
        let Some(target) = rest.pop_front() else {
            let (contacted, failures) = (0, Vec::new());
            let result = CommandResult::Joined {
                contacted,
                failures,
            };
            self.end_command(command, result);
            return;
        };
        let current = self.swim.join(target.addr, now);
        self.joins.push(Join {
            command,
            current,
            target,
            rest,
            contacted: 0,
            failures: Vec::new(),
            ignore_old_events,
            members,
            announce,
        });
    }

    /// Returns the addresses among `targets` that belong to known members. User events that this node has not
    /// received from them were missed, so it does not ignore them.
    ///
    /// Empty before this node is a member itself. Until then it may know nodes through gossip from others
    /// that take it for its earlier run, but their events from before its join are not for it.
    fn members_among(&self, targets: &[JoinTarget]) -> OrderedSet<SocketAddr> {
        if !self.is_member {
            return OrderedSet::new();
        }
        let restored = &self.restored_addrs;
        let is_member = |addr: &SocketAddr| {
            let mut members = self.members.iter().map(|record| &record.member);
            restored.contains(addr) || members.any(|member| member.addr == *addr)
        };
        let addrs = targets.iter().map(|target| target.addr);
        addrs.filter(is_member).collect()
    }

    /// Handles the end of the exchange with one address.
    pub(in crate::serf) fn handle_join_ended(
        &mut self,
        ended: JoinId,
        result: Result<(), String>,
        now: Instant,
    ) {
        if self.reconnect.join == Some(ended) {
            self.handle_reconnect_ended(result);
            return;
        }
        if self.rejoin.as_ref().is_some_and(|r| r.is_current(ended)) {
            self.handle_rejoin_ended(result, now);
            return;
        }
        let Some(position) = self.joins.iter().position(|join| join.current == ended) else {
            return;
        };
        let mut join = self.joins.swap_remove(position);
        match result {
            Ok(()) => join.contacted += 1,
            Err(why) => join.failures.push((join.target.clone(), why)),
        }
        if self.state != State::Alive {
            let skipped = join.rest.drain(..).map(|target| (target, LEFT.to_owned()));
            join.failures.extend(skipped);
        }
        if let Some(target) = join.rest.pop_front() {
            join.current = self.swim.join(target.addr, now);
            join.target = target;
            self.joins.push(join);
            return;
        }
        if join.contacted > 0 && join.announce && self.state == State::Alive {
            self.broadcast_join(now);
        }
        let result = CommandResult::Joined {
            contacted: join.contacted,
            failures: join.failures,
        };
        self.end_command(join.command, result);
    }

    pub(in crate::serf) fn join_ignores_old_events(&self, id: JoinId) -> bool {
        let of_command = |join: &&Join| join.current == id;
        self.joins
            .iter()
            .find(of_command)
            .is_some_and(Join::ignores_old_events)
    }
}
