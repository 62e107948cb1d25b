//! QoS 2, both ways: exactly once.

use moat_codec::{Ack, Packet, ReasonCode};

use crate::harness::*;

fn send_publish(world: &mut World, client: Client, payload: &str, id: u16, dup: bool) -> Got {
    let mut publish = message("t", payload, 2, id);
    publish.dup = dup;
    world.sent(client, &Packet::Publish(publish));
    world.expect(client, |got| {
        matches!(got, Got::PubRec(..)).then(|| got.clone())
    })
}

/// Proves 5.0 [MQTT-4.3.3-8] [MQTT-4.3.3-11].
#[test]
fn mqtt5_4_3_3_8__a_publish_is_answered_with_pubrec_and_a_pubrel_with_pubcomp() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let reader = world.client(version, "reader");
        world.subscribe(reader, "t", 0);
        let client = world.client(version, "client");
        world.sent(client, &Packet::Publish(message("t", "x", 2, 9)));
        assert_eq!(world.read(client), [Got::PubRec(9, ReasonCode::Success)]);
        world.pubrel(client, 9);
        assert_eq!(world.read(client), [Got::PubComp(9, ReasonCode::Success)]);
    }
}

/// Proves 5.0 [MQTT-4.3.3-10]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn mqtt5_4_3_3_10__a_repeated_publish_is_answered_and_not_delivered_again() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let reader = world.client(version, "reader");
        world.subscribe(reader, "t", 2);
        let client = world.lasting(version, "client");
        send_publish(&mut world, client, "x", 5, false);
        send_publish(&mut world, client, "x", 5, true);
        world.lose(client);
        let client = world.lasting(version, "client");
        send_publish(&mut world, client, "x", 5, true);
        assert_eq!(world.messages(reader).len(), 1);
    }
}

/// Proves 5.0 [MQTT-4.3.3-12].
#[test]
fn mqtt5_4_3_3_12__after_pubrel_an_identifier_is_a_new_message() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    let client = world.client(V5, "client");
    for n in ["1", "2"] {
        send_publish(&mut world, client, n, 5, false);
        world.pubrel(client, 5);
    }
    assert_eq!(world.payloads(reader), ["1", "2"]);
}

#[test]
fn a_pubrel_for_an_unknown_identifier_is_answered() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.pubrel(client, 3);
    assert_eq!(
        world.read(client),
        [Got::PubComp(3, ReasonCode::PacketIdentifierNotFound)]
    );
    let old = world.client(V311, "old");
    world.pubrel(old, 3);
    assert_eq!(world.read(old), [Got::PubComp(3, ReasonCode::Success)]);
}

#[test]
fn a_pubrel_repeated_after_a_lost_pubcomp_is_answered() {
    let mut world = World::new(limits());
    let client = world.lasting(V311, "client");
    send_publish(&mut world, client, "x", 5, false);
    world.pubrel(client, 5);
    world.lose(client);
    let client = world.lasting(V311, "client");
    world.pubrel(client, 5);
    assert_eq!(world.read(client), [Got::PubComp(5, ReasonCode::Success)]);
}

#[test]
fn inbound_identifiers_go_with_the_session() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    let client = world.lasting(V5, "client");
    send_publish(&mut world, client, "1", 5, false);
    world.lose(client);
    let client = world.client(V5, "client");
    send_publish(&mut world, client, "2", 5, false);
    assert_eq!(world.payloads(reader), ["1", "2"]);
}

/// A reader with one QoS 2 message that it has received and not answered.
fn reader_with_message(version: moat_codec::Version) -> (World, Client, Pub) {
    let mut world = World::new(limits());
    let reader = world.lasting(version, "reader");
    world.subscribe(reader, "t", 2);
    let writer = world.client(version, "writer");
    world.publish(writer, "t", "x", 2);
    let message = world.messages(reader).pop().unwrap();
    (world, reader, message)
}

/// Proves 5.0 [MQTT-4.3.3-4].
#[test]
fn mqtt5_4_3_3_4__a_pubrec_is_answered_with_pubrel_and_pubcomp_ends_the_flow() {
    for version in [V31, V311, V5] {
        let (mut world, reader, message) = reader_with_message(version);
        world.pubrec(reader, message.id);
        assert_eq!(
            world.read(reader),
            [Got::PubRel(message.id, ReasonCode::Success)]
        );
        world.pubcomp(reader, message.id);
        assert_eq!(world.read(reader), []);
        world.lose(reader);
        let reader = world.lasting(version, "reader");
        assert_eq!(world.read(reader), []);
    }
}

/// Proves 5.0 [MQTT-4.4.0-1]; 3.1.1 [MQTT-4.1.0-1].
#[test]
fn mqtt5_4_4_0_1__without_pubrec_the_message_comes_again_with_dup() {
    let (mut world, reader, message) = reader_with_message(V311);
    world.lose(reader);
    let reader = world.lasting(V311, "reader");
    let again = Pub {
        dup: true,
        ..message
    };
    assert_eq!(world.messages(reader), [again]);
}

/// Proves 5.0 [MQTT-4.3.3-6] [MQTT-4.4.0-1].
#[test]
fn mqtt5_4_4_0_1__after_pubrec_the_pubrel_comes_again_and_the_message_does_not() {
    let (mut world, reader, message) = reader_with_message(V5);
    world.pubrec(reader, message.id);
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    assert_eq!(
        world.read(reader),
        [Got::PubRel(message.id, ReasonCode::Success)]
    );
    world.pubcomp(reader, message.id);
    let session = world.shards[0].session(reader.at).unwrap();
    assert!(session.outbound.as_ref().unwrap().is_empty());
}

#[test]
fn a_pubrec_repeated_on_the_same_connection_is_answered_again() {
    let (mut world, reader, message) = reader_with_message(V311);
    world.pubrec(reader, message.id);
    world.pubrec(reader, message.id);
    let pubrel = Got::PubRel(message.id, ReasonCode::Success);
    assert_eq!(world.read(reader), [pubrel.clone(), pubrel]);
}

#[test]
fn mqtt5_4_3_3_4__a_pubrec_with_an_error_ends_the_flow_without_pubrel() {
    let (mut world, reader, message) = reader_with_message(V5);
    let refused = Ack::with_reason(packet_id(message.id), ReasonCode::QuotaExceeded);
    world.sent(reader, &Packet::PubRec(refused));
    assert_eq!(world.read(reader), []);
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    assert_eq!(world.read(reader), []);
}

#[test]
fn a_pubrec_for_an_unknown_identifier_is_told_so() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.pubrec(client, 8);
    let told = Got::PubRel(8, ReasonCode::PacketIdentifierNotFound);
    assert_eq!(world.read(client), [told]);
}

#[test]
fn mqtt5_4_3_3_4__a_pubrec_with_an_error_for_an_unknown_identifier_has_no_answer() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    let refused = Ack::with_reason(packet_id(8), ReasonCode::QuotaExceeded);
    world.sent(client, &Packet::PubRec(refused));
    assert_eq!(world.read(client), []);
}

#[test]
fn a_pubcomp_nobody_waits_for_is_ignored() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.pubcomp(client, 8);
    assert_eq!(world.read(client), []);
    assert!(!world.is_closed(client));
}

#[test]
fn a_pubcomp_before_pubrec_closes() {
    let (mut world, reader, message) = reader_with_message(V5);
    let ack = Ack::new(packet_id(message.id));
    world.send(reader, &Packet::PubComp(ack));
    assert_eq!(world.goodbye(reader), ReasonCode::ProtocolError);
}

#[test]
fn a_pubrec_for_a_qos_1_message_closes() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 1);
    world.publish(client, "t", "x", 1);
    let id = world.messages(client)[0].id;
    world.send(client, &Packet::PubRec(Ack::new(packet_id(id))));
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
}

/// Proves 5.0 [MQTT-2.2.1-4] [MQTT-4.4.0-1].
#[test]
fn mqtt5_4_6_0_4__pubrels_have_the_order_of_the_pubrecs_and_redelivery_that_of_the_messages() {
    let mut world = World::new(limits());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 2);
    let writer = world.client(V5, "writer");
    for n in ["1", "2", "3"] {
        world.publish(writer, "t", n, 2);
    }
    let ids: Vec<u16> = world.messages(reader).iter().map(|m| m.id).collect();
    world.pubrec(reader, ids[2]);
    world.pubrec(reader, ids[0]);
    let success = ReasonCode::Success;
    assert_eq!(
        world.read(reader),
        [Got::PubRel(ids[2], success), Got::PubRel(ids[0], success)]
    );
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    let got = world.read(reader);
    assert_eq!(got[0], Got::PubRel(ids[0], success));
    assert!(matches!(&got[1], Got::Publish(p) if p.id == ids[1] && p.dup));
    assert_eq!(got[2], Got::PubRel(ids[2], success));
}
