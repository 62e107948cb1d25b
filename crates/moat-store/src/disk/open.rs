//! Opening a store's folder: the lock, the format, and a look at the journals before the engine's.
//!
//! The folder holds `lock`, `format` (this store's format and durability, text) and `db`, the
//! engine's folder. `format` is written last when a store is created, so a folder without one
//! was left by a start that did not get far.

use std::fs::{File, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::journal::{self, Expected, MARK_BYTES, Survey, TornTail};
use super::{Durability, manifest};

/// With less than this free, a failure of the engine's threads is put down to a full disk: it may write
/// tables of 64 MiB.
const FREE_BYTES_MIN: u64 = 96 * 1024 * 1024;
/// The format this version writes.
pub const FORMAT: u32 = 1;
const FORMAT_FILE_BYTES_MAX: u64 = 4096;
/// Written and taken back to see whether a disk is full, in bytes.
const PROBE_BYTES: usize = 256 * 1024;

/// Why a store could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open, or this one.
    #[error("{folder}: another moat uses this store: stop it, or give this one a store of its own")]
    Locked {
        /// The store's folder.
        folder: String,
    },
    /// The folder cannot be written to.
    #[error(
        "{place}: the store cannot be written to ({cause}): give the user of moat the right to write there, and mount its file system read-write"
    )]
    ReadOnly {
        /// What could not be written.
        place: String,
        /// The system's words.
        cause: String,
    },
    /// A later moat wrote it.
    #[error(
        "{folder}: the store has format {found}, this version of moat knows up to {known}: use the version that wrote it, or a later one"
    )]
    NewerFormat {
        /// The store's folder.
        folder: String,
        /// The format that is there.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
    /// An earlier moat wrote it, and nobody knows how to bring it up to date.
    #[error(
        "{folder}: the store has format {found}, and not {known}: start moat once to bring it up to date; if that cannot, start the versions between them once, in order"
    )]
    OlderFormat {
        /// The store's folder.
        folder: String,
        /// The format that is there.
        found: u32,
        /// What it should become.
        known: u32,
    },
    /// Bytes that are not those that were written, or files that are missing.
    #[error(
        "the store is damaged: {place}: {lost}; `moat store verify` lists everything, a backup brings it back"
    )]
    Corrupt {
        /// The file, or the bucket and key, or the part and record.
        place: String,
        /// What is lost.
        lost: String,
    },
    /// No room.
    #[error("{place}: no space is left on the disk of the store: free some")]
    DiskFull {
        /// What could not be written.
        place: String,
    },
    /// There is no store, and none was to be created.
    #[error("{folder}: there is no store here")]
    Missing {
        /// The folder.
        folder: String,
    },
    /// The system said no.
    #[error("{place}: {cause}")]
    Io {
        /// The file or folder.
        place: String,
        /// The system's words.
        cause: String,
    },
}

/// What opening a store has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// It was not there before.
    pub created: bool,
    /// The end of the journal that a crash had left behind, and that was cut off.
    pub torn: Option<TornTail>,
    /// The format it had before, if it was migrated.
    pub migrated_from: Option<u32>,
}

/// A step from one format to the next.
#[derive(Clone, Copy)]
pub(super) struct Migration {
    /// From this format to the one after.
    pub(super) from: u32,
    /// Changes the folder; may be interrupted and run again.
    pub(super) run: fn(&Path) -> Result<(), OpenError>,
}

/// Format 1 is the first.
pub(super) const MIGRATIONS: &[Migration] = &[];

/// A folder that was prepared for the engine.
pub(super) struct Prepared {
    pub(super) lock: File,
    pub(super) opened: Opened,
}

/// The engine's folder.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("db")
}

/// Takes the lock, and brings the folder into the state that the engine may see.
pub(super) fn prepare(folder: &Path, migrations: &[Migration]) -> Result<Prepared, OpenError> {
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, &error))?;
    }
    if !folder.join("format").exists() {
        // Whoever made the folder: it is there after a power cut only if the folder around it knows it for good.
        sync_way_to(folder)?;
    }
    let lock = lock(folder)?;
    let opened = prepare_locked(folder, migrations)?;
    Ok(Prepared { lock, opened })
}

/// Makes durable that a folder is where it is. A folder around it that this process may not read is left to the system.
fn sync_way_to(folder: &Path) -> Result<(), OpenError> {
    let whole = folder
        .canonicalize()
        .map_err(|error| failed(folder, &error))?;
    let mut around = whole.ancestors().skip(1);
    if let Some(parent) = around.next() {
        match sync_folder(parent) {
            Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                return Err(failed(parent, &error));
            }
            _ => {}
        }
    }
    for folder in around {
        // Mostly older than the store, and not always of a kind that can be synced.
        let _may_be_elsewhere = sync_folder(folder);
    }
    Ok(())
}

/// The lock and the format of a store that has to be there, and that this version understands.
pub(super) fn lock_existing(folder: &Path) -> Result<(File, Format), OpenError> {
    let name = || folder.display().to_string();
    if !folder.join("format").exists() {
        return Err(OpenError::Missing { folder: name() });
    }
    let lock = lock(folder)?;
    let format = Format::read(folder)?.ok_or_else(|| OpenError::Missing { folder: name() })?;
    if format.number < FORMAT {
        return Err(OpenError::OlderFormat {
            folder: name(),
            found: format.number,
            known: FORMAT,
        });
    }
    migrate(folder, format, &[])?;
    Ok((lock, format))
}

/// The same, with the lock in hand.
pub(super) fn prepare_locked(folder: &Path, migrations: &[Migration]) -> Result<Opened, OpenError> {
    let mut opened = Opened::default();
    let db = database(folder);
    let Some(format) = Format::read(folder)? else {
        opened.created = true;
        clear_unfinished(folder, &db)?;
        return Ok(opened);
    };
    opened.migrated_from = migrate(folder, format, migrations)?;
    if !db.is_dir() {
        return Err(OpenError::Corrupt {
            place: db.display().to_string(),
            lost: "the folder is missing, with everything in it".to_owned(),
        });
    }
    let survey = journal::survey(&db, &format.expected())?;
    first_damage(&survey)?;
    for folder in manifest::folders(&db.join("keyspaces"))? {
        manifest::tables(&folder)?;
    }
    if let Some(torn) = survey.torn {
        journal::cut(&torn)?;
        opened.torn = Some(torn);
    }
    Ok(opened)
}

/// A start that was interrupted before the store had anything leaves the engine's folder half made.
fn clear_unfinished(folder: &Path, db: &Path) -> Result<(), OpenError> {
    if !db.exists() {
        return Ok(());
    }
    let any = Expected {
        mark: [0; MARK_BYTES],
        in_order: false,
    };
    if journal::survey(db, &any).is_ok_and(|survey| survey.batches > 0) {
        return Err(OpenError::Corrupt {
            place: folder.join("format").display().to_string(),
            lost: "the file is missing, though the store has data".to_owned(),
        });
    }
    std::fs::remove_dir_all(db).map_err(|error| failed(db, &error))
}

fn first_damage(survey: &Survey) -> Result<(), OpenError> {
    match survey.damages.first() {
        None => Ok(()),
        Some((path, lost)) => Err(OpenError::Corrupt {
            place: path.display().to_string(),
            lost: lost.clone(),
        }),
    }
}

pub(super) fn lock(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let open = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = open.map_err(|error| failed(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
            folder: folder.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(failed(&path, &error)),
    }
}

fn migrate(
    folder: &Path,
    found: Format,
    migrations: &[Migration],
) -> Result<Option<u32>, OpenError> {
    let name = || folder.display().to_string();
    if found.number > FORMAT {
        return Err(OpenError::NewerFormat {
            folder: name(),
            found: found.number,
            known: FORMAT,
        });
    }
    let mut format = found;
    while format.number < FORMAT {
        let step = migrations.iter().find(|step| step.from == format.number);
        let Some(step) = step else {
            return Err(OpenError::OlderFormat {
                folder: name(),
                found: format.number,
                known: FORMAT,
            });
        };
        (step.run)(folder)?;
        format.number += 1;
        format.write(folder)?;
    }
    Ok((found.number < FORMAT).then_some(found.number))
}

/// What `format` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) number: u32,
    /// How the store was last written: whether a batch was synced before the next.
    pub(super) durability: Durability,
    /// By which the store knows its own batches.
    pub(super) mark: [u8; MARK_BYTES],
}

impl Format {
    /// Of a new store.
    pub(super) fn new(durability: Durability) -> Self {
        // The standard library seeds its hash tables from the system's random numbers.
        let random = || RandomState::new().build_hasher().finish().to_le_bytes();
        let mut mark = [0; MARK_BYTES];
        mark[..8].copy_from_slice(&random());
        mark[8..].copy_from_slice(&random());
        Self {
            number: FORMAT,
            durability,
            mark,
        }
    }

    /// What its journals are like.
    pub(super) fn expected(&self) -> Expected {
        Expected {
            mark: self.mark,
            in_order: self.durability == Durability::Fsync,
        }
    }

    /// `None`: there is no store.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, OpenError> {
        let path = folder.join("format");
        let size = match std::fs::metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        let text = match size {
            ..=FORMAT_FILE_BYTES_MAX => {
                std::fs::read(&path).map_err(|error| failed(&path, &error))?
            }
            _ => Vec::new(),
        };
        let parsed = std::str::from_utf8(&text).ok().and_then(Self::parse);
        parsed.map(Some).ok_or_else(|| OpenError::Corrupt {
            place: path.display().to_string(),
            lost: "it does not say which format the store has".to_owned(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "))
        };
        Some(Self {
            number: field("format")?.parse().ok()?,
            // A later format may know others: its number refuses it.
            durability: match field("durability") {
                Some("os") => Durability::Os,
                _ => Durability::Fsync,
            },
            mark: u128::from_str_radix(field("mark")?, 16).ok()?.to_be_bytes(),
        })
    }

    /// Written beside and moved into place, so that it is there in one piece or not at all.
    pub(super) fn write(self, folder: &Path) -> Result<(), OpenError> {
        let durability = match self.durability {
            Durability::Fsync => "fsync",
            Durability::Os => "os",
        };
        let mark = u128::from_be_bytes(self.mark);
        let text = format!(
            "format = {}\ndurability = {durability}\nmark = {mark:032x}\n",
            self.number
        );
        let (path, beside) = (folder.join("format"), folder.join("format.new"));
        let write = || {
            let mut file = File::create(&beside)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            sync_folder(folder)
        };
        write().map_err(|error| failed(&path, &error))
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether the disk has no room for a little file, or not enough for a table: what the engine's
/// threads write may be too large for a disk that is not full to the last byte.
pub(super) fn is_disk_full(folder: &Path) -> bool {
    let free = rustix::fs::statvfs(folder).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    if free.is_ok_and(|free| free < FREE_BYTES_MIN) {
        return true;
    }
    let path = folder.join("probe");
    let probe = || {
        let mut file = File::create(&path)?;
        file.write_all(&[1; PROBE_BYTES])?;
        file.sync_all()
    };
    let full = probe().is_err_and(|error| means_full(&error));
    let _ = std::fs::remove_file(&path);
    full
}

pub(super) fn means_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}

/// The error for what the system said about a file or folder.
pub(super) fn failed(path: &Path, error: &std::io::Error) -> OpenError {
    let place = path.display().to_string();
    let cause = error.to_string();
    match error.kind() {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            OpenError::ReadOnly { place, cause }
        }
        _ if means_full(error) => OpenError::DiskFull { place },
        _ => OpenError::Io { place, cause },
    }
}
