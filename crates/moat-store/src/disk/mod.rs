//! A store on disk, on the engine fjall.
//!
//! The log is cut into segments, one keyspace of the engine each, and a segment is dropped whole when
//! nobody waits for a record of it; so nothing is ever marked as deleted in it. A bucket is a
//! keyspace too. Every commit is one batch of the engine's journal with one fsync.
//!
//! Every record and value has a checksum of its own, journals are read before the engine may cut
//! them (`journal`), and notes say which keyspaces there have to be (`recover`): what is lost is
//! named, never skipped.

mod buckets;
mod chunk;
mod commit;
mod ends;
mod engine;
mod index;
mod journal;
mod limits;
mod manifest;
mod notes;
mod open;
mod outcome;
mod plan;
mod read;
mod recover;
mod shared;
#[cfg(test)]
mod tests;
mod value;
mod verify;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

pub use self::journal::TornTail;
pub use self::limits::{
    DISK_BUCKETS_MAX, PROBLEMS_MAX, SEGMENT_AGE_MS, SEGMENT_AGED_BYTES_MIN, SEGMENT_BYTES,
    SEGMENTS_AGED_MAX,
};
pub use self::open::{FORMAT, OpenError, Opened};
pub use self::verify::{
    BucketStats, PartStats, Problem, Report, SegmentStats, Stats, VerifyProgress, stats, verify,
};

use self::engine::Engine;
use self::index::Index;
use self::notes::Note;
use self::open::{
    Format, MIGRATIONS, Migration, failed, lock_existing, prepare, prepare_locked, sync_folder,
};
use self::plan::{Change, What};
use self::read::LogReader;
use self::recover::{Recovered, create, recover};
use self::shared::{Live, Shared, Writer, closed};
use crate::watch::{Queue, QueueWatch, Source, locked};
use crate::{
    Expect, Extent, Page, Part, Position, Record, Revision, ScanPage, Sequence, Store, StoreError,
    Versioned, Want, Watch, WatchFrom, Write, check_batch, check_bucket, check_commit, check_key,
    check_positions, check_value,
};

/// Revisions of one opening of the store; each begins where no earlier one can have got.
const REVISIONS_PER_START_BITS: u32 = 40;

/// When a commit is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// When the disk has it: it survives a power cut.
    #[default]
    Fsync,
    /// When the kernel has it: it survives the end of the process, not that of the system.
    Os,
}

/// How a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskOptions {
    /// When a commit is done.
    pub durability: Durability,
    /// Most bytes on disk; a commit that appends to the log is refused beyond it. One that does not
    /// is what makes room, and may take a little more.
    pub store_bytes_max: u64,
}

impl Default for DiskOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            store_bytes_max: u64::MAX,
        }
    }
}

/// Why a store is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To be written to.
    Serve(DiskOptions),
    /// To be looked at.
    Inspect,
}

/// A [`Store`] on disk.
pub struct DiskStore {
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
    options: DiskOptions,
    /// Nothing is written.
    inspects: bool,
    opened: Opened,
    /// Released last, by the system, when this store or its process ends.
    _lock: File,
}

impl DiskStore {
    /// Opens the store in `folder`; creates both if they are not there.
    ///
    /// # Errors
    /// See [`OpenError`]; nothing was changed but the end of a journal that a crash had left torn.
    pub fn open(folder: &Path, options: DiskOptions) -> Result<Self, OpenError> {
        Self::open_for(folder, Purpose::Serve(options))
    }

    fn open_for(folder: &Path, purpose: Purpose) -> Result<Self, OpenError> {
        Self::open_with(folder, purpose, MIGRATIONS)
    }

    fn open_with(
        folder: &Path,
        purpose: Purpose,
        migrations: &[Migration],
    ) -> Result<Self, OpenError> {
        let prepared = prepare(folder, migrations)?;
        let store = Self {
            shared: Arc::new(Shared::new(folder)),
            writer: Mutex::default(),
            options: match purpose {
                Purpose::Serve(options) => options,
                Purpose::Inspect => DiskOptions::default(),
            },
            inspects: purpose == Purpose::Inspect,
            opened: prepared.opened,
            _lock: prepared.lock,
        };
        let mut writer = locked(&store.writer);
        let live = store.start(&mut writer, store.opened.created)?;
        *write_lock(&store.shared.gate) = Ok(live);
        if store.opened.created {
            write_lock(&store.shared.index).counted = true;
        }
        drop(writer);
        Ok(store)
    }

    /// What opening it has found.
    #[must_use]
    pub fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Closes the store and opens it again in place, after [`StoreError::DiskFull`]; then apply the
    /// commit that failed once more. Takers stay counted. Fails as long as the disk is full: try
    /// again.
    ///
    /// # Errors
    /// As [`DiskStore::open`]; the store stays closed then.
    pub fn reopen(&self) -> Result<(), OpenError> {
        let mut writer = locked(&self.writer);
        // Readers wait until it is open again.
        let mut gate = write_lock(&self.shared.gate);
        let before = self.let_go(&mut gate);
        let prepared = prepare_locked(&self.shared.folder, MIGRATIONS);
        let started = prepared.and_then(|_| self.start(&mut writer, false));
        let mut index = write_lock(&self.shared.index);
        match started {
            Ok(live) => {
                index.inherit(&before);
                *gate = Ok(live);
                Ok(())
            }
            Err(error) => {
                // For the next attempt.
                *index = before;
                *gate = Err(match &error {
                    OpenError::DiskFull { .. } => StoreError::DiskFull,
                    OpenError::Corrupt { place, lost } => StoreError::Corrupt {
                        place: place.clone(),
                        lost: lost.clone(),
                    },
                    error => StoreError::Broken {
                        cause: error.to_string(),
                    },
                });
                Err(error)
            }
        }
    }

    /// Lets go of the database. What memory knew of the log.
    fn let_go(&self, gate: &mut Result<Live, StoreError>) -> Index {
        let index = std::mem::take(&mut *write_lock(&self.shared.index));
        self.shared.replace_buckets(HashMap::new());
        // Its handles first: the engine waits for its threads, and its lock is with the handles.
        let index = index.without_keyspaces();
        *gate = Err(closed());
        index
    }

    /// Opens the database of a prepared folder.
    fn start(&self, writer: &mut Writer, is_new: bool) -> Result<Live, OpenError> {
        let folder = &self.shared.folder;
        let engine = Engine::open(folder, self.options.durability)?;
        let place = |error| open_error(folder, error);
        let found = Format::read(folder)?;
        let format = match found {
            Some(found) => Format {
                durability: self.options.durability,
                ..found
            },
            None => Format::new(self.options.durability),
        };
        if is_new {
            create(&engine).map_err(place)?;
            // The engine's folder is there for good before `format` says so.
            sync_folder(folder).map_err(|error| failed(folder, &error))?;
        }
        if found != Some(format) && !self.inspects {
            format.write(folder)?;
        }
        let recovered = recover(&engine).map_err(place)?;
        self.take_over(engine, format, recovered, writer)
            .map_err(place)
    }

    fn take_over(
        &self,
        engine: Engine,
        format: Format,
        recovered: Recovered,
        writer: &mut Writer,
    ) -> Result<Live, StoreError> {
        let live = Live {
            engine,
            notes: recovered.notes,
            ends: recovered.ends,
            ids: recovered.ids,
            mark: format.mark,
        };
        let starts = recovered.starts + 1;
        if !self.inspects {
            for orphan in recovered.orphans {
                live.engine.delete(orphan)?;
            }
            commit::write_notes(&live, &[Note::Starts(starts)], &[])?;
        }
        writer.revision = writer.revision.max(starts << REVISIONS_PER_START_BITS);
        writer.known = recovered.known;
        writer.next_end = commit::next_end(&live)?;
        writer.stopped = None;
        self.shared.replace_buckets(recovered.buckets);
        *write_lock(&self.shared.index) = recovered.index;
        self.shared.measure();
        Ok(live)
    }

    fn reader<T>(
        &self,
        read: impl FnOnce(LogReader<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.shared.with(|live| {
            read(LogReader {
                engine: &live.engine,
                index: &self.shared.index,
            })
        })
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.let_go(&mut write_lock(&self.shared.gate));
    }
}

impl Store for DiskStore {
    fn commit(&self, writes: Vec<Write>, now: SystemTime) -> Result<Vec<Position>, StoreError> {
        check_commit(&writes)?;
        let release = |write: &Write| match write {
            Write::Release(position) => Some(*position),
            _ => None,
        };
        let released: Vec<_> = writes.iter().filter_map(release).collect();
        self.write(Some(now), &released, |plan| plan.add_all(writes))
    }

    fn append(&self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        check_batch(&batch)?;
        self.write(None, &[], |plan| {
            batch
                .iter()
                .map(|record| plan.append(None, record))
                .collect()
        })
    }

    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        self.reader(|log| log.page(part, from, max, want))
    }

    fn read_exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        check_positions(positions)?;
        self.reader(|log| log.exact(positions))
    }

    fn recount(&self, live: &[(Position, u32)]) -> Result<(), StoreError> {
        let writer = locked(&self.writer);
        write_lock(&self.shared.index).recount(live);
        let now = writer.now;
        self.sweep(writer, now)
    }

    fn bytes(&self) -> u64 {
        self.shared.usage()
    }

    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        self.trim_part(part, below)
    }

    fn head(&self, part: Part) -> Result<Extent, StoreError> {
        Ok(read_lock(&self.shared.index).extent(part))
    }

    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        check_bucket(bucket)?;
        check_key(key)?;
        self.shared.with(|live| match self.shared.bucket(bucket) {
            Some(found) => found.get(&live.engine, &Bytes::copy_from_slice(key), now),
            None => Ok(None),
        })
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
        let end = end.transpose()?;
        let key = Bytes::copy_from_slice(key);
        self.write(Some(now), &[], |plan| {
            if expect != Expect::Any {
                let current = plan.current(bucket, &key)?;
                expect.check(current)?;
            }
            let bucket = plan.bucket(bucket)?;
            let what = What::Put { value, end };
            plan.change(Change { bucket, key, what })
        })
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
        let key = Bytes::copy_from_slice(key);
        self.write(Some(now), &[], |plan| {
            let current = plan.current(bucket, &key)?;
            expect.check(current)?;
            if current.is_none() {
                return Ok(None);
            }
            let bucket = plan.bucket(bucket)?;
            let what = What::Delete { expired: false };
            plan.change(Change { bucket, key, what }).map(Some)
        })
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
        self.shared.with(|live| match self.shared.bucket(bucket) {
            Some(found) => found.scan(&live.engine, prefix, after, max, now),
            None => Ok(ScanPage::default()),
        })
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
        let writer = locked(&self.writer);
        self.shared.add_watch(Arc::clone(&queue))?;
        let until = Revision(writer.revision);
        let source = Arc::clone(&self.shared) as Arc<dyn Source>;
        Ok(Box::new(QueueWatch::new(source, queue, until, from, now)))
    }

    fn expire(&self, now: SystemTime) -> Result<usize, StoreError> {
        self.expire_due(now)
    }
}

fn open_error(folder: &Path, error: StoreError) -> OpenError {
    let place = folder.display().to_string();
    match error {
        StoreError::Corrupt { place, lost } => OpenError::Corrupt { place, lost },
        StoreError::DiskFull => OpenError::DiskFull { place },
        error => OpenError::Io {
            place,
            cause: error.to_string(),
        },
    }
}

/// No code that can panic runs under these locks, so a poisoned one is still whole.
fn read_lock<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write_lock<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
