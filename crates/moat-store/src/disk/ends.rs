//! When values end: a keyspace by time. A value that was replaced leaves its old end behind, which
//! is recognised by its revision when its time comes.

use bytes::{BufMut, Bytes, BytesMut};

use super::recover::ENDS;
use super::value;
use crate::Revision;

/// An end that is due.
pub(super) struct End {
    pub(super) revision: Revision,
    pub(super) bucket: String,
    pub(super) key: Bytes,
}

/// What follows the ends up to and with `nanos`.
pub(super) fn after(nanos: u64) -> Bytes {
    Bytes::copy_from_slice(&nanos.saturating_add(1).to_be_bytes())
}

pub(super) fn encode(nanos: u64, revision: Revision, bucket: &str, key: &[u8]) -> (Bytes, Bytes) {
    let mut place = BytesMut::with_capacity(16);
    place.put_u64(nanos);
    place.put_u64(revision.0);
    // A bucket's name is bounded by BUCKET_NAME_CHARS_MAX.
    let length = u8::try_from(bucket.len()).unwrap_or(u8::MAX);
    let what = [&[length], bucket.as_bytes(), key].concat();
    let stored = value::encode(value::seed(ENDS), &place, &what, revision, None);
    (place.freeze(), stored)
}

/// `None`: it is damaged.
pub(super) fn decode(place: &[u8], stored: Bytes) -> Option<End> {
    let found = value::decode(value::seed(ENDS), place, stored).ok()?;
    let mut what = found.value;
    let length = usize::from(*what.first()?);
    let bucket = String::from_utf8(what.get(1..=length)?.to_vec()).ok()?;
    Some(End {
        revision: found.revision,
        bucket,
        key: what.split_off(1 + length),
    })
}
