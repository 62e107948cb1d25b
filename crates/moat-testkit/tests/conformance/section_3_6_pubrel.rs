//! PUBREL.

use moat_codec::Version::V5;
use moat_codec::{QoS, ReasonCode};
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene, expect_breach};

everywhere!(
    reserved_flags_of_pubrel_are_malformed,
    a_pubrel_says_whether_its_message_is_known,
);

/// Proves 5.0 [MQTT-3.6.1-1]; 3.1.1 [MQTT-3.6.1-1].
fn reserved_flags_of_pubrel_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for flags in [0, 1, 3, 6, 0xA] {
            let mut client = scene.join(version, "client");
            client.publish("t", b"", QoS::ExactlyOnce, 1);
            let _pubrec = client.read_packet();
            client.send(&[0x60 | flags, 2, 0, 1]);
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// Proves 5.0 [MQTT-3.6.2-1].
fn a_pubrel_says_whether_its_message_is_known(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    client
        .subscribe("t", QoS::ExactlyOnce)
        .publish("t", b"", QoS::AtMostOnce, 0);
    assert_eq!(client.message().qos, QoS::AtMostOnce);
    client.send(&[0x50, 2, 0, 77]);
    assert_eq!(client.read_packet(), [0x62, 3, 0, 77, 0x92]);
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish("t", b"", QoS::ExactlyOnce, 1);
    let [high, low] = client.message().packet_id.unwrap().value().to_be_bytes();
    client.send(&[0x50, 2, high, low]);
    assert_eq!(client.read_packet(), [0x62, 2, high, low]);
}
