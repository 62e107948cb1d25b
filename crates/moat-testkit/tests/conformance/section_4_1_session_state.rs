//! How long a session lives.

use moat_codec::Version::{V5, V311};
use moat_codec::{Connect, QoS, Version};
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene, lasting, part};

everywhere!(
    a_session_lives_at_least_as_long_as_its_connection,
    a_resumed_session_does_not_expire_under_its_connection,
    a_session_keeps_its_state_while_its_client_is_away,
    a_session_ends_with_its_connection_when_it_is_not_to_last,
    a_session_ends_when_its_expiry_interval_has_passed,
);

/// Proves 3.1.1 [MQTT-4.1.0-2].
fn a_session_lives_at_least_as_long_as_its_connection(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        scene.a_second_passes();
        let mut publisher = scene.join(V5, "publisher");
        publisher.publish("a", b"", QoS::AtMostOnce, 0);
        assert_eq!(client.message().topic, "a");
    }
}

/// Proves 5.0 [MQTT-4.1.0-1].
fn a_resumed_session_does_not_expire_under_its_connection(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut connect = lasting(V5, "client");
    connect.properties.session_expiry_secs = Some(1);
    let (mut client, _) = scene.enter(&connect);
    client.subscribe("a", QoS::AtMostOnce);
    part(client);
    let (mut client, present) = scene.enter(&connect);
    assert!(present);
    scene.a_second_passes();
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish("a", b"", QoS::AtMostOnce, 0);
    assert_eq!(client.message().topic, "a");
}

/// Proves 3.1.1 [MQTT-4.1.0-1].
fn a_session_keeps_its_state_while_its_client_is_away(transport: Transport, shards: usize) {
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut publisher = scene.join(V5, "publisher");
        let (mut client, present) = scene.rejoin(version, "client");
        assert!(!present);
        client.subscribe("a", QoS::ExactlyOnce);
        part(client);
        publisher.publish_fully("a", b"missed", QoS::ExactlyOnce, scene.fresh_id());
        let (mut client, present) = scene.rejoin(version, "client");
        assert!(present);
        assert_eq!(client.take_message().payload, b"missed");
        client.settle();
        publisher.publish_fully("a", b"live", QoS::ExactlyOnce, scene.fresh_id());
        assert_eq!(client.take_message().payload, b"live");
    }
}

/// Proves 5.0 [MQTT-4.1.0-2].
fn a_session_ends_with_its_connection_when_it_is_not_to_last(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let (mut client, _) = scene.enter(&not_lasting(version, "client"));
        client.subscribe("a", QoS::AtLeastOnce);
        part(client);
        let mut publisher = scene.join(V5, "publisher");
        publisher.publish_fully("a", b"missed", QoS::AtLeastOnce, scene.fresh_id());
        let (mut client, present) = scene.rejoin(version, "client");
        assert!(!present);
        publisher.publish_fully("a", b"not subscribed", QoS::AtLeastOnce, scene.fresh_id());
        client.subscribe("mark", QoS::AtLeastOnce);
        publisher.publish("mark", b"", QoS::AtMostOnce, 0);
        assert_eq!(client.message().topic, "mark");
        client.send(&[0xE0, 0]);
        client.expect_closed();
    }
}

/// Proves 5.0 [MQTT-4.1.0-2].
fn a_session_ends_when_its_expiry_interval_has_passed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for secs in [1, 600] {
        let mut connect = lasting(V5, "client");
        connect.properties.session_expiry_secs = Some(secs);
        let (client, _) = scene.enter(&connect);
        part(client);
        scene.a_second_passes();
        let (client, present) = scene.enter(&connect);
        assert_eq!(present, secs == 600);
        part(client);
    }
}

/// A CONNECT that would resume a session, but whose own session ends with its connection.
fn not_lasting(version: Version, client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, client_id);
    // 3.1.1 has one flag for both.
    connect.clean_start = version == V311;
    connect
}
