//! Which of the files that can be read again have changed.
//!
//! By looking at them once a second: it works on every file system, over renames and links, and a handful of calls is
//! nothing. A change within the same nanosecond that keeps length and inode is the only one that goes unseen.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use moat_config::Config;

use crate::config_file::is_tls;
use crate::service::reload::What;
use crate::tls_files;

/// Files and how they were at the last look.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<(What, PathBuf, Option<Stamp>)>,
}

/// What changes when a file is written or another one is put in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    mode: u32,
    modified: (i64, i64),
}

impl Watch {
    /// The files of a configuration as they are now. To be called before they are read, so that nothing is missed.
    pub(crate) fn of(config: &Config, data: &Path) -> Self {
        let mut files = Vec::new();
        let mut add = |what, path: PathBuf| {
            let stamp = Stamp::of(&path);
            files.push((what, path, stamp));
        };
        for path in &config.policy.files {
            add(What::Policy, path.clone());
        }
        add(What::Users, config.auth.users.clone());
        for listener in config.listeners.iter().filter(|listener| is_tls(listener)) {
            let tls = tls_files::of_listener(listener, config, data);
            for path in [tls.certificate, tls.key].into_iter().chain(tls.client_ca) {
                add(What::Certificates, path);
            }
        }
        Self { files }
    }

    /// Nothing to watch.
    pub(crate) fn nothing() -> Self {
        Self { files: Vec::new() }
    }

    /// The folders the files are in, each once.
    pub(crate) fn folders(&self) -> Vec<&Path> {
        let mut folders: Vec<_> = self
            .files
            .iter()
            .filter_map(|(_, path, _)| path.parent())
            .collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }

    /// The kinds of which a file has changed since the last call, each once.
    pub(crate) fn changed(&mut self) -> Vec<What> {
        let mut changed = Vec::new();
        for (what, path, stamp) in &mut self.files {
            let now = Stamp::of(path);
            if std::mem::replace(stamp, now) != now && !changed.contains(what) {
                changed.push(*what);
            }
        }
        changed
    }
}

impl Stamp {
    /// `None` if there is no file; one that cannot be looked at is as good as none.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_replaced_new_and_removed_files_are_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::default().with_data_folder(folder.path());
        let policy = folder.path().join("policy.toml");
        let mut watch = Watch::of(&config, folder.path());
        assert_eq!(watch.changed(), []);
        fs::write(&policy, "version = 1\n").unwrap();
        fs::create_dir(folder.path().join("pki")).unwrap();
        for name in ["pki/server.crt", "pki/server.key"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        assert_eq!(watch.changed(), [What::Policy, What::Certificates]);
        assert_eq!(watch.changed(), []);
        fs::write(folder.path().join("new"), "version = 1\n").unwrap();
        fs::rename(folder.path().join("new"), &policy).unwrap();
        assert_eq!(watch.changed(), [What::Policy]);
        fs::remove_file(&policy).unwrap();
        assert_eq!(watch.changed(), [What::Policy]);
    }
}
