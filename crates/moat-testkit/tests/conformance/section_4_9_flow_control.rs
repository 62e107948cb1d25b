//! Receive Maximum and the send quota.

use std::num::NonZeroU16;

use moat_codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
use moat_codec::Version::V5;
use moat_codec::{Ack, Connect, Packet, QoS, ReasonCode};
use moat_testkit::RawClient;
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::packet_id;

use crate::scene::Scene;

everywhere!(
    as_many_messages_as_the_receive_maximum_are_under_way,
    a_message_waits_until_another_one_is_done,
    everything_else_goes_on_without_quota,
);

const ACKNOWLEDGED: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Proves 5.0 [MQTT-4.9.0-1].
fn as_many_messages_as_the_receive_maximum_are_under_way(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for qos in ACKNOWLEDGED {
        for maximum in [1, 2, 7] {
            let mut client = limited(&scene, maximum);
            client
                .subscribe("a", qos)
                .subscribe("mark", QoS::AtMostOnce);
            flood(&scene, qos);
            for _ in 0..maximum {
                assert_eq!(client.message().topic, "a");
            }
            assert_eq!(client.message().topic, "mark");
            client.ping();
        }
    }
}

/// Only PUBACK, PUBCOMP and a PUBREC that refuses give quota back.
///
/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.9.0-2].
fn a_message_waits_until_another_one_is_done(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for qos in ACKNOWLEDGED {
        let mut client = limited(&scene, 2);
        client
            .subscribe("a", qos)
            .subscribe("mark", QoS::AtMostOnce);
        flood(&scene, qos);
        let id = client.message().packet_id.unwrap();
        let other = client.message().packet_id.unwrap();
        assert_eq!(client.message().topic, "mark");
        if qos == QoS::AtLeastOnce {
            client.acknowledge(PubAck, id);
        } else {
            client.acknowledge(PubRec, id);
            client.expect_ack(PubRel);
            // Not yet.
            client.ping();
            client.acknowledge(PubComp, id);
        }
        assert_eq!(client.message().topic, "a");
        client.ping();
        let refusal = Ack::with_reason(other, ReasonCode::QuotaExceeded);
        client.send_packet(&match qos {
            QoS::AtLeastOnce => Packet::PubAck(refusal),
            _ => Packet::PubRec(refusal),
        });
        assert_eq!(client.message().topic, "a");
        client.ping();
    }
}

/// Proves 5.0 [MQTT-4.9.0-3].
fn everything_else_goes_on_without_quota(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for qos in ACKNOWLEDGED {
        let mut client = limited(&scene, 1);
        client
            .subscribe("a", qos)
            .subscribe("mark", QoS::AtMostOnce);
        flood(&scene, qos);
        assert_eq!(client.message().topic, "a");
        assert_eq!(client.message().topic, "mark");
        client.ping().subscribe("b", QoS::AtMostOnce);
        for (qos, id) in [(QoS::AtLeastOnce, 1), (QoS::ExactlyOnce, 2)] {
            assert!(!client.publish_fully("nobody", b"", qos, id).is_error());
        }
        client.publish("b", b"", QoS::AtMostOnce, 0);
        assert_eq!(client.message().topic, "b");
        client.acknowledge(PubRel, packet_id(9));
        assert_eq!(client.expect_ack(PubComp).0, packet_id(9));
    }
}

/// A client that takes so many messages at once.
fn limited(scene: &Scene, receive_maximum: u16) -> RawClient {
    let mut connect = Connect::new(V5, "client");
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    scene.enter(&connect).0
}

/// More messages to `a` than any of these clients takes at once, and then one to `mark`.
fn flood(scene: &Scene, qos: QoS) {
    let mut publisher = scene.join(V5, "publisher");
    for id in 1..10 {
        publisher.publish_fully("a", b"", qos, id);
    }
    publisher.publish("mark", b"", QoS::AtMostOnce, 0).ping();
}
