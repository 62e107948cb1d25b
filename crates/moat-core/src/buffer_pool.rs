//! Out-buffers, lent to connections that have something to say and taken back when they are idle.

/// Buffers kept for the next connection that needs one.
pub const POOLED_BUFFERS_MAX: usize = 1024;
/// A buffer that grew past this many bytes is freed instead of kept.
pub const POOLED_BUFFER_BYTES_MAX: usize = 256 << 10;

/// Bytes of all buffers kept.
pub const POOLED_BYTES_MAX: usize = 2 << 20;

/// A stack of empty buffers. An idle connection holds none, so memory follows traffic.
#[derive(Default)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
    bytes: usize,
}

impl BufferPool {
    /// An empty buffer, with the capacity of its last use.
    pub fn take(&mut self) -> Vec<u8> {
        let buffer = self.free.pop().unwrap_or_default();
        self.bytes -= buffer.capacity();
        buffer
    }

    /// Takes a buffer back; its content is gone.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let bytes = buffer.capacity();
        let fits = bytes > 0 && bytes <= POOLED_BUFFER_BYTES_MAX;
        let has_room =
            self.free.len() < POOLED_BUFFERS_MAX && self.bytes + bytes <= POOLED_BYTES_MAX;
        if fits && has_room {
            buffer.clear();
            self.bytes += bytes;
            self.free.push(buffer);
        }
    }

    /// Buffers waiting to be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.free.len()
    }

    /// Whether no buffer waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.free.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_at_most_the_named_number_of_buffers() {
        let mut pool = BufferPool::default();
        for _ in 0..POOLED_BUFFERS_MAX + 10 {
            pool.give(Vec::with_capacity(16));
        }
        assert_eq!(pool.len(), POOLED_BUFFERS_MAX);
    }

    #[test]
    fn a_buffer_that_grew_large_is_not_kept() {
        let mut pool = BufferPool::default();
        pool.give(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX + 1));
        assert!(pool.is_empty());
    }

    #[test]
    fn keeps_at_most_the_named_number_of_bytes() {
        let mut pool = BufferPool::default();
        let fit = POOLED_BYTES_MAX / POOLED_BUFFER_BYTES_MAX;
        for _ in 0..fit + 10 {
            pool.give(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX));
        }
        assert_eq!(pool.len(), fit);
        drop(pool.take());
        pool.give(vec![0; 100]);
        assert_eq!(pool.len(), fit);
    }

    #[test]
    fn a_returned_buffer_comes_back_empty() {
        let mut pool = BufferPool::default();
        pool.give(vec![1, 2, 3]);
        assert!(pool.take().is_empty());
    }
}
