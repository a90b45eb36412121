//! Counts traffic and losses of the gossip port.

use crate::count::Count;
use crate::time::{Duration, Instant};

/// Minimum interval between log lines about losses.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Number and total size of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Flow {
    pub count: u64,
    pub bytes: u64,
}

impl Flow {
    pub(super) fn add(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }
}

/// Traffic since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    pub datagrams_in: Flow,
    pub datagrams_out: Flow,
    /// Writes to streams.
    pub writes: Flow,
    /// Streams opened by this node, and by peers.
    pub connects: u64,
    pub accepts: u64,
}

/// Losses since the last report.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Datagrams that the kernel did not accept for sending.
    pub(super) datagrams: u64,
    /// Datagrams dropped because the receive buffer was full.
    pub(super) unread: u64,
    /// Connections refused because there were too many.
    pub(super) streams: u64,
    /// Earliest time of the next report.
    quiet_until: Instant,
}

impl Dropped {
    /// Logs losses, at most once per [`REPORT_INTERVAL`].
    pub(super) fn report(&mut self, now: Instant) {
        let (datagrams, unread, streams) = (self.datagrams, self.unread, self.streams);
        if (datagrams == 0 && unread == 0 && streams == 0) || now < self.quiet_until {
            return;
        }
        log::warn!(
            target: "memberlist",
            "Overload: {} not sent, {unread} lost in the receive buffer, {} refused",
            Count(datagrams, "packet"),
            Count(streams, "connection")
        );
        *self = Dropped {
            quiet_until: now + REPORT_INTERVAL,
            ..Dropped::default()
        };
    }
}
