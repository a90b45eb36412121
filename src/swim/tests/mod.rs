//! Scripts with explicit time for one node, and simulations of small clusters in virtual time.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod border;
mod claims;
mod cluster;
mod crowds;
mod extra;
mod gossip;
mod large;
mod leave;
mod present;
mod probe;
mod rules;
mod storm;
mod streams;

use std::net::SocketAddr;

use super::test_support::{addr, name};
use super::*;
use crate::wire::{Ack, Alive, Dead, Message, NonceSource, Ping, Suspect, VersionVector};

/// One node under test, at `addr(1)`, and its outputs.
struct Script {
    swim: Swim,
    now: Instant,
    outputs: Vec<Output>,
}

fn local_node(text: &str, host: u8) -> Announcement {
    Announcement {
        name: name(text),
        addr: addr(host),
        meta: b"own".as_slice().into(),
        versions: VersionVector::serf(5),
    }
}

fn plain_envelope() -> Envelope {
    Envelope::plain(NonceSource::new([7; 32]))
}

impl Script {
    fn new() -> Self {
        Script::with(Config::lan())
    }

    fn with(config: Config) -> Self {
        let now = Instant::from_millis(1_000);
        let swim = Swim::new(
            config,
            local_node("local", 1),
            plain_envelope(),
            Rng::new(3),
            now,
        );
        let mut script = Script {
            swim,
            now,
            outputs: Vec::new(),
        };
        script.drain();
        script.outputs.clear();
        script
    }

    fn drain(&mut self) {
        while let Some(output) = self.swim.poll_output() {
            self.outputs.push(output);
        }
        self.swim.check_invariants();
    }

    /// Delivers a datagram with these messages from `addr(host)`.
    fn hear(&mut self, host: u8, messages: &[Message]) {
        let encoded: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
        let bytes = plain_envelope().seal_datagram(&encoded, false);
        self.swim.handle_datagram(addr(host), &bytes, self.now);
        self.drain();
    }

    /// Announces nodes as alive: n2 at `addr(2)` and so on. Discards all outputs.
    fn meet(&mut self, hosts: impl IntoIterator<Item = u8>) {
        for host in hosts {
            self.hear(host, &[Message::Alive(alive(host, 1))]);
        }
        self.outputs.clear();
    }

    /// Fires all timeouts up to `until` and sets the time to it.
    fn run_until(&mut self, until: Instant) {
        while let Some(due) = self.swim.poll_timeout().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.swim.handle_timeout(self.now);
            self.drain();
            assert!(self.swim.poll_timeout().is_none_or(|due| due > self.now));
        }
        self.now = until;
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs until a message is sent that `wanted` accepts; returns its destination and the message. Discards
    /// earlier outputs.
    fn run_until_sent(&mut self, wanted: impl Fn(&Message) -> bool) -> (SocketAddr, Message) {
        let limit = self.now + Duration::from_secs(120);
        loop {
            for (to, messages) in self.take_datagrams() {
                if let Some(message) = messages.into_iter().find(&wanted) {
                    return (to, message);
                }
            }
            let due = self.swim.poll_timeout().expect("a timer runs");
            assert!(due < limit, "waited in vain");
            self.run_until(due);
        }
    }

    /// Takes and decodes the datagrams among the outputs; leaves the other outputs.
    fn take_datagrams(&mut self) -> Vec<(SocketAddr, Vec<Message>)> {
        let mut datagrams = Vec::new();
        self.outputs.retain(|output| match output {
            Output::Transmit(Transmit::Datagram { to, bytes }) => {
                datagrams.push((*to, decode(bytes)));
                false
            }
            _ => true,
        });
        datagrams
    }

    /// Takes all outputs except datagrams, which are discarded.
    fn take_events(&mut self) -> Vec<Output> {
        self.take_datagrams();
        std::mem::take(&mut self.outputs)
    }

    fn state(&self, host: u8) -> NodeState {
        self.swim.node(&peer(host)).unwrap().state
    }
}

fn decode(bytes: &[u8]) -> Vec<Message> {
    let packet = plain_envelope().open_datagram(bytes).unwrap();
    packet.messages.into_iter().map(Result::unwrap).collect()
}

/// Returns the name of the peer at `addr(host)`.
fn peer(host: u8) -> NodeName {
    name(&format!("n{host}"))
}

fn alive(host: u8, incarnation: u32) -> Alive {
    Alive {
        incarnation,
        node: peer(host),
        addr: addr(host),
        meta: Some(b"meta".as_slice().into()),
        versions: VersionVector::serf(5),
    }
}

fn suspect(about: NodeName, incarnation: u32, from: u8) -> Message {
    Message::Suspect(Suspect {
        incarnation,
        node: about,
        from: Some(peer(from)),
    })
}

fn dead(about: NodeName, incarnation: u32, from: NodeName) -> Message {
    Message::Dead(Dead {
        incarnation,
        node: about,
        from: Some(from),
    })
}

fn ping_from(host: u8, seq_no: u32) -> Message {
    Message::Ping(Ping {
        seq_no,
        node: Some(name("local")),
        source: Some(addr(host)),
        source_node: Some(peer(host)),
        extension: Vec::new(),
    })
}

fn ack(seq_no: u32, payload: Option<&[u8]>) -> Message {
    Message::Ack(Ack {
        seq_no,
        payload: payload.map(<[u8]>::to_vec),
    })
}
