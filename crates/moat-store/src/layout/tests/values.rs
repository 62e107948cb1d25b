//! Each value by itself: what is written is what is read.

use std::sync::Arc;

use moat_core::durable::QueueId;
use moat_core::session::Will;
use moat_core::{Message, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies;
use crate::layout::bytes::Output;
use crate::layout::{keys, message, queue, session};

proptest! {
    #[test]
    fn sessions_come_back(record in strategies::session()) {
        let mut out = Output::default();
        session::encode(&record, &mut out);
        prop_assert_eq!(session::decode(&out.take()), Ok(record));
    }

    #[test]
    fn progress_comes_back(progress in strategies::progress()) {
        let mut out = Output::default();
        queue::encode_progress(&progress, &mut out);
        prop_assert_eq!(queue::decode_progress(&out.take()), Ok(progress));
    }

    #[test]
    fn subscriptions_come_back(
        options in strategies::options(),
        id in strategies::subscription_id(),
        filter in strategies::topic(),
    ) {
        let mut out = Output::default();
        queue::encode_subscription(options, id, None, &mut out);
        let value = out.take();
        prop_assert_eq!(queue::decode_subscription(&value), Ok((options, id, "")));
        let (key, in_value) = keys::of_subscription(QueueId(9), &filter, &mut out);
        prop_assert_eq!(in_value, None);
        prop_assert_eq!(keys::subscription(&key, ""), Ok((QueueId(9), filter.as_str())));
    }

    #[test]
    fn wills_come_back(will in strategies::will()) {
        let mut out = Output::default();
        queue::encode_will(&will, &mut out);
        let read = queue::decode_will(&out.take()).unwrap();
        prop_assert_eq!(show_will(&read), show_will(&will));
    }

    #[test]
    fn retained_messages_come_back(kept in strategies::message()) {
        let mut out = Output::default();
        message::encode_retained(&kept, &mut out);
        let read = message::decode_retained(kept.topic(), &out.take(), &mut Arc::from(""));
        prop_assert_eq!(show(&read.unwrap()), show(&kept));
    }

    #[test]
    fn records_come_back(
        kept in strategies::message(),
        takers in vec((any::<u64>(), strategies::place()), 1..5).prop_flat_map(|all| {
            all.into_iter().map(|(queue, place)| strategies::taker(QueueId(queue), place)).collect::<Vec<_>>()
        }),
    ) {
        let mut out = Output::default();
        message::encode_headers(&kept, &takers, &mut out);
        let headers = out.take();
        let payload = message::payload(&kept, &mut out);
        let (head, read) = message::decode_headers(&headers).unwrap();
        let read: Result<Vec<_>, _> = read.collect();
        prop_assert_eq!(read, Ok(takers));
        let read = head.message(kept.topic(), &payload, &mut Arc::from(""));
        prop_assert_eq!(show(&read), show(&kept));
    }

    #[test]
    fn deals_come_back(
        taker in (any::<u64>(), strategies::place()).prop_flat_map(|(queue, place)| strategies::taker(QueueId(queue), place)),
        position in (any::<u16>(), 1..u64::MAX),
    ) {
        let mut out = Output::default();
        let dealt = keys::Dealt {
            position: moat_core::durable::Position { part: position.0, sequence: position.1 },
            queue: taker.queue,
            place: taker.place,
        };
        let key = keys::of_deal(&dealt, &mut out);
        prop_assert_eq!(keys::deal(&key), Ok(dealt));
        message::encode_deal(&taker, &mut out);
        prop_assert_eq!(message::decode_deal(&out.take()), Ok(taker));
    }

    #[test]
    fn inbound_identifiers_come_back(id in strategies::packet_id(), queue: u64) {
        let key = keys::of_inbound(QueueId(queue), id, &mut Output::default());
        prop_assert_eq!(keys::inbound(&key), Ok((QueueId(queue), id)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(input in vec(any::<u8>(), 0..200)) {
        crate::layout::checks::store_value(&input);
    }
}

pub(super) fn show(message: &Message) -> String {
    let Message {
        qos,
        retain,
        expires_at,
        publisher,
        ..
    } = message;
    format!(
        "{} {:?} {:?} {qos:?} {retain} {:?} {publisher}",
        message.topic(),
        message.properties(),
        message.payload(),
        expires_at.map(Time::millis)
    )
}

pub(super) fn show_will(will: &Will) -> String {
    let parts = will.parts();
    format!(
        "{} {:?} {:?} {:?} {} {} {:?}",
        parts.topic,
        parts.properties,
        parts.payload,
        parts.qos,
        parts.retain,
        parts.delay_secs,
        parts.message_expiry_secs
    )
}
