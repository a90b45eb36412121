//! False statements of a hostile member, a liar: digests and summaries of events that it does not have,
//! clocks, and queries.

use std::collections::VecDeque;
use std::net::SocketAddr;

use cottar::rng::Rng;
use cottar::serf::{LamportTime, Serf, Transmit};
use cottar::wire::coordinate::Coordinate;
use cottar::wire::event_digest::{EventDigest, EventSummary};
use cottar::wire::serf::{
    QueryMessage, QueryResponseMessage, RESPONSE_FLAG_ACK, RESPONSE_FLAG_PENDING, SerfMessage,
    UserEventMessage, query_flag,
};
use cottar::wire::{Ack, Message, NodeName, Ping};

use super::{Happening, NodeId, Sim, node_name};
use crate::history::What;

/// Which messages a liar invents; each variant includes those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Inventions {
    #[default]
    None,
    /// Messages that receivers must refuse and that then change nothing: absurd and old times, different
    /// queries with the times and ids of earlier ones, answers to queries by nodes that do not exist.
    Refused,
    /// New events and queries.
    New,
    /// Events and queries whose times are far ahead of all clocks.
    Leaping,
}

/// How far one push/pull can move a clock, as in the core.
pub(super) const LEAP_MAX: u64 = 1 << 40;
/// Limit for the queries that a liar remembers.
const QUERIES_MAX: usize = 16;
/// Number of answers of nodes that do not exist in one packet.
const GHOSTS: usize = 20;

/// State of a liar: what it has received, and what it may invent.
#[derive(Default)]
pub(super) struct Lies {
    pub(super) inventions: Inventions,
    queries: VecDeque<QueryMessage>,
    digest: Option<EventDigest>,
    is_armed: bool,
    /// Makes each invented message different, over all lives.
    number: u64,
}

impl Lies {
    pub(super) fn forget(&mut self) {
        self.queries.clear();
        self.digest = None;
        self.is_armed = false;
    }

    pub(super) fn hear(&mut self, message: &Message) {
        match message {
            Message::Ping(ping) => {
                let said = EventDigest::decode_of_ping(&ping.extension);
                self.digest = said.or(self.digest);
            }
            Message::User(bytes) => {
                if let Ok(SerfMessage::Query(query)) = SerfMessage::decode(bytes) {
                    let known = |known: &QueryMessage| (known.ltime, known.id);
                    if !self.queries.iter().any(|old| known(old) == known(&query)) {
                        self.queries.push_back(query);
                        if self.queries.len() > QUERIES_MAX {
                            self.queries.pop_front();
                        }
                    }
                }
            }
            _ => {}
        }
    }

    /// Replaces the digest or summary in an outgoing message by a false one.
    pub(super) fn lie(&self, message: Message, rng: &mut Rng) -> Message {
        match message {
            Message::Ping(ping) => Message::Ping(Ping {
                extension: self.spoilt(lying_summary(rng), rng),
                ..ping
            }),
            Message::Ack(ack) => Message::Ack(Ack {
                payload: ack.payload.map(|payload| {
                    let lie = self.lying_payload(&payload, rng);
                    self.spoilt(lie, rng)
                }),
                ..ack
            }),
            message => message,
        }
    }

    /// Damages some of the bytes, so that they cannot be decoded.
    fn spoilt(&self, mut bytes: Vec<u8>, rng: &mut Rng) -> Vec<u8> {
        if self.inventions == Inventions::None || !rng.chance(0.3) {
            return bytes;
        }
        match rng.below(4) {
            0 => bytes.truncate(rng.below(bytes.len() + 1)),
            1 => bytes.extend((0..rng.below(600)).map(|_| rng.next_u32() as u8)),
            2 => bytes[1] = rng.next_u32() as u8,
            _ => bytes = (0..rng.below(40)).map(|_| rng.next_u32() as u8).collect(),
        }
        bytes
    }

    /// An invented digest, or the last one received, which looks like agreement to the node that sent it.
    fn lying_payload(&self, payload: &[u8], rng: &mut Rng) -> Vec<u8> {
        let mut lie = match Coordinate::decode_first(payload) {
            Ok((place, _)) => place.encode(),
            Err(_) => Vec::new(),
        };
        let upto = match rng.below(3) {
            0 => rng.next_u32(),
            _ => rng.below(2_000) as u32,
        };
        let digest = rng.next_u64().to_be_bytes();
        let made_up = EventDigest {
            upto,
            digest: [
                digest[0], digest[1], digest[2], digest[3], digest[4], digest[5], digest[6],
            ],
        };
        let echoes = self.inventions > Inventions::None && rng.chance(0.3);
        let said = self.digest.filter(|_| echoes).unwrap_or(made_up);
        said.encode(&mut lie);
        lie
    }

    fn payload(&mut self) -> Option<Vec<u8>> {
        self.number += 1;
        Some(format!("made up {}", self.number).into_bytes())
    }

    fn event(&mut self, ltime: u64) -> SerfMessage {
        SerfMessage::UserEvent(UserEventMessage {
            ltime: LamportTime(ltime),
            name: b"deploy".to_vec(),
            payload: self.payload(),
            coalesce: false,
        })
    }

    fn query(&mut self, ltime: u64, serf: &Serf, rng: &mut Rng) -> SerfMessage {
        let members: Vec<_> = serf.members().map(|member| member.addr).collect();
        let own = serf.swim().local().addr;
        SerfMessage::Query(QueryMessage {
            ltime: LamportTime(ltime),
            id: rng.next_u32(),
            addr: match rng.chance(0.5) {
                true => own,
                false => members[rng.below(members.len())],
            },
            source_node: Some(serf.local_name().clone()),
            filters: None,
            flags: rng.below(4) as u32,
            relay_factor: [0, 1, 255][rng.below(3)],
            timeout_nanos: [i64::MIN, 0, 1_000_000_000, i64::MAX][rng.below(4)],
            name: b"load".to_vec(),
            payload: self.payload(),
        })
    }

    /// A different query with the time and id of one that the liar has received.
    fn changed_query(&mut self, serf: &Serf, rng: &mut Rng) -> Vec<SerfMessage> {
        let Some(query) = self.queries.front().cloned() else {
            return Vec::new();
        };
        let addr = match rng.chance(0.5) {
            true => serf.swim().local().addr,
            false => query.addr,
        };
        vec![SerfMessage::Query(QueryMessage {
            addr,
            flags: query_flag::ACK | (query_flag::NO_BROADCAST * rng.below(2) as u32),
            payload: self.payload(),
            ..query
        })]
    }

    /// Answers to the last query received: with the right id from nodes that do not exist, or from the liar
    /// itself with a wrong id.
    fn answers(&mut self, serf: &Serf, rng: &mut Rng) -> Vec<SerfMessage> {
        let Some(query) = self.queries.back().cloned() else {
            return Vec::new();
        };
        let ghosts = rng.chance(0.5);
        let flags = [
            0,
            RESPONSE_FLAG_ACK,
            RESPONSE_FLAG_ACK | RESPONSE_FLAG_PENDING,
            u32::MAX,
        ];
        let answer = |_| {
            self.number += 1;
            let ghost: NodeName = node_name(&format!("ghost-{}", self.number));
            SerfMessage::QueryResponse(QueryResponseMessage {
                ltime: query.ltime,
                id: if ghosts { query.id } else { rng.next_u32() },
                from: if ghosts {
                    ghost
                } else {
                    serf.local_name().clone()
                },
                flags: flags[rng.below(flags.len())],
                payload: Some(b"boo".to_vec()),
            })
        };
        (0..GHOSTS).map(answer).collect()
    }

    /// Invents the next messages.
    fn invent(&mut self, serf: &Serf, rng: &mut Rng) -> Vec<SerfMessage> {
        let stats = serf.stats();
        let (events, queries) = (stats.event_time, stats.query_time);
        let kinds = match self.inventions {
            Inventions::None => return Vec::new(),
            Inventions::Refused => 5,
            Inventions::New => 7,
            Inventions::Leaping => 9,
        };
        let absurd = |clock: u64, rng: &mut Rng| match rng.chance(0.5) {
            true => u64::MAX - rng.below(3) as u64,
            false => clock + (1 << 50),
        };
        let leap = |clock: u64, rng: &mut Rng| {
            let far = [300, 1_000, 1_000_000, LEAP_MAX as usize][rng.below(4)];
            clock + rng.below(far) as u64
        };
        match rng.below(kinds) {
            0 => vec![self.event(absurd(events, rng))],
            1 if events > 600 => vec![self.event(events - 600)],
            1 => Vec::new(),
            2 => {
                let time = absurd(queries, rng);
                vec![self.query(time, serf, rng)]
            }
            3 => self.changed_query(serf, rng),
            4 => self.answers(serf, rng),
            5 => vec![self.event(events.saturating_sub(rng.below(20) as u64))],
            6 => vec![self.query(queries, serf, rng)],
            7 => vec![self.event(leap(events, rng))],
            _ => {
                let time = leap(queries, rng);
                vec![self.query(time, serf, rng)]
            }
        }
    }
}

fn lying_summary(rng: &mut Rng) -> Vec<u8> {
    let times = 1 + rng.below(384);
    EventSummary {
        is_answer: rng.chance(0.3),
        salt: rng.next_u32() as u8,
        first: rng.below(2_000) as u32,
        marks: (0..times).map(|_| rng.next_u32() as u8).collect(),
    }
    .encode()
}

impl Sim {
    /// Sets what a liar may invent from now on.
    pub fn let_invent(&mut self, id: NodeId, inventions: Inventions) {
        let twisted = self.twisted.get_mut(&id);
        if let Some(twisted) = twisted.filter(|twisted| twisted.twist.lies()) {
            twisted.lies.inventions = inventions;
        }
        self.arm_invention(id);
    }

    pub(super) fn arm_invention(&mut self, id: NodeId) {
        let up = self.is_up(id);
        let Some(twisted) = self.twisted.get_mut(&id) else {
            return;
        };
        let lies = &mut twisted.lies;
        if !up || lies.inventions == Inventions::None || std::mem::replace(&mut lies.is_armed, true)
        {
            return;
        }
        let node = &self.nodes[id];
        let (life, interval) = (node.life, node.spec.config.swim.gossip_interval);
        self.schedule(
            self.now + interval,
            0,
            Happening::Invention { node: id, life },
        );
    }

    /// Makes a liar invent messages and send them to a member.
    pub(super) fn invent(&mut self, id: NodeId, life: u32) {
        let node = &self.nodes[id];
        let (true, Some(twisted), true) = (
            node.serf.is_some(),
            self.twisted.get_mut(&id),
            node.life == life,
        ) else {
            return;
        };
        twisted.lies.is_armed = false;
        if !node.paused && !self.forge(id) {
            self.invent_message(id);
        }
        self.arm_invention(id);
    }

    fn invent_message(&mut self, id: NodeId) {
        let serf = self.nodes[id].serf.as_ref();
        if let (Some(serf), Some(twisted)) = (serf, self.twisted.get_mut(&id)) {
            let members: Vec<_> = serf.members().map(|member| member.addr).collect();
            let told = members[self.rng.below(members.len())];
            let messages = twisted.lies.invent(serf, &mut self.rng);
            let many = messages.len() == GHOSTS;
            let target = match (many, messages.first()) {
                (true, _) => twisted.lies.queries.back().map(|query| query.addr),
                _ => Some(told),
            };
            let leapt = messages.iter().find_map(|message| match message {
                SerfMessage::UserEvent(event) => Some(event.ltime),
                _ => None,
            });
            let leapt = leapt.filter(|ltime| ltime.0 < serf.stats().event_time + LEAP_MAX);
            if let Some(to) = target {
                self.say(id, to, &messages);
            }
            if let Some(ltime) = leapt {
                self.record(id, What::Invented { ltime });
            }
        }
    }

    /// Makes a liar send messages of the Serf layer, without processing them itself.
    pub fn say(&mut self, id: NodeId, to: SocketAddr, messages: &[SerfMessage]) {
        let encoded = messages.iter().map(SerfMessage::encode);
        let messages: Vec<Message> = encoded.map(Message::User).collect();
        self.tell(id, to, &messages);
    }

    /// Makes a liar send messages of the membership layer.
    pub fn tell(&mut self, id: NodeId, to: SocketAddr, messages: &[Message]) {
        let packet: Vec<Vec<u8>> = messages.iter().map(Message::encode).collect();
        let Some(twisted) = self.twisted.get_mut(&id).filter(|_| !packet.is_empty()) else {
            return;
        };
        let bytes = twisted.seal(&packet);
        let transmit = Transmit::Datagram { to, bytes };
        self.print(id, &transmit);
        if let (Transmit::Datagram { bytes, .. }, Some(&host)) = (transmit, self.by_addr.get(&to)) {
            self.carry(id, host, bytes);
        }
    }
}
