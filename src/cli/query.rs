//! `query`: asks, and prints answers as they arrive or all at the end (agent spec 3.4).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::commands::{Failure, Outcome, connect, failed, format, name_and_payload, pairs};
use super::flags::Flags;
use super::json::Json;
use crate::go;
use crate::rpc::TextMap;
use crate::rpc::reply::Record;
use crate::rpc::request::Query;
use crate::wire::name::Escaped;

pub(super) fn query(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (name, payload) = name_and_payload(flags, "A query name must be specified.")?;
    let relay_factor = flags.integer("relay-factor").unwrap_or(0);
    let relay_factor = u8::try_from(relay_factor)
        .map_err(|_| Failure::Message("Relay factor must be between 0 and 255".to_owned()))?;
    let timeout = flags.value("timeout").unwrap_or("0");
    let query = Query {
        filter_nodes: flags
            .values("node")
            .iter()
            .map(|n| n.as_str().into())
            .collect(),
        filter_tags: pairs(flags.values("tag"))?,
        request_ack: !flags.flag("no-ack"),
        relay_factor,
        timeout_nanos: go::parse_nanos(timeout).map_err(Failure::Message)?,
        name,
        payload,
    };
    let mut client = connect(flags)?;
    let mut answers: Box<dyn Answers> = match format(flags) {
        "text" => Box::new(Lines::new(query.request_ack)),
        "json" => Box::new(Collected::default()),
        other => return Err(Failure::Message(format!("Invalid format: {other}"))),
    };
    exit_on_interrupt()?;
    let name = query.name.clone();
    let mut records = client.query(query).map_err(failed("Error sending query"))?;
    answers.begin(&name, out)?;
    loop {
        match records.receive() {
            Ok(Some(record)) => answers.take(record, out)?,
            Ok(None) => break,
            Err(why) => {
                // What came is shown all the same; that it is not all is said and told by the status.
                answers.end(out)?;
                return Err(Failure::Message(format!("Error receiving answers: {why}")));
            }
        }
    }
    Ok(answers.end(out)?)
}

/// An interrupted query prints no totals and fails.
fn exit_on_interrupt() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 1, always)
        .map(drop)
}

/// Where a query's answers go.
trait Answers {
    fn begin(&mut self, name: &[u8], out: &mut dyn Write) -> io::Result<()>;
    fn take(&mut self, record: Record, out: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// Lines, as answers arrive.
struct Lines {
    with_acks: bool,
    acks: u64,
    responses: u64,
}

impl Lines {
    fn new(with_acks: bool) -> Self {
        Lines {
            with_acks,
            acks: 0,
            responses: 0,
        }
    }
}

impl Answers for Lines {
    fn begin(&mut self, name: &[u8], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(b"Query '")?;
        out.write_all(name)?;
        out.write_all(b"' dispatched\n")?;
        out.flush()
    }

    fn take(&mut self, record: Record, out: &mut dyn Write) -> io::Result<()> {
        let from = Escaped(&record.from);
        match &*record.kind {
            b"ack" => {
                self.acks += 1;
                writeln!(out, "Ack from '{from}'")?;
            }
            b"response" => {
                self.responses += 1;
                let payload = record.payload.as_deref().unwrap_or_default();
                write!(out, "Response from '{from}': ")?;
                out.write_all(payload.strip_suffix(b"\n").unwrap_or(payload))?;
                out.write_all(b"\n")?;
            }
            _ => {}
        }
        out.flush()
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.with_acks {
            writeln!(out, "Total Acks: {}", self.acks)?;
        }
        writeln!(out, "Total Responses: {}", self.responses)
    }
}

/// One JSON object, at the end.
#[derive(Default)]
struct Collected {
    acks: Vec<Vec<u8>>,
    responses: TextMap,
}

impl Answers for Collected {
    fn begin(&mut self, _name: &[u8], _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, record: Record, _out: &mut dyn Write) -> io::Result<()> {
        match &*record.kind {
            b"ack" => self.acks.push(record.from),
            b"response" => {
                let payload = record.payload.unwrap_or_default();
                self.responses.insert(record.from, payload);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.acks.sort();
        let acks = match &*self.acks {
            [] => Json::Null,
            acks => Json::List(acks.iter().map(Json::text).collect()),
        };
        let responses = Json::map(&self.responses, |payload| Json::text(payload));
        let object = Json::object([("Acks", acks), ("Responses", responses)]);
        writeln!(out, "{}", object.print())
    }
}
