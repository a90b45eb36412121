//! A listening socket whose owner survives that the descriptors run out.

use std::io;
use std::net::SocketAddr;

use mio::net::{TcpListener, TcpStream};

use super::words::os_error;
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
}

impl Acceptor {
    /// Accepts from `listener`, which is registered.
    pub fn new(listener: TcpListener) -> Self {
        Acceptor {
            listener,
            ready: true,
            resume_at: None,
            pause: PAUSE_MIN,
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
            match self.listener.accept() {
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
}
