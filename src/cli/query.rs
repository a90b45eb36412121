//! `query`: sends a query and prints answers as they arrive or all at the end (agent spec 3.4).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::command::flags::Flags;
use super::common::{connect, failed, format, name_and_payload, pairs};
use super::expected::Expected;
use super::failure::{Failure, Outcome};
use super::fields::Fields;
use super::terminal::Foreign;
use crate::json::Json;
use crate::ordered::OrderedSet;
use crate::rpc::TextMap;
use crate::rpc::reply::Record;
use crate::rpc::request::Query;
use crate::wire::name::Escaped;

/// Fields of an answer for `-fields`.
const FIELDS: &[&str] = &["node", "payload", "ack"];

pub(super) fn query(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let (name, payload) = name_and_payload(flags, "A query name must be specified.")?;
    let relay_factor = flags.integer("relay-factor").unwrap_or(0);
    let relay_factor = u8::try_from(relay_factor)
        .map_err(|_| Failure::Message("Relay factor must be between 0 and 255".to_owned()))?;
    let timeout = flags.duration("timeout").map_err(Failure::Message)?;
    let query = Query {
        filter_nodes: flags.byte_values("node").to_vec(),
        filter_tags: one_a_key(flags.byte_values("tag"))?,
        request_ack: !flags.flag("no-ack"),
        relay_factor,
        timeout_nanos: timeout.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
        name,
        payload,
    };
    let fields = Fields::parse(flags, FIELDS)?;
    let acks = fields.as_ref().is_some_and(|fields| fields.contains("ack"));
    if acks && (!query.request_ack || flags.value("fields") != Some("ack")) {
        let words =
            "The field ack prints acks instead of answers: use it alone and without -no-ack";
        return Err(Failure::Message(words.to_owned()));
    }
    let mut expected = Expected::parse(flags, acks)?;
    let mut client = connect(flags)?;
    let mut answers: Box<dyn Answers> = match format(flags) {
        "text" if fields.is_some() => Box::new(Collected::new(fields)),
        "text" => Box::new(Lines::new(query.request_ack)),
        "json" => Box::new(Collected::new(None)),
        other => return Err(Failure::Message(format!("Invalid format: {other}"))),
    };
    exit_on_interrupt()?;
    expected.look_up(&query, &mut client)?;
    let name = query.name.clone();
    let mut records = client.query(query).map_err(failed("Error sending query"))?;
    answers.begin(&name, out)?;
    while !expected.is_over() {
        match records.receive() {
            Ok(Some(record)) => {
                expected.take(&record);
                answers.take(record, out)?;
            }
            Ok(None) => break,
            Err(why) => {
                // Prints the answers so far; the error and the exit status show that they are incomplete.
                answers.end(out)?;
                return Err(Failure::Cut(format!("Error receiving answers: {why}")));
            }
        }
    }
    answers.end(out)?;
    match expected.shortfall() {
        Some(why) if flags.flag("strict") => Err(Failure::Incomplete(why)),
        _ => Ok(()),
    }
}

/// Parses tag filters, at most one per key, as the agent requires.
fn one_a_key(filters: &[Vec<u8>]) -> Result<TextMap, Failure> {
    let map = pairs(filters)?;
    if map.len() < filters.len() {
        let words = "Only one -tag for each key allowed: join expressions for one key into one";
        return Err(Failure::Message(words.to_owned()));
    }
    Ok(map)
}

/// Lets SIGINT end the command with status 1 and without totals.
fn exit_on_interrupt() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGINT, 1, always)
        .map(drop)
}

/// Output of a query's records.
trait Answers {
    fn begin(&mut self, name: &[u8], out: &mut dyn Write) -> io::Result<()>;
    fn take(&mut self, record: Record, out: &mut dyn Write) -> io::Result<()>;
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}

/// Prints a line per record, as it arrives.
struct Lines {
    with_acks: bool,
    payloads: Foreign,
    acks: u64,
    responses: u64,
}

impl Lines {
    fn new(with_acks: bool) -> Self {
        Lines {
            with_acks,
            payloads: Foreign::for_stdout(),
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
                let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
                self.payloads.write(payload, out)?;
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

/// Collects all records; prints one JSON object or the chosen fields at the end.
#[derive(Default)]
struct Collected {
    acks: OrderedSet<Vec<u8>>,
    responses: TextMap,
    fields: Option<Fields>,
}

impl Collected {
    fn new(fields: Option<Fields>) -> Self {
        Collected {
            fields,
            ..Collected::default()
        }
    }

    /// Prints the chosen fields of each response, or of each ack.
    fn show(&self, fields: &Fields, out: &mut dyn Write) -> io::Result<()> {
        if fields.contains("ack") {
            for node in &self.acks {
                fields.write(&|_| node.clone(), out)?;
            }
        } else {
            for (node, payload) in &self.responses {
                let payload = match fields.is_raw() {
                    true => payload,
                    false => payload.strip_suffix(b"\n").unwrap_or(payload),
                };
                let field = |name: &str| if name == "node" { node } else { payload }.to_vec();
                fields.write(&field, out)?;
            }
        }
        Ok(())
    }
}

impl Answers for Collected {
    fn begin(&mut self, _name: &[u8], _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn take(&mut self, record: Record, _out: &mut dyn Write) -> io::Result<()> {
        match &*record.kind {
            b"ack" => {
                self.acks.insert(record.from);
            }
            b"response" => {
                let payload = record.payload.unwrap_or_default();
                self.responses.insert(record.from, payload);
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(fields) = &self.fields {
            return self.show(fields, out);
        }
        let acks = match self.acks.is_empty() {
            true => Json::Null,
            false => Json::texts(&self.acks),
        };
        let responses = Json::map(&self.responses, |payload| Json::text(payload));
        let object = Json::object(vec![("Acks", acks), ("Responses", responses)]);
        writeln!(out, "{}", object.indented())
    }
}
