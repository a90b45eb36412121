//! The Serf layer's state in a push/pull.

use std::borrow::Cow;

use super::super::msgpack::{self, Reader, Writer};
use super::super::{DecodeError, NodeName, limits};
use super::{LamportTime, body_of, message_type, writer_of};

/// The user state of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SerfPushPull {
    /// Member clock.
    pub ltime: LamportTime,
    /// Lamport time of each known member's last intent, in the order sent.
    pub status_ltimes: Vec<(NodeName, LamportTime)>,
    /// Names of members with status left.
    pub left_members: Vec<NodeName>,
    /// Event clock.
    pub event_ltime: LamportTime,
    /// Recent user events. Nil elements from the wire are kept as `None`, so that captured bytes re-encode
    /// unchanged; we send none.
    pub events: Vec<Option<RecentEvents>>,
    /// Query clock.
    pub query_ltime: LamportTime,
}

/// User events of one Lamport time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentEvents {
    /// Lamport time of the events.
    pub ltime: LamportTime,
    /// Name and payload of each.
    pub events: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl SerfPushPull {
    /// Decodes user state, type byte first.
    ///
    /// Skips invalid names: one bad member must not cost us the clocks, the events and all other members.
    ///
    /// # Errors
    /// Fails if the type byte is wrong, the body is malformed, or a count exceeds its limit.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        const FIELDS: &[&str] = &[
            "LTime",
            "StatusLTimes",
            "LeftMembers",
            "EventLTime",
            "Events",
            "QueryLTime",
        ];
        let mut reader = body_of(bytes, message_type::PUSH_PULL)?;
        let mut state = SerfPushPull::default();
        reader.fields::<DecodeError>(FIELDS, |field, reader| {
            match field {
                0 => state.ltime = LamportTime(reader.u64()?),
                1 => state.status_ltimes = decode_status_ltimes(reader)?,
                2 => state.left_members = decode_left_members(reader)?,
                3 => state.event_ltime = LamportTime(reader.u64()?),
                4 => state.events = decode_recent_events(reader)?,
                _ => state.query_ltime = LamportTime(reader.u64()?),
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// Encodes the user state, type byte first.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = writer_of(message_type::PUSH_PULL);
        writer.map(6).key("EventLTime").uint(self.event_ltime.0);
        writer.key("Events").array(self.events.len());
        for recent in &self.events {
            match recent {
                Some(recent) => recent.encode(&mut writer),
                None => {
                    writer.nil();
                }
            }
        }
        writer.key("LTime").uint(self.ltime.0);
        writer.key("LeftMembers").array(self.left_members.len());
        for name in &self.left_members {
            writer.text(name.as_bytes());
        }
        writer.key("QueryLTime").uint(self.query_ltime.0);
        writer.key("StatusLTimes").map(self.status_ltimes.len());
        for (name, ltime) in &self.status_ltimes {
            writer.text(name.as_bytes()).uint(ltime.0);
        }
        writer.into_bytes()
    }
}

/// Checks the count of elements that take far more memory than wire bytes against `max`.
fn within(count: usize, max: usize, what: &'static str) -> Result<usize, DecodeError> {
    if count > max {
        return Err(DecodeError::TooLarge(what));
    }
    Ok(count)
}

fn decode_status_ltimes(
    reader: &mut Reader<'_>,
) -> Result<Vec<(NodeName, LamportTime)>, DecodeError> {
    let count = within(reader.map()?, limits::PUSH_PULL_NODES_MAX, "StatusLTimes")?;
    let mut status_ltimes = Vec::new();
    for _ in 0..count {
        let name = reader.text()?;
        let ltime = LamportTime(reader.u64()?);
        if let Ok(name) = NodeName::new(name) {
            status_ltimes.push((name, ltime));
        }
    }
    Ok(status_ltimes)
}

fn decode_left_members(reader: &mut Reader<'_>) -> Result<Vec<NodeName>, DecodeError> {
    let count = within(reader.array()?, limits::PUSH_PULL_NODES_MAX, "LeftMembers")?;
    let mut left_members = Vec::new();
    for _ in 0..count {
        if let Ok(name) = NodeName::new(reader.text()?) {
            left_members.push(name);
        }
    }
    Ok(left_members)
}

fn decode_recent_events(reader: &mut Reader<'_>) -> Result<Vec<Option<RecentEvents>>, DecodeError> {
    let slots = within(reader.array()?, limits::RECENT_EVENTS_MAX, "Events")?;
    let mut events_left = limits::RECENT_EVENTS_MAX;
    let mut recent = Vec::new();
    for _ in 0..slots {
        recent.push(if reader.take_nil()? {
            None
        } else {
            Some(RecentEvents::decode(reader, &mut events_left)?)
        });
    }
    Ok(recent)
}

impl RecentEvents {
    fn decode(reader: &mut Reader<'_>, events_left: &mut usize) -> Result<Self, DecodeError> {
        let mut recent = RecentEvents {
            ltime: LamportTime(0),
            events: Vec::new(),
        };
        reader.fields::<DecodeError>(&["LTime", "Events"], |field, reader| {
            if field == 0 {
                recent.ltime = LamportTime(reader.u64()?);
                return Ok(());
            }
            recent.events.clear();
            let count = within(reader.array()?, *events_left, "Events")?;
            *events_left -= count;
            for _ in 0..count {
                recent.events.push(decode_recent_event(reader)?);
            }
            Ok(())
        })?;
        Ok(recent)
    }

    fn encode(&self, writer: &mut Writer) {
        writer.map(2).key("Events").array(self.events.len());
        for (name, payload) in &self.events {
            writer.map(2).key("Name").text(name);
            writer.key("Payload").bytes_or_nil(payload.as_deref());
        }
        writer.key("LTime").uint(self.ltime.0);
    }
}

fn decode_recent_event(
    reader: &mut Reader<'_>,
) -> Result<(Vec<u8>, Option<Vec<u8>>), msgpack::Error> {
    let (mut name, mut payload) = (&[][..], None);
    reader.fields::<msgpack::Error>(&["Name", "Payload"], |field, reader| {
        match field {
            0 => name = reader.text()?,
            _ => payload = reader.bytes_borrowed()?,
        }
        Ok(())
    })?;
    Ok((name.to_vec(), payload.map(Cow::into_owned)))
}
