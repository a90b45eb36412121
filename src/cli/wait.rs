//! `wait`: waits until enough members match.

use std::io::Write;
use std::thread;
use std::time::Duration;

use super::client::{Client, Error, Place};
use super::command::flags::Flags;
use super::common::{NO_CONNECTION, bytes, failed, format, place};
use super::failure::{Failure, Outcome};
use super::fields::Fields;
use super::members::{FIELDS, fetch, filtered, listed, show_fields};
use crate::ordered::OrderedSet;
use crate::os::clock::Deadline;
use crate::rpc::Request;
use crate::rpc::reply::Member;

/// Events that may change the list of members.
const EVENTS: &[u8] = b"member-join,member-leave,member-failed,member-update,member-reap";
/// The list is requested again after this time, which doubles up to a limit, even without events: an agent
/// coalesces events, and some changes cause none.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Delay between attempts to reach an agent.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Limit for consecutive connections that the agent closes when asked for members: it may refuse the request.
const HANG_UPS_MAX: u32 = 3;

pub(super) fn wait(flags: &Flags, out: &mut dyn Write) -> Outcome {
    let fields = Fields::parse(flags, FIELDS)?;
    let mut waiting = Waiting::begin(flags)?;
    let members = waiting.until_met()?;
    if let Some(fields) = fields {
        show_fields(&members, &fields, out)?;
    } else if format(flags) == "json" {
        writeln!(out, "{}", listed(&members).indented())?;
    }
    Ok(())
}

/// Returns the time limit; `None`: no limit.
pub(super) fn timeout(flags: &Flags) -> Result<Option<Duration>, Failure> {
    let timeout = flags.duration("timeout").map_err(Failure::Message)?;
    Ok(timeout.filter(|timeout| !timeout.is_zero()))
}

struct Waiting {
    place: Place,
    key: String,
    requests: Vec<Request>,
    /// Names to wait for; empty: any.
    names: OrderedSet<Vec<u8>>,
    /// Minimum number of members; 0: wait until none matches.
    count: usize,
    deadline: Option<Deadline>,
    retries: bool,
    /// Last known state, for the message on timeout.
    state: String,
    hang_ups: u32,
}

impl Waiting {
    fn begin(flags: &Flags) -> Result<Self, Failure> {
        // A late flag would count as a name that may never appear, and `-timeout` may be among them.
        flags.refuse_late_flags().map_err(Failure::Message)?;
        let names: OrderedSet<_> = flags.arguments().iter().map(|name| bytes(name)).collect();
        let count_max = match names.len() {
            0 => usize::MAX,
            names => names,
        };
        let default = names.len().max(1);
        let count = match flags.integer("count").map(usize::try_from) {
            None => default,
            Some(Ok(count)) if count <= count_max => count,
            Some(_) => {
                let words = match names.is_empty() {
                    true => "-count must not be negative".to_owned(),
                    false => format!("-count must be between 0 and {count_max}, the names given"),
                };
                return Err(Failure::Message(words));
            }
        };
        let timeout = timeout(flags)?;
        let (place, key) = place(flags);
        let status = flags.value("status").unwrap_or("alive");
        Ok(Waiting {
            place,
            key,
            requests: filtered(flags, flags.byte_values("tag"), status)?,
            names,
            count,
            deadline: timeout.map(Deadline::after),
            retries: flags.flag("retry"),
            state: "no agent has answered".to_owned(),
            hang_ups: 0,
        })
    }

    /// Waits for enough matching members and returns them.
    fn until_met(&mut self) -> Result<Vec<Member>, Failure> {
        loop {
            let (what, why) = match self.attempt() {
                Ok(members) => return Ok(members),
                Err(failure) => failure,
            };
            match why {
                Error::Interrupted => return Err(self.timed_out()),
                Error::Dial(_) | Error::Closed | Error::Silent(_) | Error::Broken(_)
                    if self.retries && self.hang_ups < HANG_UPS_MAX => {}
                why => return Err(failed(what)(why)),
            }
            self.state = format!("{what}: {why}");
            let left = self.deadline.map(Deadline::left);
            thread::sleep(left.map_or(RETRY_PAUSE, |left| left.min(RETRY_PAUSE)));
            if left.is_some_and(|left| left <= RETRY_PAUSE) {
                return Err(self.timed_out());
            }
        }
    }

    /// Waits with one connection until it fails. Subscribes to events before requesting the list, so that no
    /// change is missed.
    fn attempt(&mut self) -> Result<Vec<Member>, (&'static str, Error)> {
        let mut client = Client::connect_before(self.deadline, &self.place, &self.key)
            .map_err(|why| (NO_CONNECTION, why))?;
        let filter = EVENTS.to_vec();
        client
            .subscribe(&Request::Stream { filter })
            .map_err(|why| ("Error starting stream", why))?;
        let mut pause = PAUSE_MIN;
        loop {
            let members = self
                .look(&mut client)
                .map_err(|why| ("Error retrieving members", why))?;
            if self.is_met_by(members.len()) {
                return Ok(members);
            }
            let lost = |why| ("Error receiving events", why);
            if client.pushed(Some(pause)).map_err(lost)?.is_some() {
                // One request covers all events that arrived together.
                while client.pushed(Some(Duration::ZERO)).map_err(lost)?.is_some() {}
                pause = PAUSE_MIN;
            } else {
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    fn look(&mut self, client: &mut Client) -> Result<Vec<Member>, Error> {
        let mut members = match fetch(client, &self.requests) {
            Err(Error::Closed) => {
                self.hang_ups += 1;
                return Err(Error::Closed);
            }
            members => members?,
        };
        self.hang_ups = 0;
        if !self.names.is_empty() {
            members.retain(|member| self.names.contains(&member.name));
        }
        self.state = match self.count {
            0 => match members.len() {
                1 => "1 member still matches".to_owned(),
                some => format!("{some} members still match"),
            },
            1 => format!("{} of 1 member matches", members.len()),
            count => format!("{} of {count} members match", members.len()),
        };
        Ok(members)
    }

    fn is_met_by(&self, count: usize) -> bool {
        match self.count {
            0 => count == 0,
            wanted => count >= wanted,
        }
    }

    fn timed_out(&self) -> Failure {
        Failure::Incomplete(format!("Timed out: {}", self.state))
    }
}
