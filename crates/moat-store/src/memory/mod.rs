//! A store in memory: fast, bounded, gone with the process.
//!
//! One lock for the log, one for the buckets, one for each watch's queue; taken in this order.

mod bucket;
mod log;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use self::bucket::Buckets;
use self::log::Log;
use crate::watch::{Queue, QueueWatch, Source, locked};
use crate::{
    Expect, Extent, Page, Part, Position, Record, Revision, ScanPage, Sequence, Store, StoreError,
    Versioned, Want, Watch, WatchFrom, Write, check_batch, check_bucket, check_commit, check_key,
    check_positions, check_value,
};

/// Most buckets of a memory store.
pub const BUCKETS_MAX: usize = 64;

/// How much a memory store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Bytes of all records in the log.
    pub log_bytes: u64,
    /// Bytes of all keys and values in the buckets.
    pub bucket_bytes: u64,
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self {
            log_bytes: 256 * 1024 * 1024,
            bucket_bytes: 256 * 1024 * 1024,
        }
    }
}

/// A [`Store`] in memory.
pub struct MemoryStore {
    log: Mutex<Log>,
    buckets: Arc<Mutex<Buckets>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(MemoryLimits::default())
    }
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Self {
        Self {
            log: Mutex::new(Log::new(limits.log_bytes)),
            buckets: Arc::new(Mutex::new(Buckets::new(limits.bucket_bytes))),
        }
    }
}

impl Store for MemoryStore {
    fn commit(&self, writes: Vec<Write>, _: SystemTime) -> Result<Vec<Position>, StoreError> {
        check_commit(&writes)?;
        let mut log = locked(&self.log);
        let mut buckets = locked(&self.buckets);
        log.check(&writes)?;
        buckets.check(&writes)?;
        let mut positions = Vec::new();
        let mut released = Vec::new();
        for write in writes {
            match write {
                Write::Append { at, record } => positions.push(log.append_at(at, record)),
                Write::Release(position) => released.push(position),
                other => buckets.apply(other),
            }
        }
        log.forget_ids(&positions);
        for position in released {
            log.release(position);
        }
        Ok(positions)
    }

    fn append(&self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        check_batch(&batch)?;
        locked(&self.log).append(batch)
    }

    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        Ok(locked(&self.log).read(part, from, max, want))
    }

    fn read_exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        check_positions(positions)?;
        Ok(locked(&self.log).read_exact(positions))
    }

    fn recount(&self, live: &[(Position, u32)]) -> Result<(), StoreError> {
        locked(&self.log).recount(live);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let log = locked(&self.log).bytes();
        log + locked(&self.buckets).bytes()
    }

    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        locked(&self.log).trim(part, below);
        Ok(())
    }

    fn head(&self, part: Part) -> Result<Extent, StoreError> {
        Ok(locked(&self.log).extent(part))
    }

    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        check_bucket(bucket)?;
        check_key(key)?;
        Ok(locked(&self.buckets).get(bucket, key, now).cloned())
    }

    fn put(
        &self,
        bucket: &str,
        key: &[u8],
        value: Bytes,
        expect: Expect,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Revision, StoreError> {
        check_bucket(bucket)?;
        check_key(key)?;
        check_value(&value)?;
        let end = ttl.map(|ttl| now.checked_add(ttl).ok_or(StoreError::TtlTooLong));
        locked(&self.buckets).put(bucket, key, value, expect, end.transpose()?, now)
    }

    fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError> {
        check_bucket(bucket)?;
        check_key(key)?;
        locked(&self.buckets).delete(bucket, key, expect, now)
    }

    fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        check_bucket(bucket)?;
        check_key(prefix)?;
        check_key(after.unwrap_or_default())?;
        Ok(locked(&self.buckets).scan(bucket, prefix, after, max, now))
    }

    fn watch(
        &self,
        bucket: &str,
        prefix: &[u8],
        from: WatchFrom,
        now: SystemTime,
    ) -> Result<Box<dyn Watch>, StoreError> {
        check_bucket(bucket)?;
        check_key(prefix)?;
        let queue = Queue::new(bucket, prefix);
        let until = locked(&self.buckets).add_watch(Arc::clone(&queue))?;
        let source = Arc::clone(&self.buckets) as Arc<dyn Source>;
        Ok(Box::new(QueueWatch::new(source, queue, until, from, now)))
    }

    fn expire(&self, now: SystemTime) -> Result<usize, StoreError> {
        Ok(locked(&self.buckets).expire(now))
    }
}

impl Source for Mutex<Buckets> {
    fn page(
        &self,
        queue: &Queue,
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        Ok(locked(self).scan(&queue.bucket, &queue.prefix, after, max, now))
    }

    fn leave(&self, queue: &Arc<Queue>) {
        locked(self).remove_watch(queue);
    }
}
