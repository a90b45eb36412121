//! Codec of the snapshot: a log of text lines from which a node rejoins its cluster (gossip spec 5.17, agent
//! spec 4.10). The shell reads and writes the file.

use std::fmt;
use std::net::SocketAddr;

use crate::count::Count;
use crate::ordered::OrderedMap;
use crate::serf::SeenEvents;
use crate::wire::NodeName;
use crate::wire::name::Escaped;
use crate::wire::serf::LamportTime;

/// Prefix of [`SnapshotLine::Seen`].
const SEEN: &[u8] = b"# cottar-seen ";
/// Prefix of [`SnapshotLine::Member`].
const MEMBER: &[u8] = b"# cottar-member ";
/// Prefix of [`SnapshotLine::Failed`].
const FAILED: &[u8] = b"# cottar-failed ";

/// A line of the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotLine {
    /// A member joined.
    Alive {
        /// Name of the member.
        name: NodeName,
        /// Address of the member.
        addr: SocketAddr,
    },
    /// A member left, failed, or was reaped.
    NotAlive(NodeName),
    /// A member failed, and the node should try to reconnect to it. Follows [`SnapshotLine::NotAlive`],
    /// because the reference ignores this line as a comment.
    Failed {
        /// Name of the member.
        name: NodeName,
        /// Last address of the member.
        addr: SocketAddr,
    },
    /// The last member time seen, which is the clock minus 1.
    Clock(LamportTime),
    /// The Lamport time of the last user event seen.
    EventClock(LamportTime),
    /// The Lamport time of the last query seen.
    QueryClock(LamportTime),
    /// A user event was handed over. The reference ignores this line as a comment.
    Seen {
        /// Lamport time of the event.
        ltime: LamportTime,
        /// Hash of its name and payload ([`crate::serf::event_hash`]).
        hash: u64,
    },
    /// The node is a member of a cluster, and user events of earlier times are not for it: it had them, or it
    /// joined later. The reference ignores this line as a comment.
    Member(LamportTime),
    /// This node left gracefully: it does not rejoin the members listed before.
    Leave,
}

impl SnapshotLine {
    /// Appends the line, including its line feed.
    pub fn encode(&self, output: &mut Vec<u8>) {
        match self {
            SnapshotLine::Alive { name, addr } => encode_member(b"alive: ", name, *addr, output),
            SnapshotLine::Failed { name, addr } => encode_member(FAILED, name, *addr, output),
            SnapshotLine::NotAlive(name) => {
                output.extend_from_slice(b"not-alive: ");
                output.extend_from_slice(name.as_bytes());
            }
            SnapshotLine::Clock(time) => {
                output.extend_from_slice(format!("clock: {time}").as_bytes());
            }
            SnapshotLine::EventClock(time) => {
                output.extend_from_slice(format!("event-clock: {time}").as_bytes());
            }
            SnapshotLine::QueryClock(time) => {
                output.extend_from_slice(format!("query-clock: {time}").as_bytes());
            }
            SnapshotLine::Seen { ltime, hash } => {
                output.extend_from_slice(SEEN);
                output.extend_from_slice(format!("{ltime} {hash:016x}").as_bytes());
            }
            SnapshotLine::Member(first) => {
                output.extend_from_slice(MEMBER);
                output.extend_from_slice(first.to_string().as_bytes());
            }
            SnapshotLine::Leave => output.extend_from_slice(b"leave"),
        }
        output.push(b'\n');
    }
}

/// The state that results from all lines of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Members that were alive, with their addresses.
    pub alive: OrderedMap<NodeName, SocketAddr>,
    /// Members that had failed, with their last addresses.
    pub failed: OrderedMap<NodeName, SocketAddr>,
    /// Last member time seen.
    pub clock: LamportTime,
    /// Last event time seen.
    pub event_clock: LamportTime,
    /// Last query time seen.
    pub query_clock: LamportTime,
    /// The user events handed over recently.
    pub seen: SeenEvents,
    /// The node was a member of a cluster, and user events of times before this one were not for it.
    pub member: Option<LamportTime>,
}

/// Remark for the log: a line that could not be used, or a leave that was ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// `alive` without a valid name and address.
    Address(Vec<u8>),
    /// A clock line without a number; names the clock.
    Clock(&'static str, Vec<u8>),
    /// A line of an unknown kind.
    Unrecognized(Vec<u8>),
    /// A leave that was ignored because rejoin after leave is configured.
    LeaveIgnored,
    /// The file ends within a line of this many bytes; the line is ignored.
    TornTail(usize),
}

impl Remark {
    /// Whether to log this as a warning.
    pub fn is_warning(&self) -> bool {
        *self != Remark::LeaveIgnored
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remark::Address(line) => write!(f, "Failed to parse address: {}", Escaped(line)),
            Remark::Clock(clock, line) => {
                write!(f, "Failed to convert {clock} time: {}", Escaped(line))
            }
            Remark::Unrecognized(line) => {
                write!(f, "Unrecognized snapshot line: {}", Escaped(line))
            }
            Remark::LeaveIgnored => f.write_str("Ignoring previous leave in snapshot"),
            Remark::TornTail(bytes) => {
                write!(
                    f,
                    "Snapshot ends inside a line: dropping its last {}",
                    Count(*bytes as u64, "byte")
                )
            }
        }
    }
}

impl Snapshot {
    /// Decodes a complete file. `rejoin_after_leave`: a leave line does not clear the state.
    ///
    /// Never fails: invalid lines are skipped and reported as remarks. A last line without a line feed is
    /// reported as [`Remark::TornTail`], so that the shell can truncate the file before it appends.
    pub fn decode(file: &[u8], rejoin_after_leave: bool) -> (Snapshot, Vec<Remark>) {
        let (mut snapshot, mut remarks) = (Snapshot::default(), Vec::new());
        for line in file.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    // Files edited on another system: the carriage return is not part of a name or number.
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if let Err(remark) = snapshot.apply(line, rejoin_after_leave) {
                        remarks.push(remark);
                    }
                }
                None => remarks.push(Remark::TornTail(line.len())),
            }
        }
        (snapshot, remarks)
    }

    fn apply(&mut self, line: &[u8], rejoin_after_leave: bool) -> Result<(), Remark> {
        if let Some(rest) = line.strip_prefix(b"alive: ") {
            let (name, addr) = parse_member(rest).ok_or_else(|| Remark::Address(rest.to_vec()))?;
            self.note_alive(name, addr);
        } else if let Some(name) = line.strip_prefix(b"not-alive: ") {
            self.alive.remove(name);
            self.failed.remove(name);
        } else if let Some(rest) = line.strip_prefix(FAILED) {
            let (name, addr) = parse_member(rest).ok_or_else(|| Remark::Address(rest.to_vec()))?;
            self.failed.insert(name, addr);
        } else if let Some(time) = line.strip_prefix(b"clock: ") {
            self.clock = parse_time("clock", time)?;
        } else if let Some(time) = line.strip_prefix(b"event-clock: ") {
            self.event_clock = parse_time("event clock", time)?;
        } else if let Some(time) = line.strip_prefix(b"query-clock: ") {
            self.query_clock = parse_time("query clock", time)?;
        } else if line == b"leave" {
            if rejoin_after_leave {
                return Err(Remark::LeaveIgnored);
            }
            *self = Snapshot::default();
        } else if let Some(event) = line.strip_prefix(SEEN) {
            let event = parse_seen(event).ok_or_else(|| Remark::Unrecognized(line.to_vec()))?;
            self.note_seen(event.0, event.1);
        } else if let Some(first) = line.strip_prefix(MEMBER) {
            self.note_member(parse_time("member", first)?);
        } else if !line.starts_with(b"coordinate: ") && !line.starts_with(b"#") {
            return Err(Remark::Unrecognized(line.to_vec()));
        }
        Ok(())
    }

    fn note_alive(&mut self, name: NodeName, addr: SocketAddr) {
        self.failed.remove(&name);
        self.alive.insert(name, addr);
    }

    fn note_seen(&mut self, ltime: LamportTime, hash: u64) {
        if let Some(given_up) = self.seen.insert(ltime, hash) {
            self.note_member(LamportTime(given_up.0.saturating_add(1)));
        }
    }

    fn note_member(&mut self, first: LamportTime) {
        let first = self.member.unwrap_or_default().max(first);
        self.member = Some(first);
        self.seen.forget_below(first);
    }

    /// Whether the node continues from this snapshot: it was a member of a cluster, or accepted user events.
    pub fn continues(&self) -> bool {
        self.member.is_some() || self.seen.latest().is_some() || self.event_clock > LamportTime(0)
    }

    /// Returns the first time whose user events may be handed over, except those in `seen`.
    ///
    /// An event clock above all times in `seen` is from the reference: it has used the file since, and all
    /// events up to its clock count as seen.
    pub fn first_event_time(&self) -> LamportTime {
        let member = self.member.unwrap_or_default();
        if self.seen.latest() >= Some(self.event_clock) {
            return member;
        }
        member.max(LamportTime(self.event_clock.0.saturating_add(1)))
    }

    /// Iterates over the lines of the compacted file: one line per member, then the three clocks, then the
    /// lines that only this implementation reads.
    pub fn lines(&self) -> impl Iterator<Item = SnapshotLine> {
        let members = self.alive.iter().map(|(name, &addr)| SnapshotLine::Alive {
            name: name.clone(),
            addr,
        });
        members
            .chain([
                SnapshotLine::Clock(self.clock),
                SnapshotLine::EventClock(self.event_clock),
                SnapshotLine::QueryClock(self.query_clock),
            ])
            .chain(
                self.failed
                    .iter()
                    .map(|(name, &addr)| SnapshotLine::Failed {
                        name: name.clone(),
                        addr,
                    }),
            )
            .chain(self.member.map(SnapshotLine::Member))
            .chain(
                self.seen
                    .iter()
                    .map(|(ltime, hash)| SnapshotLine::Seen { ltime, hash }),
            )
    }

    /// Applies a line that was appended to the file.
    pub fn follow(&mut self, line: &SnapshotLine) {
        match line {
            SnapshotLine::Alive { name, addr } => {
                self.note_alive(name.clone(), *addr);
            }
            SnapshotLine::NotAlive(name) => {
                self.alive.remove(name);
                self.failed.remove(name);
            }
            SnapshotLine::Failed { name, addr } => {
                self.failed.insert(name.clone(), *addr);
            }
            SnapshotLine::Clock(time) => self.clock = *time,
            SnapshotLine::EventClock(time) => self.event_clock = *time,
            SnapshotLine::QueryClock(time) => self.query_clock = *time,
            SnapshotLine::Seen { ltime, hash } => self.note_seen(*ltime, *hash),
            SnapshotLine::Member(first) => self.note_member(*first),
            SnapshotLine::Leave => *self = Snapshot::default(),
        }
    }

    /// Returns the file size from which compaction is worthwhile.
    pub fn compaction_threshold_bytes(&self) -> u64 {
        const LEAST: u64 = 128 << 10;
        const PER_MEMBER: u64 = 2 * 128;
        LEAST.max(PER_MEMBER * (self.alive.len() + self.failed.len()) as u64)
    }
}

fn encode_member(kind: &[u8], name: &NodeName, addr: SocketAddr, output: &mut Vec<u8>) {
    output.extend_from_slice(kind);
    output.extend_from_slice(name.as_bytes());
    output.extend_from_slice(format!(" {addr}").as_bytes());
}

/// Parses a name and an address. Names may contain spaces; the address follows the last one.
fn parse_member(rest: &[u8]) -> Option<(NodeName, SocketAddr)> {
    let space = rest.iter().rposition(|&byte| byte == b' ')?;
    let name = NodeName::new(rest.get(..space)?).ok()?;
    let addr = std::str::from_utf8(rest.get(space + 1..)?).ok()?;
    Some((name, addr.parse().ok()?))
}

/// Parses the time and the hash of an event.
fn parse_seen(rest: &[u8]) -> Option<(LamportTime, u64)> {
    let (ltime, hash) = std::str::from_utf8(rest).ok()?.split_once(' ')?;
    let hash = u64::from_str_radix(hash, 16).ok()?;
    Some((LamportTime(ltime.parse().ok()?), hash))
}

fn parse_time(clock: &'static str, digits: &[u8]) -> Result<LamportTime, Remark> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .map(LamportTime)
        .ok_or_else(|| Remark::Clock(clock, digits.to_vec()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
