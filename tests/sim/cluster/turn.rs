//! Processes a node's inputs and outputs.

use std::net::SocketAddr;

use cottar::serf::{Command, CommandId, CommandResult, Event, Input, KeyringChange, Output, Serf};
use cottar::time::{Duration, Instant};
use cottar::wire::Key;

use super::{Asked, Happening, Incoming, NodeId, RETRY_JOIN, Sim, WRITE_TIME};
use crate::history::{Stop, What};
use crate::trace;

/// The invariants of a core are checked after this many inputs of the whole cluster, and at the end: a
/// violation seldom repairs itself, and checking takes longer than most inputs. The names in its tables are
/// compared as seldom.
const INVARIANTS_EVERY: u64 = 16;

/// Inputs that wait for a slow node, at most, not counting those that are not datagrams: as many as the socket
/// buffer of a usual Linux holds of small ones, 212,992 bytes with 832 for each.
const WAITING_MAX: usize = 256;

impl Sim {
    pub(super) fn wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        if node.wake != Some(now) {
            return; // replaced by a later one
        }
        node.wake = None;
        if node.paused {
            return;
        }
        if node.busy_until > now {
            return self.schedule_wake(id);
        }
        if node.serf.is_none() {
            return;
        }
        if self.handle_due_timers(id) {
            self.after_input(id);
        } else {
            self.schedule_wake(id);
        }
    }

    /// Lets a node handle its timers if one is due; returns whether one was.
    fn handle_due_timers(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_mut() else {
            return false;
        };
        if serf.poll_timeout().is_none_or(|due| due > now) {
            return false;
        }
        trace::at(now, &node.spec.config.name.to_string());
        serf.handle_input(Input::Timeout, now);
        self.traffic.timeouts += 1;
        let next = serf.poll_timeout();
        assert!(
            next.is_none_or(|next| next > now),
            "{} handled its timeout at {now:?} and wants the next at {next:?}",
            node.spec.config.name
        );
        node.busy_until = now + node.turn_time;
        true
    }

    pub(super) fn schedule_wake(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Some(due) = node.serf.as_ref().and_then(Serf::poll_timeout) else {
            return;
        };
        let due = due.max(now).max(node.busy_until);
        // A wake-up that comes too early computes the time anew; only an earlier one needs a new entry.
        if !node.paused && node.wake.is_none_or(|wake| due < wake) {
            node.wake = Some(due);
            self.schedule(due, 1, Happening::Wake { node: id });
        }
    }

    /// Delivers an input to a node and processes the consequences.
    pub(super) fn feed(&mut self, id: NodeId, incoming: Incoming) {
        let node = &mut self.nodes[id];
        let is_slow = !node.turn_time.is_zero() || !node.inbox.is_empty();
        if !node.paused && !is_slow {
            self.give(id, incoming);
            return self.after_input(id);
        }
        let is_full = is_slow && node.inbox.len() >= WAITING_MAX;
        if !(is_full && matches!(incoming, Incoming::Datagram { .. })) {
            node.inbox.push_back(incoming);
        }
        self.schedule_turn(id);
    }

    /// From now on each input takes a node so long, as if its processor were slow or shared with many. What
    /// arrives meanwhile waits; of datagrams as many as fit into the socket's buffer.
    pub fn slow_down(&mut self, id: NodeId, turn_time: Duration) {
        self.nodes[id].turn_time = turn_time;
    }

    /// Returns the number of inputs that wait for a node.
    pub fn waiting(&self, id: NodeId) -> usize {
        self.nodes[id].inbox.len()
    }

    pub(super) fn schedule_turn(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        if node.paused || node.has_turn || node.inbox.is_empty() {
            return;
        }
        node.has_turn = true;
        let (at, life) = (node.busy_until, node.life);
        self.schedule(at, 0, Happening::Turn { node: id, life });
    }

    /// A turn of the loop of a slow node: the next input, then the timers that are due.
    pub(super) fn take_turn(&mut self, id: NodeId) {
        let now = self.now;
        let node = &mut self.nodes[id];
        node.has_turn = false;
        if node.paused {
            return;
        }
        let Some(input) = node.inbox.pop_front() else {
            return;
        };
        node.busy_until = now + node.turn_time;
        self.give(id, input);
        self.handle_due_timers(id);
        self.after_input(id);
        self.schedule_turn(id);
    }

    /// Passes an input to a node's core.
    pub(super) fn give(&mut self, id: NodeId, incoming: Incoming) {
        let now = self.now;
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_mut() else {
            return;
        };
        self.traffic.inputs += 1;
        trace::at(now, &node.spec.config.name.to_string());
        match incoming {
            Incoming::Datagram { from, bytes } => {
                let bytes = &bytes;
                serf.handle_input(Input::Datagram { from, bytes }, now);
            }
            Incoming::Accepted { stream, peer } => {
                serf.handle_input(Input::StreamAccepted { stream, peer }, now);
            }
            Incoming::Connected(stream) => serf.handle_input(Input::StreamConnected(stream), now),
            Incoming::Data { stream, bytes } => {
                let bytes = &bytes;
                serf.handle_input(Input::StreamData { stream, bytes }, now);
            }
            Incoming::Closed { stream, end } => {
                serf.handle_input(Input::StreamClosed { stream, end }, now);
            }
            Incoming::Command { id, command } => {
                serf.handle_input(Input::Command { id, command }, now);
            }
            Incoming::KeyringWritten { change, result } => {
                serf.handle_input(Input::KeyringWritten { change, result }, now);
            }
            Incoming::HandlerEnded => self.handler_ended(id),
        }
    }

    /// Drains the outputs, then inspects the node, which must not change anything.
    pub(super) fn after_input(&mut self, id: NodeId) {
        if let (Some(twisted), Some(serf)) = (self.twisted.get_mut(&id), &self.nodes[id].serf) {
            twisted.note_exchanges(serf.counters());
        }
        let looks_closely = self.traffic.inputs % INVARIANTS_EVERY == 0;
        let poll_timeout = |sim: &Sim| sim.nodes[id].serf.as_ref().and_then(Serf::poll_timeout);
        let timeout = looks_closely.then(|| poll_timeout(self));
        while let Some(output) = self.nodes[id].serf.as_mut().and_then(Serf::poll_output) {
            self.perform(id, output);
        }
        if let Some(why) = self.nodes[id].stopping.take() {
            self.stop(id, why);
            return;
        }
        let Some(serf) = self.nodes[id].serf.as_mut() else {
            return;
        };
        assert_eq!(serf.poll_output(), None, "outputs appear by asking");
        if let Some(timeout) = timeout {
            assert_eq!(serf.poll_timeout(), timeout, "polling moved the deadline");
        }
        if self.observing {
            if looks_closely {
                serf.check_invariants();
            }
            self.observe(id, looks_closely);
        }
        self.schedule_wake(id);
    }

    pub(super) fn perform(&mut self, id: NodeId, output: Output) {
        match output {
            Output::Transmit(transmit) => self.transmit(id, transmit),
            Output::Event(_) if !self.handling => {}
            Output::Event(event) => {
                let order = self.nodes[id].handlers.push(event.clone(), self.now);
                self.record(id, What::Delivered { order, event });
                self.start_handler(id);
            }
            Output::CommandEnded {
                id: command,
                result,
            } => self.command_ended(id, command, result),
            Output::QueryRecord {
                id: command,
                record,
            } => {
                let records = self.returned.entry(command).or_default();
                records.push((self.now, record.clone()));
                self.record(id, What::Returned { command, record });
            }
            Output::Snapshot(line) => {
                let disk = &mut self.nodes[id].disk;
                let file = disk.snapshot.as_mut().filter(|_| !disk.full);
                if let Some(file) = file {
                    line.encode(file);
                }
            }
            Output::KeyringChanged { change, keys } => self.write_keyring(id, change, keys),
            Output::Accepted(_) => unreachable!("no node has a journal"),
            Output::MemberChanged { .. } => unreachable!("nobody has asked for it"),
            Output::Stop => self.nodes[id].stopping = Some(Stop::LostItsName),
        }
    }

    pub(super) fn write_keyring(&mut self, id: NodeId, change: KeyringChange, keys: Vec<Key>) {
        let node = &mut self.nodes[id];
        let result = if node.disk.full {
            Err("no space left on device".to_owned())
        } else {
            node.disk.keyring = Some(keys);
            Ok(())
        };
        let happening = Happening::KeyringWritten {
            node: id,
            life: node.life,
            change,
            result,
        };
        self.schedule(self.now + WRITE_TIME, 0, happening);
    }

    pub(super) fn command_ended(&mut self, id: NodeId, command: CommandId, result: CommandResult) {
        let asked = self.asked.remove(&command);
        let asked = asked.unwrap_or_else(|| panic!("{command:?} ended twice: {result:?}"));
        let worked = !matches!(result, CommandResult::Failed(_));
        match (asked, &result) {
            (
                Asked::Join {
                    targets,
                    ignore_old,
                    at,
                    ..
                },
                CommandResult::Joined {
                    contacted,
                    failures,
                },
            ) if *contacted > 0 => {
                let failed = |addr| failures.iter().any(|(target, _)| target.addr == addr);
                let answered = targets.into_iter().filter(|addr| !failed(*addr));
                self.joined(id, answered.collect(), ignore_old, at);
            }
            (
                Asked::Join {
                    retry: Some(command),
                    ..
                },
                _,
            ) => self.retry_join(id, command),
            (Asked::Leave, CommandResult::Done) => self.nodes[id].stopping = Some(Stop::Left),
            (Asked::UserEvent { name, payload }, CommandResult::Fired(ltime)) => {
                self.spread_fired(id, *ltime, &name, &payload);
                self.record(id, What::Fired { name, payload });
            }
            (
                Asked::Query { acks },
                &CommandResult::Queried {
                    ltime,
                    id: query,
                    deadline,
                },
            ) => {
                let asked = What::Asked {
                    command,
                    ltime,
                    id: query,
                    deadline,
                    acks,
                };
                self.record(id, asked);
            }
            (Asked::Respond(query), _) => {
                let answered = What::Answered {
                    ltime: query.ltime,
                    id: query.id,
                    deadline: query.deadline,
                    sent: worked,
                };
                self.record(id, answered);
                return; // not used by stories
            }
            _ => {}
        }
        self.results.insert(command, (self.now, result));
    }

    fn retry_join(&mut self, node: NodeId, command: Command) {
        let again = Happening::RetryJoin {
            node,
            life: self.nodes[node].life,
            command: Box::new(command),
        };
        self.schedule(self.now + RETRY_JOIN, 0, again);
    }

    /// Records a join that began at `asked_at` and to which these addresses have answered.
    fn joined(
        &mut self,
        id: NodeId,
        answered: Vec<SocketAddr>,
        ignores_old: bool,
        asked_at: Instant,
    ) {
        self.nodes[id].calling.clear();
        let contacts = answered.iter();
        let contacts = contacts.filter_map(|addr| self.by_addr.get(addr).copied());
        let event_time = self.serf(id).stats().event_time;
        let joined = What::Joined {
            skipped_before: if ignores_old { event_time } else { 0 },
            contacts: contacts.collect(),
            asked_at,
            ignores_old,
            called: self.nodes[id].called,
        };
        self.record(id, joined);
    }

    pub(super) fn start_handler(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let Some(serf) = node.serf.as_ref() else {
            return;
        };
        let Some((order, time)) = node.handlers.start(serf, &mut self.rng, self.now) else {
            return;
        };
        self.record(id, What::HandlerStarted { order });
        let life = self.nodes[id].life;
        let end = Happening::HandlerEnd { node: id, life };
        self.schedule(self.now + time, 0, end);
    }

    pub(super) fn handler_ended(&mut self, id: NodeId) {
        let node = &mut self.nodes[id];
        let output = format!("answer of {}", node.spec.config.name);
        let Some((order, event, answer)) = node.handlers.end(output) else {
            return;
        };
        self.record(id, What::HandlerEnded { order });
        if let (Event::Query(query), Some(answer)) = (event, answer) {
            self.command_as(id, answer.command, Asked::Respond(query));
        }
        self.start_handler(id);
        let now = self.now;
        let node = &mut self.nodes[id];
        while let Some((ltime, query)) = node.handlers.handled_query() {
            if let Some(serf) = node.serf.as_mut() {
                serf.handle_input(Input::QueryHandled { ltime, id: query }, now);
            }
        }
    }
}
