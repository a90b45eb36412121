//! A stream on its way from connecting to its end.

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
    /// The kernel has something for us, as far as we know.
    pub(super) readable: Readable,
    /// The kernel took no more; a writable event will tell.
    pub(super) blocked: bool,
    /// The other side has sent its last byte.
    pub(super) ended: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    Open,
    /// The core is done with it; what was written is still on its way, until then at the latest.
    Flushing(Instant),
    /// All is written and our side is shut; waits for the other's end, until then at the latest.
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
