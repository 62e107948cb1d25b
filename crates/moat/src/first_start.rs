//! The files of the data folder: made at the first start, looked after at each.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use moat_config::Config;
use moat_pki::{
    Authority, PkiError, RenewReason, SERVER_RENEW_BEFORE_DAYS, SubjectTemplate, host_names,
};
use moat_policy::DEFAULT_POLICY_TOML;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::data_folder::{self, FolderLock};
use crate::exit::Failure;
use crate::policy_files::POLICY_FILE;
use crate::tls_files::{pki_folder, uses_own_certificate};

/// The users file in the data folder.
const USERS_FILE: &str = "users";
/// It holds password hashes.
const USERS_MODE: u32 = 0o600;
/// The policy is no secret; the folder is closed anyhow.
const POLICY_MODE: u32 = 0o640;

/// What a data folder that is complete holds.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Whether this start has made the folder.
    pub(crate) is_new: bool,
    /// moat's own authority.
    pub(crate) authority: Authority,
    /// Why the server certificate was issued by this start, if it was.
    pub(crate) renewed: Option<RenewReason>,
}

/// Makes the data folder complete: as a whole if it is not there, file by file if something is missing.
///
/// `also` is another user whose folder it may be.
///
/// # Errors
/// The folder belongs to somebody else, another broker uses it, its files are wrong, or the disk is full. A folder
/// that was not there is then not there either.
pub(crate) fn prepare(
    path: &Path,
    config: &Config,
    also: Option<u32>,
) -> Result<(Prepared, FolderLock), Failure> {
    let is_new = !data_folder::exists(path)? && create_whole(path, config)?;
    data_folder::check_owner(path, also)?;
    let lock = data_folder::lock(path)?;
    let (authority, renewed) = complete(path, config)?;
    let prepared = Prepared {
        is_new,
        authority,
        renewed,
    };
    Ok((prepared, lock))
}

/// Makes the folder beside its place and moves it there at the end. `false` if somebody else was faster.
fn create_whole(path: &Path, config: &Config) -> Result<bool, Failure> {
    let draft = Draft::beside(path)?;
    let failed = |error: io::Error| cannot_make(path, &error);
    data_folder::create(&draft.0).map_err(failed)?;
    data_folder::prepare_lock(&draft.0).map_err(failed)?;
    complete(&draft.0, config).map_err(|failure| draft.without_its_name(failure, path))?;
    sync_folder(&draft.0).map_err(failed)?;
    match renameat_with(CWD, &draft.0, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(failed(error.into())),
    }
}

/// Makes what is missing in a folder.
fn complete(path: &Path, config: &Config) -> Result<(Authority, Option<RenewReason>), Failure> {
    let now = SystemTime::now();
    let pki = pki_folder(path);
    let authority = if data_folder::exists(&pki)? {
        Authority::open(&pki, now).map_err(pki_failure)?
    } else {
        // Without an authority nobody has worked with this folder yet. A policy that is missing later was removed.
        place_new(&path.join(POLICY_FILE), DEFAULT_POLICY_TOML, POLICY_MODE)?;
        place_new(&path.join(USERS_FILE), "", USERS_MODE)?;
        Authority::create(&pki, now, &SubjectTemplate::default()).map_err(pki_failure)?
    };
    let renewed = if config.listeners.iter().any(uses_own_certificate) {
        renew_server_certificate(&authority, now)?
    } else {
        None
    };
    Ok((authority, renewed))
}

/// Makes sure that the server certificate is good for this host and for a while.
///
/// # Errors
/// The files are wrong, or the disk is full.
pub(crate) fn renew_server_certificate(
    authority: &Authority,
    now: SystemTime,
) -> Result<Option<RenewReason>, Failure> {
    authority
        .ensure_server_certificate(&host_names(), now, SERVER_RENEW_BEFORE_DAYS)
        .map(|files| files.renewed)
        .map_err(pki_failure)
}

/// Sorts what the authority refuses: files that are wrong are a bad configuration.
pub(crate) fn pki_failure(error: PkiError) -> Failure {
    match error {
        PkiError::Missing { .. }
        | PkiError::KeyPermissions { .. }
        | PkiError::Malformed { .. }
        | PkiError::KeyMismatch { .. }
        | PkiError::ChainBroken { .. }
        | PkiError::ForeignServerCertificate { .. }
        | PkiError::Expired { .. }
        | PkiError::IndexMalformed { .. } => Failure::configuration([error]),
        error => Failure::failed(error),
    }
}

/// Puts a new file in its place, whole or not at all. One that is there stays as it is.
fn place_new(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let failed = |error: io::Error| cannot_make(path, &error);
    let draft = Draft::beside(path)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft.0)
        .map_err(failed)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(failed)?;
    match renameat_with(CWD, &draft.0, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn cannot_make(path: &Path, error: &io::Error) -> Failure {
    let advice = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "no space left; free some and start again, nothing half-made was left"
        }
        io::ErrorKind::NotFound => "the folder it should be in does not exist; make that first",
        io::ErrorKind::PermissionDenied => {
            "this user may not write there; name another data folder with --data"
        }
        _ => "nothing half-made was left",
    };
    Failure::failed(format!("cannot make {}: {error}; {advice}", path.display()))
}

/// Something under construction beside its place; removed unless it was moved there.
struct Draft(PathBuf);

impl Draft {
    fn beside(place: &Path) -> Result<Self, Failure> {
        let name = place.file_name().ok_or_else(|| {
            Failure::failed(format!(
                "{} cannot be made; name another data folder with --data",
                place.display()
            ))
        })?;
        let draft = format!(".{}.new-{}", name.to_string_lossy(), std::process::id());
        Ok(Self(place.with_file_name(draft)))
    }

    /// An error about the draft, as one about what it was to become.
    fn without_its_name(&self, failure: Failure, place: &Path) -> Failure {
        let (draft, place) = (self.0.display().to_string(), place.display().to_string());
        let errors = failure.errors.iter();
        Failure {
            errors: errors.map(|error| error.replace(&draft, &place)).collect(),
            ..failure
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After the move there is nothing under this name.
        let _ = fs::remove_dir_all(&self.0).or_else(|_| fs::remove_file(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_start_makes_everything_and_the_second_changes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let (first, lock) = prepare(&path, &Config::default(), None).unwrap();
        assert!(first.is_new);
        assert_eq!(names(parent.path()), ["data"]);
        assert_eq!(names(&path), ["moat.lock", "pki", "policy.toml", "users"]);
        let mode = |name: &str| fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("users")), (0o700, 0o600));
        let fingerprint = first.authority.fingerprint();
        drop(lock);
        let (second, _lock) = prepare(&path, &Config::default(), None).unwrap();
        assert!(!second.is_new && second.renewed.is_none());
        assert_eq!(second.authority.fingerprint(), fingerprint);
    }

    #[test]
    fn a_policy_that_was_removed_stays_removed_and_one_that_was_there_stays() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        data_folder::create(&path).unwrap();
        fs::write(path.join(POLICY_FILE), "version = 1\n").unwrap();
        drop(prepare(&path, &Config::default(), None).unwrap());
        let text = fs::read_to_string(path.join(POLICY_FILE)).unwrap();
        assert_eq!(text, "version = 1\n");
        fs::remove_file(path.join(POLICY_FILE)).unwrap();
        drop(prepare(&path, &Config::default(), None).unwrap());
        assert!(!path.join(POLICY_FILE).exists());
    }

    #[test]
    fn a_failed_first_start_leaves_nothing_and_names_the_folder_it_was_for() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("missing").join("data");
        let failure = prepare(&path, &Config::default(), None).unwrap_err();
        assert!(failure.text().contains("make that first"), "{failure:?}");
        assert_eq!(names(parent.path()), Vec::<String>::new());
    }
}
