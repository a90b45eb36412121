//! Incremental encoder of a push/pull for a stream.

use super::lzw::Compressor;
use super::msgpack::{Dialect, Writer};
use super::stream::{PushPull, PushPullNode, StreamSide};
use super::{Envelope, Label, compress};

/// Entries to encode and compress per call.
const ENTRIES_AT_ONCE: usize = 512;
/// Bytes of user state to encode and compress per call.
const USER_STATE_AT_ONCE: usize = 128 << 10;

/// Incremental encoder with the same output as [`Envelope::seal_stream`]: works in several calls, so that ten
/// thousand entries do not block the event loop.
pub struct PushPullSealer {
    side: StreamSide,
    label: Option<Label>,
    entries: std::vec::IntoIter<PushPullNode>,
    user_state: Vec<u8>,
    user_state_done: usize,
    /// Encoded bytes, not compressed yet; empty between calls if compression is on.
    plain: Vec<u8>,
    compressor: Option<Compressor>,
}

impl core::fmt::Debug for PushPullSealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} entries to go", self.entries.len())
    }
}

impl Envelope {
    /// Starts to encode the push/pull that `side` writes. `label`: the initiator's label, if it differs from
    /// ours.
    pub fn begin_push_pull(
        &self,
        state: PushPull,
        side: StreamSide,
        label: Option<Label>,
    ) -> PushPullSealer {
        PushPullSealer {
            side,
            label,
            plain: state.encode_head(),
            entries: state.nodes.into_iter(),
            user_state: state.user_state,
            user_state_done: 0,
            compressor: self.compression.then(|| Compressor::new(0)),
        }
    }
}

impl PushPullSealer {
    /// Whether one call of [`Self::work`] is enough.
    pub fn is_short(&self) -> bool {
        self.entries.len() <= ENTRIES_AT_ONCE && self.user_state.len() <= USER_STATE_AT_ONCE
    }

    /// Does a bounded amount of work. Returns the bytes for the stream once it is finished. Only encryption,
    /// the last step, is never split.
    pub fn work(&mut self, envelope: &mut Envelope) -> Option<Vec<u8>> {
        let mut is_over = self.is_short();
        let mut writer = Writer::appending(Dialect::Gossip, std::mem::take(&mut self.plain));
        let had_entries = self.entries.len() > 0;
        for entry in self.entries.by_ref().take(ENTRIES_AT_ONCE) {
            entry.encode(&mut writer);
        }
        if is_over || !had_entries {
            let rest = self.user_state.get(self.user_state_done..);
            let rest = rest.unwrap_or_default();
            let piece = rest.get(..USER_STATE_AT_ONCE).unwrap_or(rest);
            writer.verbatim(piece);
            self.user_state_done += piece.len();
            is_over = self.user_state_done == self.user_state.len();
        }
        self.plain = writer.into_bytes();
        if let Some(compressor) = &mut self.compressor {
            compressor.push(&self.plain);
            self.plain.clear();
        }
        if !is_over {
            return None;
        }
        let plain = match self.compressor.take() {
            Some(compressor) => compress::wrap(&compressor.finish()),
            None => std::mem::take(&mut self.plain),
        };
        Some(envelope.seal_layer(plain, self.side, self.label.as_ref()))
    }
}
