//! Authentication by AUTH packets.

use moat_codec::Version::V5;
use moat_codec::{Connect, Packet, ReasonCode};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::scene::{Scene, expect_breach, packet, string};

everywhere!(
    an_unknown_method_is_refused,
    no_method_is_spoken_that_the_client_did_not_name,
    an_auth_packet_without_a_method_agreed_on_is_a_protocol_error,
);

/// Whatever else the client has to show.
///
/// Proves 5.0 [MQTT-4.12.0-1].
fn an_unknown_method_is_refused(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().user("anna", "correct horse battery");
    let scene = Scene::of(builder, transport, shards);
    for password in [None, Some(&b"correct horse battery"[..])] {
        let mut connect = Connect::new(V5, "client");
        connect.properties.authentication_method = Some("unheard-of");
        connect.username = password.map(|_| "anna");
        connect.password = password;
        let mut client = scene.stranger(V5);
        let reason = client.connect_with(&connect);
        assert_eq!(reason, ReasonCode::BadAuthenticationMethod);
        client.expect_closed();
    }
}

/// Proves 5.0 [MQTT-4.12.0-6].
fn no_method_is_spoken_that_the_client_did_not_name(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().user("anna", "correct horse battery");
    let scene = Scene::of(builder, transport, shards);
    for password in [&b"correct horse battery"[..], b"wrong horse battery"] {
        let mut connect = Connect::new(V5, "client");
        (connect.username, connect.password) = (Some("anna"), Some(password));
        let mut client = scene.stranger(V5);
        client.send_packet(&Packet::Connect(connect));
        client.recv(|packet| match packet {
            Packet::ConnAck(connack) => {
                assert_eq!(connack.properties.authentication_method, None);
                assert_eq!(connack.properties.authentication_data, None);
            }
            other => panic!("not a CONNACK: {other:?}"),
        });
    }
}

/// Proves 5.0 [MQTT-4.12.0-7].
fn an_auth_packet_without_a_method_agreed_on_is_a_protocol_error(
    transport: Transport,
    shards: usize,
) {
    let scene = Scene::new(transport, shards);
    let method = [&[0x15][..], &string("method")].concat();
    for reason in [0x18, 0x19] {
        let mut client = scene.join(V5, "client");
        client.send(&packet(0xF0, &[&[reason, 9], &method]));
        expect_breach(&mut client, ReasonCode::ProtocolError);
    }
}
