//! Answers to key queries: changes or lists this node's keyring (gossip spec 5.10).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::kept::Route;
use crate::ordered::OrderedMap;
use crate::serf::{KeyringChange, Output, Serf};
use crate::time::Instant;
use crate::wire::serf::{KeyRequest, KeyResponse, LamportTime, QueryMessage};
use crate::wire::{Key, Keyring, NodeName};

/// Names of the four key queries.
pub(in crate::serf) const INSTALL: &[u8] = b"_serf_install-key";
pub(in crate::serf) const USE: &[u8] = b"_serf_use-key";
pub(in crate::serf) const REMOVE: &[u8] = b"_serf_remove-key";
pub(in crate::serf) const LIST: &[u8] = b"_serf_list-keys";

/// Limit for the keys in a ring: each may have to be tried on every packet.
const KEYS_MAX: usize = 256;
/// Limit for the changes that wait for the keyring file; one more leaves the oldest unanswered.
const WRITES_MAX: usize = 256;
/// Approximate bytes per key in an answer; the reference starts to truncate at the same estimate.
const LISTED_KEY_BYTES: usize = 25;

/// An answer that waits for the keyring file.
#[derive(Debug)]
struct Write {
    ltime: LamportTime,
    id: u32,
    route: Route,
    deadline: Instant,
}

/// The answers that wait for the keyring file.
#[derive(Debug, Default)]
pub(in crate::serf) struct Writes {
    last: u64,
    waiting: OrderedMap<KeyringChange, Write>,
}

impl Writes {
    fn put(&mut self, write: Write, now: Instant) -> KeyringChange {
        self.waiting.retain(|_, other| other.deadline >= now);
        if self.waiting.len() >= WRITES_MAX {
            self.waiting.pop_first();
        }
        self.last += 1;
        let change = KeyringChange(self.last);
        self.waiting.insert(change, write);
        change
    }
}

/// Operation that a key query requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Install,
    Use,
    Remove,
}

impl Change {
    fn apply(self, ring: Option<&mut Keyring>, request: &[u8]) -> Result<(), String> {
        // The reference has no error text for this case.
        let request = KeyRequest::decode(request).map_err(|_| String::new())?;
        let ring = ring.ok_or("No keyring to modify (encryption not enabled)")?;
        let key = Key::new(&request.key.unwrap_or_default())?;
        match self {
            Change::Install if ring.keys().len() >= KEYS_MAX && !ring.keys().contains(&key) => {
                return Err(format!(
                    "the keyring is full: remove some of its {KEYS_MAX} keys first"
                ));
            }
            Change::Install => ring.install(key),
            Change::Use => ring.use_key(&key)?,
            Change::Remove => ring.remove(&key)?,
        }
        Ok(())
    }
}

fn verdict(result: Result<(), String>) -> KeyResponse {
    KeyResponse {
        result: result.is_ok(),
        message: result.err().unwrap_or_default().into_bytes(),
        ..KeyResponse::default()
    }
}

fn base64(key: &Key) -> Vec<u8> {
    STANDARD.encode(key.as_bytes()).into_bytes()
}

/// Makes the response that lists the first `shown` keys of a ring.
fn listing(ring: &Keyring, shown: usize) -> KeyResponse {
    let all = ring.keys().len();
    let message = if shown < all {
        format!("truncated key list response, showing first {shown} of {all} keys")
    } else {
        String::new()
    };
    KeyResponse {
        result: true,
        message: message.into_bytes(),
        keys: Some(ring.keys().iter().take(shown).map(base64).collect()),
        primary_key: base64(ring.primary()),
    }
}

impl Serf {
    /// Answers a key query; returns false for any other query.
    pub(super) fn answer_key_query(
        &mut self,
        query: &QueryMessage,
        route: &Route,
        deadline: Instant,
        now: Instant,
    ) -> bool {
        let change = match &query.name[..] {
            INSTALL => Change::Install,
            USE => Change::Use,
            REMOVE => Change::Remove,
            LIST => {
                log_received("list-keys", query.source_node.as_ref());
                self.answer_listing(query, route, now);
                return true;
            }
            _ => return false,
        };
        let word = match change {
            Change::Install => "install-key",
            Change::Use => "use-key",
            Change::Remove => "remove-key",
        };
        log_received(word, query.source_node.as_ref());
        let request = query.payload.as_deref().unwrap_or_default();
        let ring = self.swim.envelope_mut().keyring.as_mut();
        let result = change.apply(ring, request);
        if let Err(why) = &result {
            log::warn!(target: "serf", "{word} query failed: {why}");
        }
        let (ltime, id) = (query.ltime, query.id);
        if result.is_ok() && self.config.keyring_file {
            let write = Write {
                ltime,
                id,
                route: route.clone(),
                deadline,
            };
            self.ask_for_write(write, now);
        } else {
            self.send_key_response(ltime, id, route, &verdict(result), now);
        }
        true
    }

    fn ask_for_write(&mut self, write: Write, now: Instant) {
        let change = self.writes.put(write, now);
        let ring = self.swim.envelope_mut().keyring.as_ref();
        let keys = ring.map_or_else(Vec::new, |ring| ring.keys().to_vec());
        self.outputs
            .push_back(Output::KeyringChanged { change, keys });
    }

    /// Answers after the keyring file was written or writing failed. The ring stays changed in both cases,
    /// because other members may already encrypt with its keys.
    pub(in crate::serf) fn handle_keyring_written(
        &mut self,
        change: KeyringChange,
        result: Result<(), String>,
        now: Instant,
    ) {
        if let Err(why) = &result {
            log::error!(target: "serf", "Failed to write keyring file: {why}");
        }
        let Some(write) = self.writes.waiting.remove(&change) else {
            return;
        };
        if now > write.deadline {
            log::warn!(target: "serf", "Keyring file written, but too late to answer");
            return;
        }
        let result = result.map_err(|why| format!("Failed to write keyring file: {why}"));
        let (ltime, id) = (write.ltime, write.id);
        self.send_key_response(ltime, id, &write.route, &verdict(result), now);
    }

    /// Answers with the list of keys, truncated to the response size limit.
    fn answer_listing(&mut self, query: &QueryMessage, route: &Route, now: Instant) {
        let (ltime, id) = (query.ltime, query.id);
        let Some(ring) = self.swim.envelope_mut().keyring.clone() else {
            let why = "Keyring is empty (encryption not enabled)".to_owned();
            return self.send_key_response(ltime, id, route, &verdict(Err(why)), now);
        };
        let limit = self.config.query_response_size_limit_bytes;
        let fits = |serf: &Serf, shown: usize| {
            let payload = listing(&ring, shown).encode();
            serf.encode_response(&serf.response(ltime, id, 0, Some(payload)))
                .is_ok()
        };
        let all = ring.keys().len();
        let mut shown = all;
        if !fits(self, shown) {
            shown = (limit / LISTED_KEY_BYTES).min(all - 1);
            while shown > 1 && !fits(self, shown) {
                shown -= 1;
            }
        }
        self.send_key_response(ltime, id, route, &listing(&ring, shown), now);
    }

    fn send_key_response(
        &mut self,
        ltime: LamportTime,
        id: u32,
        route: &Route,
        response: &KeyResponse,
        now: Instant,
    ) {
        let reply = self.response(ltime, id, 0, Some(response.encode()));
        match self.encode_response(&reply) {
            Ok(encoded) => self.send_response(route, reply, encoded, now),
            Err(why) => log::error!(target: "serf", "Failed to respond to key query: {why}"),
        }
    }
}

fn log_received(word: &str, from: Option<&NodeName>) {
    match from {
        Some(from) => log::info!(target: "serf", "Received {word} query from {from}"),
        None => log::info!(target: "serf", "Received {word} query"),
    }
}
