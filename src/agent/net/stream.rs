//! A TCP stream of the gossip port, from connecting to its end.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::readable::Readable;
use crate::serf::StreamId;
use crate::time::Instant;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) socket: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) out: VecDeque<u8>,
    /// Whether the stream may be readable.
    pub(super) readable: Readable,
    /// Whether the send buffer is full; a writable event will follow.
    pub(super) blocked: bool,
    /// Whether the peer has closed its sending direction.
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// Closed by the core; remaining output is written until this time at the latest.
    Flushing(Instant),
    /// All output is written and our direction is shut down; waits for the peer to close, until this time at
    /// the latest.
    Lingering(Instant),
}

impl Stream {
    pub(super) fn write_out(&mut self) -> io::Result<()> {
        while !self.blocked && !self.out.is_empty() {
            let (front, _) = self.out.as_slices();
            match self.socket.write(front) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.out.drain(..count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
