//! Keys and values of buckets as bytes.
//!
//! A value is a checksum (4 bytes) of everything else and of its bucket and key; its revision (8);
//! its end (8, nanoseconds since 1970, 0 for none); and itself. A key is stored as it is, but for
//! the empty one and those that begin with a zero byte: they get a zero byte in front, since a key
//! of the engine cannot be empty.

use std::time::{Duration, SystemTime};

use bytes::{BufMut, Bytes, BytesMut};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::chunk::Damaged;
use crate::{Revision, Versioned};

const SUM_BYTES: usize = 4;
const HEAD_BYTES: usize = SUM_BYTES + 8 + 8;

/// What the checksums of a bucket begin with.
pub(super) fn seed(bucket: &str) -> u64 {
    xxh3_64(bucket.as_bytes())
}

pub(super) fn encode(
    seed: u64,
    key: &[u8],
    value: &[u8],
    revision: Revision,
    end: Option<u64>,
) -> Bytes {
    let mut bytes = BytesMut::with_capacity(HEAD_BYTES + value.len());
    bytes.put_bytes(0, SUM_BYTES);
    bytes.put_u64_le(revision.0);
    bytes.put_u64_le(end.unwrap_or(0));
    bytes.put_slice(value);
    let sum = checksum(seed, key, &bytes[SUM_BYTES..]);
    bytes[..SUM_BYTES].copy_from_slice(&sum);
    bytes.freeze()
}

pub(super) fn decode(seed: u64, key: &[u8], mut bytes: Bytes) -> Result<Versioned, Damaged> {
    if bytes.len() < HEAD_BYTES || bytes[..SUM_BYTES] != checksum(seed, key, &bytes[SUM_BYTES..]) {
        return Err(Damaged);
    }
    let number = |at: usize| {
        let bytes = bytes[at..at + 8].try_into().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    let (revision, end) = (number(SUM_BYTES), number(SUM_BYTES + 8));
    Ok(Versioned {
        value: bytes.split_off(HEAD_BYTES),
        revision: Revision(revision),
        expires_at: (end > 0).then(|| moment(end)),
    })
}

/// The key as it is stored.
pub(super) fn stored_key(key: &Bytes) -> Bytes {
    match key.first() {
        Some(1..) => key.clone(),
        _ => stored_prefix(key),
    }
}

/// The same of a slice; for a prefix too, but for the empty one: every key begins so.
pub(super) fn stored_prefix(key: &[u8]) -> Bytes {
    match key.first() {
        Some(1..) => Bytes::copy_from_slice(key),
        _ => [&[0], key].concat().into(),
    }
}

/// The key as it was given.
pub(super) fn given_key(mut stored: Bytes) -> Bytes {
    match stored.first() {
        Some(0) => stored.split_off(1),
        _ => stored,
    }
}

/// A moment as it is stored; `None` if it lies beyond the year 2554, or before 1970.
pub(super) fn nanos(moment: SystemTime) -> Option<u64> {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_nanos()).ok()
}

fn moment(nanos: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(nanos)
}

fn checksum(seed: u64, key: &[u8], rest: &[u8]) -> [u8; SUM_BYTES] {
    let seed = xxh3_64_with_seed(key, seed);
    let [a, b, c, d, ..] = xxh3_64_with_seed(rest, seed).to_le_bytes();
    [a, b, c, d]
}
