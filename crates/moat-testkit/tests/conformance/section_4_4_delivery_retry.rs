//! What is sent again, and when.

use moat_codec::PacketType::{PubAck, PubRec, PubRel};
use moat_codec::Version::V5;
use moat_codec::{Ack, Packet, QoS, ReasonCode};
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene, part};

everywhere!(
    what_is_unacknowledged_is_sent_again_with_its_identifier,
    nothing_is_sent_again_on_the_same_connection,
    a_refused_message_is_not_sent_again,
);

/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-2.3.1-4] [MQTT-4.1.0-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1].
fn what_is_unacknowledged_is_sent_again_with_its_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let name = format!("{version:?}");
        let (mut client, _) = scene.rejoin(version, &name);
        client
            .subscribe("1", QoS::AtLeastOnce)
            .subscribe("2", QoS::ExactlyOnce);
        let mut ids = Vec::new();
        for topic in ["1", "2", "2", "1"] {
            publisher.publish_fully(topic, b"", QoS::ExactlyOnce, scene.fresh_id());
            ids.push(client.message().packet_id.unwrap());
        }
        client.acknowledge(PubRec, ids[1]);
        client.expect_ack(PubRel);
        client.acknowledge(PubAck, ids[3]);
        client.ping();
        part(client);
        let (mut client, _) = scene.rejoin(version, &name);
        let first = client.message();
        assert_eq!(first.packet_id, Some(ids[0]));
        assert_eq!(client.expect_ack(PubRel).0, ids[1]);
        let third = client.message();
        assert_eq!(third.packet_id, Some(ids[2]));
        // The fourth was acknowledged.
        client.ping();
    }
}

/// Proves 5.0 [MQTT-4.4.0-1].
fn nothing_is_sent_again_on_the_same_connection(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let scene = Scene::new(transport, shards);
            let mut publisher = scene.join(V5, "publisher");
            let mut client = scene.join(version, "client");
            client.subscribe("a", qos);
            let mut ids = Vec::new();
            for number in 0..3 {
                publisher.publish_fully("a", &[number], qos, scene.fresh_id());
                ids.push(client.message().packet_id.unwrap());
            }
            // Whatever makes it look for something to send.
            if qos == QoS::AtLeastOnce {
                client.acknowledge(PubAck, ids[1]);
            } else {
                client.acknowledge(PubRec, ids[1]);
                client.expect_ack(PubRel);
            }
            client.subscribe("b", qos).ping();
            publisher.publish_fully("a", &[3], qos, scene.fresh_id());
            assert_eq!(client.message().payload, [3]);
            client.ping();
        }
    }
}

/// Proves 5.0 [MQTT-4.4.0-2].
fn a_refused_message_is_not_sent_again(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (mut client, _) = scene.rejoin(V5, "client");
        client.subscribe("a", qos);
        publisher.publish_fully("a", b"", qos, scene.fresh_id());
        let id = client.message().packet_id.unwrap();
        let refusal = Ack::with_reason(id, ReasonCode::ImplementationSpecificError);
        client.send_packet(&match qos {
            QoS::AtLeastOnce => Packet::PubAck(refusal),
            _ => Packet::PubRec(refusal),
        });
        // Nor is it released.
        client.ping();
        part(client);
        let (mut client, present) = scene.rejoin(V5, "client");
        assert!(present);
        client.ping();
        part(client);
    }
}
