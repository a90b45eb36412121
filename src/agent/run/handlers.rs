//! Runs handlers, and passes their answers to the core.

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path;

use super::{Agent, Waiting};
use crate::agent::net::addr::UNIX_PREFIX;
use crate::agent::process::program::RPC_ADDR;
use crate::agent::rpc::connections::RpcAddr;
use crate::handler::Local;
use crate::serf::{Input, Member, MemberStatus, Serf};

impl Agent {
    /// Takes the outcome of a handler and starts the next one. Returns whether it did either.
    pub(super) fn step_handlers(&mut self) -> bool {
        let mut busy = false;
        if let Some(outcome) = self.runner.poll_outcome() {
            busy = true;
            self.telemetry.handler_ended(outcome.duration, &self.clock);
            if let Some(answer) = self.handlers.handle_outcome(outcome) {
                let waiting = Waiting::Answer(answer.query, answer.output_bytes);
                self.run_own(waiting, answer.command);
            }
        }
        busy |= self.report_awaited_runs();
        let at = self.clock.moment();
        if self.start_sync.poll(|| has_peers(&self.serf), at.now) {
            self.handlers.sync_all();
        }
        if self.runner.is_running() || !self.may_begin_run() {
            return busy;
        }
        let local = Local {
            name: self.serf.local_name(),
            tags: self.serf.tags(),
            members: &|| self.serf.members().cloned().collect(),
        };
        if let Some(invocation) = self.handlers.poll_invocation(local, at) {
            busy = true;
            self.telemetry.handler_starts(&invocation.script);
            // The start is recorded first, because the handler may end this process.
            self.flush_journal();
            self.runner.start(invocation, self.poll.registry(), at.now);
            self.record_process();
        } else if let Some(journal) = &mut self.journal {
            busy |= journal.read_for(&mut self.handlers);
        }
        busy |= self.report_awaited_runs();
        while let Some((ltime, id)) = self.handlers.poll_handled_query() {
            self.serf
                .handle_input(Input::QueryHandled { ltime, id }, at.now);
        }
        busy
    }

    /// Reports requested runs that have ended to their clients. Returns whether there were any.
    fn report_awaited_runs(&mut self) -> bool {
        let mut has_any = false;
        while let Some((ticket, outcome)) = self.handlers.poll_ended() {
            self.server.run_ended(ticket, outcome);
            has_any = true;
        }
        has_any
    }

    /// Tells the core which queries have handlers.
    pub(super) fn announce_query_handlers(&mut self) {
        let input = Input::QueryHandlers(self.handlers.query_handlers());
        self.serf.handle_input(input, self.clock.now());
    }
}

/// Returns the variables by which clients in a handler find this agent: Serf's, unless the agent's
/// environment already has it, and cottar's, which takes precedence in cottar's clients.
pub(super) fn rpc_variables<'a>(
    addrs: impl Iterator<Item = &'a RpcAddr>,
) -> Vec<(&'static str, OsString)> {
    const SERF: &str = "SERF_RPC_ADDR";
    let mut variables: Vec<(&'static str, OsString)> = Vec::new();
    for addr in addrs {
        let (name, value) = match addr {
            RpcAddr::Tcp(addr) => (SERF, reachable(*addr).to_string().into()),
            RpcAddr::Unix(path) => {
                // A handler may run in another working directory.
                let mut text = OsString::from(UNIX_PREFIX);
                text.push(path::absolute(path).unwrap_or_else(|_| path.clone()));
                (RPC_ADDR, text)
            }
        };
        let is_known = variables.iter().any(|(other, _)| *other == name);
        if !is_known && (name != SERF || env::var_os(SERF).is_none()) {
            variables.push((name, value));
        }
    }
    variables
}

/// Replaces a wildcard address with the loopback address.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Returns whether other members are alive.
fn has_peers(serf: &Serf) -> bool {
    let is_peer = |m: &Member| m.status == MemberStatus::Alive && m.name != *serf.local_name();
    serf.members().any(is_peer)
}
