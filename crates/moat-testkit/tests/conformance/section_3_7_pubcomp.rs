//! PUBCOMP.

use moat_codec::QoS;
use moat_codec::Version::V5;
use moat_testkit::broker::Transport;

use crate::scene::Scene;

everywhere!(a_pubcomp_says_whether_its_message_is_known);

/// Proves 5.0 [MQTT-3.7.2-1].
fn a_pubcomp_says_whether_its_message_is_known(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    client.publish("t", b"", QoS::ExactlyOnce, 9);
    let _pubrec = client.read_packet();
    client.send(&[0x62, 2, 0, 9]);
    assert_eq!(client.read_packet(), [0x70, 2, 0, 9]);
    client.send(&[0x62, 2, 0, 9]);
    assert_eq!(client.read_packet(), [0x70, 3, 0, 9, 0x92]);
}
