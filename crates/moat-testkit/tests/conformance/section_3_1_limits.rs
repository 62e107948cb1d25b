//! Sections 3.1.2.10 and 3.1.2.11: keep alive, and what a client takes.

use std::time::{Duration, Instant};

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::raw::RawClient;

use crate::wire::*;

everywhere!(
    a_silent_client_is_closed_after_one_and_a_half_keep_alives,
    a_client_that_pings_is_kept,
    a_message_too_large_for_the_client_is_not_sent,
    a_message_too_large_for_the_client_counts_as_delivered,
    a_waiting_message_too_large_for_the_client_counts_as_delivered,
    an_answer_too_large_for_the_client_is_not_sent,
    a_client_that_takes_no_connack_is_not_let_in,
    reasons_for_people_are_sent_only_to_who_wants_them,
    a_session_ends_when_its_expiry_interval_has_passed,
);

/// The client's own interval is used, since no other is told, and the will is published as when the network fails.
///
/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.2-24]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8] [MQTT-3.1.2-22] [MQTT-3.2.2-22].
fn a_silent_client_is_closed_after_one_and_a_half_keep_alives(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut heir = client(&broker, transport, version, "heir");
        heir.subscribe("w", QoS::AtMostOnce);
        let payload = [
            field(b"c"),
            properties(version, &[]),
            field(b"w"),
            field(b""),
        ]
        .concat();
        let mut bytes = connect(version, CLEAN | WILL, &payload);
        bytes[11] = 1;
        let mut silent = broker.client(transport);
        silent.version = version;
        let start = Instant::now();
        silent.send(&bytes);
        silent.recv(|packet| match packet {
            Packet::ConnAck(connack) => {
                assert_eq!(connack.properties.server_keep_alive_secs, None);
            }
            other => panic!("not a CONNACK: {other:?}"),
        });
        expect_breach(&mut silent, ReasonCode::KeepAliveTimeout);
        let waited = start.elapsed();
        assert!(waited >= Duration::from_millis(1450), "{waited:?}");
        assert!(waited < Duration::from_secs(10), "{waited:?}");
        assert_eq!(heir.message().topic, "w");
    }
}

/// It is still there when one and a half times its keep alive has passed, and more.
///
/// Proves 3.1.1 [MQTT-3.1.2-24]; 5.0 [MQTT-3.1.2-22].
fn a_client_that_pings_is_kept(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut clients = BOTH.map(|version| {
        let id = format!("client of {}", version.level());
        let mut connect = Connect::new(version, &id);
        connect.keep_alive_secs = 3;
        enter(&broker, transport, &connect).0
    });
    for _ in 0..4 {
        pass_a_second();
        for client in &mut clients {
            client.ping();
        }
    }
}

/// A client that takes packets of a hundred bytes, and one at a time.
fn small(version: Version, id: &str) -> Connect<'_> {
    let mut connect = lasting(version, id);
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(100);
    connect.properties.receive_maximum = std::num::NonZeroU16::new(1);
    connect
}

/// A PUBLISH with topic `t` and no properties is six bytes longer than its payload, and eight with an identifier.
///
/// Proves 5.0 [MQTT-3.1.2-24].
fn a_message_too_large_for_the_client_is_not_sent(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let (mut reader, _) = enter(&broker, transport, &small(Version::V5, "reader"));
    reader.subscribe("t", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, Version::V5, "writer");
    for size in [95, 94, 1000] {
        writer.publish("t", &vec![b'x'; size], QoS::AtMostOnce, 0);
    }
    assert_eq!(reader.read_packet().len(), 100);
    expect_silence(&mut reader, &mut writer, "t");
}

/// Proves 5.0 [MQTT-3.1.2-24] [MQTT-3.1.2-25] [MQTT-3.3.4-10].
fn a_message_too_large_for_the_client_counts_as_delivered(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut reader, _) = enter(&broker, transport, &small(Version::V5, "reader"));
        reader.subscribe("t", qos);
        let mut writer = client(&broker, transport, Version::V5, "writer");
        let too_large = [b'x'; 93];
        send_around(&mut writer, &too_large, qos);
        expect_only_small_ones(&mut reader);
    }
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.1.2-24] [MQTT-3.1.2-25] [MQTT-3.3.4-10].
fn a_waiting_message_too_large_for_the_client_counts_as_delivered(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut reader, _) = enter(&broker, transport, &small(Version::V5, "reader"));
        reader.subscribe("t", qos).send(&[0xE0, 0]);
        reader.expect_closed();
        let mut writer = client(&broker, transport, Version::V5, "writer");
        let too_large = [b'x'; 93];
        send_around(&mut writer, &too_large, qos);
        let (mut reader, _) = enter(&broker, transport, &small(Version::V5, "reader"));
        expect_only_small_ones(&mut reader);
    }
}

fn send_around(writer: &mut RawClient, too_large: &[u8], qos: QoS) {
    for payload in [
        too_large, b"first", too_large, too_large, b"second", too_large,
    ] {
        writer.publish_fully("t", payload, qos, 1);
    }
}

fn expect_only_small_ones(reader: &mut RawClient) {
    assert_eq!(reader.take_message().payload, b"first");
    assert_eq!(reader.take_message().payload, b"second");
    reader.settle();
}

/// The answer to many filters cannot be made smaller, so the connection ends.
///
/// Proves 5.0 [MQTT-3.1.2-24].
fn an_answer_too_large_for_the_client_is_not_sent(transport: Transport, shards: usize) {
    let broker = broker(shards);
    // 95 reason codes behind two bytes of header, two of identifier and one for no properties.
    for (filters, fits) in [(95, true), (96, false)] {
        let (mut client, _) = enter(&broker, transport, &small(Version::V5, "client"));
        client.send(&subscribe_by_hand(
            Version::V5,
            1,
            &vec![(&b"t"[..], 0); filters],
        ));
        if fits {
            assert_eq!(client.read_packet().len(), 100);
        } else {
            expect_breach(&mut client, ReasonCode::PacketTooLarge);
        }
    }
}

/// Not even a CONNACK that refuses is sent if that is too large, too.
///
/// Proves 5.0 [MQTT-3.1.2-24] [MQTT-3.2.2-19].
fn a_client_that_takes_no_connack_is_not_let_in(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for (size, answer) in [(4, &[][..]), (5, &[0x20, 3, 0, 0x95, 0])] {
        let maximum = [MAXIMUM_PACKET_SIZE, 0, 0, 0, size];
        let mut client = broker.client(transport);
        client.send(&connect_with(
            Version::V5,
            CLEAN,
            &maximum,
            &field(b"client"),
        ));
        assert_eq!(client.read_to_end(), answer);
    }
}

/// Whether each answer to something that is not allowed has a reason string: PUBACK, PUBREC, SUBACK and UNSUBACK.
fn explained(broker: &TestBroker, transport: Transport, property: &[u8]) -> [bool; 4] {
    let mut client = broker.client(transport);
    client.send(&connect_with(
        Version::V5,
        CLEAN,
        property,
        &field(b"client"),
    ));
    assert!(entered(&mut client));
    [
        publish_with_id(Version::V5, 1, b"secret", 1),
        publish_with_id(Version::V5, 2, b"secret", 2),
        subscribe_by_hand(Version::V5, 3, &[(b"hidden", 0)]),
        unsubscribe_by_hand(Version::V5, 4, &[b"hidden"]),
    ]
    .map(|bytes| {
        client.send(&bytes);
        client.recv(|packet| {
            let (reason, users) = match &packet {
                Packet::PubAck(ack) | Packet::PubRec(ack) => (ack.reason_string, ack.user.len()),
                Packet::SubAck(suback) => (suback.reason_string, suback.user.len()),
                Packet::UnsubAck(unsuback) => (unsuback.reason_string, unsuback.user.len()),
                other => panic!("unexpected {other:?}"),
            };
            reason.is_some() || users > 0
        })
    })
}

/// Proves 5.0 [MQTT-3.1.2-29].
fn reasons_for_people_are_sent_only_to_who_wants_them(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).policy(DENYING).start();
    let asked = explained(&broker, transport, &[REQUEST_PROBLEM_INFORMATION, 1]);
    assert_eq!(asked[..3], [true; 3]);
    assert_eq!(
        explained(&broker, transport, &[]),
        asked,
        "to ask is the default"
    );
    let not_asked = explained(&broker, transport, &[REQUEST_PROBLEM_INFORMATION, 0]);
    assert_eq!(not_asked, [false; 4]);
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.2.2-3] [MQTT-4.1.0-2].
fn a_session_ends_when_its_expiry_interval_has_passed(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for (secs, is_there) in [(1, false), (1000, true)] {
        let mut connect = lasting(Version::V5, "client");
        connect.properties.session_expiry_secs = Some(secs);
        let (mut client, _) = enter(&broker, transport, &connect);
        client.send(&[0xE0, 0]);
        client.expect_closed();
        pass_a_second();
        let (_next, present) = enter(&broker, transport, &connect);
        assert_eq!(present, is_there);
    }
}
