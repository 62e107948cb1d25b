//! Retained messages.

use moat_codec::{ReasonCode, RetainHandling};
use moat_core::Limits;
use moat_core::router::retained::{
    RETAINED_BRANCH_BYTES, RETAINED_LEVEL_BYTES, RETAINED_OVERHEAD_BYTES,
};
use moat_core::shard::{SEARCH_MESSAGES_MAX, SEARCH_VISITS_PER_TURN_MAX, SEARCHES_UNDER_WAY_MAX};
use moat_events::Event;

use crate::harness::*;

#[test]
fn mqtt5_3_3_1_5__a_retained_message_waits_for_later_subscribers() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let writer = world.client(version, "writer");
        world.retain(writer, "a/b", "x", 2);
        world.disconnect(writer);
        let reader = world.client(version, "reader");
        world.subscribe(reader, "a/+", 1);
        let got = world.messages(reader);
        assert_eq!(got.len(), 1);
        // [MQTT-3.3.1-8]
        assert!(got[0].retain && !got[0].dup);
        assert_eq!((got[0].qos, got[0].text()), (1, "x"));
    }
}

/// Proves 5.0 [MQTT-3.3.1-8].
#[test]
fn only_the_last_message_of_a_topic_is_retained() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.retain(client, "t", "1", 0);
    world.retain(client, "t", "2", 0);
    world.publish(client, "t", "3", 0);
    world.subscribe(client, "t", 0);
    assert_eq!(world.payloads(client), ["2"]);
    assert_eq!(world.shards[0].sizes().retained_messages, 1);
}

#[test]
fn mqtt5_3_3_1_6__an_empty_payload_clears_and_is_delivered() {
    let mut world = World::new(limits());
    let early = world.client(V5, "early");
    world.subscribe(early, "t", 0);
    let client = world.client(V5, "client");
    world.retain(client, "t", "1", 0);
    world.retain(client, "t", "", 0);
    assert_eq!(world.payloads(early), ["1", ""]);
    world.subscribe(client, "t", 0);
    assert_eq!(world.messages(client), []);
    assert_eq!(world.shards[0].sizes().retained_messages, 0);
}

/// Proves 5.0 [MQTT-3.3.1-8].
#[test]
fn mqtt5_3_3_1_8__an_empty_message_without_retain_clears_nothing() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.retain(client, "t", "1", 0);
    world.publish(client, "t", "", 0);
    assert_eq!(world.shards[0].sizes().retained_messages, 1);
}

#[test]
fn mqtt5_3_3_1_9_to_11__retain_handling_decides_when_retained_messages_are_sent() {
    let cases = [
        (RetainHandling::SendAlways, [1, 1]),
        (RetainHandling::SendIfNew, [1, 0]),
        (RetainHandling::DoNotSend, [0, 0]),
    ];
    for (retain_handling, expected) in cases {
        let mut world = World::new(limits());
        let client = world.client(V5, "client");
        world.retain(client, "t", "x", 0);
        for count in expected {
            world.subscribe_with(client, "t", handling(0, retain_handling), None);
            assert_eq!(world.messages(client).len(), count, "{retain_handling:?}");
        }
    }
}

#[test]
fn a_resumed_session_is_not_sent_retained_messages_again() {
    let mut world = World::new(limits());
    let client = world.lasting(V311, "client");
    world.retain(client, "t", "x", 1);
    world.subscribe(client, "t", 1);
    assert_eq!(world.read_all(client).len(), 1);
    world.lose(client);
    let client = world.lasting(V311, "client");
    assert_eq!(world.messages(client), []);
}

#[test]
fn a_retained_message_carries_the_identifier_of_the_new_subscription_only() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe_with(client, "+", options(0), Some(1));
    world.retain(client, "t", "x", 0);
    world.messages(client);
    world.subscribe_with(client, "t", options(0), Some(2));
    assert_eq!(world.messages(client)[0].subscription_ids, [2]);
}

/// Proves 5.0 [MQTT-4.7.2-1].
#[test]
fn mqtt5_4_7_2_1__wildcards_do_not_find_retained_system_topics() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.retain(client, "$own/t", "system", 0);
    world.retain(client, "t", "plain", 0);
    world.subscribe(client, "#", 0);
    assert_eq!(world.payloads(client), ["plain"]);
    world.subscribe(client, "$own/#", 0);
    assert_eq!(world.payloads(client), ["system"]);
}

#[test]
fn mqtt5_4_7_1_2__a_hash_finds_its_parent_level() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    for topic in ["a", "a/b", "a/b/c", "ab", "/a"] {
        world.retain(client, topic, topic, 0);
    }
    world.subscribe(client, "a/#", 0);
    assert_eq!(world.payloads(client), ["a", "a/b", "a/b/c"]);
}

#[test]
fn mqtt5_3_3_2_5__an_expired_retained_message_is_not_sent() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.publish_with(client, "t", "x", 0, |p| {
        p.retain = true;
        p.message_expiry_secs = Some(10);
    });
    world.pass_secs(4);
    world.subscribe(client, "t", 0);
    assert_eq!(world.messages(client)[0].expiry, Some(6));
    world.pass_secs(6);
    world.subscribe(client, "t", 0);
    assert_eq!(world.messages(client), []);
}

#[test]
fn expired_retained_messages_are_forgotten_within_a_minute() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.publish_with(client, "t", "x", 0, |p| {
        p.retain = true;
        p.message_expiry_secs = Some(10);
    });
    world.pass_secs(71);
    assert_eq!(world.shards[0].sizes().retained_messages, 0);
}

#[test]
fn retained_messages_larger_than_the_client_takes_are_dropped_and_counted() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    world.retain(writer, "a", &"x".repeat(200), 1);
    world.retain(writer, "b", "small", 1);
    let mut connect = moat_codec::Connect::new(V5, "reader");
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(100);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "+", 1);
    assert_eq!(world.payloads(reader), ["small"]);
    assert_eq!(world.dropped(), 1);
    assert_eq!(world.events("messages.dropped").len(), 1);
}

fn limit_of(events: &[Event]) -> &str {
    match events {
        [Event::RetainRefused { limit, .. }] => limit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn retained_messages_max_refuses_to_keep_but_delivers() {
    let mut world = World::new(Limits {
        retained_messages_max: 2,
        ..limits()
    });
    let client = world.client(V5, "client");
    world.subscribe(client, "#", 0);
    for topic in ["a", "b", "c"] {
        world.retain(client, topic, topic, 0);
    }
    assert_eq!(world.payloads(client), ["a", "b", "c"]);
    let events = world.events("retain.refused");
    assert_eq!(limit_of(&events), "retained_messages_max");
    assert_eq!(world.shards[0].sizes().retained_messages, 2);
    // Replacing and clearing still works.
    world.retain(client, "a", "new", 0);
    world.retain(client, "b", "", 0);
    world.retain(client, "c", "now", 0);
    assert_eq!(world.events("retain.refused"), []);
}

#[test]
fn retained_bytes_max_counts_topic_payload_and_bookkeeping() {
    let one = 1 + 10 + RETAINED_OVERHEAD_BYTES + RETAINED_LEVEL_BYTES;
    let mut world = World::new(Limits {
        retained_bytes_max: 2 * one + RETAINED_BRANCH_BYTES,
        ..limits()
    });
    let client = world.client(V5, "client");
    world.retain(client, "a", "0123456789", 0);
    world.retain(client, "b", "0123456789", 0);
    assert_eq!(world.events("retain.refused"), []);
    world.retain(client, "b", "0123456789+", 0);
    let events = world.events("retain.refused");
    assert_eq!(limit_of(&events), "retained_bytes_max");
    world.subscribe(client, "b", 0);
    assert_eq!(
        world.payloads(client),
        ["0123456789"],
        "the one before stays"
    );
}

#[test]
fn retained_bytes_max_counts_the_levels_of_a_topic() {
    let mut world = World::new(Limits {
        retained_bytes_max: 20 << 10,
        ..limits()
    });
    let client = world.client(V5, "client");
    for n in 0..10 {
        world.retain(client, &format!("{n}/a/b/c/d/e/f/g/h"), "x", 0);
    }
    // Ten such topics take about 60 KB of tree, and less than 2 KB of bytes.
    let kept = world.shards[0].sizes().retained_messages;
    assert!((2..=4).contains(&kept), "{kept}");
    assert_eq!(world.events("retain.refused").len(), 10 - kept);
}

#[test]
fn retained_per_identity_max_counts_each_identity_for_itself() {
    let mut world = World::new(Limits {
        retained_per_identity_max: 1,
        ..limits()
    });
    let anna = world.client(V5, "client");
    let bert = world.open("bert", &moat_codec::Connect::new(V5, "client"));
    let bert = bert.unwrap();
    world.connack(bert);
    world.retain(anna, "a", "1", 0);
    world.retain(bert, "b", "1", 0);
    assert_eq!(world.events("retain.refused"), []);
    assert_eq!(
        world.retain(anna, "c", "1", 1),
        ReasonCode::NoMatchingSubscribers
    );
    let events = world.events("retain.refused");
    assert_eq!(limit_of(&events), "retained_per_identity_max");
    // It may replace its own, and somebody else's place is not its own.
    world.retain(anna, "a", "2", 0);
    assert_eq!(world.events("retain.refused"), []);
    world.retain(anna, "b", "2", 0);
    assert_eq!(world.events("retain.refused").len(), 1);
}

#[test]
fn live_messages_wait_behind_retained_ones() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    for n in 0..30 {
        world.retain(writer, &format!("t/{n:02}"), "retained", 1);
    }
    let reader = world.client(V5, "reader");
    world.send_subscribe(reader, &[("t/+", options(1))], None);
    world.retain(writer, "t/29", "live", 1);
    world.expect(reader, |got| matches!(got, Got::SubAck(..)).then_some(()));
    let of_topic: Vec<String> = world
        .read_all(reader)
        .into_iter()
        .filter(|m| m.topic == "t/29")
        .map(|m| m.text().to_owned())
        .collect();
    assert_eq!(of_topic, ["retained", "live"]);
}

#[test]
fn a_client_that_asks_again_and_again_and_never_reads_is_owed_a_bounded_number() {
    const MESSAGES: usize = 500;
    let mut world = World::new(Limits {
        subscriptions_per_session_max: 2,
        ..limits()
    });
    let writer = world.client(V5, "writer");
    for n in 0..MESSAGES {
        world.retain(writer, &format!("t/{n:03}"), "retained", 1);
    }
    let reader = world.client(V5, "reader");
    for _ in 0..1000 {
        world.send_subscribe(reader, &[("#", options(1))], None);
    }
    let session = world.shards[0].session(reader.at).unwrap();
    let outbound = session.outbound.as_ref().unwrap();
    assert!(outbound.retained.len() <= SEARCH_MESSAGES_MAX * usize::from(SEARCHES_UNDER_WAY_MAX));
    assert!(outbound.searches.len() < 100);
    // What the last one asked for comes all the same.
    let last = read_with_ticks(&mut world, reader).split_off(MESSAGES);
    let topics: std::collections::HashSet<_> = last.iter().map(|m| m.topic.clone()).collect();
    assert_eq!(topics.len(), MESSAGES);
}

/// Reads and acknowledges until nothing comes in two turns; SUBACKs are passed over.
fn read_with_ticks(world: &mut World, client: Client) -> Vec<Pub> {
    let (mut messages, mut silent) = (Vec::new(), 0);
    while silent < 2 {
        let got = world.read(client);
        silent = if got.is_empty() { silent + 1 } else { 0 };
        for got in got {
            if let Got::Publish(publish) = got {
                if publish.qos == 1 {
                    world.puback(client, publish.id);
                }
                messages.push(publish);
            }
        }
        world.pass_millis(1);
    }
    messages
}

#[test]
fn a_search_beyond_the_budget_of_a_turn_goes_on_in_the_next_one() {
    for shards in [1, 2] {
        let policy = std::sync::Arc::new(moat_policy::Snapshot::allow_all());
        let mut world = World::with(
            shards,
            Limits {
                retained_per_identity_max: 10_000,
                publishes_per_sec_max: 0,
                ..limits()
            },
            policy,
        );
        let writer = world.client(V5, "writer");
        let messages = shards * (SEARCH_VISITS_PER_TURN_MAX * 2 + 10);
        for n in 0..messages {
            world.retain(writer, &format!("t/{n}"), "x", 0);
        }
        let reader = world.client(V5, "reader");
        world.subscribe(reader, "+/+", 1);
        let first = world.read_all(reader).len();
        assert!(first <= shards * SEARCH_VISITS_PER_TURN_MAX, "{first}");
        assert_eq!(world.shards[0].next_timeout(), Some(moat_core::Time::ZERO));
        let rest = read_with_ticks(&mut world, reader);
        assert_eq!(first + rest.len(), messages);
    }
}

#[test]
fn a_search_ends_with_its_subscription() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    for n in 0..500 {
        world.retain(writer, &format!("t/{n}"), "x", 1);
    }
    let reader = world.client(V5, "reader");
    world.send_subscribe(reader, &[("#", options(1))], None);
    world.read_one(reader);
    let unsubscribe = [moat_codec::TopicFilter::new("#", &moat_codec::Limits::default()).unwrap()];
    let unsubscribe = moat_codec::Unsubscribe::new(packet_id(9), &unsubscribe);
    world.sent(reader, &moat_codec::Packet::Unsubscribe(unsubscribe));
    let got = read_with_ticks(&mut world, reader);
    assert!(got.len() <= SEARCH_MESSAGES_MAX, "{}", got.len());
}

#[test]
fn a_search_at_qos_1_goes_on_with_the_next_connection() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    for n in 0..300 {
        world.retain(writer, &format!("t/{n}"), "x", 1);
    }
    let reader = world.lasting(V5, "reader");
    world.send_subscribe(reader, &[("#", options(1))], None);
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    assert_eq!(read_with_ticks(&mut world, reader).len(), 300);
}
