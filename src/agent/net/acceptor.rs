//! A listening socket whose owner survives that the descriptors run out.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::net::{TcpListener, TcpStream};

use super::addr::canonical;
use crate::os::error::os_error;
use crate::os::sys;
use crate::time::{Duration, Instant};

/// First and longest pause after an error, which most likely means that the descriptors have run out.
/// Nothing announces that there are some again, and the connection that waits keeps the socket ready.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// A listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
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
    pub fn new(listener: TcpListener, spared: u64) -> Self {
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

    /// The next connection; `None` if there is none, or during a pause.
    pub fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
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
                    log::warn!(target: "agent", "Accepting pauses for {pause:?}: {}", os_error(&error));
                    self.resume_at = Some(now + pause);
                    self.pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
        None
    }

    fn accept_within_limit(&self) -> io::Result<(TcpStream, SocketAddr)> {
        // The kernel gives the lowest number that is free.
        if sys::next_descriptor(self.listener.as_fd())? >= self.descriptors_end {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let (socket, peer) = self.listener.accept()?;
        Ok((socket, canonical(peer)))
    }
}
