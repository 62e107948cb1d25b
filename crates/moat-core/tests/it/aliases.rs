//! Topic aliases towards clients. Those of clients are in `publish.rs`.

use std::num::NonZeroU32;

use moat_codec::Connect;

use crate::harness::*;

/// A client of 5.0 that takes so many aliases.
fn taking(client_id: &str, aliases: u16) -> Connect<'_> {
    let mut connect = lasting(V5, client_id);
    connect.properties.topic_alias_maximum = aliases;
    connect
}

/// Topic and alias of each message.
fn forms(messages: &[Pub]) -> Vec<(&str, Option<u16>)> {
    messages.iter().map(|m| (&*m.topic, m.alias)).collect()
}

#[test]
fn mqtt5_3_3_2_11__an_alias_is_set_once_and_then_stands_for_its_topic() {
    for qos in 0..=2 {
        let mut world = World::new(limits());
        let (reader, _) = world.connected(&taking("reader", 2));
        let writer = world.client(V5, "writer");
        world.subscribe(reader, "topic/#", qos);
        for topic in ["topic/a", "topic/a", "topic/b", "topic/c", "topic/b"] {
            world.publish(writer, topic, "x", qos);
        }
        assert_eq!(
            forms(&world.read_all(reader)),
            [
                ("topic/a", Some(1)),
                ("", Some(1)),
                ("topic/b", Some(2)),
                // [MQTT-3.1.2-26]
                ("topic/c", None),
                ("", Some(2)),
            ]
        );
    }
}

#[test]
fn mqtt5_3_1_2_27__a_client_that_takes_no_aliases_gets_none() {
    let mut world = World::new(limits());
    let reader = world.client(V5, "reader");
    let old = world.client(V311, "old");
    for client in [reader, old] {
        world.subscribe(client, "topic", 0);
    }
    for _ in 0..2 {
        world.publish(reader, "topic", "x", 0);
    }
    for client in [reader, old] {
        let messages = world.messages(client);
        assert_eq!(forms(&messages), [("topic", None); 2]);
    }
}

#[test]
fn topic_alias_max_caps_what_a_client_takes() {
    let mut limits = limits();
    limits.topic_alias_max = 1;
    let mut world = World::new(limits);
    let (reader, _) = world.connected(&taking("reader", u16::MAX));
    world.subscribe(reader, "topic/#", 0);
    for topic in ["topic/a", "topic/b", "topic/a"] {
        world.publish(reader, topic, "x", 0);
    }
    let messages = world.messages(reader);
    assert_eq!(
        forms(&messages),
        [("topic/a", Some(1)), ("topic/b", None), ("", Some(1))]
    );
}

#[test]
fn each_receiver_has_aliases_of_its_own() {
    let mut world = World::new(limits());
    let (first, _) = world.connected(&taking("first", 1));
    let (second, _) = world.connected(&taking("second", 1));
    let none = world.client(V5, "none");
    world.subscribe(first, "topic/#", 0);
    world.subscribe(second, "topic/b", 0);
    world.subscribe(none, "topic/#", 0);
    for topic in ["topic/a", "topic/b", "topic/b"] {
        world.publish(none, topic, "x", 0);
    }
    let messages = world.messages(first);
    assert_eq!(
        forms(&messages),
        [("topic/a", Some(1)), ("topic/b", None), ("topic/b", None)]
    );
    assert_eq!(
        forms(&world.messages(second)),
        [("topic/b", Some(1)), ("", Some(1))]
    );
    let messages = world.messages(none);
    assert_eq!(
        forms(&messages),
        [("topic/a", None), ("topic/b", None), ("topic/b", None)]
    );
}

/// Proves 5.0 [MQTT-4.3.2-3] [MQTT-4.4.0-1].
#[test]
fn mqtt5_3_3_2_7__what_is_sent_again_on_a_new_connection_has_its_topic() {
    let mut world = World::new(limits());
    let (reader, _) = world.connected(&taking("reader", 5));
    let writer = world.client(V5, "writer");
    world.subscribe(reader, "topic", 1);
    world.publish(writer, "topic", "1", 1);
    world.publish(writer, "topic", "2", 1);
    assert_eq!(
        forms(&world.messages(reader)),
        [("topic", Some(1)), ("", Some(1))]
    );
    world.lose(reader);
    world.publish(writer, "topic", "3", 1);
    let (reader, _) = world.connected(&taking("reader", 5));
    let again = world.messages(reader);
    assert_eq!(
        forms(&again),
        [("topic", None), ("topic", None), ("topic", Some(1))]
    );
    assert!(again[0].dup && again[1].dup && !again[2].dup);
}

#[test]
fn a_retained_message_sets_no_alias() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    world.retain(writer, "topic/a", "kept", 0);
    let (reader, _) = world.connected(&taking("reader", 1));
    world.subscribe(reader, "topic/#", 0);
    assert_eq!(forms(&world.messages(reader)), [("topic/a", None)]);
    world.publish(writer, "topic/b", "x", 0);
    assert_eq!(forms(&world.messages(reader)), [("topic/b", Some(1))]);
}

#[test]
fn an_alias_that_would_make_a_message_too_large_is_left_out() {
    // 60 bytes without an alias: the header, the topic with its length, no properties, and the payload.
    let payload = "x".repeat(60 - 2 - 7 - 1);
    let mut world = World::new(limits());
    let mut connect = taking("reader", 1);
    connect.properties.maximum_packet_size = NonZeroU32::new(60);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "topic", 0);
    world.publish(reader, "topic", &payload, 0);
    world.publish(reader, "topic", "x", 0);
    world.publish(reader, "topic", &payload, 0);
    let messages = world.messages(reader);
    assert_eq!(
        forms(&messages),
        [("topic", None), ("topic", Some(1)), ("", Some(1))]
    );
}
