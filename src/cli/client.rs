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

/// Timeout for sending one request.
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);
/// Timeout for the reply to a handshake: a listener that does not answer is not an agent.
const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// Timeout for commands that an agent answers at once, or after its broadcast timeout.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// Additional time for records after the end of a query.
const QUERY_SLACK: Duration = Duration::from_secs(30);
/// Size limit of one value from an agent: more than the members of the largest cluster take.
const REPLY_BYTES_MAX: usize = 256 << 20;
/// Shortest read timeout that the system accepts.
const INSTANT: Duration = Duration::from_millis(1);
/// Interval for checking the interrupt flag: a signal just before a wait does not end the wait.
const INTERRUPT_CHECK: Duration = Duration::from_millis(200);

type Result<T> = std::result::Result<T, Error>;

/// A connection to an agent.
pub struct Client {
    stream: TcpStream,
    input: ByteQueue,
    seq: u64,
    /// Sequence numbers of active subscriptions.
    streams: OrderedSet<u64>,
    /// Records that arrived between a request and its reply.
    early: VecDeque<(u64, Vec<u8>)>,
    interrupt: Option<Arc<AtomicBool>>,
    /// When the caller wants to stop waiting.
    deadline: Option<Deadline>,
    watches_stdout: bool,
}

impl Client {
    /// Connects to `HOST:PORT` or `unix:PATH` and completes the handshake; authenticates with `key` if it is
    /// not empty.
    ///
    /// # Errors
    /// If the connection, the handshake or the authentication fails.
    pub fn connect(address: &str, key: &str) -> Result<Self> {
        Client::connect_before(None, &Place::At(address.to_owned()), key)
    }

    /// Connects like [`Self::connect`]. This and all later calls end with [`Error::Interrupted`] at the
    /// deadline.
    ///
    /// # Errors
    /// If the connection, the handshake or the authentication fails.
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
            watches_stdout: false,
        };
        let handshake = Request::Handshake { version: VERSION };
        client.call(&handshake, Some(HANDSHAKE_TIME_MAX))?;
        if !key.is_empty() {
            let key = key.as_bytes().to_vec();
            client.call(&Request::Auth { key }, Some(HANDSHAKE_TIME_MAX))?;
        }
        Ok(client)
    }

    /// Makes all later waiting end with [`Error::Interrupted`] once the flag is set.
    pub fn set_interrupt(&mut self, interrupt: Arc<AtomicBool>) {
        self.interrupt = Some(interrupt);
    }

    /// Makes all later waiting end with [`Error::Unread`] once the reader of stdout is gone.
    pub const fn watch_stdout(&mut self) {
        self.watches_stdout = true;
    }

    /// Sends a request that the agent answers soon and without a body.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn execute(&mut self, request: &Request) -> Result<()> {
        self.call(request, Some(ANSWER_TIME_MAX)).map(drop)
    }

    /// Asks the agent to join; returns the number of nodes contacted. No timeout.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn join(&mut self, existing: Vec<Vec<u8>>, replay: bool) -> Result<i32> {
        let body = self.call(&Request::Join { existing, replay }, None)?;
        reply::decode_joined(&body).map_err(garbage)
    }

    /// Asks the agent to leave. No timeout.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn leave(&mut self) -> Result<()> {
        self.call(&Request::Leave, None).map(drop)
    }

    /// Waits for the agent to close the connection, which it does after it has released its files and ports.
    /// Returns `false` on timeout.
    pub fn await_end(&mut self) -> bool {
        loop {
            match self.value(Some(ANSWER_TIME_MAX)) {
                Ok(_) => {}
                Err(Error::Silent(_)) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Returns the members that match a request such as [`Request::MembersFiltered`].
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn members(&mut self, request: &Request) -> Result<Vec<Member>> {
        let body = self.call(request, Some(ANSWER_TIME_MAX))?;
        reply::decode_members(&body).map_err(garbage)
    }

    /// Returns the agent's statistics.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn stats(&mut self) -> Result<Stats> {
        let body = self.call(&Request::Stats, Some(ANSWER_TIME_MAX))?;
        reply::decode_stats(&body).map_err(garbage)
    }

    /// Returns the agent's handlers. `None`: it is an agent of Serf, which does not have the command.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn handlers(&mut self) -> Result<Option<Vec<HandlerFigures>>> {
        let body = self.call_own(&Request::Handlers)?;
        body.map(|body| decode_handlers(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Fires a user event; returns its Lamport time and id. `None`: it is an agent of Serf, and nothing was
    /// fired.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn fire(&mut self, request: &Request) -> Result<Option<Fired>> {
        let body = self.call_own(request)?;
        body.map(|body| decode_fired(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Returns the queued handler runs, and how many more events wait. `None`: the agent does not have the
    /// command.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn handler_queue(&mut self) -> Result<Option<(Vec<QueueEntry>, u64)>> {
        let body = self.call_own(&Request::HandlerQueue)?;
        body.map(|body| decode_queue(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Drops waiting events; returns how many. `None`: the agent does not have the command.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn handler_drop(&mut self, target: Vec<u8>) -> Result<Option<u64>> {
        let body = self.call_own(&Request::DropQueue { target })?;
        body.map(|body| decode_dropped(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Requests handler runs and returns their ends. No timeout. `None`: the agent does not have the command.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn handler_runs(&mut self, request: &Request) -> Result<Option<Vec<RunEnd>>> {
        let body = known(self.call(request, None))?;
        body.map(|body| decode_runs(&body))
            .transpose()
            .map_err(garbage)
    }

    /// Sends a request that only cottar's agents have. Returns `false` if this agent does not have it.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn execute_if_known(&mut self, request: &Request) -> Result<bool> {
        Ok(self.call_own(request)?.is_some())
    }

    fn call_own(&mut self, request: &Request) -> Result<Option<Vec<u8>>> {
        known(self.call(request, Some(ANSWER_TIME_MAX)))
    }

    /// Sends a key command; returns the report, and the error if it failed. Takes as long as a query.
    ///
    /// # Errors
    /// If the agent sends no report or the connection fails; see [`Error`].
    pub fn keys(&mut self, request: &Request) -> Result<(KeyReply, Option<String>)> {
        let (why, body) = self.exchange(request, Some(ANSWER_TIME_MAX))?;
        if body.is_empty() {
            return Err(Error::Refused(why));
        }
        let reply = KeyReply::decode(&body).map_err(garbage)?;
        Ok((reply, Some(why).filter(|why| !why.is_empty())))
    }

    /// Returns the network coordinate of a node, if the agent knows it.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn coordinate(&mut self, node: &[u8]) -> Result<Option<Coordinate>> {
        let node = node.to_vec();
        let body = self.call(&Request::Coordinate { node }, Some(ANSWER_TIME_MAX))?;
        decode_coordinate(&body).map_err(garbage)
    }

    /// Subscribes to records of events or of the log; returns the sequence number under which they arrive.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn subscribe(&mut self, request: &Request) -> Result<u64> {
        self.call(request, Some(ANSWER_TIME_MAX))?;
        self.streams.insert(self.seq);
        Ok(self.seq)
    }

    /// Subscribes like [`Self::subscribe`], with a request that only cottar's agents have. `None`: this agent
    /// does not have it, and has closed the connection.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn subscribe_own(&mut self, request: &Request) -> Result<Option<u64>> {
        let is_known = self.call_own(request)?.is_some();
        Ok(is_known.then(|| {
            self.streams.insert(self.seq);
            self.seq
        }))
    }

    /// Returns the next record of any subscription, or `None` if none begins within `timeout`. Without a
    /// limit it waits for ever; with zero it checks only data that was already read.
    ///
    /// # Errors
    /// If the connection fails or a record belongs to no subscription; see [`Error`].
    pub fn pushed(&mut self, timeout: Option<Duration>) -> Result<Option<(u64, Vec<u8>)>> {
        if let Some(record) = self.early.pop_front() {
            return Ok(Some(record));
        }
        let header = match self.value(timeout) {
            Err(Error::Silent(_)) => return Ok(None),
            header => ReplyHeader::decode(&header?).map_err(garbage)?,
        };
        if !self.streams.contains(&header.seq) {
            let why = format!("unexpected sequence number {}", header.seq);
            return Err(Error::Garbage(why));
        }
        Ok(Some((header.seq, self.value(None)?)))
    }

    /// Sends a query and returns its records.
    ///
    /// # Errors
    /// If the agent refuses or the connection fails; see [`Error`].
    pub fn query(&mut self, query: Query) -> Result<Records<'_>> {
        let nanos = u64::try_from(query.timeout_nanos).unwrap_or(0);
        let timeout = match nanos {
            0 => ANSWER_TIME_MAX,
            nanos => Duration::from_nanos(nanos).saturating_add(QUERY_SLACK),
        };
        self.call(&Request::Query(query), Some(ANSWER_TIME_MAX))?;
        Ok(Records {
            client: self,
            timeout,
        })
    }

    /// Sends a request and returns the body of its reply; empty if it has none.
    fn call(&mut self, request: &Request, timeout: Option<Duration>) -> Result<Vec<u8>> {
        match self.exchange(request, timeout)? {
            (why, body) if why.is_empty() => Ok(body),
            (why, _) => Err(Error::Refused(why)),
        }
    }

    /// Sends a request and returns the error of its reply, empty on success, and the body.
    fn exchange(
        &mut self,
        request: &Request,
        timeout: Option<Duration>,
    ) -> Result<(String, Vec<u8>)> {
        self.seq += 1;
        let bytes = request.encode(self.seq);
        if bytes.len() > REQUEST_BYTES_MAX {
            // The agent would close the connection while the request is being sent.
            let why = "the request is too large: 1 MiB at most";
            return Err(Error::Refused(why.to_owned()));
        }
        self.stream.write_all(&bytes).map_err(broken)?;
        let header = self.header(timeout)?;
        // These errors come without a body even if the reply should have one; after the second one, the agent
        // closes the connection.
        let bare = [
            &b"Authentication required"[..],
            b"Unsupported command",
            b"Permission denied: ",
        ];
        let is_bare = bare.iter().any(|words| header.error.starts_with(words));
        let body = if request.reply_has_body() && !is_bare {
            self.value(timeout)?
        } else {
            Vec::new()
        };
        Ok((readable(&header.error, ""), body))
    }

    fn header(&mut self, timeout: Option<Duration>) -> Result<ReplyHeader> {
        loop {
            let header = ReplyHeader::decode(&self.value(timeout)?).map_err(garbage)?;
            if header.seq == self.seq {
                return Ok(header);
            }
            if !self.streams.contains(&header.seq) {
                return Err(Error::Garbage(format!(
                    "sequence number {} instead of {}",
                    header.seq, self.seq
                )));
            }
            let record = self.value(timeout)?;
            self.early.push_back((header.seq, record));
        }
    }

    /// Waits at most `timeout` for one complete value.
    fn value(&mut self, timeout: Option<Duration>) -> Result<Vec<u8>> {
        let deadline = timeout.map(|timeout| (Deadline::after(timeout), timeout));
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
            if let Some((deadline, timeout)) = deadline {
                let left = deadline.left();
                if left.is_zero() {
                    return Err(Error::Silent(timeout));
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
            if self.watches_stdout {
                if sys::is_unread_before(self.stream.as_fd(), io::stdout().as_fd(), wait) {
                    return Err(Error::Unread);
                }
                // All readable data has arrived by now, unless the time has passed.
                wait = wait.map(|_| INSTANT);
            }
            self.stream.set_read_timeout(wait).map_err(Error::Broken)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => self.input.push(chunk.get(..count).unwrap_or_default()),
                // The loop's head checks the deadline.
                Err(why) if is_timeout(&why) || why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) => return Err(broken(why)),
            }
        }
    }
}

/// Records of a query.
pub struct Records<'a> {
    client: &'a mut Client,
    timeout: Duration,
}

impl Records<'_> {
    /// Returns the next ack or response; `None` at the end of the query.
    ///
    /// # Errors
    /// If the connection ends before the query does, or a record is malformed.
    pub fn receive(&mut self) -> Result<Option<Record>> {
        self.client.header(Some(self.timeout))?;
        let body = self.client.value(Some(self.timeout))?;
        let record = Record::decode(&body).map_err(garbage)?;
        // Some versions of the reference have a race at the end, and send records without a node name (agent
        // spec 2.4).
        Ok((record.kind != b"done" && !record.from.is_empty()).then_some(record))
    }
}

/// Returns the body of a reply; `None` if the agent does not have the command.
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
