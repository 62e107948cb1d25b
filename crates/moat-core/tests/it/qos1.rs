//! QoS 1, both ways.

use moat_codec::{Ack, Packet, ReasonCode};

use crate::harness::*;

/// Proves 5.0 [MQTT-4.3.2-4].
#[test]
fn mqtt5_4_3_2_4__a_publish_is_answered_with_its_identifier() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let reader = world.client(version, "reader");
        world.subscribe(reader, "t", 0);
        let client = world.client(version, "client");
        world.sent(client, &Packet::Publish(message("t", "x", 1, 0xFFFF)));
        assert_eq!(
            world.read(client),
            [Got::PubAck(0xFFFF, ReasonCode::Success)]
        );
    }
}

#[test]
fn without_subscribers_5_0_is_told_so_and_3_1_1_is_not() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    let told = world.publish(client, "t", "x", 1);
    assert_eq!(told, ReasonCode::NoMatchingSubscribers);
    let old = world.client(V311, "old");
    assert_eq!(world.publish(old, "t", "x", 1), ReasonCode::Success);
}

/// Proves 5.0 [MQTT-4.3.2-5].
#[test]
fn mqtt5_4_3_2_5__an_identifier_may_be_used_again_after_its_puback() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 0);
    for n in ["1", "2"] {
        world.sent(client, &Packet::Publish(message("t", n, 1, 1)));
    }
    let got = world.read(client);
    assert_eq!(
        got.iter().filter(|g| matches!(g, Got::Publish(_))).count(),
        2
    );
}

/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn mqtt5_4_4_0_1__unacknowledged_messages_come_again_with_dup_and_their_identifiers_in_order() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let reader = world.lasting(version, "reader");
        world.subscribe(reader, "t", 1);
        let writer = world.client(version, "writer");
        for n in 1..=4 {
            world.publish(writer, "t", &n.to_string(), 1);
        }
        let first = world.messages(reader);
        assert!(first.iter().all(|m| !m.dup));
        world.puback(reader, first[1].id);
        world.lose(reader);

        let reader = world.lasting(version, "reader");
        let again = world.messages(reader);
        let expected: Vec<Pub> = [0, 2, 3]
            .into_iter()
            .map(|i| Pub {
                dup: true,
                ..first[i].clone()
            })
            .collect();
        assert_eq!(again, expected);
    }
}

/// Proves 5.0 [MQTT-4.4.0-1].
#[test]
fn mqtt5_4_4_0_1__nothing_comes_again_on_the_same_connection() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "x", 1);
    assert_eq!(world.messages(reader).len(), 1);
    world.sent(reader, &Packet::PingReq);
    world.pass_secs(60);
    assert_eq!(world.read(reader), [Got::PingResp]);
}

#[test]
fn an_acknowledged_message_does_not_come_again() {
    let mut world = World::new(limits());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.publish(reader, "t", "x", 1);
    assert_eq!(world.read_all(reader).len(), 1);
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    assert_eq!(world.messages(reader), []);
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn mqtt5_4_6_0_1__what_comes_again_comes_before_what_was_queued() {
    let mut world = World::new(limits());
    let reader = world.lasting(V311, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V311, "writer");
    world.publish(writer, "t", "1", 1);
    world.lose(reader);
    world.publish(writer, "t", "2", 1);
    let reader = world.connect(&lasting(V311, "reader"));
    world.publish(writer, "t", "3", 1);
    world.connack(reader);
    assert_eq!(world.payloads(reader), ["1", "2", "3"]);
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn what_was_sent_and_never_flushed_is_not_lost() {
    let mut world = World::new(limits());
    let reader = world.lasting(V311, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V311, "writer");
    world.publish(writer, "t", "1", 1);
    world.lose(reader);
    let reader = world.lasting(V311, "reader");
    assert_eq!(world.payloads(reader), ["1"]);
}

#[test]
fn qos_0_messages_do_not_wait_for_an_absent_client() {
    let mut world = World::new(limits());
    let reader = world.lasting(V311, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V311, "writer");
    world.publish(writer, "t", "0", 0);
    world.publish(writer, "t", "1", 1);
    let reader = world.lasting(V311, "reader");
    assert_eq!(world.payloads(reader), ["1"]);
}

#[test]
fn a_puback_nobody_waits_for_is_ignored() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "client");
        world.puback(client, 77);
        world.subscribe(client, "t", 1);
        world.publish(client, "t", "x", 1);
        let got = world.messages(client);
        world.puback(client, got[0].id);
        world.puback(client, got[0].id);
        assert!(!world.is_closed(client));
    }
}

#[test]
fn a_puback_for_a_qos_2_message_closes() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 2);
    world.publish(client, "t", "x", 2);
    let id = world.messages(client)[0].id;
    world.send(client, &Packet::PubAck(Ack::new(packet_id(id))));
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
}

#[test]
fn mqtt5_3_4_2__a_puback_with_an_error_ends_the_flow() {
    let mut world = World::new(limits());
    let client = world.lasting(V5, "client");
    world.subscribe(client, "t", 1);
    world.publish(client, "t", "x", 1);
    let id = world.messages(client)[0].id;
    let ack = Ack::with_reason(packet_id(id), ReasonCode::UnspecifiedError);
    world.sent(client, &Packet::PubAck(ack));
    world.lose(client);
    let client = world.lasting(V5, "client");
    assert_eq!(world.messages(client), []);
}

/// Proves 5.0 [MQTT-2.2.1-4]; 3.1.1 [MQTT-2.3.1-4].
#[test]
fn mqtt5_2_2_1_4__identifiers_under_way_are_distinct_and_never_zero() {
    let mut world = World::new(moat_core::Limits {
        publishes_per_sec_max: 0,
        ..limits()
    });
    let reader = world.client(V311, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V311, "writer");
    world.publish(writer, "t", "first", 0);
    let mut last = 0;
    // Twice around the space of identifiers.
    for _ in 0..140_000 / 20 {
        for _ in 0..20 {
            world.sent(writer, &Packet::Publish(message("t", "x", 1, 1)));
        }
        world.read(writer);
        let mut ids = Vec::new();
        for got in world.read(reader) {
            if let Got::Publish(publish) = got
                && publish.qos == 1
            {
                ids.push(publish.id);
            }
        }
        assert_eq!(ids.len(), 20);
        for id in ids {
            let expected = if last == u16::MAX { 1 } else { last + 1 };
            assert_eq!(id, expected);
            last = id;
            world.puback(reader, id);
        }
    }
}
