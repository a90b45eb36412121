//! A state on its way into the bytes of a stream, piece by piece.

use super::lzw::Compressor;
use super::msgpack::{Dialect, Writer};
use super::stream::{PushPull, PushPullNode, StreamSide};
use super::{Envelope, Label, compress};

/// Entries that are encoded and compressed in one go.
const ENTRIES_AT_ONCE: usize = 512;
/// The same for bytes of user state.
const USER_STATE_AT_ONCE: usize = 128 << 10;

/// Makes the same bytes of a push/pull as [`Envelope::seal_stream`], in several calls, so that nobody
/// waits for the end of ten thousand entries.
pub struct PushPullSealer {
    side: StreamSide,
    label: Option<Label>,
    entries: std::vec::IntoIter<PushPullNode>,
    user_state: Vec<u8>,
    user_state_done: usize,
    /// Encoded, and not compressed.
    plain: Vec<u8>,
    compressor: Option<Compressor>,
}

impl core::fmt::Debug for PushPullSealer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{} entries to go", self.entries.len())
    }
}

impl Envelope {
    /// Starts on what `side` writes for a push/pull. `label`: the initiator's, if it is another.
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
    /// Whether one call of [`Self::work`] will do.
    pub fn is_short(&self) -> bool {
        self.entries.len() <= ENTRIES_AT_ONCE && self.user_state.len() <= USER_STATE_AT_ONCE
    }

    /// Does a bounded piece of the work. At the end: the bytes for the stream. Only encryption, the
    /// last step, is never cut up.
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
