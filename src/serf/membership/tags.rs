//! Changes of this node's tags (gossip spec 4.14, 5.2).

use crate::serf::{CommandId, CommandResult, Serf, State, Tags};
use crate::time::Instant;
use crate::wire::limits::META_BYTES_MAX;
use crate::wire::serf::TAGS_TOO_LONG;

/// Commands that wait for the transmission of new tags.
#[derive(Debug, Default)]
pub(in crate::serf) struct TagChanges {
    /// Commands whose tags are being transmitted.
    spreading: Vec<CommandId>,
    /// Commands that arrived meanwhile; the newest tags are transmitted for all of them.
    waiting: Vec<CommandId>,
}

/// Encodes tags as a node's meta.
///
/// # Errors
/// Returns the reference's error text if the meta is too long.
pub(in crate::serf) fn encode_meta(tags: &Tags, protocol: u8) -> Result<Vec<u8>, String> {
    let meta = tags.encode_meta(protocol);
    if meta.len() > META_BYTES_MAX {
        return Err(TAGS_TOO_LONG.to_owned());
    }
    Ok(meta)
}

impl Serf {
    pub(in crate::serf) fn set_tags(&mut self, command: CommandId, tags: Tags, now: Instant) {
        let checked = match self.state {
            State::Alive => encode_meta(&tags, self.config.protocol).map(drop),
            State::Leaving | State::Left => Err("Serf can't change tags after Leave".to_owned()),
        };
        if let Err(why) = checked {
            self.end_command(command, CommandResult::Failed(why));
            return;
        }
        self.config.tags = tags;
        self.tag_changes.waiting.push(command);
        self.spread_tags(now);
    }

    /// Handles the end of the last change's transmission.
    pub(in crate::serf) fn handle_meta_updated(&mut self, in_time: bool, now: Instant) {
        for command in std::mem::take(&mut self.tag_changes.spreading) {
            let result = if in_time {
                CommandResult::Done
            } else {
                CommandResult::Failed("timeout waiting for update broadcast".to_owned())
            };
            self.end_command(command, result);
        }
        self.spread_tags(now);
    }

    fn spread_tags(&mut self, now: Instant) {
        let changes = &mut self.tag_changes;
        if !changes.spreading.is_empty() || changes.waiting.is_empty() {
            return;
        }
        changes.spreading = std::mem::take(&mut changes.waiting);
        let meta = self.config.tags.encode_meta(self.config.protocol);
        let timeout = self.config.broadcast_timeout;
        self.swim.update_meta(meta.into(), timeout, now);
    }
}
