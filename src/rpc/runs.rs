//! Reply to `cottar-handler-sync`, which the reference does not have. cottar-handler(7) documents it for
//! authors of clients.

use crate::wire::msgpack::{Error, Reader, Writer};

/// End of a run that a client has requested.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RunEnd {
    /// Name of the handler.
    pub handler: Vec<u8>,
    /// How it ended, as in log lines; or `queued`, `paused` or `not run`.
    pub end: Vec<u8>,
    /// Exit status as shells report it; 125 if there was no run.
    pub status: u8,
    /// The last bytes of its output.
    pub output: Vec<u8>,
    /// Size of its complete output.
    pub output_bytes: u64,
    /// Duration in nanoseconds; 0 if there was no run.
    pub duration_nanos: u64,
}

const FIELDS: [&str; 6] = [
    "Duration",
    "End",
    "Handler",
    "Output",
    "OutputBytes",
    "Status",
];

/// Writes the body of the reply.
pub fn write_runs(w: &mut Writer, runs: &[RunEnd]) {
    w.map(1).key("Runs").array(runs.len());
    for run in runs {
        w.map(FIELDS.len());
        w.key("Duration").uint(run.duration_nanos);
        w.key("End").text(&run.end);
        w.key("Handler").text(&run.handler);
        w.key("Output").bytes(&run.output);
        w.key("OutputBytes").uint(run.output_bytes);
        w.key("Status").uint(run.status.into());
    }
}

/// Decodes the body of the reply.
///
/// # Errors
/// If the body is malformed or a field has the wrong type.
pub fn decode_runs(value: &[u8]) -> Result<Vec<RunEnd>, Error> {
    let mut runs = Vec::new();
    Reader::new(value).fields(&["Runs"], |_, reader| {
        runs = reader.list(decode_run)?;
        Ok::<_, Error>(())
    })?;
    Ok(runs)
}

fn decode_run(reader: &mut Reader<'_>) -> Result<RunEnd, Error> {
    let mut run = RunEnd::default();
    reader.fields(&FIELDS, |field, r| {
        match field {
            0 => run.duration_nanos = r.u64()?,
            1 => run.end = r.text()?.to_vec(),
            2 => run.handler = r.text()?.to_vec(),
            3 => run.output = r.bytes()?.unwrap_or_default(),
            4 => run.output_bytes = r.u64()?,
            _ => run.status = r.u8()?,
        }
        Ok::<_, Error>(())
    })?;
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::msgpack::{Dialect, written};

    #[test]
    fn what_is_written_is_read() {
        let run = RunEnd {
            handler: b"upstreams".to_vec(),
            end: b"exit status 3".to_vec(),
            status: 3,
            output: b"\xff".to_vec(),
            output_bytes: 9000,
            duration_nanos: u64::MAX,
        };
        let runs = [run, RunEnd::default()];
        let bytes = written(Dialect::Rpc, |w| write_runs(w, &runs));
        assert_eq!(decode_runs(&bytes), Ok(runs.to_vec()));
        for end in 1..bytes.len() {
            assert!(decode_runs(bytes.get(..end).unwrap_or_default()).is_err());
        }
    }
}
