//! Key commands: asking all members to change or tell their rings (gossip spec 5.10). Answering is in
//! [`super::key_answer`].

use super::ask::Purpose;
use super::key_report::{KeyReport, RawKey};
use crate::serf::{CommandId, CommandResult, QueryParams, Serf};
use crate::time::Instant;
use crate::wire::serf::KeyRequest;

impl Serf {
    /// Asks all members to do something about keys. `key` is empty to list them.
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
            // Answering it here first changes the own ring first: what follows may be encrypted
            // with a new primary key already, which the others must have by then anyway.
            Ok((message, _)) => self.spread_query(message, now),
            Err(why) => {
                let result = CommandResult::Keys(Box::new(KeyReport::not_asked(why)));
                self.end_command(command, result);
            }
        }
    }

    /// All have answered, or the time is over.
    pub(super) fn end_key_query(&mut self, command: CommandId, report: KeyReport) {
        self.end_command(command, CommandResult::Keys(Box::new(report.conclude())));
    }
}
