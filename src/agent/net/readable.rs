//! Tracks whether a stream may be readable, with edge-triggered readiness.

use mio::event::Event as Readiness;

/// Readiness of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Readable {
    is_ready: bool,
    /// Whether the end of the stream was announced; no further event will follow.
    is_ending: bool,
}

impl Readable {
    /// Creates the state of a new stream.
    pub const fn new(is_ready: bool) -> Self {
        Readable {
            is_ready,
            is_ending: false,
        }
    }

    /// Updates the state from an event of the stream.
    pub fn note(&mut self, event: &Readiness) {
        self.is_ending |= event.is_read_closed() || event.is_error();
        self.is_ready |= event.is_readable() || self.is_ending;
    }

    /// Marks the stream as possibly readable without an event.
    pub const fn set(&mut self) {
        self.is_ready = true;
    }

    /// Returns whether a read is worth a system call.
    pub const fn is_ready(self) -> bool {
        self.is_ready
    }

    /// Notes a read of `count` bytes into a buffer of `room` bytes. A short read means that the
    /// stream is empty: another event will announce later data, but not the end of the stream if that was
    /// already announced.
    pub const fn took(&mut self, count: usize, room: usize) {
        if count < room && !self.is_ending {
            self.is_ready = false;
        }
    }

    /// Notes that a read would block or has reached the end.
    pub const fn exhausted(&mut self) {
        self.is_ready = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use mio::net::UnixStream;
    use mio::{Events, Interest, Poll, Token};
    use std::io::{Read, Write};
    use std::time::Duration;

    /// Updates `readable` from the stream's next event.
    fn after_event(poll: &mut Poll, readable: &mut Readable) {
        let mut events = Events::with_capacity(4);
        while events.is_empty() {
            poll.poll(&mut events, Some(Duration::from_secs(5)))
                .unwrap();
        }
        events.iter().for_each(|event| readable.note(event));
    }

    #[test]
    fn a_short_read_is_the_last_one_unless_the_end_was_announced() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let mut poll = Poll::new().unwrap();
        let registry = poll.registry();
        registry
            .register(&mut ours, Token(0), Interest::READABLE)
            .unwrap();
        let (mut readable, mut buffer) = (Readable::new(false), [0; 4]);

        theirs.write_all(b"seven b").unwrap();
        after_event(&mut poll, &mut readable);
        for (count, is_ready) in [(4, true), (3, false)] {
            assert_eq!(ours.read(&mut buffer).unwrap(), count);
            readable.took(count, buffer.len());
            assert_eq!(readable.is_ready(), is_ready);
        }

        theirs.write_all(b"end").unwrap();
        drop(theirs);
        after_event(&mut poll, &mut readable);
        assert_eq!(ours.read(&mut buffer).unwrap(), 3);
        readable.took(3, buffer.len());
        assert!(readable.is_ready(), "no event comes for the end");
        assert_eq!(ours.read(&mut buffer).unwrap(), 0);
        readable.exhausted();
        assert!(!readable.is_ready());
    }
}
