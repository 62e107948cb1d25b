//! The folder a broker stands on: the data folder, or with `--dev` one for the admin socket only.

use std::fs;
use std::path::PathBuf;

use moat_config::Config;

use crate::account::Account;
use crate::data_folder::{self, DataPlace, FolderLock};
use crate::exit::Failure;
use crate::first_start::{self, Prepared};
use crate::service::watch::Watch;

/// Where the broker stands: its folder, and what is known of it.
pub(crate) struct Ground {
    /// The data folder, or the one of the socket with `--dev`.
    pub(crate) folder: PathBuf,
    /// `None` with `--dev`.
    pub(crate) prepared: Option<Prepared>,
    /// What the next command needs to find the folder.
    pub(crate) data_argument: String,
    _lock: Option<FolderLock>,
    _temporary: Option<TemporaryFolder>,
}

impl Ground {
    /// The data folder, made if it is not there.
    ///
    /// # Errors
    /// As [`first_start::prepare`].
    pub(crate) fn prepare(
        place: &DataPlace,
        config: &Config,
        account: Option<&Account>,
    ) -> Result<Self, Failure> {
        let is_root = rustix::process::geteuid().is_root();
        let also = account
            .filter(|_| is_root)
            .map(|account| account.uid.as_raw());
        let (prepared, lock) = first_start::prepare(&place.path, config, also)?;
        Ok(Self {
            folder: place.path.clone(),
            prepared: Some(prepared),
            data_argument: place.arguments(),
            _lock: Some(lock),
            _temporary: None,
        })
    }

    /// Nothing is kept, so the folder holds the socket only: the named one, or one that goes at the end.
    ///
    /// # Errors
    /// There is no place for it.
    pub(crate) fn dev(place: &DataPlace) -> Result<Self, Failure> {
        if !place.is_named {
            let temporary = TemporaryFolder::create()?;
            let folder = temporary.0.clone();
            let named = DataPlace::new(folder.clone(), None);
            return Ok(Self {
                folder,
                prepared: None,
                data_argument: named.arguments(),
                _lock: None,
                _temporary: Some(temporary),
            });
        }
        if !data_folder::exists(&place.path)? {
            data_folder::create(&place.path).map_err(|error| {
                Failure::failed(format!("cannot make {}: {error}", place.path.display()))
            })?;
        }
        data_folder::check_owner(&place.path, None)?;
        Ok(Self {
            folder: place.path.clone(),
            prepared: None,
            data_argument: place.arguments(),
            _lock: Some(data_folder::lock(&place.path)?),
            _temporary: None,
        })
    }

    /// Whether this is `--dev`.
    pub(crate) fn is_dev(&self) -> bool {
        self.prepared.is_none()
    }

    /// The files that can be read again, as they are now.
    pub(crate) fn watch(&self, config: &Config) -> Watch {
        if self.is_dev() {
            Watch::nothing()
        } else {
            Watch::of(config, &self.folder)
        }
    }
}

/// A folder that goes with the process.
struct TemporaryFolder(PathBuf);

impl TemporaryFolder {
    fn create() -> Result<Self, Failure> {
        let own = |path: &PathBuf| data_folder::check_owner(path, None).is_ok();
        let parent = std::env::var_os("XDG_RUNTIME_DIR")
            .map(PathBuf::from)
            .filter(own)
            .unwrap_or_else(std::env::temp_dir);
        let path = parent.join(format!("moat-dev-{}", std::process::id()));
        data_folder::create(&path).map_err(|error| {
            Failure::failed(format!(
                "cannot make {} for the admin socket: {error}; name a folder with --data",
                path.display()
            ))
        })?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
