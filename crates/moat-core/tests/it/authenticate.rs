//! AUTH from a connected client. The exchange before a session is the driver's: `enhanced_auth.rs` of the testkit.

use std::num::NonZeroU32;

use moat_codec::{Auth, Connect, Packet, ReasonCode};
use moat_core::session::enhanced::REAUTHENTICATION_SECS_MAX;
use moat_core::shard::Then;
use moat_policy::Identity;

use crate::harness::*;

fn with_method(client_id: &str) -> Connect<'_> {
    let mut connect = lasting(V5, client_id);
    connect.properties.authentication_method = Some(METHOD);
    connect
}

fn auth(reason: ReasonCode, data: &[u8]) -> Packet<'_> {
    Packet::Auth(Auth {
        authentication_method: Some(METHOD),
        authentication_data: Some(data),
        ..Auth::new(reason)
    })
}

fn begin() -> Packet<'static> {
    auth(ReasonCode::ReAuthenticate, b"again")
}

#[test]
fn mqtt5_4_12_1__an_exchange_goes_from_turn_to_turn() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_method("a"));
    world.sent(client, &begin());
    assert_eq!(world.proofs(client), [(true, Some(b"again".to_vec()))]);
    world.challenge(client, b"who?");
    let asked = Got::Auth(ReasonCode::ContinueAuthentication, b"who?".to_vec());
    assert_eq!(world.read(client), [asked]);
    world.sent(client, &auth(ReasonCode::ContinueAuthentication, b"me"));
    assert_eq!(world.proofs(client), [(false, Some(b"me".to_vec()))]);
    world.sent(client, &Packet::PingReq);
    assert!(world.proved(client, &Identity::from_password(ANNA)).is_ok());
    let done = Got::Auth(ReasonCode::Success, b"last".to_vec());
    assert_eq!(world.read(client), [Got::PingResp, done]);
    // It may begin again, and has all the time there is.
    world.pass_secs(REAUTHENTICATION_SECS_MAX + 1);
    world.sent(client, &begin());
}

#[test]
fn auth_out_of_turn_closes() {
    for (packets, challenged) in [
        (vec![begin(), begin()], false),
        (vec![begin(), begin()], true),
        (vec![auth(ReasonCode::ContinueAuthentication, b"")], false),
        (vec![auth(ReasonCode::Success, b"")], false),
        (
            vec![begin(), auth(ReasonCode::ContinueAuthentication, b"")],
            false,
        ),
        (vec![Packet::Auth(Auth::new(ReasonCode::Success))], false),
    ] {
        let mut world = World::new(limits());
        let (client, _) = world.connected(&with_method("a"));
        for packet in &packets {
            world.send(client, packet);
            if challenged {
                world.challenge(client, b"who?");
            }
        }
        assert!(world.is_closed(client), "{packets:?}");
        assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
    }
}

#[test]
fn an_answer_nobody_waits_for_is_not_sent() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_method("a"));
    world.challenge(client, b"who?");
    assert!(world.proved(client, &Identity::from_password(ANNA)).is_ok());
    assert_eq!(world.read(client), []);
    let plain = world.client(V5, "plain");
    world.challenge(plain, b"who?");
    assert_eq!(world.read(plain), []);
}

/// Proves 5.0 [MQTT-4.12.1-2].
#[test]
fn mqtt5_4_12_1_2__reauthentication_secs_max_ends_the_connection() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_method("a"));
    world.sent(client, &begin());
    world.challenge(client, b"who?");
    world.pass_millis(REAUTHENTICATION_SECS_MAX * 1000 - 1);
    world.sent(client, &Packet::PingReq);
    assert!(!world.is_closed(client));
    world.pass_millis(1);
    assert_eq!(world.goodbye(client), ReasonCode::NotAuthorized);
}

#[test]
fn another_identity_does_not_get_the_session() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_method("a"));
    world.sent(client, &begin());
    assert!(
        world
            .proved(client, &Identity::from_password("bert"))
            .is_err()
    );
    let session = world.shards[client.shard].session(client.at).unwrap();
    assert_eq!(&*session.identity.name, ANNA);
    assert_eq!(world.read(client), []);
}

#[test]
fn a_new_proof_with_other_groups_is_judged_anew() {
    let rules = policy(
        "[[group]]\nname = \"staff\"\nmembers = []\n\
         [[rule]]\nwho = [\"group:staff\"]\nallow = [\"subscribe\"]\ntopics = [\"#\"]\n",
    );
    let mut world = World::with(1, limits(), rules);
    let (client, _) = world.connected(&with_method("a"));
    assert_eq!(world.subscribe(client, "t", 0), ReasonCode::NotAuthorized);
    let mut staff = Identity::from_password(ANNA);
    staff.groups.push("staff".into());
    world.sent(client, &begin());
    assert!(world.proved(client, &staff).is_ok());
    world.read(client);
    assert_eq!(world.subscribe(client, "t", 0), ReasonCode::Success);
    world.sent(client, &begin());
    assert!(world.proved(client, &Identity::from_password(ANNA)).is_ok());
    assert_eq!(world.events("subscription.removed").len(), 1);
}

#[test]
fn mqtt5_3_1_2_24__an_auth_that_does_not_fit_the_client_closes() {
    let mut world = World::new(limits());
    let mut connect = with_method("a");
    connect.properties.maximum_packet_size = NonZeroU32::new(40);
    let (client, _) = world.connected(&connect);
    world.sent(client, &begin());
    world.challenge(client, &[0; 40]);
    assert_eq!(world.goodbye(client), ReasonCode::PacketTooLarge);
}

/// Proves 5.0 [MQTT-4.12.0-6].
#[test]
fn mqtt5_4_12_0_6__a_connack_without_a_method_names_none() {
    let mut world = World::new(limits());
    let client = world.connect(&Connect::new(V5, "a"));
    let bytes = world.raw(client);
    let limits = moat_codec::Limits::default();
    let Packet::ConnAck(connack) = Packet::decode(&bytes, V5, &limits).unwrap() else {
        panic!("not a CONNACK")
    };
    assert_eq!(connack.properties.authentication_method, None);
    assert_eq!(world.send(client, &begin()), Then::Closed);
}
