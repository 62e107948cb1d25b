//! Wills.

use moat_codec::{Connect, Disconnect, Packet, ReasonCode, Version, Will};
use moat_core::Limits;
use moat_core::shard::Then;

use crate::harness::*;

fn with_will<'a>(version: Version, client_id: &'a str, will: Will<'a>) -> Connect<'a> {
    let mut connect = lasting(version, client_id);
    connect.keep_alive_secs = 10;
    connect.will = Some(will);
    connect
}

/// A world with a reader of all wills, which is subscribed to `w/#`.
fn world_with_reader() -> (World, Client) {
    let mut world = World::new(Limits {
        keep_alive_secs_max: 0,
        ..limits()
    });
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "w/#", 2);
    (world, reader)
}

fn delayed(delay_secs: u32) -> Will<'static> {
    Will {
        delay_secs,
        ..will("w/t", "gone")
    }
}

#[test]
fn mqtt5_3_1_2_8__a_will_is_published_when_the_connection_is_lost() {
    for version in [V31, V311, V5] {
        let (mut world, reader) = world_with_reader();
        let (client, _) = world.connected(&with_will(version, "client", will("w/t", "gone")));
        assert_eq!(world.messages(reader), []);
        world.lose(client);
        let got = world.messages(reader);
        assert_eq!(got.len(), 1);
        assert_eq!(
            (&*got[0].topic, got[0].text(), got[0].qos),
            ("w/t", "gone", 1)
        );
        assert_eq!(world.events("will.published").len(), 1);
    }
}

/// Proves 5.0 [MQTT-3.14.4-3].
#[test]
fn mqtt5_3_14_4_3__a_normal_disconnect_deletes_the_will() {
    for version in [V31, V311, V5] {
        let (mut world, reader) = world_with_reader();
        let (client, _) = world.connected(&with_will(version, "client", will("w/t", "gone")));
        world.disconnect(client);
        world.pass_secs(1_000_000);
        assert_eq!(world.messages(reader), []);
    }
}

#[test]
fn mqtt5_3_1_2_8__a_disconnect_with_another_reason_publishes_it() {
    for reason in [ReasonCode::DisconnectWithWill, ReasonCode::UnspecifiedError] {
        let (mut world, reader) = world_with_reader();
        let (client, _) = world.connected(&with_will(V5, "client", will("w/t", "gone")));
        world.disconnect_with(client, Disconnect::new(reason));
        assert_eq!(world.payloads(reader), ["gone"]);
    }
}

#[test]
fn a_protocol_error_and_silence_publish_it() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V311, "client", will("w/t", "gone")));
    assert_eq!(world.send_raw(client, b"\0\0"), Then::Closed);
    assert_eq!(world.payloads(reader), ["gone"]);

    world.connected(&with_will(V311, "client", will("w/t", "silent")));
    world.pass_secs(15);
    assert_eq!(world.payloads(reader), ["silent"]);
}

#[test]
fn closing_from_the_servers_side_publishes_it() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", will("w/t", "gone")));
    let now = world.now;
    let reason = ReasonCode::ServerShuttingDown;
    world.shards[0].close(client.at, reason, "stop", now, &mut world.fx[0]);
    world.pass_secs(0);
    assert_eq!(world.goodbye(client), reason);
    assert_eq!(world.payloads(reader), ["gone"]);
}

#[test]
fn a_will_is_published_once() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", will("w/t", "gone")));
    world.lose(client);
    world.lasting(V5, "client");
    world.pass_secs(10_000_000);
    assert_eq!(world.payloads(reader), ["gone"]);
}

#[test]
fn mqtt5_3_1_4_3__a_takeover_publishes_the_will_of_the_older_connection() {
    let (mut world, reader) = world_with_reader();
    world.connected(&with_will(V5, "client", will("w/t", "old")));
    world.connected(&with_will(V5, "client", will("w/t", "new")));
    assert_eq!(world.payloads(reader), ["old"]);
}

#[test]
fn mqtt5_3_1_3_9__a_takeover_in_time_cancels_a_delayed_will() {
    let (mut world, reader) = world_with_reader();
    world.connected(&with_will(V5, "client", delayed(5)));
    world.lasting(V5, "client");
    world.pass_secs(100);
    assert_eq!(world.messages(reader), []);
}

#[test]
fn mqtt5_3_1_3_9__a_delayed_will_waits_and_a_reconnect_cancels_it() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", delayed(5)));
    world.lose(client);
    world.pass_millis(4999);
    assert_eq!(world.messages(reader), []);
    world.pass_millis(1);
    assert_eq!(world.payloads(reader), ["gone"]);

    let (client, _) = world.connected(&with_will(V5, "client", delayed(5)));
    world.lose(client);
    world.pass_secs(4);
    world.lasting(V5, "client");
    world.pass_secs(100);
    assert_eq!(world.messages(reader), []);
}

#[test]
fn mqtt5_3_1_3_2_2__a_delayed_will_is_published_when_its_session_ends_first() {
    let (mut world, reader) = world_with_reader();
    let mut connect = with_will(V5, "client", delayed(500));
    connect.properties.session_expiry_secs = Some(7);
    let (client, _) = world.connected(&connect);
    world.lose(client);
    world.pass_secs(6);
    assert_eq!(world.messages(reader), []);
    world.pass_secs(1);
    assert_eq!(world.payloads(reader), ["gone"]);
}

#[test]
fn a_delayed_will_is_published_when_a_clean_start_ends_its_session() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", delayed(500)));
    world.lose(client);
    world.client(V5, "client");
    assert_eq!(world.payloads(reader), ["gone"]);
}

#[test]
fn a_session_without_expiry_takes_its_delayed_will_along() {
    let (mut world, reader) = world_with_reader();
    let mut connect = with_will(V5, "client", delayed(500));
    connect.properties.session_expiry_secs = None;
    let (client, _) = world.connected(&connect);
    world.lose(client);
    assert_eq!(world.payloads(reader), ["gone"]);
}

#[test]
fn mqtt5_3_1_2_15__a_retained_will_is_kept() {
    let (mut world, reader) = world_with_reader();
    let retained = Will {
        retain: true,
        ..will("w/t", "gone")
    };
    let (client, _) = world.connected(&with_will(V311, "client", retained));
    world.lose(client);
    assert!(!world.messages(reader)[0].retain);
    let late = world.client(V311, "late");
    world.subscribe(late, "w/t", 0);
    assert!(world.messages(late)[0].retain);
}

#[test]
fn the_expiry_of_a_will_counts_from_its_publication() {
    let (mut world, reader) = world_with_reader();
    let expiring = Will {
        message_expiry_secs: Some(30),
        ..delayed(60)
    };
    let (client, _) = world.connected(&with_will(V5, "client", expiring));
    world.lose(client);
    world.pass_secs(60);
    assert_eq!(world.messages(reader)[0].expiry, Some(30));
}

#[test]
fn a_will_the_policy_denies_refuses_the_connect() {
    for version in [V31, V311, V5] {
        let mut world = World::with(1, limits(), policy_denying(r#""publish""#, "w/#"));
        let there = world.lasting(version, "client");
        let connect = with_will(version, "client", will("w/t", "gone"));
        let refused = world.open(ANNA, &connect).unwrap_err();
        assert_eq!(refusal(&refused, version), ReasonCode::NotAuthorized);
        assert_eq!(world.events("will.denied").len(), 1);
        assert_eq!(world.shards[0].counters().denials_total, 1);
        // A refused client takes nothing over.
        world.sent(there, &Packet::PingReq);
    }
}

#[test]
fn a_retained_will_needs_the_right_to_retain() {
    let mut world = World::with(1, limits(), policy_denying(r#""retain""#, "w/#"));
    let retained = Will {
        retain: true,
        ..will("w/t", "gone")
    };
    let refused = world.open(ANNA, &with_will(V5, "client", retained));
    assert_eq!(refused.unwrap_err().reason, ReasonCode::NotAuthorized);
    world
        .open(ANNA, &with_will(V5, "client", will("w/t", "gone")))
        .unwrap();
}

#[test]
fn a_will_is_judged_again_when_it_is_published() {
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", delayed(5)));
    world.lose(client);
    world.set_policy(&policy_denying(r#""publish""#, "w/#"));
    world.pass_secs(5);
    assert_eq!(world.messages(reader), []);
    assert_eq!(world.events("will.denied").len(), 1);
    assert_eq!(world.shards[0].counters().denials_total, 1);
}

#[test]
fn mqtt5_3_1_3_9__a_reconnect_with_a_will_of_its_own_does_not_publish_it_when_the_old_one_was_due()
{
    let (mut world, reader) = world_with_reader();
    let (client, _) = world.connected(&with_will(V5, "client", delayed(5)));
    world.lose(client);
    let mut connect = with_will(V5, "client", will("w/t", "new"));
    connect.keep_alive_secs = 0;
    let (client, _) = world.connected(&connect);
    world.pass_secs(100);
    assert_eq!(world.messages(reader), []);
    world.lose(client);
    assert_eq!(world.payloads(reader), ["new"]);
}
