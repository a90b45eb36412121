//! Parses the synthetic event of `handler test` and `handler run`.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;

use crate::cli::command::flags::Flags;
use crate::cli::common::bytes;
use crate::cli::failure::Failure;
use crate::os::error::os_error;
use crate::rpc::request::SyntheticEvent;
use crate::wire::name::Escaped;

/// Size limit of a payload that is read from a file; far more than any agent accepts.
const PAYLOAD_BYTES_MAX: u64 = 1 << 20;

/// Returns the handler, and the event described by the arguments and flags.
pub(super) fn handler_and_event(flags: &Flags) -> Result<(&OsString, SyntheticEvent), Failure> {
    let (handler, words) = match flags.arguments() {
        [handler, words @ ..] if !words.is_empty() => (handler, words),
        _ => {
            let words = "A handler and an event must be specified.";
            return Err(Failure::Usage(words.to_owned()));
        }
    };
    let mut words: Vec<_> = words.iter().map(|word| bytes(word)).collect();
    let has_payload = matches!(words.first().map(|kind| &**kind), Some(b"user" | b"query"));
    if !has_payload {
        flags.refuse_late_flags().map_err(wrong)?;
    }
    if let Some(path) = flags.byte_value("payload") {
        if !has_payload {
            return Err(wrong("A member event cannot have a payload.".to_owned()));
        }
        if words.len() != 2 {
            let why = "With -payload, only a name must be specified.";
            return Err(wrong(why.to_owned()));
        }
        words.push(read_payload(path)?);
    }
    let ltime = u64::try_from(flags.integer("ltime").unwrap_or(1));
    let ltime = ltime.map_err(|_| wrong("-ltime must not be negative".to_owned()))?;
    Ok((handler, SyntheticEvent { words, ltime }))
}

fn wrong(why: String) -> Failure {
    Failure::Message(why)
}

fn read_payload(path: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    let read = match path {
        b"-" => io::stdin()
            .take(PAYLOAD_BYTES_MAX + 1)
            .read_to_end(&mut payload),
        path => File::open(OsStr::from_bytes(path))
            .and_then(|file| file.take(PAYLOAD_BYTES_MAX + 1).read_to_end(&mut payload)),
    };
    match read {
        Err(why) => Err(wrong(format!(
            "Cannot read the payload from '{}': {}",
            Escaped(path),
            os_error(&why)
        ))),
        Ok(count) if count as u64 > PAYLOAD_BYTES_MAX => Err(wrong(format!(
            "The payload is larger than {PAYLOAD_BYTES_MAX} bytes"
        ))),
        Ok(_) => Ok(payload),
    }
}
