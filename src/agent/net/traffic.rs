//! What has passed the gossip port, and what has not.

use crate::count::Count;
use crate::time::{Duration, Instant};

/// Time between reports of what was dropped.
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Something that has a size, counted.
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

/// What has passed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Traffic {
    pub datagrams_in: Flow,
    pub datagrams_out: Flow,
    /// To streams.
    pub writes: Flow,
    /// Streams opened by this node, and by others.
    pub connects: u64,
    pub accepts: u64,
}

/// What was lost since the last report.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    /// Datagrams that the kernel did not take at once.
    pub(super) datagrams: u64,
    /// Datagrams that came faster than they were read.
    pub(super) unread: u64,
    /// Connections refused because there were too many.
    pub(super) streams: u64,
    /// No report before this time.
    quiet_until: Instant,
}

impl Dropped {
    /// Tells the operator, but not for each one.
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
