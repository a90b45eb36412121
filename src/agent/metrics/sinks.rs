//! What values are sent to: statsd by datagrams, statsite by a stream.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};

use crate::agent::sys;
use crate::agent::words::os_error;
use crate::time::{Duration, Instant};

/// Bytes of one datagram.
pub(super) const DATAGRAM_BYTES_MAX: usize = 1400;
/// Bytes that wait for statsite.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Time between attempts to reach statsite.
pub(super) const CONNECT_RETRY: Duration = Duration::from_secs(1);

/// Where values are sent.
#[derive(Clone, Debug, Default)]
pub struct Sinks {
    /// By UDP.
    pub statsd: Option<SocketAddr>,
    /// By TCP.
    pub statsite: Option<SocketAddr>,
    /// Name of the machine, which the names of gauges get.
    pub host: String,
}

/// Lines on their way to statsd.
#[derive(Debug)]
pub(super) struct Statsd {
    socket: UdpSocket,
    datagram: Vec<u8>,
}

impl Statsd {
    pub(super) fn open(to: SocketAddr) -> io::Result<Self> {
        let socket = match to {
            SocketAddr::V4(_) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?,
            SocketAddr::V6(_) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?,
        };
        socket.set_nonblocking(true)?;
        socket.connect(to)?;
        Ok(Statsd {
            socket,
            datagram: Vec::new(),
        })
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        if self.datagram.len() + line.len() > DATAGRAM_BYTES_MAX {
            self.flush();
        }
        self.datagram.extend(line);
    }

    pub(super) fn flush(&mut self) {
        if !self.datagram.is_empty() {
            // Nobody there, or no room: that is what statsd's users have chosen.
            let _ = self.socket.send(&self.datagram);
            self.datagram.clear();
        }
    }
}

/// Lines on their way to statsite.
#[derive(Debug)]
pub(super) struct Statsite {
    to: SocketAddr,
    stream: Option<TcpStream>,
    pending: VecDeque<u8>,
    /// No attempt to connect before then.
    retry_at: Instant,
    dropped_lines: u64,
    reported: bool,
    /// A line has been sent in part.
    cut: bool,
}

impl Statsite {
    pub(super) fn new(to: SocketAddr) -> Self {
        Statsite {
            to,
            stream: None,
            pending: VecDeque::new(),
            retry_at: Instant::ORIGIN,
            dropped_lines: 0,
            reported: false,
            cut: false,
        }
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

    /// Whether everything is written.
    pub(super) fn flush(&mut self, now: Instant) -> bool {
        if self.stream.is_none() {
            if self.retry_at > now {
                return false;
            }
            self.retry_at = now + CONNECT_RETRY;
            match sys::connect_from(None, self.to) {
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
                // Still connecting.
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
            log::warn!(target: "agent", "{count} lines of telemetry did not reach statsite");
        }
    }

    /// The connection is gone; the operator is told once.
    fn lost(&mut self, error: &io::Error) {
        self.stream = None;
        // The rest of a line means nothing to whoever is connected to next.
        let cut = std::mem::take(&mut self.cut);
        while cut && self.pending.pop_front().is_some_and(|byte| byte != b'\n') {}
        if !self.reported {
            self.reported = true;
            let why = os_error(error);
            log::warn!(target: "agent", "Statsite at {} cannot be reached: {why}", self.to);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_statsite_that_never_reads_costs_a_bounded_amount() {
        let mut statsite = Statsite::new("127.0.0.1:1".parse().unwrap());
        for _ in 0..100_000 {
            statsite.push(b"serf-agent.serf.events:1.000000|c\n");
        }
        assert!(statsite.pending.len() <= PENDING_BYTES_MAX);
        assert!(statsite.dropped_lines > 0);
    }
}
