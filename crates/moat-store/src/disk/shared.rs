//! What readers, the writer and watches of a disk store share.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use fjall::Keyspace;

use super::buckets::BucketHandle;
use super::engine::Engine;
use super::index::{Index, KnownIds};
use super::journal::{MARK_BYTES, MARK_KEY};
use super::{read_lock, write_lock};
use crate::watch::{Queue, Source, WATCHES_MAX, locked};
use crate::{Event, Part, ScanPage, StoreError};

/// The open database.
pub(super) struct Live {
    pub(super) engine: Engine,
    pub(super) notes: Keyspace,
    pub(super) ends: Keyspace,
    pub(super) ids: Keyspace,
    /// See [`super::journal`].
    pub(super) mark: [u8; MARK_BYTES],
}

impl Live {
    /// A batch, with its mark.
    pub(super) fn batch(&self) -> fjall::OwnedWriteBatch {
        let mut batch = self.engine.batch();
        batch.insert(&self.notes, MARK_KEY, &self.mark[..]);
        batch
    }
}

/// Locks are taken in this order: the writer's, the gate, then one of the others at a time.
pub(super) struct Shared {
    pub(super) folder: PathBuf,
    /// Whoever uses the database holds it for reading; it is replaced when nobody does. An error: the
    /// store is closed, or could not be opened again.
    pub(super) gate: RwLock<Result<Live, StoreError>>,
    /// Held for moments only.
    pub(super) index: RwLock<Index>,
    buckets: RwLock<HashMap<Arc<str>, Arc<BucketHandle>>>,
    watches: Mutex<Vec<Arc<Queue>>>,
    /// Bytes on disk when they were measured last, and those written since.
    usage: AtomicU64,
}

/// What only the writer needs.
#[derive(Default)]
pub(super) struct Writer {
    /// The latest revision.
    pub(super) revision: u64,
    pub(super) known: HashMap<Part, KnownIds>,
    /// No value ends before; `None`: none ends.
    pub(super) next_end: Option<u64>,
    /// Bytes written since the store was measured.
    pub(super) written: u64,
    /// Why nothing can be written until the store is opened again.
    pub(super) stopped: Option<StoreError>,
    /// The latest time that a caller gave.
    pub(super) now: Option<SystemTime>,
}

impl Shared {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_path_buf(),
            gate: RwLock::new(Err(closed())),
            index: RwLock::default(),
            buckets: RwLock::default(),
            watches: Mutex::default(),
            usage: AtomicU64::new(0),
        }
    }

    /// Runs with the database open.
    pub(super) fn with<T>(
        &self,
        run: impl FnOnce(&Live) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match &*read_lock(&self.gate) {
            Ok(live) => run(live),
            Err(error) => Err(error.clone()),
        }
    }

    pub(super) fn bucket(&self, name: &str) -> Option<Arc<BucketHandle>> {
        read_lock(&self.buckets).get(name).cloned()
    }

    pub(super) fn buckets(&self) -> Vec<Arc<BucketHandle>> {
        let mut buckets: Vec<_> = read_lock(&self.buckets).values().cloned().collect();
        buckets.sort_by(|a, b| a.name.cmp(&b.name));
        buckets
    }

    pub(super) fn bucket_count(&self) -> usize {
        read_lock(&self.buckets).len()
    }

    pub(super) fn add_buckets(&self, buckets: Vec<Arc<BucketHandle>>) {
        if !buckets.is_empty() {
            let named = buckets
                .into_iter()
                .map(|bucket| (Arc::clone(&bucket.name), bucket));
            write_lock(&self.buckets).extend(named);
        }
    }

    pub(super) fn replace_buckets(&self, buckets: HashMap<Arc<str>, Arc<BucketHandle>>) {
        *write_lock(&self.buckets) = buckets;
    }

    /// Buckets that somebody watches; a new watch begins between two commits.
    pub(super) fn watched_buckets(&self) -> Vec<Box<str>> {
        let watches = locked(&self.watches);
        watches.iter().map(|queue| queue.bucket.clone()).collect()
    }

    pub(super) fn add_watch(&self, queue: Arc<Queue>) -> Result<(), StoreError> {
        let mut watches = locked(&self.watches);
        if watches.len() >= WATCHES_MAX {
            return Err(StoreError::TooManyWatches { limit: WATCHES_MAX });
        }
        watches.push(queue);
        Ok(())
    }

    pub(super) fn tell(&self, events: Vec<(Arc<str>, Event)>) {
        if events.is_empty() {
            return;
        }
        let watches = locked(&self.watches);
        for (bucket, event) in &events {
            for queue in &*watches {
                queue.push(bucket, event);
            }
        }
    }

    /// Bytes on disk, as far as is known.
    pub(super) fn usage(&self) -> u64 {
        self.usage.load(Ordering::Relaxed)
    }

    pub(super) fn add_usage(&self, bytes: u64) {
        self.usage.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes on disk, by a look at every file.
    pub(super) fn measure(&self) -> u64 {
        let bytes = folder_bytes(&self.folder);
        self.usage.store(bytes, Ordering::Relaxed);
        bytes
    }
}

impl Source for Shared {
    fn page(
        &self,
        queue: &Queue,
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        self.with(|live| match self.bucket(&queue.bucket) {
            Some(bucket) => bucket.scan(&live.engine, &queue.prefix, after, max, now),
            None => Ok(ScanPage::default()),
        })
    }

    fn leave(&self, queue: &Arc<Queue>) {
        locked(&self.watches).retain(|other| !Arc::ptr_eq(other, queue));
    }
}

pub(super) fn closed() -> StoreError {
    StoreError::Broken {
        cause: "it is closed".to_owned(),
    }
}

/// What the files in a folder take on disk; journals reserve more than they fill. Files come and go
/// meanwhile: one that is gone takes nothing.
fn folder_bytes(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
