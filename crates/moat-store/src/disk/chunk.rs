//! Records as bytes: chunks of a few, each record with a checksum of its own.
//!
//! A chunk is what one key of a segment holds: the records that a commit wrote one after the other,
//! from the sequence that is the key. A record is
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | length of the body, little endian |
//! | 4 | checksum of the body, its part and its sequence |
//! | body | takers, topic, headers, dedup id, each length as a varint; the rest is the payload |

use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::limits::{CHUNK_BYTES, CHUNK_RECORDS_MAX};
use crate::{Part, Record, Sequence};

const HEAD_BYTES: usize = 8;

/// Bytes that are no record, or not the one that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// A chunk in the making.
#[derive(Default)]
pub(super) struct ChunkWriter {
    bytes: Vec<u8>,
    records: usize,
}

impl ChunkWriter {
    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= CHUNK_RECORDS_MAX || self.bytes.len() >= CHUNK_BYTES
    }

    pub(super) fn push(&mut self, sequence: Sequence, record: &Record) {
        let start = self.bytes.len();
        self.bytes.reserve(HEAD_BYTES + 16 + record.size());
        self.bytes.extend_from_slice(&[0; HEAD_BYTES]);
        put_varint(&mut self.bytes, record.takers as usize);
        put_field(&mut self.bytes, record.topic.as_bytes());
        put_field(&mut self.bytes, &record.headers);
        // One more than its length, so that no id differs from an empty one.
        match &record.dedup_id {
            None => self.bytes.push(0),
            Some(id) => {
                put_varint(&mut self.bytes, id.len() + 1);
                self.bytes.extend_from_slice(id);
            }
        }
        self.bytes.extend_from_slice(&record.payload);
        let body = start + HEAD_BYTES;
        let sum = checksum(record.part, sequence, &self.bytes[body..]);
        // A record is bounded by RECORD_BYTES_MAX, far below 4 GiB.
        let length = u32::try_from(self.bytes.len() - body).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes[start + 4..body].copy_from_slice(&sum);
        self.records += 1;
    }

    /// The chunk, and an empty one to go on with.
    pub(super) fn take(&mut self) -> Bytes {
        self.records = 0;
        Bytes::from(std::mem::take(&mut self.bytes))
    }
}

/// Reads the records of a chunk, in order.
pub(super) struct ChunkReader {
    chunk: Bytes,
    part: Part,
    next: u64,
    /// The topic of the record before: the same one is not allocated again.
    topic: Option<Arc<str>>,
}

impl ChunkReader {
    pub(super) fn new(part: Part, first: Sequence, chunk: Bytes) -> Self {
        Self {
            chunk,
            part,
            next: first.0,
            topic: None,
        }
    }

    /// The sequence of the record that comes next; after the last one, that of the next chunk.
    pub(super) fn next_sequence(&self) -> Sequence {
        Sequence(self.next)
    }

    /// The next record, whole and checked.
    pub(super) fn read(&mut self) -> Option<Result<Record, Damaged>> {
        let body = match self.body()? {
            Ok(body) => body,
            Err(damaged) => return Some(Err(damaged)),
        };
        let (length, sum) = body;
        let body = self.chunk.slice(HEAD_BYTES..HEAD_BYTES + length);
        if checksum(self.part, Sequence(self.next), &body) != sum {
            return Some(Err(Damaged));
        }
        self.advance(length);
        Some(self.parse(body).ok_or(Damaged))
    }

    /// Goes past the next record without a look at it. `None`: there is none.
    pub(super) fn skip(&mut self) -> Option<Result<(), Damaged>> {
        match self.body()? {
            Ok((length, _)) => {
                self.advance(length);
                Some(Ok(()))
            }
            Err(damaged) => Some(Err(damaged)),
        }
    }

    fn advance(&mut self, length: usize) {
        self.chunk = self.chunk.slice(HEAD_BYTES + length..);
        self.next += 1;
    }

    fn body(&self) -> Option<Result<(usize, [u8; 4]), Damaged>> {
        if self.chunk.is_empty() {
            return None;
        }
        let read = || {
            let length = u32::from_le_bytes(self.chunk.get(..4)?.try_into().ok()?);
            let sum = self.chunk.get(4..HEAD_BYTES)?.try_into().ok()?;
            let length = usize::try_from(length).ok()?;
            (length <= self.chunk.len() - HEAD_BYTES).then_some((length, sum))
        };
        Some(read().ok_or(Damaged))
    }

    fn parse(&mut self, mut body: Bytes) -> Option<Record> {
        let takers = u32::try_from(take_varint(&mut body)?).ok()?;
        let topic = take_field(&mut body)?;
        let headers = take_field(&mut body)?;
        let id = take_varint(&mut body)?;
        let dedup_id = match id.checked_sub(1) {
            None => None,
            Some(length) if length <= body.len() => Some(body.split_to(length)),
            Some(_) => return None,
        };
        let topic = match &self.topic {
            Some(before) if before.as_bytes() == topic => Arc::clone(before),
            _ => Arc::from(std::str::from_utf8(&topic).ok()?),
        };
        self.topic = Some(Arc::clone(&topic));
        Some(Record {
            part: self.part,
            topic,
            headers,
            payload: body,
            dedup_id,
            takers,
        })
    }
}

fn checksum(part: Part, sequence: Sequence, body: &[u8]) -> [u8; 4] {
    let seed = sequence.0 ^ (u64::from(part.0) << 48);
    let [a, b, c, d, ..] = xxh3_64_with_seed(body, seed).to_le_bytes();
    [a, b, c, d]
}

fn put_field(bytes: &mut Vec<u8>, field: &[u8]) {
    put_varint(bytes, field.len());
    bytes.extend_from_slice(field);
}

fn put_varint(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(0x80 | low_bits(number));
        number >>= 7;
    }
    bytes.push(low_bits(number));
}

fn low_bits(number: usize) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

fn take_field(bytes: &mut Bytes) -> Option<Bytes> {
    let length = take_varint(bytes)?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn take_varint(bytes: &mut Bytes) -> Option<usize> {
    let mut number = 0;
    for at in 0..5 {
        let byte = *bytes.get(at)?;
        number |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let _ = bytes.split_to(at + 1);
            return Some(number);
        }
    }
    None
}
