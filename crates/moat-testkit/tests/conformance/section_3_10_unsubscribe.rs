//! UNSUBSCRIBE.

use moat_codec::Version::V5;
use moat_codec::{PacketType, QoS, ReasonCode};
use moat_testkit::broker::Transport;

use crate::scene::{
    BOTH, Scene, answer, expect_breach, no_properties, packet, part, string, unsubscribe,
};

everywhere!(
    reserved_flags_of_unsubscribe_are_malformed,
    a_filter_to_remove_that_is_not_utf_8_is_refused,
    an_unsubscribe_without_a_filter_is_refused,
    only_the_same_filter_is_removed,
    no_more_messages_are_added,
    what_was_begun_is_completed,
    what_was_begun_is_sent_again_on_the_next_connection,
    an_unsubscribe_is_answered_with_its_packet_identifier,
    an_unsubscribe_that_removes_nothing_is_answered,
    filters_of_one_packet_are_removed_in_turn,
);

/// Proves 5.0 [MQTT-3.10.1-1]; 3.1.1 [MQTT-3.10.1-1].
fn reserved_flags_of_unsubscribe_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for flags in [0, 1, 3, 6, 0xA] {
            let mut client = scene.join(version, "client");
            let mut bytes = unsubscribe(version, 1, &["t"]);
            bytes[0] = 0xA0 | flags;
            client.send(&bytes);
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// Proves 5.0 [MQTT-3.10.3-1]; 3.1.1 [MQTT-3.10.3-1].
fn a_filter_to_remove_that_is_not_utf_8_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for filter in [&b"a/\xFF"[..], b"\xC0\xAF", b"\xED\xA0\x80"] {
            let mut client = scene.join(version, "client");
            let head = [&[0, 1], no_properties(version)].concat();
            client.send(&packet(0xA2, &[&head, &string("fine"), &string(filter)]));
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// Proves 5.0 [MQTT-3.10.3-2]; 3.1.1 [MQTT-3.10.3-2].
fn an_unsubscribe_without_a_filter_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&unsubscribe(version, 1, &[]));
        expect_breach(&mut client, ReasonCode::ProtocolError);
    }
}

/// Compared character by character: a wildcard in the packet is not one, and case counts.
///
/// Proves 5.0 [MQTT-3.10.4-1] [MQTT-3.10.4-2]; 3.1.1 [MQTT-3.10.4-1] [MQTT-3.10.4-2].
fn only_the_same_filter_is_removed(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut publisher = scene.join(V5, "publisher");
        let mut client = scene.join(version, "client");
        for filter in ["a/b", "a/c", "d/+"] {
            client.subscribe(filter, QoS::AtMostOnce);
        }
        client.send(&unsubscribe(version, 1, &["a/+", "#", "A/B", "a/c", "d/e"]));
        let _unsuback = client.read_packet();
        for topic in ["a/c", "a/b", "d/e"] {
            publisher.publish(topic, b"", QoS::AtMostOnce, 0);
        }
        assert_eq!(client.message().topic, "a/b", "a/c is gone");
        assert_eq!(client.message().topic, "d/e");
    }
}

/// Proves 5.0 [MQTT-3.10.4-2]; 3.1.1 [MQTT-3.10.4-2].
fn no_more_messages_are_added(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in QOS {
            let scene = Scene::new(transport, shards);
            let mut publisher = scene.join(V5, "publisher");
            let mut client = scene.join(version, "client");
            client.subscribe("a/#", qos).subscribe("mark", qos);
            publisher.publish_fully("a/b", b"before", qos, scene.fresh_id());
            assert_eq!(client.take_message().payload, b"before");
            client.settle().send(&unsubscribe(version, 1, &["a/#"]));
            let _unsuback = client.read_packet();
            publisher.publish_fully("a/b", b"after", qos, scene.fresh_id());
            publisher.publish_fully("mark", b"", qos, scene.fresh_id());
            assert_eq!(client.take_message().topic, "mark");
            client.settle();
        }
    }
}

/// Proves 5.0 [MQTT-3.10.4-3]; 3.1.1 [MQTT-3.10.4-3].
fn what_was_begun_is_completed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::ExactlyOnce);
        publisher.publish_fully("a", b"", QoS::ExactlyOnce, scene.fresh_id());
        let id = client.message().packet_id.unwrap();
        client.send(&unsubscribe(version, 1, &["a"]));
        let _unsuback = client.read_packet();
        client.acknowledge(PacketType::PubRec, id);
        let released = client.expect_ack(PacketType::PubRel);
        assert_eq!(released, (id, ReasonCode::Success));
    }
}

/// Proves 5.0 [MQTT-3.10.4-3] [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-3.10.4-3] [MQTT-4.1.0-1] [MQTT-4.3.2-1]
/// [MQTT-4.4.0-1].
fn what_was_begun_is_sent_again_on_the_next_connection(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let name = format!("{version:?} {qos:?}");
            let (mut client, _) = scene.rejoin(version, &name);
            client.subscribe("a", qos);
            publisher.publish_fully("a", b"begun", qos, scene.fresh_id());
            let id = client.message().packet_id;
            client.send(&unsubscribe(version, 1, &["a"]));
            let _unsuback = client.read_packet();
            part(client);
            let (mut client, _) = scene.rejoin(version, &name);
            let again = client.message();
            assert_eq!((again.packet_id, again.payload), (id, b"begun".to_vec()));
        }
    }
}

/// Proves 5.0 [MQTT-2.2.1-6] [MQTT-3.10.4-4] [MQTT-3.10.4-5]; 3.1.1 [MQTT-2.3.1-7] [MQTT-3.10.4-4].
fn an_unsubscribe_is_answered_with_its_packet_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for id in [1, 0x1234, 0xFFFF] {
            client.subscribe("t", QoS::AtMostOnce);
            client.send(&unsubscribe(version, id, &["t"]));
            assert_eq!(client.read_packet(), unsuback(version, id, &[0]));
        }
    }
}

/// Proves 5.0 [MQTT-3.10.4-5]; 3.1.1 [MQTT-3.10.4-5].
fn an_unsubscribe_that_removes_nothing_is_answered(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&unsubscribe(version, 1, &["t"]));
        assert_eq!(client.read_packet()[0], 0xB0);
    }
}

/// Proves 5.0 [MQTT-3.10.4-2] [MQTT-3.10.4-6]; 3.1.1 [MQTT-3.10.4-2] [MQTT-3.10.4-6].
fn filters_of_one_packet_are_removed_in_turn(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for filter in ["a", "b", "c"] {
            client.subscribe(filter, QoS::AtMostOnce);
        }
        client.send(&unsubscribe(version, 1, &["a", "b", "a"]));
        assert_eq!(client.read_packet()[0], 0xB0, "one answer");
        for topic in ["a", "b", "c"] {
            publisher.publish(topic, b"", QoS::AtMostOnce, 0);
        }
        assert_eq!(client.message().topic, "c");
        client.ping();
    }
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// 3.1.1 has no codes in UNSUBACK.
fn unsuback(version: moat_codec::Version, id: u16, codes: &[u8]) -> Vec<u8> {
    let codes = if version.is_v5() { codes } else { &[] };
    answer(version, 0xB0, id, codes)
}
