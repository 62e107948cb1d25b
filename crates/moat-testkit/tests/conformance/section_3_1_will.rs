//! Sections 3.1.2.5 to 3.1.2.7 and 3.1.3.2: what a client leaves behind.

use std::time::{Duration, Instant};

use moat_codec::{
    Connect, ForwardedProperties, Limits, Property, QoS, ReasonCode, TopicName, Version, Will,
};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::raw::RawClient;

use crate::wire::*;

everywhere!(
    a_will_is_published_when_the_connection_is_lost,
    a_will_is_published_when_the_broker_ends_the_connection,
    a_normal_disconnect_deletes_the_will,
    a_disconnect_with_will_publishes_it,
    a_will_is_published_once,
    a_client_without_a_will_leaves_none,
    a_will_has_the_qos_that_was_asked_for,
    a_will_qos_without_a_will_closes_the_connection,
    a_will_retain_flag_without_a_will_closes_the_connection,
    a_will_of_qos_3_closes_the_connection,
    a_will_flag_without_the_fields_closes_the_connection,
    will_fields_without_the_flag_close_the_connection,
    a_will_topic_that_is_no_utf8_closes_the_connection,
    a_will_topic_with_a_wildcard_closes_the_connection,
    a_will_that_is_not_to_be_retained_is_not,
    a_will_that_is_to_be_retained_is,
    a_will_waits_for_its_delay,
    a_will_does_not_wait_beyond_the_end_of_its_session,
    a_client_that_is_back_in_time_leaves_no_will,
    the_properties_of_a_will_arrive_in_their_order,
);

const TOPIC: &str = "w/t";

fn with_will(mut connect: Connect<'_>, delay_secs: u32) -> Connect<'_> {
    connect.will = Some(Will {
        topic: TopicName::new(TOPIC, &Limits::generous()).unwrap(),
        payload: b"gone",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_secs,
        message_expiry_secs: None,
        properties: ForwardedProperties::default(),
    });
    connect
}

/// A client with a will, with a clean session.
fn mortal(broker: &TestBroker, transport: Transport, version: Version) -> RawClient {
    enter(
        broker,
        transport,
        &with_will(Connect::new(version, "mortal"), 0),
    )
    .0
}

/// Somebody who reads wills.
fn heir(broker: &TestBroker, transport: Transport, version: Version) -> RawClient {
    let mut heir = client(broker, transport, version, "heir");
    heir.subscribe(TOPIC, QoS::ExactlyOnce);
    heir
}

/// Proves 3.1.1 [MQTT-3.1.2-8]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8].
fn a_will_is_published_when_the_connection_is_lost(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut heir = heir(&broker, transport, version);
        let mut mortal = mortal(&broker, transport, version);
        mortal.half_close_rudely();
        let message = heir.message();
        assert_eq!((&*message.topic, &*message.payload), (TOPIC, &b"gone"[..]));
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-8]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8].
fn a_will_is_published_when_the_broker_ends_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut heir = heir(&broker, transport, version);
        let mut mortal = mortal(&broker, transport, version);
        // Packet type 0 is nobody's.
        mortal.send(&[0, 0]);
        expect_breach(&mut mortal, ReasonCode::MalformedPacket);
        assert_eq!(heir.message().payload, b"gone");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-10] [MQTT-3.14.4-3]; 5.0 [MQTT-3.1.2-10] [MQTT-3.14.4-3].
fn a_normal_disconnect_deletes_the_will(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut heir = heir(&broker, transport, version);
        let mut mortal = mortal(&broker, transport, version);
        mortal.send(&[0xE0, 0]);
        wait_until_gone(&broker, "mortal");
        let mut writer = client(&broker, transport, version, "writer");
        expect_silence(&mut heir, &mut writer, TOPIC);
    }
}

/// Proves 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8].
fn a_disconnect_with_will_publishes_it(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut heir = heir(&broker, transport, Version::V5);
    let mut mortal = mortal(&broker, transport, Version::V5);
    mortal.send(&[0xE0, 1, 0x04]);
    assert_eq!(heir.message().payload, b"gone");
}

/// The session it belonged to ends later, and leaves nothing more.
///
/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-10]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-10].
fn a_will_is_published_once(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut heir = heir(&broker, transport, version);
        let connect = with_will(lasting(version, "mortal"), 0);
        let (mut mortal, _) = enter(&broker, transport, &connect);
        mortal.half_close_rudely();
        assert_eq!(heir.message().payload, b"gone");
        // A clean start ends the old session first, in the same shard.
        let (mut next, _) = enter(&broker, transport, &Connect::new(version, "mortal"));
        expect_silence(&mut heir, &mut next, TOPIC);
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-10] [MQTT-3.1.2-12] [MQTT-3.14.4-3].
fn a_client_without_a_will_leaves_none(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let version = Version::V311;
    let mut heir = heir(&broker, transport, version);
    let connect = with_will(lasting(version, "mortal"), 0);
    let (mut first, _) = enter(&broker, transport, &connect);
    first.send(&[0xE0, 0]);
    wait_until_gone(&broker, "mortal");
    // The session goes on, the will of its first connection does not.
    let (mut second, _) = enter(&broker, transport, &lasting(version, "mortal"));
    second.half_close_rudely();
    wait_until_gone(&broker, "mortal");
    let mut writer = client(&broker, transport, version, "writer");
    expect_silence(&mut heir, &mut writer, TOPIC);
}

/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-9]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-12].
fn a_will_has_the_qos_that_was_asked_for(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = broker(shards);
            let mut heir = heir(&broker, transport, version);
            let mut connect = with_will(Connect::new(version, "mortal"), 0);
            connect.will.as_mut().unwrap().qos = qos;
            let (mut mortal, _) = enter(&broker, transport, &connect);
            mortal.half_close_rudely();
            assert_eq!(heir.message().qos, qos);
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-11] [MQTT-3.1.2-13]; 5.0 [MQTT-3.1.2-11].
fn a_will_qos_without_a_will_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for qos in [1, 2] {
            let bytes = connect(version, CLEAN | qos << 3, &field(b"c"));
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-11] [MQTT-3.1.2-15]; 5.0 [MQTT-3.1.2-13].
fn a_will_retain_flag_without_a_will_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = connect(version, CLEAN | WILL_RETAIN, &field(b"c"));
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

fn payload_with_will(version: Version, topic: &[u8]) -> Vec<u8> {
    [
        field(b"c"),
        properties(version, &[]),
        field(topic),
        field(b"gone"),
    ]
    .concat()
}

/// Proves 3.1.1 [MQTT-3.1.2-14]; 5.0 [MQTT-3.1.2-12].
fn a_will_of_qos_3_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let payload = payload_with_will(version, TOPIC.as_bytes());
        let bytes = connect(version, CLEAN | WILL | 3 << 3, &payload);
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Nothing, no topic, and no payload.
///
/// Proves 3.1.1 [MQTT-3.1.2-9]; 5.0 [MQTT-3.1.2-9].
fn a_will_flag_without_the_fields_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let whole = payload_with_will(version, TOPIC.as_bytes());
        let without_payload = whole.len() - field(b"gone").len();
        let without_topic = without_payload - field(TOPIC.as_bytes()).len();
        for end in [field(b"c").len(), without_topic, without_payload] {
            let bytes = connect(version, CLEAN | WILL, &whole[..end]);
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-11].
fn will_fields_without_the_flag_close_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let version = Version::V311;
    let bytes = connect(
        version,
        CLEAN,
        &payload_with_will(version, TOPIC.as_bytes()),
    );
    expect_no_entry(
        &broker,
        transport,
        version,
        &bytes,
        ReasonCode::MalformedPacket,
    );
}

/// Proves 3.1.1 [MQTT-1.5.3-1] [MQTT-3.1.3-10]; 5.0 [MQTT-1.5.4-1] [MQTT-3.1.3-11].
fn a_will_topic_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for topic in [&b"a\xED\xA0\x80"[..], b"a\xFF", b"a\xC3"] {
            let bytes = connect(version, CLEAN | WILL, &payload_with_will(version, topic));
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1]; 5.0 [MQTT-3.3.2-2] [MQTT-4.7.0-1].
fn a_will_topic_with_a_wildcard_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for topic in [&b"#"[..], b"a/+", b"a+"] {
            let bytes = connect(version, CLEAN | WILL, &payload_with_will(version, topic));
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::TopicNameInvalid,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-16] [MQTT-3.3.1-12]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-14] [MQTT-3.3.1-8].
fn a_will_that_is_not_to_be_retained_is_not(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut heir = heir(&broker, transport, version);
        mortal(&broker, transport, version).half_close_rudely();
        let message = heir.message();
        assert_eq!((&*message.payload, message.retain), (&b"gone"[..], false));
        let mut late = client(&broker, transport, version, "late");
        assert_eq!(retained_for(&mut late, TOPIC), []);
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-9] [MQTT-3.1.2-17] [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8];
/// 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-15] [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn a_will_that_is_to_be_retained_is(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut connect = with_will(Connect::new(version, "mortal"), 0);
        connect.will.as_mut().unwrap().retain = true;
        let mut heir = heir(&broker, transport, version);
        let (mut mortal, _) = enter(&broker, transport, &connect);
        mortal.half_close_rudely();
        assert_eq!(heir.message().payload, b"gone");
        let mut late = client(&broker, transport, version, "late");
        let messages = retained_for(&mut late, TOPIC);
        assert_eq!(messages.len(), 1);
        assert_eq!(
            (&*messages[0].payload, messages[0].retain),
            (&b"gone"[..], true)
        );
    }
}

/// Proves 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-23].
fn a_will_waits_for_its_delay(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut heir = heir(&broker, transport, Version::V5);
    let connect = with_will(lasting(Version::V5, "mortal"), 1);
    let (mut mortal, _) = enter(&broker, transport, &connect);
    let start = Instant::now();
    mortal.half_close_rudely();
    assert_eq!(heir.message().payload, b"gone");
    assert!(
        start.elapsed() >= Duration::from_millis(950),
        "{:?}",
        start.elapsed()
    );
}

/// Its delay of a thousand seconds would be longer than anybody waits here.
///
/// Proves 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8].
fn a_will_does_not_wait_beyond_the_end_of_its_session(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut heir = heir(&broker, transport, Version::V5);
    for expiry_secs in [0, 1] {
        let mut connect = with_will(lasting(Version::V5, "mortal"), 1000);
        connect.properties.session_expiry_secs = Some(expiry_secs);
        let (mut mortal, _) = enter(&broker, transport, &connect);
        mortal.half_close_rudely();
        assert_eq!(heir.message().payload, b"gone");
    }
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.1.3-9].
fn a_client_that_is_back_in_time_leaves_no_will(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut heir = heir(&broker, transport, Version::V5);
    let connect = with_will(lasting(Version::V5, "mortal"), 1);
    let (mut mortal, _) = enter(&broker, transport, &connect);
    mortal.half_close_rudely();
    let (mut next, _) = enter(&broker, transport, &lasting(Version::V5, "mortal"));
    pass_a_second();
    expect_silence(&mut heir, &mut next, TOPIC);
}

/// Proves 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.3-10] [MQTT-3.3.2-17] [MQTT-3.3.2-18].
fn the_properties_of_a_will_arrive_in_their_order(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut heir = heir(&broker, transport, Version::V5);
    let pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "4"), ("a", "2")];
    let users: Vec<_> = pairs.map(Property::UserProperty).into();
    let properties = ForwardedProperties::build(&users).unwrap();
    let mut connect = with_will(Connect::new(Version::V5, "mortal"), 0);
    connect.will.as_mut().unwrap().properties = properties.clone();
    let (mut mortal, _) = enter(&broker, transport, &connect);
    mortal.half_close_rudely();
    let expected = publish_by_hand(Version::V5, 0, TOPIC.as_bytes(), properties.raw(), b"gone");
    assert_eq!(heir.read_packet(), expected);
}
