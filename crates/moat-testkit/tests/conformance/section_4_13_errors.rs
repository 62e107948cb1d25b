//! What a fault leads to: section 4.13 of 5.0 and section 4.8 of 3.1.1.

use moat_codec::Version::{V5, V311};
use moat_codec::{Connect, Packet, ReasonCode};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::raw::encode;

use crate::scene::{Scene, expect_breach, packet, string, subscribe};

everywhere!(
    a_fault_closes_the_connection_with_its_reason,
    a_refusing_connack_is_followed_by_the_end,
    a_violation_closes_the_connection,
    a_broker_without_room_closes_the_connection,
);

/// Proves 5.0 [MQTT-4.13.1-1] [MQTT-4.13.2-1].
fn a_fault_closes_the_connection_with_its_reason(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let connect = encode(&Packet::Connect(Connect::new(V5, "client")), V5);
    for (bytes, reason) in [
        // Malformed: type 0, a length of five bytes, a field behind the end, an identifier of 0.
        (vec![0x00, 0], ReasonCode::MalformedPacket),
        (
            vec![0xC0, 0x80, 0x80, 0x80, 0x80, 1],
            ReasonCode::MalformedPacket,
        ),
        (packet(0x30, &[&[0, 9, b'a']]), ReasonCode::MalformedPacket),
        (subscribe(V5, 0, &[("a", 0)]), ReasonCode::MalformedPacket),
        // Against the protocol: a second CONNECT, what only servers send, a property twice.
        (connect, ReasonCode::ProtocolError),
        (vec![0x20, 3, 0, 0, 0], ReasonCode::ProtocolError),
        (
            packet(0x30, &[&string("a"), &[4, 1, 0, 1, 0]]),
            ReasonCode::ProtocolError,
        ),
    ] {
        let mut client = scene.join(V5, "client");
        client.send(&bytes);
        expect_breach(&mut client, reason);
    }
}

/// Proves 5.0 [MQTT-4.13.2-1].
fn a_refusing_connack_is_followed_by_the_end(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().identity_required();
    let builder = builder.user("anna", "correct horse battery");
    let scene = Scene::of(builder, transport, shards);
    let mut wrong = Connect::new(V5, "client");
    (wrong.username, wrong.password) = (Some("anna"), Some(b"wrong horse battery".as_slice()));
    let mut method = Connect::new(V5, "client");
    method.properties.authentication_method = Some("unheard-of");
    let long_id = "x".repeat(300);
    for (connect, reason) in [
        (Connect::new(V5, "client"), ReasonCode::NotAuthorized),
        (wrong, ReasonCode::BadUserNameOrPassword),
        (method, ReasonCode::BadAuthenticationMethod),
        (
            Connect::new(V5, &long_id),
            ReasonCode::ClientIdentifierNotValid,
        ),
    ] {
        let mut client = scene.stranger(V5);
        assert_eq!(client.connect_with(&connect), reason);
        client.expect_closed();
    }
}

/// Proves 3.1.1 [MQTT-4.8.0-1].
fn a_violation_closes_the_connection(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let connect = encode(&Packet::Connect(Connect::new(V311, "client")), V311);
    for bytes in [
        vec![0x00, 0],
        vec![0xF0, 0],
        vec![0xC0, 0x80, 0x80, 0x80, 0x80, 1],
        connect,
        vec![0x20, 2, 0, 0],
        vec![0x90, 3, 0, 1, 0],
        packet(0x36, &[&string("a"), &[0, 1]]),
        packet(0x32, &[&string("a"), &[0, 0]]),
        subscribe(V311, 1, &[]),
    ] {
        let mut client = scene.join(V311, "client");
        client.send(&bytes);
        client.expect_closed();
    }
}

/// Too many sessions are an error that may pass.
///
/// Proves 3.1.1 [MQTT-4.8.0-2].
fn a_broker_without_room_closes_the_connection(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().limits(|limits| limits.sessions_max = 0);
    let scene = Scene::of(builder, transport, shards);
    for version in [V311, V5] {
        let mut client = scene.stranger(version);
        client.send_packet(&Packet::Connect(Connect::new(version, "client")));
        let code = if version.is_v5() { 0x97 } else { 3 };
        assert_eq!(client.read_packet()[2..4], [0, code]);
        client.expect_closed();
    }
}
