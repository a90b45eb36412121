//! Host names of join addresses, looked up in a short-lived process of our own binary: the system's
//! resolver blocks, sometimes for half a minute, and the loop must not.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use mio::{Registry, Token};

use super::addr::resolve_error;
use super::child::{Limits, Process, Tokens};
use super::words::os_error;
use crate::handler::End;
use crate::ordered::OrderedMap;
use crate::time::{Duration, Instant};

/// `argv[0]` of the process that looks names up.
pub const ARGV0: &str = "cottar: resolver";
/// Processes at a time; more requests wait.
const PROCESSES_MAX: usize = 4;
/// Longest time for one request. The C library's own limit for one dead name server is 10 s.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Output kept: room for some thousand addresses.
const OUTPUT_BYTES_MAX: usize = 256 << 10;
/// Addresses taken of one name.
const ADDRESSES_MAX: usize = 256;

/// Names a request, chosen by who makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What a name stands for, or why that is not known.
pub type Answer = Result<Vec<IpAddr>, String>;

#[derive(Debug)]
struct Request {
    ticket: Ticket,
    hosts: Vec<String>,
}

#[derive(Debug)]
struct Job {
    request: Request,
    process: Process,
    slot: usize,
}

/// Requests under way and waiting.
#[derive(Debug)]
pub struct Resolver {
    first_token: usize,
    waiting: VecDeque<Request>,
    jobs: Vec<Job>,
    done: VecDeque<(Ticket, OrderedMap<String, Answer>)>,
}

impl Resolver {
    /// Tokens that a resolver uses.
    pub const TOKENS: usize = 2 * PROCESSES_MAX;

    /// A resolver with nothing to do. `first_token` and the [`Self::TOKENS`] - 1 after it are its own.
    pub fn new(first_token: usize) -> Self {
        Resolver {
            first_token,
            waiting: VecDeque::new(),
            jobs: Vec::new(),
            done: VecDeque::new(),
        }
    }

    /// Asks for the addresses of hosts, none of them an address itself.
    pub fn resolve(
        &mut self,
        ticket: Ticket,
        hosts: Vec<String>,
        registry: &Registry,
        now: Instant,
    ) {
        self.waiting.push_back(Request { ticket, hosts });
        self.start_waiting(registry, now);
    }

    /// The answer to a request: one for each host. Changed by `resolve` and every `handle_*`.
    pub fn poll_answer(&mut self) -> Option<(Ticket, OrderedMap<String, Answer>)> {
        self.done.pop_front()
    }

    /// Whether a token is one of ours.
    pub fn owns(&self, token: Token) -> bool {
        (self.first_token..self.first_token + Self::TOKENS).contains(&token.0)
    }

    /// One of our tokens is ready.
    pub fn handle_event(&mut self, token: Token, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_event(token, registry, now);
        }
        self.collect(registry, now);
    }

    /// Some child has ended.
    pub fn handle_sigchld(&mut self, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_sigchld(registry, now);
        }
        self.collect(registry, now);
    }

    /// The deadline of [`Self::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, registry: &Registry, now: Instant) {
        for job in &mut self.jobs {
            job.process.handle_timeout(registry, now);
        }
        self.collect(registry, now);
    }

    /// The next deadline.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let jobs = self.jobs.iter();
        jobs.filter_map(|job| job.process.poll_timeout()).min()
    }

    fn start_waiting(&mut self, registry: &Registry, now: Instant) {
        while self.jobs.len() < PROCESSES_MAX {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            let used = |slot: usize| self.jobs.iter().any(|job| job.slot == slot);
            let slot = (0..PROCESSES_MAX).find(|&slot| !used(slot)).unwrap_or(0);
            let tokens = Tokens {
                stdin: Token(self.first_token + 2 * slot),
                output: Token(self.first_token + 2 * slot + 1),
            };
            let mut stdin = String::new();
            for host in &request.hosts {
                // No name of a host has a line break; one that has is looked up as two, and fails.
                let _ = writeln!(stdin, "{host}");
            }
            let limits = Limits {
                time: Some(TIME_LIMIT),
                grace: Duration::ZERO,
                output_bytes_max: OUTPUT_BYTES_MAX,
            };
            let mut command = Command::new("/proc/self/exe");
            command.arg0(ARGV0);
            let stdin = stdin.into_bytes().into();
            match Process::start(command, stdin, limits, tokens, registry, now) {
                Ok(process) => self.jobs.push(Job {
                    request,
                    process,
                    slot,
                }),
                Err(error) => {
                    let why = format!("cannot start a resolver: {}", os_error(&error));
                    let answers = request.hosts.into_iter();
                    let answers = answers.map(|host| (host, Err(why.clone())));
                    self.done.push_back((request.ticket, answers.collect()));
                }
            }
        }
    }

    fn collect(&mut self, registry: &Registry, now: Instant) {
        let mut index = 0;
        while let Some(job) = self.jobs.get_mut(index) {
            let Some((outcome, _)) = job.process.poll_outcome() else {
                index += 1;
                continue;
            };
            let Job { request, .. } = self.jobs.swap_remove(index);
            let unanswered = match outcome.end {
                End::TimedOut(_) => "i/o timeout".to_owned(),
                other => format!("resolver: {other}"),
            };
            let answers = read_answers(&request.hosts, &outcome.output, &unanswered);
            self.done.push_back((request.ticket, answers));
        }
        self.start_waiting(registry, now);
    }
}

/// Reads what the process wrote: lines of a host's number, then an address or `!` and a reason.
fn read_answers(hosts: &[String], output: &[u8], unanswered: &str) -> OrderedMap<String, Answer> {
    let mut answers: OrderedMap<String, Answer> = OrderedMap::new();
    for line in String::from_utf8_lossy(output).lines() {
        let Some((number, rest)) = line.split_once(' ') else {
            continue;
        };
        let host = number.parse().ok().and_then(|at: usize| hosts.get(at));
        let Some(host) = host else { continue };
        if let Some(why) = rest.strip_prefix('!') {
            answers.insert(host.clone(), Err(why.to_owned()));
        } else if let Ok(ip) = rest.parse::<IpAddr>() {
            if let Ok(found) = answers.get_or_insert_with(host.clone(), || Ok(Vec::new())) {
                found.push(ip);
            }
        }
    }
    for host in hosts {
        answers.get_or_insert_with(host.clone(), || Err(format!("lookup {host}: {unanswered}")));
    }
    answers
}

/// The process's whole life: names on stdin, one a line, answers on stdout as they come.
pub fn child_main() -> ExitCode {
    let mut out = io::stdout().lock();
    for (number, host) in io::stdin().lock().lines().enumerate() {
        let Ok(host) = host else {
            return ExitCode::FAILURE;
        };
        let mut text = String::new();
        let _ = match look_up(&host) {
            Ok(found) => found
                .iter()
                .try_for_each(|ip| writeln!(text, "{number} {ip}")),
            Err(why) => writeln!(text, "{number} !{why}"),
        };
        if out.write_all(text.as_bytes()).is_err() || out.flush().is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn look_up(host: &str) -> Answer {
    let no_such_host = || format!("lookup {host}: no such host");
    if host.is_empty() || host.contains('\0') {
        return Err(no_such_host());
    }
    let found = (host, 0)
        .to_socket_addrs()
        .map_err(|error| resolve_error(host, &error))?;
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in found.map(|addr| addr.ip()) {
        if !ips.contains(&ip) && ips.len() < ADDRESSES_MAX {
            ips.push(ip);
        }
    }
    if ips.is_empty() {
        return Err(no_such_host());
    }
    Ok(ips)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_and_gaps_are_named() {
        let hosts = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let output = b"0 127.0.0.1\n0 ::1\n1 !lookup b: no such host\nnoise\n7 1.2.3.4\n";
        let answers = read_answers(&hosts, output, "i/o timeout");
        let ips = answers.get("a").unwrap().as_ref().unwrap();
        assert_eq!(ips.len(), 2);
        let why = |host| answers.get(host).unwrap().clone().unwrap_err();
        assert_eq!(why("b"), "lookup b: no such host");
        assert_eq!(why("c"), "lookup c: i/o timeout");
    }

    #[test]
    fn names_are_looked_up() {
        assert!(
            look_up("localhost")
                .unwrap()
                .contains(&"127.0.0.1".parse().unwrap())
        );
        assert_eq!(look_up(""), Err("lookup : no such host".into()));
    }
}
