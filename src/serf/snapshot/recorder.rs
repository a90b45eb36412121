//! Records changes as snapshot lines (gossip spec 5.17, agent spec 4.10).

use super::SnapshotLine;
use crate::serf::{LamportTime, Member, MemberEventKind, Output, Serf, UserEvent, event_hash};
use crate::time::{Duration, Instant};

/// Delay between an advance of the member clock and its recording.
const CLOCK_INTERVAL: Duration = Duration::from_millis(500);

/// The values that the file already contains.
#[derive(Debug)]
pub(in crate::serf) struct Recorder {
    pub(in crate::serf) clock: LamportTime,
    pub(in crate::serf) event_clock: LamportTime,
    pub(in crate::serf) query_clock: LamportTime,
    /// First time whose user events are for this node; `None`: the file does not contain yet that it is a
    /// member of a cluster.
    pub(in crate::serf) member: Option<LamportTime>,
    /// A leave was recorded; after it only the member clock is.
    has_left: bool,
    /// When to record the clock, if it has advanced.
    clock_due: Option<Instant>,
}

impl Recorder {
    /// Creates a recorder for a file that contains these times.
    pub(in crate::serf) fn new(
        clock: LamportTime,
        event_clock: LamportTime,
        query_clock: LamportTime,
    ) -> Self {
        Recorder {
            clock,
            event_clock,
            query_clock,
            member: None,
            has_left: false,
            clock_due: None,
        }
    }
}

impl Serf {
    /// Records a change of a member.
    pub(in crate::serf) fn record_member(&mut self, kind: MemberEventKind, member: &Member) {
        let (name, addr) = (member.name.clone(), member.addr);
        let gone = SnapshotLine::NotAlive(name.clone());
        match kind {
            MemberEventKind::Join => self.record_line(SnapshotLine::Alive { name, addr }),
            MemberEventKind::Leave | MemberEventKind::Reap => self.record_line(gone),
            MemberEventKind::Failed => {
                self.record_line(gone);
                self.record_line(SnapshotLine::Failed { name, addr });
            }
            MemberEventKind::Update | MemberEventKind::Sync => return,
        }
        if self.recorder.as_ref().is_some_and(|r| !r.has_left) {
            self.record_clock();
        }
    }

    /// Outputs a line, unless a leave was recorded.
    pub(in crate::serf) fn record_line(&mut self, line: SnapshotLine) {
        if self.recorder.as_ref().is_some_and(|r| !r.has_left) {
            self.outputs.push_back(Output::Snapshot(line));
        }
    }

    /// Records a user event that is handed over, or that was replaced by a newer one in the coalescer.
    pub(in crate::serf) fn record_event(&mut self, event: &UserEvent) {
        let ltime = event.ltime;
        let Some(recorder) = self.recorder.as_mut().filter(|r| !r.has_left) else {
            return;
        };
        let hash = event_hash(&event.name, &event.payload);
        // This line comes first: a clock above all `Seen` lines would mean that the reference has used the
        // file.
        let line = SnapshotLine::Seen { ltime, hash };
        self.outputs.push_back(Output::Snapshot(line));
        if ltime > recorder.event_clock {
            recorder.event_clock = ltime;
            let line = SnapshotLine::EventClock(ltime);
            self.outputs.push_back(Output::Snapshot(line));
        }
    }

    /// Records, after a state was merged, that this node is a member of a cluster; events before `first` are
    /// not for it.
    pub(in crate::serf) fn record_membership(&mut self, first: LamportTime) {
        let recorder = self.recorder.as_mut().filter(|r| !r.has_left);
        let Some(recorder) = recorder.filter(|r| r.member < Some(first)) else {
            return;
        };
        recorder.member = Some(first);
        let before = LamportTime(first.0.saturating_sub(1));
        if before > recorder.event_clock {
            // The equivalent that the reference understands.
            recorder.event_clock = before;
            let line = SnapshotLine::EventClock(before);
            self.outputs.push_back(Output::Snapshot(line));
        }
        let line = SnapshotLine::Member(first);
        self.outputs.push_back(Output::Snapshot(line));
    }

    /// Whether a leave was recorded, so that no further events are recorded.
    pub(in crate::serf) fn has_recorded_leave(&self) -> bool {
        self.recorder.as_ref().is_some_and(|r| r.has_left)
    }

    /// Records the time of a query.
    pub(in crate::serf) fn record_query(&mut self, ltime: LamportTime) {
        let recorder = self.recorder.as_mut().filter(|r| !r.has_left);
        if let Some(recorder) = recorder.filter(|r| ltime > r.query_clock) {
            recorder.query_clock = ltime;
            let line = SnapshotLine::QueryClock(ltime);
            self.outputs.push_back(Output::Snapshot(line));
        }
    }

    /// Records a graceful leave of this node.
    pub(in crate::serf) fn record_leave(&mut self) {
        if let Some(recorder) = self.recorder.as_mut().filter(|r| !r.has_left) {
            recorder.has_left = true;
            self.outputs
                .push_back(Output::Snapshot(SnapshotLine::Leave));
        }
    }

    /// Returns the last member time seen, if it is not recorded yet.
    fn unrecorded_clock(&self) -> Option<LamportTime> {
        let recorder = self.recorder.as_ref()?;
        let seen = LamportTime(self.member_clock.now().0.saturating_sub(1));
        (seen > recorder.clock).then_some(seen)
    }

    /// Records the member clock if it has advanced.
    pub(in crate::serf) fn record_clock(&mut self) {
        let unrecorded = self.unrecorded_clock();
        if let (Some(seen), Some(recorder)) = (unrecorded, &mut self.recorder) {
            recorder.clock = seen;
            recorder.clock_due = None;
            let line = SnapshotLine::Clock(seen);
            self.outputs.push_back(Output::Snapshot(line));
        }
    }

    pub(in crate::serf) fn recorder_deadline(&self) -> Option<Instant> {
        self.recorder.as_ref().and_then(|r| r.clock_due)
    }

    /// Starts the timer if the member clock has advanced. An idle node has no timer.
    pub(in crate::serf) fn arm_recorder(&mut self, now: Instant) {
        let advanced = self.unrecorded_clock().is_some();
        if let Some(recorder) = &mut self.recorder {
            if advanced && recorder.clock_due.is_none() {
                recorder.clock_due = Some(now + CLOCK_INTERVAL);
            }
        }
    }

    pub(in crate::serf) fn record_due_clock(&mut self, now: Instant) {
        if self.recorder_deadline().is_some_and(|due| due <= now) {
            self.record_clock();
        }
    }
}
