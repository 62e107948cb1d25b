//! `issued.jsonl`: one line for every certificate the authority ever signed.
//!
//! Several processes append (the broker and any number of commands), so every access holds a file
//! lock. A line is on disk before its certificate is handed out.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::PkiError;

/// Longest line of the index, in bytes.
pub const INDEX_LINE_BYTES_MAX: u64 = 1024;
/// Longest index that is read, in bytes: about 1.5 million certificates.
pub const INDEX_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// How often a taken lock is tried again, with [`LOCK_PAUSE`] between: 10 s in all.
const LOCK_ATTEMPTS_MAX: u32 = 2000;
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The trust anchor.
    Root,
    /// The authority that signs leaves.
    Intermediate,
    /// The broker's own certificate.
    Server,
    /// A device's certificate.
    Device,
}

/// One line of the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexEntry {
    /// Lower-case hex without separators.
    pub serial: String,
    /// Common name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// First moment of validity, RFC 3339.
    pub not_before: String,
    /// Last moment of validity, RFC 3339.
    pub not_after: String,
    /// SHA-256 of the certificate, upper-case hex with colons.
    pub fingerprint: String,
}

impl IndexEntry {
    /// The line that stands for this entry, newline included.
    pub(crate) fn line(&self) -> Result<Vec<u8>, PkiError> {
        let line = serde_json::to_vec(self);
        let mut line = line.map_err(|e| PkiError::Crypto {
            text: e.to_string(),
        })?;
        line.push(b'\n');
        Ok(line)
    }

    fn ends(&self) -> Option<SystemTime> {
        self.not_after
            .parse::<jiff::Timestamp>()
            .ok()
            .map(SystemTime::from)
    }
}

/// The index while this process holds its lock; dropping it lets the next one in.
pub(crate) struct LockedIndex {
    file: File,
    path: PathBuf,
}

impl LockedIndex {
    /// Waits for the right to append and removes what a crash left of an unfinished line.
    pub(crate) fn to_append(path: &Path) -> Result<Self, PkiError> {
        let file = OpenOptions::new().read(true).append(true).open(path);
        let file = file.map_err(|e| PkiError::io("read", path, &e))?;
        lock(path, LOCK_ATTEMPTS_MAX, || file.try_lock())?;
        let mut index = Self {
            file,
            path: path.to_path_buf(),
        };
        index.drop_unfinished_line()?;
        Ok(index)
    }

    /// Waits until nobody appends.
    pub(crate) fn to_read(path: &Path) -> Result<Self, PkiError> {
        let file = File::open(path).map_err(|e| PkiError::io("read", path, &e))?;
        lock(path, LOCK_ATTEMPTS_MAX, || file.try_lock_shared())?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// The certificate of device `name` that ends last, if one is still valid at `now`.
    pub(crate) fn valid_device(
        &mut self,
        name: &str,
        now: SystemTime,
    ) -> Result<Option<IndexEntry>, PkiError> {
        let mut latest: Option<(SystemTime, IndexEntry)> = None;
        self.visit(|entry, ends| {
            let live = entry.kind == Kind::Device && entry.name == name && ends > now;
            if live && latest.as_ref().is_none_or(|(end, _)| ends > *end) {
                latest = Some((ends, entry));
            }
        })?;
        Ok(latest.map(|(_, entry)| entry))
    }

    /// Every entry, oldest first.
    pub(crate) fn entries(&mut self) -> Result<Vec<IndexEntry>, PkiError> {
        let mut entries = Vec::new();
        self.visit(|entry, _| entries.push(entry))?;
        Ok(entries)
    }

    /// Adds one line and waits until it is on disk; on failure the file is as before.
    pub(crate) fn append(&mut self, entry: &IndexEntry) -> Result<(), PkiError> {
        let length = self.length()?;
        let line = entry.line()?;
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_all());
        written.map_err(|e| {
            // The next writer would remove a torn line as well; this saves readers from it.
            let _ = self.file.set_len(length);
            PkiError::io("write", &self.path, &e)
        })
    }

    fn visit(&mut self, mut each: impl FnMut(IndexEntry, SystemTime)) -> Result<(), PkiError> {
        self.length()?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(|e| PkiError::io("read", &self.path, &e))?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        let mut number = 0;
        loop {
            line.clear();
            number += 1;
            let read = (&mut reader)
                .take(INDEX_LINE_BYTES_MAX)
                .read_until(b'\n', &mut line);
            let count = read.map_err(|e| PkiError::io("read", &self.path, &e))?;
            let malformed = || PkiError::IndexMalformed {
                path: self.path.clone(),
                line: number,
            };
            match line.last() {
                None => return Ok(()),
                Some(b'\n') => {
                    let entry: IndexEntry =
                        serde_json::from_slice(&line).map_err(|_| malformed())?;
                    let ends = entry.ends().ok_or_else(malformed)?;
                    each(entry, ends);
                }
                Some(_) if count as u64 == INDEX_LINE_BYTES_MAX => return Err(malformed()),
                // A crash left an unfinished last line: its certificate was never handed out.
                Some(_) => return Ok(()),
            }
        }
    }

    /// Cuts the file after its last newline.
    fn drop_unfinished_line(&mut self) -> Result<(), PkiError> {
        let length = self.length()?;
        let tail_length = length.min(INDEX_LINE_BYTES_MAX);
        let mut tail = Vec::new();
        let read = self
            .file
            .seek(SeekFrom::Start(length - tail_length))
            .and_then(|_| self.file.read_to_end(&mut tail));
        read.map_err(|e| PkiError::io("read", &self.path, &e))?;
        let unfinished = tail.iter().rev().take_while(|byte| **byte != b'\n').count() as u64;
        if unfinished == 0 {
            return Ok(());
        }
        if unfinished == tail_length && length > tail_length {
            return Err(PkiError::IndexMalformed {
                path: self.path.clone(),
                line: self.lines()?,
            });
        }
        let cut = self
            .file
            .set_len(length - unfinished)
            .and_then(|()| self.file.sync_all());
        cut.map_err(|e| PkiError::io("write", &self.path, &e))
    }

    /// Number of the last line, for an error text.
    fn lines(&mut self) -> Result<usize, PkiError> {
        let mut lines = 1;
        let mut block = [0; 8192];
        let rewound = self.file.seek(SeekFrom::Start(0));
        rewound.map_err(|e| PkiError::io("read", &self.path, &e))?;
        loop {
            let read = self
                .file
                .read(&mut block)
                .map_err(|e| PkiError::io("read", &self.path, &e))?;
            if read == 0 {
                return Ok(lines);
            }
            lines += block[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    }

    fn length(&self) -> Result<u64, PkiError> {
        let metadata = self.file.metadata();
        let bytes = metadata
            .map_err(|e| PkiError::io("read", &self.path, &e))?
            .len();
        if bytes > INDEX_BYTES_MAX {
            return Err(PkiError::IndexTooLarge {
                path: self.path.clone(),
                bytes,
            });
        }
        Ok(bytes)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "file locks have no wait with a limit, and only commands and start-up come here, never a packet thread"
)]
fn lock(
    path: &Path,
    attempts: u32,
    mut attempt: impl FnMut() -> Result<(), TryLockError>,
) -> Result<(), PkiError> {
    for _ in 0..attempts {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(PkiError::io("lock", path, &e)),
        }
    }
    Err(PkiError::Locked {
        path: path.to_path_buf(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(name: &str, not_after: &str) -> IndexEntry {
        IndexEntry {
            serial: "4a".into(),
            name: name.into(),
            kind: Kind::Device,
            not_before: "2026-01-01T00:00:00Z".into(),
            not_after: not_after.into(),
            fingerprint: "AA".into(),
        }
    }

    fn index(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("issued.jsonl");
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    fn at(text: &str) -> SystemTime {
        text.parse::<jiff::Timestamp>().unwrap().into()
    }

    #[test]
    fn the_certificate_that_ends_last_counts_and_only_while_valid() {
        let (_folder, path) = index(b"");
        let mut index = LockedIndex::to_append(&path).unwrap();
        for end in [
            "2026-03-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
            "2026-02-01T00:00:00Z",
        ] {
            index.append(&entry("d", end)).unwrap();
        }
        let end = |now| {
            index
                .valid_device("d", at(now))
                .unwrap()
                .map(|e| e.not_after)
        };
        let mut end = end;
        assert_eq!(
            end("2026-01-02T00:00:00Z").as_deref(),
            Some("2026-04-01T00:00:00Z")
        );
        assert_eq!(end("2026-04-01T00:00:00Z"), None);
        assert_eq!(
            index.valid_device("other", at("2026-01-02T00:00:00Z")),
            Ok(None)
        );
    }

    #[test]
    fn an_unfinished_last_line_is_ignored_by_readers_and_removed_by_the_next_writer() {
        let whole = entry("d", "2026-03-01T00:00:00Z").line().unwrap();
        let (_folder, path) = index(&[&whole[..], b"{\"serial\":\"4b"].concat());
        assert_eq!(
            LockedIndex::to_read(&path)
                .unwrap()
                .entries()
                .unwrap()
                .len(),
            1
        );
        LockedIndex::to_append(&path)
            .unwrap()
            .append(&entry("e", "2026-03-01T00:00:00Z"))
            .unwrap();
        let entries = LockedIndex::to_read(&path).unwrap().entries().unwrap();
        assert_eq!(
            entries.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
            ["d", "e"]
        );
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let whole = entry("d", "2026-03-01T00:00:00Z").line().unwrap();
        let (_folder, path) = index(&[&whole[..], b"nonsense\n"].concat());
        let error = LockedIndex::to_read(&path).unwrap().entries().unwrap_err();
        assert_eq!(error, PkiError::IndexMalformed { path, line: 2 });
    }

    #[test]
    fn a_line_beyond_its_bound_is_refused() {
        let whole = entry("d", "2026-03-01T00:00:00Z").line().unwrap();
        let endless = vec![b'x'; usize::try_from(INDEX_LINE_BYTES_MAX).unwrap()];
        let (_folder, path) = index(&[&whole[..], &endless].concat());
        let malformed = PkiError::IndexMalformed {
            path: path.clone(),
            line: 2,
        };
        assert_eq!(
            LockedIndex::to_read(&path).unwrap().entries(),
            Err(malformed.clone())
        );
        assert_eq!(LockedIndex::to_append(&path).err(), Some(malformed));
    }

    #[test]
    fn the_longest_entry_fits_a_line() {
        // Names are at most 64 characters, none of which JSON escapes; serials 36, fingerprints 95.
        let mut longest = entry(&"n".repeat(64), "2026-03-01T00:00:00Z");
        longest.serial = "f".repeat(40);
        longest.fingerprint = "F".repeat(95);
        assert!((longest.line().unwrap().len() as u64) < INDEX_LINE_BYTES_MAX);
    }

    #[test]
    fn an_index_beyond_its_bound_is_refused() {
        let (_folder, path) = index(b"");
        OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(INDEX_BYTES_MAX + 1)
            .unwrap();
        let error = PkiError::IndexTooLarge {
            path: path.clone(),
            bytes: INDEX_BYTES_MAX + 1,
        };
        assert_eq!(LockedIndex::to_append(&path).err(), Some(error.clone()));
        assert_eq!(LockedIndex::to_read(&path).unwrap().entries(), Err(error));
    }

    #[test]
    fn waiting_for_the_lock_ends() {
        let (_folder, path) = index(b"");
        let _holder = LockedIndex::to_append(&path).unwrap();
        let second = File::open(&path).unwrap();
        let mut tried = 0;
        let waited = lock(&path, 3, || {
            tried += 1;
            second.try_lock()
        });
        assert_eq!(waited, Err(PkiError::Locked { path }));
        assert_eq!(tried, 3);
    }
}
