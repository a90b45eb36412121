//! Records of a client's event streams and monitor (agent spec 2.4).

use super::TextMap;
use super::reply::Member;
use super::request::text_map;
use crate::wire::msgpack::{Error, Reader, Writer};

/// Writes the body of a monitor record.
pub fn write_line(w: &mut Writer, line: &str) {
    w.map(1).key("Log").text(line);
}

/// Decodes the body of a monitor record.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_line(value: &[u8]) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    Reader::new(value).fields(&["Log"], |_, reader| {
        line = reader.text()?.to_vec();
        Ok::<_, Error>(())
    })?;
    Ok(line)
}

/// Body of an event stream's record; fields that its type of event lacks are `None`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventRecord {
    /// Type: `user`, `query`, `member-join` and so on.
    pub event: Vec<u8>,
    /// Members of a member event.
    pub members: Option<Vec<Member>>,
    /// Lamport time.
    pub ltime: Option<u64>,
    /// Name of a user event or query.
    pub name: Option<Vec<u8>>,
    /// Payload of a user event or query.
    pub payload: Option<Vec<u8>>,
    /// Whether a user event may be coalesced.
    pub coalesce: Option<bool>,
    /// Id to use in the answer to a query.
    pub id: Option<u64>,
    /// Fields that only cottar's agents send.
    pub more: Option<More>,
}

/// Decoded [`Details`](crate::rpc::details::Details).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct More {
    /// The event's id.
    pub id: Vec<u8>,
    /// When the agent received it, in microseconds since 1970.
    pub taken_micros: u64,
    /// Name of the agent's node.
    pub node: Vec<u8>,
    /// Tags of the agent's node.
    pub tags: TextMap,
    /// Name of the node that asks the query, if known; else empty.
    pub from: Vec<u8>,
    /// Deadline for answers to a query, in microseconds since 1970.
    pub deadline_micros: u64,
}

impl EventRecord {
    /// Decodes the body of an event stream's record.
    ///
    /// # Errors
    /// If the body is malformed or a field has the wrong type.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        const FIELDS: [&str; 12] = [
            "Event", "Members", "LTime", "Name", "Payload", "Coalesce", "ID", "EventID", "Taken",
            "Self", "From", "Deadline",
        ];
        let mut record = EventRecord::default();
        Reader::new(value).fields(&FIELDS, |field, r| {
            match field {
                0 => record.event = r.text()?.to_vec(),
                1 => record.members = Some(r.list(Member::decode)?),
                2 => record.ltime = Some(r.u64()?),
                3 => record.name = Some(r.text()?.to_vec()),
                4 => record.payload = Some(r.bytes()?.unwrap_or_default()),
                5 => record.coalesce = Some(r.bool()?),
                6 => record.id = Some(r.u64()?),
                field => record.more.get_or_insert_default().decode(field, r)?,
            }
            Ok::<_, Error>(())
        })?;
        Ok(record)
    }
}

impl More {
    fn decode(&mut self, field: usize, r: &mut Reader<'_>) -> Result<(), Error> {
        match field {
            7 => self.id = r.text()?.to_vec(),
            8 => self.taken_micros = r.u64()?,
            9 => r.fields(&["Name", "Tags"], |field, r| {
                match field {
                    0 => self.node = r.text()?.to_vec(),
                    _ => self.tags = text_map(r)?,
                }
                Ok::<_, Error>(())
            })?,
            10 => self.from = r.text()?.to_vec(),
            _ => self.deadline_micros = r.u64()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::details::Details;
    use crate::rpc::reply::event_record;
    use crate::serf::{Event, LamportTime, Query, Tags};
    use crate::time::Instant;
    use crate::wire::NodeName;

    #[test]
    fn details_come_back_as_they_went() {
        let event = Event::Query(Query {
            ltime: LamportTime(7),
            id: 9,
            name: b"load".to_vec(),
            payload: b"\xff".to_vec(),
            source_node: NodeName::new(b"n2").ok(),
            deadline: Instant::ORIGIN,
        });
        let mut tags = Tags::new();
        tags.set(b"role", b"web");
        let details = Details {
            id: "query:7:9".into(),
            taken_micros: u64::MAX,
            local: (b"n1", &tags),
            deadline_micros: 5,
        };
        let plain = EventRecord::decode(&event_record(&event, 3, None));
        let more = More {
            id: b"query:7:9".to_vec(),
            taken_micros: u64::MAX,
            node: b"n1".to_vec(),
            tags: [(b"role".to_vec(), b"web".to_vec())].into(),
            from: b"n2".to_vec(),
            deadline_micros: 5,
        };
        let detailed = plain.clone().map(|plain| EventRecord {
            more: Some(more),
            ..plain
        });
        let bytes = event_record(&event, 3, Some(&details));
        assert_eq!(EventRecord::decode(&bytes), detailed);
        assert!(plain.is_ok_and(|plain| plain.more.is_none() && plain.id == Some(3)));
    }
}
