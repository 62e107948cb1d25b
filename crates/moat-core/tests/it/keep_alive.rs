//! Keep alive.

use moat_codec::{Connect, Packet, ReasonCode, Version};
use moat_core::Limits;

use crate::harness::*;

fn with_keep_alive(version: Version, secs: u16) -> Connect<'static> {
    let mut connect = Connect::new(version, "client");
    connect.keep_alive_secs = secs;
    connect
}

/// Proves 5.0 [MQTT-3.1.2-22] [MQTT-3.2.2-22]; 3.1.1 [MQTT-3.1.2-24].
#[test]
fn mqtt5_3_1_2_22__silence_of_one_and_a_half_times_the_interval_closes() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let (client, granted) = world.connected(&with_keep_alive(version, 10));
        assert_eq!(granted.server_keep_alive_secs, None);
        world.pass_millis(14_999);
        assert!(!world.is_closed(client));
        world.pass_millis(1);
        if version.is_v5() {
            assert_eq!(world.goodbye(client), ReasonCode::KeepAliveTimeout);
        } else {
            assert!(world.is_closed(client));
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-24].
#[test]
fn every_packet_puts_the_deadline_off() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_keep_alive(V311, 10));
    for _ in 0..20 {
        world.pass_millis(14_999);
        world.sent(client, &Packet::PingReq);
    }
    world.pass_millis(14_999);
    assert!(!world.is_closed(client));
    world.pass_millis(1);
    assert!(world.is_closed(client));
}

/// Proves 5.0 [MQTT-3.1.2-22] [MQTT-3.2.2-22].
#[test]
fn what_the_client_receives_does_not_put_it_off() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_keep_alive(V5, 10));
    world.subscribe(client, "t", 0);
    let mut connect = Connect::new(V5, "writer");
    connect.keep_alive_secs = 300;
    let (writer, _) = world.connected(&connect);
    world.pass_secs(10);
    world.publish(writer, "t", "x", 0);
    world.pass_secs(5);
    assert!(world.is_closed(client));
}

#[test]
fn mqtt5_3_1_2_21__keep_alive_secs_max_holds_and_5_0_is_told() {
    for asked in [0, 301, u16::MAX] {
        let mut world = World::new(limits());
        let (client, granted) = world.connected(&with_keep_alive(V5, asked));
        assert_eq!(granted.server_keep_alive_secs, Some(300));
        world.pass_secs(449);
        assert!(!world.is_closed(client));
        world.pass_secs(1);
        assert!(world.is_closed(client));
    }
    let mut world = World::new(limits());
    let (_, granted) = world.connected(&with_keep_alive(V5, 300));
    assert_eq!(granted.server_keep_alive_secs, None);
}

#[test]
fn mqtt311_3_1_2_10__a_client_without_keep_alive_is_held_to_the_maximum() {
    let mut world = World::new(limits());
    let (client, _) = world.connected(&with_keep_alive(V311, 0));
    world.pass_secs(450);
    assert!(world.is_closed(client));
}

#[test]
fn without_a_maximum_no_keep_alive_means_none() {
    let mut world = World::new(Limits {
        keep_alive_secs_max: 0,
        ..limits()
    });
    let (client, granted) = world.connected(&with_keep_alive(V5, 0));
    assert_eq!(granted.server_keep_alive_secs, None);
    world.pass_secs(10_000_000);
    assert!(!world.is_closed(client));
}

/// Proves 5.0 [MQTT-3.1.2-22] [MQTT-3.2.2-22].
#[test]
fn a_new_connection_has_its_own_deadline() {
    let mut world = World::new(limits());
    let mut connect = lasting(V5, "client");
    connect.keep_alive_secs = 10;
    let (old, _) = world.connected(&connect);
    world.pass_secs(14);
    world.lose(old);
    let (new, _) = world.connected(&connect);
    world.pass_secs(14);
    assert!(!world.is_closed(new));
    world.pass_secs(1);
    assert!(world.is_closed(new));
    assert_eq!(world.sessions(), 1);
}
