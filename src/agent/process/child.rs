//! One child process: bytes in, bounded bytes out, a time limit.

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

/// An empty pipe takes this much without blocking, whatever the system's limits (POSIX PIPE_BUF).
const PIPE_BYTES_SURE: usize = 4096;
/// Read from one pipe in one turn of the loop; the rest waits for the next turn.
const READ_BYTES_PER_TURN: usize = 256 << 10;
/// Of one read: most handlers say less, and the room is cleared each time.
const READ_BYTES: usize = 4 << 10;
/// From TERM to KILL.
pub const KILL_AFTER: Duration = Duration::from_secs(2);

/// Limits of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ends a run that lasts longer: TERM to its process group, KILL after [`KILL_AFTER`].
    pub time: Option<Duration>,
    /// How long output may stay open after the end of the process itself.
    pub grace: Duration,
    /// Bytes of output kept, the last ones.
    pub output_bytes_max: usize,
}

/// The tokens of a process's pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Tokens {
    pub stdin: Token,
    pub output: Token,
}

/// One child in its own process group: bytes go to its stdin, what it writes to stdout and stderr is
/// kept up to a bound.
///
/// Dropping it neither ends nor reaps the child.
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
    /// What the limit was, once it was exceeded.
    exceeded: Option<Duration>,
    done: Option<Instant>,
    handed_over: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Running,
    /// TERM was sent. The leader is not reaped before KILL or the end of the output, so that its
    /// number still stands for this group and no other.
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

/// What stdin has not taken yet.
#[derive(Debug)]
struct Feed {
    pipe: File,
    bytes: Arc<[u8]>,
    written: usize,
}

impl Process {
    /// Starts `command`; its stdin, stdout, stderr and process group are set here. Leave `pre_exec`
    /// alone: with it the start would copy the agent's page tables.
    ///
    /// # Errors
    /// If there are no descriptors, or no process could be started.
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
        // Our copies of the child's ends are closed with the command, or the output would never end.
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

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// One of the tokens is ready. Others are ignored.
    pub fn handle_event(&mut self, token: Token, registry: &Registry, now: Instant) {
        if token == self.tokens.stdin {
            self.feed();
        } else if token == self.tokens.output {
            self.read(registry);
            if self.output.is_none() {
                // Most often the end of the process follows at once. Seen now, it need not be waited
                // for in another turn, and the next handler starts sooner.
                self.check_end(registry, now);
            }
        }
        self.settle(now);
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        self.check_end(registry, now);
        self.settle(now);
    }

    /// The deadline of [`Self::poll_timeout`] has come. Too early a call does no harm.
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

    /// The next deadline. Changed by every `handle_*`.
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

    /// Takes the pipe of the output, if it is still open; nothing more of it is kept.
    pub fn take_output(&mut self) -> Option<OwnedFd> {
        self.output.take().map(OwnedFd::from)
    }

    /// The process id, which is that of its group as well.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether a signal has stopped the process itself.
    pub fn is_stopped(&self) -> bool {
        self.end.is_none() && sys::is_stopped(self.child.id())
    }

    /// Ends it before its time, as the time limit would; it counts as timed out.
    pub fn terminate(&mut self, now: Instant) {
        if self.end.is_none() && self.stage == Stage::Running {
            self.exceeded = Some(now.since(self.started));
            self.send_term(now);
        }
    }

    /// The end of it, once, if it has come; and its output, if somebody else still holds it.
    /// Changed by every `handle_*`.
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

    /// The limit was exceeded and the leader may be a zombie that waits for its group.
    fn is_waited_for_by_limit(&self) -> bool {
        matches!(self.stage, Stage::Terminating { .. })
    }

    /// Reaps the process if it has ended, and reads what it left in the pipe.
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
                // A reader that is still there gets end-of-file.
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

/// The pipe for stdin with as much in it as it takes, and what is still to be written.
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
    /// Writes what the pipe takes; tells whether it can be closed. A child that does not care to read
    /// is in its right, so that errors only end the writing.
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

/// The output of a process that has ended while others still hold it open. It is read and thrown away,
/// so that whoever writes to it neither stops nor gets SIGPIPE.
#[derive(Debug)]
pub struct Leftover {
    pipe: File,
    token: Token,
}

impl Leftover {
    /// The token of its pipe: that of the process's output.
    pub fn token(&self) -> Token {
        self.token
    }

    /// The pipe itself.
    pub fn into_pipe(self) -> OwnedFd {
        self.pipe.into()
    }

    /// Its token is ready. Tells whether the last holder has closed it; drop it then.
    pub fn handle_event(&mut self, registry: &Registry) -> bool {
        drain(&mut self.pipe, self.token, registry, |_| {})
    }
}

/// Reads until the pipe is empty or enough was read for one turn; tells whether it is at its end.
///
/// A pipe that is closed needs no deregistration: no copy of our end exists, so that the kernel forgets
/// it at once.
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
    // Readiness is reported once; arming it again reports it again in the next turn.
    let raw = pipe.as_raw_fd();
    let armed = registry.reregister(&mut SourceFd(&raw), token, Interest::READABLE);
    armed.is_err()
}
