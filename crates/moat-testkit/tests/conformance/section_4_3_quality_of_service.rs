//! The three delivery protocols, with moat as the sender and as the receiver.

use std::collections::HashSet;

use moat_codec::PacketType::{PubComp, PubRec, PubRel};
use moat_codec::Version::V5;
use moat_codec::{Packet, Publish, QoS, ReasonCode, Version};
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::packet_id;
use moat_testkit::{RawClient, TestBroker};

use crate::scene::{BOTH, OPEN_ONLY, Scene, no_properties, packet, part, string};

everywhere!(
    qos_0_goes_out_without_dup,
    each_new_message_has_an_unused_identifier,
    an_identifier_is_not_reused_before_pubcomp,
    new_messages_go_out_without_dup,
    qos_1_is_unacknowledged_until_puback,
    qos_1_is_answered_with_its_identifier,
    an_identifier_of_qos_1_is_free_after_puback,
    qos_2_is_unacknowledged_until_pubrec,
    pubrec_is_answered_with_pubrel_for_the_same_identifier,
    pubrel_is_unacknowledged_until_pubcomp,
    a_message_is_not_sent_again_once_it_was_released,
    a_message_under_way_does_not_expire,
    qos_2_is_answered_with_its_identifier,
    an_identifier_whose_message_was_refused_is_free,
    a_repeated_qos_2_message_is_answered_and_not_passed_on,
    pubrel_is_answered_with_pubcomp_for_the_same_identifier,
    an_identifier_of_qos_2_is_free_after_pubcomp,
    an_expired_message_is_released_like_any_other,
);

const ACKNOWLEDGED: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Proves 5.0 [MQTT-4.3.1-1]; 3.1.1 [MQTT-4.3.1-1].
fn qos_0_goes_out_without_dup(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        client.send(&raw_publish(version, 0x30, "a", &[], b"x"));
        assert_eq!(
            client.read_packet(),
            raw_publish(version, 0x30, "a", &[], b"x")
        );
        // The DUP flag of a publisher's packet is not that of a delivery.
        let mut publisher = scene.join(version, "publisher");
        publisher.send(&raw_publish(version, 0x3A, "a", &[0, 1], b"x"));
        assert_eq!(
            client.read_packet(),
            raw_publish(version, 0x30, "a", &[], b"x")
        );
    }
}

/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.2-1] [MQTT-4.3.3-1].
fn each_new_message_has_an_unused_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        for qos in ACKNOWLEDGED {
            let mut client = scene.join(version, "client");
            client.subscribe("a", qos);
            let ids: HashSet<_> = (0..10)
                .map(|_| {
                    publisher.publish_fully("a", b"", qos, scene.fresh_id());
                    client.message().packet_id.unwrap()
                })
                .collect();
            assert_eq!(ids.len(), 10);
        }
    }
}

/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.3.3-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.3.3-1].
fn an_identifier_is_not_reused_before_pubcomp(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::ExactlyOnce);
        let mut ids = HashSet::new();
        for _ in 0..10 {
            publisher.publish_fully("a", b"", QoS::ExactlyOnce, scene.fresh_id());
            let id = client.message().packet_id.unwrap();
            assert!(ids.insert(id), "{id:?} is in use");
            client.acknowledge(PubRec, id);
            client.expect_ack(PubRel);
        }
    }
}

/// Proves 5.0 [MQTT-4.3.2-2] [MQTT-4.3.3-2]; 3.1.1 [MQTT-4.3.2-1] [MQTT-4.3.3-1].
fn new_messages_go_out_without_dup(transport: Transport, shards: usize) {
    for version in BOTH {
        for (qos, first_byte) in [(QoS::AtLeastOnce, 0x32), (QoS::ExactlyOnce, 0x34)] {
            let scene = Scene::new(transport, shards);
            let mut client = scene.join(version, "client");
            client.subscribe("a", qos);
            let mut publisher = scene.join(version, "publisher");
            // Not even when the publisher sends it for the second time.
            publisher.send(&raw_publish(version, first_byte | 8, "a", &[0, 7], b"x"));
            let received = client.read_packet();
            assert_eq!(received[0], first_byte);
        }
    }
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1].
fn qos_1_is_unacknowledged_until_puback(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let (mut client, id) = receiver_of_one(&scene, version, QoS::AtLeastOnce);
        // An acknowledgement for another identifier is none for this.
        let other = packet_id(id.wrapping_add(100).max(1)).value().to_be_bytes();
        client.send(&packet(0x40, &[&other]));
        let mut client = next_connection(&scene, client);
        let again = client.message();
        assert_eq!(again.packet_id, Some(packet_id(id)));
        client.send(&packet(0x40, &[&id.to_be_bytes()]));
        let mut client = next_connection(&scene, client);
        client.ping();
    }
}

/// Proves 5.0 [MQTT-4.3.2-4]; 3.1.1 [MQTT-4.3.2-2].
fn qos_1_is_answered_with_its_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        let mut publisher = scene.join(version, "publisher");
        for id in [[0, 1], [0x12, 0x34], [0xFF, 0xFF]] {
            publisher.send(&raw_publish(version, 0x32, "a", &id, b"owned"));
            assert_eq!(publisher.read_packet(), packet(0x40, &[&id]));
            assert_eq!(client.message().payload, b"owned");
        }
    }
}

/// Proves 5.0 [MQTT-4.3.2-5]; 3.1.1 [MQTT-4.3.2-2].
fn an_identifier_of_qos_1_is_free_after_puback(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtLeastOnce);
        let mut publisher = scene.join(version, "publisher");
        for (first_byte, payload) in [(0x32, b"1"), (0x32, b"2"), (0x3A, b"3"), (0x3A, b"3")] {
            publisher.send(&raw_publish(version, first_byte, "a", &[0, 7], payload));
            assert_eq!(publisher.read_packet()[..2], [0x40, 2]);
            assert_eq!(client.take_message().payload, payload);
        }
    }
}

/// Proves 5.0 [MQTT-4.3.3-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1].
fn qos_2_is_unacknowledged_until_pubrec(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let (client, id) = receiver_of_one(&scene, version, QoS::ExactlyOnce);
        let mut client = next_connection(&scene, client);
        let again = client.message();
        assert_eq!(again.qos, QoS::ExactlyOnce);
        assert_eq!(again.packet_id, Some(packet_id(id)));
    }
}

/// Proves 5.0 [MQTT-4.3.3-4]; 3.1.1 [MQTT-4.3.3-1].
fn pubrec_is_answered_with_pubrel_for_the_same_identifier(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let (mut client, id) = receiver_of_one(&scene, version, QoS::ExactlyOnce);
        let id = id.to_be_bytes();
        client.send(&packet(0x50, &[&id]));
        assert_eq!(client.read_packet(), packet(0x62, &[&id]));
        // And again, should the client not have seen it.
        client.send(&packet(0x50, &[&id]));
        assert_eq!(client.read_packet(), packet(0x62, &[&id]));
    }
}

/// Proves 5.0 [MQTT-4.3.3-5] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.3-1] [MQTT-4.4.0-1].
fn pubrel_is_unacknowledged_until_pubcomp(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let (mut client, id) = receiver_of_one(&scene, version, QoS::ExactlyOnce);
        let id = id.to_be_bytes();
        client.send(&packet(0x50, &[&id]));
        let _pubrel = client.read_packet();
        let mut client = next_connection(&scene, client);
        assert_eq!(client.read_packet(), packet(0x62, &[&id]), "PUBREL again");
        client.send(&packet(0x70, &[&id]));
        let mut client = next_connection(&scene, client);
        client.ping();
    }
}

/// Proves 5.0 [MQTT-4.3.3-6]; 3.1.1 [MQTT-4.3.3-1].
fn a_message_is_not_sent_again_once_it_was_released(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let (mut client, id) = receiver_of_one(&scene, version, QoS::ExactlyOnce);
        client.acknowledge(PubRec, packet_id(id));
        client.expect_ack(PubRel);
        let mut client = next_connection(&scene, client);
        // PUBRELs perhaps, but no message.
        client.settle();
    }
}

/// Proves 5.0 [MQTT-4.3.3-7] [MQTT-4.4.0-1].
fn a_message_under_way_does_not_expire(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut client, _) = scene.rejoin(V5, "client");
    client.subscribe("a", QoS::ExactlyOnce);
    let mut publisher = scene.join(V5, "publisher");
    publisher.send_packet(&expiring("a"));
    let id = client.message().packet_id;
    part(client);
    scene.a_second_passes();
    let (mut client, _) = scene.rejoin(V5, "client");
    assert_eq!(client.message().packet_id, id);
}

/// Proves 5.0 [MQTT-4.3.3-8]; 3.1.1 [MQTT-4.3.3-2].
fn qos_2_is_answered_with_its_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        let mut publisher = scene.join(version, "publisher");
        for id in [[0, 1], [0x12, 0x34], [0xFF, 0xFF]] {
            publisher.send(&raw_publish(version, 0x34, "a", &id, b"owned"));
            assert_eq!(publisher.read_packet(), packet(0x50, &[&id]));
            assert_eq!(client.message().payload, b"owned");
        }
    }
}

/// Proves 5.0 [MQTT-4.3.3-9].
fn an_identifier_whose_message_was_refused_is_free(transport: Transport, shards: usize) {
    let scene = Scene::of(TestBroker::builder().policy(OPEN_ONLY), transport, shards);
    let mut client = scene.join(V5, "client");
    client.subscribe("open/#", QoS::AtMostOnce);
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish("closed", b"", QoS::ExactlyOnce, 7);
    assert_eq!(publisher.expect_ack(PubRec).1, ReasonCode::NotAuthorized);
    publisher.publish("open/a", b"new", QoS::ExactlyOnce, 7);
    assert_eq!(
        publisher.expect_ack(PubRec),
        (packet_id(7), ReasonCode::Success)
    );
    assert_eq!(client.message().payload, b"new");
}

/// Also on the next connection, and whatever its DUP flag says.
///
/// Proves 5.0 [MQTT-4.3.3-10]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.3-2].
fn a_repeated_qos_2_message_is_answered_and_not_passed_on(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut client = scene.join(version, "client");
        client.subscribe("#", QoS::AtMostOnce);
        let name = format!("{version:?}");
        let (mut publisher, _) = scene.rejoin(version, &name);
        publisher.send(&raw_publish(version, 0x34, "a", &[0, 7], b"once"));
        assert_eq!(publisher.read_packet(), [0x50, 2, 0, 7]);
        for first_byte in [0x3C, 0x34] {
            publisher.send(&raw_publish(version, first_byte, "a", &[0, 7], b"once"));
            assert_eq!(publisher.read_packet(), [0x50, 2, 0, 7]);
        }
        part(publisher);
        let (mut publisher, _) = scene.rejoin(version, &name);
        publisher.send(&raw_publish(version, 0x3C, "a", &[0, 7], b"once"));
        assert_eq!(publisher.read_packet(), [0x50, 2, 0, 7]);
        publisher.publish("mark", b"", QoS::AtMostOnce, 0);
        assert_eq!(client.message().payload, b"once");
        assert_eq!(client.message().topic, "mark");
    }
}

/// Proves 5.0 [MQTT-4.3.3-11]; 3.1.1 [MQTT-4.3.3-2].
fn pubrel_is_answered_with_pubcomp_for_the_same_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut publisher = scene.join(version, "publisher");
        for id in [1, 0x1234, 0xFFFF] {
            publisher.publish("a", b"", QoS::ExactlyOnce, id);
            publisher.expect_ack(PubRec);
            let id = id.to_be_bytes();
            publisher.send(&packet(0x62, &[&id]));
            assert_eq!(publisher.read_packet(), packet(0x70, &[&id]));
        }
    }
}

/// Proves 5.0 [MQTT-4.3.3-12]; 3.1.1 [MQTT-4.3.3-2].
fn an_identifier_of_qos_2_is_free_after_pubcomp(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtLeastOnce);
        let mut publisher = scene.join(version, "publisher");
        for (first_byte, payload) in [(0x34, b"1"), (0x34, b"2"), (0x3C, b"3")] {
            publisher.send(&raw_publish(version, first_byte, "a", &[0, 7], payload));
            assert_eq!(publisher.read_packet(), [0x50, 2, 0, 7]);
            publisher.send(&[0x62, 2, 0, 7]);
            assert_eq!(publisher.read_packet(), [0x70, 2, 0, 7]);
            assert_eq!(client.take_message().payload, payload);
        }
    }
}

/// Proves 5.0 [MQTT-4.3.3-13].
fn an_expired_message_is_released_like_any_other(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut absent, _) = scene.rejoin(V5, "absent");
    absent.subscribe("a", QoS::ExactlyOnce);
    part(absent);
    let mut publisher = scene.join(V5, "publisher");
    publisher.send_packet(&expiring("a"));
    publisher.expect_ack(PubRec);
    scene.a_second_passes();
    let (mut absent, _) = scene.rejoin(V5, "absent");
    // The message has expired.
    absent.ping();
    publisher.acknowledge(PubRel, packet_id(1));
    let completed = publisher.expect_ack(PubComp);
    assert_eq!(completed, (packet_id(1), ReasonCode::Success));
}

/// A PUBLISH with these bits in its first byte.
fn raw_publish(
    version: Version,
    first_byte: u8,
    topic: &str,
    id: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    packet(
        first_byte,
        &[&string(topic), id, no_properties(version), payload],
    )
}

/// A QoS 2 message that lives for a second.
fn expiring(topic: &str) -> Packet<'_> {
    let mut publish = Publish::new(topic, b"");
    (publish.qos, publish.packet_id) = (QoS::ExactlyOnce, Some(packet_id(1)));
    publish.message_expiry_secs = Some(1);
    Packet::Publish(publish)
}

/// A client with a lasting session and one message it has not acknowledged yet, with its identifier.
fn receiver_of_one(scene: &Scene, version: Version, qos: QoS) -> (RawClient, u16) {
    let (mut client, _) = scene.rejoin(version, name_of(version));
    client.subscribe("a", qos);
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish_fully("a", b"one", qos, scene.fresh_id());
    let id = client.message().packet_id.unwrap().value();
    (client, id)
}

/// The next connection of the session of [`receiver_of_one`].
fn next_connection(scene: &Scene, client: RawClient) -> RawClient {
    let version = client.version;
    part(client);
    scene.rejoin(version, name_of(version)).0
}

fn name_of(version: Version) -> &'static str {
    if version.is_v5() { "five" } else { "three" }
}
