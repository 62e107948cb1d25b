//! The store's own notes: which parts, segments and buckets there are.

use bytes::{BufMut, Bytes, BytesMut};

use super::value;
use crate::{Part, Revision};

/// The keyspace they are in.
pub(super) const NOTES: &str = "notes";
/// How often the store was opened.
pub(super) const STARTS: &[u8] = b"n";

const PART: u8 = b'p';
const SEGMENT: u8 = b's';
const BUCKET: u8 = b'b';

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Starts(u64),
    Part {
        part: Part,
        first: u64,
        next: u64,
    },
    Segment {
        part: Part,
        first: u64,
        created: u64,
        state: State,
    },
    Bucket(String),
}

/// What has become of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Records are added to it.
    Open,
    /// It ends before this sequence.
    Sealed(u64),
    /// It ended before this sequence, and nobody waited for it any more.
    Dropped(u64),
}

pub(super) fn part_key(part: Part) -> Bytes {
    [&[PART][..], &part.0.to_be_bytes()].concat().into()
}

pub(super) fn segment_key(part: Part, first: u64) -> Bytes {
    let (part, first) = (part.0.to_be_bytes(), first.to_be_bytes());
    [&[SEGMENT][..], &part, &first].concat().into()
}

/// The keyspace of a segment.
pub(super) fn segment_name(part: Part, first: u64) -> String {
    format!("s.{}.{first}", part.0)
}

/// The keyspace of a bucket.
pub(super) fn bucket_name(bucket: &str) -> String {
    format!("b.{bucket}")
}

impl Note {
    pub(super) fn key(&self) -> Bytes {
        match self {
            Self::Starts(_) => Bytes::from_static(STARTS),
            Self::Part { part, .. } => part_key(*part),
            Self::Segment { part, first, .. } => segment_key(*part, *first),
            Self::Bucket(name) => [&[BUCKET][..], name.as_bytes()].concat().into(),
        }
    }

    /// The value, with its checksum.
    pub(super) fn value(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        match self {
            Self::Starts(count) => bytes.put_u64(*count),
            Self::Part { first, next, .. } => {
                bytes.put_u64(*first);
                bytes.put_u64(*next);
            }
            Self::Segment { created, state, .. } => {
                let (kind, next) = match state {
                    State::Open => (0, 0),
                    State::Sealed(next) => (1, *next),
                    State::Dropped(next) => (2, *next),
                };
                bytes.put_u64(*created);
                bytes.put_u8(kind);
                bytes.put_u64(next);
            }
            Self::Bucket(_) => {}
        }
        value::encode(value::seed(NOTES), &self.key(), &bytes, Revision(0), None)
    }

    /// `None`: it is damaged.
    pub(super) fn decode(key: &[u8], stored: Bytes) -> Option<Self> {
        let value = value::decode(value::seed(NOTES), key, stored).ok()?.value;
        let number = |from: &[u8], at: usize| {
            let bytes = from.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_be_bytes(bytes))
        };
        let part = || {
            let bytes = key.get(1..3)?.try_into().ok()?;
            Some(Part(u16::from_be_bytes(bytes)))
        };
        match *key.first()? {
            _ if key == STARTS => Some(Self::Starts(number(&value, 0)?)),
            PART => Some(Self::Part {
                part: part()?,
                first: number(&value, 0)?,
                next: number(&value, 8)?,
            }),
            SEGMENT => Some(Self::Segment {
                part: part()?,
                first: number(key, 3)?,
                created: number(&value, 0)?,
                state: match *value.get(8)? {
                    0 => State::Open,
                    1 => State::Sealed(number(&value, 9)?),
                    2 => State::Dropped(number(&value, 9)?),
                    _ => return None,
                },
            }),
            BUCKET => Some(Self::Bucket(String::from_utf8(key[1..].to_vec()).ok()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_come_back() {
        let segment = |state| Note::Segment {
            part: Part(7),
            first: 300,
            created: 5,
            state,
        };
        for note in [
            Note::Starts(3),
            Note::Part {
                part: Part(513),
                first: 2,
                next: u64::MAX,
            },
            segment(State::Open),
            segment(State::Sealed(9)),
            segment(State::Dropped(9)),
            Note::Bucket("retained".into()),
        ] {
            let (key, mut value) = (note.key(), note.value().to_vec());
            assert_eq!(Note::decode(&key, value.clone().into()), Some(note));
            value[0] ^= 1;
            assert_eq!(Note::decode(&key, value.into()), None);
        }
    }
}
