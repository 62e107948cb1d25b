//! The buckets: ordered maps, one clock of revisions, and an index of ends.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

use super::BUCKETS_MAX;
use crate::bucket::{EXPIRE_KEYS_MAX, SCAN_BYTES_MAX, SCAN_KEYS_MAX};
use crate::watch::{Queue, WATCHES_MAX};
use crate::{Entry, Event, Expect, Revision, ScanPage, StoreError, Versioned, Write};

type Bucket = BTreeMap<Bytes, Versioned>;

pub(super) struct Buckets {
    buckets: HashMap<Arc<str>, Bucket>,
    ends: BTreeSet<(SystemTime, Arc<str>, Bytes)>,
    revision: u64,
    bytes: u64,
    bytes_max: u64,
    watches: Vec<Arc<Queue>>,
}

impl Buckets {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            buckets: HashMap::new(),
            ends: BTreeSet::new(),
            revision: 0,
            bytes: 0,
            bytes_max,
            watches: Vec::new(),
        }
    }

    pub(super) fn get(&self, bucket: &str, key: &[u8], now: SystemTime) -> Option<&Versioned> {
        self.buckets
            .get(bucket)?
            .get(key)
            .filter(|versioned| is_live(versioned, now))
    }

    pub(super) fn put(
        &mut self,
        bucket: &str,
        key: &[u8],
        value: Bytes,
        expect: Expect,
        expires_at: Option<SystemTime>,
        now: SystemTime,
    ) -> Result<Revision, StoreError> {
        expect.check(
            self.get(bucket, key, now)
                .map(|versioned| versioned.revision),
        )?;
        let name = self.bucket_for_writing(bucket)?;
        let freed = self.stored_size(bucket, key);
        if self.bytes - freed + size(key, &value) > self.bytes_max {
            return Err(StoreError::Full {
                limit: self.bytes_max,
            });
        }
        Ok(self.set(name, Bytes::copy_from_slice(key), value, expires_at))
    }

    /// Sets a value, whatever is there, and tells the watches.
    fn set(
        &mut self,
        bucket: Arc<str>,
        key: Bytes,
        value: Bytes,
        expires_at: Option<SystemTime>,
    ) -> Revision {
        self.remove(&bucket, &key);
        let revision = self.next_revision();
        self.bytes += size(&key, &value);
        let versioned = Versioned {
            value,
            revision,
            expires_at,
        };
        if let Some(end) = expires_at {
            self.ends.insert((end, Arc::clone(&bucket), key.clone()));
        }
        self.buckets
            .entry(Arc::clone(&bucket))
            .or_default()
            .insert(key.clone(), versioned.clone());
        self.tell(&bucket, &Event::Put(Entry { key, versioned }));
        revision
    }

    pub(super) fn delete(
        &mut self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError> {
        let current = self
            .get(bucket, key, now)
            .map(|versioned| versioned.revision);
        expect.check(current)?;
        if current.is_none() {
            return Ok(None);
        }
        Ok(self.remove_and_tell(bucket, key, false))
    }

    /// Whether the puts of a commit have room.
    pub(super) fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut changed: BTreeMap<(&str, &[u8]), u64> = BTreeMap::new();
        let mut new_buckets = BTreeSet::new();
        let (mut bytes, mut grows) = (i128::from(self.bytes), false);
        for write in writes {
            match write {
                Write::Put { bucket, key, value } => {
                    let added = size(key, value);
                    let before = changed.insert((bucket, key), added);
                    let before = before.unwrap_or_else(|| self.stored_size(bucket, key));
                    bytes += i128::from(added) - i128::from(before);
                    grows |= added > before;
                    if !self.buckets.contains_key(*bucket) {
                        new_buckets.insert(*bucket);
                    }
                }
                Write::Delete { bucket, key } => {
                    let before = changed.insert((bucket, key), 0);
                    bytes -= i128::from(before.unwrap_or_else(|| self.stored_size(bucket, key)));
                }
                Write::DeletePrefix { bucket, prefix } => {
                    for key in self.keys_with(bucket, prefix) {
                        let stored = self.stored_size(bucket, key);
                        changed.entry((bucket, key)).or_insert(stored);
                    }
                    let gone = changed
                        .iter_mut()
                        .filter(|((name, key), _)| name == bucket && key.starts_with(prefix));
                    for (_, left) in gone {
                        bytes -= i128::from(std::mem::take(left));
                    }
                }
                Write::Append { .. } | Write::Release(_) => {}
            }
        }
        if self.buckets.len() + new_buckets.len() > BUCKETS_MAX {
            return Err(StoreError::TooManyBuckets { limit: BUCKETS_MAX });
        }
        if grows && bytes > i128::from(self.bytes_max) {
            return Err(StoreError::Full {
                limit: self.bytes_max,
            });
        }
        Ok(())
    }

    /// Applies one write of a commit that was checked.
    pub(super) fn apply(&mut self, write: Write) {
        match write {
            Write::Put { bucket, key, value } => {
                self.set(bucket.into(), key, value, None);
            }
            Write::Delete { bucket, key } => {
                self.remove_and_tell(bucket, &key, false);
            }
            Write::DeletePrefix { bucket, prefix } => {
                let keys: Vec<_> = self.keys_with(bucket, &prefix).cloned().collect();
                for key in keys {
                    self.remove_and_tell(bucket, &key, false);
                }
            }
            Write::Append { .. } | Write::Release(_) => {}
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn keys_with<'a>(&'a self, bucket: &str, prefix: &'a [u8]) -> impl Iterator<Item = &'a Bytes> {
        let entries = self.buckets.get(bucket).into_iter();
        entries
            .flat_map(move |entries| {
                entries.range::<[u8], _>((Bound::Included(prefix), Bound::Unbounded))
            })
            .map(|(key, _)| key)
            .take_while(move |key| key.starts_with(prefix))
    }

    fn stored_size(&self, bucket: &str, key: &[u8]) -> u64 {
        let stored = self
            .buckets
            .get(bucket)
            .and_then(|entries| entries.get(key));
        stored.map_or(0, |versioned| size(key, &versioned.value))
    }

    pub(super) fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> ScanPage {
        let mut page = ScanPage {
            entries: Vec::new(),
            more: false,
        };
        let Some(entries) = self.buckets.get(bucket) else {
            return page;
        };
        // A cursor before the prefix would begin outside it.
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = entries.range::<[u8], _>((start, Bound::Unbounded));
        let live = range
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, v)| is_live(v, now));
        let mut bytes = 0;
        for (key, versioned) in live {
            if page.entries.len() >= max.min(SCAN_KEYS_MAX) || bytes >= SCAN_BYTES_MAX {
                page.more = true;
                break;
            }
            bytes += key.len() + versioned.value.len();
            page.entries.push(Entry {
                key: key.clone(),
                versioned: versioned.clone(),
            });
        }
        page
    }

    pub(super) fn expire(&mut self, now: SystemTime) -> usize {
        let due = self
            .ends
            .iter()
            .take_while(|(end, ..)| *end <= now)
            .take(EXPIRE_KEYS_MAX);
        let due: Vec<_> = due.cloned().collect();
        for (_, bucket, key) in &due {
            self.remove_and_tell(bucket, key, true);
        }
        due.len()
    }

    /// Registers a watch; it is told of every change after the revision that is returned.
    pub(super) fn add_watch(&mut self, queue: Arc<Queue>) -> Result<Revision, StoreError> {
        if self.watches.len() >= WATCHES_MAX {
            return Err(StoreError::TooManyWatches { limit: WATCHES_MAX });
        }
        self.watches.push(queue);
        Ok(Revision(self.revision))
    }

    pub(super) fn remove_watch(&mut self, queue: &Arc<Queue>) {
        self.watches.retain(|other| !Arc::ptr_eq(other, queue));
    }

    fn bucket_for_writing(&self, bucket: &str) -> Result<Arc<str>, StoreError> {
        if let Some((name, _)) = self.buckets.get_key_value(bucket) {
            return Ok(Arc::clone(name));
        }
        if self.buckets.len() >= BUCKETS_MAX {
            return Err(StoreError::TooManyBuckets { limit: BUCKETS_MAX });
        }
        Ok(bucket.into())
    }

    fn remove_and_tell(&mut self, bucket: &str, key: &[u8], expired: bool) -> Option<Revision> {
        let key = self.remove(bucket, key)?;
        let revision = self.next_revision();
        self.tell(
            bucket,
            &Event::Delete {
                key,
                revision,
                expired,
            },
        );
        Some(revision)
    }

    /// Takes a key out with everything that is kept beside it; an empty bucket goes too.
    fn remove(&mut self, bucket: &str, key: &[u8]) -> Option<Bytes> {
        let name = self
            .buckets
            .get_key_value(bucket)
            .map(|(name, _)| Arc::clone(name))?;
        let entries = self.buckets.get_mut(bucket)?;
        let (key, versioned) = entries.remove_entry(key)?;
        if entries.is_empty() {
            self.buckets.remove(bucket);
        }
        self.bytes -= size(&key, &versioned.value);
        if let Some(end) = versioned.expires_at {
            self.ends.remove(&(end, name, key.clone()));
        }
        Some(key)
    }

    fn next_revision(&mut self) -> Revision {
        self.revision += 1;
        Revision(self.revision)
    }

    fn tell(&self, bucket: &str, event: &Event) {
        for queue in &self.watches {
            queue.push(bucket, event);
        }
    }
}

fn is_live(versioned: &Versioned, now: SystemTime) -> bool {
    versioned.expires_at.is_none_or(|end| end > now)
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}
