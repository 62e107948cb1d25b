//! The trait that every store has.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{
    Event, Expect, Extent, Page, Part, Position, Record, Revision, ScanPage, Sequence, StoreError,
    Versioned, Want, WatchError, WatchFrom, Write,
};

/// A log and buckets.
///
/// **Calls block** until what they promise is true, which on disk is an fsync: only the service
/// plane makes them, never a packet thread. Many threads may call at once; their commits are made one
/// after the other, so whoever has many writes at the same moment puts them into one [`Store::commit`].
///
/// **Time is an argument.** Lifetimes outlive a restart, so it is wall-clock time. A value whose
/// end has come is gone for every call that says so by its `now`, whether or not [`Store::expire`]
/// has removed it yet.
pub trait Store: Send + Sync {
    /// Applies writes to the log and to buckets, in order: all of them or nothing, durable when the
    /// call returns, with one fsync. Returns the positions of the appends, in order.
    ///
    /// Applied a second time it changes nothing more, if its appends say where they go
    /// ([`Write::Append`]): so a commit that failed for want of room can be applied again though
    /// nobody knows whether it got to the disk. A commit that returned `Ok` must not be applied
    /// again if it has a [`Write::Release`] in it: those are counted.
    ///
    /// # Errors
    /// [`StoreError::CommitTooLarge`], [`StoreError::Gap`], the bounds of records, names, keys and
    /// values, [`StoreError::Full`], [`StoreError::DiskFull`], [`StoreError::Broken`].
    fn commit(&self, writes: Vec<Write>, now: SystemTime) -> Result<Vec<Position>, StoreError>;

    /// Appends a batch: all of it or nothing, durable when the call returns.
    ///
    /// Within a part, sequences follow the order of the batch and of the calls, without a gap. A
    /// record whose `dedup_id` is among the last [`crate::DEDUP_IDS_KEPT`] of its part is not stored
    /// again; the position of the first one is returned.
    ///
    /// # Errors
    /// [`StoreError::BatchTooLarge`], [`StoreError::RecordTooLarge`], [`StoreError::Full`],
    /// [`StoreError::Broken`].
    fn append(&self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError>;

    /// Reads what `want` selects in `part` from `from` on, at most `max` records, in order.
    ///
    /// Ends at the head of the moment of the call; says where to go on and what the log holds. A
    /// `from` before the first record starts at the first: compare with [`Page::extent`] to know
    /// what was lost to a trim.
    ///
    /// # Errors
    /// [`StoreError::Broken`].
    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError>;

    /// The records at these positions, in the order asked; `None` for one that is not there (any
    /// more). Ascending positions are the fastest.
    ///
    /// Ends after the record with which the answer reaches [`crate::READ_BYTES_MAX`], so it may be
    /// shorter than `positions`: ask again for the rest. What comes back may share memory with its
    /// neighbours: copy what is kept.
    ///
    /// # Errors
    /// [`StoreError::ReadTooLarge`], [`StoreError::Corrupt`], [`StoreError::Broken`].
    fn read_exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError>;

    /// Says, after a start, who is still waiting: how many takers each record has; a record that is
    /// not named has none. Until this was called, the store forgets no record for want of takers.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], [`StoreError::Broken`].
    fn recount(&self, live: &[(Position, u32)]) -> Result<(), StoreError>;

    /// How much room the store takes, in bytes.
    fn bytes(&self) -> u64;

    /// Forgets the records of `part` before `below`. Never those that are yet to be written.
    ///
    /// # Errors
    /// [`StoreError::Broken`].
    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError>;

    /// What `part` holds now.
    ///
    /// # Errors
    /// [`StoreError::Broken`].
    fn head(&self, part: Part) -> Result<Extent, StoreError>;

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError::BucketName`], [`StoreError::KeyTooLong`], [`StoreError::Broken`].
    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError>;

    /// Sets the value of a key if `expect` holds; linearizable per key, durable when it returns.
    ///
    /// With a `ttl` the value ends at `now + ttl`; without one it stays.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] with the revision that is there, and the bounds of names, keys and
    /// values, [`StoreError::Full`], [`StoreError::Broken`].
    fn put(
        &self,
        bucket: &str,
        key: &[u8],
        value: Bytes,
        expect: Expect,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Revision, StoreError>;

    /// Removes a key if `expect` holds. The revision of the removal, or `None` if nothing was there.
    ///
    /// # Errors
    /// As [`Store::put`].
    fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError>;

    /// The keys that begin with `prefix` and come after `after`, in byte order, at most `max`.
    ///
    /// Each page is of one moment; two pages may be of two.
    ///
    /// # Errors
    /// As [`Store::get`].
    fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError>;

    /// Follows the keys that begin with `prefix`, see [`WatchFrom`].
    ///
    /// # Errors
    /// As [`Store::get`], and [`StoreError::TooManyWatches`].
    fn watch(
        &self,
        bucket: &str,
        prefix: &[u8],
        from: WatchFrom,
        now: SystemTime,
    ) -> Result<Box<dyn Watch>, StoreError>;

    /// Removes values whose end has come, oldest first, at most [`crate::EXPIRE_KEYS_MAX`], and
    /// tells the watches. How many were removed: call again while it is that many.
    ///
    /// # Errors
    /// [`StoreError::Broken`].
    fn expire(&self, now: SystemTime) -> Result<usize, StoreError>;
}

/// A running watch; dropping it ends it.
pub trait Watch: Send {
    /// The next event, or `None` if there is none within `wait` (zero: do not wait).
    ///
    /// # Errors
    /// [`WatchError::Lagged`] if events were lost because they were not taken in time; every later
    /// call says the same: open a new watch with [`WatchFrom::Snapshot`].
    fn next(&mut self, wait: Duration) -> Result<Option<Event>, WatchError>;
}
