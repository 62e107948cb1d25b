//! Reading buckets.

use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fjall::{Keyspace, Readable};

use super::engine::Engine;
use super::value;
use crate::bucket::{SCAN_BYTES_MAX, SCAN_KEYS_MAX};
use crate::{Entry, ScanPage, StoreError, Versioned};

/// A bucket.
pub(super) struct BucketHandle {
    pub(super) name: Arc<str>,
    pub(super) keyspace: Keyspace,
    /// What its checksums begin with.
    pub(super) seed: u64,
}

impl BucketHandle {
    pub(super) fn new(name: &str, keyspace: Keyspace) -> Self {
        Self {
            name: name.into(),
            keyspace,
            seed: value::seed(name),
        }
    }

    /// What is under a key, whether or not its end has come.
    pub(super) fn stored(
        &self,
        engine: &Engine,
        key: &Bytes,
    ) -> Result<Option<Versioned>, StoreError> {
        let found = self.keyspace.get(value::stored_key(key));
        match found.map_err(|error| engine.error(&self.name, error))? {
            None => Ok(None),
            Some(stored) => self.decode(key, stored.into()).map(Some),
        }
    }

    pub(super) fn get(
        &self,
        engine: &Engine,
        key: &Bytes,
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        let stored = self.stored(engine, key)?;
        Ok(stored.filter(|versioned| is_live(versioned, now)))
    }

    pub(super) fn scan(
        &self,
        engine: &Engine,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        let mut page = ScanPage {
            entries: Vec::new(),
            more: false,
        };
        let mut bytes = 0;
        for entry in self.entries(engine, prefix, after) {
            let entry = entry?;
            if !is_live(&entry.versioned, now) {
                continue;
            }
            if page.entries.len() >= max.min(SCAN_KEYS_MAX) || bytes >= SCAN_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += entry.key.len() + entry.versioned.value.len();
            page.entries.push(entry);
        }
        Ok(page)
    }

    /// Everything that begins with `prefix` and comes after `after`, of one moment.
    pub(super) fn entries(
        &self,
        engine: &Engine,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = Result<Entry, StoreError>> {
        // A cursor before the prefix would begin outside it.
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(value::stored_prefix(after)),
            _ if prefix.is_empty() => Bound::Unbounded,
            _ => Bound::Included(value::stored_prefix(prefix)),
        };
        let range = (start, Bound::<Bytes>::Unbounded);
        let found = engine.database().snapshot().range(&self.keyspace, range);
        found
            .map(|entry| {
                let (key, stored) = entry
                    .into_inner()
                    .map_err(|error| engine.error(&self.name, error))?;
                let key = value::given_key(key.into());
                let versioned = self.decode(&key, stored.into())?;
                Ok(Entry { key, versioned })
            })
            .take_while(|entry| match entry {
                Ok(entry) => entry.key.starts_with(prefix),
                Err(_) => true,
            })
    }

    /// Everything, a value that is damaged as an error of its own.
    pub(super) fn entries_each(
        &self,
        engine: &Engine,
    ) -> impl Iterator<Item = Result<Entry, StoreError>> {
        let mut readable = true;
        self.keyspace.iter().map_while(move |entry| {
            let entry = readable.then_some(entry)?;
            Some(match entry.into_inner() {
                Ok((key, stored)) => {
                    let key = value::given_key(key.into());
                    let decoded = self.decode(&key, stored.into());
                    decoded.map(|versioned| Entry { key, versioned })
                }
                Err(error) => {
                    // What comes after a block that cannot be read is not known to be all.
                    readable = false;
                    Err(engine.error(&format!("bucket {}", self.name), error))
                }
            })
        })
    }

    fn decode(&self, key: &[u8], stored: Bytes) -> Result<Versioned, StoreError> {
        value::decode(self.seed, key, stored).map_err(|_| self.damaged(key))
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        StoreError::Corrupt {
            place: format!("bucket {}, key {}", self.name, key.escape_ascii()),
            lost: "its value".to_owned(),
        }
    }
}

pub(super) fn is_live(versioned: &Versioned, now: SystemTime) -> bool {
    versioned.expires_at.is_none_or(|end| end > now)
}
