//! Waits for handlers of an earlier agent process; they are not children of this process.

use std::fs;
use std::sync::OnceLock;

use super::KILL_AFTER;
use crate::handler::journal::ProcessId;
use crate::os::sys;
use crate::serf::event_hash;
use crate::time::{Duration, Instant};

/// Poll interval: the end of another process's child is not signalled.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Returns the identity of a process, by which it differs from later ones with the same pid. `None`: there is
/// no such process, or /proc is missing.
pub fn identify(pid: u32) -> Option<ProcessId> {
    Some(ProcessId {
        pid,
        start_ticks: start_ticks(pid)?,
        boot: boot()?,
    })
}

/// Returns the start time of a process in clock ticks since boot; `None` for a zombie.
fn start_ticks(pid: u32) -> Option<u64> {
    /// Index of the fields after the name: state, and start time (proc(5)).
    const STATE: usize = 0;
    const START: usize = 19;
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses and may contain anything.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    if matches!(*fields.get(STATE)?, "Z" | "X") {
        return None;
    }
    fields.get(START)?.parse().ok()
}

/// Returns a hash of the kernel's boot id.
fn boot() -> Option<u64> {
    static BOOT: OnceLock<Option<u64>> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let id = fs::read("/proc/sys/kernel/random/boot_id").ok()?;
        Some(event_hash(b"boot", &id))
    })
}

/// A wait for a process of an earlier agent process and for its group.
#[derive(Debug)]
pub struct EarlierRun {
    process: ProcessId,
    grace: Duration,
    /// When SIGTERM is sent, if there is a limit.
    limit: Option<Instant>,
    kill_at: Option<Instant>,
    /// After the leader has ended: when to stop waiting for the rest of its group.
    group_until: Option<Instant>,
    next_look: Instant,
}

impl EarlierRun {
    /// Waits for the process, which is terminated once `limit` has passed, and then for its group at most
    /// `grace`.
    pub fn new(process: ProcessId, limit: Option<Duration>, grace: Duration, now: Instant) -> Self {
        EarlierRun {
            process,
            grace,
            limit: limit.map(|limit| now + limit),
            kill_at: None,
            group_until: None,
            next_look: now,
        }
    }

    /// Returns when [`Self::handle_timeout`] is due.
    pub const fn poll_timeout(&self) -> Instant {
        self.next_look
    }

    /// Checks whether the process has ended. Returns `true` if it has, or if the wait is over.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if now < self.next_look {
            return false;
        }
        self.next_look = now + LOOK_INTERVAL;
        let pid = self.process.pid;
        let is_this_boot = boot() == Some(self.process.boot);
        if !is_this_boot {
            return true;
        }
        let started = start_ticks(pid);
        if started == Some(self.process.start_ticks) {
            self.end_in_time(now);
            return false;
        }
        // While a process group exists, its number is not given to a new process; so if another process has
        // the pid now, the group is gone.
        if started.is_some() || !sys::group_exists(pid) {
            return true;
        }
        let until = *self.group_until.get_or_insert(now + self.grace);
        now >= until
    }

    fn end_in_time(&mut self, now: Instant) {
        let pid = self.process.pid;
        if self.kill_at.is_some_and(|at| now >= at) {
            sys::kill_group(pid, libc::SIGKILL);
            return;
        }
        if self.kill_at.is_none() && self.limit.is_some_and(|limit| now >= limit) {
            log::warn!(
                target: "agent",
                "Handler of the previous agent (process {pid}) exceeded the time limit: ending it"
            );
            sys::kill_group(pid, libc::SIGTERM);
            self.kill_at = Some(now + KILL_AFTER);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const NOW: Instant = Instant::ORIGIN;

    #[test]
    fn a_process_is_waited_for_and_ended_by_the_limit() {
        let mut child = Command::new("sleep")
            .arg("60")
            .process_group(0)
            .spawn()
            .unwrap();
        let process = identify(child.id()).unwrap();
        let limit = Some(Duration::from_secs(1));
        let mut run = EarlierRun::new(process, limit, Duration::ZERO, NOW);
        assert!(!run.handle_timeout(NOW));
        assert_eq!(run.poll_timeout(), NOW + LOOK_INTERVAL);
        assert!(!run.handle_timeout(NOW + Duration::from_secs(1)));
        let status = child.wait().unwrap();
        assert!(!status.success(), "TERM has ended it");
        assert!(run.handle_timeout(NOW + Duration::from_secs(2)));
    }

    #[test]
    fn another_process_with_the_number_is_not_waited_for() {
        let mine = identify(std::process::id()).unwrap();
        let other = ProcessId {
            start_ticks: mine.start_ticks + 1,
            ..mine
        };
        let earlier = ProcessId { boot: 1, ..mine };
        for process in [other, earlier] {
            assert!(EarlierRun::new(process, None, Duration::ZERO, NOW).handle_timeout(NOW));
        }
        assert!(!EarlierRun::new(mine, None, Duration::ZERO, NOW).handle_timeout(NOW));
        assert_eq!(identify(0), None);
    }
}
