//! What happens next: scheduled occurrences, and the advance of virtual time.

use std::cmp::Reverse;
use std::net::SocketAddr;

use cottar::serf::{Command, KeyringChange};
use cottar::time::{Duration, Instant};

use super::{Incoming, NodeId, Sim};

/// A scheduled occurrence.
pub(super) enum Happening {
    Datagram {
        to: NodeId,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Lane {
        connection: u64,
        side: usize,
    },
    Wake {
        node: NodeId,
    },
    /// A node that takes time for each input handles the next one.
    Turn {
        node: NodeId,
        life: u32,
    },
    /// The next gossip tick of a node that sends user events and queries only at ticks.
    Tick {
        node: NodeId,
        life: u32,
    },
    /// A liar invents a message.
    Invention {
        node: NodeId,
        life: u32,
    },
    HandlerEnd {
        node: NodeId,
        life: u32,
    },
    KeyringWritten {
        node: NodeId,
        life: u32,
        change: KeyringChange,
        result: Result<(), String>,
    },
    RetryJoin {
        node: NodeId,
        life: u32,
        command: Box<Command>,
    },
}

pub(super) struct Scheduled {
    at: Instant,
    /// 0: an arrival; 1: a deadline, which comes after all arrivals of the same instant.
    class: u8,
    sequence: u64,
    what: Happening,
}

impl Scheduled {
    fn key(&self) -> (Instant, u8, u64) {
        (self.at, self.class, self.sequence)
    }
}
impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Sim {
    /// Advances time by a duration.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Advances time up to an instant.
    pub fn run_to(&mut self, end: Instant) {
        while self.queue.peek().is_some_and(|next| next.0.at <= end) {
            self.step();
        }
        self.now = self.now.max(end);
    }

    /// Advances time until a condition holds, checked every 10 ms; returns false if it does not hold in time.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&Sim) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if self.now >= end {
                return false;
            }
            self.run_for(Duration::from_millis(10));
        }
    }

    pub(super) fn schedule(&mut self, at: Instant, class: u8, what: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse(Scheduled {
            at: at.max(self.now),
            class,
            sequence: self.sequence,
            what,
        }));
    }

    fn step(&mut self) {
        let Some(Reverse(next)) = self.queue.pop() else {
            return;
        };
        self.now = next.at;
        match next.what {
            Happening::Datagram { to, from, bytes } => {
                let bytes = match self.twisted.get_mut(&to) {
                    Some(twisted) => twisted.incoming(bytes),
                    None => Some(bytes),
                };
                if let Some(bytes) = bytes {
                    self.feed(to, Incoming::Datagram { from, bytes });
                }
            }
            Happening::Lane { connection, side } => self.advance_lane(connection, side),
            Happening::Wake { node } => self.wake(node),
            Happening::Turn { node, life } => {
                if self.nodes[node].life == life {
                    self.take_turn(node);
                }
            }
            Happening::Tick { node, life } => self.tick(node, life),
            Happening::Invention { node, life } => self.invent(node, life),
            Happening::HandlerEnd { node, life } => {
                if self.nodes[node].life == life {
                    self.feed(node, Incoming::HandlerEnded);
                }
            }
            Happening::KeyringWritten {
                node,
                life,
                change,
                result,
            } => {
                if self.nodes[node].life == life {
                    self.feed(node, Incoming::KeyringWritten { change, result });
                }
            }
            Happening::RetryJoin {
                node,
                life,
                command,
            } => {
                if self.nodes[node].life == life && self.is_up(node) {
                    let asked = self.asked_join(&command, true);
                    self.command_as(node, *command, asked);
                }
            }
        }
    }
}
