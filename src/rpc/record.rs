//! What a client gets from its streams and its monitor (agent spec 2.4).

use super::reply::Member;
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
}

impl EventRecord {
    /// Reads one.
    ///
    /// # Errors
    /// If it is not one.
    pub fn decode(value: &[u8]) -> Result<Self, Error> {
        const FIELDS: [&str; 7] = [
            "Event", "Members", "LTime", "Name", "Payload", "Coalesce", "ID",
        ];
        let mut record = EventRecord::default();
        Reader::new(value).fields(&FIELDS, |field, r| {
            match field {
                0 => record.event = r.text()?.to_vec(),
                1 => {
                    let count = r.array()?;
                    let members = (0..count).map(|_| Member::decode(r));
                    record.members = Some(members.collect::<Result<_, _>>()?);
                }
                2 => record.ltime = Some(r.u64()?),
                3 => record.name = Some(r.text()?.to_vec()),
                4 => record.payload = Some(r.bytes()?.unwrap_or_default()),
                5 => record.coalesce = Some(r.bool()?),
                _ => record.id = Some(r.u64()?),
            }
            Ok::<_, Error>(())
        })?;
        Ok(record)
    }
}
