//! A second connection of the same session, and of the same client id.

use moat_codec::{Connect, Packet, ReasonCode};
use moat_core::shard::Then;

use crate::harness::*;

#[test]
fn mqtt5_3_1_4_3__second_connection_takes_over() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "client");
    world.subscribe(old, "t", 1);
    let (new, granted) = world.connected(&lasting(V5, "client"));
    assert!(granted.session_present);
    assert_eq!(world.goodbye(old), ReasonCode::SessionTakenOver);
    world.publish(new, "t", "x", 1);
    assert_eq!(world.payloads(new), ["x"]);
    assert_eq!(world.sessions(), 1);
    assert_eq!(world.events("session.taken_over").len(), 1);
}

#[test]
fn mqtt311_3_1_4_2__the_older_connection_is_closed_without_a_word() {
    for version in [V31, V311] {
        let mut world = World::new(limits());
        let old = world.lasting(version, "client");
        world.lasting(version, "client");
        assert!(world.is_closed(old));
        assert_eq!(world.read(old), []);
    }
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn a_client_of_another_version_takes_over() {
    let mut world = World::new(limits());
    let old = world.lasting(V311, "client");
    world.subscribe(old, "t", 1);
    world.publish(old, "t", "x", 1);
    let (new, granted) = world.connected(&lasting(V5, "client"));
    assert!(granted.session_present);
    let got = world.messages(new);
    assert_eq!((got[0].text(), got[0].dup), ("x", true));
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1].
#[test]
fn what_the_old_connection_had_not_acknowledged_comes_again_on_the_new_one() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "client");
    world.subscribe(old, "t", 2);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "1", 1);
    world.publish(writer, "t", "2", 2);
    assert_eq!(world.messages(old).len(), 2);
    let new = world.lasting(V5, "client");
    let got = world.read_all(new);
    let texts: Vec<_> = got.iter().map(|m| (m.text(), m.dup)).collect();
    assert_eq!(texts, [("1", true), ("2", true)]);
}

#[test]
fn a_takeover_with_clean_start_begins_anew() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "client");
    world.subscribe(old, "t", 1);
    let (new, granted) = world.connected(&Connect::new(V5, "client"));
    assert!(!granted.session_present);
    assert_eq!(world.goodbye(old), ReasonCode::SessionTakenOver);
    world.publish(new, "t", "x", 1);
    assert_eq!(world.messages(new), []);
    assert_eq!(world.sessions(), 1);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn a_takeover_of_a_session_without_expiry_finds_none() {
    let mut world = World::new(limits());
    let old = world.client(V5, "client");
    world.subscribe(old, "t", 1);
    let (_, granted) = world.connected(&lasting(V5, "client"));
    assert!(!granted.session_present);
    assert_eq!(world.goodbye(old), ReasonCode::SessionTakenOver);
}

#[test]
fn the_same_client_id_of_another_identity_is_another_session() {
    let mut world = World::new(limits());
    let anna = world.lasting(V5, "client");
    world.subscribe(anna, "t", 1);
    let bert = world.open("bert", &lasting(V5, "client")).unwrap();
    assert!(!world.connack(bert).session_present);
    world.sent(anna, &Packet::PingReq);
    world.read(anna);
    world.publish(bert, "t", "x", 1);
    assert_eq!(world.payloads(anna), ["x"]);
    assert_eq!(world.sessions(), 2);
}

#[test]
fn names_that_only_look_the_same_together_are_different_sessions() {
    let mut world = World::new(limits());
    world.open("ab", &lasting(V5, "c")).unwrap();
    world.open("a", &lasting(V5, "bc")).unwrap();
    assert_eq!(world.sessions(), 2);
}

#[test]
fn what_the_old_connection_still_sends_is_not_handled() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "client");
    world.subscribe(old, "t", 1);
    let new = world.lasting(V5, "client");
    assert_eq!(
        world.send(old, &Packet::Publish(message("t", "x", 1, 1))),
        Then::Closed
    );
    assert_eq!(world.read(new), []);
}

#[test]
fn bytes_not_yet_flushed_go_to_the_old_connection_before_the_goodbye() {
    let mut world = World::new(limits());
    let old = world.lasting(V5, "client");
    world.subscribe(old, "t", 0);
    world.publish(old, "t", "x", 0);
    world.lasting(V5, "client");
    let got = world.read(old);
    assert!(matches!(&got[0], Got::Publish(p) if p.text() == "x"));
    assert_eq!(got[1], Got::Disconnect(ReasonCode::SessionTakenOver));
}
