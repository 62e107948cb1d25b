//! The buckets' vocabulary and bounds.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;

use crate::StoreError;

/// Longest bucket name, in characters.
pub const BUCKET_NAME_CHARS_MAX: usize = 32;
/// Longest key, in bytes: the longest topic of MQTT.
pub const KEY_BYTES_MAX: usize = 65_535;
/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Most keys in one page; a larger `max` is brought down to it.
pub const SCAN_KEYS_MAX: usize = 4096;
/// A page ends after the entry with which it reaches this many bytes.
pub const SCAN_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most values one call of `expire` removes.
pub const EXPIRE_KEYS_MAX: usize = 4096;
/// Most events that wait for a watcher; one more and the watch has lagged.
pub const WATCH_QUEUE_EVENTS_MAX: usize = 8192;
/// Most bytes of keys and values that wait for a watcher; more and the watch has lagged.
pub const WATCH_QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// The number of a change; later changes of a bucket have higher ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What a writer believes about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// It is not there.
    Absent,
    /// It is at this revision.
    At(Revision),
}

impl Expect {
    /// Compares with what is there, for implementations.
    ///
    /// # Errors
    /// [`StoreError::Conflict`].
    pub fn check(self, current: Option<Revision>) -> Result<(), StoreError> {
        let holds = match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::At(revision) => current == Some(revision),
        };
        if holds {
            Ok(())
        } else {
            Err(StoreError::Conflict { current })
        }
    }
}

/// A value and its revision.
#[derive(Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value; shared, not copied.
    pub value: Bytes,
    /// The change that set it.
    pub revision: Revision,
    /// When it ends by itself.
    pub expires_at: Option<SystemTime>,
}

impl fmt::Debug for Versioned {
    /// Without the value, which may be somebody's message.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned")
            .field("revision", &self.revision)
            .field("value_bytes", &self.value.len())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// A key and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// What it holds.
    pub versioned: Versioned,
}

/// A piece of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    /// The entries, in byte order of their keys.
    pub entries: Vec<Entry>,
    /// Whether there are more: scan again after the last key of this page.
    pub more: bool,
}

/// Where a watch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchFrom {
    /// Everything that is there now, then [`Event::SnapshotEnd`], then every change; without a gap.
    Snapshot,
    /// Only changes after this moment.
    Now,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A key of the snapshot, or one that was set.
    Put(Entry),
    /// A key was removed.
    Delete {
        /// The key.
        key: Bytes,
        /// The change that removed it.
        revision: Revision,
        /// Whether its lifetime ended, and nobody removed it.
        expired: bool,
    },
    /// The snapshot is complete; changes follow.
    SnapshotEnd,
}

impl Event {
    /// What counts against [`WATCH_QUEUE_BYTES_MAX`], in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Put(entry) => entry.key.len() + entry.versioned.value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::SnapshotEnd => 0,
        }
    }
}

/// Checks a bucket's name, for implementations.
///
/// # Errors
/// [`StoreError::BucketName`].
pub fn check_bucket(name: &str) -> Result<(), StoreError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=BUCKET_NAME_CHARS_MAX).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(StoreError::BucketName {
        name: name.chars().take(BUCKET_NAME_CHARS_MAX).collect(),
    })
}

/// Checks a key, a prefix or a cursor, for implementations.
///
/// A store may have to put a byte before a key that begins with zero, to tell it from the empty key.
///
/// # Errors
/// [`StoreError::KeyTooLong`].
pub fn check_key(key: &[u8]) -> Result<(), StoreError> {
    let mark = usize::from(key.first() == Some(&0));
    if key.len() + mark > KEY_BYTES_MAX {
        return Err(StoreError::KeyTooLong { bytes: key.len() });
    }
    Ok(())
}

/// Checks a value, for implementations.
///
/// # Errors
/// [`StoreError::ValueTooLong`].
pub fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLong { bytes: value.len() });
    }
    Ok(())
}
