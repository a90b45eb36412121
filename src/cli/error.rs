//! Errors of calls to an agent.

use std::time::Duration;
use std::{fmt, io};

use crate::os::error::os_error;

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// The connection failed; the text is the reference's.
    Dial(String),
    /// The address is invalid, so retrying is useless; the text is the reference's.
    Address(String),
    /// The agent closed the connection.
    Closed,
    /// The agent did not answer within this time.
    Silent(Duration),
    /// The agent refused with this text.
    Refused(String),
    /// The connection failed during the call.
    Broken(io::Error),
    /// The agent sent data that violates the protocol.
    Garbage(String),
    /// The deadline passed or an interrupt was received.
    Interrupted,
    /// The reader of stdout is gone.
    Unread,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Dial(why) | Error::Address(why) | Error::Refused(why) => f.write_str(why),
            Error::Closed => f.write_str("client closed"),
            Error::Silent(time) => {
                write!(
                    f,
                    "no answer within {} s; is this an agent?",
                    time.as_secs()
                )
            }
            Error::Broken(why) => f.write_str(&os_error(why)),
            Error::Interrupted => f.write_str("interrupted"),
            Error::Unread => f.write_str("the reader of the output is gone"),
            Error::Garbage(why) => write!(f, "the reply is not RPC ({why}); is this an agent?"),
        }
    }
}

impl std::error::Error for Error {}
