//! Notifies a service manager of the agent's state: datagrams of assignments to the socket in
//! `NOTIFY_SOCKET`, as for systemd (cottar-agent(8)).
//!
//! Nothing blocks, and errors do not affect the agent: messages are retried while the socket is full; other
//! errors are logged and the message is lost.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::os::clock;
use crate::time::{Duration, Instant};

/// Environment variable with the socket's address. Handlers must not inherit it, or they could send
/// notifications for the agent.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// Delay before retrying on a full socket.
const RETRY: Duration = Duration::from_millis(100);
/// Limit for unsent messages; there are never more than a few unless the manager does not read.
const UNSENT_MAX: usize = 16;

/// Last state of the start that was sent to the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reported {
    Nothing,
    Ready,
    Stopping,
}

/// Connection to the service manager; without one, all methods do nothing.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
    reported: Reported,
    unsent: VecDeque<String>,
    retry_at: Option<Instant>,
}

impl Notifier {
    /// Connects to the socket in the environment, if any; logs a socket that cannot be used.
    pub fn from_environment() -> Self {
        let to = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let to = to.and_then(|name| match connect(&name) {
            Ok(to) => Some(to),
            Err(why) => {
                let name = name.to_string_lossy();
                log::warn!(target: "agent", "Cannot notify the service manager at '{name}': {why}");
                None
            }
        });
        Notifier {
            to,
            reported: Reported::Nothing,
            unsent: VecDeque::new(),
            retry_at: None,
        }
    }

    /// Sends a short status text for operators, which the manager only displays.
    pub fn status(&mut self, words: &str, now: Instant) {
        self.send(format!("STATUS={}", one_line(words)), now);
    }

    /// Reports that the agent is serving.
    pub fn ready(&mut self, now: Instant) {
        self.reported = Reported::Ready;
        self.send("READY=1\nSTATUS=Serving".to_owned(), now);
    }

    /// Reports the start of a reload and its time, because the manager ignores reloads that began before its
    /// own request.
    pub fn reloading(&mut self, now: Instant) {
        if self.reported == Reported::Ready {
            let micros = clock::manager_micros();
            let text = format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reloading");
            self.send(text, now);
        }
    }

    /// Reports the end of a reload: success, or the reason why nothing was changed.
    pub fn reloaded(&mut self, result: Result<(), &str>, now: Instant) {
        // Before the agent is ready, this would report that it is.
        if self.reported != Reported::Ready {
            return;
        }
        match result {
            Ok(()) => self.ready(now),
            Err(why) => {
                let why = one_line(why);
                self.send(
                    format!("READY=1\nSTATUS=Serving; the last reload failed: {why}"),
                    now,
                );
            }
        }
    }

    /// Reports that the agent is about to end.
    pub fn stopping(&mut self, words: &str, now: Instant) {
        if self.reported != Reported::Stopping {
            self.reported = Reported::Stopping;
            self.send(format!("STOPPING=1\nSTATUS={words}"), now);
        }
    }

    /// Returns when [`Self::flush`] is due.
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Retries unsent messages, if due.
    pub fn flush(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.send_waiting(now);
        }
    }

    fn send(&mut self, message: String, now: Instant) {
        if self.to.is_none() {
            return;
        }
        if self.unsent.len() == UNSENT_MAX {
            self.unsent.pop_front();
        }
        self.unsent.push_back(message);
        self.send_waiting(now);
    }

    fn send_waiting(&mut self, now: Instant) {
        self.retry_at = None;
        let Some((socket, to)) = &self.to else {
            return;
        };
        while let Some(message) = self.unsent.front() {
            match socket.send_to_addr(message.as_bytes(), to) {
                Err(why) if why.kind() == io::ErrorKind::WouldBlock => {
                    self.retry_at = Some(now + RETRY);
                    return;
                }
                Err(why) => log::warn!(target: "agent", "Cannot notify the service manager: {why}"),
                Ok(_) => {}
            }
            self.unsent.pop_front();
        }
    }
}

/// Connects to a path, or to `@` and the name of an abstract socket.
fn connect(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest)?,
        [b'/', ..] => SocketAddr::from_pathname(name)?,
        _ => {
            return Err(io::Error::other(
                "neither a path nor an abstract socket name",
            ));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}

/// Replaces newlines, which would begin another assignment.
fn one_line(words: &str) -> String {
    words.replace(['\n', '\r'], " ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::ORIGIN;

    fn pair() -> (UnixDatagram, Notifier, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let notifier = Notifier {
            to: Some(connect(path.as_os_str()).unwrap()),
            reported: Reported::Nothing,
            unsent: VecDeque::new(),
            retry_at: None,
        };
        (manager, notifier, directory)
    }

    fn next(manager: &UnixDatagram) -> Option<String> {
        let mut bytes = [0; 4096];
        let len = manager.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..len]).into_owned())
    }

    #[test]
    fn a_reload_before_the_start_is_through_does_not_report_readiness() {
        let (manager, mut notifier, _directory) = pair();
        notifier.reloading(NOW);
        notifier.reloaded(Ok(()), NOW);
        assert_eq!(next(&manager), None);
        notifier.ready(NOW);
        assert_eq!(next(&manager).unwrap(), "READY=1\nSTATUS=Serving");
    }

    #[test]
    fn a_reason_stays_on_its_line() {
        let (manager, mut notifier, _directory) = pair();
        notifier.ready(NOW);
        notifier.reloaded(Err("no\nSTOPPING=1"), NOW);
        next(&manager).unwrap();
        let text = next(&manager).unwrap();
        assert_eq!(
            text,
            "READY=1\nSTATUS=Serving; the last reload failed: no STOPPING=1"
        );
    }

    #[test]
    fn a_full_socket_is_tried_again_in_order_and_without_waiting() {
        let (manager, mut notifier, _directory) = pair();
        notifier.ready(NOW);
        while notifier.poll_timeout().is_none() {
            notifier.status("busy", NOW);
        }
        notifier.stopping("Leaving", NOW);
        notifier.flush(NOW);
        assert_eq!(notifier.unsent.len(), 2, "it is not yet time");
        while next(&manager).is_some() {}
        notifier.flush(NOW + RETRY);
        assert_eq!(notifier.poll_timeout(), None);
        assert_eq!(next(&manager).unwrap(), "STATUS=busy");
        assert_eq!(next(&manager).unwrap(), "STOPPING=1\nSTATUS=Leaving");
    }

    #[test]
    fn unsent_notifications_are_limited() {
        let (_manager, mut notifier, _directory) = pair();
        for _ in 0..10_000 {
            notifier.status("busy", NOW);
        }
        assert_eq!(notifier.unsent.len(), UNSENT_MAX);
    }

    #[test]
    fn a_manager_that_is_gone_or_misnamed_is_no_error() {
        let (manager, mut notifier, directory) = pair();
        drop(manager);
        drop(directory);
        notifier.ready(NOW);
        assert_eq!(notifier.poll_timeout(), None);
        assert!(notifier.unsent.is_empty());
        assert!(connect(OsStr::new("vsock:2:1234")).is_err());
        assert!(connect(OsStr::new(&"/long".repeat(100))).is_err());
        assert!(connect(OsStr::new("@abstract")).is_ok());
    }
}
