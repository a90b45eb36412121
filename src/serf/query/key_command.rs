//! Key commands: ask all members to change or list their rings (gossip spec 5.10). The answers are made in
//! [`super::key_answer`].

use super::ask::Purpose;
use super::key_report::{KeyReport, RawKey};
use crate::serf::{CommandId, CommandResult, QueryParams, Serf};
use crate::time::Instant;
use crate::wire::serf::KeyRequest;

impl Serf {
    /// Sends a key query to all members. `key` is empty for a list.
    pub(in crate::serf) fn start_key_query(
        &mut self,
        command: CommandId,
        name: &[u8],
        key: RawKey,
        now: Instant,
    ) {
        let request = KeyRequest { key: Some(key.0) };
        let params = QueryParams {
            name: name.to_vec(),
            payload: Some(request.encode()),
            ..QueryParams::default()
        };
        let report = KeyReport {
            num_nodes: self.swim.live_node_count(),
            ..KeyReport::default()
        };
        match self.ask(params, Purpose::Keys(command, Box::new(report)), now) {
            // Handling it locally first changes this node's ring first. What follows may already be encrypted
            // with a new primary key, which all members must have by then anyway.
            Ok((message, _)) => self.spread_query(message, now),
            Err(why) => {
                let result = CommandResult::Keys(Box::new(KeyReport::not_asked(why)));
                self.end_command(command, result);
            }
        }
    }

    /// Ends the command, after all members have answered or the query has timed out.
    pub(super) fn end_key_query(&mut self, command: CommandId, report: KeyReport) {
        self.end_command(command, CommandResult::Keys(Box::new(report.conclude())));
    }
}
