//! A client's session: its input, its output, its subscriptions.

use std::collections::VecDeque;
use std::rc::Rc;

use super::{Peer, RequestId, SessionId};
use crate::agent::observe::logger::{Logger, parse_level};
use crate::agent::observe::ring::Cursor;
use crate::count::Count;
use log::LevelFilter;

use crate::handler::EventFilter;
use crate::ordered::{OrderedMap, OrderedSet};
use crate::rpc::details::Details;
use crate::rpc::reply;
use crate::rpc::request::Body;
use crate::rpc::{ByteQueue, Header, REQUEST_BYTES_MAX, Request, STRANGER_BYTES_MAX, record};
use crate::serf::{Event, LamportTime, Query};
use crate::time::Instant;
use crate::wire::msgpack::{Boundary, Writer};
use crate::wire::name::Escaped;

/// Limit for input buffered while a command runs; the operating system buffers the rest.
const INPUT_BYTES_MAX: usize = 64 << 10;
/// Size of unread output above which further requests wait.
const OUTPUT_BYTES_PAUSE: usize = 256 << 10;
/// Size of unread output up to which records of streams are appended.
const OUTPUT_BYTES_RECORDS: usize = 64 << 10;
/// Size of unread output at which the client is disconnected; records of queries have no other limit.
const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Limit for records that wait for one stream (agent spec 2.4).
pub(super) const RECORDS_MAX: usize = 512;
/// Limit for the streams of one session; the reference has none.
const STREAMS_MAX: usize = 256;
/// Limit for queries that one session may still answer; the oldest is forgotten first.
const ANSWERABLE_MAX: usize = 4096;

/// A subscription to events.
#[derive(Debug)]
struct Stream {
    filters: Vec<EventFilter>,
    /// Whether its records have details.
    is_detailed: bool,
    /// Number of its records in the session's queue.
    waiting: usize,
    /// Records dropped since one was last accepted.
    dropped: u64,
}

/// A subscription to the log. It reads from the logger's ring buffer; lines that are overwritten before the
/// client has read them are lost.
#[derive(Debug)]
struct Monitor {
    seq: u64,
    level: LevelFilter,
    cursor: Cursor,
}

/// A record that waits until the client reads.
#[derive(Debug)]
struct StreamRecord {
    seq: u64,
    body: Rc<[u8]>,
}

/// A query that the client may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answerable {
    pub ltime: LamportTime,
    pub id: u32,
    deadline: Instant,
}

/// What the session does when all output is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Close,
    CloseAndShutdown,
}

/// Result of looking for the next request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The session is busy, or the request is incomplete.
    Wait,
    /// A complete request with its sequence number.
    Request(u64, Request),
    /// A command that is not allowed: its sequence number and the error.
    Refuse(u64, &'static str),
    /// The input is not a valid request, for this reason.
    Garbage(String),
}

#[derive(Debug)]
pub(super) struct Session {
    pub peer: Peer,
    input: ByteQueue,
    boundary: Boundary,
    header: Option<Header>,
    /// Whether the input has no complete value.
    incomplete: bool,
    /// Whether the loop was told not to read.
    starved: bool,
    pub output: ByteQueue,
    pub handshaken: bool,
    pub authenticated: bool,
    /// Request that is being processed; the next one waits for its end.
    pub busy: Option<RequestId>,
    /// Deadline for handshake and authentication.
    admission: Instant,
    streams: OrderedMap<u64, Stream>,
    monitor: Option<Monitor>,
    records: VecDeque<StreamRecord>,
    answerable: OrderedMap<u64, Answerable>,
    last_query_id: u64,
    /// Active queries of the client.
    pub asked: OrderedSet<RequestId>,
    pub ending: Option<Ending>,
    /// When an ending session is disconnected.
    pub deadline: Option<Instant>,
    /// Whether the session is in the server's list of sessions to process.
    pub queued: bool,
}

impl Session {
    pub fn new(peer: Peer, authenticated: bool, admission: Instant) -> Self {
        Session {
            peer,
            input: ByteQueue::default(),
            boundary: Boundary::default(),
            header: None,
            incomplete: false,
            starved: false,
            output: ByteQueue::default(),
            handshaken: false,
            authenticated,
            busy: None,
            admission,
            streams: OrderedMap::new(),
            monitor: None,
            records: VecDeque::new(),
            answerable: OrderedMap::new(),
            last_query_id: 0,
            asked: OrderedSet::new(),
            ending: None,
            deadline: None,
            queued: false,
        }
    }

    /// Returns whether handshake and authentication are complete.
    pub fn is_admitted(&self) -> bool {
        self.handshaken && self.authenticated
    }

    /// Returns whether the client has full access.
    pub fn may_control(&self) -> bool {
        self.authenticated && self.peer.may_control()
    }

    /// Returns when the session times out, if the client does nothing.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.ending {
            Some(_) => self.deadline,
            None if self.is_admitted() => None,
            None => Some(self.admission),
        }
    }

    /// Adds the session to the list of those to process, unless it is already in it.
    pub fn look_at(&mut self, own: SessionId, ready: &mut VecDeque<SessionId>) {
        if !self.queued {
            self.queued = true;
            ready.push_back(own);
        }
    }

    pub fn wants_input(&self) -> bool {
        self.ending.is_none() && (self.input.len() < INPUT_BYTES_MAX || self.incomplete)
    }

    pub fn received(&mut self, bytes: &[u8]) {
        if self.ending.is_some() {
            return;
        }
        self.input.push(bytes);
        self.incomplete = false;
        self.starved = !self.wants_input();
    }

    /// Returns `true` once when the loop, after a refusal, may read again.
    pub fn resumes_input(&mut self) -> bool {
        let resumes = self.starved && self.wants_input();
        self.starved &= !resumes;
        resumes
    }

    /// Takes the next request from the input, if the session is ready for one.
    pub fn next_request(&mut self) -> Next {
        let blocked =
            self.busy.is_some() || self.ending.is_some() || self.output.len() >= OUTPUT_BYTES_PAUSE;
        if blocked {
            return Next::Wait;
        }
        let header = match self.header.take() {
            Some(header) => header,
            None => {
                let header = match self.take_value(Header::decode) {
                    Ok(Some(header)) => header,
                    Ok(None) => return Next::Wait,
                    Err(why) => {
                        return Next::Garbage(format!("failed to decode request header: {why}"));
                    }
                };
                // Refused before the body arrives, because the client may already be waiting for a reply.
                if !self.handshaken && header.command != b"handshake" {
                    return Next::Refuse(header.seq, "Handshake required");
                }
                header
            }
        };
        let request = match header.body() {
            Body::Unknown => return Next::Refuse(header.seq, "Unsupported command"),
            Body::Absent => Request::decode(&header.command, &[]),
            Body::Present => {
                match self.take_value(|value| Request::decode(&header.command, value)) {
                    Ok(Some(request)) => Ok(request),
                    Ok(None) => {
                        self.header = Some(header);
                        return Next::Wait;
                    }
                    Err(why) => return Next::Garbage(format!("Failed to evaluate request: {why}")),
                }
            }
        };
        match request {
            Ok(Some(request)) => Next::Request(header.seq, request),
            Ok(None) => Next::Refuse(header.seq, "Unsupported command"),
            Err(why) => Next::Garbage(format!("Failed to evaluate request: {why}")),
        }
    }

    /// Takes one value from the input and decodes it.
    fn take_value<T, E: ToString>(
        &mut self,
        decode: impl FnOnce(&[u8]) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        let bytes_max = match self.is_admitted() {
            true => REQUEST_BYTES_MAX,
            false => STRANGER_BYTES_MAX,
        };
        let found = self.boundary.find(self.input.as_slice(), bytes_max);
        let Some(length) = found.map_err(|why| why.to_string())? else {
            self.incomplete = true;
            return Ok(None);
        };
        let value = self.input.as_slice().get(..length).unwrap_or_default();
        let decoded = decode(value).map_err(|why| why.to_string())?;
        self.input.consume(length);
        self.boundary = Boundary::default();
        Ok(Some(decoded))
    }

    /// Appends a reply without a body.
    pub fn reply(&mut self, seq: u64, error: &str) {
        self.write(reply::header(seq, error));
    }

    /// Appends a reply or record with a body.
    pub fn reply_with(&mut self, seq: u64, error: &str, body: impl FnOnce(&mut Writer)) {
        let mut writer = reply::header(seq, error);
        body(&mut writer);
        self.write(writer);
    }

    fn write(&mut self, writer: Writer) {
        // A single reply may have any size, in addition to pending output.
        if self.output.len() > OUTPUT_BYTES_MAX && self.ending.is_none() {
            log::warn!(
                target: "agent.ipc",
                "Closing ipc.client: {}: it does not read its replies",
                self.peer
            );
            self.output.clear();
            return self.end(Ending::Close);
        }
        self.output.push(&writer.into_bytes());
    }

    /// Discards all input and subscriptions; pending output is flushed.
    pub fn end(&mut self, ending: Ending) {
        self.input.clear();
        self.records.clear();
        self.streams.clear();
        self.monitor = None;
        self.ending = Some(ending.max_with(self.ending));
    }

    /// Opens a stream, or replies with the reason why not.
    pub fn subscribe(&mut self, seq: u64, filter: &[u8], is_detailed: bool) {
        let opened = self.open_stream(seq, filter, is_detailed);
        self.reply(seq, opened.err().unwrap_or_default());
    }

    fn open_stream(
        &mut self,
        seq: u64,
        filter: &[u8],
        is_detailed: bool,
    ) -> Result<(), &'static str> {
        let filters = EventFilter::parse_list(filter).map_err(|_| "Invalid event filter")?;
        if self.streams.contains_key(&seq) {
            return Err("Stream with given sequence exists");
        }
        if self.streams.len() >= STREAMS_MAX {
            return Err("Too many streams");
        }
        let stream = Stream {
            filters,
            is_detailed,
            waiting: 0,
            dropped: 0,
        };
        self.streams.insert(seq, stream);
        Ok(())
    }

    /// Opens the monitor, starting with the lines in the ring buffer.
    pub fn watch(&mut self, seq: u64, level: &[u8], logger: &Logger) -> Result<(), String> {
        let level = Escaped(level).to_string().to_uppercase();
        let Some(filter) = parse_level(&level) else {
            return Err(format!("Unknown log level: {level}"));
        };
        if self.monitor.is_some() {
            return Err("Monitor already exists".to_owned());
        }
        self.monitor = Some(Monitor {
            seq,
            level: filter,
            cursor: logger.oldest(),
        });
        Ok(())
    }

    /// Returns the monitor's level, if there is a monitor.
    pub fn watched_level(&self) -> Option<LevelFilter> {
        self.monitor.as_ref().map(|monitor| monitor.level)
    }

    /// Returns whether the monitor has new lines and there is room for them.
    pub fn wants_lines(&self, logger: &Logger) -> bool {
        let monitor = self.monitor.as_ref();
        self.output.len() < OUTPUT_BYTES_RECORDS
            && monitor.is_some_and(|m| logger.has_more(m.cursor))
    }

    /// Writes the monitor's new lines. Returns how many were lost.
    pub fn pump_lines(&mut self, logger: &Logger) -> u64 {
        if !self.wants_lines(logger) {
            return 0;
        }
        let Some(monitor) = &mut self.monitor else {
            return 0;
        };
        let (lines, lost) = logger.lines_since(&mut monitor.cursor, monitor.level);
        let seq = monitor.seq;
        for line in lines {
            self.reply_with(seq, "", |writer| {
                record::write_line(writer, &line.to_string())
            });
        }
        // Logged after the lines were read, so this line is read next time and is not lost.
        if lost > 0 {
            log::warn!(
                target: "agent.ipc",
                "Dropping logs to ipc.client: {}: {}", self.peer, Count(lost, "line")
            );
        }
        lost
    }

    /// Ends the stream or monitor with this number and discards its waiting records.
    pub fn unsubscribe(&mut self, seq: u64) {
        self.monitor.take_if(|monitor| monitor.seq == seq);
        if self.streams.remove(&seq).is_some() {
            self.records.retain(|record| record.seq != seq);
        }
    }

    /// Returns whether one of its streams wants details of events.
    pub fn wants_details(&self) -> bool {
        self.streams.values().any(|stream| stream.is_detailed)
    }

    /// Queues a record in each stream that wants the event; `shared` caches its bytes without and with
    /// details for further sessions. Returns how many streams dropped it; `None` if no stream wanted it.
    pub fn event(
        &mut self,
        event: &Event,
        details: Option<&Details<'_>>,
        shared: &mut [Option<Rc<[u8]>>; 2],
    ) -> Option<u64> {
        let mut lost = None;
        self.streams.for_each_mut(|&seq, stream| {
            if !stream.filters.iter().any(|filter| filter.matches(event)) {
                return;
            }
            let lost = lost.get_or_insert(0);
            if stream.waiting >= RECORDS_MAX {
                if stream.dropped == 0 {
                    log::warn!(target: "agent.ipc", "Dropping event to ipc.client: {}", self.peer);
                }
                stream.dropped += 1;
                *lost += 1;
                return;
            }
            if stream.dropped > 0 {
                log::warn!(
                    target: "agent.ipc",
                    "Dropped {} to ipc.client: {}; it reads again",
                    Count(stream.dropped, "event"),
                    self.peer
                );
                stream.dropped = 0;
            }
            let details = details.filter(|_| stream.is_detailed);
            let [plain, detailed] = &mut *shared;
            let shared = if stream.is_detailed { detailed } else { plain };
            let body = match event {
                // A query has a separate answer id in each stream.
                Event::Query(query) => {
                    self.last_query_id += 1;
                    remember(&mut self.answerable, self.last_query_id, query);
                    reply::event_record(event, self.last_query_id, details).into()
                }
                _ => Rc::clone(
                    shared.get_or_insert_with(|| reply::event_record(event, 0, details).into()),
                ),
            };
            stream.waiting += 1;
            self.records.push_back(StreamRecord { seq, body });
        });
        lost
    }

    /// Moves waiting records to the output while the client keeps up.
    pub fn pump(&mut self) {
        while self.output.len() < OUTPUT_BYTES_RECORDS {
            let Some(StreamRecord { seq, body }) = self.records.pop_front() else {
                return;
            };
            if let Some(stream) = self.streams.get_mut(&seq) {
                stream.waiting -= 1;
            }
            self.reply_with(seq, "", |writer| {
                writer.verbatim(&body);
            });
        }
    }

    /// Returns the query with this answer id, if its deadline has not passed.
    pub fn answerable(&mut self, id: u64, now: Instant) -> Option<Answerable> {
        self.answerable.retain(|_, query| query.deadline > now);
        self.answerable.get(&id).copied()
    }
}

fn remember(answerable: &mut OrderedMap<u64, Answerable>, id: u64, query: &Query) {
    if answerable.len() >= ANSWERABLE_MAX {
        answerable.pop_first();
    }
    let query = Answerable {
        ltime: query.ltime,
        id: query.id,
        deadline: query.deadline,
    };
    answerable.insert(id, query);
}

impl Ending {
    /// Returns the stronger of two.
    fn max_with(self, other: Option<Ending>) -> Ending {
        match other {
            Some(Ending::CloseAndShutdown) => Ending::CloseAndShutdown,
            _ => self,
        }
    }
}
