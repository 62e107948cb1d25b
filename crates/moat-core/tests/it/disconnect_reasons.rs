//! Every DISCONNECT reason that a server of this kind sends (3.14.2.1), each where the standard says. 0x8B and 0x9C
//! are the driver's: `session_over_wire.rs` of the testkit; 0x87 and 0x89 belong to `authenticate.rs` and it.

use std::num::NonZeroU16;

use moat_codec::{Connect, ForwardedProperties, Packet, Property, Publish, ReasonCode};
use moat_core::{Limits, Time};

use crate::harness::*;

/// The reason a client's bytes end its connection with.
fn reason_for(limits: Limits, bytes: &[u8]) -> ReasonCode {
    let mut world = World::new(limits);
    let client = world.client(V5, "a");
    world.send_raw(client, bytes);
    world.goodbye(client)
}

fn reason_for_publish(limits: Limits, change: impl FnOnce(&mut Publish<'_>)) -> ReasonCode {
    let mut publish = Publish::new("t", b"\xFF");
    change(&mut publish);
    reason_for(limits, &encode(&Packet::Publish(publish), V5))
}

#[test]
fn mqtt5_4_13_1_1__what_cannot_be_read_is_malformed() {
    // PINGREQ with reserved flags.
    assert_eq!(
        reason_for(limits(), &[0xC1, 0]),
        ReasonCode::MalformedPacket
    );
}

#[test]
fn mqtt5_4_13_1_1__what_has_no_place_is_a_protocol_error() {
    assert_eq!(reason_for(limits(), &[0xD0, 0]), ReasonCode::ProtocolError);
    // A PUBLISH with neither topic nor alias.
    let nowhere = reason_for(limits(), &[0x30, 3, 0, 0, 0]);
    assert_eq!(nowhere, ReasonCode::ProtocolError);
}

#[test]
fn silence_is_a_keep_alive_timeout_and_a_second_connection_a_takeover() {
    let mut world = World::new(limits());
    let mut connect = Connect::new(V5, "a");
    connect.keep_alive_secs = 10;
    let (first, _) = world.connected(&connect);
    let (second, _) = world.connected(&connect);
    assert_eq!(world.goodbye(first), ReasonCode::SessionTakenOver);
    world.pass_secs(15);
    assert_eq!(world.goodbye(second), ReasonCode::KeepAliveTimeout);
}

#[test]
fn names_and_filters_that_break_the_rules_have_reasons_of_their_own() {
    // "#" as a topic name; "a#" as a filter.
    let name = reason_for(limits(), b"\x30\x04\0\x01#\0");
    assert_eq!(name, ReasonCode::TopicNameInvalid);
    let filter = reason_for(limits(), b"\x82\x08\0\x01\0\0\x02a#\0");
    assert_eq!(filter, ReasonCode::TopicFilterInvalid);
}

#[test]
fn mqtt5_3_3_4_7__more_than_receive_maximum_is_told() {
    let mut limits = limits();
    limits.inflight_messages_max = 1;
    let two = [1, 2].map(|id| encode(&Packet::Publish(message("t", "", 2, id)), V5));
    assert_eq!(
        reason_for(limits, &two.concat()),
        ReasonCode::ReceiveMaximumExceeded
    );
}

#[test]
fn mqtt5_3_3_2_9__an_alias_out_of_range_is_invalid() {
    let above = NonZeroU16::new(limits().topic_alias_max + 1);
    let reason = reason_for_publish(limits(), |publish| publish.topic_alias = above);
    assert_eq!(reason, ReasonCode::TopicAliasInvalid);
    // Alias 0.
    let zero = reason_for(limits(), b"\x30\x07\0\x01t\x03\x23\0\0");
    assert_eq!(zero, ReasonCode::TopicAliasInvalid);
}

#[test]
fn mqtt5_3_2_2_15__a_packet_above_the_maximum_is_too_large() {
    let mut limits = limits();
    limits.packet.packet_bytes_max = 100;
    // 98 bytes behind the header of two fit, one more does not.
    assert_eq!(reason_for(limits, &[0x30, 99]), ReasonCode::PacketTooLarge);
}

#[test]
fn too_much_in_one_packet_exceeds_the_quota() {
    let mut limits = limits();
    limits.packet.filters_per_packet_max = 1;
    let filters = [("a", options(0)), ("b", options(0))];
    let mut world = World::new(limits);
    let client = world.client(V5, "a");
    world.send_subscribe(client, &filters, None);
    assert_eq!(world.goodbye(client), ReasonCode::QuotaExceeded);
}

#[test]
fn mqtt5_3_3_2_3_2__a_payload_that_is_not_what_it_says_has_an_invalid_format() {
    let text = ForwardedProperties::build(&[Property::PayloadFormatIndicator(true)]).unwrap();
    let reason = reason_for_publish(limits(), |publish| publish.properties = text.clone());
    assert_eq!(reason, ReasonCode::PayloadFormatInvalid);
}

#[test]
fn mqtt5_3_2_2_14__without_retained_messages_retain_is_not_supported() {
    let none = || {
        let mut limits = limits();
        limits.retained_messages_max = 0;
        limits
    };
    let reason = reason_for_publish(none(), |publish| publish.retain = true);
    assert_eq!(reason, ReasonCode::RetainNotSupported);
    let mut world = World::new(none());
    let client = world.connect(&Connect::new(V5, "a"));
    let bytes = world.raw(client);
    let Packet::ConnAck(connack) =
        Packet::decode(&bytes, V5, &moat_codec::Limits::default()).unwrap()
    else {
        panic!("not a CONNACK")
    };
    assert_eq!(connack.properties.retain_available, Some(false));
    // [MQTT-3.2.2-13]
    let mut connect = Connect::new(V5, "b");
    connect.will = Some(moat_codec::Will {
        retain: true,
        ..will("w", "gone")
    });
    let refused = world.open(ANNA, &connect).err().unwrap();
    assert_eq!(refusal(&refused, V5), ReasonCode::RetainNotSupported);
    // A 3.x client cannot be told: its message goes to those who are there.
    let old = world.client(V311, "old");
    world.subscribe(old, "t", 0);
    world.retain(old, "t", "x", 0);
    assert_eq!(world.payloads(old), ["x"]);
}

#[test]
fn an_identity_whose_proof_has_ended_has_reached_its_maximum_connect_time() {
    let mut world = World::new(limits());
    world.expires_at = world.now.plus_secs(60);
    let client = world.client(V5, "a");
    world.expires_at = Time::NEVER;
    let other = world.client(V5, "other");
    world.pass_millis(59_999);
    assert!(!world.is_closed(client));
    world.pass_millis(1);
    assert_eq!(world.goodbye(client), ReasonCode::MaximumConnectTime);
    assert!(!world.is_closed(other));
}

#[test]
fn no_reason_goes_out_that_disconnect_may_not_carry() {
    let mut world = World::new(limits());
    let client = world.client(V5, "a");
    let (now, fx) = (world.now, &mut world.fx[0]);
    world.shards[0].close(client.at, ReasonCode::Banned, "?", now, fx);
    let closed = world.fx[0].closed.pop().unwrap();
    assert_eq!(closed.bytes.get(2), Some(&ReasonCode::ProtocolError.byte()));
}
