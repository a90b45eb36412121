//! Writes keys and tags to their files without blocking the loop (agent spec 4.10).
//!
//! The requester gets the reply when the file is synced. Key changes take effect at once, because other
//! members may already encrypt with new keys. Tag changes take effect when the file is synced, so that other
//! members never see tags that the next start would not know.

use std::collections::VecDeque;

use super::Agent;
use crate::agent::config::FixedConfig;
use crate::agent::files::lock::FileLock;
use crate::agent::files::saver::Saver;
use crate::agent::files::{keyring, tags};
use crate::agent::rpc::{RequestId, TagChange};
use crate::serf::{Command, CommandResult, Input, KeyringChange, State, Tags};
use crate::wire::Key;
use crate::wire::limits::META_BYTES_MAX;

/// Files being written, and changes that wait.
#[derive(Default)]
pub(super) struct Saving {
    keyring: Option<(Saver, Vec<KeyringChange>)>,
    /// The keyring after the last of the waiting changes.
    next_keyring: Option<(Vec<Key>, Vec<KeyringChange>)>,
    tags: Option<(Saver, RequestId, Tags)>,
    /// Waiting changes, each to be applied to the result of the one before.
    next_tags: VecDeque<(RequestId, TagChange)>,
}

impl Saving {
    /// Notes a change of the keyring.
    pub(super) fn keyring_changed(&mut self, change: KeyringChange, keys: Vec<Key>) {
        let (newest, changes) = self.next_keyring.get_or_insert_default();
        *newest = keys;
        changes.push(change);
    }

    /// Queues a client's change of the tags.
    pub(super) fn tags_wanted(&mut self, request: RequestId, change: TagChange) {
        self.next_tags.push_back((request, change));
    }

    /// Completes writing at the end of the process. Keys are written, because they are in use; queued tag
    /// changes are dropped, because no client was told that they succeeded.
    pub(super) fn finish(&mut self, config: &FixedConfig) {
        let mut results = Vec::new();
        results.extend(self.keyring.take().map(|(saver, _)| saver.finish()));
        if let (Some((keys, _)), Some(path)) = (self.next_keyring.take(), &config.keyring_file) {
            let saver = Saver::begin(path, &keyring::encode(&keys));
            results.push(saver.and_then(Saver::finish));
        }
        results.extend(self.tags.take().map(|(saver, ..)| saver.finish()));
        for why in results.into_iter().filter_map(Result::err) {
            log::error!(target: "agent", "Failed to write file: {why}");
        }
    }
}

impl Agent {
    /// Continues writing both files; returns whether anything has changed.
    pub(super) fn step_saving(&mut self) -> bool {
        let keyring = self.step_keyring();
        self.step_tags() || keyring
    }

    fn step_keyring(&mut self) -> bool {
        if let Some((saver, _)) = &mut self.saving.keyring {
            let Some(result) = saver.poll() else {
                return false;
            };
            if let Some((_, changes)) = self.saving.keyring.take() {
                self.keyring_written(changes, &result);
            }
            return true;
        }
        let Some((keys, changes)) = self.saving.next_keyring.take() else {
            return false;
        };
        let Some(path) = &self.config.keyring_file else {
            self.keyring_written(changes, &Ok(()));
            return true;
        };
        let held = FileLock::hold(&mut self.locks.keyring);
        match held.and_then(|()| Saver::begin(path, &keyring::encode(&keys))) {
            Ok(saver) => self.saving.keyring = Some((saver, changes)),
            Err(why) => self.keyring_written(changes, &Err(why)),
        }
        true
    }

    fn keyring_written(&mut self, changes: Vec<KeyringChange>, result: &Result<(), String>) {
        let now = self.clock.now();
        for change in changes {
            let result = result.clone();
            let input = Input::KeyringWritten { change, result };
            self.serf.handle_input(input, now);
        }
    }

    fn step_tags(&mut self) -> bool {
        if let Some((saver, ..)) = &mut self.saving.tags {
            let Some(result) = saver.poll() else {
                return false;
            };
            if let Some((_, request, tags)) = self.saving.tags.take() {
                match result {
                    Ok(()) => self.run_for_client(request, Command::SetTags(tags)),
                    Err(why) => self.tags_not_written(request, &why),
                }
            }
            return true;
        }
        let Some((request, change)) = self.saving.next_tags.pop_front() else {
            return false;
        };
        let tags = change.apply(self.serf.tags());
        let path = self.config.tags_file.as_ref();
        let Some(path) = path.filter(|_| self.takes(&tags)) else {
            self.run_for_client(request, Command::SetTags(tags));
            return true;
        };
        let held = FileLock::hold(&mut self.locks.tags);
        let content = held.and_then(|()| tags::encode(&tags));
        match content.and_then(|content| Saver::begin(path, &content)) {
            Ok(saver) => self.saving.tags = Some((saver, request, tags)),
            Err(why) => self.tags_not_written(request, &why),
        }
        true
    }

    /// Returns whether the core would accept the tags; those that it refuses must not get into the file.
    fn takes(&self, tags: &Tags) -> bool {
        let protocol = u8::try_from(self.config.protocol).unwrap_or(u8::MAX);
        tags.encode_meta(protocol).len() <= META_BYTES_MAX && self.serf.state() == State::Alive
    }

    fn tags_not_written(&mut self, request: RequestId, why: &str) {
        let why = format!("Failed to write tags file: {why}");
        log::error!(target: "agent", "{why}");
        self.server
            .command_ended(request, CommandResult::Failed(why));
    }
}
