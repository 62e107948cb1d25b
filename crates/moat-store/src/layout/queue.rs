//! What a queue has: how far it has come, what it subscribes to, the will it leaves.

use std::num::NonZeroU32;

use moat_codec::{QoS, RetainHandling, SubscriptionOptions};
use moat_core::durable::Progress;
use moat_core::session::Will;
use moat_core::session::will::WillParts;

use super::bytes::{Input, Malformed, Output, text};

/// The value of a queue's progress. Sorted lists are written as distances, which are small.
pub(super) fn encode_progress(progress: &Progress, out: &mut Output) {
    out.byte(super::VALUE_VERSION);
    out.varint(progress.next_arrival);
    out.varint(progress.done_below);
    out.varint(progress.sent_below);
    out.count(progress.done.len());
    let mut last = progress.done_below;
    for (first, end) in &progress.done {
        out.varint(first.wrapping_sub(last));
        out.varint(end.wrapping_sub(*first));
        last = *end;
    }
    out.count(progress.received.len());
    let mut last = 0;
    for ordinal in &progress.received {
        out.varint(ordinal.wrapping_sub(last));
        last = *ordinal;
    }
    out.count(progress.shifts.len());
    let (mut last, mut last_by) = (0, 0);
    for (from, by) in &progress.shifts {
        out.varint(from.wrapping_sub(last));
        out.varint(by.wrapping_sub(last_by));
        (last, last_by) = (*from, *by);
    }
}

/// A progress of its value.
pub(super) fn decode_progress(value: &[u8]) -> Result<Progress, Malformed> {
    let mut input = Input::versioned(value)?;
    let (next_arrival, done_below) = (input.varint()?, input.varint()?);
    let sent_below = input.varint()?;
    let mut last = done_below;
    let done = pairs(&mut input, |first, length| {
        let first = sum(last, first)?;
        last = sum(first, length)?;
        ascending(first < last).map(|()| (first, last))
    })?;
    let count = input.count(1)?;
    let mut received: Vec<u64> = Vec::with_capacity(count);
    for _ in 0..count {
        let distance = input.varint()?;
        let last = received.last().copied();
        ascending(last.is_none() || distance > 0)?;
        received.push(sum(last.unwrap_or(0), distance)?);
    }
    let (mut last, mut last_by) = (None, 0);
    let shifts = pairs(&mut input, |distance, more| {
        ascending(last.is_none() || distance > 0)?;
        let from = sum(last.unwrap_or(0), distance)?;
        last = Some(from);
        last_by = sum(last_by, more)?;
        Ok((from, last_by))
    })?;
    input.end()?;
    // The ordinal of every arrival can be counted.
    sum(next_arrival, last_by)?;
    Ok(Progress {
        next_arrival,
        done_below,
        done,
        sent_below,
        received,
        shifts,
    })
}

fn pairs(
    input: &mut Input<'_>,
    mut pair: impl FnMut(u64, u64) -> Result<(u64, u64), Malformed>,
) -> Result<Vec<(u64, u64)>, Malformed> {
    let count = input.count(2)?;
    (0..count)
        .map(|_| pair(input.varint()?, input.varint()?))
        .collect()
}

fn sum(number: u64, more: u64) -> Result<u64, Malformed> {
    number
        .checked_add(more)
        .ok_or(Malformed::OutOfRange("an ordinal"))
}

fn ascending(holds: bool) -> Result<(), Malformed> {
    holds.then_some(()).ok_or(Malformed::NotInOrder("ordinals"))
}

const NO_LOCAL: u8 = 0b0000_0100;
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;
const RETAIN_HANDLING_SHIFT: u32 = 4;

/// The value of a subscription; the filter only if the key could not hold it.
pub(super) fn encode_subscription(
    options: SubscriptionOptions,
    id: Option<NonZeroU32>,
    filter: Option<&str>,
    out: &mut Output,
) {
    out.byte(super::VALUE_VERSION);
    let mut flags = options.qos.bits();
    flags |= if options.no_local { NO_LOCAL } else { 0 };
    flags |= if options.retain_as_published {
        RETAIN_AS_PUBLISHED
    } else {
        0
    };
    // As on the wire [MQTT 5.0, 3.8.3.1].
    flags |= match options.retain_handling {
        RetainHandling::SendAlways => 0,
        RetainHandling::SendIfNew => 1 << RETAIN_HANDLING_SHIFT,
        RetainHandling::DoNotSend => 2 << RETAIN_HANDLING_SHIFT,
    };
    out.byte(flags);
    out.varint(id.map_or(0, |id| u64::from(id.get())));
    out.raw(filter.unwrap_or_default().as_bytes());
}

/// Options and identifier of a subscription's value, and the filter if it is there.
pub(super) fn decode_subscription(
    value: &[u8],
) -> Result<(SubscriptionOptions, Option<NonZeroU32>, &str), Malformed> {
    let mut input = Input::versioned(value)?;
    let flags = input.byte()?;
    let out_of_range = Malformed::OutOfRange("the options of a subscription");
    let options = SubscriptionOptions {
        qos: QoS::from_bits(flags & 0b11).ok_or(out_of_range)?,
        no_local: flags & NO_LOCAL != 0,
        retain_as_published: flags & RETAIN_AS_PUBLISHED != 0,
        retain_handling: match flags >> RETAIN_HANDLING_SHIFT {
            0 => RetainHandling::SendAlways,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(out_of_range),
        },
    };
    let id = NonZeroU32::new(input.number("a subscription identifier")?);
    Ok((options, id, text(input.rest(), "a filter")?))
}

const WILL_RETAIN: u8 = 0b0000_0100;

/// The value of a will.
pub(super) fn encode_will(will: &Will, out: &mut Output) {
    let parts = will.parts();
    out.byte(super::VALUE_VERSION);
    out.byte(parts.qos.bits() | if parts.retain { WILL_RETAIN } else { 0 });
    out.varint(u64::from(parts.delay_secs));
    out.option(parts.message_expiry_secs, |out, secs| {
        out.varint(u64::from(secs));
    });
    out.piece(parts.topic.as_bytes());
    out.piece(parts.properties);
    out.raw(parts.payload);
}

/// A will of its value.
pub(super) fn decode_will(value: &[u8]) -> Result<Will, Malformed> {
    let mut input = Input::versioned(value)?;
    let flags = input.byte()?;
    let qos = QoS::from_bits(flags & !WILL_RETAIN).filter(|_| flags <= 0b111);
    Ok(Will::of_parts(&WillParts {
        qos: qos.ok_or(Malformed::OutOfRange("the flags of a will"))?,
        retain: flags & WILL_RETAIN != 0,
        delay_secs: input.number("the delay of a will")?,
        message_expiry_secs: input.option(|input| input.number("an expiry"))?,
        topic: input.text("a topic")?,
        properties: input.piece()?,
        payload: input.rest(),
    }))
}
