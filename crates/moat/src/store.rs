//! The store on disk: opened and loaded for `moat start`.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moat_broker::{Clock, StorageSetup};
use moat_config::Durability;
use moat_events::{Event, EventSender};
use moat_store::disk::{self, DiskOptions, DiskStore, OpenError};
use moat_store::layout::{self, Load};
use moat_store::{Store, StoreError};

use crate::data_folder::FOLDER_MODE;
use crate::exit::Failure;

/// Opens the store that the configuration names and reads what is in it; none with `durability = "none"`.
///
/// # Errors
/// It cannot be opened or is damaged: which folder, and what to do.
pub(crate) fn open(
    config: &moat_config::Store,
    events: &EventSender,
) -> Result<Option<StorageSetup>, Failure> {
    let durability = match config.durability {
        Durability::Fsync => disk::Durability::Fsync,
        Durability::Os => disk::Durability::Os,
        Durability::None => return Ok(None),
    };
    let started = Instant::now();
    make_folder(&config.path).map_err(|error| {
        let path = config.path.display();
        Failure::failed(format!(
            "cannot make the folder of the store {path}: {error}; store.path names another"
        ))
    })?;
    let options = DiskOptions {
        durability,
        // The packet threads keep to the limit: so what makes room is always written.
        ..DiskOptions::default()
    };
    let store = DiskStore::open(&config.path, options).map_err(Failure::failed)?;
    let store = Arc::new(store);
    tell_torn(&store, events);
    let Load { restored, tally } = layout::load(&*store, Clock::start().now())
        .map_err(|error| failed(&config.path, &error))?;
    events.send(Event::StoreOpened {
        path: config.path.display().to_string(),
        durability: config.durability.word().to_owned(),
        sessions: tally.sessions,
        retained: tally.retained,
        messages: tally.entries,
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    let again = Arc::clone(&store);
    Ok(Some(StorageSetup {
        store: store as Arc<dyn Store>,
        reopen: Box::new(move || again.reopen().map_err(not_opened)),
        restored,
        commit_bytes_max: config.commit_bytes_max.get(),
        commit_wait: Duration::from_millis(config.commit_wait_ms.into()),
        store_bytes_max: u64::try_from(config.log_bytes_max.get()).unwrap_or(u64::MAX),
    }))
}

/// Opens the store for a command, while no broker runs.
///
/// # Errors
/// It cannot be opened: which folder, and what to do.
pub(crate) fn open_disk(config: &moat_config::Store) -> Result<Box<dyn Store>, Failure> {
    let durability = match config.durability {
        Durability::Os => disk::Durability::Os,
        Durability::Fsync | Durability::None => disk::Durability::Fsync,
    };
    let options = DiskOptions {
        durability,
        ..DiskOptions::default()
    };
    let store = DiskStore::open(&config.path, options).map_err(Failure::failed)?;
    Ok(Box::new(store))
}

/// Refuses to open the store of another user for a command: its files would become this user's, and the broker could not write to
/// them any more.
///
/// # Errors
/// Whose it is, and how to run the command.
pub(crate) fn check_owner(folder: &Path) -> Result<(), Failure> {
    let Ok(metadata) = std::fs::metadata(folder) else {
        // That it is not there is for others to say.
        return Ok(());
    };
    let (owner, user) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(Failure::failed(format!(
        "the store in {} belongs to user id {owner}, and this is user id {user}: run the command as that user, for example with \
         sudo -u '#{owner}'",
        folder.display()
    )))
}

/// Makes the folder, for nobody else to look into. When this returns, a power cut leaves it there: a store whose folder goes would lose
/// everything in it, however often that was synced.
fn make_folder(folder: &Path) -> io::Result<()> {
    let parent = match folder.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let is_new = !folder.is_dir();
    if is_new {
        if !parent.is_dir() {
            make_folder(parent)?;
        }
        DirBuilder::new().mode(FOLDER_MODE).create(folder)?;
    }
    // Not only a new one: the start that made it may have ended before it came to this.
    match File::open(parent).and_then(|parent| parent.sync_all()) {
        // Somebody else has made it there, in a folder that is not for moat to open.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_new => Ok(()),
        synced => synced,
    }
}

fn tell_torn(store: &DiskStore, events: &EventSender) {
    if let Some(torn) = &store.opened().torn {
        events.send(Event::StoreTorn {
            file: torn.file.display().to_string(),
            bytes: torn.bytes,
        });
    }
}

fn failed(folder: &Path, error: &layout::LoadError) -> Failure {
    Failure::failed(format!("the store in {}: {error}", folder.display()))
}

fn not_opened(error: OpenError) -> StoreError {
    match error {
        OpenError::DiskFull { .. } => StoreError::DiskFull,
        error => StoreError::Broken {
            cause: error.to_string(),
        },
    }
}
