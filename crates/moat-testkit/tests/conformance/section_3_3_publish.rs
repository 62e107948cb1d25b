//! Sections 3.3.1, 3.3.2.1, 3.3.4 and 3.3.5: flags, topics, answers and receivers of a PUBLISH.

use std::num::NonZeroU16;

use moat_codec::{Packet, PacketType, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    a_message_sent_again_says_so,
    a_message_of_qos_0_that_says_it_was_sent_before_closes_the_connection,
    the_dup_flag_of_the_publisher_is_not_passed_on,
    a_message_of_qos_3_closes_the_connection,
    a_message_without_a_topic_closes_the_connection,
    a_topic_with_a_wildcard_closes_the_connection,
    only_what_matches_the_filter_is_sent,
    a_message_is_answered_according_to_its_qos,
    overlapping_subscriptions_have_the_highest_qos,
    a_message_names_every_subscription_that_it_is_for,
    a_subscription_identifier_from_a_client_is_a_protocol_error,
    more_messages_than_the_receive_maximum_close_the_connection,
    a_client_is_not_sent_more_than_its_receive_maximum,
    other_packets_do_not_wait_for_the_receive_maximum,
    a_denied_message_of_3_1_1_is_acknowledged_and_dropped,
);

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT-4.1.0-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1]; 5.0
/// [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.3.1-1] [MQTT-3.3.1-3] [MQTT-4.3.2-3] [MQTT-4.4.0-1].
fn a_message_sent_again_says_so(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = broker(shards);
            let (mut reader, _) = enter(&broker, transport, &lasting(version, "reader"));
            reader.subscribe("t", qos);
            let mut writer = client(&broker, transport, version, "writer");
            writer.publish_fully("t", b"x", qos, 1);
            let first = reader.message();
            assert!(!first.dup);
            leave(reader);
            let (mut reader, _) = enter(&broker, transport, &lasting(version, "reader"));
            let second = reader.take_message();
            assert!(second.dup);
            assert_eq!(
                (second.packet_id, second.payload),
                (first.packet_id, first.payload)
            );
            reader.settle();
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-2]; 5.0 [MQTT-3.3.1-2].
fn a_message_of_qos_0_that_says_it_was_sent_before_closes_the_connection(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = publish_by_hand(version, 0x08, b"t", &[], b"x");
        breach(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Not even where the subscription makes QoS 0 of it.
///
/// Proves 3.1.1 [MQTT-3.3.1-3] [MQTT-4.3.1-1]; 5.0 [MQTT-3.3.1-3] [MQTT-4.3.1-1].
fn the_dup_flag_of_the_publisher_is_not_passed_on(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut reader = client(&broker, transport, version, "reader");
            reader.subscribe("t", qos);
            let mut writer = client(&broker, transport, version, "writer");
            let mut bytes = publish_with_id(version, 1, b"t", 1);
            bytes[0] |= 0x08;
            writer.send(&bytes);
            bytes = publish_with_id(version, 2, b"t", 2);
            bytes[0] |= 0x08;
            writer.send(&bytes);
            assert!(!reader.message().dup);
            assert!(!reader.message().dup);
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-4]; 5.0 [MQTT-3.3.1-4].
fn a_message_of_qos_3_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = publish_with_id(version, 3, b"t", 1);
        breach(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.3.2-1] [MQTT-4.7.3-1]; 5.0 [MQTT-3.3.2-1] [MQTT-4.7.3-1].
fn a_message_without_a_topic_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        // No field at all, and one that is longer than the packet.
        for body in [&[][..], &[0, 9, b't']] {
            let bytes = packet(0x30, body);
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
        // An empty one stands for an alias in 5.0, and there is none.
        let bytes = publish_by_hand(version, 0, b"", &[], b"x");
        breach(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::ProtocolError,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.3.2-2] [MQTT-4.7.1-1]; 5.0 [MQTT-3.3.2-2] [MQTT-4.7.0-1].
fn a_topic_with_a_wildcard_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for topic in [&b"#"[..], b"+", b"a/#", b"a/+/b", b"a+", b"a#b"] {
            let bytes = publish_by_hand(version, 0, topic, &[], b"x");
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::TopicNameInvalid,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.2-3]; 5.0 [MQTT-3.3.2-3].
fn only_what_matches_the_filter_is_sent(transport: Transport, shards: usize) {
    for version in BOTH {
        for (filter, matching, others) in [
            (
                "a/b",
                &["a/b"][..],
                &["a", "a/b/c", "A/b", "a/bb", "/a/b", "b"][..],
            ),
            ("a/+", &["a/b", "a/"], &["a", "a/b/c", "b/b", "/a/b"]),
            ("a/#", &["a", "a/b", "a/b/c", "a/"], &["b", "ab", "/a"]),
            ("+/b", &["a/b", "/b"], &["b", "a/a/b"]),
        ] {
            let broker = broker(shards);
            let mut reader = client(&broker, transport, version, "reader");
            reader
                .subscribe(filter, QoS::AtMostOnce)
                .subscribe("end", QoS::AtMostOnce);
            let mut writer = client(&broker, transport, version, "writer");
            for topic in matching.iter().chain(others) {
                writer.publish(topic, b"x", QoS::AtMostOnce, 0);
            }
            for topic in matching {
                assert_eq!(reader.message().topic, *topic, "{filter}");
            }
            expect_silence(&mut reader, &mut writer, "end");
        }
    }
}

/// Nothing, PUBACK and PUBREC.
///
/// Proves 3.1.1 [MQTT-3.3.4-1] [MQTT-4.3.2-2]; 5.0 [MQTT-3.3.4-1] [MQTT-4.3.2-4] [MQTT-4.3.3-8].
fn a_message_is_answered_according_to_its_qos(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut writer = client(&broker, transport, version, "writer");
        writer.publish("t", b"x", QoS::AtMostOnce, 0).ping();
        for (qos, answer) in [(1, 0x40), (2, 0x50)] {
            writer.send(&publish_with_id(version, qos, b"t", 7));
            let bytes = writer.read_packet();
            assert_eq!((bytes[0], &bytes[2..4]), (answer, &[0, 7][..]));
        }
    }
}

/// The message arrives once.
///
/// Proves 3.1.1 [MQTT-3.3.5-1]; 5.0 [MQTT-3.3.4-2].
fn overlapping_subscriptions_have_the_highest_qos(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut reader = client(&broker, transport, version, "reader");
        reader
            .subscribe("a/#", QoS::AtLeastOnce)
            .subscribe("a/+", QoS::ExactlyOnce)
            .subscribe("a/b", QoS::AtMostOnce);
        let mut writer = client(&broker, transport, version, "writer");
        for qos in [QoS::ExactlyOnce, QoS::AtLeastOnce] {
            writer.publish_fully("a/b", b"x", qos, 1);
            assert_eq!(reader.take_message().qos, qos);
            reader.settle();
        }
    }
}

/// A SUBSCRIBE with a subscription identifier.
fn subscribe_as(id: u8, filter: &[u8]) -> Vec<u8> {
    packet(
        0x82,
        &[
            &[0, 1, 2, SUBSCRIPTION_IDENTIFIER, id][..],
            &field(filter),
            &[0],
        ]
        .concat(),
    )
}

/// And none that it is not for, nor a subscription without an identifier.
///
/// Proves 5.0 [MQTT-3.3.4-3] [MQTT-3.3.4-4].
fn a_message_names_every_subscription_that_it_is_for(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut reader = client(&broker, transport, Version::V5, "reader");
    for (id, filter) in [(1, &b"a/#"[..]), (2, b"a/+"), (3, b"a/b"), (4, b"b")] {
        reader.send(&subscribe_as(id, filter));
        assert!(!reader.suback().is_error());
    }
    reader.subscribe("#", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    for (topic, expected) in [
        ("a/b", &[1, 2, 3][..]),
        ("a/c", &[1, 2]),
        ("b", &[4]),
        ("c", &[]),
    ] {
        writer.publish(topic, b"x", QoS::AtMostOnce, 0);
        let ids = reader.recv(|packet| match packet {
            Packet::Publish(publish) => {
                let mut ids: Vec<u32> = publish.subscription_ids.iter().collect();
                ids.sort_unstable();
                ids
            }
            other => panic!("not a PUBLISH: {other:?}"),
        });
        assert_eq!(ids, expected, "{topic}");
    }
}

/// Proves 5.0 [MQTT-3.3.4-6].
fn a_subscription_identifier_from_a_client_is_a_protocol_error(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    let bytes = publish_by_hand(Version::V5, 0, b"t", &[SUBSCRIPTION_IDENTIFIER, 1], b"x");
    breach(
        &broker,
        transport,
        Version::V5,
        &bytes,
        ReasonCode::ProtocolError,
    );
}

/// Of QoS 2, whose exchanges the client leaves open.
///
/// Proves 5.0 [MQTT-3.3.4-7].
fn more_messages_than_the_receive_maximum_close_the_connection(
    transport: Transport,
    shards: usize,
) {
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| limits.inflight_messages_max = 3)
        .start();
    let mut writer = broker.client(transport);
    writer.send(&connect(Version::V5, CLEAN, &field(b"writer")));
    writer.recv(|packet| match packet {
        Packet::ConnAck(connack) => {
            assert_eq!(connack.properties.receive_maximum, NonZeroU16::new(3));
        }
        other => panic!("not a CONNACK: {other:?}"),
    });
    for id in [1, 2, 3] {
        writer.send(&publish_with_id(Version::V5, 2, b"t", id));
        writer.expect_ack(PacketType::PubRec);
    }
    writer.send(&publish_with_id(Version::V5, 2, b"t", 4));
    expect_breach(&mut writer, ReasonCode::ReceiveMaximumExceeded);
}

/// Proves 5.0 [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-1] [MQTT-4.9.0-2].
fn a_client_is_not_sent_more_than_its_receive_maximum(transport: Transport, shards: usize) {
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let broker = broker(shards);
        let mut connect = moat_codec::Connect::new(Version::V5, "reader");
        connect.properties.receive_maximum = NonZeroU16::new(2);
        let (mut reader, _) = enter(&broker, transport, &connect);
        reader.subscribe("t", qos).subscribe("end", QoS::AtMostOnce);
        let mut writer = client(&broker, transport, Version::V5, "writer");
        for number in 0..5 {
            writer.publish_fully("t", &[number], qos, 1);
        }
        let first = reader.message();
        assert_eq!(
            (first.payload, reader.message().payload),
            (vec![0], vec![1])
        );
        reader.ping();
        let id = first.packet_id.unwrap();
        if qos == QoS::AtLeastOnce {
            reader.acknowledge(PacketType::PubAck, id);
        } else {
            reader.acknowledge(PacketType::PubRec, id);
            reader.expect_ack(PacketType::PubRel);
            // The exchange is not over yet.
            reader.ping();
            reader.acknowledge(PacketType::PubComp, id);
        }
        assert_eq!(reader.message().payload, [2]);
        reader.ping();
    }
}

/// Proves 5.0 [MQTT-3.3.4-9] [MQTT-3.3.4-10] [MQTT-4.9.0-3].
fn other_packets_do_not_wait_for_the_receive_maximum(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut connect = moat_codec::Connect::new(Version::V5, "reader");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let (mut reader, _) = enter(&broker, transport, &connect);
    reader.subscribe("t", QoS::AtLeastOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    for number in 0..3 {
        writer.publish_fully("t", &[number], QoS::AtLeastOnce, 1);
    }
    assert_eq!(reader.message().payload, [0]);
    reader.ping().subscribe("u", QoS::AtMostOnce);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        reader.publish_fully("elsewhere", b"", qos, 9);
    }
    reader.send(&unsubscribe_by_hand(Version::V5, 9, &[b"u"]));
    assert_eq!(reader.read_packet()[0], 0xB0);
}

/// Proves 3.1.1 [MQTT-3.3.5-2].
fn a_denied_message_of_3_1_1_is_acknowledged_and_dropped(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).policy(DENYING).start();
    let mut reader = client(&broker, transport, Version::V311, "reader");
    reader
        .subscribe("secret", QoS::AtMostOnce)
        .subscribe("open", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V311, "writer");
    for (qos, id) in [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)] {
        writer.publish_fully("secret", b"x", qos, id);
    }
    expect_silence(&mut reader, &mut writer, "open");
}
