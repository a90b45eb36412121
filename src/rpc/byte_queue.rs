//! A FIFO of bytes.

/// Bytes that are appended at the back and consumed from the front.
#[derive(Clone, Debug, Default)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    start: usize,
}

impl ByteQueue {
    /// Returns all queued bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
    /// Returns the number of queued bytes.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }
    /// Returns whether no bytes are queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
    /// Removes `count` bytes from the front; all, if there are fewer.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.bytes.len());
        if self.start == self.bytes.len() {
            // Frees the memory of a large message instead of keeping it for the life of the connection.
            self.bytes.clear();
            self.bytes.shrink_to(4096);
            self.start = 0;
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.consume(usize::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_keeps_order_and_gives_memory_back() {
        let mut queue = ByteQueue::default();
        queue.push(&[1; 100_000]);
        queue.consume(99_998);
        queue.push(&[2, 3]);
        assert_eq!(queue.as_slice(), [1, 1, 2, 3]);
        queue.consume(3);
        assert_eq!((queue.as_slice(), queue.len()), (&[3][..], 1));
        queue.consume(7);
        assert!(queue.is_empty() && queue.bytes.capacity() <= 4096);
    }
}
