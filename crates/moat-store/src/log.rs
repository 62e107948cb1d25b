//! The log's vocabulary and bounds.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::StoreError;

/// Most records in one batch.
pub const BATCH_RECORDS_MAX: usize = 16_384;
/// Most bytes in one batch of several records: what one fsync commits.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most bytes in one record, topic, headers and dedup id included. One this large is a batch alone.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest dedup id, in bytes.
pub const DEDUP_ID_BYTES_MAX: usize = 64;
/// How many dedup ids of a part are remembered, the latest ones.
pub const DEDUP_IDS_KEPT: usize = 65_536;
/// Most positions one call of `read_exact` takes.
pub const READ_EXACT_MAX: usize = 65_536;
/// Most records in one page; a larger `max` is brought down to it.
pub const READ_RECORDS_MAX: usize = 16_384;
/// Most records one call looks at, wanted or not.
pub const READ_EXAMINED_MAX: usize = 65_536;
/// A page ends after the record with which it reaches this many bytes.
pub const READ_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A part of the log, with an order of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(pub u16);

/// The number of a record in its part; the first one is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The first record of a part.
    pub const FIRST: Self = Self(1);

    /// The one after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// Where a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The part.
    pub part: Part,
    /// The number in it.
    pub sequence: Sequence,
}

/// One message of the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it goes; the same topic always to the same part.
    pub part: Part,
    /// The topic it was published to.
    pub topic: Arc<str>,
    /// Whatever the broker keeps beside the payload; the store does not look into it.
    pub headers: Bytes,
    /// The payload; shared, not copied.
    pub payload: Bytes,
    /// A record with the same id in the same part is the same record, sent again.
    pub dedup_id: Option<Bytes>,
    /// How many have to have it. Once each of them is done with it ([`crate::Write::Release`]), the
    /// store may forget it, in its own time.
    pub takers: u32,
}

impl fmt::Debug for Record {
    /// Without headers and payload: they are the publisher's secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("part", &self.part)
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .field("takers", &self.takers)
            .finish_non_exhaustive()
    }
}

impl Record {
    /// What counts against the bounds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let id = self.dedup_id.as_ref().map_or(0, Bytes::len);
        self.topic.len() + self.headers.len() + self.payload.len() + id
    }
}

/// Which records a reader wants.
pub enum Want<'a> {
    /// All of them.
    All,
    /// These, in ascending order.
    Exact(&'a [Sequence]),
    /// Those whose topic passes.
    Topics(&'a dyn Fn(&str) -> bool),
}

/// What a part holds: `first` up to and without `next`; empty if they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// The oldest record that was not trimmed.
    pub first: Sequence,
    /// What the next record will be.
    pub next: Sequence,
}

/// A piece of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The records, in order. None does not mean the end: see `next`.
    pub records: Vec<(Sequence, Record)>,
    /// Where to read on; equal to `extent.next` when everything has been looked at.
    pub next: Sequence,
    /// What the part held at the moment of the call.
    pub extent: Extent,
}

/// Checks a batch against the bounds, for implementations.
///
/// # Errors
/// [`StoreError::RecordTooLarge`], [`StoreError::BatchTooLarge`].
pub fn check_batch(batch: &[Record]) -> Result<(), StoreError> {
    let mut total = 0;
    for (index, record) in batch.iter().enumerate() {
        let bytes = record.size();
        let id = record.dedup_id.as_ref().map_or(0, Bytes::len);
        if bytes > RECORD_BYTES_MAX || id > DEDUP_ID_BYTES_MAX {
            return Err(StoreError::RecordTooLarge { index, bytes });
        }
        total += bytes;
    }
    let records = batch.len();
    if records > BATCH_RECORDS_MAX || (records > 1 && total > BATCH_BYTES_MAX) {
        return Err(StoreError::BatchTooLarge {
            records,
            bytes: total,
        });
    }
    Ok(())
}

/// Checks how many positions are asked for, for implementations.
///
/// # Errors
/// [`StoreError::ReadTooLarge`].
pub fn check_positions(positions: &[Position]) -> Result<(), StoreError> {
    let positions = positions.len();
    if positions > READ_EXACT_MAX {
        return Err(StoreError::ReadTooLarge { positions });
    }
    Ok(())
}
