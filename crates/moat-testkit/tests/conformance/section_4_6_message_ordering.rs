//! The order of messages and acknowledgements.

use moat_codec::PacketType::{PubAck, PubRec, PubRel};
use moat_codec::Version::V5;
use moat_codec::{QoS, Version};
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::{packet_id, publish};
use moat_testkit::raw::encode;

use crate::scene::{BOTH, Scene, part};

everywhere!(
    messages_arrive_in_the_order_they_were_published,
    messages_of_an_absent_client_wait_in_order,
    messages_are_sent_again_in_order,
    messages_are_released_in_the_order_they_were_received,
    acknowledgements_follow_the_order_of_the_messages,
);

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// More than may be under way at once, so some wait, and by several topics.
///
/// Proves 5.0 [MQTT-4.6.0-5] [MQTT-4.6.0-6]; 3.1.1 [MQTT-4.6.0-5] [MQTT-4.6.0-6].
fn messages_arrive_in_the_order_they_were_published(transport: Transport, shards: usize) {
    const MESSAGES: u16 = 120;
    for version in BOTH {
        for qos in QOS {
            let scene = Scene::new(transport, shards);
            let mut client = scene.join(version, "client");
            client.subscribe("order/#", qos);
            let mut publisher = scene.join(Version::V311, "publisher");
            let mut bytes = Vec::new();
            for number in 0..MESSAGES {
                let topic = format!("order/{}", number % 3);
                let payload = number.to_be_bytes();
                let packet = publish(&topic, &payload, qos, number + 1);
                bytes.extend(encode(&packet, Version::V311));
            }
            publisher.send(&bytes);
            for number in 0..MESSAGES {
                let message = client.take_message();
                assert_eq!(message.qos, qos);
                assert_eq!(message.payload, number.to_be_bytes());
            }
        }
    }
}

/// Proves 5.0 [MQTT-4.6.0-5]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.6.0-6].
fn messages_of_an_absent_client_wait_in_order(transport: Transport, shards: usize) {
    const MESSAGES: u16 = 50;
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut publisher = scene.join(V5, "publisher");
        let name = format!("{version:?}");
        let (mut client, _) = scene.rejoin(version, &name);
        client.subscribe("a", QoS::ExactlyOnce);
        part(client);
        for number in 0..MESSAGES {
            let payload = number.to_be_bytes();
            publisher.publish_fully("a", &payload, QoS::ExactlyOnce, scene.fresh_id());
        }
        let (mut client, _) = scene.rejoin(version, &name);
        for number in 0..MESSAGES {
            assert_eq!(client.take_message().payload, number.to_be_bytes());
        }
    }
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.3.2-1] [MQTT-4.4.0-1] [MQTT-4.6.0-6].
fn messages_are_sent_again_in_order(transport: Transport, shards: usize) {
    const MESSAGES: u8 = 10;
    for version in BOTH {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let scene = Scene::new(transport, shards);
            let mut publisher = scene.join(V5, "publisher");
            let name = format!("{version:?} {qos:?}");
            let (mut client, _) = scene.rejoin(version, &name);
            client.subscribe("a", qos);
            for number in 0..MESSAGES {
                publisher.publish_fully("a", &[number], qos, scene.fresh_id());
                assert_eq!(client.message().payload, [number]);
            }
            part(client);
            let (mut client, _) = scene.rejoin(version, &name);
            for number in 0..MESSAGES {
                assert_eq!(client.message().payload, [number]);
            }
            client.send(&[0xE0, 0]);
        }
    }
}

/// Proves 3.1.1 [MQTT-4.6.0-6].
fn messages_are_released_in_the_order_they_were_received(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::ExactlyOnce);
        let mut ids: Vec<_> = (0..5)
            .map(|_| {
                publisher.publish_fully("a", b"", QoS::ExactlyOnce, scene.fresh_id());
                client.message().packet_id.unwrap()
            })
            .collect();
        // The order of the PUBRECs counts, whatever that of the messages was.
        ids.swap(1, 3);
        let pubrecs = ids.iter().map(|id| {
            let [high, low] = id.value().to_be_bytes();
            [0x50, 2, high, low]
        });
        client.send(&pubrecs.collect::<Vec<_>>().concat());
        for id in ids {
            assert_eq!(client.expect_ack(PubRel).0, id);
        }
    }
}

/// Said of clients only ([MQTT-4.6.0-2], [MQTT-4.6.0-3]), and true of the broker.
///
/// Proves 5.0 [MQTT-4.3.2-4] [MQTT-4.3.3-8]; 3.1.1 [MQTT-4.3.2-2] [MQTT-4.3.3-2].
fn acknowledgements_follow_the_order_of_the_messages(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for (qos, kind) in [(QoS::AtLeastOnce, PubAck), (QoS::ExactlyOnce, PubRec)] {
            let mut publisher = scene.join(version, "publisher");
            let ids = [9, 2, 7, 1, 300];
            let bytes = ids.map(|id| encode(&publish("a", b"", qos, id), version));
            publisher.send(&bytes.concat());
            for id in ids {
                assert_eq!(publisher.expect_ack(kind).0, packet_id(id));
            }
        }
    }
}
