//! How long a session outlives its connection.

use moat_codec::{Connect, Disconnect, ReasonCode};
use moat_core::Limits;
use moat_core::session::inflight::WINDOW_SPAN_FACTOR;
use moat_core::shard::Then;

use crate::harness::*;

const DAY: u32 = 24 * 3600;

fn expiring(secs: Option<u32>) -> Connect<'static> {
    let mut connect = lasting(V5, "client");
    connect.properties.session_expiry_secs = secs;
    connect
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn mqtt5_4_1_0_2__a_session_without_expiry_ends_with_its_connection() {
    for secs in [None, Some(0)] {
        let mut world = World::new(limits());
        let (client, _) = world.connected(&expiring(secs));
        world.lose(client);
        assert_eq!(world.sessions(), 0);
        let (_, granted) = world.connected(&expiring(secs));
        assert!(!granted.session_present);
    }
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn mqtt5_3_1_2_23__a_session_is_kept_until_its_expiry_and_not_longer() {
    let mut world = World::new(Limits {
        keep_alive_secs_max: 0,
        ..limits()
    });
    let (client, granted) = world.connected(&expiring(Some(100)));
    assert_eq!(granted.session_expiry_secs, None, "as asked");
    world.subscribe(client, "t", 1);
    world.lose(client);
    world.pass_millis(99_999);
    let (client, granted) = world.connected(&expiring(Some(100)));
    assert!(granted.session_present);

    // The time of the last connection counts.
    world.pass_secs(1000);
    world.lose(client);
    world.pass_millis(99_999);
    assert_eq!(world.sessions(), 1);
    world.pass_millis(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.events("session.expired").len(), 1);
    assert_eq!(world.shards[0].sizes().subscriptions, 0);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn a_session_whose_time_is_over_is_not_resumed_before_its_timer_has_its_turn() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&expiring(Some(100)));
    world.lose(client);
    world.now = world.now.plus_secs(100);
    let (_, granted) = world.connected(&expiring(Some(100)));
    assert!(!granted.session_present);
    assert_eq!(world.events("session.expired").len(), 1);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn session_expiry_secs_max_shortens_and_the_client_is_told() {
    let mut world = World::new(Limits {
        session_expiry_secs_max: DAY,
        ..limits()
    });
    let (client, granted) = world.connected(&expiring(Some(2 * DAY)));
    assert_eq!(granted.session_expiry_secs, Some(DAY));
    world.lose(client);
    world.pass_secs(u64::from(DAY));
    assert_eq!(world.sessions(), 0);
}

#[test]
fn sessions_of_3_1_1_end_after_the_maximum() {
    let mut world = World::new(Limits {
        session_expiry_secs_max: DAY,
        ..limits()
    });
    let client = world.lasting(V311, "client");
    world.lose(client);
    world.pass_secs(u64::from(DAY) - 1);
    assert_eq!(world.sessions(), 1);
    world.pass_secs(1);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn mqtt5_3_1_2_11_2__a_session_may_be_kept_for_ever() {
    let mut world = World::new(Limits {
        session_expiry_secs_max: u32::MAX,
        ..limits()
    });
    let (client, granted) = world.connected(&expiring(Some(u32::MAX)));
    assert_eq!(granted.session_expiry_secs, None);
    world.lose(client);
    world.pass_secs(100 * 365 * u64::from(DAY));
    assert_eq!(world.sessions(), 1);
}

fn disconnect_for(secs: u32) -> Disconnect<'static> {
    let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    disconnect.session_expiry_secs = Some(secs);
    disconnect
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn a_disconnect_changes_the_expiry() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&expiring(Some(1000)));
    world.disconnect_with(client, disconnect_for(10));
    world.pass_secs(9);
    assert_eq!(world.sessions(), 1);
    world.pass_secs(1);
    assert_eq!(world.sessions(), 0);

    let (client, _) = world.connected(&expiring(Some(10)));
    world.disconnect_with(client, disconnect_for(1000));
    world.pass_secs(999);
    assert_eq!(world.sessions(), 1);
    world.pass_secs(1);
    assert_eq!(world.sessions(), 0);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn a_disconnect_with_expiry_0_ends_the_session_at_once() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&expiring(Some(1000)));
    world.disconnect_with(client, disconnect_for(0));
    assert_eq!(world.sessions(), 0);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn a_disconnect_does_not_get_around_session_expiry_secs_max() {
    let mut world = World::new(Limits {
        session_expiry_secs_max: 100,
        ..limits()
    });
    let (client, _) = world.connected(&expiring(Some(10)));
    world.disconnect_with(client, disconnect_for(u32::MAX));
    world.pass_secs(100);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_disconnect_may_not_raise_the_expiry_from_0() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&expiring(Some(0)));
    let packet = moat_codec::Packet::Disconnect(disconnect_for(1));
    assert_eq!(world.send(client, &packet), Then::Closed);
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn a_server_that_keeps_no_sessions_takes_no_offence_at_a_disconnect_with_expiry() {
    let mut world = World::new(Limits {
        session_expiry_secs_max: 0,
        ..limits()
    });
    let (client, granted) = world.connected(&expiring(Some(10)));
    assert_eq!(granted.session_expiry_secs, Some(0));
    world.disconnect_with(client, disconnect_for(10));
    assert_eq!(world.read(client), []);
    assert_eq!(world.events("protocol.violation"), []);
    assert_eq!(world.sessions(), 0);
}

#[test]
fn mqtt5_3_1_2_5__messages_wait_for_the_session() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&expiring(Some(1000)));
    world.subscribe(client, "t", 2);
    world.disconnect(client);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "1", 1);
    world.publish(writer, "t", "2", 2);
    let (client, _) = world.connected(&expiring(Some(1000)));
    let got = world.read_all(client);
    let texts: Vec<_> = got.iter().map(|m| (m.text(), m.qos, m.dup)).collect();
    assert_eq!(texts, [("1", 1, false), ("2", 2, false)]);
}

#[test]
fn the_window_of_a_client_that_never_acknowledges_its_first_message_is_bounded() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 0,
        ..limits()
    });
    let mut connect = Connect::new(V5, "reader");
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "t", 1);
    let writer = world.client(V5, "writer");
    let mut first = None;
    for n in 0..100 {
        world.publish(writer, "t", &n.to_string(), 1);
        for message in world.messages(reader) {
            if *first.get_or_insert(message.id) != message.id {
                world.puback(reader, message.id);
            }
        }
    }
    let outbound = world.shards[0].session(reader.at).unwrap();
    let outbound = outbound.outbound.as_ref().unwrap();
    assert_eq!(outbound.inflight.span(), 2 * WINDOW_SPAN_FACTOR);
    assert_eq!(outbound.queued(), 100 - 2 * WINDOW_SPAN_FACTOR);
    // It goes on where it stopped.
    world.puback(reader, first.unwrap());
    assert_eq!(world.read_all(reader).len(), 100 - 2 * WINDOW_SPAN_FACTOR);
}
