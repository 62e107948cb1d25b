//! UNSUBACK.

use moat_codec::QoS;
use moat_codec::Version::V5;
use moat_testkit::broker::Transport;

use crate::scene::{Scene, codes, unsubscribe};

everywhere!(codes_of_unsuback_say_for_each_filter_in_turn_whether_it_was_there);

/// Proves 5.0 [MQTT-3.11.3-1] [MQTT-3.11.3-2].
fn codes_of_unsuback_say_for_each_filter_in_turn_whether_it_was_there(
    transport: Transport,
    shards: usize,
) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    for filter in ["a", "c/+", "#"] {
        client.subscribe(filter, QoS::AtMostOnce);
    }
    client.send(&unsubscribe(V5, 1, &["b", "a", "c/d", "#", "c/+"]));
    let bytes = client.read_packet();
    assert_eq!(codes(V5, 0xB0, &bytes), [0x11, 0, 0x11, 0, 0]);
}
