//! A message: as a record of the log with its takers, and as a retained value.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use moat_codec::QoS;
use moat_core::Time;
use moat_core::durable::{Place, QueueId, Taker};
use moat_core::message::{Message, MessageParts};
use moat_core::session::parcel::SubscriptionIdList;

use super::bytes::{Input, Malformed, Output};

/// A payload up to so many bytes is copied; a larger one stays where it is.
const PAYLOAD_COPY_BYTES_MAX: usize = 1024;

const QOS: u8 = 0b0000_0011;
const RETAIN: u8 = 0b0000_0100;
const EXPIRES: u8 = 0b0000_1000;
const IS_ORDINAL: u8 = 0b0000_1000;
const HAS_IDS: u8 = 0b0001_0000;
const BY_GROUP: u8 = 0b0010_0000;
/// A taker has flags, a queue and a place. Unit: bytes.
const TAKER_BYTES_MIN: usize = 10;

/// What a message consists of besides topic and payload.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) qos: QoS,
    pub(super) retain: bool,
    pub(super) expires_at: Option<Time>,
    pub(super) publisher: &'a str,
    pub(super) properties: &'a [u8],
}

impl Head<'_> {
    /// The message. Its publisher is shared with the one before it, if that is the same.
    pub(super) fn message(
        &self,
        topic: &str,
        payload: &[u8],
        last_publisher: &mut Arc<str>,
    ) -> Message {
        if **last_publisher != *self.publisher {
            *last_publisher = self.publisher.into();
        }
        Message::of_parts(&MessageParts {
            topic,
            properties: self.properties,
            payload,
            qos: self.qos,
            retain: self.retain,
            expires_at: self.expires_at,
            publisher: last_publisher,
        })
    }
}

/// The headers of a record.
pub(super) fn encode_headers(message: &Message, takers: &[Taker], out: &mut Output) {
    out.room(128 + message.properties().len() + takers.len() * 16);
    encode_head(message, out);
    out.count(takers.len());
    for taker in takers {
        encode_taker(taker, out);
    }
}

/// What the headers of a record say of the message, and its takers.
pub(super) fn decode_headers(headers: &[u8]) -> Result<(Head<'_>, Takers<'_>), Malformed> {
    let mut input = Input::versioned(headers)?;
    let head = decode_head(&mut input)?;
    let left = input.count(TAKER_BYTES_MIN)?;
    if left == 0 {
        input.end()?;
    }
    Ok((head, Takers { input, left }))
}

/// The takers of a record, decoded one by one.
pub(super) struct Takers<'a> {
    input: Input<'a>,
    left: usize,
}

impl Iterator for Takers<'_> {
    type Item = Result<Taker, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let taker = decode_taker(&mut self.input);
        if taker.is_err() {
            self.left = 0;
        } else if self.left == 0
            && let Err(error) = self.input.end()
        {
            return Some(Err(error));
        }
        Some(taker)
    }
}

/// The value of a retained message, whose topic is the key.
pub(super) fn encode_retained(message: &Message, out: &mut Output) {
    out.room(128 + message.properties().len() + message.payload().len());
    encode_head(message, out);
    out.raw(message.payload());
}

/// A retained message of its key and value.
pub(super) fn decode_retained(
    topic: &str,
    value: &[u8],
    last_publisher: &mut Arc<str>,
) -> Result<Message, Malformed> {
    let mut input = Input::versioned(value)?;
    let head = decode_head(&mut input)?;
    Ok(head.message(topic, input.rest(), last_publisher))
}

/// A message's payload, for a record.
pub(super) fn payload(message: &Arc<Message>, out: &mut Output) -> Bytes {
    struct Payload(Arc<Message>);
    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            self.0.payload()
        }
    }
    if message.payload().len() > PAYLOAD_COPY_BYTES_MAX {
        return Bytes::from_owner(Payload(Arc::clone(message)));
    }
    out.room(message.payload().len());
    out.raw(message.payload());
    out.take()
}

fn encode_head(message: &Message, out: &mut Output) {
    out.byte(super::VALUE_VERSION);
    let mut flags = message.qos.bits();
    flags |= if message.retain { RETAIN } else { 0 };
    flags |= if message.expires_at.is_some() {
        EXPIRES
    } else {
        0
    };
    out.byte(flags);
    if let Some(at) = message.expires_at {
        out.varint(at.millis());
    }
    out.piece(message.publisher.as_bytes());
    out.piece(message.properties());
}

fn decode_head<'a>(input: &mut Input<'a>) -> Result<Head<'a>, Malformed> {
    let flags = input.byte()?;
    let qos = QoS::from_bits(flags & QOS).filter(|_| flags & !(QOS | RETAIN | EXPIRES) == 0);
    let expires_at = (flags & EXPIRES != 0).then(|| input.varint());
    Ok(Head {
        qos: qos.ok_or(Malformed::OutOfRange("the flags of a message"))?,
        retain: flags & RETAIN != 0,
        expires_at: expires_at.transpose()?.map(Time::from_millis),
        publisher: input.text("a publisher")?,
        properties: input.piece()?,
    })
}

fn encode_taker(taker: &Taker, out: &mut Output) {
    let ids = taker.ids.as_slice();
    let (place_flag, place) = match taker.place {
        Place::Arrival(arrival) => (0, arrival),
        Place::Ordinal(ordinal) => (IS_ORDINAL, ordinal),
    };
    let mut flags = taker.qos.bits() | place_flag;
    flags |= if taker.retain { RETAIN } else { 0 };
    flags |= if ids.is_empty() { 0 } else { HAS_IDS };
    flags |= if taker.group.is_some() { BY_GROUP } else { 0 };
    out.byte(flags);
    out.u64(taker.queue.0);
    out.varint(place);
    if let Some(group) = taker.group {
        out.u64(group.0);
    }
    if !ids.is_empty() {
        out.count(ids.len());
        for id in ids {
            out.varint(u64::from(id.get()));
        }
    }
}

fn decode_taker(input: &mut Input<'_>) -> Result<Taker, Malformed> {
    let flags = input.byte()?;
    let known = QOS | RETAIN | IS_ORDINAL | HAS_IDS | BY_GROUP;
    let qos = QoS::from_bits(flags & QOS).filter(|_| flags & !known == 0);
    let qos = qos.ok_or(Malformed::OutOfRange("the flags of a taker"))?;
    let queue = QueueId(input.u64()?);
    let number = input.varint()?;
    let place = if flags & IS_ORDINAL == 0 {
        Place::Arrival(number)
    } else {
        Place::Ordinal(number)
    };
    let group = (flags & BY_GROUP != 0).then(|| input.u64().map(QueueId));
    let group = group.transpose()?;
    let ids = if flags & HAS_IDS == 0 {
        SubscriptionIdList::None
    } else {
        decode_ids(input)?
    };
    Ok(Taker {
        queue,
        place,
        qos,
        retain: flags & RETAIN != 0,
        ids,
        group,
    })
}

fn decode_ids(input: &mut Input<'_>) -> Result<SubscriptionIdList, Malformed> {
    let what = "a subscription identifier";
    let id = |input: &mut Input<'_>| {
        NonZeroU32::new(input.number(what)?).ok_or(Malformed::OutOfRange(what))
    };
    match input.count(1)? {
        0 => Err(Malformed::OutOfRange("a count of subscription identifiers")),
        1 => id(input).map(SubscriptionIdList::One),
        count => {
            let many: Result<Box<[_]>, _> = (0..count).map(|_| id(input)).collect();
            many.map(SubscriptionIdList::Many)
        }
    }
}

/// The value of a deal: the entry it has become.
pub(super) fn encode_deal(to: &Taker, out: &mut Output) {
    out.byte(super::VALUE_VERSION);
    encode_taker(to, out);
}

/// A deal of its value.
pub(super) fn decode_deal(value: &[u8]) -> Result<Taker, Malformed> {
    let mut input = Input::versioned(value)?;
    let to = decode_taker(&mut input)?;
    input.end()?;
    Ok(to)
}
