//! Out-buffers, lent to connections that have something to say and taken back when they are idle.

/// Buffers kept for the next connection that needs one.
pub const POOLED_BUFFERS_MAX: usize = 1024;
/// A buffer that grew past this many bytes is freed instead of kept.
pub const POOLED_BUFFER_BYTES_MAX: usize = 64 << 10;

/// A stack of empty buffers. An idle connection holds none, so memory follows traffic.
#[derive(Default)]
pub struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    /// An empty buffer, with the capacity of its last use.
    pub fn take(&mut self) -> Vec<u8> {
        self.free.pop().unwrap_or_default()
    }

    /// Takes a buffer back; its content is gone.
    pub fn give(&mut self, mut buffer: Vec<u8>) {
        let fits = buffer.capacity() > 0 && buffer.capacity() <= POOLED_BUFFER_BYTES_MAX;
        if fits && self.free.len() < POOLED_BUFFERS_MAX {
            buffer.clear();
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
    fn a_returned_buffer_comes_back_empty() {
        let mut pool = BufferPool::default();
        pool.give(vec![1, 2, 3]);
        assert!(pool.take().is_empty());
    }
}
