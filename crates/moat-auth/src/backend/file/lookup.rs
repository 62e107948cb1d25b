//! The decision about a user name and a password.

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use moat_policy::Identity;

use super::hash::StoredHash;
use super::table::{UserTable, UsersError};
use super::{Config, NAME};
use crate::{
    Authenticator, BackendError, ConnectRequest, Password, RejectReason, ReloadError, Verdict,
};

/// Users of a file, each with a password hash: Argon2id, or one of mosquitto's.
///
/// An unknown user costs the same work as a known one: a hash that fits nothing is computed. Only
/// then it answers [`Verdict::NotMine`], so that a later backend may know the name.
pub struct FileBackend {
    path: PathBuf,
    table: ArcSwap<UserTable>,
    work_kib: AtomicU64,
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBackend")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl FileBackend {
    /// Reads the users file.
    ///
    /// # Errors
    /// [`UsersError`], with the line for everything that is wrong with one.
    pub fn open(config: &Config) -> Result<Self, UsersError> {
        Ok(Self {
            table: ArcSwap::from_pointee(UserTable::read(&config.path)?),
            path: config.path.clone(),
            work_kib: AtomicU64::new(0),
        })
    }

    /// How many users there are now.
    #[must_use]
    pub fn users(&self) -> usize {
        self.table.load().len()
    }

    /// KiB that all password hashes so far have written or hashed: what logins cost.
    #[must_use]
    pub fn work_kib(&self) -> u64 {
        self.work_kib.load(Ordering::Relaxed)
    }

    fn fits(&self, hash: &StoredHash, password: &Password) -> Result<bool, BackendError> {
        self.work_kib
            .fetch_add(hash.cost().work_kib(), Ordering::Relaxed);
        hash.fits(password).map_err(|error| BackendError::Hash {
            backend: NAME,
            cause: error.to_string(),
        })
    }
}

impl Authenticator for FileBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn authenticate(&self, who: &ConnectRequest) -> Verdict {
        let (Some(username), Some(password)) = (&who.username, &who.password) else {
            return Verdict::NotMine;
        };
        if password.reveal().is_empty() {
            return Verdict::Reject(RejectReason::EmptyPassword);
        }
        let table = self.table.load_full();
        let (hash, known) = table.hash_for(username);
        match (self.fits(hash, password), known) {
            (Err(error), _) => Verdict::Unavailable(error),
            // A dummy that fits would be a miracle, and still nobody.
            (Ok(_), false) => Verdict::NotMine,
            (Ok(false), true) => Verdict::Reject(RejectReason::WrongPassword),
            (Ok(true), true) => Verdict::Accept(Identity::from_password(username.as_str())),
        }
    }

    fn may_know_user(&self, name: &str) -> bool {
        self.table.load().hash_for(name).1
    }

    fn warnings(&self) -> Vec<String> {
        self.table.load().warning(&self.path).into_iter().collect()
    }

    fn reload(&self) -> Result<(), ReloadError> {
        let table = UserTable::read(&self.path).map_err(|error| ReloadError {
            backend: NAME,
            problem: error.to_string(),
        })?;
        self.table.store(table.into());
        Ok(())
    }
}
