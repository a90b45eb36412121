//! The snapshot: a log of text lines from which a node finds back into its cluster (gossip spec 5.17,
//! agent spec 4.10). The codec alone; the file is the shell's.

use std::fmt;
use std::net::SocketAddr;

use crate::ordered::OrderedMap;
use crate::wire::NodeName;
use crate::wire::name::Escaped;
use crate::wire::serf::LamportTime;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotLine {
    /// A member joined.
    Alive {
        /// Which.
        name: NodeName,
        /// Where it is.
        addr: SocketAddr,
    },
    /// A member left or failed.
    NotAlive(NodeName),
    /// The last member time seen: the clock - 1.
    Clock(LamportTime),
    /// The time of the last user event seen.
    EventClock(LamportTime),
    /// The time of the last query seen.
    QueryClock(LamportTime),
    /// This node left on purpose: what stands above is not to be rejoined.
    Leave,
}

impl SnapshotLine {
    /// Appends the line, its line feed included.
    pub fn encode(&self, output: &mut Vec<u8>) {
        match self {
            SnapshotLine::Alive { name, addr } => {
                output.extend_from_slice(b"alive: ");
                output.extend_from_slice(name.as_bytes());
                output.extend_from_slice(format!(" {addr}").as_bytes());
            }
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
            SnapshotLine::Leave => output.extend_from_slice(b"leave"),
        }
        output.push(b'\n');
    }
}

/// What a snapshot says when all its lines are taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Members that were alive, with their addresses.
    pub alive: OrderedMap<NodeName, SocketAddr>,
    /// Last member time seen.
    pub clock: LamportTime,
    /// Last event time seen.
    pub event_clock: LamportTime,
    /// Last query time seen.
    pub query_clock: LamportTime,
}

/// A line that could not be used, or a leave that was overruled. Shown in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// `alive` without a usable name and address.
    Address(Vec<u8>),
    /// A clock line without a number; names the clock.
    Clock(&'static str, Vec<u8>),
    /// A line of no known kind.
    Unrecognized(Vec<u8>),
    /// A leave that the operator's rejoin setting overrules.
    LeaveIgnored,
    /// The file ends inside a line of this many bytes; it counts as not written.
    TornTail(usize),
}

impl Remark {
    /// Whether an operator should look at the file.
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
                    "Snapshot ends inside a line: dropping its last {bytes} bytes"
                )
            }
        }
    }
}

impl Snapshot {
    /// Reads a whole file. `rejoin_after_leave`: a leave does not make it forget.
    ///
    /// Nothing in it is fatal: lines that make no sense are passed over and remarked upon. The
    /// bytes of a last line without a line feed are told by [`Remark::TornTail`], so that the shell
    /// can cut them off before it appends.
    pub fn decode(file: &[u8], rejoin_after_leave: bool) -> (Snapshot, Vec<Remark>) {
        let (mut snapshot, mut remarks) = (Snapshot::default(), Vec::new());
        for line in file.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => {
                    // Files that went through an editor on another system: the carriage return is
                    // no part of a name or a number.
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
            let (name, addr) = parse_alive(rest).ok_or_else(|| Remark::Address(rest.to_vec()))?;
            self.alive.insert(name, addr);
        } else if let Some(name) = line.strip_prefix(b"not-alive: ") {
            self.alive.remove(name);
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
        } else if !line.starts_with(b"coordinate: ") && !line.starts_with(b"#") {
            return Err(Remark::Unrecognized(line.to_vec()));
        }
        Ok(())
    }

    /// The lines of a compacted file: a line a member, then the three clocks.
    pub fn lines(&self) -> impl Iterator<Item = SnapshotLine> {
        let members = self.alive.iter().map(|(name, &addr)| SnapshotLine::Alive {
            name: name.clone(),
            addr,
        });
        members.chain([
            SnapshotLine::Clock(self.clock),
            SnapshotLine::EventClock(self.event_clock),
            SnapshotLine::QueryClock(self.query_clock),
        ])
    }

    /// Follows a line that was appended.
    pub fn follow(&mut self, line: &SnapshotLine) {
        match line {
            SnapshotLine::Alive { name, addr } => {
                self.alive.insert(name.clone(), *addr);
            }
            SnapshotLine::NotAlive(name) => {
                self.alive.remove(name);
            }
            SnapshotLine::Clock(time) => self.clock = *time,
            SnapshotLine::EventClock(time) => self.event_clock = *time,
            SnapshotLine::QueryClock(time) => self.query_clock = *time,
            SnapshotLine::Leave => *self = Snapshot::default(),
        }
    }

    /// The size from which the file is worth compacting.
    pub fn compaction_threshold_bytes(&self) -> u64 {
        const LEAST: u64 = 128 << 10;
        const PER_MEMBER: u64 = 2 * 128;
        LEAST.max(PER_MEMBER * self.alive.len() as u64)
    }
}

/// Names may hold spaces: the address stands behind the last one.
fn parse_alive(rest: &[u8]) -> Option<(NodeName, SocketAddr)> {
    let space = rest.iter().rposition(|&byte| byte == b' ')?;
    let name = NodeName::new(rest.get(..space)?).ok()?;
    let addr = std::str::from_utf8(rest.get(space + 1..)?).ok()?;
    Some((name, addr.parse().ok()?))
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
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text.as_bytes()).unwrap()
    }

    fn decode(text: &str) -> (Snapshot, Vec<Remark>) {
        Snapshot::decode(text.as_bytes(), false)
    }

    #[test]
    fn the_last_line_wins() {
        let (snapshot, remarks) = decode(
            "alive: n 2 127.0.0.1:28202\nalive: n3 [::1]:7946\nclock: 4\nnot-alive: n3\n\
             alive: n 2 127.0.0.1:28203\n# a comment\ncoordinate: old\nclock: 7\nevent-clock: 2\n\
             query-clock: 3\n",
        );
        assert!(remarks.is_empty());
        assert_eq!(snapshot.alive.len(), 1);
        assert_eq!(
            snapshot.alive.get(&name("n 2")),
            Some(&"127.0.0.1:28203".parse().unwrap())
        );
        let clocks = (
            snapshot.clock.0,
            snapshot.event_clock.0,
            snapshot.query_clock.0,
        );
        assert_eq!(clocks, (7, 2, 3));
    }

    #[test]
    fn a_leave_forgets_unless_told_otherwise() {
        let text = "alive: a 127.0.0.1:1\nclock: 4\nleave\nclock: 6\n";
        let (snapshot, _) = decode(text);
        assert!(snapshot.alive.is_empty());
        assert_eq!(snapshot.clock, LamportTime(6));
        let (snapshot, remarks) = Snapshot::decode(text.as_bytes(), true);
        assert_eq!(
            (snapshot.alive.len(), remarks),
            (1, vec![Remark::LeaveIgnored])
        );
    }

    #[test]
    fn bad_lines_are_passed_over() {
        let (snapshot, remarks) = decode(
            "alive: nowhere\nalive: x 1.2.3:4\nclock: -1\nevent-clock: x\n\nbogus\r\n\
             clock: 5\r\nalive: b 127.0.0.1:9\nalive: c 127.0",
        );
        assert_eq!(snapshot.clock, LamportTime(5));
        assert_eq!(snapshot.alive.len(), 1);
        let expected = [
            Remark::Address(b"nowhere".to_vec()),
            Remark::Address(b"x 1.2.3:4".to_vec()),
            Remark::Clock("clock", b"-1".to_vec()),
            Remark::Clock("event clock", b"x".to_vec()),
            Remark::Unrecognized(Vec::new()),
            Remark::Unrecognized(b"bogus".to_vec()),
            Remark::TornTail(14),
        ];
        assert_eq!(remarks, expected);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut snapshot = Snapshot::default();
        let lines = [
            SnapshotLine::Alive {
                name: name("a b"),
                addr: "[::1]:7946".parse().unwrap(),
            },
            SnapshotLine::Alive {
                name: name("c"),
                addr: "10.0.0.1:7946".parse().unwrap(),
            },
            SnapshotLine::NotAlive(name("c")),
            SnapshotLine::Clock(LamportTime(9)),
            SnapshotLine::EventClock(LamportTime(u64::MAX)),
            SnapshotLine::QueryClock(LamportTime(1)),
        ];
        let mut file = Vec::new();
        for line in &lines {
            line.encode(&mut file);
            snapshot.follow(line);
        }
        assert_eq!(
            Snapshot::decode(&file, false),
            (snapshot.clone(), Vec::new())
        );
        let mut compacted = Vec::new();
        snapshot
            .lines()
            .for_each(|line| line.encode(&mut compacted));
        assert_eq!(
            Snapshot::decode(&compacted, false),
            (snapshot.clone(), Vec::new())
        );
        SnapshotLine::Leave.encode(&mut file);
        snapshot.follow(&SnapshotLine::Leave);
        assert_eq!(Snapshot::decode(&file, false), (snapshot, Vec::new()));
    }
}
