//! PUBACK.

use moat_codec::QoS;
use moat_codec::Version::V5;
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::scene::{OPEN_ONLY, Scene, packet, string};

everywhere!(
    a_puback_says_what_became_of_the_message,
    a_reason_string_too_large_for_a_puback_is_left_out,
);

/// Proves 5.0 [MQTT-3.4.2-1].
fn a_puback_says_what_became_of_the_message(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().policy(OPEN_ONLY);
    let scene = Scene::of(builder, transport, shards);
    let mut client = scene.join(V5, "client");
    client.subscribe("open/taken", QoS::AtMostOnce);
    client.publish("open/nobody", b"", QoS::AtLeastOnce, 1);
    let nobody = client.read_packet();
    assert_eq!((nobody[0], &nobody[4..]), (0x40, &[0x10][..]));
    client.publish("closed", b"", QoS::AtLeastOnce, 2);
    assert_eq!(client.read_packet()[4], 0x87);
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish("open/taken", b"", QoS::AtLeastOnce, 3);
    assert_eq!(publisher.read_packet()[..2], [0x40, 2]);
}

/// Proves 5.0 [MQTT-3.4.2-2].
fn a_reason_string_too_large_for_a_puback_is_left_out(transport: Transport, shards: usize) {
    let scene = Scene::of(TestBroker::builder().policy(OPEN_ONLY), transport, shards);
    let publish = packet(0x32, &[&string("closed"), &[0, 7, 0]]);
    scene.expect_reason_where_there_is_room(&publish, &[0x40, 3, 0, 7, 0x87]);
}
