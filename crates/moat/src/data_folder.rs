//! The data folder: whose it is, and that one broker at a time uses it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::account;
use crate::exit::Failure;

/// Only the broker looks into its folder.
pub(crate) const FOLDER_MODE: u32 = 0o700;

/// Permission bits that would let others exchange the files of the folder.
const MODE_FORBIDDEN: u32 = 0o022;

const LOCK_FILE: &str = "moat.lock";
const LOCK_MODE: u32 = 0o600;

/// The most bytes of the lock file that are read: a process id and a line end.
const LOCK_BYTES_MAX: u64 = 32;

/// Where the data folder is, as the command line says it.
#[derive(Clone, Debug)]
pub(crate) struct DataPlace {
    /// The folder.
    pub(crate) path: PathBuf,
    /// Whether it is another one than the default.
    pub(crate) is_named: bool,
    /// The configuration file, if one is named.
    pub(crate) config: Option<PathBuf>,
}

impl DataPlace {
    /// What the next command needs to find the same files: nothing, or ` --data DIR --config FILE`.
    pub(crate) fn arguments(&self) -> String {
        let option =
            |name, path: &Path| format!(" {name} {}", shell_word(&path.display().to_string()));
        let data = self.is_named.then(|| option("--data", &self.path));
        let config = self.config.as_deref().map(|file| option("--config", file));
        data.into_iter().chain(config).collect()
    }

    /// Refuses a folder that is not there.
    ///
    /// # Errors
    /// It is missing or cannot be looked at.
    pub(crate) fn must_exist(&self) -> Result<(), Failure> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.is_dir() => Ok(()),
            Ok(_) => Err(not_a_folder(&self.path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::failed(format!(
                "there is no data folder {}; make it with `moat start{}`, or name another with --data",
                self.path.display(),
                self.arguments()
            ))),
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }
}

/// A text as one word of a shell, quoted if it has to be.
pub(crate) fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-:@%+=,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The lock of a data folder. Dropping it, or the end of the process, gives it back.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

/// Makes an empty folder that only its owner can use.
///
/// # Errors
/// As the system says.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().mode(FOLDER_MODE).create(path)
}

/// Whether something is at `path`, a folder or not.
///
/// # Errors
/// It cannot be told.
pub(crate) fn exists(path: &Path) -> Result<bool, Failure> {
    path.try_exists().map_err(|error| unreadable(path, &error))
}

/// Refuses something else in the place of the folder; nothing at all is fine.
///
/// # Errors
/// It is no folder, or it cannot be told.
pub(crate) fn check_place(path: &Path) -> Result<(), Failure> {
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(not_a_folder(path)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unreadable(path, &error)),
        _ => Ok(()),
    }
}

/// Refuses a folder that belongs to somebody else or that somebody else can change.
///
/// `also` is another user whose folder it may be: the one the broker becomes.
///
/// # Errors
/// It is no folder, or one of another user, or open to others.
pub(crate) fn check_owner(path: &Path, also: Option<u32>) -> Result<(), Failure> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Err(not_a_folder(path));
    }
    let ours = rustix::process::geteuid().as_raw();
    let owner = metadata.uid();
    if owner != ours && Some(owner) != also {
        return Err(Failure::failed(format!(
            "data folder {} belongs to user {}, this process runs as {}; start moat as that user, \
             set the key user to it when starting as root, or name another folder with --data",
            path.display(),
            account::name_of(owner),
            account::name_of(ours),
        )));
    }
    let mode = metadata.mode() & 0o7777;
    if mode & MODE_FORBIDDEN != 0 {
        return Err(Failure::failed(format!(
            "data folder {} can be changed by other users (mode {mode:04o}); run: chmod 700 {}",
            path.display(),
            shell_word(&path.display().to_string()),
        )));
    }
    Ok(())
}

/// Writes the lock file of a new folder, so that taking the lock later needs no space on the disk.
///
/// # Errors
/// As the system says.
pub(crate) fn prepare_lock(folder: &Path) -> io::Result<()> {
    write_pid(&open_lock(folder)?)
}

/// Takes the lock of the folder for the life of this process.
///
/// # Errors
/// Another broker has it; the text names its process.
pub(crate) fn lock(folder: &Path) -> Result<FolderLock, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "cannot lock {}: {error}",
            folder.join(LOCK_FILE).display()
        ))
    };
    let file = open_lock(folder).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(folder, file)),
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    write_pid(&file).map_err(failed)?;
    Ok(FolderLock { _file: file })
}

fn open_lock(folder: &Path) -> io::Result<File> {
    // Whoever could put a link here could make root write to what it points at.
    let no_links = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(LOCK_MODE)
        .custom_flags(no_links)
        .open(folder.join(LOCK_FILE))
}

/// Always the same length: what was written before is written over, so a full disk does not matter.
fn write_pid(file: &File) -> io::Result<()> {
    file.write_all_at(format!("{:<10}\n", std::process::id()).as_bytes(), 0)
}

fn in_use(folder: &Path, file: File) -> Failure {
    let mut text = String::new();
    let pid = file
        .take(LOCK_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| text.trim().parse::<u32>().ok());
    let who = pid.map_or_else(String::new, |pid| format!(", process {pid}"));
    let stop = pid.map_or_else(
        || "stop it first".to_owned(),
        |pid| format!("stop it first (kill {pid})"),
    );
    Failure::failed(format!(
        "another broker uses the data folder {}{who}; {stop}, or name another folder with --data",
        folder.display()
    ))
}

fn not_a_folder(path: &Path) -> Failure {
    Failure::failed(format!(
        "{} is not a folder; name another data folder with --data",
        path.display()
    ))
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot look at data folder {}: {error}; it belongs to another user, or is below a folder of another user",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_and_names_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let held = lock(folder.path()).unwrap();
        let refused = lock(folder.path()).unwrap_err().text();
        let pid = format!("process {}", std::process::id());
        assert!(refused.contains(&pid), "{refused}");
        drop(held);
        lock(folder.path()).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_change_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check_owner(folder.path(), None), Ok(()));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let refused = check_owner(folder.path(), None).unwrap_err().text();
        assert!(refused.contains("chmod 700"), "{refused}");
    }

    #[test]
    fn words_with_spaces_are_quoted_for_the_shell() {
        assert_eq!(shell_word("/srv/moat-data"), "/srv/moat-data");
        assert_eq!(shell_word("my data"), "'my data'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
    }
}
