//! Replies to `cottar-handler-queue`, `cottar-handler-drop` and `cottar-event`, which the reference does not
//! have. cottar-handler(7) documents them for authors of clients.

use crate::wire::msgpack::{Error, Reader, Writer};

/// A pending or active run of a handler.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct QueueEntry {
    /// The event's id.
    pub id: Vec<u8>,
    /// When the agent received the event, in microseconds since 1970.
    pub taken_micros: u64,
    /// Age of the event in microseconds.
    pub age_micros: u64,
    /// The event as log lines name it.
    pub event: Vec<u8>,
    /// Names of the first few members of a member event.
    pub members: Vec<Vec<u8>>,
    /// Number of members of a member event.
    pub member_count: u64,
    /// Name of the handler; its filter and script if it no longer exists.
    pub handler: Vec<u8>,
    /// How often the run has begun.
    pub attempts: u64,
    /// State: `running`, `waiting`, `held`, `settling`, `retrying`, `paused` or `missing`.
    pub state: Vec<u8>,
}

const FIELDS: [&str; 9] = [
    "Age",
    "Attempts",
    "Event",
    "Handler",
    "ID",
    "MemberCount",
    "Members",
    "State",
    "Taken",
];

/// Writes the body of the reply: the entries in order, and how many more events wait.
pub fn write_queue(w: &mut Writer, entries: &[QueueEntry], more: u64) {
    w.map(2).key("Entries").array(entries.len());
    for entry in entries {
        w.map(FIELDS.len());
        w.key("Age").uint(entry.age_micros);
        w.key("Attempts").uint(entry.attempts);
        w.key("Event").text(&entry.event);
        w.key("Handler").text(&entry.handler);
        w.key("ID").text(&entry.id);
        w.key("MemberCount").uint(entry.member_count);
        w.key("Members").array(entry.members.len());
        for name in &entry.members {
            w.text(name);
        }
        w.key("State").text(&entry.state);
        w.key("Taken").uint(entry.taken_micros);
    }
    w.key("More").uint(more);
}

/// Decodes the body of the reply.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_queue(value: &[u8]) -> Result<(Vec<QueueEntry>, u64), Error> {
    let (mut entries, mut more) = (Vec::new(), 0);
    Reader::new(value).fields(&["Entries", "More"], |field, reader| {
        if field == 1 {
            more = reader.u64()?;
            return Ok::<_, Error>(());
        }
        entries = reader.list(decode_entry)?;
        Ok(())
    })?;
    Ok((entries, more))
}

fn decode_entry(reader: &mut Reader<'_>) -> Result<QueueEntry, Error> {
    let mut entry = QueueEntry::default();
    reader.fields(&FIELDS, |field, r| {
        match field {
            0 => entry.age_micros = r.u64()?,
            1 => entry.attempts = r.u64()?,
            2 => entry.event = r.text()?.to_vec(),
            3 => entry.handler = r.text()?.to_vec(),
            4 => entry.id = r.text()?.to_vec(),
            5 => entry.member_count = r.u64()?,
            6 => entry.members = r.list(|r| r.text().map(<[u8]>::to_vec))?,
            7 => entry.state = r.text()?.to_vec(),
            _ => entry.taken_micros = r.u64()?,
        }
        Ok::<_, Error>(())
    })?;
    Ok(entry)
}

/// Writes the body of the reply to `cottar-handler-drop`: how many runs were dropped.
pub fn write_dropped(w: &mut Writer, count: u64) {
    w.map(1).key("Dropped").uint(count);
}

/// Decodes the body of the reply to `cottar-handler-drop`.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_dropped(value: &[u8]) -> Result<u64, Error> {
    let mut count = 0;
    let read = |_, r: &mut Reader<'_>| r.u64().map(|n| count = n);
    Reader::new(value).fields(&["Dropped"], read)?;
    Ok(count)
}

/// A user event that was fired.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Fired {
    /// Its Lamport time.
    pub ltime: u64,
    /// Its id.
    pub id: Vec<u8>,
}

/// Writes the body of the reply to `cottar-event`.
pub fn write_fired(w: &mut Writer, fired: &Fired) {
    w.map(2).key("ID").text(&fired.id);
    w.key("LTime").uint(fired.ltime);
}

/// Decodes the body of the reply to `cottar-event`.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_fired(value: &[u8]) -> Result<Fired, Error> {
    let mut fired = Fired::default();
    Reader::new(value).fields(&["ID", "LTime"], |field, r| {
        match field {
            0 => fired.id = r.text()?.to_vec(),
            _ => fired.ltime = r.u64()?,
        }
        Ok::<_, Error>(())
    })?;
    Ok(fired)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msgpack::{Dialect, written};

    #[test]
    fn what_is_written_is_read() {
        let entry = QueueEntry {
            id: b"user:1:00".to_vec(),
            taken_micros: u64::MAX,
            age_micros: 7,
            event: b"member-failed".to_vec(),
            members: vec![b"a\xff".to_vec(), b"b".to_vec()],
            member_count: 7,
            handler: b"sh".to_vec(),
            attempts: 2,
            state: b"running".to_vec(),
        };
        let entries = [entry, QueueEntry::default()];
        let bytes = written(Dialect::Rpc, |w| write_queue(w, &entries, 3));
        assert_eq!(decode_queue(&bytes), Ok((entries.to_vec(), 3)));
        for end in 1..bytes.len() {
            assert!(decode_queue(bytes.get(..end).unwrap_or_default()).is_err());
        }
        assert_eq!(
            decode_dropped(&written(Dialect::Rpc, |w| write_dropped(w, 9))),
            Ok(9)
        );
        let fired = Fired {
            ltime: 5,
            id: b"user:5:0".to_vec(),
        };
        assert_eq!(
            decode_fired(&written(Dialect::Rpc, |w| write_fired(w, &fired))),
            Ok(fired)
        );
    }
}
