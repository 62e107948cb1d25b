//! Buckets and their keys. Numbers are big-endian, so that byte order is their order.

use bytes::Bytes;
use moat_codec::PacketId;
use moat_core::durable::{Place, Position, QueueId};

use super::bytes::{Input, Malformed, Output, text};
use crate::KEY_BYTES_MAX;

/// Sessions, by queue.
pub const SESSIONS: &str = "sessions";
/// Subscriptions, by queue and filter.
pub const SUBSCRIPTIONS: &str = "subscriptions";
/// How far queues have come, by queue.
pub const PROGRESS: &str = "progress";
/// QoS 2 identifiers of clients that await PUBREL, by queue and identifier.
pub const INBOUND: &str = "inbound";
/// Wills, by queue.
pub const WILLS: &str = "wills";
/// Groups of shared subscriptions, by queue.
pub const GROUPS: &str = "groups";
/// Entries that were dealt from one queue to another, by position and the entry they were.
pub const DEALS: &str = "deals";
/// Retained messages, by topic.
pub const RETAINED: &str = "retained";
/// What holds for the whole store.
pub const META: &str = "meta";
/// In [`META`]: how often a broker has started on the store.
pub const STARTS: &[u8] = b"starts";
/// In [`META`]: the last moment a broker is known to have lived.
pub const ALIVE_AT: &[u8] = b"alive-at";
/// In [`META`]: the version of the layout.
pub const VERSION: &[u8] = b"layout";

/// All of them.
pub const BUCKETS: [&str; 9] = [
    SESSIONS,
    SUBSCRIPTIONS,
    PROGRESS,
    INBOUND,
    WILLS,
    GROUPS,
    DEALS,
    RETAINED,
    META,
];

/// The longest filter that its key holds, in bytes: a key that begins with a zero byte has one byte less.
const FILTER_IN_KEY_BYTES_MAX: usize = KEY_BYTES_MAX - 1 - 8;
/// What follows the queue in the key of a longer filter; no text begins with it.
const LONG_FILTER: u8 = 0xFF;

/// An entry of a queue that was dealt to another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Dealt {
    pub(super) position: Position,
    pub(super) queue: QueueId,
    pub(super) place: Place,
}

pub(super) fn of_queue(queue: QueueId, out: &mut Output) -> Bytes {
    out.u64(queue.0);
    out.take()
}

/// The key of a subscription, and the filter if it has to stand in the value: a key has less room than a filter needs at
/// most. Then the key ends in a digest of it; the filters of one session would have to be made to collide.
pub(super) fn of_subscription<'a>(
    queue: QueueId,
    filter: &'a str,
    out: &mut Output,
) -> (Bytes, Option<&'a str>) {
    out.room(8 + filter.len());
    out.u64(queue.0);
    let is_long = filter.len() > FILTER_IN_KEY_BYTES_MAX;
    if is_long {
        out.byte(LONG_FILTER);
        out.raw(&fnv_1a(filter.as_bytes()).to_be_bytes());
    } else {
        out.raw(filter.as_bytes());
    }
    (out.take(), is_long.then_some(filter))
}

pub(super) fn of_inbound(queue: QueueId, id: PacketId, out: &mut Output) -> Bytes {
    out.u64(queue.0);
    out.u16(id.value());
    out.take()
}

pub(super) fn of_deal(from: &Dealt, out: &mut Output) -> Bytes {
    out.u16(from.position.part);
    out.u64(from.position.sequence);
    out.u64(from.queue.0);
    let (kind, number) = match from.place {
        Place::Arrival(arrival) => (0, arrival),
        Place::Ordinal(ordinal) => (1, ordinal),
    };
    out.byte(kind);
    out.u64(number);
    out.take()
}

pub(super) fn queue(key: &[u8]) -> Result<QueueId, Malformed> {
    let mut input = Input::of_key(key);
    let queue = input.u64()?;
    input.end()?;
    Ok(QueueId(queue))
}

/// Queue and filter; the value's, if the key has only a digest.
pub(super) fn subscription<'a>(
    key: &'a [u8],
    in_value: &'a str,
) -> Result<(QueueId, &'a str), Malformed> {
    let mut input = Input::of_key(key);
    let queue = QueueId(input.u64()?);
    match input.rest() {
        [LONG_FILTER, digest @ ..] if *digest == fnv_1a(in_value.as_bytes()).to_be_bytes() => {
            Ok((queue, in_value))
        }
        [LONG_FILTER, ..] => Err(Malformed::OutOfRange("the digest of a filter")),
        filter if in_value.is_empty() => Ok((queue, text(filter, "a filter")?)),
        _ => Err(Malformed::BytesAfterEnd),
    }
}

pub(super) fn inbound(key: &[u8]) -> Result<(QueueId, PacketId), Malformed> {
    let mut input = Input::of_key(key);
    let (queue, id) = (QueueId(input.u64()?), input.u16()?);
    input.end()?;
    let id = PacketId::new(id).ok_or(Malformed::OutOfRange("a packet identifier"))?;
    Ok((queue, id))
}

pub(super) fn deal(key: &[u8]) -> Result<Dealt, Malformed> {
    let mut input = Input::of_key(key);
    let position = Position {
        part: input.u16()?,
        sequence: input.u64()?,
    };
    let queue = QueueId(input.u64()?);
    let place = match (input.byte()?, input.u64()?) {
        (0, arrival) => Place::Arrival(arrival),
        (1, ordinal) => Place::Ordinal(ordinal),
        _ => return Err(Malformed::OutOfRange("the kind of a place")),
    };
    input.end()?;
    if position.sequence == 0 {
        return Err(Malformed::OutOfRange("a position"));
    }
    Ok(Dealt {
        position,
        queue,
        place,
    })
}

/// FNV-1a of 128 bits.
fn fnv_1a(bytes: &[u8]) -> u128 {
    const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013B;
    bytes.iter().fold(OFFSET_BASIS, |hash, byte| {
        (hash ^ u128::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_too_long_for_a_key_stands_in_the_value() {
        let mut out = Output::default();
        for (length, is_in_value) in [
            (FILTER_IN_KEY_BYTES_MAX, false),
            (FILTER_IN_KEY_BYTES_MAX + 1, true),
        ] {
            let filter = "f".repeat(length);
            let (key, in_value) = of_subscription(QueueId(7), &filter, &mut out);
            assert!(key.len() <= KEY_BYTES_MAX);
            assert_eq!(in_value.is_some(), is_in_value);
            let read = subscription(&key, in_value.unwrap_or_default());
            assert_eq!(read, Ok((QueueId(7), filter.as_str())));
        }
    }

    #[test]
    fn a_digest_that_is_another_filters_is_refused() {
        let mut out = Output::default();
        let filter = "f".repeat(FILTER_IN_KEY_BYTES_MAX + 1);
        let (key, _) = of_subscription(QueueId(7), &filter, &mut out);
        assert!(subscription(&key, &filter[1..]).is_err());
    }

    #[test]
    fn the_digest_is_that_of_the_published_vectors() {
        // draft-eastlake-fnv-21, appendix C.
        assert_eq!(fnv_1a(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv_1a(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv_1a(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    #[test]
    fn keys_sort_as_their_numbers() {
        let mut out = Output::default();
        let mut key = |number| of_queue(QueueId(number), &mut out);
        assert!(key(255) < key(256));
        assert!(key(256) < key(u64::MAX));
    }
}
