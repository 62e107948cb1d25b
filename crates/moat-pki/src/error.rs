//! Why the authority refused, with what to do next.

use std::io;
use std::path::{Path, PathBuf};

use crate::name::DEVICE_NAME_ALLOWED;
use crate::profile::SANS_MAX;

/// One variant per cause. No text holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PkiError {
    /// `create` met a folder that already holds something.
    #[error("{} exists already: open it, or move it away to start with a new authority (every device then needs a new certificate)", .path.display())]
    AlreadyExists {
        /// The folder.
        path: PathBuf,
    },
    /// A file of the authority is not there.
    #[error("{} is missing: restore it from a backup, or move the folder away and let moat make a new authority", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// No space left, over quota, or over the file size limit. What was begun has been removed.
    #[error("no space left for {}: free some space and repeat the command; nothing half-made was left", .path.display())]
    DiskFull {
        /// The file that did not fit.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("can't {doing} {}: {text}", .path.display())]
    Io {
        /// The verb, for example "write".
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The class of the failure.
        kind: io::ErrorKind,
        /// The system's own words.
        text: String,
    },
    /// A private key that others than its owner can read or write.
    #[error("{} has mode {mode:04o}, allowed is 0600 or less: run `chmod 600 {}`", .path.display(), .path.display())]
    KeyPermissions {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that should hold PEM certificates or a PEM key does not.
    #[error("{}: {problem}: restore it from a backup", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The key is not the certificate's.
    #[error("{} is not the key of {}: restore the pair from a backup", .key.display(), .certificate.display())]
    KeyMismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The intermediate was not signed by the root beside it.
    #[error("{} was not signed by {}: restore both from one backup", .intermediate.display(), .root.display())]
    ChainBroken {
        /// The intermediate's file.
        intermediate: PathBuf,
        /// The root's file.
        root: PathBuf,
    },
    /// `server.crt` holds a certificate of somebody else.
    #[error("{} was not issued by this authority: keep a certificate of your own elsewhere and name it in the configuration, and remove this one", .path.display())]
    ForeignServerCertificate {
        /// The certificate file.
        path: PathBuf,
    },
    /// The certificate has ended.
    #[error("{} expired at {not_after}: check this machine's clock, or move the folder away and let moat make a new authority", .path.display())]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// Its end, RFC 3339.
        not_after: String,
    },
    /// The certificate has not begun: nearly always a wrong clock.
    #[error("{} is valid only from {not_before}: this machine's clock is behind, set it", .path.display())]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// Its beginning, RFC 3339.
        not_before: String,
    },
    /// The time passed in cannot be written into a certificate.
    #[error("the clock shows a time that no certificate can hold: set this machine's clock")]
    ClockOutOfRange,
    /// A device name outside the rules.
    #[error("device name {name:?} is refused ({problem}): allowed is {DEVICE_NAME_ALLOWED}")]
    InvalidName {
        /// The name as given.
        name: String,
        /// The rule it breaks.
        problem: &'static str,
    },
    /// A part of the subject template outside the rules of RFC 5280 appendix A.
    #[error("subject {field} {value:?} is refused: allowed is {allowed}")]
    InvalidSubject {
        /// "country", "organization" or "organizational unit".
        field: &'static str,
        /// The value as given.
        value: String,
        /// What the field may hold.
        allowed: &'static str,
    },
    /// A host name that can't be a DNS name.
    #[error(
        "host name {name:?} is refused: allowed are letters, digits, `-`, `_` and `.`, labels of at most 63 and 253 characters in all, `*.` only in front"
    )]
    InvalidHostName {
        /// The name as given.
        name: String,
    },
    /// A server certificate without a name verifies nowhere.
    #[error("a server certificate needs at least one name or address")]
    NoNames,
    /// More names than a certificate may carry.
    #[error(
        "{count} names for one certificate, at most {SANS_MAX} are allowed: name only those that clients use"
    )]
    TooManyNames {
        /// How many were asked for.
        count: usize,
    },
    /// The device has a certificate that is still valid.
    #[error(
        "device {name:?} has a certificate that is valid until {not_after}: issue another one beside it with `moat device add --reissue`"
    )]
    DuplicateDevice {
        /// The device.
        name: String,
        /// The end of the certificate it has, RFC 3339.
        not_after: String,
    },
    /// A line of the index that is no record.
    #[error("{}:{line}: not a record of an issued certificate: restore the file from a backup or remove the line", .path.display())]
    IndexMalformed {
        /// The index file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The index has outgrown its bound.
    #[error("{} is {bytes} bytes long, at most {} are read: archive its expired lines", .path.display(), crate::index::INDEX_BYTES_MAX)]
    IndexTooLarge {
        /// The index file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Another process held the lock for the whole waiting time.
    #[error("{} is locked by another moat command: wait for it to end and repeat", .path.display())]
    Locked {
        /// The locked file.
        path: PathBuf,
    },
    /// A file of a bundle is already there.
    #[error("{} exists: nothing is overwritten, name another folder or remove it", .path.display())]
    WouldOverwrite {
        /// The file.
        path: PathBuf,
    },
    /// The crypto library failed; `text` is its message.
    #[error("the crypto library refused: {text}")]
    Crypto {
        /// The library's message.
        text: String,
    },
}

impl PkiError {
    /// Sorts a file system failure into its variant.
    pub(crate) fn io(doing: &'static str, path: &Path, error: &io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::DiskFull { path },
            io::ErrorKind::NotFound if doing == "read" => Self::Missing { path },
            kind => Self::Io {
                doing,
                path,
                kind,
                text: error.to_string(),
            },
        }
    }
}

impl From<rcgen::Error> for PkiError {
    fn from(error: rcgen::Error) -> Self {
        Self::Crypto {
            text: error.to_string(),
        }
    }
}
