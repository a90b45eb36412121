//! Ring buffer that keeps the last bytes of an output.

/// Keeps the last `limit` bytes and counts all of them.
#[derive(Debug)]
pub(super) struct Tail {
    limit: usize,
    /// Holds up to twice the limit, so that old bytes are rarely moved out.
    kept: Vec<u8>,
    total: u64,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Self {
        Tail {
            limit,
            kept: Vec::new(),
            total: 0,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let bytes = last(bytes, self.limit);
        if self.kept.len() + bytes.len() > self.limit.saturating_mul(2) {
            let surplus = self.kept.len() - last(&self.kept, self.limit).len();
            self.kept.drain(..surplus);
        }
        self.kept.extend_from_slice(bytes);
    }

    /// Returns the last bytes and the total count, and resets both.
    pub(super) fn take(&mut self) -> (Vec<u8>, u64) {
        let mut kept = std::mem::take(&mut self.kept);
        let surplus = kept.len() - last(&kept, self.limit).len();
        kept.drain(..surplus);
        (kept, std::mem::take(&mut self.total))
    }
}

fn last(bytes: &[u8], count: usize) -> &[u8] {
    bytes
        .get(bytes.len().saturating_sub(count)..)
        .unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_whatever_the_pieces() {
        let text: Vec<u8> = (0..100u8).collect();
        for limit in [0, 1, 7, 8, 99, 100, 101] {
            for piece in [1, 3, 7, 8, 9, 50, 100] {
                let mut tail = Tail::new(limit);
                for bytes in text.chunks(piece) {
                    tail.push(bytes);
                    assert!(tail.kept.len() <= 2 * limit);
                }
                assert_eq!(tail.take(), (last(&text, limit).to_vec(), 100));
            }
        }
    }
}
