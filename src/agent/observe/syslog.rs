//! Connection to syslog (agent spec 4.6): one datagram, or one line of a stream, per log line.
//!
//! Nothing blocks: lines that the socket does not take at once are dropped and counted, and the count is sent
//! as soon as the socket takes lines again.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use log::Level;
use mio::net::UnixStream;

use super::ring::Line;
use crate::count::Count;
use crate::os::clock::Deadline;
use crate::os::sys::LocalTime;

/// Paths at which syslog may listen.
pub const PATHS: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// Program name in each frame: the reference's, which filters look for.
const TAG: &str = "serf";
/// Interval between attempts to reconnect.
const RETRY: Duration = Duration::from_secs(1);
/// Longest frame in bytes, which datagram sockets usually take.
const FRAME_BYTES_MAX: usize = 8 << 10;

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Facilities and their numbers (RFC 3164, 4.1.1).
const FACILITIES: [(&str, u8); 20] = [
    ("KERN", 0),
    ("USER", 1),
    ("MAIL", 2),
    ("DAEMON", 3),
    ("AUTH", 4),
    ("SYSLOG", 5),
    ("LPR", 6),
    ("NEWS", 7),
    ("UUCP", 8),
    ("CRON", 9),
    ("AUTHPRIV", 10),
    ("FTP", 11),
    ("LOCAL0", 16),
    ("LOCAL1", 17),
    ("LOCAL2", 18),
    ("LOCAL3", 19),
    ("LOCAL4", 20),
    ("LOCAL5", 21),
    ("LOCAL6", 22),
    ("LOCAL7", 23),
];

/// Returns the number of a facility, ignoring case.
///
/// # Errors
/// If it is unknown; the text is the reference's.
pub fn facility(name: &str) -> Result<u8, String> {
    let mut known = FACILITIES.iter();
    known
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|&(_, number)| number)
        .ok_or_else(|| format!("invalid syslog facility: {name}"))
}

/// A connected socket.
#[derive(Debug)]
enum Wire {
    Datagram(UnixDatagram),
    /// With the rest of a frame that was sent only in part.
    Stream(UnixStream, Vec<u8>),
}

/// Connection to syslog, re-established when needed.
#[derive(Debug)]
pub struct Syslog {
    paths: Vec<PathBuf>,
    facility: u8,
    wire: Option<Wire>,
    /// Earliest time of the next attempt to connect, after one has failed.
    absent_until: Option<Deadline>,
    lost: u64,
}

impl Syslog {
    /// Creates the connection to the first of `paths` with a listener, now or when a later line is sent.
    ///
    /// # Errors
    /// If the facility is unknown; the text is the reference's.
    pub fn new(paths: &[impl AsRef<Path>], facility_name: &str) -> Result<Self, String> {
        let mut syslog = Syslog {
            paths: paths.iter().map(|path| path.as_ref().to_owned()).collect(),
            facility: facility(facility_name)?,
            wire: None,
            absent_until: None,
            lost: 0,
        };
        syslog.reconnect();
        Ok(syslog)
    }

    /// Returns whether the last attempt to connect or send succeeded.
    pub const fn is_connected(&self) -> bool {
        self.wire.is_some()
    }

    /// Returns the number of lost lines that were not reported yet.
    pub const fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends a log line, or drops it.
    pub fn send(&mut self, line: &Line) {
        if self.lost > 0 {
            let note = format!(
                "agent: {} could not be sent to syslog",
                Count(self.lost, "line")
            );
            if self.deliver(&self.frame(Level::Warn, &note, line.time)) {
                self.lost = 0;
            }
        }
        let frame = self.frame(line.level, &line.text, line.time);
        if !self.deliver(&frame) {
            self.lost += 1;
        }
    }

    fn frame(&self, level: Level, text: &str, time: LocalTime) -> Vec<u8> {
        let priority = self.facility << 3 | severity(level);
        let month = usize::try_from(time.month - 1).ok();
        let month = month.and_then(|month| MONTHS.get(month)).unwrap_or(&"Jan");
        let LocalTime {
            day,
            hour,
            minute,
            second,
            ..
        } = time;
        let pid = std::process::id();
        let mut frame = format!(
            "<{priority}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {TAG}[{pid}]: {text}"
        )
        .into_bytes();
        frame.truncate(FRAME_BYTES_MAX - 1);
        frame.push(b'\n');
        frame
    }

    fn deliver(&mut self, frame: &[u8]) -> bool {
        // The second attempt is for a syslog daemon that was restarted.
        for _ in 0..2 {
            let Some(wire) = &mut self.wire else {
                if !self.reconnect() {
                    return false;
                }
                continue;
            };
            match wire.send(frame) {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => return false,
                Err(_) => self.wire = None,
            }
        }
        match &mut self.wire {
            Some(wire) => wire.send(frame).is_ok(),
            None => false,
        }
    }

    fn reconnect(&mut self) -> bool {
        if self.absent_until.is_some_and(|end| !end.is_over()) {
            return false;
        }
        self.wire = self.paths.iter().find_map(|path| Wire::open(path).ok());
        let is_absent = self.wire.is_none();
        self.absent_until = is_absent.then(|| Deadline::after(RETRY));
        self.wire.is_some()
    }
}

impl Wire {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        if socket.connect(path).is_ok() {
            return Ok(Wire::Datagram(socket));
        }
        Ok(Wire::Stream(UnixStream::connect(path)?, Vec::new()))
    }

    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        match self {
            Wire::Datagram(socket) => socket.send(frame).map(drop),
            Wire::Stream(socket, rest) => {
                while !rest.is_empty() {
                    let count = retry(|| socket.write(rest))?;
                    rest.drain(..count);
                }
                let count = retry(|| socket.write(frame))?;
                rest.extend(frame.get(count..).unwrap_or_default());
                Ok(())
            }
        }
    }
}

/// Retries a write that a signal has interrupted; a write of zero bytes is an error.
fn retry(mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match write() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            result => return result,
        }
    }
}

/// Returns the severity to which the reference maps a level.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 5,
        Level::Debug => 6,
        Level::Trace => 7,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    const TIME: LocalTime = LocalTime {
        year: 2026,
        month: 11,
        day: 2,
        hour: 5,
        minute: 46,
        second: 24,
    };

    fn line(level: Level, text: &str) -> Line {
        Line {
            level,
            time: TIME,
            text: text.into(),
        }
    }

    fn receive(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1 << 16];
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    }

    fn head() -> String {
        format!("Nov  2 05:46:24 serf[{}]: ", std::process::id())
    }

    #[test]
    fn frames_are_the_references() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let missing = folder.path().join("missing");
        let mut syslog = Syslog::new(&[&missing, &path], "local0").unwrap();
        syslog.send(&line(Level::Info, "agent: Serf agent starting"));
        assert_eq!(
            receive(&server),
            format!("<133>{}agent: Serf agent starting\n", head())
        );
        for (level, priority) in [
            (Level::Trace, 135),
            (Level::Debug, 134),
            (Level::Warn, 132),
            (Level::Error, 131),
        ] {
            syslog.send(&line(level, "serf: x"));
            assert_eq!(receive(&server), format!("<{priority}>{}serf: x\n", head()));
        }
    }

    #[test]
    fn facilities_have_their_numbers() {
        assert_eq!(facility("kern"), Ok(0));
        assert_eq!(facility("AuthPriv"), Ok(10));
        assert_eq!(facility("LOCAL7"), Ok(23));
        let why = "invalid syslog facility: NOPE".to_owned();
        assert_eq!(facility("NOPE"), Err(why.clone()));
        assert_eq!(Syslog::new(&PATHS, "NOPE").unwrap_err(), why);
    }

    #[test]
    fn a_log_that_starts_later_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(&[&path], "USER").unwrap();
        assert!(!syslog.is_connected());
        syslog.send(&line(Level::Info, "early"));
        assert_eq!(syslog.lost(), 1);
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.absent_until = None;
        syslog.send(&line(Level::Info, "late"));
        assert!(syslog.is_connected());
        assert!(receive(&server).ends_with("agent: 1 line could not be sent to syslog\n"));
        assert!(receive(&server).ends_with(": late\n"));
    }

    #[test]
    fn a_stream_gets_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixListener::bind(&path).unwrap();
        let mut syslog = Syslog::new(&[&path], "USER").unwrap();
        syslog.send(&line(Level::Warn, "serf: a"));
        syslog.send(&line(Level::Warn, "serf: b"));
        drop(syslog);
        let mut text = String::new();
        server
            .accept()
            .unwrap()
            .0
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, format!("<12>{0}serf: a\n<12>{0}serf: b\n", head()));
    }

    #[test]
    fn a_full_socket_costs_lines_and_no_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(&[&path], "USER").unwrap();
        let mut sent = 0;
        while syslog.lost() == 0 {
            sent += 1;
            assert!(sent < 100_000, "the socket takes everything");
            syslog.send(&line(Level::Info, "x"));
        }
        for _ in 1..sent {
            receive(&server);
        }
        syslog.send(&line(Level::Info, "y"));
        assert!(receive(&server).ends_with("agent: 1 line could not be sent to syslog\n"));
        assert!(receive(&server).ends_with(": y\n"));
        assert_eq!(syslog.lost(), 0);
    }

    #[test]
    fn a_log_that_comes_back_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(&[&path], "USER").unwrap();
        // Restarted before anything was sent: nothing is lost.
        drop(server);
        std::fs::remove_file(&path).unwrap();
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.send(&line(Level::Info, "again"));
        assert!(receive(&server).ends_with(": again\n"));
        // Away for longer: lines sent in the meantime are counted.
        drop(server);
        std::fs::remove_file(&path).unwrap();
        syslog.send(&line(Level::Info, "lost"));
        assert_eq!(syslog.lost(), 1);
        let server = UnixDatagram::bind(&path).unwrap();
        syslog.absent_until = None;
        syslog.send(&line(Level::Info, "back"));
        assert!(receive(&server).contains("1 line could not be sent"));
        assert!(receive(&server).ends_with(": back\n"));
    }
}
