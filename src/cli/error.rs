//! Why a call of an agent fails.

use std::time::Duration;
use std::{fmt, io};

use crate::os::error::os_error;

/// Why a call failed.
#[derive(Debug)]
pub enum Error {
    /// No connection; the reference's words.
    Dial(String),
    /// The same, because the address is none: trying again does not help.
    Address(String),
    /// The agent hung up.
    Closed,
    /// The agent does not answer.
    Silent(Duration),
    /// The agent refused; its words.
    Refused(String),
    /// The connection broke.
    Broken(io::Error),
    /// What came is not the protocol.
    Garbage(String),
    /// Somebody does not want to wait any longer.
    Interrupted,
    /// Nobody reads stdout any more.
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
            Error::Unread => f.write_str("nobody reads the output"),
            Error::Garbage(why) => write!(f, "the reply is not RPC ({why}); is this an agent?"),
        }
    }
}

impl std::error::Error for Error {}
