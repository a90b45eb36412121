//! Encoding of the agent's output: headers, bodies and records (agent spec 2.4).

use std::net::{IpAddr, SocketAddr};

use super::TextMap;
use super::details::Details;
use super::request::text_map;
use crate::ordered::OrderedMap;
use crate::serf::{self, Event, MemberEvent, QueryRecord};
use crate::wire::msgpack::{Dialect, Error, Reader, Writer};
use crate::wire::serf::MEMBER_FIELDS;

/// First value of a reply or record.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReplyHeader {
    /// Sequence number of the request or stream.
    pub seq: u64,
    /// Error message; empty on success.
    pub error: Vec<u8>,
}

impl ReplyHeader {
    /// Decodes a header.
    ///
    /// # Errors
    /// If it is neither a map nor an array, or a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        let mut header = ReplyHeader::default();
        Reader::new(value).fields(&["Seq", "Error"], |field, reader| {
            match field {
                0 => header.seq = reader.u64()?,
                _ => header.error = reader.text()?.to_vec(),
            }
            Ok::<_, Error>(())
        })?;
        Ok(header)
    }
}

/// Starts a reply or record with its header; the caller may append a body.
pub fn header(seq: u64, error: &str) -> Writer {
    let mut writer = Writer::new(Dialect::Rpc);
    writer.map(2).key("Error").text(error);
    writer.key("Seq").uint(seq);
    writer
}

/// Writes the body of a reply to `join`.
pub fn write_joined(w: &mut Writer, contacted: usize) {
    let contacted = i64::try_from(contacted).unwrap_or(i64::MAX);
    w.map(1).key("Num").int(contacted.min(i64::from(i32::MAX)));
}

/// Writes the body of a reply to `members` or `members-filtered`.
pub fn write_members(w: &mut Writer, members: &[&serf::Member]) {
    w.map(1).key("Members").array(members.len());
    for member in members {
        write_member(w, member);
    }
}

fn write_member(w: &mut Writer, member: &serf::Member) {
    let versions = &member.versions;
    w.map(11).key("Addr");
    match member.addr.ip() {
        IpAddr::V4(ip) => w.bytes(&ip.octets()),
        IpAddr::V6(ip) => w.bytes(&ip.octets()),
    };
    w.key("DelegateCur").uint(versions.delegate_current.into());
    w.key("DelegateMax").uint(versions.delegate_max.into());
    w.key("DelegateMin").uint(versions.delegate_min.into());
    w.key("Name").text(member.name.as_bytes());
    w.key("Port").uint(member.addr.port().into());
    w.key("ProtocolCur").uint(versions.protocol_current.into());
    w.key("ProtocolMax").uint(versions.protocol_max.into());
    w.key("ProtocolMin").uint(versions.protocol_min.into());
    w.key("Status").text(member.status.as_str());
    let tags = member.tags();
    w.key("Tags").map(tags.len());
    for (key, value) in tags.iter() {
        w.text(key).text(value);
    }
}

/// Groups of values in a reply to `stats`.
pub type Stats = OrderedMap<Vec<u8>, TextMap>;

/// Writes the body of a reply to `stats`.
pub fn write_stats(w: &mut Writer, stats: &Stats) {
    w.map(stats.len());
    for (group, figures) in stats {
        w.text(group).map(figures.len());
        for (key, value) in figures {
            w.text(key).text(value);
        }
    }
}

/// Writes the body of an event stream's record. `query_id` is the id to use in an answer.
pub fn event_record(event: &Event, query_id: u64, details: Option<&Details<'_>>) -> Vec<u8> {
    let mut writer = Writer::new(Dialect::Rpc);
    let w = &mut writer;
    let more = details.map_or(0, |_| Details::FIELDS);
    match event {
        Event::Member(MemberEvent { kind, members }) => {
            w.map(2 + more).key("Event").text(kind.as_str());
            w.key("Members").array(members.len());
            for member in members {
                write_member(w, member);
            }
        }
        Event::User(event) => {
            w.map(5 + more).key("Coalesce").bool(event.coalesce);
            w.key("Event").text("user");
            w.key("LTime").uint(event.ltime.0);
            w.key("Name").text(&event.name);
            w.key("Payload").bytes(&event.payload);
        }
        Event::Query(query) => {
            w.map(5 + more).key("Event").text("query");
            w.key("ID").uint(query_id);
            w.key("LTime").uint(query.ltime.0);
            w.key("Name").text(&query.name);
            w.key("Payload").bytes(&query.payload);
        }
    }
    if let Some(details) = details {
        details.write(w, event);
    }
    writer.into_bytes()
}

/// Writes the body of a query's record.
pub fn write_query_record(w: &mut Writer, record: &QueryRecord) {
    let (kind, from, payload) = match record {
        QueryRecord::Ack { from } => ("ack", from.as_bytes(), None),
        QueryRecord::Response { from, payload } => {
            ("response", from.as_bytes(), payload.as_deref())
        }
        QueryRecord::Done => ("done", &b""[..], None),
    };
    w.map(3).key("From").text(from);
    w.key("Payload").bytes_or_nil(payload);
    w.key("Type").text(kind);
}

/// A member, as decoded by a client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub struct Member {
    pub name: Vec<u8>,
    /// 4 or 16 bytes, unless the agent is faulty.
    pub addr: Vec<u8>,
    pub port: u16,
    pub tags: TextMap,
    pub status: Vec<u8>,
    pub protocol_min: u8,
    pub protocol_max: u8,
    pub protocol_current: u8,
    pub delegate_min: u8,
    pub delegate_max: u8,
    pub delegate_current: u8,
}

impl Member {
    /// Returns its IP address; `None` if the length is wrong.
    pub fn ip(&self) -> Option<IpAddr> {
        if let Ok(octets) = <[u8; 4]>::try_from(&*self.addr) {
            return Some(octets.into());
        }
        let octets = <[u8; 16]>::try_from(&*self.addr).ok()?;
        // The reference sends some IPv4 addresses as 16 bytes.
        Some(IpAddr::from(octets).to_canonical())
    }

    /// Returns its address and port.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        self.ip().map(|ip| SocketAddr::new(ip, self.port))
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, Error> {
        let mut member = Member::default();
        reader.fields(&MEMBER_FIELDS, |field, r| {
            match field {
                0 => member.name = r.text()?.to_vec(),
                1 => member.addr = r.bytes()?.unwrap_or_default(),
                2 => member.port = r.u16()?,
                3 => member.tags = text_map(r)?,
                4 => member.status = r.text()?.to_vec(),
                5 => member.protocol_min = r.u8()?,
                6 => member.protocol_max = r.u8()?,
                7 => member.protocol_current = r.u8()?,
                8 => member.delegate_min = r.u8()?,
                9 => member.delegate_max = r.u8()?,
                _ => member.delegate_current = r.u8()?,
            }
            Ok::<_, Error>(())
        })?;
        Ok(member)
    }
}

/// Decodes the body of a reply to `members` or `members-filtered`.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_members(value: &[u8]) -> Result<Vec<Member>, Error> {
    let mut members = Vec::new();
    Reader::new(value).fields(&["Members"], |_, reader| {
        members = reader.list(Member::decode)?;
        Ok::<_, Error>(())
    })?;
    Ok(members)
}

/// Decodes the body of a reply to `join`: the number of nodes contacted.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_joined(value: &[u8]) -> Result<i32, Error> {
    let mut contacted = 0;
    Reader::new(value).fields(&["Num"], |_, reader| {
        contacted = reader.i32()?;
        Ok::<_, Error>(())
    })?;
    Ok(contacted)
}

/// Decodes the body of a reply to `stats`.
///
/// # Errors
/// If it is not a map of maps of text.
pub fn decode_stats(value: &[u8]) -> Result<Stats, Error> {
    let mut reader = Reader::new(value);
    let count = reader.map()?;
    (0..count)
        .map(|_| Ok((reader.text()?.to_vec(), text_map(&mut reader)?)))
        .collect()
}

/// A record of a query, as decoded by a client.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Record {
    /// `ack`, `response` or `done`.
    pub kind: Vec<u8>,
    /// Name of the node that answers; empty for `done`.
    pub from: Vec<u8>,
    /// Payload of a response.
    pub payload: Option<Vec<u8>>,
}

impl Record {
    /// Decodes the body of a query's record.
    ///
    /// # Errors
    /// If the body is malformed or a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        let mut record = Record::default();
        Reader::new(value).fields(&["Type", "From", "Payload"], |field, reader| {
            match field {
                0 => record.kind = reader.text()?.to_vec(),
                1 => record.from = reader.text()?.to_vec(),
                _ => record.payload = reader.bytes()?,
            }
            Ok::<_, Error>(())
        })?;
        Ok(record)
    }
}
