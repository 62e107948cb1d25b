//! PINGREQ.

use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene};

everywhere!(a_ping_is_answered);

/// Proves 5.0 [MQTT-3.12.4-1]; 3.1.1 [MQTT-3.12.4-1].
fn a_ping_is_answered(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&[0xC0, 0, 0xC0, 0]);
        assert_eq!(client.read_packet(), [0xD0, 0]);
        assert_eq!(client.read_packet(), [0xD0, 0]);
    }
}
