//! PUBLISH from one client to others, at QoS 0 as a rule, and what is forwarded.

use std::num::NonZeroU16;
use std::sync::Arc;

use moat_codec::{
    ForwardedProperties, Packet, PacketType, Property, Publish, QoS, ReasonCode,
    SubscriptionOptions,
};
use moat_core::shard::Then;
use moat_policy::Snapshot;

use crate::harness::*;

#[test]
fn a_message_reaches_every_version() {
    let mut world = World::new(limits());
    let readers = [V31, V311, V5].map(|version| {
        let client = world.client(version, &format!("reader-{version}"));
        world.subscribe(client, "a/+", 0);
        client
    });
    for (n, version) in [V31, V311, V5].into_iter().enumerate() {
        let writer = world.client(version, &format!("writer-{version}"));
        world.publish(writer, "a/b", &n.to_string(), 0);
    }
    for reader in readers {
        assert_eq!(world.payloads(reader), ["0", "1", "2"]);
    }
}

#[test]
fn nothing_reaches_a_client_that_did_not_ask() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "a/+", 2);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "x", 0);
    world.publish(writer, "a/b/c", "x", 1);
    world.publish(writer, "b/b", "x", 2);
    assert_eq!(world.messages(reader), []);
}

#[test]
fn who_subscribes_to_what_nobody_wanted_gets_the_next_message() {
    for shards in 1..=3 {
        let mut world = World::with(shards, limits(), Arc::new(Snapshot::allow_all()));
        let writer = world.client(V5, "writer");
        let filters = ["a/b", "a/+", "#", "$share/g/a/b", "$share/g/+/b"];
        for (n, filter) in filters.into_iter().enumerate() {
            let reader = world.client_id_at(n % shards, "reader-");
            let reader = world.client(V5, &reader);
            for qos in 0..=2 {
                // Twice: what the first found is known to the second.
                for _ in 0..2 {
                    world.publish(writer, "a/b", "for nobody", qos);
                }
                world.read_all(writer);
                world.subscribe(reader, filter, qos);
                world.publish(writer, "a/b", "for one", qos);
                assert_eq!(world.payloads(reader), ["for one"], "{filter}, QoS {qos}");
                world.unsubscribe(reader, filter);
                world.read_all(writer);
            }
        }
    }
}

#[test]
fn a_message_for_nobody_is_kept_if_it_is_retained() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    world.retain(writer, "t", "earlier", 1);
    for _ in 0..2 {
        world.publish(writer, "t", "for nobody", 1);
    }
    world.retain(writer, "t", "kept", 1);
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    assert_eq!(world.payloads(reader), ["kept"]);
}

#[test]
fn mqtt5_3_3_1_12__live_messages_have_no_retain_flag() {
    let mut world = World::new(limits());
    let reader = world.client(V311, "reader");
    world.subscribe(reader, "t", 0);
    let writer = world.client(V5, "writer");
    world.retain(writer, "t", "x", 0);
    assert!(!world.messages(reader)[0].retain);
}

#[test]
fn mqtt5_3_3_1_13__retain_as_published_keeps_the_flag_of_each_message() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    let keep = SubscriptionOptions {
        retain_as_published: true,
        ..options(0)
    };
    world.subscribe_with(reader, "t", keep, None);
    let writer = world.client(V5, "writer");
    world.retain(writer, "t", "kept", 0);
    world.publish(writer, "t", "live", 0);
    let flags: Vec<bool> = world.messages(reader).iter().map(|m| m.retain).collect();
    assert_eq!(flags, [true, false]);
}

/// Proves 5.0 [MQTT-3.8.3-3].
#[test]
fn mqtt5_3_8_3_3__no_local_keeps_a_client_from_its_own_messages() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(1)
    };
    world.subscribe_with(client, "t", no_local, None);
    let other = world.client(V5, "other");
    world.publish(client, "t", "own", 1);
    world.publish(other, "t", "foreign", 1);
    assert_eq!(world.payloads(client), ["foreign"]);
}

#[test]
fn an_overlapping_subscription_without_no_local_gets_own_messages() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(2)
    };
    world.subscribe_with(client, "t", no_local, Some(1));
    world.subscribe_with(client, "#", options(0), Some(2));
    world.publish(client, "t", "own", 1);
    let got = world.messages(client);
    assert_eq!(got.len(), 1);
    assert_eq!((got[0].qos, &got[0].subscription_ids[..]), (0, &[2][..]));
}

#[test]
fn mqtt5_3_3_2_15_to_20__properties_of_the_application_are_forwarded_unaltered() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    let old = world.client(V311, "old");
    world.subscribe(old, "t", 0);
    let writer = world.client(V5, "writer");
    let properties = ForwardedProperties::build(&[
        Property::PayloadFormatIndicator(true),
        Property::ContentType("text/plain"),
        Property::ResponseTopic("answers"),
        Property::CorrelationData(b"\0\x01"),
        Property::UserProperty(("k", "v1")),
        Property::UserProperty(("k", "v2")),
    ])
    .unwrap();
    world.publish_with(writer, "t", "x", 0, |p| p.properties = properties.clone());

    let mut expected = Vec::new();
    let publish = Publish {
        properties,
        ..Publish::new("t", b"x")
    };
    publish.encode(V5, &mut expected).unwrap();
    assert_eq!(world.shards[0].link(reader.at).unwrap().out, expected);
    assert_eq!(world.payloads(old), ["x"]);
}

#[test]
fn mqtt5_3_3_4_6__a_client_may_not_send_subscription_identifiers() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    // PUBLISH to "t" with subscription identifier 1.
    world.send_raw(client, b"\x30\x07\0\x01t\x02\x0b\x01x");
    assert_eq!(world.goodbye(client), ReasonCode::ProtocolError);
}

#[test]
fn mqtt5_3_3_2_12__an_alias_stands_for_its_topic() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "#", 0);
    let writer = world.client(V5, "writer");
    let alias = |n| move |p: &mut Publish<'_>| p.topic_alias = NonZeroU16::new(n);
    world.publish_with(writer, "a/b", "1", 0, alias(10));
    world.publish_with(writer, "", "2", 0, alias(10));
    world.publish_with(writer, "c", "3", 0, alias(10));
    world.publish_with(writer, "", "4", 0, alias(10));
    let topics: Vec<String> = world
        .messages(reader)
        .into_iter()
        .map(|m| m.topic)
        .collect();
    assert_eq!(topics, ["a/b", "a/b", "c", "c"]);
}

#[test]
fn mqtt5_3_3_2_9__an_alias_above_topic_alias_max_closes() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    let mut publish = message("t", "x", 0, 0);
    publish.topic_alias = NonZeroU16::new(11);
    world.send(writer, &Packet::Publish(publish));
    assert_eq!(world.goodbye(writer), ReasonCode::TopicAliasInvalid);
}

#[test]
fn mqtt5_3_3_2_7__aliases_end_with_the_connection() {
    let mut world = World::new(limits());
    let writer = world.lasting(V5, "writer");
    world.publish_with(writer, "t", "x", 0, |p| p.topic_alias = NonZeroU16::new(1));
    world.lose(writer);
    let writer = world.lasting(V5, "writer");
    let mut publish = message("", "x", 0, 0);
    publish.topic_alias = NonZeroU16::new(1);
    world.send(writer, &Packet::Publish(publish));
    assert_eq!(world.goodbye(writer), ReasonCode::ProtocolError);
}

#[test]
fn an_alias_set_by_a_repeated_qos_2_message_holds() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "#", 0);
    let writer = world.lasting(V5, "writer");
    let mut publish = message("t", "1", 2, 1);
    publish.topic_alias = NonZeroU16::new(1);
    world.sent(writer, &Packet::Publish(publish.clone()));
    world.lose(writer);
    let writer = world.lasting(V5, "writer");
    publish.dup = true;
    world.sent(writer, &Packet::Publish(publish));
    world.publish_with(writer, "", "2", 0, |p| p.topic_alias = NonZeroU16::new(1));
    assert_eq!(world.payloads(reader), ["1", "2"]);
}

#[test]
fn mqtt5_3_3_2_6__message_expiry_counts_down_while_a_message_waits() {
    let mut world = World::new(limits());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    world.publish_with(writer, "t", "x", 1, |p| p.message_expiry_secs = Some(100));
    world.pass_secs(30);
    let (reader, _) = world.connected(&lasting(V5, "reader"));
    assert_eq!(world.messages(reader)[0].expiry, Some(70));
}

#[test]
fn mqtt5_3_3_2_5__a_message_that_expired_while_it_waited_is_not_sent() {
    let mut world = World::new(limits());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    world.publish_with(writer, "t", "short", 1, |p| {
        p.message_expiry_secs = Some(10)
    });
    world.publish(writer, "t", "long", 1);
    world.pass_secs(10);
    let (reader, _) = world.connected(&lasting(V5, "reader"));
    assert_eq!(world.payloads(reader), ["long"]);
    assert_eq!(world.shards[0].counters().messages_expired_total, 1);
}

#[test]
fn messages_behind_a_turn_full_of_expired_ones_are_sent_at_once() {
    let mut world = World::new(limits());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    for _ in 0..600 {
        world.publish_with(writer, "t", "short", 1, |p| {
            p.message_expiry_secs = Some(10)
        });
    }
    world.publish(writer, "t", "long", 1);
    world.pass_secs(10);
    let (reader, _) = world.connected(&lasting(V5, "reader"));
    assert_eq!(world.payloads(reader), ["long"]);
    assert_eq!(world.shards[0].counters().messages_expired_total, 600);
}

#[test]
fn messages_are_counted_on_their_way_in_and_out() {
    let mut world = World::new(limits());
    for n in 0..3 {
        let reader = world.client(V5, &format!("reader-{n}"));
        world.subscribe(reader, "t", 0);
    }
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "x", 1);
    let counters = world.shards[0].counters();
    assert_eq!(
        (
            counters.messages_received_total,
            counters.messages_sent_total
        ),
        (1, 3)
    );
}

/// Proves 5.0 [MQTT-3.12.4-1].
#[test]
fn mqtt5_3_12_4_1__a_ping_is_answered() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "client");
        world.sent(client, &Packet::PingReq);
        assert_eq!(world.read(client), [Got::PingResp]);
    }
}

#[test]
fn bytes_may_come_one_by_one() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 0);
    let mut bytes = Vec::new();
    for n in ["1", "2"] {
        let publish = Packet::Publish(message("t", n, 1, 7));
        bytes.extend(encode(&publish, V5));
    }
    for byte in bytes {
        let then = world.send_raw(client, &[byte]);
        assert!(matches!(then, Then::NeedMore(_)), "{then:?}");
    }
    let got = world.read(client);
    assert_eq!(
        got.iter().filter(|g| matches!(g, Got::Publish(_))).count(),
        2
    );
    assert!(has(&got, PacketType::PubAck));
}

/// Proves 5.0 [MQTT-3.8.4-8].
#[test]
fn mqtt5_3_8_4_8__the_lower_qos_of_publisher_and_subscription_holds() {
    for published in 0..=2 {
        for granted in 0..=2 {
            let mut world = World::new(limits());
            let reader = world.client(V5, "reader");
            world.subscribe(reader, "t", granted);
            let writer = world.client(V5, "writer");
            world.publish(writer, "t", "x", published);
            let got = world.read_all(reader);
            assert_eq!(got.len(), 1);
            assert_eq!(got[0].qos, published.min(granted));
            assert_eq!(got[0].id != 0, published.min(granted) > 0);
        }
    }
}

/// Proves 5.0 [MQTT-4.6.0-5] [MQTT-4.6.0-6].
#[test]
fn mqtt5_4_6_0_6__qos_0_messages_of_one_topic_do_not_overtake_each_other() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    world.retain(writer, "r/1", "retained", 1);
    world.retain(writer, "r/2", "retained", 1);
    let mut connect = lasting(V5, "reader");
    connect.properties.receive_maximum = NonZeroU16::new(1);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "t", 1);
    // Two retained messages at QoS 1: the second waits for the first's PUBACK.
    world.send_subscribe(reader, &[("r/+", options(1))], None);
    world.publish(writer, "t", "qos 1, waits for quota", 1);
    world.publish(writer, "t", "first", 0);
    let got = world.read(reader);
    let Some(Got::Publish(one)) = got.last() else {
        panic!("{got:?}")
    };
    world.puback(reader, one.id);
    // Now no retained message is left, but the quota is still used up.
    world.publish(writer, "t", "second", 0);
    let mut texts = Vec::new();
    for message in world.read_all(reader) {
        if message.qos == QoS::AtMostOnce.bits() {
            texts.push(message.text().to_owned());
        }
    }
    assert_eq!(texts, ["first", "second"]);
}
