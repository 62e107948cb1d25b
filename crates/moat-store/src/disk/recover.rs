//! From the notes of an open database to the index in memory; what is missing is named.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use fjall::Keyspace;

use super::buckets::BucketHandle;
use super::chunk::ChunkReader;
use super::engine::{Engine, Kind};
use super::index::{Index, KnownIds, PartIndex, Segment};
use super::journal::MARK_KEY;
use super::notes::{NOTES, Note, State, bucket_name, segment_name};
use super::value;
use crate::{Part, Revision, Sequence, StoreError};

/// Ends of values: when and which.
pub(super) const ENDS: &str = "ends";
/// Dedup ids, by part and sequence.
pub(super) const IDS: &str = "ids";

/// What a store starts from.
pub(super) struct Recovered {
    pub(super) notes: Keyspace,
    pub(super) ends: Keyspace,
    pub(super) ids: Keyspace,
    pub(super) index: Index,
    pub(super) buckets: HashMap<Arc<str>, Arc<BucketHandle>>,
    pub(super) known: HashMap<Part, KnownIds>,
    /// How often it was opened before.
    pub(super) starts: u64,
    /// Keyspaces that no note speaks of: left by a crash while a segment was begun or dropped.
    pub(super) orphans: Vec<Keyspace>,
}

/// Makes what a new store needs.
pub(super) fn create(engine: &Engine) -> Result<(), StoreError> {
    for name in [NOTES, ENDS, IDS] {
        engine.keyspace(name, Kind::Notes)?;
    }
    Ok(())
}

pub(super) fn recover(engine: &Engine) -> Result<Recovered, StoreError> {
    let notes = required(engine, NOTES)?;
    let mut recovered = Recovered {
        ends: required(engine, ENDS)?,
        ids: required(engine, IDS)?,
        index: Index::default(),
        buckets: HashMap::new(),
        known: HashMap::new(),
        starts: 0,
        orphans: Vec::new(),
        notes,
    };
    let mut spoken_of: HashSet<String> = [NOTES, ENDS, IDS].map(str::to_owned).into();
    for entry in recovered.notes.iter() {
        let (key, stored) = entry
            .into_inner()
            .map_err(|error| engine.error(NOTES, error))?;
        if *key == *MARK_KEY {
            continue;
        }
        let note = Note::decode(&key, stored.into()).ok_or_else(|| StoreError::Corrupt {
            place: format!("note {:?}", String::from_utf8_lossy(&key)),
            lost: "what it says about a part, a segment or a bucket".to_owned(),
        })?;
        if let Some(name) = recovered.take(engine, note)? {
            spoken_of.insert(name);
        }
    }
    for (number, part) in &mut recovered.index.parts {
        finish(engine, *number, part)?;
    }
    recovered.known = known_ids(engine, &recovered.ids)?;
    for name in engine.names() {
        if !spoken_of.contains(&name) {
            let orphan = recovered.orphan(engine, &name)?;
            recovered.orphans.extend(orphan);
        }
    }
    Ok(recovered)
}

impl Recovered {
    /// Takes a note in. The name of the keyspace it speaks of.
    fn take(&mut self, engine: &Engine, note: Note) -> Result<Option<String>, StoreError> {
        match note {
            Note::Starts(count) => self.starts = count,
            Note::Part { part, first, next } => {
                let part = self.index.parts.entry(part).or_default();
                (part.first, part.next) = (first, next);
            }
            Note::Bucket(name) => {
                let keyspace = required(engine, &bucket_name(&name))?;
                let handle = Arc::new(BucketHandle::new(&name, keyspace));
                self.buckets.insert(name.as_str().into(), handle);
                return Ok(Some(bucket_name(&name)));
            }
            Note::Segment {
                part,
                first,
                created,
                state,
            } => {
                let name = segment_name(part, first);
                let (keyspace, next) = match state {
                    State::Open => (Some(required(engine, &name)?), 0),
                    State::Sealed(next) => (Some(required(engine, &name)?), next),
                    State::Dropped(next) => (None, next),
                };
                let is_there = keyspace.is_some();
                let segment = Segment {
                    bytes: keyspace.as_ref().map_or(0, Keyspace::disk_space),
                    keyspace,
                    next,
                    created,
                    takers: 0,
                    // A new one is begun after each start: so that where chunks of this one begin
                    // can be found out when somebody asks.
                    sealed: true,
                    starts: None,
                };
                let part = self.index.parts.entry(part).or_default();
                part.segments.insert(first, segment);
                return Ok(is_there.then_some(name));
            }
        }
        Ok(None)
    }

    /// A keyspace that no note speaks of is empty, or below what its part still has.
    fn orphan(&self, engine: &Engine, name: &str) -> Result<Option<Keyspace>, StoreError> {
        let Some(keyspace) = engine.existing(name)? else {
            return Ok(None);
        };
        let is_empty = keyspace
            .is_empty()
            .map_err(|error| engine.error(name, error))?;
        let mut fields = name.split('.').skip(1).map(str::parse::<u64>);
        let dropped = match (fields.next(), fields.next()) {
            (Some(Ok(part)), Some(Ok(first))) => self.index.parts.iter().any(|(number, known)| {
                let hole = known.segments.get(&first);
                u64::from(number.0) == part
                    && (first < known.first || hole.is_some_and(|hole| hole.keyspace.is_none()))
            }),
            _ => false,
        };
        if is_empty || dropped {
            return Ok(Some(keyspace));
        }
        Err(StoreError::Corrupt {
            place: format!("keyspace {name}"),
            lost: "the note that says what it is".to_owned(),
        })
    }
}

/// Where the last segment of a part ends, and whether the segments follow each other.
fn finish(engine: &Engine, number: Part, part: &mut PartIndex) -> Result<(), StoreError> {
    if let Some((first, segment)) = part.segments.iter_mut().next_back()
        && segment.next == 0
        && let Some(keyspace) = &segment.keyspace
    {
        segment.next = end_of_segment(engine, number, *first, keyspace)?;
    }
    let mut expected: Option<u64> = None;
    for (first, segment) in &part.segments {
        if expected.is_some_and(|expected| expected != *first) {
            let expected = expected.unwrap_or_default();
            return Err(StoreError::Corrupt {
                place: format!("part {}", number.0),
                lost: format!("the records from {expected} to {}", first.saturating_sub(1)),
            });
        }
        expected = Some(segment.next);
    }
    part.next = part.next.max(expected.unwrap_or(1)).max(1);
    let oldest = part.segments.first_key_value().map(|(first, _)| *first);
    part.first = part.first.max(oldest.unwrap_or(part.next)).max(1);
    part.counted_below = 1;
    Ok(())
}

/// The sequence after the last record of a segment.
fn end_of_segment(
    engine: &Engine,
    part: Part,
    first: u64,
    keyspace: &Keyspace,
) -> Result<u64, StoreError> {
    let name = segment_name(part, first);
    let Some(last) = keyspace.last_key_value() else {
        // Its note came with its first records, so this is loss.
        return Err(StoreError::Corrupt {
            place: format!("part {}", part.0),
            lost: format!("the records from {first} on: their segment is empty"),
        });
    };
    let (key, chunk) = last
        .into_inner()
        .map_err(|error| engine.error(&name, error))?;
    let damaged = |at: u64| StoreError::Corrupt {
        place: format!("part {}, record {at}", part.0),
        lost: "the record, and those after it in its chunk".to_owned(),
    };
    let start = <[u8; 8]>::try_from(&key[..]).map_err(|_| damaged(first))?;
    let start = u64::from_be_bytes(start);
    let mut reader = ChunkReader::new(part, Sequence(start), chunk.into());
    while let Some(record) = reader.read() {
        record.map_err(|_| damaged(reader.next_sequence().0))?;
    }
    Ok(reader.next_sequence().0)
}

fn known_ids(engine: &Engine, ids: &Keyspace) -> Result<HashMap<Part, KnownIds>, StoreError> {
    let mut known: BTreeMap<Part, KnownIds> = BTreeMap::new();
    for entry in ids.iter() {
        let (key, stored) = entry
            .into_inner()
            .map_err(|error| engine.error(IDS, error))?;
        let parse = || {
            let part = u16::from_be_bytes(key.get(..2)?.try_into().ok()?);
            let sequence = u64::from_be_bytes(key.get(2..)?.try_into().ok()?);
            let id = decode_id(&key, stored.into())?;
            Some((Part(part), sequence, id))
        };
        let (part, sequence, id) = parse().ok_or_else(|| StoreError::Corrupt {
            place: "dedup ids".to_owned(),
            lost: "whether a record that comes again is known".to_owned(),
        })?;
        let known = known.entry(part).or_default();
        known.sequences.insert(id.clone(), sequence);
        known.order.push_back((sequence, id));
    }
    Ok(known.into_iter().collect())
}

pub(super) fn id_key(part: Part, sequence: u64) -> Bytes {
    [&part.0.to_be_bytes()[..], &sequence.to_be_bytes()]
        .concat()
        .into()
}

pub(super) fn encode_id(key: &[u8], id: &[u8]) -> Bytes {
    value::encode(value::seed(IDS), key, id, Revision(0), None)
}

fn decode_id(key: &[u8], stored: Bytes) -> Option<Bytes> {
    let id = value::decode(value::seed(IDS), key, stored).ok()?.value;
    Some(Bytes::copy_from_slice(&id))
}

fn required(engine: &Engine, name: &str) -> Result<Keyspace, StoreError> {
    engine.existing(name)?.ok_or_else(|| StoreError::Corrupt {
        place: format!("{}: keyspace {name}", engine.folder().display()),
        lost: "its folder is missing, with everything in it".to_owned(),
    })
}
