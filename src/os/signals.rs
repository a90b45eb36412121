//! Signals, delivered to the event loop as bytes in a pipe (agent spec 4.7).

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level};

/// A signal that the agent handles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Caught {
    Interrupt,
    Terminate,
    Hangup,
    /// Asks for a dump of the telemetry.
    User1,
}

impl Caught {
    /// Returns the signal's number.
    pub const fn number(self) -> i32 {
        match self {
            Caught::Interrupt => SIGINT,
            Caught::Terminate => SIGTERM,
            Caught::Hangup => SIGHUP,
            Caught::User1 => SIGUSR1,
        }
    }

    /// Returns the signal's name on the console.
    pub const fn as_str(self) -> &'static str {
        match self {
            Caught::Interrupt => "interrupt",
            Caught::Terminate => "terminated",
            Caught::Hangup => "hangup",
            Caught::User1 => "user defined signal 1",
        }
    }
}

/// Receives signals.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    child: Arc<AtomicBool>,
    others: [(Caught, Arc<AtomicBool>); 4],
}

/// Result of [`Signals::take`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// Whether a child has ended.
    pub child: bool,
    /// The other signals, each at most once.
    pub caught: Vec<Caught>,
}

impl Signals {
    /// Starts to catch signals.
    ///
    /// # Errors
    /// If the pipe cannot be created or registered, or a signal handler cannot be installed.
    pub fn install(registry: &Registry, token: Token) -> io::Result<Self> {
        let (reader, writer) = StdStream::pair()?;
        reader.set_nonblocking(true)?;
        let child = Arc::new(AtomicBool::new(false));
        let others = [
            (Caught::Interrupt, Arc::default()),
            (Caught::Terminate, Arc::default()),
            (Caught::Hangup, Arc::default()),
            (Caught::User1, Arc::default()),
        ];
        let numbers = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
        let flags = others.iter().map(|(_, flag)| flag);
        for (number, seen) in numbers.into_iter().zip(flags).chain([(SIGCHLD, &child)]) {
            // In this order, the flag is set before the pipe wakes the loop.
            flag::register(number, Arc::clone(seen))?;
            low_level::pipe::register(number, writer.try_clone()?)?;
        }
        // Makes writing beyond a file size limit an ordinary error. Caught rather than ignored, because
        // handlers would inherit an ignored signal.
        flag::register(libc::SIGXFSZ, Arc::default())?;
        // Catches SIGUSR2, which has no meaning here and would terminate the agent; the reference survives
        // it, too.
        flag::register(SIGUSR2, Arc::default())?;
        let mut pipe = UnixStream::from_std(reader);
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Signals {
            pipe,
            child,
            others,
        })
    }

    /// Empties the pipe and returns the signals since the last call.
    pub fn take(&mut self) -> Pending {
        let mut bytes = [0; 256];
        // Ends at `WouldBlock`; if more signals arrive than the pipe holds, the rest waits for the next turn.
        for _ in 0..1024 {
            match self.pipe.read(&mut bytes) {
                // A short read means that the pipe is empty: later bytes wake the loop again.
                Ok(count) if count == bytes.len() => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let was_up = |flag: &AtomicBool| flag.swap(false, Ordering::AcqRel);
        let others = self.others.iter();
        let caught = others.filter(|(_, flag)| was_up(flag));
        Pending {
            caught: caught.map(|(caught, _)| *caught).collect(),
            child: was_up(&self.child),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use std::time::Duration;

    #[test]
    fn signals_wake_the_poll_and_are_told_apart() {
        let mut poll = Poll::new().unwrap();
        let mut signals = Signals::install(poll.registry(), Token(3)).unwrap();
        signals.take();
        low_level::raise(SIGHUP).unwrap();
        low_level::raise(SIGHUP).unwrap();
        let mut events = Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(10)))
            .unwrap();
        assert!(events.iter().any(|event| event.token() == Token(3)));
        assert_eq!(signals.take().caught, [Caught::Hangup]);
        assert!(signals.take().caught.is_empty());
    }
}
