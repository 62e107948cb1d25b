//! The log: a queue of records for each part.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::log::{DEDUP_IDS_KEPT, READ_BYTES_MAX, READ_EXAMINED_MAX, READ_RECORDS_MAX};
use crate::{Extent, Page, Part, Position, Record, Sequence, StoreError, Want, Write};

pub(super) struct Log {
    parts: HashMap<Part, PartLog>,
    bytes: u64,
    bytes_max: u64,
}

struct PartLog {
    /// Sequence of the first of `records`.
    first: u64,
    records: VecDeque<Record>,
    /// How many still have to have each of `records`.
    waiting: VecDeque<u32>,
    known: HashMap<Bytes, Sequence>,
    /// The keys of `known`, oldest first.
    known_order: VecDeque<Bytes>,
}

impl Default for PartLog {
    fn default() -> Self {
        Self {
            first: Sequence::FIRST.0,
            records: VecDeque::new(),
            waiting: VecDeque::new(),
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
        if let Some(log) = self.parts.get_mut(&part) {
            self.bytes -= log.forget_records(|first, _| first < below.0);
        }
    }

    /// Whether every append of a commit has its place, and all of them have room.
    pub(super) fn check(&self, writes: &[Write]) -> Result<(), StoreError> {
        let mut nexts = HashMap::new();
        let mut ids = HashSet::new();
        let mut added = 0;
        for write in writes {
            let Write::Append { at, record } = write else {
                continue;
            };
            let head = self.extent(record.part).next.0;
            let next = nexts.entry(record.part).or_insert(head);
            match at {
                Some(at) if at.0 < *next => continue,
                Some(at) if at.0 > *next => {
                    return Err(StoreError::Gap {
                        part: record.part.0,
                        at: at.0,
                        next: *next,
                    });
                }
                _ => {}
            }
            if let Some(id) = &record.dedup_id {
                let log = self.parts.get(&record.part);
                let known = log.is_some_and(|log| log.known.contains_key(id));
                if known || !ids.insert((record.part, id)) {
                    continue;
                }
            }
            *next += 1;
            added += record.size() as u64;
        }
        if added > 0 && self.bytes + added > self.bytes_max {
            return Err(StoreError::Full {
                limit: self.bytes_max,
            });
        }
        Ok(())
    }

    /// Appends one record of a commit that was checked.
    pub(super) fn append_at(&mut self, at: Option<Sequence>, record: Record) -> Position {
        let part = record.part;
        let log = self.parts.entry(part).or_default();
        let sequence = match at {
            Some(at) if at.0 < log.range().end => at,
            _ => {
                let bytes = record.size() as u64;
                let before = log.records.len();
                let sequence = log.append(record);
                if log.records.len() > before {
                    self.bytes += bytes;
                }
                sequence
            }
        };
        Position { part, sequence }
    }

    /// Forgets the oldest dedup ids of the parts of these positions, once their commit is in.
    pub(super) fn forget_ids(&mut self, positions: &[Position]) {
        for position in positions {
            if let Some(log) = self.parts.get_mut(&position.part) {
                log.forget();
            }
        }
    }

    /// One taker of a record is done with it.
    pub(super) fn release(&mut self, position: Position) {
        let Some(log) = self.parts.get_mut(&position.part) else {
            return;
        };
        if let Some(waiting) = log.waiting_of(position.sequence) {
            *waiting = waiting.saturating_sub(1);
        }
        self.bytes -= log.forget_records(|_, waiting| waiting == 0);
    }

    pub(super) fn recount(&mut self, live: &[(Position, u32)]) {
        for log in self.parts.values_mut() {
            log.waiting.iter_mut().for_each(|waiting| *waiting = 0);
        }
        for (position, takers) in live {
            let log = self.parts.get_mut(&position.part);
            if let Some(waiting) = log.and_then(|log| log.waiting_of(position.sequence)) {
                *waiting += takers;
            }
        }
        for log in self.parts.values_mut() {
            self.bytes -= log.forget_records(|_, waiting| waiting == 0);
        }
    }

    pub(super) fn read_exact(&self, positions: &[Position]) -> Vec<Option<Record>> {
        let mut bytes = 0;
        let mut found = Vec::with_capacity(positions.len());
        for position in positions {
            if bytes >= READ_BYTES_MAX {
                break;
            }
            let record = self
                .parts
                .get(&position.part)
                .and_then(|log| log.records.get(log.index(position.sequence)?))
                .cloned();
            bytes += record.as_ref().map_or(0, Record::size);
            found.push(record);
        }
        found
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
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
        self.waiting.push_back(record.takers);
        self.records.push_back(record);
        sequence
    }

    fn index(&self, sequence: Sequence) -> Option<usize> {
        usize::try_from(sequence.0.checked_sub(self.first)?).ok()
    }

    fn waiting_of(&mut self, sequence: Sequence) -> Option<&mut u32> {
        let index = self.index(sequence)?;
        self.waiting.get_mut(index)
    }

    /// Forgets records from the front while that may be done with them, by their number and how many
    /// wait for them. Returns their bytes.
    fn forget_records(&mut self, may_go: impl Fn(u64, u32) -> bool) -> u64 {
        let mut bytes = 0;
        while let Some(waiting) = self.waiting.front()
            && may_go(self.first, *waiting)
            && let Some(record) = self.records.pop_front()
        {
            self.waiting.pop_front();
            self.first += 1;
            bytes += record.size() as u64;
        }
        bytes
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
