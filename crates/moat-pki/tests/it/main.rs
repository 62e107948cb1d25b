//! The authority as its users see it, with OpenSSL as a second opinion.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

mod authority;
mod bundle;
mod devices;
mod full_disk;
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use moat_pki::{Authority, SubjectTemplate};
use tempfile::TempDir;

/// 2026-11-22 05:33:20 UTC, with a fraction that certificates can't hold.
pub const NOW: Duration = Duration::from_millis(1_795_325_600_250);
pub const DAY: Duration = Duration::from_hours(24);

pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + NOW
}

/// A data folder with an authority made at [`now`].
pub fn authority() -> (TempDir, Authority) {
    let data = tempfile::tempdir().unwrap();
    let authority =
        Authority::create(&data.path().join("pki"), now(), &SubjectTemplate::default()).unwrap();
    (data, authority)
}

/// Runs `openssl` and returns what it prints; panics if it fails.
pub fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// `openssl x509 -text` of the first certificate in `path`.
pub fn x509_text(path: &Path) -> String {
    openssl(&[
        "x509",
        "-noout",
        "-text",
        "-nameopt",
        "RFC2253",
        "-in",
        path.to_str().unwrap(),
    ])
}

/// What OpenSSL's `-dates` prints for a time that many whole seconds after 1970.
pub fn openssl_time(seconds: u64) -> String {
    let output = Command::new("date")
        .env("LC_ALL", "C")
        .args(["-u", "-d", &format!("@{seconds}"), "+%b %e %H:%M:%S %Y GMT"])
        .output();
    String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .trim()
        .to_owned()
}

/// Name and contents of every file below `folder`, hidden ones included.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(contents(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}
