//! AUTH.

use moat_codec::ReasonCode;
use moat_codec::Version::V5;
use moat_testkit::broker::Transport;

use crate::scene::{Scene, expect_breach, packet, string};

everywhere!(reserved_flags_of_auth_are_malformed);

/// Proves 5.0 [MQTT-3.15.1-1].
fn reserved_flags_of_auth_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let method = [&[0x15][..], &string("method")].concat();
    for flags in [1, 2, 4, 8] {
        let mut client = scene.join(V5, "client");
        client.send(&packet(0xF0 | flags, &[&[0x18, 9], &method]));
        expect_breach(&mut client, ReasonCode::MalformedPacket);
    }
}
