//! State exchanges in which a hostile member lies: clocks, user events, intent times and entries of members.

use std::sync::Arc;

use cottar::rng::Rng;
use cottar::serf::{LamportTime, StreamId};
use cottar::wire::serf::{RecentEvents, SerfPushPull};
use cottar::wire::{
    NodeName, PushPull, PushPullNode, RemoteState, StreamDecoder, StreamMessage, StreamSide,
    VersionVector,
};

use super::liar::LEAP_MAX;
use super::twist::nowhere;
use super::{Inventions, Twist, Twisted, node_name};

/// What a forger claims about members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slander {
    #[default]
    None,
    /// That they are suspect, dead, gone or alive, with other tags and higher incarnations; intents with
    /// times far ahead; members that do not exist.
    Departures,
    /// As [`Self::Departures`], but instead of claiming that members have left, it claims that they are at
    /// another address. Both together would let it take over a name: a member that has left may return at
    /// another address (gossip spec 4.8.1).
    Addresses,
}

/// Number of the members that forgers make up.
pub const GHOSTS: usize = 12;
/// How much higher than the true incarnation a forged one is at most, if a node can refute it.
const INCARNATIONS_AHEAD_MAX: usize = 1 << 20;
/// Unknown names in one state: more than a node keeps intents for.
const STRANGERS: usize = 5_000;
/// Empty slots in one state: more than a node accepts.
const SLOTS_TOO_MANY: usize = (1 << 16) + 1;

/// What a forger keeps.
#[derive(Default)]
pub(super) struct Forger {
    pub(super) slander: Slander,
    /// The member that all are told about; `None`: any member, and one node at a time.
    pub(super) victim: Option<NodeName>,
    /// Makes each forged event and tag different, over all lives.
    number: u64,
}

/// The name of a member that does not exist.
pub(super) fn ghost(rng: &mut Rng) -> NodeName {
    node_name(&format!("ghost-{}", rng.below(GHOSTS)))
}

/// An incarnation that a forger claims about a node: at least the given one.
pub(super) fn higher(incarnation: u32, rng: &mut Rng) -> u32 {
    let ahead = [1, 2, 10, INCARNATIONS_AHEAD_MAX][rng.below(4)];
    incarnation.saturating_add(rng.below(ahead) as u32)
}

/// An incarnation that a forger claims about a node that does not exist.
pub(super) fn any_incarnation(rng: &mut Rng) -> u32 {
    match rng.below(4) {
        0 => u32::MAX - rng.below(2) as u32,
        1 => rng.next_u32().max(1),
        _ => 1 + rng.below(10) as u32,
    }
}

/// The time of a forged intent, given the member clock.
pub(super) fn intent_time(clock: u64, rng: &mut Rng) -> LamportTime {
    let clock = clock.min(1 << 62);
    let ahead = [1, 10, 1_000, LEAP_MAX as usize / 4][rng.below(4)];
    let time = match rng.below(12) {
        0 => u64::MAX - rng.below(3) as u64,
        1 => 0,
        2 => clock + 4 * LEAP_MAX,
        _ => clock + rng.below(ahead) as u64,
    };
    LamportTime(time)
}

impl Forger {
    /// Tags that no node has.
    pub(super) fn meta(&mut self) -> Option<Arc<[u8]>> {
        self.number += 1;
        let number = self.number % 100;
        let mut meta = vec![0xff, 0x81, 0xa6];
        meta.extend_from_slice(b"forged");
        meta.push(0xa2);
        meta.extend_from_slice(format!("{number:02}").as_bytes());
        Some(meta.into())
    }

    /// Forges a state. Returns the highest time of a user event or event clock in it.
    fn forge(&mut self, state: &mut PushPull, inventions: Inventions, rng: &mut Rng) -> u64 {
        let Ok(mut user_state) = SerfPushPull::decode(&state.user_state) else {
            return 0;
        };
        let clock = user_state.event_ltime.0.min(1 << 62);
        if rng.chance(0.7) {
            self.forge_events(&mut user_state, inventions, rng);
        }
        if rng.chance(0.5) {
            forge_clocks(&mut user_state, inventions, rng);
        }
        if self.slander != Slander::None {
            if rng.chance(0.7) {
                self.forge_entries(&mut state.nodes, rng);
            }
            if rng.chance(0.7) {
                forge_intents(&mut user_state, &state.nodes, rng);
            }
        }
        state.user_state = user_state.encode();
        let slots = user_state.events.iter().flatten();
        let times = slots.map(|slot| slot.ltime).chain([user_state.event_ltime]);
        // What is further ahead is refused, or followed by one leap.
        let believed = times.map(|time| time.0.min(clock + 16 * LEAP_MAX));
        believed.max().unwrap_or(0)
    }

    fn slot(&mut self, ltime: u64, events: usize) -> Option<RecentEvents> {
        let event = |_| {
            self.number += 1;
            let payload = format!("forged {}", self.number).into_bytes();
            (b"deploy".to_vec(), Some(payload))
        };
        Some(RecentEvents {
            ltime: LamportTime(ltime),
            events: (0..events).map(event).collect(),
        })
    }

    fn forge_events(&mut self, state: &mut SerfPushPull, inventions: Inventions, rng: &mut Rng) {
        let clock = state.event_ltime.0.min(1 << 62);
        let kinds = match inventions {
            Inventions::None => return,
            Inventions::Refused => 5,
            Inventions::New => 7,
            Inventions::Leaping => 8,
        };
        match rng.below(kinds) {
            0 => state.events.clear(),
            1 => {
                let again = state.events.clone();
                state.events.extend(again);
                state.events.extend(vec![None; 600]);
            }
            2 => state.events.extend(vec![None; SLOTS_TOO_MANY]),
            3 if clock > 600 => state.events.push(self.slot(clock - 600, 3)),
            3 => {}
            4 => state.events.push(self.slot(u64::MAX - 1, 2)),
            5 => {
                let time = clock.saturating_sub(rng.below(20) as u64);
                state.events.push(self.slot(time, 3));
            }
            6 => state.events.push(self.slot(clock, 40)),
            _ => {
                // Each as far ahead of the one before as a single message may be.
                for step in 1..=3 {
                    state.events.push(self.slot(clock + 4 * step * LEAP_MAX, 1));
                }
            }
        }
    }

    fn forge_entries(&mut self, nodes: &mut Vec<PushPullNode>, rng: &mut Rng) {
        let rejoins = self.slander == Slander::Departures;
        for _ in 0..1 + rng.below(4) {
            let mut entry = nodes[rng.below(nodes.len())].clone();
            let known = entry.incarnation;
            entry.incarnation = higher(known, rng);
            match rng.below(7) {
                0 => entry.state = RemoteState::Suspect,
                1 => entry.state = RemoteState::Dead,
                2 if rejoins => entry.state = RemoteState::Left,
                3 => entry.meta = self.meta(),
                4 => entry.incarnation = known.saturating_sub(rng.below(3) as u32),
                5 => entry.versions = VersionVector::serf(200),
                _ => {
                    entry.name = ghost(rng);
                    entry.incarnation = any_incarnation(rng);
                    if rng.chance(0.7) {
                        entry.addr = nowhere(rng);
                    }
                    let states = [RemoteState::Alive, RemoteState::Dead, RemoteState::Left];
                    entry.state = states[rng.below(3)];
                }
            }
            match rng.chance(0.5) {
                true => nodes.push(entry),
                false => nodes.insert(rng.below(nodes.len()), entry),
            }
        }
    }
}

fn forge_clocks(state: &mut SerfPushPull, inventions: Inventions, rng: &mut Rng) {
    let clocks = [
        &mut state.ltime,
        &mut state.event_ltime,
        &mut state.query_ltime,
    ];
    for clock in clocks {
        let now = clock.0.min(1 << 62);
        clock.0 = match rng.below(6) {
            0 => u64::MAX - rng.below(2) as u64,
            1 => 0,
            2 => now.saturating_sub(rng.below(600) as u64),
            // Even a little ahead, it claims to know all earlier events, so that they come out of order (seed
            // 524).
            3 if inventions == Inventions::Leaping => {
                now + (1 << [4, 10, 30, 40, 50][rng.below(5)])
            }
            _ => now,
        };
    }
}

fn forge_intents(state: &mut SerfPushPull, nodes: &[PushPullNode], rng: &mut Rng) {
    let clock = state.ltime.0;
    for _ in 0..1 + rng.below(4) {
        let name = match rng.chance(0.7) {
            true => nodes[rng.below(nodes.len())].name.clone(),
            false => ghost(rng),
        };
        let at = state.status_ltimes.iter_mut().find(|(of, _)| *of == name);
        let time = intent_time(clock, rng);
        match at {
            Some((_, ltime)) => *ltime = time,
            None => state.status_ltimes.push((name.clone(), time)),
        }
        if rng.chance(0.5) {
            state.left_members.push(name);
        }
    }
    if rng.chance(0.05) {
        let stranger = |number| node_name(&format!("stranger-{number}"));
        let strangers = (0..STRANGERS).map(stranger);
        state.left_members.extend(strangers.clone());
        let dated = strangers.map(|name| (name, LamportTime(clock)));
        state.status_ltimes.extend(dated);
    }
    if rng.chance(0.05) {
        // Each as far ahead of the one before as a single message may be.
        for step in 1..=6 {
            let name = node_name(&format!("stranger-{step}"));
            let time = LamportTime(clock.saturating_add(4 * step * LEAP_MAX));
            state.status_ltimes.push((name, time));
        }
    }
}

impl Twisted {
    /// Changes what the node writes to a stream. Returns the highest time of a user event, if it forged any.
    pub(super) fn writes(
        &mut self,
        stream: StreamId,
        bytes: Vec<u8>,
        rng: &mut Rng,
    ) -> (Vec<u8>, Option<LamportTime>) {
        let inventions = self.lies.inventions;
        if self.twist != Twist::Forger || inventions == Inventions::None || rng.chance(0.3) {
            return (bytes, None);
        }
        let (ours, theirs) = match stream {
            StreamId::Outbound(_) => (StreamSide::Initiator, StreamSide::Responder),
            StreamId::Inbound(_) => (StreamSide::Responder, StreamSide::Initiator),
        };
        let read = StreamDecoder::new(theirs).push(&bytes, self.envelope());
        let Ok(Some(StreamMessage::PushPull(mut state))) = read else {
            return (bytes, None);
        };
        let time = self.forger.forge(&mut state, inventions, rng);
        let message = StreamMessage::PushPull(state);
        (self.seal_stream(&message, ours), Some(LamportTime(time)))
    }
}
