//! A listening socket whose owner survives that the descriptors run out.

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

/// First and longest pause after an error, which most likely means that the descriptors have run out.
/// Nothing announces that there are some again, and the connection that waits keeps the socket ready.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A socket that listens, and does not block.
#[derive(Debug)]
pub enum Listener {
    /// For TCP.
    Tcp(TcpListener),
    /// For processes of this host.
    Unix(UnixListener),
}

impl Listener {
    /// Has the poll watch it.
    ///
    /// # Errors
    /// The operating system's.
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

    /// The next connection, and the address of the other end if it has one. Once it is made, a stream of
    /// one kind is read and written as one of the other.
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

/// A listening socket and what it has to wait for.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    ready: bool,
    resume_at: Option<Instant>,
    pause: Duration,
    /// Descriptors with this number or a higher one are not for connections.
    descriptors_end: u64,
}

impl Acceptor {
    /// Accepts from `listener`, which is registered. The last `spared` descriptors of the process, but at
    /// most a third of all, are left to others: who only opens connections must not be able to keep
    /// handlers from running.
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

    /// A connection may wait.
    pub fn set_ready(&mut self) {
        self.ready = true;
    }

    /// Whether a connection may wait that no event will announce.
    pub fn has_more(&self) -> bool {
        self.ready && self.resume_at.is_none()
    }

    /// When a pause ends.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.resume_at
    }

    /// The next connection, and the address of the other end if it came by TCP; `None` if there is no
    /// connection, or during a pause.
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
                // A connection that broke before it was accepted; there may be others behind it.
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
        // The kernel gives the lowest number that is free.
        if sys::next_descriptor(self.listener.as_fd())? >= self.descriptors_end {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        self.listener.accept()
    }
}
