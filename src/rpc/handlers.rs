//! Reply to `cottar-handlers`, which the reference does not have. cottar-handler(7) documents it for authors
//! of clients.

use crate::wire::msgpack::{Error, Reader, Writer};

/// A handler and statistics of its runs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HandlerFigures {
    /// Name shown to operators.
    pub name: Vec<u8>,
    /// Whether the operator has paused it.
    pub is_paused: bool,
    /// Events in memory that wait for it.
    pub waiting: u64,
    /// Its filter as written in front of a script: `user:deploy`, `*`.
    pub filter: Vec<u8>,
    /// Shell script or command line.
    pub script: Vec<u8>,
    /// Completed runs, successful or not.
    pub runs: u64,
    /// Completed runs that failed: any end but exit status 0.
    pub failures: u64,
    /// Completed runs that the time limit ended.
    pub timeouts: u64,
    /// Events dropped for this handler.
    pub drops: u64,
    /// Duration of the last run in nanoseconds.
    pub last_nanos: u64,
    /// Duration of the longest run in nanoseconds.
    pub longest_nanos: u64,
}

/// Names of the fields, in byte order.
const FIELDS: [&str; 11] = [
    "Drops", "Failures", "Filter", "Last", "Longest", "Name", "Paused", "Runs", "Script",
    "Timeouts", "Waiting",
];

/// Writes the body of the reply: the handlers in order of registration.
pub fn write_handlers(w: &mut Writer, handlers: &[HandlerFigures]) {
    w.map(1).key("Handlers").array(handlers.len());
    for handler in handlers {
        w.map(FIELDS.len());
        w.key("Drops").uint(handler.drops);
        w.key("Failures").uint(handler.failures);
        w.key("Filter").text(&handler.filter);
        w.key("Last").uint(handler.last_nanos);
        w.key("Longest").uint(handler.longest_nanos);
        w.key("Name").text(&handler.name);
        w.key("Paused").bool(handler.is_paused);
        w.key("Runs").uint(handler.runs);
        w.key("Script").text(&handler.script);
        w.key("Timeouts").uint(handler.timeouts);
        w.key("Waiting").uint(handler.waiting);
    }
}

/// Decodes the body of the reply.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_handlers(value: &[u8]) -> Result<Vec<HandlerFigures>, Error> {
    let mut handlers = Vec::new();
    Reader::new(value).fields(&["Handlers"], |_, reader| {
        handlers = reader.list(decode_handler)?;
        Ok::<_, Error>(())
    })?;
    Ok(handlers)
}

fn decode_handler(reader: &mut Reader<'_>) -> Result<HandlerFigures, Error> {
    let mut handler = HandlerFigures::default();
    reader.fields(&FIELDS, |field, r| {
        match field {
            0 => handler.drops = r.u64()?,
            1 => handler.failures = r.u64()?,
            2 => handler.filter = r.text()?.to_vec(),
            3 => handler.last_nanos = r.u64()?,
            4 => handler.longest_nanos = r.u64()?,
            5 => handler.name = r.text()?.to_vec(),
            6 => handler.is_paused = r.bool()?,
            7 => handler.runs = r.u64()?,
            8 => handler.script = r.text()?.to_vec(),
            9 => handler.timeouts = r.u64()?,
            _ => handler.waiting = r.u64()?,
        }
        Ok::<_, Error>(())
    })?;
    Ok(handler)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::msgpack::{Dialect, written};

    #[test]
    fn what_is_written_is_read() {
        let some = HandlerFigures {
            name: b"x".to_vec(),
            is_paused: true,
            waiting: 9,
            filter: b"user:deploy".to_vec(),
            script: b"\xff\n".to_vec(),
            runs: 7,
            failures: 3,
            timeouts: 2,
            drops: 1,
            last_nanos: u64::MAX,
            longest_nanos: 1 << 40,
        };
        for handlers in [vec![], vec![some.clone(), HandlerFigures::default(), some]] {
            let bytes = written(Dialect::Rpc, |w| write_handlers(w, &handlers));
            assert_eq!(decode_handlers(&bytes), Ok(handlers));
            for end in 1..bytes.len() {
                assert!(decode_handlers(&bytes[..end]).is_err());
            }
        }
    }
}
