//! Section 2: fixed header, packet identifiers, properties.

use moat_codec::{PacketType, QoS, ReasonCode, Version};
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::packet_id;

use crate::wire::*;

everywhere!(
    reserved_flags_that_are_set_close_the_connection,
    reserved_flags_of_a_connect_close_the_connection,
    what_the_broker_sends_has_the_reserved_flags_as_listed,
    a_packet_identifier_of_zero_closes_the_connection,
    the_broker_gives_each_message_an_unused_identifier,
    no_identifier_stands_in_a_message_of_qos_0,
    an_answer_to_a_publish_has_its_identifier,
    an_answer_to_a_subscription_has_its_identifier,
    a_packet_without_properties_says_so,
    a_packet_without_a_property_length_closes_the_connection,
);

/// The packets whose flags are judged in their own sections are left out.
///
/// Proves 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]; 5.0 [MQTT-2.1.3-1].
fn reserved_flags_that_are_set_close_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for first_byte in [0x41, 0x42, 0x54, 0x78, 0xC1, 0xC2, 0xC8] {
            let body: &[u8] = if first_byte >= 0xC0 { &[] } else { &[0, 1] };
            let bytes = packet(first_byte, body);
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-2.2.2-1] [MQTT-2.2.2-2]; 5.0 [MQTT-2.1.3-1].
fn reserved_flags_of_a_connect_close_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for flags in [1, 2, 4, 8] {
            let mut bytes = connect(version, CLEAN, &field(b"c"));
            bytes[0] |= flags;
            let mut client = broker.client(transport);
            client.send(&bytes);
            assert!(!entered(&mut client));
        }
    }
}

/// Proves 3.1.1 [MQTT-2.2.2-1] [MQTT-3.3.1-3]; 5.0 [MQTT-2.1.3-1] [MQTT-3.3.1-3].
fn what_the_broker_sends_has_the_reserved_flags_as_listed(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut client = broker.client(transport);
        client.version = version;
        client.send(&connect(version, CLEAN, &field(b"c")));
        assert_eq!(client.read_packet()[0], 0x20);
        client.send(&subscribe_by_hand(version, 2, &[(b"t", 2)]));
        assert_eq!(client.read_packet()[0], 0x90);
        client.send(&publish_with_id(version, 1, b"u", 3));
        assert_eq!(client.read_packet()[0], 0x40);
        client.send(&publish_with_id(version, 2, b"t", 4));
        // PUBREC and the message itself, in either order.
        let mut two = [client.read_packet(), client.read_packet()];
        two.sort_unstable();
        assert_eq!([two[0][0], two[1][0]], [0x34, 0x50]);
        client.send(&packet(0x50, &two[0][5..7]));
        assert_eq!(client.read_packet()[0], 0x62);
        client.send(&[0x62, 2, 0, 4]);
        assert_eq!(client.read_packet()[0], 0x70);
        client.send(&unsubscribe_by_hand(version, 5, &[b"t"]));
        assert_eq!(client.read_packet()[0], 0xB0);
        client.send(&[0xC0, 0]);
        assert_eq!(client.read_packet()[0], 0xD0);
    }
}

/// Proves 3.1.1 [MQTT-2.3.1-1]; 5.0 [MQTT-2.2.1-3].
fn a_packet_identifier_of_zero_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for bytes in [
            publish_with_id(version, 1, b"t", 0),
            publish_with_id(version, 2, b"t", 0),
            subscribe_by_hand(version, 0, &[(b"t", 0)]),
            unsubscribe_by_hand(version, 0, &[b"t"]),
        ] {
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]; 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1].
fn the_broker_gives_each_message_an_unused_identifier(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let mut reader = client(&broker, transport, version, "reader");
            reader.subscribe("t", qos);
            let mut writer = client(&broker, transport, version, "writer");
            let mut ids = Vec::new();
            for _ in 0..10 {
                writer.publish_fully("t", b"x", qos, 1);
                let id = reader.message().packet_id.expect("it has an identifier");
                assert!(!ids.contains(&id), "{id:?} is in use");
                ids.push(id);
            }
        }
    }
}

/// Proves 3.1.1 [MQTT-2.3.1-5]; 5.0 [MQTT-2.2.1-2].
fn no_identifier_stands_in_a_message_of_qos_0(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut reader = client(&broker, transport, version, "reader");
        reader.subscribe("t", QoS::ExactlyOnce);
        let mut writer = client(&broker, transport, version, "writer");
        let bytes = publish_by_hand(version, 0, b"t", &[], b"\0\x07");
        writer.send(&bytes);
        assert_eq!(reader.read_packet(), bytes);
    }
}

/// Proves 3.1.1 [MQTT-2.3.1-6] [MQTT-3.3.1-3] [MQTT-4.3.2-2]; 5.0 [MQTT-2.2.1-5] [MQTT-3.3.1-3] [MQTT-4.3.2-4].
fn an_answer_to_a_publish_has_its_identifier(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut client = client(&broker, transport, version, "client");
        for id in [1, 2, 0x1234, u16::MAX] {
            client.send(&publish_with_id(version, 1, b"t", id));
            assert_eq!(client.read_packet()[2..4], id.to_be_bytes());
            client.send(&publish_with_id(version, 2, b"t", id));
            assert_eq!(client.read_packet()[2..4], id.to_be_bytes());
            client.acknowledge(PacketType::PubRel, packet_id(id));
            assert_eq!(client.read_packet()[2..4], id.to_be_bytes());
        }
        client.subscribe("mine", QoS::ExactlyOnce);
        client.publish("mine", b"", QoS::ExactlyOnce, 10);
        let mut exchanges = (0..2).filter_map(|_| {
            let bytes = client.read_packet();
            (bytes[0] >> 1 == 0x34 >> 1).then_some(bytes)
        });
        let message = exchanges.next().expect("the message of QoS 2");
        drop(exchanges.collect::<Vec<_>>());
        let id = u16::from_be_bytes([message[8], message[9]]);
        client.acknowledge(PacketType::PubRec, packet_id(id));
        assert_eq!(
            client.read_packet()[..4],
            [&[0x62, 2][..], &id.to_be_bytes()].concat()
        );
    }
}

/// Proves 3.1.1 [MQTT-2.3.1-7] [MQTT-3.8.4-2] [MQTT-3.10.4-4]; 5.0 [MQTT-2.2.1-6] [MQTT-3.8.4-2] [MQTT-3.10.4-5].
fn an_answer_to_a_subscription_has_its_identifier(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut client = client(&broker, transport, version, "client");
        for id in [1, 2, 0x1234, u16::MAX] {
            client.send(&subscribe_by_hand(version, id, &[(b"t", 0)]));
            let suback = client.read_packet();
            assert_eq!((suback[0], &suback[2..4]), (0x90, &id.to_be_bytes()[..]));
            client.send(&unsubscribe_by_hand(version, id, &[b"t"]));
            let unsuback = client.read_packet();
            assert_eq!(
                (unsuback[0], &unsuback[2..4]),
                (0xB0, &id.to_be_bytes()[..])
            );
        }
    }
}

/// Proves 5.0 [MQTT-2.2.2-1].
fn a_packet_without_properties_says_so(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut client = client(&broker, transport, Version::V5, "client");
    client.send(&subscribe_by_hand(Version::V5, 1, &[(b"t", 0)]));
    // Behind the packet identifier.
    assert_eq!(client.read_packet()[4..], [0, 0]);
    client.send(b"\x30\x05\x00\x01t\x00x");
    assert_eq!(client.read_packet(), b"\x30\x05\x00\x01t\x00x");
    client.send(&unsubscribe_by_hand(Version::V5, 2, &[b"t"]));
    assert_eq!(client.read_packet()[4..], [0, 0]);
}

/// Proves 5.0 [MQTT-2.2.2-1].
fn a_packet_without_a_property_length_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let version = Version::V5;
    let publish = packet(0x30, &field(b"t"));
    breach(
        &broker,
        transport,
        version,
        &publish,
        ReasonCode::MalformedPacket,
    );
    let subscribe = packet(0x82, &[0, 1]);
    breach(
        &broker,
        transport,
        version,
        &subscribe,
        ReasonCode::MalformedPacket,
    );
    let connect = packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x00");
    expect_no_entry(
        &broker,
        transport,
        version,
        &connect,
        ReasonCode::MalformedPacket,
    );
}
