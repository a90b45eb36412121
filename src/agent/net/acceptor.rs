//! A listening socket that survives running out of file descriptors.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::addr::canonical;
use crate::os::error::os_error;
use crate::os::sys;
use crate::time::{Duration, Instant};

/// First and longest pause after an error, usually a lack of file descriptors. No event announces that some
/// are free again, and the waiting connection keeps the socket ready.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A non-blocking listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A TCP socket.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Registers the socket with the poll.
    ///
    /// # Errors
    /// If the poll refuses it.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        match self {
            Listener::Tcp(listener) => registry.register(listener, token, Interest::READABLE),
            Listener::Unix(listener) => {
                let fd = listener.as_raw_fd();
                registry.register(&mut SourceFd(&fd), token, Interest::READABLE)
            }
        }
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener) => listener.as_fd(),
        }
    }

    /// Accepts a connection; returns it with the peer's address, if it has one. Streams of both kinds are
    /// read and written in the same way.
    fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        match self {
            Listener::Tcp(listener) => {
                let (socket, peer) = listener.accept()?;
                Ok((socket, Some(canonical(peer))))
            }
            Listener::Unix(listener) => {
                let (socket, _) = listener.accept()?;
                socket.set_nonblocking(true)?;
                let socket = std::net::TcpStream::from(OwnedFd::from(socket));
                Ok((TcpStream::from_std(socket), None))
            }
        }
    }
}

/// A listening socket with its readiness and pauses.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    ready: bool,
    resume_at: Option<Instant>,
    pause: Duration,
    /// Accepted connections must have lower file descriptor numbers.
    descriptors_end: u64,
}

impl Acceptor {
    /// Accepts from `listener`, which must be registered. The last `spared` file descriptors of the process,
    /// but at most a third of all, are reserved for other uses, so that clients that only open connections
    /// cannot prevent handlers from running.
    pub fn new(listener: Listener, spared: u64) -> Self {
        let limit = sys::descriptors_max();
        Acceptor {
            listener,
            ready: true,
            resume_at: None,
            pause: PAUSE_MIN,
            descriptors_end: limit - spared.min(limit / 3),
        }
    }

    /// Notes that a connection may be waiting.
    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Returns whether a connection may be waiting although no event will announce it.
    pub fn has_more(&self) -> bool {
        self.ready && self.resume_at.is_none()
    }

    /// Returns when a pause ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// Accepts the next connection; returns it with the peer's address if it is TCP. `None`: there is no
    /// connection, or accepting is paused.
    pub fn accept(&mut self, now: Instant) -> Option<(TcpStream, Option<SocketAddr>)> {
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
        }
        while self.has_more() {
            match self.accept_within_limit() {
                Ok(accepted) => {
                    self.pause = PAUSE_MIN;
                    return Some(accepted);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.ready = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The connection was aborted before it was accepted; others may be waiting.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    let pause = self.pause;
                    log::warn!(target: "agent", "Pausing accept for {pause:?}: {}", os_error(&error));
                    self.resume_at = Some(now + pause);
                    self.pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        None
    }

    fn accept_within_limit(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        // The kernel uses the lowest free number.
        if sys::next_descriptor(self.listener.as_fd())? >= self.descriptors_end {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        self.listener.accept()
    }
}
