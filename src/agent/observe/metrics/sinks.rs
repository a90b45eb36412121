//! Destinations of metrics: statsd by UDP, statsite by TCP.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use crate::count::Count;
use crate::os::error::os_error;
use crate::os::sys;
use crate::time::{Duration, Instant};

/// Size limit of a datagram.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1400;
/// Limit for bytes buffered for statsite.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Interval between attempts to connect to statsite.
pub(super) const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// Type of a metrics server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// statsd, by UDP.
    Statsd,
    /// statsite, by TCP.
    Statsite,
}

/// Connection to statsd.
#[derive(Debug, Default)]
pub(super) struct Statsd {
    /// `None` until the address is known.
    socket: Option<UdpSocket>,
    to: Option<SocketAddr>,
    datagram: Vec<u8>,
}

impl Statsd {
    pub(super) fn open(&mut self, to: SocketAddr) -> io::Result<()> {
        if self.to == Some(to) {
            return Ok(());
        }
        let socket = match to {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        self.socket = Some(socket);
        self.to = Some(to);
        Ok(())
    }

    pub(super) const fn needs_address(&self) -> bool {
        self.socket.is_none()
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        if self.datagram.len() + line.len() > DATAGRAM_BYTES_MAX {
            self.flush();
        }
        // Without an address, the first lines are kept and later ones dropped.
        if self.datagram.len() + line.len() <= DATAGRAM_BYTES_MAX {
            self.datagram.extend(line);
        }
    }

    pub(super) fn flush(&mut self) {
        if let (Some(socket), false) = (&self.socket, self.datagram.is_empty()) {
            // Send errors are ignored: statsd is unreliable by design.
            let _ = socket.send(&self.datagram);
            self.datagram.clear();
        }
    }
}

/// Connection to statsite.
#[derive(Debug)]
pub(super) struct Statsite {
    /// `None` until the address is known.
    to: Option<SocketAddr>,
    stream: Option<TcpStream>,
    pending: VecDeque<u8>,
    /// Earliest time of the next attempt to connect.
    retry_at: Instant,
    dropped_lines: u64,
    reported: bool,
    /// Whether the last line was sent only in part.
    cut: bool,
}

impl Statsite {
    pub(super) fn new() -> Self {
        Statsite {
            to: None,
            stream: None,
            pending: VecDeque::new(),
            retry_at: Instant::ORIGIN,
            dropped_lines: 0,
            reported: false,
            cut: false,
        }
    }

    pub(super) fn set_address(&mut self, to: SocketAddr) {
        self.to = Some(to);
    }

    /// Returns whether there is no address, or the server cannot be reached at it.
    pub(super) fn needs_address(&self) -> bool {
        self.to.is_none() || (self.reported && self.stream.is_none())
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        if self.pending.len() + line.len() > PENDING_BYTES_MAX {
            self.dropped_lines += 1;
            return;
        }
        self.pending.extend(line);
    }

    pub(super) fn wait(&self, now: Instant) -> Duration {
        match self.stream {
            Some(_) => Duration::ZERO,
            None => self.retry_at.since(now),
        }
    }

    /// Writes buffered lines; returns whether all were written.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        if self.stream.is_none() {
            if self.retry_at > now {
                return false;
            }
            self.retry_at = now + CONNECT_RETRY;
            let Some(to) = self.to else {
                return false;
            };
            match sys::connect_from(None, to) {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => self.lost(&error),
            }
        }
        while let Some(stream) = &mut self.stream {
            let (front, _) = self.pending.as_slices();
            if front.is_empty() {
                self.pending.shrink_to(DATAGRAM_BYTES_MAX);
                return true;
            }
            match stream.write(front) {
                Ok(count) if count > 0 => {
                    self.cut = self.pending.drain(..count).next_back() != Some(b'\n');
                    self.written();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                // The connection is not established yet.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) => self.lost(&io::ErrorKind::WriteZero.into()),
                Err(error) => self.lost(&error),
            }
        }
        false
    }

    fn written(&mut self) {
        self.reported = false;
        if self.dropped_lines > 0 {
            let count = std::mem::take(&mut self.dropped_lines);
            log::warn!(target: "agent", "Lost {} of metrics for statsite", Count(count, "line"));
        }
    }

    /// Handles the loss of the connection; logs it once.
    fn lost(&mut self, error: &io::Error) {
        self.stream = None;
        // Drops the rest of a partly sent line, which is useless on a new connection.
        let cut = std::mem::take(&mut self.cut);
        while cut && self.pending.pop_front().is_some_and(|byte| byte != b'\n') {}
        if !self.reported {
            self.reported = true;
            let why = os_error(error);
            let to = self.to.map_or_else(String::new, |to| to.to_string());
            log::warn!(target: "agent", "Cannot reach statsite at {to}: {why}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_statsite_that_never_reads_costs_a_bounded_amount() {
        let mut statsite = Statsite::new();
        for _ in 0..100_000 {
            statsite.push(b"serf-agent.serf.events:1.000000|c\n");
        }
        assert!(statsite.pending.len() <= PENDING_BYTES_MAX);
        assert!(statsite.dropped_lines > 0);
    }
}
