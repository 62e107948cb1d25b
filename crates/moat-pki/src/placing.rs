//! Putting files where they belong: whole or not at all, on disk before anybody is told.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use zeroize::Zeroizing;

use crate::PkiError;
use crate::profile::{hex, random_bytes};

/// Mode of a private key file.
pub const KEY_MODE: u32 = 0o600;
/// Mode of certificates: public by nature.
pub(crate) const CERTIFICATE_MODE: u32 = 0o644;
const FOLDER_MODE: u32 = 0o700;
/// Largest file of the authority that is read whole, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 64 * 1024;

/// A folder under construction beside its final place; removed unless [`Self::publish`] succeeds.
pub(crate) struct NewFolder {
    building: PathBuf,
    place: PathBuf,
    /// Held locked, so that a later sweep can tell a living folder from one a crash left.
    _lock: File,
}

impl NewFolder {
    /// Makes an empty folder (mode 0700) beside `place`, after removing what crashed attempts left.
    pub(crate) fn beside(place: &Path) -> Result<Self, PkiError> {
        let (parent, prefix) = temporary_prefix(place)?;
        sweep(&parent, &prefix);
        let building = parent.join(format!("{prefix}{}", hex(&random_bytes::<8>()?)));
        let made = fs::DirBuilder::new().mode(FOLDER_MODE).create(&building);
        made.map_err(|e| PkiError::io("create", &building, &e))?;
        let lock = File::open(&building).map_err(|e| PkiError::io("open", &building, &e))?;
        inherit_owner(&lock, &parent).map_err(|e| PkiError::io("create", &building, &e))?;
        lock.try_lock().map_err(|_| PkiError::Locked {
            path: building.clone(),
        })?;
        Ok(Self {
            building,
            place: place.to_path_buf(),
            _lock: lock,
        })
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
        // The final path is the one the operator knows, so errors name that.
        write_new(&self.building.join(name), bytes, mode)
            .map_err(|e| PkiError::io("write", &self.place.join(name), &e))
    }

    /// Moves the finished folder to its place.
    pub(crate) fn publish(self) -> Result<(), PkiError> {
        sync_folder(&self.building)?;
        // A rename replaces an empty folder only, so an authority is never overwritten.
        fs::rename(&self.building, &self.place).map_err(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty
            | io::ErrorKind::AlreadyExists
            | io::ErrorKind::NotADirectory => PkiError::AlreadyExists {
                path: self.place.clone(),
            },
            _ => PkiError::io("create", &self.place, &e),
        })?;
        sync_folder(self.place.parent().unwrap_or(Path::new("/")))
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        // After a publish there is nothing under this name and the call does nothing.
        let _ = fs::remove_dir_all(&self.building);
    }
}

/// Writes `bytes` to `path`, replacing what is there in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let draft = Draft::write(path, bytes, mode)?;
    fs::rename(&draft.0, path).map_err(|e| PkiError::io("replace", path, &e))?;
    sync_folder(folder_of(path))
}

/// Writes `bytes` to `path` in one step; refuses if anything is there.
pub(crate) fn place_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PkiError> {
    let draft = Draft::write(path, bytes, mode)?;
    let moved = match renameat_with(CWD, &draft.0, CWD, path, RenameFlags::NOREPLACE) {
        // Network file systems know no RENAME_NOREPLACE; a hard link refuses as well.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::hard_link(&draft.0, path),
        other => other.map_err(io::Error::from),
    };
    moved.map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => PkiError::WouldOverwrite {
            path: path.to_path_buf(),
        },
        _ => PkiError::io("write", path, &e),
    })?;
    sync_folder(folder_of(path))
}

/// Reads a whole file, refusing one that is longer than any of ours.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, PkiError> {
    let length = fs::metadata(path)
        .map_err(|e| PkiError::io("read", path, &e))?
        .len();
    if length > FILE_BYTES_MAX {
        return Err(PkiError::Malformed {
            path: path.to_path_buf(),
            problem: "longer than 64 KiB",
        });
    }
    let bytes = fs::read(path).map_err(|e| PkiError::io("read", path, &e))?;
    Ok(Zeroizing::new(bytes))
}

/// Refuses a key file that others than its owner may touch.
pub(crate) fn check_key_mode(path: &Path) -> Result<(), PkiError> {
    let metadata = fs::metadata(path).map_err(|e| PkiError::io("read", path, &e))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(PkiError::KeyPermissions {
            path: path.to_path_buf(),
            mode,
        });
    }
    Ok(())
}

/// Makes a folder of mode 0700 and its parents, if it is not there.
pub(crate) fn ensure_folder(path: &Path) -> Result<(), PkiError> {
    let made = fs::DirBuilder::new()
        .mode(FOLDER_MODE)
        .recursive(true)
        .create(path);
    made.map_err(|e| PkiError::io("create", path, &e))
}

/// The folder a file is in; the current one for a bare name.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn sync_folder(path: &Path) -> Result<(), PkiError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|e| PkiError::io("sync", path, &e))
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    inherit_owner(&file, folder_of(path))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Gives `file` to the owner of its folder.
///
/// A command run as root must leave files that the broker can read after it became its own user.
/// Only root can give files away; for everybody else there is nothing to do.
fn inherit_owner(file: &File, folder: &Path) -> io::Result<()> {
    let (ours, wanted) = (file.metadata()?, fs::metadata(folder)?);
    let same = ours.uid() == wanted.uid() && ours.gid() == wanted.gid();
    if same || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fchown(file, Some(wanted.uid()), Some(wanted.gid()))
}

/// Where temporary names for `place` go and how they begin.
fn temporary_prefix(place: &Path) -> Result<(PathBuf, String), PkiError> {
    let name = place
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| PkiError::Io {
            doing: "create",
            path: place.to_path_buf(),
            kind: io::ErrorKind::InvalidInput,
            text: "the last part of the path is no ordinary name".into(),
        })?;
    Ok((folder_of(place).to_path_buf(), format!(".{name}.new-")))
}

/// Removes folders of crashed attempts: those nobody holds locked. Failing to is no failure.
fn sweep(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        let ours = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(prefix));
        if ours && path.is_dir() && File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok())
        {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

/// A temporary file beside its final place; removed unless it was moved away.
struct Draft(PathBuf);

impl Draft {
    fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<Self, PkiError> {
        let (parent, prefix) = temporary_prefix(path)?;
        let draft = Self(parent.join(format!("{prefix}{}", hex(&random_bytes::<8>()?))));
        write_new(&draft.0, bytes, mode).map_err(|e| PkiError::io("write", path, &e))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_in(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn place_new_never_overwrites_and_leaves_no_draft() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        place_new(&path, b"one", KEY_MODE).unwrap();
        assert_eq!(
            place_new(&path, b"two", KEY_MODE),
            Err(PkiError::WouldOverwrite { path: path.clone() })
        );
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names_in(folder.path()), ["a"]);
    }

    #[test]
    fn files_made_by_root_belong_to_the_owner_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let owner = if is_root {
            12_345
        } else {
            rustix::process::geteuid().as_raw()
        };
        std::os::unix::fs::chown(folder.path(), Some(owner), None).unwrap();
        let file = folder.path().join("a.key");
        replace(&file, b"x", KEY_MODE).unwrap();
        let place = folder.path().join("pki");
        let new = NewFolder::beside(&place).unwrap();
        new.write("b.key", b"x", KEY_MODE).unwrap();
        new.publish().unwrap();
        for path in [file, place.clone(), place.join("b.key")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), owner, "{path:?}");
        }
    }

    #[test]
    fn replace_swaps_contents_and_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        replace(&path, b"new", KEY_MODE).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            KEY_MODE
        );
        assert_eq!(names_in(folder.path()), ["a"]);
    }

    #[test]
    fn a_folder_that_is_not_published_disappears() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pki");
        let new = NewFolder::beside(&place).unwrap();
        new.write("a.key", b"x", KEY_MODE).unwrap();
        drop(new);
        assert_eq!(names_in(folder.path()), Vec::<String>::new());
    }

    #[test]
    fn the_sweep_takes_crashed_folders_and_spares_living_ones() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("pki");
        let crashed = folder.path().join(".pki.new-00");
        fs::create_dir(&crashed).unwrap();
        fs::write(crashed.join("root.key"), "x").unwrap();
        let living = NewFolder::beside(&place).unwrap();
        assert!(!crashed.exists());
        let second = NewFolder::beside(&place).unwrap();
        assert!(living.building.exists() && second.building.exists());
    }

    #[test]
    fn files_longer_than_ours_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.crt");
        File::create(&path)
            .unwrap()
            .set_len(FILE_BYTES_MAX + 1)
            .unwrap();
        assert!(matches!(
            read(&path),
            Err(PkiError::Malformed {
                problem: "longer than 64 KiB",
                ..
            })
        ));
        File::create(&path)
            .unwrap()
            .set_len(FILE_BYTES_MAX)
            .unwrap();
        assert!(read(&path).is_ok());
    }
}
