//! Handler runs that clients have requested and wait for.

use super::{RequestId, RpcServer};
use crate::handler::outcome::NOT_RUN;
use crate::handler::synthetic::synthetic_event;
use crate::handler::{HandlerQueue, Moment, NoRun, Outcome};
use crate::ordered::OrderedMap;
use crate::rpc::request::Runs;
use crate::rpc::runs::{RunEnd, write_runs};
use crate::wire::name::Escaped;

/// Runs of one request.
#[derive(Debug)]
struct Awaited {
    /// Number of runs that have not ended.
    left: usize,
    ends: Vec<RunEnd>,
}

/// Unfinished runs by the handler queue's tickets.
#[derive(Debug, Default)]
pub(super) struct AwaitedRuns {
    last_ticket: u64,
    tickets: OrderedMap<u64, (RequestId, String)>,
    requests: OrderedMap<RequestId, Awaited>,
}

impl RpcServer {
    /// Requests the runs of [`super::Action::RunHandlers`]; replies at once unless the client waits for their
    /// ends.
    #[cold]
    pub fn run_handlers(
        &mut self,
        request: RequestId,
        runs: Runs,
        queue: &mut HandlerQueue,
        at: Moment,
    ) {
        let (name, is_awaited) = (runs.name, runs.is_awaited);
        let event = runs.event.map(|e| synthetic_event(&e.words, e.ltime));
        let mut event = match event.transpose() {
            Ok(event) => event,
            Err(why) => return self.runs_ended(request, &why, &[]),
        };
        let is_for_all = name.is_empty() && event.is_none();
        let names = match is_for_all {
            true => queue.sync_names(),
            false => vec![Escaped(&name).to_string()],
        };
        if names.is_empty() {
            return self.runs_ended(request, "no handler has 'sync' in its filter", &[]);
        }
        let mut awaited = Awaited {
            left: 0,
            ends: Vec::new(),
        };
        for name in names {
            self.awaited_runs.last_ticket += 1;
            let ticket = self.awaited_runs.last_ticket;
            let awaited_ticket = is_awaited.then_some(ticket);
            let asked = match event.take() {
                Some(event) => queue.run(&name, event, awaited_ticket, at),
                None => queue.sync(&name, awaited_ticket),
            };
            match asked {
                Ok(()) if is_awaited => {
                    awaited.left += 1;
                    self.awaited_runs.tickets.insert(ticket, (request, name));
                }
                Ok(()) => awaited.ends.push(run_end(&name, "queued", 0)),
                Err(NoRun::Paused) if is_for_all => {
                    awaited.ends.push(run_end(&name, "paused", NOT_RUN));
                }
                Err(why) => return self.runs_ended(request, &refusal(&name, why), &[]),
            }
        }
        match awaited.left {
            0 => self.runs_ended(request, "", &awaited.ends),
            _ => drop(self.awaited_runs.requests.insert(request, awaited)),
        }
    }

    /// Takes the outcome of a run with a ticket; `None`: it did not take place.
    pub fn run_ended(&mut self, ticket: u64, outcome: Option<Outcome>) {
        let Some((request, name)) = self.awaited_runs.tickets.remove(&ticket) else {
            return;
        };
        let Some(mut awaited) = self.awaited_runs.requests.remove(&request) else {
            return;
        };
        awaited.left -= 1;
        awaited.ends.push(match outcome {
            Some(Outcome {
                end,
                output,
                output_bytes,
                duration,
            }) => RunEnd {
                output,
                output_bytes,
                duration_nanos: u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
                ..run_end(&name, &end.to_string(), end.shell_status())
            },
            None => run_end(&name, "not run", NOT_RUN),
        });
        match awaited.left {
            0 => self.runs_ended(request, "", &awaited.ends),
            _ => drop(self.awaited_runs.requests.insert(request, awaited)),
        }
    }

    fn runs_ended(&mut self, request: RequestId, error: &str, ends: &[RunEnd]) {
        self.ended(request, error, |w, _| write_runs(w, ends));
    }
}

fn run_end(name: &str, end: &str, status: u8) -> RunEnd {
    RunEnd {
        handler: name.as_bytes().to_vec(),
        end: end.as_bytes().to_vec(),
        status,
        ..RunEnd::default()
    }
}

fn refusal(name: &str, why: NoRun) -> String {
    match why {
        NoRun::Unknown => format!("no handler has the name '{name}'"),
        NoRun::Unwanted => format!("handler '{name}' does not have 'sync' in its filter"),
        NoRun::Paused => format!("handler '{name}' is paused"),
        NoRun::Full => "the handler queue is full".to_owned(),
    }
}
