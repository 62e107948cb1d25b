//! Anything that can be durable.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use moat_codec::{PacketId, QoS, RetainHandling, SubscriptionOptions};
use moat_core::durable::{Place, Progress, QueueId, SessionRecord, Taker};
use moat_core::message::MessageParts;
use moat_core::session::Will;
use moat_core::session::parcel::SubscriptionIdList;
use moat_core::session::will::WillParts;
use moat_core::{Message, Time};
use moat_policy::{CertificateFacts, Identity, Source};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

pub(super) fn qos() -> impl Strategy<Value = QoS> {
    prop_oneof![
        Just(QoS::AtMostOnce),
        Just(QoS::AtLeastOnce),
        Just(QoS::ExactlyOnce)
    ]
}

fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time::from_millis)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-zé/+#]{1,12}"]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        // Long enough not to be copied.
        vec(any::<u8>(), 1000..3000)
    ]
}

pub(super) fn topic() -> impl Strategy<Value = String> {
    "[abc](/[abc]){0,2}"
}

pub(super) fn message() -> impl Strategy<Value = Arc<Message>> {
    let parts = (
        topic(),
        vec(any::<u8>(), 0..20),
        bytes(),
        qos(),
        any::<bool>(),
        option::of(time()),
        text(),
    );
    parts.prop_map(
        |(topic, properties, payload, qos, retain, expires_at, publisher)| {
            Arc::new(Message::of_parts(&MessageParts {
                topic: &topic,
                properties: &properties,
                payload: &payload,
                qos,
                retain,
                expires_at,
                publisher: &publisher.into(),
            }))
        },
    )
}

pub(super) fn will() -> impl Strategy<Value = Arc<Will>> {
    let parts = (
        topic(),
        vec(any::<u8>(), 0..20),
        bytes(),
        qos(),
        any::<bool>(),
        any::<u32>(),
        option::of(any::<u32>()),
    );
    parts.prop_map(
        |(topic, properties, payload, qos, retain, delay_secs, message_expiry_secs)| {
            Arc::new(Will::of_parts(&WillParts {
                topic: &topic,
                properties: &properties,
                payload: &payload,
                qos,
                retain,
                delay_secs,
                message_expiry_secs,
            }))
        },
    )
}

fn id() -> impl Strategy<Value = NonZeroU32> {
    (1..=268_435_455_u32).prop_map(|id| NonZeroU32::new(id).unwrap())
}

pub(super) fn taker(queue: QueueId, place: Place) -> impl Strategy<Value = Taker> {
    let parts = (
        qos(),
        any::<bool>(),
        vec(id(), 0..4),
        option::of(any::<u64>().prop_map(QueueId)),
    );
    parts.prop_map(move |(qos, retain, ids, group)| Taker {
        queue,
        place,
        qos,
        retain,
        ids: SubscriptionIdList::new(&ids),
        group,
    })
}

pub(super) fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        any::<u64>().prop_map(Place::Arrival),
        any::<u64>().prop_map(Place::Ordinal)
    ]
}

pub(super) fn progress() -> impl Strategy<Value = Progress> {
    let number = 0..1_000_000_u64;
    let pairs = || vec((1..1000_u64, 1..1000_u64), 0..4);
    let numbers = (number.clone(), number.clone(), number);
    (numbers, pairs(), vec(1..1000_u64, 0..5), pairs()).prop_map(
        |((next_arrival, done_below, sent_below), done, received, shifts)| {
            let mut progress = Progress {
                next_arrival,
                done_below,
                sent_below,
                ..Progress::default()
            };
            let mut last = done_below;
            for (gap, length) in done {
                progress.done.push((last + gap, last + gap + length));
                last += gap + length;
            }
            let mut last = 0;
            for gap in received {
                last += gap;
                progress.received.push(last);
            }
            let (mut from, mut by) = (0, 0);
            for (gap, more) in shifts {
                from += gap;
                by += more;
                progress.shifts.push((from, by));
            }
            progress
        },
    )
}

pub(super) fn session() -> impl Strategy<Value = SessionRecord> {
    (identity(), text(), any::<u32>(), option::of(time())).prop_map(
        |(identity, client_id, expiry_secs, offline_since)| SessionRecord {
            identity: Arc::new(identity),
            client_id: client_id.into(),
            expiry_secs,
            offline_since,
        },
    )
}

fn texts() -> impl Strategy<Value = Vec<Arc<str>>> {
    vec(text().prop_map(Arc::from), 0..3)
}

fn moment() -> impl Strategy<Value = SystemTime> {
    (any::<bool>(), 0..300_000_000_000_u64, 0..1_000_000_000_u32).prop_map(
        |(is_before, secs, nanos)| {
            let distance = Duration::new(secs, nanos);
            if is_before {
                SystemTime::UNIX_EPOCH - distance
            } else {
                SystemTime::UNIX_EPOCH + distance
            }
        },
    )
}

fn identity() -> impl Strategy<Value = Identity> {
    let source = prop_oneof![
        Just(Source::Certificate),
        Just(Source::Password),
        Just(Source::Method),
        Just(Source::Anonymous)
    ];
    let parts = (
        text(),
        source,
        texts(),
        option::of(text()),
        any::<bool>(),
        option::of(certificate()),
        option::of(moment()),
    );
    parts.prop_map(
        |(name, source, groups, username, is_same, certificate, expires_at)| {
            let name: Arc<str> = name.into();
            let same = is_same.then(|| Arc::clone(&name));
            Identity {
                source,
                groups,
                username: same.or(username.map(Arc::from)),
                certificate: certificate.map(Box::new),
                expires_at,
                name,
            }
        },
    )
}

fn certificate() -> impl Strategy<Value = CertificateFacts> {
    let parts = (
        option::of(text()),
        texts(),
        texts(),
        texts(),
        vec(any::<u8>(), 0..20),
        vec(any::<u8>(), 0..20),
        moment(),
    );
    parts.prop_map(
        |(common_name, san_dns, san_uri, san_email, issuer, serial, not_after)| CertificateFacts {
            common_name: common_name.map(Arc::from),
            san_dns,
            san_uri,
            san_email,
            issuer: issuer.into(),
            serial: serial.into(),
            not_after,
        },
    )
}

pub(super) fn options() -> impl Strategy<Value = SubscriptionOptions> {
    let handling = prop_oneof![
        Just(RetainHandling::SendAlways),
        Just(RetainHandling::SendIfNew),
        Just(RetainHandling::DoNotSend)
    ];
    (qos(), any::<bool>(), any::<bool>(), handling).prop_map(
        |(qos, no_local, retain_as_published, retain_handling)| SubscriptionOptions {
            qos,
            no_local,
            retain_as_published,
            retain_handling,
        },
    )
}

pub(super) fn subscription_id() -> impl Strategy<Value = Option<NonZeroU32>> {
    option::of(id())
}

pub(super) fn packet_id() -> impl Strategy<Value = PacketId> {
    (1..6_u16).prop_map(|id| PacketId::new(id).unwrap())
}
