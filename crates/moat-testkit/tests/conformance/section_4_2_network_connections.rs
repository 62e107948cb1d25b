//! What carries the packets.

use moat_codec::QoS;
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene};

everywhere!(packets_are_carried_whole_and_in_order);

/// Also as single bytes, each in a segment, a record or a frame of its own.
///
/// Proves 5.0 [MQTT-4.2-1]; 3.1.1 [MQTT-7.1.1-1].
fn packets_are_carried_whole_and_in_order(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        let payload = vec![b'x'; 100_000];
        client.publish("a", &payload, QoS::AtMostOnce, 0);
        assert_eq!(client.message().payload, payload);
        client.send_slowly(&[0xC0, 0, 0xC0, 0]);
        assert_eq!(client.read_packet(), [0xD0, 0]);
        assert_eq!(client.read_packet(), [0xD0, 0]);
    }
}
