//! A whole node of the core that knows all members, in virtual time.

use crate::heap;
use crate::peers::{self, envelope};
use crate::wire::announcements;
use crate::{Growth, SIZES, Step, nanos_per_step};
use cottar::rpc::reply;
use cottar::serf::{
    Command, CommandId, Config, Input, JoinTarget, Member, Output, Serf, StreamId, Transmit,
};
use cottar::swim;
use cottar::time::{Duration, Instant};
use cottar::wire::msgpack::{Dialect, Writer};
use cottar::wire::{Ack, Message, StreamMessage, StreamSide};
use std::hint::black_box;
use std::net::SocketAddr;

const PUSH_PULL: Duration = Duration::from_secs(30);
const BYTES_MAX: f64 = 320.0;

pub const STEPS: &[Step] = &[
    Step {
        name: "look a member up",
        growth: Growth::Logarithm,
        measure: look_up,
    },
    Step {
        name: "hear an old announcement",
        growth: Growth::Logarithm,
        measure: |members| hear(members, false),
    },
    Step {
        name: "hear a new announcement",
        growth: Growth::Logarithm,
        measure: |members| hear(members, true),
    },
    Step {
        name: "learn of all by a push/pull, each member",
        growth: Growth::Logarithm,
        measure: learn,
    },
    Step {
        name: "merge a push/pull and answer it, each member",
        growth: Growth::Logarithm,
        measure: merge,
    },
    Step {
        name: "a turn of probes and gossip at rest",
        growth: Growth::Constant,
        measure: turn,
    },
    Step {
        name: "list the members for RPC, each member",
        growth: Growth::Constant,
        measure: list,
    },
];

fn peer() -> SocketAddr {
    "127.0.0.2:7946".parse().unwrap()
}

/// A node and a simulation of the other nodes.
struct World {
    serf: Serf,
    now: Instant,
    state: Vec<u8>,
    peer: SocketAddr,
    streams: u64,
}

impl World {
    /// Creates a node that knows no others yet.
    fn new(members: usize, push_pull_interval: Duration) -> World {
        let state = StreamMessage::PushPull(peers::state(members, peer()));
        let state = envelope().seal_stream(&state, StreamSide::Responder);
        World::told(state, push_pull_interval)
    }

    /// Creates a node that knows no others yet, and the state that it will receive.
    fn told(state: Vec<u8>, push_pull_interval: Duration) -> World {
        let name = cottar::wire::NodeName::new(b"local").unwrap();
        let mut config = Config::new(name, "127.0.0.1:7946".parse().unwrap(), swim::Config::lan());
        config.swim.push_pull_interval = push_pull_interval;
        let now = Instant::from_millis(1_000);
        World {
            serf: Serf::new(config, envelope(), 1, now).unwrap(),
            now,
            state,
            peer: peer(),
            streams: 0,
        }
    }

    /// Creates a node that has joined and has sent all broadcasts.
    fn at_rest(members: usize) -> World {
        let mut world = World::new(members, PUSH_PULL);
        world.join();
        world.rest();
        world
    }

    fn join(&mut self) {
        let command = Command::Join {
            targets: vec![JoinTarget {
                name: None,
                addr: self.peer,
            }],
            ignore_old_events: true,
            announce: false,
        };
        let id = CommandId(1);
        self.input(Input::Command { id, command });
        self.finish();
    }

    /// Large states are merged in pieces, each at the next instant.
    fn finish(&mut self) {
        let moment = Duration::from_nanos(1);
        while self
            .serf
            .poll_timeout()
            .is_some_and(|due| due <= self.now + moment)
        {
            self.step();
        }
    }

    /// Advances the time until no message is queued and no stream is open.
    fn rest(&mut self) {
        let end = self.now + Duration::from_secs(300);
        while self.now < end {
            self.step();
        }
    }

    fn step(&mut self) {
        if let Some(due) = self.serf.poll_timeout() {
            self.now = due.max(self.now);
        }
        self.input(Input::Timeout);
    }

    /// Simulates the other nodes: acks to pings, and the state for each stream.
    fn input(&mut self, input: Input<'_>) {
        self.serf.handle_input(input, self.now);
        while let Some(output) = self.serf.poll_output() {
            let Output::Transmit(transmit) = output else {
                continue;
            };
            match transmit {
                Transmit::Datagram { bytes, .. } => self.answer(&bytes),
                Transmit::Open { stream, .. } => {
                    self.input(Input::StreamConnected(stream));
                    let state = std::mem::take(&mut self.state);
                    for bytes in state.chunks(16_384) {
                        self.input(Input::StreamData { stream, bytes });
                    }
                    self.state = state;
                }
                _ => {}
            }
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        let mut envelope = envelope();
        for message in envelope.open_datagram(bytes).unwrap().messages {
            if let Ok(Message::Ping(ping)) = message {
                let seq_no = ping.seq_no;
                let payload = None;
                let ack = Message::Ack(Ack { seq_no, payload }).encode();
                let (from, bytes) = (self.peer, envelope.seal_datagram(&[ack], true));
                self.now += Duration::from_millis(1);
                let bytes = &bytes;
                self.input(Input::Datagram { from, bytes });
            }
        }
    }

    /// Another node starts a push/pull.
    fn exchange(&mut self) {
        self.streams += 1;
        let (stream, peer) = (StreamId::Inbound(self.streams), self.peer);
        self.input(Input::StreamAccepted { stream, peer });
        let state = std::mem::take(&mut self.state);
        for bytes in state.chunks(16_384) {
            self.input(Input::StreamData { stream, bytes });
        }
        self.state = state;
        self.finish();
    }
}

fn look_up(members: usize) -> f64 {
    let world = World::at_rest(members);
    let names: Vec<_> = (0..members)
        .map(|index| peers::name(index * 7919 % members))
        .collect();
    let mut names = names.iter().cycle();
    nanos_per_step(1, || {
        let found = world.serf.member(names.next().unwrap().as_bytes());
        assert!(black_box(found).is_some());
    })
}

/// An announcement in a separate datagram.
fn hear(members: usize, new: bool) -> f64 {
    let mut world = World::at_rest(members);
    let (mut incarnation, mut envelope) = (1, envelope());
    nanos_per_step(members.min(100), || {
        incarnation += u32::from(new);
        for index in 0..members.min(100) {
            // From all over the table.
            let index = (index * 7919 + incarnation as usize * 101) % members;
            let Message::Alive(mut alive) = announcements(1, 1).remove(0) else {
                unreachable!("announcements are alive messages");
            };
            alive.node = peers::name(index);
            alive.addr = world.peer;
            alive.incarnation = incarnation;
            let message = Message::Alive(alive).encode();
            let bytes = envelope.seal_datagram(&[message], true);
            let from = world.peer;
            world.serf.handle_input(
                Input::Datagram {
                    from,
                    bytes: &bytes,
                },
                world.now,
            );
        }
    })
}

fn learn(members: usize) -> f64 {
    let mut state = World::new(members, PUSH_PULL).state;
    nanos_per_step(members, || {
        let mut world = World::told(std::mem::take(&mut state), PUSH_PULL);
        world.join();
        assert_eq!(world.serf.stats().members, members + 1);
        state = world.state;
    })
}

fn merge(members: usize) -> f64 {
    let mut world = World::at_rest(members);
    nanos_per_step(members, || world.exchange())
}

fn turn(members: usize) -> f64 {
    // Push/pulls are measured separately: once in some minutes each side visits all members.
    let mut world = World::new(members, Duration::ZERO);
    world.join();
    world.rest();
    nanos_per_step(1, || world.step())
}

fn list(members: usize) -> f64 {
    let world = World::at_rest(members);
    nanos_per_step(members, || {
        let all: Vec<&Member> = world.serf.members().collect();
        let mut writer = Writer::new(Dialect::Rpc);
        reply::write_members(&mut writer, &all);
        black_box(writer.into_bytes());
    })
}

/// Prints how much heap a member takes; returns whether that is within the limit.
pub fn memory() -> bool {
    println!();
    println!("heap bytes of the core for each known member, as a frugal allocator counts them");
    let mut reached = true;
    for members in SIZES {
        let before = heap::live();
        let world = World::at_rest(members);
        let state = world.state.len();
        let each = (heap::live() - before - state) as f64 / members as f64;
        reached &= members < 1_000 || each <= BYTES_MAX;
        assert_eq!(world.serf.stats().members, members + 1);
        println!("{members:>10}{each:>10.0}");
    }
    reached
}
