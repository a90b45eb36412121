//! Result of a key command (gossip spec 5.10).

use std::fmt;

use crate::ordered::OrderedMap;
use crate::wire::NodeName;
use crate::wire::serf::KeyResponse;

/// A key as entered, of any length; the members check whether it is valid. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawKey(pub Vec<u8>);

impl fmt::Debug for RawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawKey(..)")
    }
}

/// Identifies a change of the ring that waits to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyringChange(pub u64);

/// Result of a key command, collected from the members' answers.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Error in the reference's wording, if the command failed; the counts are valid in any case.
    pub error: Option<String>,
    /// Messages of members that sent one.
    pub messages: OrderedMap<NodeName, Vec<u8>>,
    /// For [`crate::serf::Command::ListKeys`]: keys in base64, and the number of members that have each.
    pub keys: OrderedMap<Vec<u8>, usize>,
    /// As `keys`, with the number of members that use each as the primary key.
    pub primary_keys: OrderedMap<Vec<u8>, usize>,
    /// Number of live members when the command was sent.
    pub num_nodes: usize,
    /// Number of members that answered with a failure.
    pub num_err: usize,
    /// Number of members that answered.
    pub num_resp: usize,
}

impl fmt::Debug for KeyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyReport")
            .field("error", &self.error)
            .field("num_nodes", &self.num_nodes)
            .field("num_err", &self.num_err)
            .field("num_resp", &self.num_resp)
            .finish_non_exhaustive()
    }
}

impl KeyReport {
    /// Makes the report of a command whose query could not be sent.
    pub fn not_asked(why: String) -> Self {
        KeyReport {
            error: Some(why),
            ..KeyReport::default()
        }
    }

    /// Counts a member's answer; returns whether all members have answered.
    pub(in crate::serf) fn count(&mut self, from: NodeName, payload: Option<&[u8]>) -> bool {
        self.num_resp += 1;
        let response = KeyResponse::decode(payload.unwrap_or_default());
        let response = response.unwrap_or_else(|error| KeyResponse {
            message: format!("Failed to decode key query response: {error:?}").into_bytes(),
            ..KeyResponse::default()
        });
        self.num_err += usize::from(!response.result);
        if !response.message.is_empty() || !response.result {
            self.messages.insert(from, response.message);
        }
        for key in response.keys.unwrap_or_default() {
            *self.keys.get_or_insert_with(key, || 0) += 1;
        }
        if !response.primary_key.is_empty() {
            let keys = &mut self.primary_keys;
            *keys.get_or_insert_with(response.primary_key, || 0) += 1;
        }
        self.num_resp >= self.num_nodes
    }

    /// Sets `error` from the answers received by the end.
    pub(super) fn conclude(mut self) -> Self {
        let KeyReport {
            num_nodes,
            num_err,
            num_resp,
            ..
        } = self;
        if num_err != 0 {
            self.error = Some(format!("{num_err}/{num_nodes} nodes reported failure"));
        } else if num_resp < num_nodes {
            self.error = Some(format!("{num_resp}/{num_nodes} nodes reported success"));
        }
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text.as_bytes()).unwrap()
    }

    fn answer(result: bool, message: &str, keys: &[&str]) -> Vec<u8> {
        KeyResponse {
            result,
            message: message.into(),
            keys: Some(keys.iter().map(|key| key.as_bytes().to_vec()).collect()),
            primary_key: keys.first().map_or_else(Vec::new, |key| (*key).into()),
        }
        .encode()
    }

    fn of(num_nodes: usize) -> KeyReport {
        KeyReport {
            num_nodes,
            ..KeyReport::default()
        }
    }

    #[test]
    fn keys_are_counted_until_all_have_answered() {
        let mut report = of(2);
        assert!(!report.count(name("a"), Some(&answer(true, "", &["k1", "k2"]))));
        let truncated = "truncated key list response, showing first 1 of 9 keys";
        assert!(report.count(name("b"), Some(&answer(true, truncated, &["k1"]))));
        let report = report.conclude();
        assert_eq!(
            (report.num_resp, report.num_err, &report.error),
            (2, 0, &None)
        );
        let keys: Vec<_> = report.keys.iter().map(|(k, n)| (&k[..], *n)).collect();
        assert_eq!(keys, [(&b"k1"[..], 2), (b"k2", 1)]);
        assert_eq!(report.primary_keys.get(&b"k1"[..]), Some(&2));
        assert_eq!(report.messages.len(), 1);
        let message = report.messages.get(&name("b")).unwrap();
        assert_eq!(message, truncated.as_bytes());
    }

    #[test]
    fn failures_and_silence_are_told_apart() {
        let mut report = of(3);
        report.count(name("a"), Some(&answer(true, "", &[])));
        let silent = report.clone().conclude();
        assert_eq!(silent.error.unwrap(), "1/3 nodes reported success");
        report.count(name("b"), Some(&answer(false, "no", &[])));
        assert!(report.count(name("c"), None));
        let failed = report.conclude();
        assert_eq!(failed.error.unwrap(), "2/3 nodes reported failure");
        assert_eq!(failed.messages.get(&name("b")).unwrap(), b"no");
        assert!(!failed.messages.get(&name("c")).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        for bad in [
            &b""[..],
            b"\x08",
            b"\x07\x80",
            b"\x08\xc1",
            b"\x08\x81\xa6Result",
        ] {
            let mut report = of(1);
            assert!(report.count(name("a"), Some(bad)));
            assert_eq!((report.num_err, report.messages.len()), (1, 1), "{bad:?}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        let mut report = of(1);
        report.count(name("a"), Some(&answer(true, "", &["SECRET"])));
        let shown = format!("{report:?} {:?}", RawKey(b"SECRET".to_vec()));
        assert!(!shown.contains("SECRET"), "{shown}");
    }
}
