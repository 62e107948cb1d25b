//! AUTH.

use moat_codec::ReasonCode;
use moat_codec::Version::V5;
use moat_testkit::broker::Transport;
use moat_testkit::mechanism::{METHOD, answer};

use crate::scene::{Scene, expect_breach, packet, string};
use crate::section_4_12_enhanced_authentication::{SECRET, asking, authenticated, challenged, say};

everywhere!(
    reserved_flags_of_auth_are_malformed,
    an_auth_packet_says_whether_there_is_more_to_come,
    an_auth_packet_with_another_code_is_refused,
);

/// Proves 5.0 [MQTT-3.15.1-1].
fn reserved_flags_of_auth_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::of(asking(), transport, shards);
    let properties = [&[0x15][..], &string(METHOD)].concat();
    let length = u8::try_from(properties.len()).unwrap();
    for flags in [1, 2, 4, 8] {
        let mut client = authenticated(&scene);
        client.send(&packet(0xF0 | flags, &[&[0x19, length], &properties]));
        expect_breach(&mut client, ReasonCode::MalformedPacket);
    }
}

/// Proves 5.0 [MQTT-3.15.2-1].
fn an_auth_packet_says_whether_there_is_more_to_come(transport: Transport, shards: usize) {
    let scene = Scene::of(asking(), transport, shards);
    let mut client = authenticated(&scene);
    say(&mut client, 0x19, METHOD, b"anna");
    let asked = client.read_packet();
    assert_eq!((asked[0], asked[2]), (0xF0, 0x18));
    let decoded = moat_testkit::raw::decode(&asked, V5);
    let moat_codec::Packet::Auth(auth) = decoded else {
        panic!("not an AUTH: {decoded:?}")
    };
    let proof = answer(SECRET, auth.authentication_data.unwrap());
    say(&mut client, 0x18, METHOD, &proof);
    let done = client.read_packet();
    assert_eq!((done[0], done[2]), (0xF0, 0x00));
}

/// Proves 5.0 [MQTT-3.15.2-1].
fn an_auth_packet_with_another_code_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::of(asking(), transport, shards);
    for code in [0x00, 0x01, 0x17, 0x87] {
        let mut client = scene.stranger(V5);
        let challenge = challenged(&mut client);
        say(&mut client, code, METHOD, &answer(SECRET, &challenge));
        assert_eq!(client.connack(), ReasonCode::ProtocolError);
        client.expect_closed();
    }
}
