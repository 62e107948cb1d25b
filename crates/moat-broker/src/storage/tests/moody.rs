//! A store that does what a test says.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use moat_store::{
    Expect, Extent, MemoryStore, Page, Part, Position, Record, Revision, ScanPage, Sequence, Store,
    StoreError, Versioned, Want, Watch, WatchFrom, Write,
};

/// A store in memory whose commits do what the test says.
#[derive(Default)]
pub(super) struct Moody {
    pub(super) store: MemoryStore,
    /// What the next commits say instead.
    moods: Mutex<VecDeque<StoreError>>,
    /// Writes of each commit that got through.
    pub(super) commits: Mutex<Vec<usize>>,
    /// Commits wait while this holds.
    is_stalled: Mutex<bool>,
    stalled: Condvar,
    /// Commits that have begun.
    pub(super) begun: AtomicUsize,
    pub(super) size: AtomicU64,
}

impl Moody {
    /// One whose first commits fail like this.
    pub(super) fn failing(moods: impl Into<VecDeque<StoreError>>) -> Self {
        Self {
            moods: Mutex::new(moods.into()),
            ..Self::default()
        }
    }

    pub(super) fn stall(&self, stall: bool) {
        *self.is_stalled.lock().unwrap() = stall;
        self.stalled.notify_all();
    }
}

impl Store for Moody {
    fn commit(&self, writes: Vec<Write>, now: SystemTime) -> Result<Vec<Position>, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let stalled = self.is_stalled.lock().unwrap();
        drop(
            self.stalled
                .wait_while(stalled, |stalled| *stalled)
                .unwrap(),
        );
        if let Some(error) = self.moods.lock().unwrap().pop_front() {
            return Err(error);
        }
        let count = writes.len();
        let positions = self.store.commit(writes, now)?;
        self.commits.lock().unwrap().push(count);
        Ok(positions)
    }

    fn read_exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        self.store.read_exact(positions)
    }

    fn recount(&self, live: &[(Position, u32)]) -> Result<(), StoreError> {
        self.store.recount(live)
    }

    fn bytes(&self) -> u64 {
        self.size.load(Ordering::SeqCst)
    }

    fn append(&self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        self.store.append(batch)
    }

    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        self.store.read(part, from, max, want)
    }

    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        self.store.trim(part, below)
    }

    fn head(&self, part: Part) -> Result<Extent, StoreError> {
        self.store.head(part)
    }

    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        self.store.get(bucket, key, now)
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
        self.store.put(bucket, key, value, expect, ttl, now)
    }

    fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError> {
        self.store.delete(bucket, key, expect, now)
    }

    fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        self.store.scan(bucket, prefix, after, max, now)
    }

    fn watch(
        &self,
        bucket: &str,
        prefix: &[u8],
        from: WatchFrom,
        now: SystemTime,
    ) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(bucket, prefix, from, now)
    }

    fn expire(&self, now: SystemTime) -> Result<usize, StoreError> {
        self.store.expire(now)
    }
}
