//! Section 3.3.2.3: what a PUBLISH of 5.0 carries besides its payload.

use std::collections::HashMap;
use std::num::NonZeroU16;

use moat_codec::{Packet, Publish, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::raw::RawClient;

use crate::wire::*;

everywhere!(
    the_payload_format_is_passed_on,
    the_content_type_is_passed_on,
    the_response_topic_is_passed_on,
    the_correlation_data_is_passed_on,
    user_properties_are_passed_on_in_their_order,
    properties_are_passed_on_by_a_retained_message,
    properties_are_passed_on_by_a_message_that_waited,
    a_response_topic_with_a_wildcard_closes_the_connection,
    a_message_that_has_expired_is_not_sent,
    a_message_says_how_long_it_is_still_good,
    a_topic_alias_is_accepted_up_to_the_maximum,
    a_topic_alias_above_the_maximum_closes_the_connection,
    a_topic_alias_of_zero_closes_the_connection,
    a_topic_alias_ends_with_its_connection,
    a_client_that_takes_no_topic_aliases_is_sent_none,
    a_client_is_sent_topic_aliases_up_to_its_maximum,
    the_broker_begins_new_topic_aliases_on_each_connection,
);

/// Fails unless a PUBLISH with these properties arrives as it was sent: at once, and from 5.0 to 3.1.1 without them.
fn expect_passed_on(transport: Transport, shards: usize, properties: &[u8]) {
    let broker = broker(shards);
    let mut old = client(&broker, transport, Version::V311, "old reader");
    old.subscribe("t", QoS::AtMostOnce);
    let mut reader = client(&broker, transport, Version::V5, "reader");
    reader.subscribe("t", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    let bytes = publish_by_hand(Version::V5, 0, b"t", properties, b"text");
    writer.send(&bytes);
    assert_eq!(reader.read_packet(), bytes);
    assert_eq!(
        old.read_packet(),
        publish_by_hand(Version::V311, 0, b"t", &[], b"text")
    );
}

/// Proves 5.0 [MQTT-3.3.2-4].
fn the_payload_format_is_passed_on(transport: Transport, shards: usize) {
    for format in [0, 1] {
        expect_passed_on(transport, shards, &[PAYLOAD_FORMAT, format]);
    }
}

/// Proves 5.0 [MQTT-3.3.2-20].
fn the_content_type_is_passed_on(transport: Transport, shards: usize) {
    let property = [&[CONTENT_TYPE][..], &field("text/ö plain".as_bytes())].concat();
    expect_passed_on(transport, shards, &property);
}

/// Proves 5.0 [MQTT-3.3.2-15].
fn the_response_topic_is_passed_on(transport: Transport, shards: usize) {
    let property = [&[RESPONSE_TOPIC][..], &field(b"//answers/$to/me/")].concat();
    expect_passed_on(transport, shards, &property);
}

/// Proves 5.0 [MQTT-3.3.2-16].
fn the_correlation_data_is_passed_on(transport: Transport, shards: usize) {
    for data in [&b"\0\xFF\x09\0"[..], b""] {
        let property = [&[CORRELATION_DATA][..], &field(data)].concat();
        expect_passed_on(transport, shards, &property);
    }
}

fn user_properties() -> Vec<u8> {
    let pairs = [
        ("b", "1"),
        ("a", "2"),
        ("b", "3"),
        ("", ""),
        ("a", "2"),
        ("A", "ö"),
    ];
    let property = |(name, value): (&str, &str)| {
        [
            &[USER_PROPERTY][..],
            &field(name.as_bytes()),
            &field(value.as_bytes()),
        ]
        .concat()
    };
    pairs.map(property).concat()
}

/// Proves 5.0 [MQTT-3.3.2-17] [MQTT-3.3.2-18].
fn user_properties_are_passed_on_in_their_order(transport: Transport, shards: usize) {
    expect_passed_on(transport, shards, &user_properties());
}

/// One of each kind.
fn all_properties() -> Vec<u8> {
    [
        &[PAYLOAD_FORMAT, 1, CONTENT_TYPE][..],
        &field(b"text/plain"),
        &[RESPONSE_TOPIC],
        &field(b"answers"),
        &[CORRELATION_DATA],
        &field(b"\0\x01"),
        &user_properties(),
    ]
    .concat()
}

/// Proves 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17]
/// [MQTT-3.3.2-18] [MQTT-3.3.2-20].
fn properties_are_passed_on_by_a_retained_message(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    writer.subscribe("t", QoS::AtMostOnce);
    writer.send(&publish_by_hand(
        Version::V5,
        1,
        b"t",
        &all_properties(),
        b"x",
    ));
    // The shard that owns the topic has stored it by then.
    assert_eq!(writer.message().payload, b"x");
    let mut reader = client(&broker, transport, Version::V5, "reader");
    reader.subscribe("t", QoS::AtMostOnce);
    let expected = publish_by_hand(Version::V5, 1, b"t", &all_properties(), b"x");
    assert_eq!(reader.read_packet(), expected);
}

/// A session that outlives its connection, subscribed to `t` at QoS 1, without its connection.
fn absent_reader(broker: &TestBroker, transport: Transport) {
    let (mut reader, _) = enter(broker, transport, &lasting(Version::V5, "reader"));
    reader.subscribe("t", QoS::AtLeastOnce);
    leave(reader);
}

/// Publishes to `t` at QoS 1 with some properties, and waits for the answer.
fn publish_with(writer: &mut RawClient, properties: &[u8], payload: &[u8]) {
    let length = variable(properties.len());
    let body = [&field(b"t")[..], &[0, 1], &length, properties, payload].concat();
    writer.send(&packet(0x32, &body));
    assert_eq!(writer.read_packet()[0], 0x40);
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.3.2-4] [MQTT-3.3.2-15] [MQTT-3.3.2-16] [MQTT-3.3.2-17]
/// [MQTT-3.3.2-18] [MQTT-3.3.2-20].
fn properties_are_passed_on_by_a_message_that_waited(transport: Transport, shards: usize) {
    let broker = broker(shards);
    absent_reader(&broker, transport);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    publish_with(&mut writer, &all_properties(), b"x");
    let (mut reader, _) = enter(&broker, transport, &lasting(Version::V5, "reader"));
    let message = reader.read_packet();
    let expected = [
        &variable(all_properties().len()),
        &all_properties()[..],
        b"x",
    ]
    .concat();
    assert!(message.ends_with(&expected), "{message:02x?}");
}

/// It is a topic name like any other.
///
/// Proves 5.0 [MQTT-3.3.2-2] [MQTT-3.3.2-14] [MQTT-4.7.0-1].
fn a_response_topic_with_a_wildcard_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for topic in [&b"#"[..], b"a/+", b"a+b"] {
        let property = [&[RESPONSE_TOPIC][..], &field(topic)].concat();
        let bytes = publish_by_hand(Version::V5, 0, b"t", &property, b"x");
        breach(
            &broker,
            transport,
            Version::V5,
            &bytes,
            ReasonCode::TopicNameInvalid,
        );
    }
}

fn expiry(secs: u32) -> Vec<u8> {
    [&[MESSAGE_EXPIRY][..], &secs.to_be_bytes()].concat()
}

/// Neither one that waited nor one that was retained.
///
/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.3.2-5].
fn a_message_that_has_expired_is_not_sent(transport: Transport, shards: usize) {
    let broker = broker(shards);
    absent_reader(&broker, transport);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    publish_with(&mut writer, &expiry(1), b"stale");
    publish_with(&mut writer, &expiry(1000), b"fresh");
    writer.subscribe("kept", QoS::AtMostOnce);
    writer.send(&publish_by_hand(
        Version::V5,
        1,
        b"kept",
        &expiry(1),
        b"stale",
    ));
    assert_eq!(writer.message().payload, b"stale");
    pass_a_second();
    let (mut reader, _) = enter(&broker, transport, &lasting(Version::V5, "reader"));
    assert_eq!(reader.take_message().payload, b"fresh");
    assert_eq!(retained_for(&mut reader, "kept"), []);
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.3.2-6].
fn a_message_says_how_long_it_is_still_good(transport: Transport, shards: usize) {
    let left = |packet: Packet<'_>| match packet {
        Packet::Publish(Publish {
            message_expiry_secs,
            ..
        }) => message_expiry_secs.unwrap(),
        other => panic!("not a PUBLISH: {other:?}"),
    };
    let broker = broker(shards);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    let mut present = client(&broker, transport, Version::V5, "present");
    present.subscribe("t", QoS::AtMostOnce);
    absent_reader(&broker, transport);
    publish_with(&mut writer, &expiry(1000), b"x");
    assert!((995..=1000).contains(&present.recv(left)));
    pass_a_second();
    let (mut reader, _) = enter(&broker, transport, &lasting(Version::V5, "reader"));
    assert!((990..=999).contains(&reader.recv(left)));
}

/// Each of them, in any order, and again with another topic.
///
/// Proves 5.0 [MQTT-3.3.2-12].
fn a_topic_alias_is_accepted_up_to_the_maximum(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut writer = broker.client(transport);
    writer.send(&connect(Version::V5, CLEAN, &field(b"writer")));
    let maximum = writer.recv(|packet| match packet {
        Packet::ConnAck(connack) => connack.properties.topic_alias_maximum.unwrap(),
        other => panic!("not a CONNACK: {other:?}"),
    });
    let maximum = u8::try_from(maximum).unwrap();
    assert!(maximum > 0);
    writer.subscribe("#", QoS::AtMostOnce);
    for round in ["first", "second"] {
        let topic = |alias: u8| format!("{round}/{alias}");
        for alias in (1..=maximum).rev() {
            let property = [TOPIC_ALIAS, 0, alias];
            writer.send(&publish_by_hand(
                Version::V5,
                0,
                topic(alias).as_bytes(),
                &property,
                b"",
            ));
            assert_eq!(writer.message().topic, topic(alias));
        }
        for alias in 1..=maximum {
            let property = [TOPIC_ALIAS, 0, alias];
            writer.send(&publish_by_hand(Version::V5, 0, b"", &property, b""));
            assert_eq!(writer.message().topic, topic(alias));
        }
    }
}

/// Proves 5.0 [MQTT-3.2.2-17] [MQTT-3.3.2-9].
fn a_topic_alias_above_the_maximum_closes_the_connection(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| limits.topic_alias_max = 3)
        .start();
    for alias in [4, u16::MAX] {
        let [high, low] = alias.to_be_bytes();
        let bytes = publish_by_hand(Version::V5, 0, b"t", &[TOPIC_ALIAS, high, low], b"x");
        breach(
            &broker,
            transport,
            Version::V5,
            &bytes,
            ReasonCode::TopicAliasInvalid,
        );
    }
}

/// Proves 5.0 [MQTT-3.3.2-8].
fn a_topic_alias_of_zero_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let bytes = publish_by_hand(Version::V5, 0, b"t", &[TOPIC_ALIAS, 0, 0], b"x");
    breach(
        &broker,
        transport,
        Version::V5,
        &bytes,
        ReasonCode::TopicAliasInvalid,
    );
}

/// The session goes on, its aliases do not.
///
/// Proves 5.0 [MQTT-3.3.2-7].
fn a_topic_alias_ends_with_its_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let (mut writer, _) = enter(&broker, transport, &lasting(Version::V5, "writer"));
    writer.send(&publish_by_hand(
        Version::V5,
        0,
        b"t",
        &[TOPIC_ALIAS, 0, 1],
        b"x",
    ));
    writer.ping();
    leave(writer);
    let (mut writer, _) = enter(&broker, transport, &lasting(Version::V5, "writer"));
    writer.send(&publish_by_hand(
        Version::V5,
        0,
        b"",
        &[TOPIC_ALIAS, 0, 1],
        b"x",
    ));
    expect_breach(&mut writer, ReasonCode::ProtocolError);
}

/// Proves 5.0 [MQTT-3.1.2-27].
fn a_client_that_takes_no_topic_aliases_is_sent_none(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut reader = client(&broker, transport, Version::V5, "reader");
    reader.subscribe("long/topic", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    // With an alias from the publisher and often enough for the broker to want one of its own.
    for number in 0..100 {
        writer.send(&publish_by_hand(
            Version::V5,
            0,
            b"long/topic",
            &[TOPIC_ALIAS, 0, 1],
            &[number],
        ));
        let plain = publish_by_hand(Version::V5, 0, b"long/topic", &[], &[number]);
        assert_eq!(reader.read_packet(), plain);
    }
}

/// The topic and the alias of the next message, with the aliases set so far.
fn resolved(reader: &mut RawClient, aliases: &mut HashMap<u16, String>) -> (String, Option<u16>) {
    reader.recv(|packet| match packet {
        Packet::Publish(Publish {
            topic, topic_alias, ..
        }) => {
            let alias = topic_alias.map(NonZeroU16::get);
            let topic = match alias {
                Some(alias) if topic.is_empty() => aliases[&alias].clone(),
                Some(alias) => {
                    aliases.insert(alias, topic.to_owned());
                    topic.to_owned()
                }
                None => topic.to_owned(),
            };
            (topic, alias)
        }
        other => panic!("not a PUBLISH: {other:?}"),
    })
}

/// A connection of a session that takes two aliases.
fn takes_two_aliases(broker: &TestBroker, transport: Transport) -> RawClient {
    let mut connect = lasting(Version::V5, "reader");
    connect.properties.topic_alias_maximum = 2;
    enter(broker, transport, &connect).0
}

/// They stand for the topics they were set with, none is zero, and more topics than aliases arrive as well.
///
/// Proves 5.0 [MQTT-3.1.2-26] [MQTT-3.3.2-8] [MQTT-3.3.2-11].
fn a_client_is_sent_topic_aliases_up_to_its_maximum(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut reader = takes_two_aliases(&broker, transport);
    reader.subscribe("long/#", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    let (mut aliases, mut used) = (HashMap::new(), 0);
    for number in (0..20).map(|number| number % 5) {
        let topic = format!("long/topic/{number}");
        writer.publish(&topic, b"", QoS::AtMostOnce, 0);
        let (got, alias) = resolved(&mut reader, &mut aliases);
        assert_eq!(got, topic);
        used += usize::from(alias.is_some());
        assert!(
            alias.is_none_or(|alias| alias == 1 || alias == 2),
            "{alias:?}"
        );
    }
    assert!(used > 0, "no alias was used at all");
}

/// Proves 5.0 [MQTT-3.3.2-7].
fn the_broker_begins_new_topic_aliases_on_each_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    for _ in 0..2 {
        let mut reader = takes_two_aliases(&broker, transport);
        reader.subscribe("long/#", QoS::AtMostOnce);
        let mut aliases = HashMap::new();
        for _ in 0..3 {
            writer.publish("long/topic", b"", QoS::AtMostOnce, 0);
            let (topic, alias) = resolved(&mut reader, &mut aliases);
            assert_eq!((&*topic, alias.is_some()), ("long/topic", true));
        }
        leave(reader);
    }
}
