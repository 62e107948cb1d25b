//! Changing the users file, for the command line, while a broker reads it.
//!
//! The whole file is read, changed and put back by a rename, so a reader sees the old or the new
//! one. A lock file beside it keeps two commands apart: the users file itself is replaced, so a
//! lock on it would not.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use zeroize::Zeroizing;

use super::hash::StoredHash;
use super::table::{UserTable, UsersError, name_of, read_file};
use crate::password::random_bytes;
use crate::{NameError, Password, PasswordError, check_new_password, check_user_name};

/// Mode of the users file.
const USERS_MODE: u32 = 0o600;
/// How often a taken lock is tried again, with [`LOCK_PAUSE`] between: 10 s in all.
const LOCK_ATTEMPTS_MAX: u32 = 2000;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Why a change was not made. The file is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The password breaks a rule.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The file can't be read or holds an error; it is not written over.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// `add` of somebody who is there.
    #[error("user {name:?} exists: use `moat user passwd {name}` to set another password")]
    Exists {
        /// The user.
        name: String,
    },
    /// A change of somebody who isn't there.
    #[error("no user {name:?}: add it with `moat user add {name}`")]
    Unknown {
        /// The user.
        name: String,
    },
    /// The hash could not be computed.
    #[error("password hash failed: {cause}")]
    Hash {
        /// The library's message.
        cause: String,
    },
    /// Another command held the lock for the whole waiting time.
    #[error("{} is locked by another moat command: wait for it to end and repeat", .path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// No space left; the draft has been removed.
    #[error("no space left for {}: free some space and repeat the command; nothing was changed", .path.display())]
    DiskFull {
        /// The users file.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("can't write {}: {text}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The class of the failure.
        kind: io::ErrorKind,
        /// The system's own words.
        text: String,
    },
}

/// The changes a command can make. Comments and order are kept.
pub struct UserFile;

impl UserFile {
    /// Adds a user at the end; makes the file if there is none.
    ///
    /// # Errors
    /// [`EditError::Exists`] and the rules of names and passwords.
    pub fn add(path: &Path, name: &str, password: &Password) -> Result<(), EditError> {
        let line = user_line(name, password)?;
        change(path, |lines| {
            if position(lines, name).is_some() {
                return Err(EditError::Exists {
                    name: name.to_owned(),
                });
            }
            lines.push(line);
            Ok(())
        })
    }

    /// Replaces a user's password in its place.
    ///
    /// # Errors
    /// [`EditError::Unknown`] and the rules of passwords.
    pub fn set_password(path: &Path, name: &str, password: &Password) -> Result<(), EditError> {
        let line = user_line(name, password)?;
        change(path, |lines| {
            let place = position(lines, name).ok_or_else(|| EditError::Unknown {
                name: name.to_owned(),
            })?;
            lines[place] = line;
            Ok(())
        })
    }

    /// Removes a user.
    ///
    /// # Errors
    /// [`EditError::Unknown`].
    pub fn remove(path: &Path, name: &str) -> Result<(), EditError> {
        change(path, |lines| {
            let place = position(lines, name).ok_or_else(|| EditError::Unknown {
                name: name.to_owned(),
            })?;
            lines.remove(place);
            Ok(())
        })
    }

    /// The names in the file's order; nobody if there is no file.
    ///
    /// # Errors
    /// [`EditError::Users`] if the file is bad.
    pub fn list(path: &Path) -> Result<Vec<String>, EditError> {
        let lines = checked_lines(path)?;
        Ok(lines
            .iter()
            .filter_map(|line| name_of(line))
            .map(str::to_owned)
            .collect())
    }
}

/// The slow part (a password hash), done before the lock is taken.
fn user_line(name: &str, password: &Password) -> Result<String, EditError> {
    check_user_name(name)?;
    check_new_password(password)?;
    let hash = StoredHash::of(password).map_err(|e| EditError::Hash {
        cause: e.to_string(),
    })?;
    Ok(format!("{name}:{hash}"))
}

fn position(lines: &[String], name: &str) -> Option<usize> {
    lines.iter().position(|line| name_of(line) == Some(name))
}

fn change(
    path: &Path,
    edit: impl FnOnce(&mut Vec<String>) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let _lock = lock(path, LOCK_ATTEMPTS_MAX)?;
    let mut lines = checked_lines(path)?;
    edit(&mut lines)?;
    let mut text = Zeroizing::new(lines.join("\n"));
    if !text.is_empty() {
        text.push('\n');
    }
    // What is written is what the broker will accept: bounds included.
    UserTable::parse(path, text.as_bytes())?;
    replace(path, text.as_bytes()).map_err(|e| failure(path, &e))
}

/// The lines of a file that has no error: what a broken one meant is not guessed.
fn checked_lines(path: &Path) -> Result<Vec<String>, EditError> {
    let bytes = read_file(path)?.unwrap_or_default();
    UserTable::parse(path, &bytes)?;
    // The parse has checked that it is UTF-8.
    Ok(String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .collect())
}

#[expect(
    clippy::disallowed_methods,
    reason = "file locks have no wait with a limit, and only commands and start-up come here, never a packet thread"
)]
fn lock(path: &Path, attempts: u32) -> Result<File, EditError> {
    let lock_path = beside(path, ".lock");
    let opened = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(USERS_MODE)
        .open(&lock_path);
    let file = opened.map_err(|e| failure(&lock_path, &e))?;
    inherit_owner(&file, path).map_err(|e| failure(&lock_path, &e))?;
    for _ in 0..attempts {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(failure(&lock_path, &e)),
        }
    }
    Err(EditError::Locked { path: lock_path })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let random = random_bytes::<8>().map_err(io::Error::other)?;
    let draft = Draft(beside(
        path,
        &format!(".new-{:016x}", u64::from_be_bytes(random)),
    ));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(USERS_MODE)
        .open(&draft.0)?;
    inherit_owner(&file, path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft.0, path)?;
    File::open(folder_of(path))?.sync_all()
}

/// Gives `file` to the owner of the folder of `path`: what root writes, the broker must read after
/// it became its own user. Nobody else can give files away.
fn inherit_owner(file: &File, path: &Path) -> io::Result<()> {
    let (ours, wanted) = (file.metadata()?, fs::metadata(folder_of(path))?);
    let same = ours.uid() == wanted.uid() && ours.gid() == wanted.gid();
    if same || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A hidden name beside `path`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    folder_of(path).join(format!(".{name}{ending}"))
}

fn failure(path: &Path, error: &io::Error) -> EditError {
    let path = path.to_path_buf();
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            EditError::DiskFull { path }
        }
        kind => EditError::Io {
            path,
            kind,
            text: error.to_string(),
        },
    }
}

/// A temporary file; removed unless it was moved away.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_the_lock_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users");
        let _held = lock(&path, 1).unwrap();
        let second = lock(&path, 3).map(|_| ());
        assert_eq!(
            second,
            Err(EditError::Locked {
                path: folder.path().join(".users.lock")
            })
        );
    }
}
