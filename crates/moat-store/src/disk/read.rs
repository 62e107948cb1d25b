//! Reading the log.

use std::sync::RwLock;

use bytes::Bytes;
use fjall::Keyspace;

use super::chunk::ChunkReader;
use super::engine::Engine;
use super::index::{Index, Starts};
use super::notes::segment_name;
use super::{read_lock, write_lock};
use crate::log::{READ_BYTES_MAX, READ_EXAMINED_MAX, READ_RECORDS_MAX};
use crate::{Extent, Page, Part, Position, Record, Sequence, StoreError, Want};

/// Reads records with the engine open.
pub(super) struct LogReader<'a> {
    pub(super) engine: &'a Engine,
    pub(super) index: &'a RwLock<Index>,
}

/// A chunk that was found, kept for the next position.
struct Open {
    part: Part,
    first: u64,
    reader: ChunkReader,
}

/// Where a record is.
enum Place {
    Nowhere,
    Chunk(Keyspace, u64),
    /// In a segment whose chunks are not known yet.
    Unknown(Keyspace, u64),
}

impl LogReader<'_> {
    pub(super) fn exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        let mut found = Vec::with_capacity(positions.len());
        let mut bytes = 0;
        let mut open = None;
        for position in positions {
            if bytes >= READ_BYTES_MAX {
                break;
            }
            let record = self.one(*position, &mut open)?;
            bytes += record.as_ref().map_or(0, Record::size);
            found.push(record);
        }
        Ok(found)
    }

    pub(super) fn page(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        let extent = read_lock(self.index).extent(part);
        let filling = Filling {
            page: Page {
                records: Vec::new(),
                next: extent.next,
                extent,
            },
            max: max.min(READ_RECORDS_MAX),
            bytes: 0,
            examined: 0,
        };
        let from = from.max(extent.first);
        match want {
            Want::All => self.walk(part, from, filling, &|_| true),
            Want::Topics(passes) => self.walk(part, from, filling, passes),
            Want::Exact(wanted) => self.pick(part, from, filling, wanted),
        }
    }

    fn pick(
        &self,
        part: Part,
        from: Sequence,
        mut filling: Filling,
        wanted: &[Sequence],
    ) -> Result<Page, StoreError> {
        let Extent { next, .. } = filling.page.extent;
        let mut open = None;
        let there = wanted.iter().filter(|wanted| (from..next).contains(wanted));
        for sequence in there {
            if filling.is_full(*sequence) {
                break;
            }
            let position = Position {
                part,
                sequence: *sequence,
            };
            if let Some(record) = self.one(position, &mut open)? {
                filling.push(*sequence, record);
            }
        }
        Ok(filling.page)
    }

    /// Every record from `from` on whose topic passes.
    fn walk(
        &self,
        part: Part,
        from: Sequence,
        mut filling: Filling,
        passes: &dyn Fn(&str) -> bool,
    ) -> Result<Page, StoreError> {
        let next = filling.page.extent.next.0;
        let mut at = from.0;
        while at < next {
            let Some((first, end, keyspace)) = self.segment_from(part, at) else {
                break;
            };
            at = at.max(first);
            let Some(keyspace) = keyspace else {
                // Dropped: nobody wants what was in it.
                at = end;
                continue;
            };
            for chunk in self.chunks(part, first, &keyspace, at)? {
                let (start, chunk) = chunk?;
                let mut reader = ChunkReader::new(part, Sequence(start), chunk);
                if start > at {
                    return Err(missing(part, at, start));
                }
                while let Some(record) = self.next_from(part, at, &mut reader)? {
                    if filling.is_full(Sequence(at)) {
                        return Ok(filling.page);
                    }
                    if passes(&record.topic) {
                        filling.push(Sequence(at), record);
                    }
                    at += 1;
                }
                if at >= next.min(end) {
                    break;
                }
            }
            if at < next.min(end) {
                return Err(missing(part, at, end));
            }
        }
        Ok(filling.page)
    }

    /// The record `at` of a chunk, or `None` if the chunk ends before it.
    fn next_from(
        &self,
        part: Part,
        at: u64,
        reader: &mut ChunkReader,
    ) -> Result<Option<Record>, StoreError> {
        while reader.next_sequence().0 < at {
            match reader.skip() {
                None => return Ok(None),
                Some(skipped) => skipped.map_err(|_| damaged(part, at))?,
            }
        }
        let record = reader.read();
        record.transpose().map_err(|_| damaged(part, at))
    }

    /// The segment that `at` is in, or the first one behind it.
    fn segment_from(&self, part: Part, at: u64) -> Option<(u64, u64, Option<Keyspace>)> {
        let index = read_lock(self.index);
        let part = index.parts.get(&part)?;
        let within = part.segment(at);
        let (first, segment) = match within {
            Some(found) => found,
            None => part
                .segments
                .range(at..)
                .next()
                .map(|(first, s)| (*first, s))?,
        };
        Some((first, segment.next, segment.keyspace.clone()))
    }

    /// The chunks of a segment from the one that `at` is in.
    fn chunks<'a>(
        &'a self,
        part: Part,
        first: u64,
        keyspace: &Keyspace,
        at: u64,
    ) -> Result<impl Iterator<Item = Result<(u64, Bytes), StoreError>> + 'a, StoreError> {
        let name = segment_name(part, first);
        let mut start = at.to_be_bytes();
        if at > first
            && let Some(entry) = keyspace.range(..=start).next_back()
        {
            let key = entry
                .key()
                .map_err(|error| self.engine.error(&name, error))?;
            start = <[u8; 8]>::try_from(&key[..]).unwrap_or(start);
        }
        let chunks = keyspace.range(start..);
        Ok(chunks.map(move |entry| {
            let (key, chunk) = entry
                .into_inner()
                .map_err(|error| self.engine.error(&name, error))?;
            let key = <[u8; 8]>::try_from(&key[..]).map_err(|_| damaged(part, at))?;
            Ok((u64::from_be_bytes(key), chunk.into()))
        }))
    }

    fn one(
        &self,
        position: Position,
        open: &mut Option<Open>,
    ) -> Result<Option<Record>, StoreError> {
        let Position { part, sequence } = position;
        let (keyspace, start) = match self.place(position) {
            Place::Nowhere => return Ok(None),
            Place::Chunk(keyspace, start) => (keyspace, start),
            Place::Unknown(keyspace, first) => {
                self.learn_starts(part, first, &keyspace)?;
                match self.place(position) {
                    Place::Chunk(keyspace, start) => (keyspace, start),
                    _ => return Ok(None),
                }
            }
        };
        let reusable = open.as_ref().is_some_and(|open| {
            let same = open.part == part && open.first == start;
            same && open.reader.next_sequence() <= sequence
        });
        if !reusable {
            let name = segment_name(part, start);
            let chunk = keyspace.get(start.to_be_bytes());
            let chunk = chunk.map_err(|error| self.engine.error(&name, error))?;
            let chunk = chunk.ok_or_else(|| damaged(part, sequence.0))?;
            *open = Some(Open {
                part,
                first: start,
                reader: ChunkReader::new(part, Sequence(start), chunk.into()),
            });
        }
        match open {
            Some(open) => {
                let record = self.next_from(part, sequence.0, &mut open.reader)?;
                record.map(Some).ok_or_else(|| damaged(part, sequence.0))
            }
            None => Ok(None),
        }
    }

    fn place(&self, position: Position) -> Place {
        let index = read_lock(self.index);
        let Some(part) = index.parts.get(&position.part) else {
            return Place::Nowhere;
        };
        let sequence = position.sequence.0;
        if sequence < part.first {
            return Place::Nowhere;
        }
        let Some((first, segment)) = part.segment(sequence) else {
            return Place::Nowhere;
        };
        match (&segment.keyspace, &segment.starts) {
            (None, _) => Place::Nowhere,
            (Some(keyspace), None) => Place::Unknown(keyspace.clone(), first),
            (Some(keyspace), Some(starts)) => match starts.of(sequence) {
                Some(start) => Place::Chunk(keyspace.clone(), start),
                None => Place::Nowhere,
            },
        }
    }

    /// Finds out where the chunks of a segment begin that was written before this start.
    fn learn_starts(&self, part: Part, first: u64, keyspace: &Keyspace) -> Result<(), StoreError> {
        let name = segment_name(part, first);
        let mut starts = Starts::new(first);
        for entry in keyspace.iter() {
            let key = entry
                .key()
                .map_err(|error| self.engine.error(&name, error))?;
            let key = <[u8; 8]>::try_from(&key[..]).map_err(|_| damaged(part, first))?;
            starts.add(u64::from_be_bytes(key));
        }
        let mut index = write_lock(self.index);
        let segments = index.parts.get_mut(&part).map(|part| &mut part.segments);
        if let Some(segment) = segments.and_then(|segments| segments.get_mut(&first)) {
            segment.starts = Some(starts);
        }
        Ok(())
    }
}

/// A page in the making.
struct Filling {
    page: Page,
    max: usize,
    bytes: usize,
    examined: usize,
}

impl Filling {
    /// Whether the page ends before `sequence`, which is then where the next one begins.
    fn is_full(&mut self, sequence: Sequence) -> bool {
        let full = self.page.records.len() >= self.max || self.bytes >= READ_BYTES_MAX;
        if full || self.examined >= READ_EXAMINED_MAX {
            self.page.next = sequence;
            return true;
        }
        self.examined += 1;
        false
    }

    fn push(&mut self, sequence: Sequence, record: Record) {
        self.bytes += record.size();
        self.page.records.push((sequence, record));
    }
}

fn damaged(part: Part, at: u64) -> StoreError {
    StoreError::Corrupt {
        place: format!("part {}, record {at}", part.0),
        lost: "the record, and those after it in its chunk".to_owned(),
    }
}

fn missing(part: Part, from: u64, to: u64) -> StoreError {
    StoreError::Corrupt {
        place: format!("part {}", part.0),
        lost: format!("the records from {from} to {}", to - 1),
    }
}
