//! A blocking RPC client (agent spec 2.6).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use super::dial::Place;
use super::dial::dial;
pub use super::error::Error;
use super::terminal::readable;
use crate::ordered::OrderedSet;
use crate::os::clock::Deadline;
use crate::os::sys;
use crate::rpc::cluster::{KeyReply, decode_coordinate};
use crate::rpc::handlers::{HandlerFigures, decode_handlers};
use crate::rpc::queue::{Fired, QueueEntry, decode_dropped, decode_fired, decode_queue};
use crate::rpc::reply::{self, Member, Record, ReplyHeader, Stats};
use crate::rpc::request::Query;
use crate::rpc::runs::{RunEnd, decode_runs};
use crate::rpc::{ByteQueue, REQUEST_BYTES_MAX, Request, VERSION};
use crate::wire::coordinate::Coordinate;
use crate::wire::msgpack::Boundary;

/// For one request to be taken.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// For the answer to a handshake: who listens but does not answer is no agent.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// For the answer to a command that an agent answers at once, or after its broadcast timeout.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// What a query's end may be late.
const QUERY_SLACK: Duration = Duration::from_secs(30);
/// Bytes of one value of an agent: more than the members of the largest cluster take.
const REPLY_BYTES_MAX: usize = 256 << 20;
/// The shortest wait for a read that there is.
const INSTANT: Duration = Duration::from_millis(1);
/// How often a client that may be interrupted looks whether it was: a signal that comes just before a
/// wait does not end it.
const INTERRUPT_CHECK: Duration = Duration::from_millis(200);

type Result<T> = std::result::Result<T, Error>;

/// A connection to an agent.
pub struct Client {
    stream: TcpStream,
    input: ByteQueue,
    seq: u64,
    /// Numbers under which records come.
    streams: OrderedSet<u64>,
    /// Records that came between a request and its reply.
    early: VecDeque<(u64, Vec<u8>)>,
    interrupt: Option<Arc<AtomicBool>>,
    /// When whoever waits does not want to wait any longer.
    deadline: Option<Deadline>,
    heeds_stdout: bool,
}

impl Client {
    /// Connects to `HOST:PORT` or `unix:PATH` and shakes hands; shows `key` if it is not empty.
    ///
    /// # Errors
    /// Says why there is no connection that can be used.
    pub fn connect(address: &str, key: &str) -> Result<Self> {
        Client::connect_before(None, &Place::At(address.to_owned()), key)
    }

    /// The same; this and all waiting later on ends at the deadline with [`Error::Interrupted`].
    ///
    /// # Errors
    /// Says why there is no connection that can be used.
    pub fn connect_before(deadline: Option<Deadline>, place: &Place, key: &str) -> Result<Self> {
        let stream = dial(place, deadline)?;
        stream
            .set_write_timeout(Some(WRITE_TIME_MAX))
            .map_err(Error::Broken)?;
        let mut client = Client {
            stream,
            input: ByteQueue::default(),
            seq: 0,
            streams: OrderedSet::new(),
            early: VecDeque::new(),
            interrupt: None,
            deadline,
            heeds_stdout: false,
        };
        let handshake = Request::Handshake { version: VERSION };
        client.call(&handshake, Some(HANDSHAKE_TIME_MAX))?;
        if !key.is_empty() {
            let key = key.as_bytes().to_vec();
            client.call(&Request::Auth { key }, Some(HANDSHAKE_TIME_MAX))?;
        }
        Ok(client)
    }

    /// From here on waiting ends with [`Error::Interrupted`] once the flag is set.
    pub fn heed(&mut self, interrupt: Arc<AtomicBool>) {
        self.interrupt = Some(interrupt);
    }

    /// From here on waiting ends with [`Error::Unread`] once nobody reads stdout any more.
    pub const fn heed_stdout(&mut self) {
        self.heeds_stdout = true;
    }

    /// A command that is answered soon and without a body.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn order(&mut self, request: &Request) -> Result<()> {
        self.call(request, Some(ANSWER_TIME_MAX)).map(drop)
    }

    /// Joins; the number of nodes contacted. Takes as long as it takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn join(&mut self, existing: Vec<Vec<u8>>, replay: bool) -> Result<i32> {
        let body = self.call(&Request::Join { existing, replay }, None)?;
        reply::decode_joined(&body).map_err(garbage)
    }

    /// Leaves. Takes as long as it takes.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn leave(&mut self) -> Result<()> {
        self.call(&Request::Leave, None).map(drop)
    }

    /// Waits for the agent to end, which lets go of its files and ports before it hangs up. Tells whether
    /// it did.
    pub fn await_end(&mut self) -> bool {
        loop {
            match self.value(Some(ANSWER_TIME_MAX)) {
                Ok(_) => {}
                Err(Error::Silent(_)) => return false,
                Err(_) => return true,
            }
        }
    }

    /// The members that pass the filter of a [`Request::MembersFiltered`].
    ///
    /// # Errors
    /// See [`Error`].
    pub fn members(&mut self, request: &Request) -> Result<Vec<Member>> {
        let body = self.call(request, Some(ANSWER_TIME_MAX))?;
        reply::decode_members(&body).map_err(garbage)
    }

    /// The agent's figures.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn stats(&mut self) -> Result<Stats> {
        let body = self.call(&Request::Stats, Some(ANSWER_TIME_MAX))?;
        reply::decode_stats(&body).map_err(garbage)
    }

    /// The handlers of the agent. `None` if it does not know the question: it is one of Serf.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn handlers(&mut self) -> Result<Option<Vec<HandlerFigures>>> {
        let body = self.call_own(&Request::Handlers)?;
        body.map(|body| decode_handlers(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Has a user event fired: its time and id. `None`: the agent is one of Serf, and nothing happened.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn fire(&mut self, request: &Request) -> Result<Option<Fired>> {
        let body = self.call_own(request)?;
        body.map(|body| decode_fired(&body))
            .transpose()
            .map_err(garbage)
    }

    /// What waits for handlers, and how many events more. `None`: the agent does not know the question.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn handler_queue(&mut self) -> Result<Option<(Vec<QueueEntry>, u64)>> {
        let body = self.call_own(&Request::HandlerQueue)?;
        body.map(|body| decode_queue(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Has what waits given up: how much it was. `None`: the agent does not know the question.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn handler_drop(&mut self, target: Vec<u8>) -> Result<Option<u64>> {
        let body = self.call_own(&Request::DropQueue { target })?;
        body.map(|body| decode_dropped(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Has handlers run with the state of the cluster: how the runs ended. Takes as long as they do. `None`: the
    /// agent does not know the request.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn handler_runs(&mut self, request: &Request) -> Result<Option<Vec<RunEnd>>> {
        let body = known(self.call(request, None))?;
        body.map(|body| decode_runs(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Gives an order that only agents of cottar know. `false`: this one does not.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn order_own(&mut self, request: &Request) -> Result<bool> {
        Ok(self.call_own(request)?.is_some())
    }

    fn call_own(&mut self, request: &Request) -> Result<Option<Vec<u8>>> {
        known(self.call(request, Some(ANSWER_TIME_MAX)))
    }

    /// A key command: what became of it, and the error if it failed. Takes as long as a query.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn keys(&mut self, request: &Request) -> Result<(KeyReply, Option<String>)> {
        let (why, body) = self.exchange(request, Some(ANSWER_TIME_MAX))?;
        if body.is_empty() {
            return Err(Error::Refused(why));
        }
        let reply = KeyReply::decode(&body).map_err(garbage)?;
        Ok((reply, Some(why).filter(|why| !why.is_empty())))
    }

    /// Where a node is, if the agent knows.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn coordinate(&mut self, node: &[u8]) -> Result<Option<Coordinate>> {
        let node = node.to_vec();
        let body = self.call(&Request::Coordinate { node }, Some(ANSWER_TIME_MAX))?;
        decode_coordinate(&body).map_err(garbage)
    }

    /// Has records of events or of the log sent; they come with the number that this returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn subscribe(&mut self, request: &Request) -> Result<u64> {
        self.call(request, Some(ANSWER_TIME_MAX))?;
        self.streams.insert(self.seq);
        Ok(self.seq)
    }

    /// The same for a request that only agents of cottar know. `None`: this one does not, and has hung up.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn subscribe_own(&mut self, request: &Request) -> Result<Option<u64>> {
        let is_known = self.call_own(request)?.is_some();
        Ok(is_known.then(|| {
            self.streams.insert(self.seq);
            self.seq
        }))
    }

    /// The next record of any subscription, if one begins within that time; without one it waits for
    /// ever. No time at all looks only at what has been read already.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn pushed(&mut self, patience: Option<Duration>) -> Result<Option<(u64, Vec<u8>)>> {
        if let Some(record) = self.early.pop_front() {
            return Ok(Some(record));
        }
        let header = match self.value(patience) {
            Err(Error::Silent(_)) => return Ok(None),
            header => ReplyHeader::decode(&header?).map_err(garbage)?,
        };
        if !self.streams.contains(&header.seq) {
            let why = format!("number {} was not asked for", header.seq);
            return Err(Error::Garbage(why));
        }
        Ok(Some((header.seq, self.value(None)?)))
    }

    /// Sends a query; its records follow.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn query(&mut self, query: Query) -> Result<Records<'_>> {
        let nanos = u64::try_from(query.timeout_nanos).unwrap_or(0);
        let patience = match nanos {
            0 => ANSWER_TIME_MAX,
            nanos => Duration::from_nanos(nanos).saturating_add(QUERY_SLACK),
        };
        self.call(&Request::Query(query), Some(ANSWER_TIME_MAX))?;
        Ok(Records {
            client: self,
            patience,
        })
    }

    /// One request and its reply; the reply's body, empty if it has none.
    fn call(&mut self, request: &Request, patience: Option<Duration>) -> Result<Vec<u8>> {
        match self.exchange(request, patience)? {
            (why, body) if why.is_empty() => Ok(body),
            (why, _) => Err(Error::Refused(why)),
        }
    }

    /// One request and its reply: the error, empty if there is none, and the body.
    fn exchange(
        &mut self,
        request: &Request,
        patience: Option<Duration>,
    ) -> Result<(String, Vec<u8>)> {
        self.seq += 1;
        let bytes = request.encode(self.seq);
        if bytes.len() > REQUEST_BYTES_MAX {
            // The agent would hang up in the middle of it.
            let why = "the request is too large: 1 MiB at most";
            return Err(Error::Refused(why.to_owned()));
        }
        self.stream.write_all(&bytes).map_err(broken)?;
        let header = self.header(patience)?;
        // The errors that come without a body where a body is due: of these the second one ends the
        // connection.
        let bare = [
            &b"Authentication required"[..],
            b"Unsupported command",
            b"Permission denied: ",
        ];
        let is_bare = bare.iter().any(|words| header.error.starts_with(words));
        let body = if request.reply_has_body() && !is_bare {
            self.value(patience)?
        } else {
            Vec::new()
        };
        Ok((readable(&header.error, ""), body))
    }

    fn header(&mut self, patience: Option<Duration>) -> Result<ReplyHeader> {
        loop {
            let header = ReplyHeader::decode(&self.value(patience)?).map_err(garbage)?;
            if header.seq == self.seq {
                return Ok(header);
            }
            if !self.streams.contains(&header.seq) {
                return Err(Error::Garbage(format!(
                    "number {} answers {}",
                    header.seq, self.seq
                )));
            }
            let record = self.value(patience)?;
            self.early.push_back((header.seq, record));
        }
    }

    /// Waits for one complete value, for no longer than `patience`.
    fn value(&mut self, patience: Option<Duration>) -> Result<Vec<u8>> {
        let deadline = patience.map(|patience| (Deadline::after(patience), patience));
        let mut boundary = Boundary::default();
        let mut chunk = [0; 16 << 10];
        loop {
            let found = boundary.find(self.input.as_slice(), REPLY_BYTES_MAX);
            if let Some(length) = found.map_err(garbage)? {
                let value = self.input.as_slice().get(..length).unwrap_or_default();
                let value = value.to_vec();
                self.input.consume(length);
                return Ok(value);
            }
            let mut wait = None;
            if let Some((deadline, patience)) = deadline {
                let left = deadline.left();
                if left.is_zero() {
                    return Err(Error::Silent(patience));
                }
                wait = Some(left);
            }
            if let Some(deadline) = self.deadline {
                let left = deadline.left();
                if left.is_zero() {
                    return Err(Error::Interrupted);
                }
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
            if let Some(interrupt) = &self.interrupt {
                if interrupt.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                wait = Some(wait.map_or(INTERRUPT_CHECK, |wait| wait.min(INTERRUPT_CHECK)));
            }
            if self.heeds_stdout {
                if sys::is_unread_before(self.stream.as_fd(), io::stdout().as_fd(), wait) {
                    return Err(Error::Unread);
                }
                // What there is to read is there by now, unless the time is over.
                wait = wait.map(|_| INSTANT);
            }
            self.stream.set_read_timeout(wait).map_err(Error::Broken)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => self.input.push(chunk.get(..count).unwrap_or_default()),
                // The loop's head knows whether time is up.
                Err(why) if is_timeout(&why) || why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(broken(why)),
            }
        }
    }
}

/// What comes back for a query.
pub struct Records<'a> {
    client: &'a mut Client,
    patience: Duration,
}

impl Records<'_> {
    /// The next ack or response; `None` at the end.
    ///
    /// # Errors
    /// The connection ended before the query did.
    pub fn receive(&mut self) -> Result<Option<Record>> {
        self.client.header(Some(self.patience))?;
        let body = self.client.value(Some(self.patience))?;
        let record = Record::decode(&body).map_err(garbage)?;
        // Some reference versions race at the end and send records from nobody (agent spec 2.4).
        Ok((record.kind != b"done" && !record.from.is_empty()).then_some(record))
    }
}

/// The body of a reply; `None` if the agent does not know the command.
fn known(result: Result<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    match result {
        Ok(body) => Ok(Some(body)),
        Err(Error::Refused(why)) if why == "Unsupported command" => Ok(None),
        Err(why) => Err(why),
    }
}

fn broken(why: io::Error) -> Error {
    match why.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Error::Closed,
        _ if is_timeout(&why) => Error::Silent(WRITE_TIME_MAX),
        _ => Error::Broken(why),
    }
}

fn is_timeout(why: &io::Error) -> bool {
    matches!(
        why.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn garbage(why: impl fmt::Display) -> Error {
    Error::Garbage(why.to_string())
}
