//! What a client gets from its streams and its monitor (agent spec 2.4).

use super::TextMap;
use super::reply::Member;
use super::request::text_map;
use crate::wire::msgpack::{Error, Reader, Writer};

/// The body of a monitor's record.
pub fn write_line(w: &mut Writer, line: &str) {
    w.map(1).key("Log").text(line);
}

/// Reads the body of a monitor's record.
///
/// # Errors
/// If it is not one.
pub fn decode_line(value: &[u8]) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    Reader::new(value).fields(&["Log"], |_, reader| {
        line = reader.text()?.to_vec();
        Ok::<_, Error>(())
    })?;
    Ok(line)
}

/// The body of a stream's record; what an event of its kind does not have is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct EventRecord {
    /// `member-join` and so on, `user` or `query`.
    pub event: Vec<u8>,
    /// Whom it is about.
    pub members: Option<Vec<Member>>,
    /// Its time.
    pub ltime: Option<u64>,
    /// Of a user event or query.
    pub name: Option<Vec<u8>>,
    /// Of a user event or query.
    pub payload: Option<Vec<u8>>,
    /// Of a user event.
    pub coalesce: Option<bool>,
    /// What to answer a query with.
    pub id: Option<u64>,
    /// What the agent tells beyond the reference.
    pub more: Option<More>,
}

/// [`Details`](crate::rpc::details::Details) as a client gets them.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct More {
    /// The event's id.
    pub id: Vec<u8>,
    /// When the agent took it in, in microseconds since 1970.
    pub taken_micros: u64,
    /// The name of the agent's node.
    pub node: Vec<u8>,
    /// Its tags.
    pub tags: TextMap,
    /// Who asks, if the query says so; empty otherwise.
    pub from: Vec<u8>,
    /// Until when an answer to a query is of use, in microseconds since 1970.
    pub deadline_micros: u64,
}

impl EventRecord {
    /// Reads one.
    ///
    /// # Errors
    /// If it is not one.
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
