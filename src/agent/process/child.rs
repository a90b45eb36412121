//! A child process: input to stdin, bounded output, a time limit.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::output_tail::Tail;
use crate::handler::{End, Outcome};
use crate::os::error::os_error;
use crate::os::own_child::OwnChild;
use crate::os::sys;
use crate::time::{Duration, Instant};

/// Bytes that an empty pipe takes without blocking on every system (POSIX PIPE_BUF).
const PIPE_BYTES_SURE: usize = 4096;
/// Limit for the bytes read from one pipe in one turn of the loop.
const READ_BYTES_PER_TURN: usize = 256 << 10;
/// Buffer size of one read, small because the buffer is zeroed each time and most handlers write less.
const READ_BYTES: usize = 4 << 10;
/// Time between SIGTERM and SIGKILL.
pub const KILL_AFTER: Duration = Duration::from_secs(2);

/// Limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time limit of a run: SIGTERM to its process group, SIGKILL after [`KILL_AFTER`].
    pub time: Option<Duration>,
    /// How long output may stay open after the process itself has ended.
    pub grace: Duration,
    /// Number of output bytes kept, from the end.
    pub output_bytes_max: usize,
}

/// Tokens of a process's pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tokens {
    pub stdin: Token,
    pub output: Token,
}

/// A child in its own process group. Its stdin gets the given bytes, and its stdout and stderr are kept up to
/// a limit.
///
/// Dropping it neither terminates nor reaps the child.
#[derive(Debug)]
pub struct Process {
    child: OwnChild,
    stdin: Option<Feed>,
    output: Option<File>,
    tail: Tail,
    tokens: Tokens,
    limits: Limits,
    started: Instant,
    stage: Stage,
    end: Option<Ended>,
    /// The limit that ended the run, if any.
    exceeded: Option<Duration>,
    done: Option<Instant>,
    handed_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// SIGTERM was sent. The leader is not reaped before SIGKILL or the end of the output, so that its pid,
    /// and so the group's number, cannot be reused.
    Terminating {
        kill_at: Instant,
    },
    Killed,
}

/// The process itself has ended and was reaped.
#[derive(Debug)]
struct Ended {
    at: Instant,
    status: io::Result<ExitStatus>,
}

/// Input that stdin has not taken yet.
#[derive(Debug)]
struct Feed {
    pipe: File,
    bytes: Arc<[u8]>,
    written: usize,
}

impl Process {
    /// Starts `command`, with its stdin, stdout, stderr and process group set here. The command must not use
    /// `pre_exec`: with it, starting copies the agent's page tables.
    ///
    /// # Errors
    /// If no file descriptor or process is available, or the program cannot be executed.
    pub fn start(
        mut command: Command,
        stdin: Arc<[u8]>,
        limits: Limits,
        tokens: Tokens,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<Self> {
        let (stdin_end, feed) = feed(stdin, tokens.stdin, registry)?;
        let (output, output_end) = sys::pipe()?;
        sys::set_nonblocking(output.as_fd())?;
        registry.register(
            &mut SourceFd(&output.as_raw_fd()),
            tokens.output,
            Interest::READABLE,
        )?;
        command
            .stdin(Stdio::from(stdin_end))
            .stdout(Stdio::from(output_end.try_clone()?))
            .stderr(Stdio::from(output_end))
            .process_group(0);
        let child = OwnChild::spawn(&mut command)?;
        // The command holds copies of the child's pipe ends; with them open, the output would never end.
        drop(command);
        Ok(Process {
            child,
            stdin: feed,
            output: Some(File::from(output)),
            tail: Tail::new(limits.output_bytes_max),
            tokens,
            limits,
            started: now,
            stage: Stage::Running,
            end: None,
            exceeded: None,
            done: None,
            handed_over: false,
        })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Handles readiness of one of the tokens; ignores others.
    pub fn handle_event(&mut self, token: Token, registry: &Registry, now: Instant) {
        if token == self.tokens.stdin {
            self.feed();
        } else if token == self.tokens.output {
            self.read(registry);
            if self.output.is_none() {
                // The process usually ends at once after its output. Checking now saves a turn of the loop
                // before the next handler starts.
                self.check_end(registry, now);
            }
        }
        self.settle(now);
    }

    /// Handles SIGCHLD.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        self.check_end(registry, now);
        self.settle(now);
    }

    /// Handles the deadline of [`Self::poll_timeout`]. Calls before the deadline do nothing.
    pub fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        match self.stage {
            Stage::Running if self.end.is_none() => {
                if let Some(limit) = self.limits.time.filter(|&t| now >= self.started + t) {
                    self.exceeded = Some(limit);
                    self.send_term(now);
                }
            }
            Stage::Terminating { kill_at } if now >= kill_at => {
                sys::kill_group(self.child.id(), libc::SIGKILL);
                self.stage = Stage::Killed;
                self.check_end(registry, now);
            }
            _ => {}
        }
        self.settle(now);
    }

    /// Returns the next deadline. May change after every `handle_*`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.done.is_some() {
            return None;
        }
        if let Some(ended) = &self.end {
            return Some(ended.at + self.limits.grace);
        }
        match self.stage {
            Stage::Running => self.limits.time.map(|limit| self.started + limit),
            Stage::Terminating { kill_at } => Some(kill_at),
            Stage::Killed => None,
        }
    }

    /// Removes the output pipe, if it is still open; no further output is kept.
    pub fn take_output(&mut self) -> Option<OwnedFd> {
        self.output.take().map(OwnedFd::from)
    }

    /// Returns the process id, which is also the process group id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the process itself is stopped by a signal.
    pub fn is_stopped(&self) -> bool {
        self.end.is_none() && sys::is_stopped(self.child.id())
    }

    /// Terminates the process like the time limit does; the run counts as timed out.
    pub fn terminate(&mut self, now: Instant) {
        if self.end.is_none() && self.stage == Stage::Running {
            self.exceeded = Some(now.since(self.started));
            self.send_term(now);
        }
    }

    /// Returns the outcome once, when the run is over, and the output pipe if another process still holds it.
    /// Poll again after every `handle_*`.
    pub fn poll_outcome(&mut self) -> Option<(Outcome, Option<Leftover>)> {
        let done = self.done.filter(|_| !self.handed_over)?;
        self.handed_over = true;
        let (output, output_bytes) = self.tail.take();
        let outcome = Outcome {
            end: self.how_it_ended(),
            output,
            output_bytes,
            duration: done.since(self.started),
        };
        let token = self.tokens.output;
        let leftover = self.output.take().map(|pipe| Leftover { pipe, token });
        Some((outcome, leftover))
    }

    fn how_it_ended(&self) -> End {
        if let Some(limit) = self.exceeded {
            return End::TimedOut(limit);
        }
        match self.end.as_ref().map(|ended| &ended.status) {
            Some(Ok(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => End::Exited(code),
                (None, Some(signal)) => End::Signalled(signal),
                (None, None) => End::Failed(status.to_string()),
            },
            Some(Err(error)) => End::Failed(os_error(error)),
            None => End::Failed("still running".to_owned()),
        }
    }

    fn send_term(&mut self, now: Instant) {
        sys::kill_group(self.child.id(), libc::SIGTERM);
        self.stage = Stage::Terminating {
            kill_at: now + KILL_AFTER,
        };
    }

    /// Returns whether SIGTERM was sent; the leader may then be a zombie that is kept until its group ends.
    fn is_waited_for_by_limit(&self) -> bool {
        matches!(self.stage, Stage::Terminating { .. })
    }

    /// Reaps the process if it has ended, and reads the rest of its output.
    fn check_end(&mut self, registry: &Registry, now: Instant) {
        if self.end.is_some() {
            return;
        }
        if self.is_waited_for_by_limit() {
            if !sys::has_ended(self.child.id()) {
                return;
            }
            self.read(registry);
            if self.output.is_some() {
                return;
            }
        }
        let status = match self.child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => Ok(status),
            Err(error) => Err(error),
        };
        self.end = Some(Ended { at: now, status });
        self.read(registry);
    }

    /// Decides whether the run is over.
    fn settle(&mut self, now: Instant) {
        if let Some(ended) = self.end.as_ref().filter(|_| self.done.is_none()) {
            if self.output.is_none() || now >= ended.at + self.limits.grace {
                self.done = Some(now);
                // Another reader of stdin gets end-of-file.
                self.stdin = None;
            }
        }
    }

    fn read(&mut self, registry: &Registry) {
        if let Some(pipe) = &mut self.output {
            let tail = &mut self.tail;
            if drain(pipe, self.tokens.output, registry, |bytes| tail.push(bytes)) {
                self.output = None;
            }
        }
    }

    fn feed(&mut self) {
        if self.stdin.as_mut().is_some_and(|feed| feed.write()) {
            self.stdin = None;
        }
    }
}

/// Creates the pipe for stdin, writes as much as it takes, and returns the rest.
fn feed(
    bytes: Arc<[u8]>,
    token: Token,
    registry: &Registry,
) -> io::Result<(OwnedFd, Option<Feed>)> {
    let (child_end, pipe) = sys::pipe()?;
    if bytes.len() > PIPE_BYTES_SURE {
        sys::set_nonblocking(pipe.as_fd())?;
    }
    let mut feed = Feed {
        pipe: File::from(pipe),
        bytes,
        written: 0,
    };
    if feed.write() {
        return Ok((child_end, None));
    }
    registry.register(
        &mut SourceFd(&feed.pipe.as_raw_fd()),
        token,
        Interest::WRITABLE,
    )?;
    Ok((child_end, Some(feed)))
}

impl Feed {
    /// Writes as much as the pipe takes; returns whether the pipe can be closed. A child need not read its
    /// input, so write errors only end the writing.
    fn write(&mut self) -> bool {
        while let Some(rest) = self.bytes.get(self.written..).filter(|r| !r.is_empty()) {
            match self.pipe.write(rest) {
                Ok(0) => return true,
                Ok(count) => self.written = self.written.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        true
    }
}

/// Output pipe of a process that has ended while others still hold it open. It is read and discarded, so that
/// writers neither block nor get SIGPIPE.
#[derive(Debug)]
pub struct Leftover {
    pipe: File,
    token: Token,
}

impl Leftover {
    /// Returns the token of its pipe: that of the process's output.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Returns the pipe.
    pub fn into_pipe(self) -> OwnedFd {
        self.pipe.into()
    }

    /// Handles readiness of its token. Returns whether the last writer has closed the pipe; it must then be
    /// dropped.
    pub fn handle_event(&mut self, registry: &Registry) -> bool {
        drain(&mut self.pipe, self.token, registry, |_| {})
    }
}

/// Reads until the pipe is empty or the limit of a turn is reached; returns whether the pipe is at its end.
///
/// Closing the pipe needs no deregistration: it is the only copy of our end, so the kernel removes it at
/// once.
fn drain(pipe: &mut File, token: Token, registry: &Registry, mut take: impl FnMut(&[u8])) -> bool {
    let mut buffer = [0; READ_BYTES];
    let mut total = 0;
    while total < READ_BYTES_PER_TURN {
        match pipe.read(&mut buffer) {
            Ok(0) => return true,
            Ok(count) => {
                take(buffer.get(..count).unwrap_or_default());
                total = total.saturating_add(count);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return true,
        }
    }
    // Readiness is edge-triggered; registering again reports it again in the next turn.
    let raw = pipe.as_raw_fd();
    let armed = registry.reregister(&mut SourceFd(&raw), token, Interest::READABLE);
    armed.is_err()
}
