//! What is known in memory about the log: parts, their segments, and where chunks begin.

use std::collections::{BTreeMap, HashMap};

use fjall::Keyspace;

use super::limits::{SEGMENT_AGE_MS, SEGMENT_AGED_BYTES_MIN, SEGMENT_BYTES, SEGMENTS_AGED_MAX};
use crate::{Extent, Part, Position, Sequence};

/// The log.
#[derive(Default)]
pub(super) struct Index {
    pub(super) parts: BTreeMap<Part, PartIndex>,
    /// Takers are known: the store is new, or it was told by `recount`.
    pub(super) counted: bool,
}

/// One part.
pub(super) struct PartIndex {
    /// The oldest record that was not trimmed.
    pub(super) first: u64,
    /// What the next record will be.
    pub(super) next: u64,
    /// The takers of records below this one are counted.
    pub(super) counted_below: u64,
    /// By the sequence they begin with; each ends where the next one begins.
    pub(super) segments: BTreeMap<u64, Segment>,
}

/// A piece of a part that is dropped whole.
pub(super) struct Segment {
    /// `None`: it was dropped, and is remembered because an older one was not.
    pub(super) keyspace: Option<Keyspace>,
    /// The sequence after its last record.
    pub(super) next: u64,
    /// When it was begun, in UNIX milliseconds.
    pub(super) created: u64,
    /// Bytes of its records.
    pub(super) bytes: u64,
    /// How many takers its records have, together.
    pub(super) takers: u64,
    /// Nothing more is written to it.
    pub(super) sealed: bool,
    /// `None`: not known yet, since the store was opened.
    pub(super) starts: Option<Starts>,
}

impl Default for PartIndex {
    fn default() -> Self {
        Self {
            first: Sequence::FIRST.0,
            next: Sequence::FIRST.0,
            counted_below: Sequence::FIRST.0,
            segments: BTreeMap::new(),
        }
    }
}

impl Index {
    pub(super) fn extent(&self, part: Part) -> Extent {
        let part = self.parts.get(&part);
        let (first, next) = part.map_or((1, 1), |part| (part.first, part.next));
        Extent {
            first: Sequence(first),
            next: Sequence(next),
        }
    }

    /// One taker of a record is done; nothing happens if it is gone.
    pub(super) fn release(&mut self, position: Position) {
        if !self.counted {
            return;
        }
        let part = self.parts.get_mut(&position.part);
        if let Some((_, segment)) = part.and_then(|part| part.segment_mut(position.sequence.0)) {
            segment.takers = segment.takers.saturating_sub(1);
        }
    }

    /// Counts anew: only these records have takers.
    pub(super) fn recount(&mut self, live: &[(Position, u32)]) {
        for part in self.parts.values_mut() {
            part.counted_below = part.next;
            for segment in part.segments.values_mut() {
                segment.takers = 0;
            }
        }
        for (position, takers) in live {
            let part = self.parts.get_mut(&position.part);
            if let Some((_, segment)) = part.and_then(|part| part.segment_mut(position.sequence.0))
            {
                segment.takers += u64::from(*takers);
            }
        }
        self.counted = true;
    }

    /// Takes over what only memory knew, from before the store was opened again.
    pub(super) fn inherit(&mut self, before: &Self) {
        self.counted = before.counted;
        for (number, old) in &before.parts {
            let Some(part) = self.parts.get_mut(number) else {
                continue;
            };
            part.counted_below = old.counted_below;
            for (first, segment) in &mut part.segments {
                segment.takers = old.segments.get(first).map_or(0, |old| old.takers);
            }
        }
    }

    /// The same without handles of the engine, which may be closed then.
    pub(super) fn without_keyspaces(mut self) -> Self {
        for part in self.parts.values_mut() {
            for segment in part.segments.values_mut() {
                segment.keyspace = None;
                segment.starts = None;
            }
        }
        self
    }

    /// The segments that nobody waits for and nobody writes to.
    pub(super) fn done(&self, now: u64) -> Vec<(Part, u64)> {
        let mut done = Vec::new();
        if self.counted {
            for (number, part) in &self.parts {
                let idle = part.segments.iter().filter(|(_, segment)| {
                    segment.keyspace.is_some()
                        && segment.takers == 0
                        && segment.next <= part.counted_below
                        && (segment.sealed || now.saturating_sub(segment.created) >= SEGMENT_AGE_MS)
                });
                done.extend(idle.map(|(first, _)| (*number, *first)));
            }
        }
        done
    }
}

impl PartIndex {
    /// The segment that a record is in.
    pub(super) fn segment(&self, sequence: u64) -> Option<(u64, &Segment)> {
        let (first, segment) = self.segments.range(..=sequence).next_back()?;
        (sequence < segment.next).then_some((*first, segment))
    }

    fn segment_mut(&mut self, sequence: u64) -> Option<(u64, &mut Segment)> {
        let (first, segment) = self.segments.range_mut(..=sequence).next_back()?;
        (sequence < segment.next).then_some((*first, segment))
    }

    /// The segment that the next record goes to; `None`: a new one.
    pub(super) fn active(&self, now: u64) -> Option<(u64, &Segment)> {
        let (first, segment) = self.segments.last_key_value()?;
        let open = !segment.sealed && segment.keyspace.is_some();
        (open && !self.has_ended(segment, now)).then_some((*first, segment))
    }

    fn has_ended(&self, segment: &Segment, now: u64) -> bool {
        let worth_it =
            self.segments.len() < SEGMENTS_AGED_MAX || segment.bytes >= SEGMENT_AGED_BYTES_MIN;
        let old = now.saturating_sub(segment.created) >= SEGMENT_AGE_MS;
        segment.bytes >= SEGMENT_BYTES || (old && worth_it)
    }
}

/// Which sequences of a segment begin a chunk: one bit each.
#[derive(Debug, Default, Clone)]
pub(super) struct Starts {
    first: u64,
    bits: Vec<u64>,
}

impl Starts {
    pub(super) fn new(first: u64) -> Self {
        Self {
            first,
            bits: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, sequence: u64) {
        let Some((word, bit)) = self.place(sequence) else {
            return;
        };
        if word >= self.bits.len() {
            self.bits.resize(word + 1, 0);
        }
        self.bits[word] |= 1 << bit;
    }

    /// The start of the chunk that a sequence is in.
    pub(super) fn of(&self, sequence: u64) -> Option<u64> {
        let (word, bit) = self.place(sequence)?;
        let (mut at, mut mask) = (word, u64::MAX >> (63 - bit));
        if at >= self.bits.len() {
            (at, mask) = (self.bits.len().checked_sub(1)?, u64::MAX);
        }
        loop {
            let found = self.bits[at] & mask;
            if found != 0 {
                let bit = u64::from(63 - found.leading_zeros());
                return Some(self.first + at as u64 * 64 + bit);
            }
            (at, mask) = (at.checked_sub(1)?, u64::MAX);
        }
    }

    fn place(&self, sequence: u64) -> Option<(usize, u64)> {
        let offset = sequence.checked_sub(self.first)?;
        Some((usize::try_from(offset / 64).ok()?, offset % 64))
    }
}

/// The ids by which a record is known that comes again, of one part.
#[derive(Default)]
pub(super) struct KnownIds {
    pub(super) sequences: HashMap<bytes::Bytes, u64>,
    /// Oldest first.
    pub(super) order: std::collections::VecDeque<(u64, bytes::Bytes)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_find_the_chunk_of_every_sequence() {
        let starts = [10, 11, 40, 73, 74, 137, 138, 400];
        let mut index = Starts::new(10);
        for start in starts {
            index.add(start);
        }
        assert_eq!(index.of(9), None);
        for sequence in 10..1000 {
            let expected = starts.iter().rfind(|start| **start <= sequence);
            assert_eq!(index.of(sequence), expected.copied(), "{sequence}");
        }
        assert_eq!(Starts::new(1).of(5), None);
    }
}
