//! CONNECT and what CONNACK says.

use std::num::{NonZeroU16, NonZeroU32};

use moat_codec::{Connect, Packet, ReasonCode};
use moat_core::Limits;
use moat_core::shard::Then;
use moat_events::Event;

use crate::harness::*;

#[test]
fn connack_names_the_limits_of_the_server() {
    let mut world = World::new(limits());
    let (_, granted) = world.connected(&Connect::new(V5, "a"));
    assert_eq!(granted.reason, ReasonCode::Success);
    assert_eq!(granted.receive_maximum, Some(20));
    assert_eq!(granted.maximum_packet_size, Some(1 << 20));
    assert_eq!(granted.topic_alias_maximum, Some(10));
    assert_eq!(granted.shared_subscription_available, None);
    assert_eq!(granted.assigned_client_id, None);
    assert_eq!(granted.session_expiry_secs, None);
}

#[test]
fn mqtt5_3_1_3_7__a_client_without_an_identifier_is_told_the_one_it_got() {
    let mut world = World::new(limits());
    let (_, granted) = world.connected(&Connect::new(V5, ""));
    assert_eq!(granted.assigned_client_id.as_deref(), Some("made-up"));
    assert!(world.shards[0].find(ANNA, "made-up").is_some());
}

#[test]
fn mqtt311_3_1_3_6__a_client_without_an_identifier_is_served() {
    let mut world = World::new(limits());
    let (client, granted) = world.connected(&Connect::new(V311, ""));
    assert_eq!(granted.assigned_client_id, None);
    world.sent(client, &Packet::PingReq);
}

#[test]
fn mqtt5_3_2_2_2__no_session_present_without_a_session() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let (_, granted) = world.connected(&lasting(version, "a"));
        assert!(!granted.session_present);
    }
}

/// Proves 3.1.1 [MQTT-4.1.0-1].
#[test]
fn mqtt5_3_2_2_3__session_present_when_one_is_resumed() {
    for version in [V311, V5] {
        let mut world = World::new(limits());
        let client = world.lasting(version, "a");
        world.lose(client);
        let (_, granted) = world.connected(&lasting(version, "a"));
        assert!(granted.session_present);
    }
}

#[test]
fn mqtt31_has_no_session_present_flag() {
    let mut world = World::new(limits());
    let client = world.lasting(V31, "a");
    world.subscribe(client, "t", 1);
    world.lose(client);
    let (client, granted) = world.connected(&lasting(V31, "a"));
    assert!(!granted.session_present);
    world.publish(client, "t", "still subscribed", 0);
    assert_eq!(world.payloads(client), ["still subscribed"]);
}

#[test]
fn mqtt5_3_1_2_4__clean_start_drops_the_session() {
    for version in [V311, V5] {
        let mut world = World::new(limits());
        let client = world.lasting(version, "a");
        world.subscribe(client, "t", 1);
        world.lose(client);
        let other = world.client(version, "other");
        world.publish(other, "t", "queued", 1);

        let (client, granted) = world.connected(&Connect::new(version, "a"));
        assert!(!granted.session_present);
        world.publish(other, "t", "later", 1);
        assert_eq!(world.messages(client), []);
    }
}

#[test]
fn mqtt311_3_1_2_6__a_clean_session_ends_with_its_connection() {
    let mut world = World::new(limits());
    let client = world.client(V311, "a");
    world.lose(client);
    assert_eq!(world.sessions(), 0);
    let (_, granted) = world.connected(&lasting(V311, "a"));
    assert!(!granted.session_present);
}

#[test]
fn mqtt5_3_1_0_2__a_second_connect_closes() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "a");
        let then = world.send(client, &Packet::Connect(Connect::new(version, "a")));
        assert_eq!(then, Then::Closed);
        if version.is_v5() {
            assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
        } else {
            assert_eq!(world.read(client), []);
        }
    }
}

#[test]
fn a_broken_second_connect_closes_with_a_reason_that_disconnect_may_carry() {
    let mut world = World::new(limits());
    let client = world.client(V5, "a");
    // Protocol level 9: the codec's reason is 0x84, which only CONNACK has.
    world.send_raw(client, b"\x10\x0d\0\x04MQTT\x09\x02\0\x3c\0\0\0");
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
}

/// Proves 5.0 [MQTT-4.12.0-1].
#[test]
fn mqtt5_4_12__an_authentication_method_nobody_knows_is_refused() {
    let mut connect = Connect::new(V5, "a");
    connect.properties.authentication_method = Some("SCRAM-SHA-256");
    assert_eq!(
        World::opening(&connect).err(),
        Some(ReasonCode::BadAuthenticationMethod)
    );
}

/// Proves 5.0 [MQTT-4.12.0-7].
#[test]
fn auth_without_a_method_closes() {
    let mut world = World::new(limits());
    let client = world.client(V5, "a");
    // AUTH, continue authentication, method "X".
    world.send_raw(client, b"\xf0\x06\x18\x04\x15\0\x01X");
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
}

#[test]
fn packets_of_a_server_close() {
    for packet in [&b"\xd0\0"[..], b"\x90\x04\0\x01\0\0", b"\xb0\x04\0\x01\0\0"] {
        let mut world = World::new(limits());
        let client = world.client(V5, "a");
        assert_eq!(world.send_raw(client, packet), Then::Closed);
        assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
        assert_eq!(world.events("protocol.violation").len(), 1);
    }
}

#[test]
fn connecting_is_an_event_with_what_matters() {
    let mut world = World::new(limits());
    let mut connect = lasting(V5, "a");
    connect.keep_alive_secs = 30;
    world.connect(&connect);
    let events = world.events("client.connected");
    let [
        Event::ClientConnected {
            identity,
            source,
            client_id,
            version,
            clean_start,
            session_present,
            keep_alive_secs,
            ..
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&**identity, &**source, &**client_id, &**version),
        (ANNA, "password", "a", "5.0")
    );
    assert_eq!(
        (*clean_start, *session_present, *keep_alive_secs),
        (false, false, 30)
    );
}

#[test]
fn a_disconnect_is_an_event_with_its_reason() {
    let mut world = World::new(limits());
    let client = world.client(V5, "a");
    world.disconnect(client);
    let events = world.events("client.disconnected");
    assert!(
        matches!(
            &events[..],
            [Event::ClientDisconnected { reason_code: 0, .. }]
        ),
        "{events:?}"
    );
}

#[test]
fn sessions_max_refuses_the_next_session_but_not_one_that_is_there() {
    for (version, reason) in [
        (V5, ReasonCode::QuotaExceeded),
        (V311, ReasonCode::ServerUnavailable),
    ] {
        let mut world = World::new(Limits {
            sessions_max: 2,
            ..limits()
        });
        let one = world.lasting(version, "one");
        world.lasting(version, "two");
        let refused = world.open(ANNA, &lasting(version, "three")).unwrap_err();
        assert_eq!(refusal(&refused, version), reason);
        assert_eq!(refused.reason, ReasonCode::QuotaExceeded);
        world.lose(one);
        world.open(ANNA, &lasting(version, "one")).unwrap();
        world.open(ANNA, &Connect::new(version, "two")).unwrap();
        assert_eq!(world.sessions(), 2);
    }
}

#[test]
fn the_smaller_receive_maximum_and_the_packet_size_of_the_client_hold() {
    let mut world = World::new(limits());
    let mut connect = Connect::new(V5, "a");
    connect.properties.receive_maximum = NonZeroU16::new(3);
    connect.properties.maximum_packet_size = NonZeroU32::new(99);
    let (client, _) = world.connected(&connect);
    let link = world.shards[0].link(client.at).unwrap();
    assert_eq!((link.receive_maximum, link.maximum_packet_size), (3, 99));

    let (client, _) = world.connected(&Connect::new(V5, "b"));
    let link = world.shards[0].link(client.at).unwrap();
    assert_eq!(
        (link.receive_maximum, link.maximum_packet_size),
        (20, u32::MAX)
    );
}
