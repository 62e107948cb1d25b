//! DISCONNECT.

use moat_codec::Version::{V5, V311};
use moat_codec::{Limits, Packet, QoS, ReasonCode, TopicName, Version, Will};
use moat_testkit::broker::Transport;
use moat_testkit::{RawClient, TestBroker};

use crate::scene::{BOTH, Scene, expect_breach, lasting, packet, part, string, subscribe};

everywhere!(
    no_disconnect_comes_before_a_connack_that_grants,
    reserved_flags_of_disconnect_are_malformed,
    each_violation_has_its_reason,
    a_takeover_has_its_reason,
    a_disconnect_of_the_broker_has_no_session_expiry,
    a_disconnect_of_the_broker_is_its_last_word,
    a_goodbye_takes_the_will_with_it,
    a_goodbye_that_asks_for_the_will_lets_it_go_out,
    packets_behind_a_disconnect_are_ignored,
    a_reason_string_too_large_for_a_disconnect_is_left_out,
);

/// Proves 5.0 [MQTT-3.14.0-1].
fn no_disconnect_comes_before_a_connack_that_grants(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let connect = |rest: &[u8]| packet(0x10, &[&string("MQTT"), rest]);
    for (bytes, connack) in [
        // Not a CONNECT.
        (subscribe(V5, 1, &[("t", 0)]), None),
        (vec![0xE0, 0], None),
        (vec![0xF0, 0], None),
        // A reserved connect flag, a property twice, and a level that does not exist.
        (connect(&[5, 0x03, 0, 9, 0, 0, 1, b'c']), Some(0x81)),
        (
            connect(&[5, 0x02, 0, 9, 6, 0x21, 0, 1, 0x21, 0, 1, 0, 1, b'c']),
            Some(0x82),
        ),
    ] {
        let mut client = scene.stranger(V5);
        client.send(&bytes);
        if let Some(code) = connack {
            let answer = client.read_packet();
            assert_eq!((answer[0], answer[3]), (0x20, code));
        }
        client.expect_closed();
    }
}

/// Proves 5.0 [MQTT-3.14.1-1]; 3.1.1 [MQTT-3.14.1-1].
fn reserved_flags_of_disconnect_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut watcher = scene.join(V5, "watcher");
    watcher.subscribe("will/+", QoS::AtMostOnce);
    for version in BOTH {
        for flags in [1, 2, 4, 8] {
            let mut client = with_will(&scene, version, "client");
            client.send(&[0xE0 | flags, 0]);
            expect_breach(&mut client, ReasonCode::MalformedPacket);
            // So it was not taken for a goodbye.
            assert_eq!(watcher.message().topic, "will/client");
        }
    }
}

/// Those that stand with the rule that is broken are checked there.
///
/// Proves 5.0 [MQTT-3.14.2-1].
fn each_violation_has_its_reason(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().limits(|limits| {
        limits.packet.packet_bytes_max = 1000;
        limits.packet.filters_per_packet_max = 1;
        limits.topic_alias_max = 3;
        limits.inflight_messages_max = 1;
    });
    let scene = Scene::of(builder, transport, shards);
    let qos_2 = |id| packet(0x34, &[&string("t"), &[0, id, 0]]);
    for (bytes, reason) in [
        (
            [qos_2(1), qos_2(2)].concat(),
            ReasonCode::ReceiveMaximumExceeded,
        ),
        (
            packet(0x30, &[&string("t"), &[3, 0x23, 0, 4]]),
            ReasonCode::TopicAliasInvalid,
        ),
        (
            packet(0x30, &[&string("t"), &[0], &[b'x'; 1000]]),
            ReasonCode::PacketTooLarge,
        ),
        (
            subscribe(V5, 1, &[("a", 0), ("b", 0)]),
            ReasonCode::QuotaExceeded,
        ),
        (
            packet(0x30, &[&string("t"), &[2, 1, 1, 0xFF]]),
            ReasonCode::PayloadFormatInvalid,
        ),
    ] {
        let mut client = scene.join(V5, "client");
        client.send(&bytes);
        let last = loop {
            let bytes = client.read_packet();
            if bytes[0] != 0x50 {
                break bytes;
            }
        };
        assert_eq!((last[0], last[2]), (0xE0, reason.byte()), "{last:02x?}");
        client.expect_closed();
    }
}

/// Proves 5.0 [MQTT-3.14.2-1].
fn a_takeover_has_its_reason(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut first = scene.join(V5, "client");
    let _second = scene.join(V5, "client");
    let bytes = first.read_packet();
    assert_eq!((bytes[0], bytes[2]), (0xE0, 0x8E));
    first.expect_closed();
}

/// Proves 5.0 [MQTT-3.14.2-2].
fn a_disconnect_of_the_broker_has_no_session_expiry(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut violator, _) = scene.rejoin(V5, "violator");
    violator.send(&[0xC1, 0]);
    let (mut ousted, _) = scene.rejoin(V5, "ousted");
    let (_successor, _) = scene.rejoin(V5, "ousted");
    for client in [&mut violator, &mut ousted] {
        client.recv(|packet| match packet {
            Packet::Disconnect(disconnect) => assert_eq!(disconnect.session_expiry_secs, None),
            other => panic!("not a DISCONNECT: {other:?}"),
        });
    }
}

/// Nothing that came with the fault is answered behind the DISCONNECT.
///
/// Proves 5.0 [MQTT-3.14.4-1] [MQTT-3.14.4-2].
fn a_disconnect_of_the_broker_is_its_last_word(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    client.send(&[0xC0, 0, 0xC1, 0, 0xC0, 0, 0xC0, 0]);
    assert_eq!(client.read_packet(), [0xD0, 0]);
    assert_eq!(client.read_packet()[0], 0xE0);
    client.expect_closed();
}

/// Proves 5.0 [MQTT-3.14.4-3]; 3.1.1 [MQTT-3.14.4-3].
fn a_goodbye_takes_the_will_with_it(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut watcher = scene.join(V5, "watcher");
    watcher.subscribe("will/#", QoS::AtMostOnce);
    for version in BOTH {
        let mut polite = with_will(&scene, version, "polite");
        polite.send(&[0xE0, 0]);
        polite.expect_closed();
        // A connection that just ends shows that wills do go out, and by then the other would have.
        part(with_will(&scene, version, "polite"));
        assert_eq!(watcher.message().topic, "will/polite");
        let mut publisher = scene.join(V5, "publisher");
        publisher.publish("will/mark", b"", QoS::AtMostOnce, 0);
        assert_eq!(watcher.message().topic, "will/mark");
    }
}

/// Reason 0x04, section 3.14.2.1: the other side of [MQTT-3.14.4-3].
fn a_goodbye_that_asks_for_the_will_lets_it_go_out(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut watcher = scene.join(V5, "watcher");
    watcher.subscribe("will/#", QoS::AtMostOnce);
    let mut client = with_will(&scene, V5, "client");
    client.send(&[0xE0, 1, 4]);
    client.expect_closed();
    assert_eq!(watcher.message().topic, "will/client");
}

/// A client may send nothing behind its DISCONNECT [MQTT-3.14.4-1], so whatever comes is not acted on.
fn packets_behind_a_disconnect_are_ignored(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut watcher = scene.join(V5, "watcher");
    watcher.subscribe("#", QoS::AtMostOnce);
    for version in [V311, V5] {
        let mut client = scene.join(version, "client");
        let publish = packet(
            0x30,
            &[&string("late"), if version.is_v5() { &[0] } else { &[] }],
        );
        client.send(&[&[0xE0, 0], &publish[..], &[0xC0, 0]].concat());
        client.expect_closed();
        let mut publisher = scene.join(V5, "publisher");
        publisher.publish("mark", b"", QoS::AtMostOnce, 0);
        assert_eq!(watcher.message().topic, "mark");
    }
}

/// A client with a will to `will/` and its name.
fn with_will(scene: &Scene, version: Version, client_id: &str) -> RawClient {
    let topic = format!("will/{client_id}");
    let mut connect = lasting(version, client_id);
    connect.clean_start = true;
    connect.will = Some(Will {
        topic: TopicName::new(&topic, &Limits::generous()).unwrap(),
        payload: b"",
        qos: QoS::AtMostOnce,
        retain: false,
        delay_secs: 0,
        message_expiry_secs: None,
        properties: Default::default(),
    });
    scene.enter(&connect).0
}

/// Proves 5.0 [MQTT-3.14.2-3].
fn a_reason_string_too_large_for_a_disconnect_is_left_out(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let misplaced = subscribe(V5, 7, &[("a+/#/b", 1)]);
    scene.expect_reason_where_there_is_room(&misplaced, &[0xE0, 1, 0x8F]);
}
