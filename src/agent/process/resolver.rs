//! Resolves host names of join addresses and metrics sinks, each in a short-lived process of our own binary:
//! the system's resolver may block for half a minute, and the loop must not.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::process::ExitCode;

use mio::{Registry, Token};

use super::{Limits, Process, Tokens};
use crate::agent::net::lookup::{self, Answer, Failures, Family};
use crate::handler::End;
use crate::os::clock::Clock;
use crate::os::error::os_error;
use crate::os::sys;
use crate::time::{Duration, Instant};

/// `argv[0]` of the process that resolves a name.
pub const ARGV0: &str = "cottar: resolver";
/// Limit for concurrent lookups; further ones are queued.
const PROCESSES_MAX: usize = 16;
/// Time limit for one name: enough to give up on one of two name servers for both address families.
const TIME_LIMIT: Duration = Duration::from_secs(15);
/// Additional time for the second address family after the first one, beyond the time that the first one
/// took. So a name server that drops questions for IPv6 addresses does not delay IPv4.
const SECOND_FAMILY: Duration = Duration::from_secs(2);
/// Limit for the output of a process, in bytes: more than all addresses that [`lookup`] keeps for a name.
const OUTPUT_BYTES_MAX: usize = 32 << 10;

/// A host name of a request.
#[derive(Debug)]
struct Name<T> {
    ticket: T,
    host: String,
}

#[derive(Debug)]
struct Job<T> {
    name: Name<T>,
    process: Process,
    slot: usize,
}

/// Active and queued lookups. `T` identifies the requester.
#[derive(Debug)]
pub struct Resolver<T> {
    first_token: usize,
    waiting: VecDeque<Name<T>>,
    jobs: Vec<Job<T>>,
    done: VecDeque<(T, String, Answer)>,
}

impl<T: Copy> Resolver<T> {
    /// Number of poll tokens that a resolver uses.
    pub const TOKENS: usize = 2 * PROCESSES_MAX;

    /// Creates an idle resolver. It owns `first_token` and the [`Self::TOKENS`] - 1 tokens after it.
    pub fn new(first_token: usize) -> Self {
        Resolver {
            first_token,
            waiting: VecDeque::new(),
            jobs: Vec::new(),
            done: VecDeque::new(),
        }
    }

    /// Starts to resolve host names, which must not be addresses. Each has its own time limit and answer.
    pub fn resolve(&mut self, ticket: T, hosts: Vec<String>, registry: &Registry, now: Instant) {
        let names = hosts.into_iter().map(|host| Name { ticket, host });
        self.waiting.extend(names);
        self.start_waiting(registry, now);
    }

    /// Returns the next answer: ticket, host and result. Poll again after `resolve` and every
    /// `handle_*`.
    pub fn poll_answer(&mut self) -> Option<(T, String, Answer)> {
        self.done.pop_front()
    }

    /// Returns whether a token belongs to the resolver.
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + Self::TOKENS).contains(&token.0)
    }

    /// Handles readiness of a token.
    pub fn handle_event(&mut self, token: Token, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_event(token, registry, now);
        }
        self.collect(registry, now);
    }

    /// Handles SIGCHLD.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_sigchld(registry, now);
        }
        self.collect(registry, now);
    }

    /// Handles the deadline of [`Self::poll_timeout`].
    pub fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_timeout(registry, now);
        }
        self.collect(registry, now);
    }

    /// Returns the next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let jobs = self.jobs.iter();
        jobs.filter_map(|job| job.process.poll_timeout()).min()
    }

    fn start_waiting(&mut self, registry: &Registry, now: Instant) {
        while self.jobs.len() < PROCESSES_MAX {
            let Some(name) = self.waiting.pop_front() else {
                return;
            };
            let used = |slot: usize| self.jobs.iter().any(|job| job.slot == slot);
            let slot = (0..PROCESSES_MAX).find(|&slot| !used(slot)).unwrap_or(0);
            match self.start_process(&name.host, slot, registry, now) {
                Ok(process) => self.jobs.push(Job {
                    name,
                    process,
                    slot,
                }),
                // A process may become available when one of the active lookups ends.
                Err(_) if !self.jobs.is_empty() => return self.waiting.push_front(name),
                Err(error) => {
                    let why = format!("cannot start a resolver: {}", os_error(&error));
                    self.done.push_back((name.ticket, name.host, Err(why)));
                }
            }
        }
    }

    fn start_process(
        &self,
        host: &str,
        slot: usize,
        registry: &Registry,
        now: Instant,
    ) -> io::Result<Process> {
        let tokens = Tokens {
            stdin: Token(self.first_token + 2 * slot),
            output: Token(self.first_token + 2 * slot + 1),
        };
        let limits = Limits {
            time: Some(TIME_LIMIT),
            grace: Duration::ZERO,
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        let command = sys::own_program(ARGV0)?;
        Process::start(
            command,
            host.as_bytes().into(),
            limits,
            tokens,
            registry,
            now,
        )
    }

    fn collect(&mut self, registry: &Registry, now: Instant) {
        let mut index = 0;
        while let Some(job) = self.jobs.get_mut(index) {
            let Some((outcome, _)) = job.process.poll_outcome() else {
                index += 1;
                continue;
            };
            let Job { name, .. } = self.jobs.swap_remove(index);
            let unanswered = match outcome.end {
                End::TimedOut(_) => "i/o timeout".to_owned(),
                other => format!("resolver: {other}"),
            };
            let answer = read_answer(&name.host, &outcome.output, &unanswered);
            self.done.push_back((name.ticket, name.host, answer));
        }
        self.start_waiting(registry, now);
    }
}

/// Parses the output of the process: one address per line, or `!` and a reason. `unanswered` is the reason if
/// there is neither.
fn read_answer(host: &str, output: &[u8], unanswered: &str) -> Answer {
    let output = String::from_utf8_lossy(output);
    let ips: Vec<IpAddr> = output
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    if !ips.is_empty() {
        return Ok(ips);
    }
    let why = output.lines().find_map(|line| line.strip_prefix('!'));
    Err(why.map_or_else(|| format!("lookup {host}: {unanswered}"), str::to_owned))
}

/// Main function of the process: reads a name from stdin and writes addresses to stdout as they become known.
pub fn child_main() -> ExitCode {
    let mut host = String::new();
    if io::stdin().read_to_string(&mut host).is_err() {
        return ExitCode::FAILURE;
    }
    match tell(&host, &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn tell(host: &str, out: &mut impl Write) -> io::Result<()> {
    let mut failures = Failures::default();
    let mut is_known = false;
    for family in Family::ALL {
        let asking = Clock::new();
        match lookup::in_family(host, family) {
            Ok(found) => {
                for addr in found {
                    writeln!(out, "{}", addr.ip())?;
                }
                out.flush()?;
                is_known = true;
                let longest = asking.elapsed() + SECOND_FAMILY;
                sys::end_after(u32::try_from(longest.as_secs()).unwrap_or(u32::MAX));
            }
            Err(failure) => failures.add(failure),
        }
    }
    if !is_known {
        writeln!(out, "!{}", failures.of(host))?;
    }
    out.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_gaps_are_named() {
        let read = |output: &[u8]| read_answer("a", output, "i/o timeout");
        let both = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
        assert_eq!(read(b"127.0.0.1\n::1\n"), Ok(both.to_vec()));
        // Ended before it could resolve the second family.
        assert_eq!(read(b"127.0.0.1\n"), Ok(both[..1].to_vec()));
        let why = "lookup a: no such host";
        assert_eq!(read(b"!lookup a: no such host\n"), Err(why.into()));
        assert_eq!(read(b"noise\n"), Err("lookup a: i/o timeout".into()));
    }

    #[test]
    fn what_is_known_of_a_name_is_told() {
        let told = |host| {
            let mut out = Vec::new();
            tell(host, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let local = told("localhost");
        sys::end_after(0);
        assert!(local.lines().any(|line| line == "127.0.0.1"), "{local}");
        assert_eq!(told(""), "!lookup : no such host\n");
    }
}
