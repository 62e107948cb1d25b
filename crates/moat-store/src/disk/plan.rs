//! A commit in the making: checked, and turned into one batch of the engine.
//!
//! Nothing is changed but the batch and, if a bucket or segment is new, an empty keyspace, until the
//! batch is durable. Then [`Plan::finish`] says what memory has to know.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use fjall::Keyspace;

use super::buckets::{BucketHandle, is_live};
use super::chunk::ChunkWriter;
use super::engine::Kind;
use super::limits::DISK_BUCKETS_MAX;
use super::notes::{Note, State, bucket_name, segment_name};
use super::outcome::Outcome;
use super::recover::{encode_id, id_key};
use super::shared::{Live, Shared, Writer};
use super::{read_lock, value};
use crate::log::DEDUP_IDS_KEPT;
use crate::{
    Entry, Event, Part, Position, Record, Revision, Sequence, StoreError, Versioned, Write,
};

/// One change of a bucket.
pub(super) struct Change {
    pub(super) bucket: Arc<BucketHandle>,
    pub(super) key: Bytes,
    pub(super) what: What,
}

/// What becomes of a key.
pub(super) enum What {
    Put {
        value: Bytes,
        end: Option<SystemTime>,
    },
    Delete {
        expired: bool,
    },
}

pub(super) struct Plan<'a> {
    shared: &'a Shared,
    live: &'a Live,
    writer: &'a mut Writer,
    batch: fjall::OwnedWriteBatch,
    now: SystemTime,
    now_ms: u64,
    parts: BTreeMap<Part, PartPlan>,
    buckets: Vec<Arc<BucketHandle>>,
    /// Buckets that are new with this commit.
    created: Vec<Arc<BucketHandle>>,
    /// Keys of this commit and whether they are there after it; only kept if somebody asks.
    touched: Option<BTreeMap<(Arc<str>, Bytes), bool>>,
    /// Buckets that somebody watches.
    watched: Vec<Box<str>>,
    events: Vec<(Arc<str>, Event)>,
    revision: u64,
    earliest_end: Option<u64>,
    /// Bytes that it writes.
    pub(super) bytes: u64,
    pub(super) appends: bool,
}

/// What a commit does to a part.
pub(super) struct PartPlan {
    pub(super) part: Part,
    pub(super) first_new: u64,
    pub(super) next: u64,
    pub(super) counted_below: u64,
    pub(super) target: Option<Target>,
    pub(super) chunk: ChunkWriter,
    pub(super) chunk_first: u64,
    pub(super) starts: Vec<u64>,
    pub(super) bytes: u64,
    pub(super) takers: u64,
    /// Records that were there, and whose takers are not counted.
    pub(super) late: Vec<(u64, u32)>,
    pub(super) ids: HashMap<Bytes, u64>,
}

/// The segment that a part's new records go to.
pub(super) struct Target {
    pub(super) first: u64,
    pub(super) keyspace: Keyspace,
    pub(super) is_new: bool,
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        live: &'a Live,
        writer: &'a mut Writer,
        now: SystemTime,
    ) -> Self {
        let revision = writer.revision;
        let watched = shared.watched_buckets();
        Self {
            shared,
            live,
            batch: live.batch(),
            now,
            now_ms: value::nanos(now).unwrap_or(0) / 1_000_000,
            parts: BTreeMap::new(),
            buckets: Vec::new(),
            created: Vec::new(),
            touched: (!watched.is_empty()).then(BTreeMap::new),
            watched,
            events: Vec::new(),
            revision,
            earliest_end: None,
            bytes: 0,
            appends: false,
            writer,
        }
    }

    /// Takes in everything but releases. Returns the positions of the appends.
    pub(super) fn add_all(&mut self, writes: Vec<Write>) -> Result<Vec<Position>, StoreError> {
        let looks = writes
            .iter()
            .any(|write| matches!(write, Write::DeletePrefix { .. }));
        if looks && self.touched.is_none() {
            self.touched = Some(BTreeMap::new());
        }
        let mut positions = Vec::new();
        for write in writes {
            match write {
                Write::Append { at, record } => positions.push(self.append(at, &record)?),
                Write::Put { bucket, key, value } => {
                    let bucket = self.bucket(bucket)?;
                    let what = What::Put { value, end: None };
                    self.change(Change { bucket, key, what })?;
                }
                Write::Delete { bucket, key } => {
                    let bucket = self.bucket(bucket)?;
                    let what = What::Delete { expired: false };
                    self.change(Change { bucket, key, what })?;
                }
                Write::DeletePrefix { bucket, prefix } => self.delete_prefix(bucket, &prefix)?,
                Write::Release(_) => {}
            }
        }
        Ok(positions)
    }

    pub(super) fn append(
        &mut self,
        at: Option<Sequence>,
        record: &Record,
    ) -> Result<Position, StoreError> {
        let part = record.part;
        self.part(part);
        let Some(plan) = self.parts.get_mut(&part) else {
            return Err(StoreError::Broken {
                cause: "a part was not planned".to_owned(),
            });
        };
        match at {
            Some(at) if at.0 < plan.next => {
                if at.0 >= plan.counted_below && at.0 < plan.first_new {
                    plan.late.push((at.0, record.takers));
                }
                return Ok(Position { part, sequence: at });
            }
            Some(at) if at.0 > plan.next => {
                return Err(StoreError::Gap {
                    part: part.0,
                    at: at.0,
                    next: plan.next,
                });
            }
            _ => {}
        }
        let sequence = Sequence(plan.next);
        if let Some(id) = &record.dedup_id {
            let known = self.writer.known.get(&part);
            let known = known.and_then(|known| known.sequences.get(id));
            if let Some(known) = known.or_else(|| plan.ids.get(id)) {
                let sequence = Sequence(*known);
                return Ok(Position { part, sequence });
            }
            plan.ids.insert(id.clone(), sequence.0);
            let key = id_key(part, sequence.0);
            let stored = encode_id(&key, id);
            self.batch.insert(&self.live.ids, key, stored);
        }
        plan.push(record);
        self.appends = true;
        self.bytes += record.size() as u64;
        if plan.chunk.is_full() {
            self.end_chunk(part)?;
        }
        Ok(Position { part, sequence })
    }

    pub(super) fn change(&mut self, change: Change) -> Result<Revision, StoreError> {
        let Change { bucket, key, what } = change;
        self.revision += 1;
        let revision = Revision(self.revision);
        let watched = self.watched.iter().any(|name| **name == *bucket.name);
        self.bytes += key.len() as u64;
        let stored_key = value::stored_key(&key);
        let is_put = matches!(what, What::Put { .. });
        let was_there = !is_put && watched && self.is_there(&bucket, &key)?;
        match what {
            What::Put { value, end } => {
                let nanos = self.end(end, &bucket, &key, revision)?;
                let stored = value::encode(bucket.seed, &key, &value, revision, nanos);
                self.bytes += stored.len() as u64;
                self.batch.insert(&bucket.keyspace, stored_key, stored);
                if watched {
                    let versioned = Versioned {
                        value,
                        revision,
                        expires_at: end,
                    };
                    let key = key.clone();
                    let event = Event::Put(Entry { key, versioned });
                    self.events.push((Arc::clone(&bucket.name), event));
                }
            }
            What::Delete { expired } => {
                self.batch.remove(&bucket.keyspace, stored_key);
                if was_there || (watched && expired) {
                    let key = key.clone();
                    let event = Event::Delete {
                        key,
                        revision,
                        expired,
                    };
                    self.events.push((Arc::clone(&bucket.name), event));
                }
            }
        }
        if let Some(touched) = &mut self.touched {
            touched.insert((Arc::clone(&bucket.name), key), is_put);
        }
        Ok(revision)
    }

    pub(super) fn live(&self) -> &'a Live {
        self.live
    }

    /// The revision that a key is at, before this commit.
    pub(super) fn current(
        &self,
        bucket: &str,
        key: &Bytes,
    ) -> Result<Option<Revision>, StoreError> {
        let Some(bucket) = self.shared.bucket(bucket) else {
            return Ok(None);
        };
        let found = bucket.get(&self.live.engine, key, self.now)?;
        Ok(found.map(|versioned| versioned.revision))
    }

    /// The bucket of this name; it is created if it is new.
    pub(super) fn bucket(&mut self, name: &str) -> Result<Arc<BucketHandle>, StoreError> {
        if let Some(bucket) = self.buckets.iter().find(|bucket| *bucket.name == *name) {
            return Ok(Arc::clone(bucket));
        }
        let bucket = match self.shared.bucket(name) {
            Some(bucket) => bucket,
            None => self.new_bucket(name)?,
        };
        self.buckets.push(Arc::clone(&bucket));
        Ok(bucket)
    }

    /// Takes an end back out: its value has ended, or has another one by now.
    pub(super) fn remove_end(&mut self, key: Bytes) {
        self.batch.remove(&self.live.ends, key);
    }

    /// What the end of the value is stored as, with a note to find it by.
    fn end(
        &mut self,
        end: Option<SystemTime>,
        bucket: &BucketHandle,
        key: &Bytes,
        revision: Revision,
    ) -> Result<Option<u64>, StoreError> {
        let Some(end) = end else {
            return Ok(None);
        };
        let nanos = value::nanos(end).ok_or(StoreError::TtlTooLong)?;
        let (ends_key, ends_value) = super::ends::encode(nanos, revision, &bucket.name, key);
        self.batch.insert(&self.live.ends, ends_key, ends_value);
        self.earliest_end = Some(
            self.earliest_end
                .map_or(nanos, |earliest| earliest.min(nanos)),
        );
        Ok(Some(nanos))
    }

    fn delete_prefix(&mut self, name: &str, prefix: &[u8]) -> Result<(), StoreError> {
        let bucket = self.bucket(name)?;
        let mut keys = BTreeMap::new();
        for entry in bucket.entries(&self.live.engine, prefix, None) {
            keys.insert(entry?.key, ());
        }
        if let Some(touched) = &self.touched {
            let from = (Arc::clone(&bucket.name), Bytes::copy_from_slice(prefix));
            let these = touched
                .range(from..)
                .take_while(|((name, key), _)| *name == bucket.name && key.starts_with(prefix));
            for ((_, key), is_there) in these {
                match is_there {
                    true => keys.insert(key.clone(), ()),
                    false => keys.remove(key),
                };
            }
        }
        for key in keys.into_keys() {
            self.change(Change {
                bucket: Arc::clone(&bucket),
                key,
                what: What::Delete { expired: false },
            })?;
        }
        Ok(())
    }

    /// Whether a key is there at this point of the commit.
    fn is_there(&self, bucket: &BucketHandle, key: &Bytes) -> Result<bool, StoreError> {
        let place = (Arc::clone(&bucket.name), key.clone());
        if let Some(is_there) = self.touched.as_ref().and_then(|keys| keys.get(&place)) {
            return Ok(*is_there);
        }
        let stored = bucket.stored(&self.live.engine, key)?;
        Ok(stored.is_some_and(|versioned| is_live(&versioned, self.now)))
    }

    fn new_bucket(&mut self, name: &str) -> Result<Arc<BucketHandle>, StoreError> {
        if self.shared.bucket_count() + self.created.len() >= DISK_BUCKETS_MAX {
            return Err(StoreError::TooManyBuckets {
                limit: DISK_BUCKETS_MAX,
            });
        }
        let keyspace = self
            .live
            .engine
            .keyspace(&bucket_name(name), Kind::Bucket)?;
        self.note(&Note::Bucket(name.to_owned()));
        let bucket = Arc::new(BucketHandle::new(name, keyspace));
        self.created.push(Arc::clone(&bucket));
        Ok(bucket)
    }

    fn note(&mut self, note: &Note) {
        self.batch
            .insert(&self.live.notes, note.key(), note.value());
    }

    fn part(&mut self, part: Part) {
        if self.parts.contains_key(&part) {
            return;
        }
        let index = read_lock(&self.shared.index);
        let known = index.parts.get(&part);
        let next = known.map_or(Sequence::FIRST.0, |known| known.next);
        let plan = PartPlan {
            part,
            first_new: next,
            next,
            counted_below: known.map_or(next, |known| known.counted_below),
            target: known.and_then(|known| {
                let (first, segment) = known.active(self.now_ms)?;
                Some(Target {
                    first,
                    keyspace: segment.keyspace.clone()?,
                    is_new: false,
                })
            }),
            chunk: ChunkWriter::default(),
            chunk_first: next,
            starts: Vec::new(),
            bytes: 0,
            takers: 0,
            late: Vec::new(),
            ids: HashMap::new(),
        };
        drop(index);
        self.parts.insert(part, plan);
    }

    /// Puts the chunk of a part into the batch, in a new segment if it is time for one.
    fn end_chunk(&mut self, part: Part) -> Result<(), StoreError> {
        let needs_segment = self
            .parts
            .get(&part)
            .is_some_and(|plan| plan.target.is_none());
        if needs_segment {
            self.begin_segment(part)?;
        }
        let Some(plan) = self.parts.get_mut(&part) else {
            return Ok(());
        };
        let chunk = plan.chunk.take();
        let first = std::mem::replace(&mut plan.chunk_first, plan.next);
        plan.starts.push(first);
        plan.bytes += chunk.len() as u64;
        if let Some(target) = &plan.target {
            let key = Bytes::copy_from_slice(&first.to_be_bytes());
            self.batch.insert(&target.keyspace, key, chunk);
        }
        Ok(())
    }

    fn begin_segment(&mut self, part: Part) -> Result<(), StoreError> {
        let Some(first) = self.parts.get(&part).map(|plan| plan.first_new) else {
            return Ok(());
        };
        let keyspace = self
            .live
            .engine
            .keyspace(&segment_name(part, first), Kind::Segment)?;
        self.note(&Note::Segment {
            part,
            first,
            created: self.now_ms,
            state: State::Open,
        });
        if let Some((before, created)) = self.open_segment(part) {
            self.note(&Note::Segment {
                part,
                first: before,
                created,
                state: State::Sealed(first),
            });
        }
        if let Some(plan) = self.parts.get_mut(&part) {
            plan.target = Some(Target {
                first,
                keyspace,
                is_new: true,
            });
        }
        Ok(())
    }

    /// The last segment of a part, if no note says where it ends.
    fn open_segment(&self, part: Part) -> Option<(u64, u64)> {
        let index = read_lock(&self.shared.index);
        let (first, segment) = index.parts.get(&part)?.segments.last_key_value()?;
        segment.keyspace.as_ref()?;
        Some((*first, segment.created))
    }

    /// Waits until the engine can take the batch without a stop.
    pub(super) fn wait_for_room(&self) -> Result<(), StoreError> {
        let targets = self.parts.values().filter_map(|plan| plan.target.as_ref());
        let segments = targets.map(|target| &target.keyspace);
        let buckets = self.buckets.iter().map(|bucket| &bucket.keyspace);
        let own = [&self.live.notes, &self.live.ends, &self.live.ids];
        let mut all = segments.chain(buckets).chain(own);
        all.try_for_each(|keyspace| self.live.engine.wait_for_room(keyspace))
    }

    /// Everything that was added is in the batch.
    pub(super) fn seal(&mut self) -> Result<(), StoreError> {
        let open: Vec<_> = self
            .parts
            .values()
            .filter(|plan| !plan.chunk.is_empty())
            .map(|plan| plan.part)
            .collect();
        for part in open {
            self.end_chunk(part)?;
        }
        self.forget_ids();
        Ok(())
    }

    /// Forgets the oldest dedup ids beyond the bound.
    fn forget_ids(&mut self) {
        for plan in self.parts.values().filter(|plan| !plan.ids.is_empty()) {
            let known = self.writer.known.get(&plan.part);
            let before = known.map_or(0, |known| known.order.len());
            let surplus = (before + plan.ids.len()).saturating_sub(DEDUP_IDS_KEPT);
            let oldest = known.into_iter().flat_map(|known| &known.order);
            for (sequence, _) in oldest.take(surplus) {
                self.batch
                    .remove(&self.live.ids, id_key(plan.part, *sequence));
            }
        }
    }

    /// The batch, and what memory learns once it is durable.
    pub(super) fn finish(self) -> (fjall::OwnedWriteBatch, Outcome) {
        let outcome = Outcome {
            parts: self.parts,
            created: self.created,
            events: self.events,
            revision: self.revision,
            earliest_end: self.earliest_end,
            bytes: self.bytes,
            now_ms: self.now_ms,
        };
        (self.batch, outcome)
    }
}

impl PartPlan {
    fn push(&mut self, record: &Record) {
        self.chunk.push(Sequence(self.next), record);
        self.next += 1;
        self.takers += u64::from(record.takers);
    }
}
