//! Signals, as bytes in a pipe that the loop polls (agent spec 4.7).

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::{flag, low_level};

/// A signal from outside that means something to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Caught {
    Interrupt,
    Terminate,
    Hangup,
    /// A wish to see the telemetry.
    User1,
}

impl Caught {
    /// The number of the signal.
    pub const fn number(self) -> i32 {
        match self {
            Caught::Interrupt => SIGINT,
            Caught::Terminate => SIGTERM,
            Caught::Hangup => SIGHUP,
            Caught::User1 => SIGUSR1,
        }
    }

    /// The word for it on the console.
    pub const fn as_str(self) -> &'static str {
        match self {
            Caught::Interrupt => "interrupt",
            Caught::Terminate => "terminated",
            Caught::Hangup => "hangup",
            Caught::User1 => "user defined signal 1",
        }
    }
}

/// The signals that have come.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    child: Arc<AtomicBool>,
    others: [(Caught, Arc<AtomicBool>); 4],
}

/// What [`Signals::take`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// A child has ended.
    pub child: bool,
    /// The others, each at most once.
    pub caught: Vec<Caught>,
}

impl Signals {
    /// Catches signals from here on.
    ///
    /// # Errors
    /// The operating system's.
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
            // In this order: by the time the pipe wakes the loop the flag is up.
            flag::register(number, Arc::clone(seen))?;
            low_level::pipe::register(number, writer.try_clone()?)?;
        }
        // A file that reaches a limit is a failed write like any other. Caught and not ignored, for what
        // is ignored stays so in handlers.
        flag::register(libc::SIGXFSZ, Arc::default())?;
        // Likewise a signal that means nothing here: the reference outlives it, too.
        flag::register(SIGUSR2, Arc::default())?;
        let mut pipe = UnixStream::from_std(reader);
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Signals {
            pipe,
            child,
            others,
        })
    }

    /// Empties the pipe and tells what has come since the last call.
    pub fn take(&mut self) -> Pending {
        let mut bytes = [0; 256];
        // Ends at WouldBlock; more than a pipe's worth of signals at once waits for the next turn.
        for _ in 0..1024 {
            match self.pipe.read(&mut bytes) {
                // A short read has emptied it: whatever comes later wakes the loop again.
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
