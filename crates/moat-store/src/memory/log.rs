//! The log: a queue of records for each part.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::log::{DEDUP_IDS_KEPT, READ_BYTES_MAX, READ_EXAMINED_MAX, READ_RECORDS_MAX};
use crate::{Extent, Page, Part, Position, Record, Sequence, StoreError, Want};

pub(super) struct Log {
    parts: HashMap<Part, PartLog>,
    bytes: u64,
    bytes_max: u64,
}

struct PartLog {
    /// Sequence of the first of `records`.
    first: u64,
    records: VecDeque<Record>,
    known: HashMap<Bytes, Sequence>,
    /// The keys of `known`, oldest first.
    known_order: VecDeque<Bytes>,
}

impl Default for PartLog {
    fn default() -> Self {
        Self {
            first: Sequence::FIRST.0,
            records: VecDeque::new(),
            known: HashMap::new(),
            known_order: VecDeque::new(),
        }
    }
}

impl Log {
    pub(super) fn new(bytes_max: u64) -> Self {
        Self {
            parts: HashMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    pub(super) fn append(&mut self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        let added = self.new_bytes(&batch);
        if self.bytes + added > self.bytes_max {
            return Err(StoreError::Full {
                limit: self.bytes_max,
            });
        }
        self.bytes += added;
        let mut positions = Vec::with_capacity(batch.len());
        for record in batch {
            let part = record.part;
            let sequence = self.parts.entry(part).or_default().append(record);
            positions.push(Position { part, sequence });
        }
        for position in &positions {
            if let Some(log) = self.parts.get_mut(&position.part) {
                log.forget();
            }
        }
        Ok(positions)
    }

    pub(super) fn read(&self, part: Part, from: Sequence, max: usize, want: &Want<'_>) -> Page {
        let extent = self.extent(part);
        let mut page = Page {
            records: Vec::new(),
            next: extent.next,
            extent,
        };
        let Some(log) = self.parts.get(&part) else {
            return page;
        };
        let range = from.max(extent.first).0..extent.next.0;
        let max = max.min(READ_RECORDS_MAX);
        match want {
            Want::All => log.fill(&mut page, max, range, |_| true),
            Want::Topics(passes) => log.fill(&mut page, max, range, |record| passes(&record.topic)),
            Want::Exact(wanted) => {
                let wanted = wanted
                    .iter()
                    .map(|sequence| sequence.0)
                    .filter(|number| range.contains(number));
                log.fill(&mut page, max, wanted, |_| true);
            }
        }
        page
    }

    pub(super) fn trim(&mut self, part: Part, below: Sequence) {
        let Some(log) = self.parts.get_mut(&part) else {
            return;
        };
        while log.first < below.0
            && let Some(record) = log.records.pop_front()
        {
            log.first += 1;
            self.bytes -= record.size() as u64;
        }
    }

    pub(super) fn extent(&self, part: Part) -> Extent {
        let range = self
            .parts
            .get(&part)
            .map_or(Sequence::FIRST.0..Sequence::FIRST.0, PartLog::range);
        Extent {
            first: Sequence(range.start),
            next: Sequence(range.end),
        }
    }

    /// The bytes of those records that are not known yet.
    fn new_bytes(&self, batch: &[Record]) -> u64 {
        let mut in_batch = HashSet::new();
        let is_new = |record: &&Record| match &record.dedup_id {
            None => true,
            Some(id) => {
                let known = self
                    .parts
                    .get(&record.part)
                    .is_some_and(|log| log.known.contains_key(id));
                !known && in_batch.insert((record.part, id.clone()))
            }
        };
        batch
            .iter()
            .filter(is_new)
            .map(|record| record.size() as u64)
            .sum()
    }
}

impl PartLog {
    fn range(&self) -> Range<u64> {
        self.first..self.first + self.records.len() as u64
    }

    fn append(&mut self, record: Record) -> Sequence {
        let sequence = Sequence(self.range().end);
        if let Some(id) = &record.dedup_id {
            if let Some(earlier) = self.known.get(id) {
                return *earlier;
            }
            self.known.insert(id.clone(), sequence);
            self.known_order.push_back(id.clone());
        }
        self.records.push_back(record);
        sequence
    }

    /// Forgets the oldest dedup ids beyond the bound, once a batch is in: within one batch none is
    /// forgotten, so that its bytes are counted as they are stored.
    fn forget(&mut self) {
        while self.known_order.len() > DEDUP_IDS_KEPT
            && let Some(oldest) = self.known_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Puts the wanted of `numbers` (ascending, within the range) onto the page until it is full.
    fn fill(
        &self,
        page: &mut Page,
        max: usize,
        numbers: impl Iterator<Item = u64>,
        wants: impl Fn(&Record) -> bool,
    ) {
        let mut bytes = 0;
        for (examined, number) in numbers.enumerate() {
            let full = page.records.len() >= max || bytes >= READ_BYTES_MAX;
            if full || examined >= READ_EXAMINED_MAX {
                page.next = Sequence(number);
                return;
            }
            let index = usize::try_from(number - self.first).unwrap_or(usize::MAX);
            if let Some(record) = self.records.get(index).filter(|record| wants(record)) {
                bytes += record.size();
                page.records.push((Sequence(number), record.clone()));
            }
        }
    }
}
