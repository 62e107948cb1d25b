//! The engine, fjall, with this store's limits; the only file that knows its options and errors.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fjall::config::{BlockSizePolicy, CompressionPolicy, PinningPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
};

use super::Durability;
use super::limits::{
    BLOCK_CACHE_BYTES, BUCKET_MEMTABLE_BYTES, JOURNALS_BYTES, NOTES_MEMTABLE_BYTES, OPEN_FILES_MAX,
    SEGMENT_MEMTABLE_BYTES, UNMERGED_TABLES_MAX, UNWRITTEN_MEMTABLES_MAX, WORKER_THREADS,
};
use super::open::{OpenError, database, failed, is_disk_full, means_full, sync_folder};
use crate::StoreError;

const TABLE_BLOCK_BYTES: u32 = 4096;
/// How often the engine is asked whether it has caught up.
const ROOM_POLL: Duration = Duration::from_millis(1);

/// An open database.
pub(super) struct Engine {
    db: Database,
    folder: PathBuf,
    persist: PersistMode,
}

/// What a keyspace is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Notes,
    Bucket,
    Segment,
}

impl Engine {
    /// Opens the database in a folder that was prepared.
    pub(super) fn open(folder: &Path, durability: Durability) -> Result<Self, OpenError> {
        let path = database(folder);
        // The engine panics on some of the things that it does not expect to find in its files.
        let open = AssertUnwindSafe(|| {
            Database::builder(&path)
                .cache_size(BLOCK_CACHE_BYTES)
                .max_cached_files(Some(OPEN_FILES_MAX))
                .max_journaling_size(JOURNALS_BYTES)
                .worker_threads(WORKER_THREADS)
                .journal_compression(CompressionType::None)
                .open()
        });
        let db = match std::panic::catch_unwind(open) {
            Ok(opened) => opened.map_err(|error| open_error(&path, error))?,
            Err(_) => {
                return Err(OpenError::Corrupt {
                    place: path.display().to_string(),
                    lost: "the engine gave up on it".to_owned(),
                });
            }
        };
        let persist = match durability {
            Durability::Fsync => PersistMode::SyncData,
            Durability::Os => PersistMode::Buffer,
        };
        let folder = folder.to_path_buf();
        Ok(Self {
            db,
            folder,
            persist,
        })
    }

    pub(super) fn database(&self) -> &Database {
        &self.db
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The keyspace of this name if it is there.
    pub(super) fn existing(&self, name: &str) -> Result<Option<Keyspace>, StoreError> {
        if !self.db.keyspace_exists(name) {
            return Ok(None);
        }
        let found = self.db.keyspace(name, KeyspaceCreateOptions::default);
        found.map(Some).map_err(|error| self.error(name, error))
    }

    /// The keyspace of this name; a new one is durable before anything is written to it.
    pub(super) fn keyspace(&self, name: &str, kind: Kind) -> Result<Keyspace, StoreError> {
        let is_new = !self.db.keyspace_exists(name);
        let opened = self.db.keyspace(name, || options(kind));
        let keyspace = opened.map_err(|error| self.error(name, error))?;
        if is_new {
            // The engine does not sync the name of a new keyspace's folder.
            let folder = database(&self.folder).join("keyspaces");
            sync_folder(&folder).map_err(|error| self.error(name, error.into()))?;
        }
        Ok(keyspace)
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = self.db.list_keyspace_names();
        names.iter().map(ToString::to_string).collect()
    }

    pub(super) fn batch(&self) -> fjall::OwnedWriteBatch {
        self.db.batch().durability(Some(self.persist))
    }

    /// Commits a batch; it is synced even if others are not.
    pub(super) fn commit_synced(&self, batch: fjall::OwnedWriteBatch) -> Result<(), StoreError> {
        self.commit(batch.durability(Some(PersistMode::SyncData)))
    }

    pub(super) fn commit(&self, batch: fjall::OwnedWriteBatch) -> Result<(), StoreError> {
        batch.commit().map_err(|error| self.error("journal", error))
    }

    /// Waits until the engine has written enough of what a keyspace holds in memory.
    ///
    /// It would wait itself, within the commit; but for ever, if what it waits for has failed.
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine has no event for it; this is the storage thread, whose callers wait anyway"
    )]
    pub(super) fn wait_for_room(&self, keyspace: &Keyspace) -> Result<(), StoreError> {
        while keyspace.sealed_memtable_count() >= UNWRITTEN_MEMTABLES_MAX
            || keyspace.tree.l0_run_count() >= UNMERGED_TABLES_MAX
        {
            let alive = self.db.persist(PersistMode::Buffer);
            alive.map_err(|error| self.error("journal", error))?;
            std::thread::sleep(ROOM_POLL);
        }
        Ok(())
    }

    pub(super) fn delete(&self, keyspace: Keyspace) -> Result<(), StoreError> {
        let name = keyspace.name().to_string();
        let deleted = self.db.delete_keyspace(keyspace);
        deleted.map_err(|error| self.error(&name, error))
    }

    /// What an error of the engine means for the store.
    pub(super) fn error(&self, place: &str, error: fjall::Error) -> StoreError {
        use fjall::{Error, LsmError};
        let place = format!("{}: {place}", self.folder.display());
        match error {
            Error::Io(error) | Error::Storage(LsmError::Io(error)) if means_full(&error) => {
                StoreError::DiskFull
            }
            // Its threads fail for a reason that they do not tell.
            Error::Poisoned if is_disk_full(&self.folder) => StoreError::DiskFull,
            Error::Storage(
                error @ (LsmError::ChecksumMismatch { .. }
                | LsmError::InvalidHeader(_)
                | LsmError::InvalidTag(_)
                | LsmError::InvalidTrailer
                | LsmError::Unrecoverable),
            ) => StoreError::Corrupt {
                place,
                lost: format!("a table of it cannot be read ({error})"),
            },
            error => StoreError::Broken {
                cause: format!("{place}: {error}"),
            },
        }
    }
}

fn open_error(path: &Path, error: fjall::Error) -> OpenError {
    use fjall::{Error, LsmError};
    match error {
        Error::Io(error) | Error::Storage(LsmError::Io(error))
            if error.kind() != std::io::ErrorKind::NotFound
                && error.kind() != std::io::ErrorKind::UnexpectedEof =>
        {
            failed(path, &error)
        }
        Error::Locked => OpenError::Locked {
            folder: path.display().to_string(),
        },
        error => OpenError::Corrupt {
            place: path.display().to_string(),
            lost: format!("the engine cannot read it ({error})"),
        },
    }
}

fn options(kind: Kind) -> KeyspaceCreateOptions {
    let memtable = match kind {
        Kind::Notes => NOTES_MEMTABLE_BYTES,
        Kind::Bucket => BUCKET_MEMTABLE_BYTES,
        Kind::Segment => SEGMENT_MEMTABLE_BYTES,
    };
    KeyspaceCreateOptions::default()
        .max_memtable_size(memtable)
        .data_block_size_policy(BlockSizePolicy::all(TABLE_BLOCK_BYTES))
        .data_block_compression_policy(CompressionPolicy::disabled())
        .index_block_compression_policy(CompressionPolicy::disabled())
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
}
