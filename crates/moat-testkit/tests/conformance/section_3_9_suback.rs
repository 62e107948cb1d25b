//! SUBACK.

use moat_codec::Packet;
use moat_codec::Version::{V5, V311};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, OPEN_ONLY, Scene, answer, codes, subscribe};

everywhere!(
    codes_stand_in_the_order_of_the_filters,
    a_refusal_has_the_code_for_its_cause,
    a_reason_string_too_large_for_a_suback_is_left_out,
);

/// Proves 5.0 [MQTT-3.9.3-1]; 3.1.1 [MQTT-3.9.3-1].
fn codes_stand_in_the_order_of_the_filters(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        let filters = [("c", 2), ("a", 0), ("b/+", 1), ("#", 0), ("a", 1)];
        client.send(&subscribe(version, 1, &filters));
        let bytes = client.read_packet();
        assert_eq!(codes(version, 0x90, &bytes), [2, 0, 1, 0, 1]);
    }
}

/// Proves 5.0 [MQTT-3.9.3-2]; 3.1.1 [MQTT-3.9.3-2].
fn a_refusal_has_the_code_for_its_cause(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().policy(OPEN_ONLY);
    let builder = builder.limits(|limits| limits.subscriptions_per_session_max = 2);
    let scene = Scene::of(builder, transport, shards);
    let filters = [("open/1", 2), ("closed", 1), ("open/2", 0), ("open/3", 0)];
    for (version, expected) in [(V311, [2, 0x80, 0, 0x80]), (V5, [2, 0x87, 0, 0x97])] {
        let mut client = scene.join(version, "client");
        client.send(&subscribe(version, 1, &filters));
        let bytes = client.read_packet();
        assert_eq!(bytes[bytes.len() - 4..], expected);
        let decoded = moat_testkit::raw::decode(&bytes, version);
        assert!(matches!(decoded, Packet::SubAck(_)));
    }
}

/// Proves 5.0 [MQTT-3.9.2-1].
fn a_reason_string_too_large_for_a_suback_is_left_out(transport: Transport, shards: usize) {
    let scene = Scene::of(TestBroker::builder().policy(OPEN_ONLY), transport, shards);
    let asked = subscribe(V5, 1, &[("open/a", 1), ("closed", 1)]);
    scene.expect_reason_where_there_is_room(&asked, &answer(V5, 0x90, 1, &[1, 0x87]));
}
