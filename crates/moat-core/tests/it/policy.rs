//! What the policy denies, and what a new policy ends.

use moat_codec::{Packet, ReasonCode};
use moat_core::shard::Then;
use moat_events::Event;

use crate::harness::*;

fn world_denying(actions: &str) -> World {
    World::with(1, limits(), policy_denying(actions, "secret/#"))
}

/// Proves 5.0 [MQTT-3.4.2-1].
#[test]
fn mqtt5_3_4_2_1__a_denied_publish_of_5_0_is_told_so() {
    let mut world = world_denying(r#""publish""#);
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "#", 0);
    let client = world.client(V5, "client");
    for qos in [1, 2] {
        let told = world.publish(client, "secret/t", "x", qos);
        assert_eq!(told, ReasonCode::NotAuthorized);
    }
    // At QoS 0 there is nothing to tell it with.
    world.publish(client, "secret/t", "x", 0);
    assert!(!world.is_closed(client));
    assert_eq!(world.messages(reader), []);
    assert_eq!(world.shards[0].counters().denials_total, 3);
    let events = world.events("publish.denied");
    assert_eq!(events.len(), 3);
    let Event::PublishDenied {
        identity,
        client_id,
        topic,
        rule,
        ..
    } = &events[0]
    else {
        panic!("{events:?}")
    };
    assert_eq!(
        (&**identity, &**client_id, &**topic),
        (ANNA, "client", "secret/t")
    );
    assert!(rule.contains("policy.toml"), "{rule}");
}

#[test]
fn a_denied_qos_2_publish_of_5_0_leaves_its_identifier_free() {
    let mut world = world_denying(r#""publish""#);
    let client = world.client(V5, "client");
    world.sent(client, &Packet::Publish(message("secret/t", "x", 2, 1)));
    world.read(client);
    world.subscribe(client, "t", 0);
    world.sent(client, &Packet::Publish(message("t", "x", 2, 1)));
    assert_eq!(world.read(client).len(), 2);
}

#[test]
fn mqtt311_3_3_5_2__a_denied_publish_of_3_x_is_acknowledged_and_dropped() {
    for version in [V31, V311] {
        let mut world = world_denying(r#""publish""#);
        let reader = world.client(V5, "reader");
        world.subscribe(reader, "#", 0);
        let client = world.client(version, "client");
        for qos in [0, 1, 2] {
            let told = world.publish(client, "secret/t", "x", qos);
            assert_eq!(told, ReasonCode::Success);
        }
        assert_eq!(world.messages(reader), []);
        assert_eq!(world.events("publish.denied").len(), 3);
    }
}

#[test]
fn retaining_needs_its_own_right() {
    let mut world = world_denying(r#""retain""#);
    let client = world.client(V5, "client");
    let told = world.retain(client, "secret/t", "x", 1);
    assert_eq!(told, ReasonCode::NotAuthorized);
    assert_eq!(world.shards[0].sizes().retained_messages, 0);
    let told = world.publish(client, "secret/t", "x", 1);
    assert_eq!(told, ReasonCode::NoMatchingSubscribers);
}

#[test]
fn the_policy_sees_the_topic_and_not_its_alias() {
    let mut world = world_denying(r#""publish""#);
    let client = world.client(V5, "client");
    let alias = |p: &mut moat_codec::Publish<'_>| p.topic_alias = std::num::NonZeroU16::new(1);
    let told = world.publish_with(client, "secret/t", "x", 1, alias);
    assert_eq!(told, ReasonCode::NotAuthorized);
    let told = world.publish_with(client, "", "x", 1, alias);
    assert_eq!(told, ReasonCode::NotAuthorized);
}

#[test]
fn mqtt5_3_9_3__a_denied_subscription_is_told_so() {
    for (version, code) in [
        (V5, ReasonCode::NotAuthorized),
        (V311, ReasonCode::UnspecifiedError),
    ] {
        let mut world = world_denying(r#""subscribe""#);
        let client = world.client(version, "client");
        assert_eq!(world.subscribe(client, "secret/t", 1), code);
        // It would show secret topics.
        assert_eq!(world.subscribe(client, "#", 1), code);
        assert_eq!(world.subscribe(client, "t", 1), ReasonCode::GrantedQoS1);
        assert_eq!(world.shards[0].sizes().subscriptions, 1);
        assert_eq!(world.events("subscribe.denied").len(), 2);
        assert_eq!(world.shards[0].counters().denials_total, 2);
    }
}

#[test]
fn a_denied_subscription_of_3_1_closes() {
    let mut world = world_denying(r#""subscribe""#);
    let client = world.client(V31, "client");
    let bytes = b"\x82\x0d\0\x01\0\x08secret/t\x01";
    assert_eq!(world.send_raw(client, bytes), Then::Closed);
    assert!(world.is_closed(client));
    assert_eq!(world.read(client), []);
    assert_eq!(world.events("subscribe.denied").len(), 1);
}

#[test]
fn a_denied_subscription_gets_nothing_retained() {
    let mut world = world_denying(r#""subscribe""#);
    let client = world.client(V5, "client");
    world.retain(client, "secret/t", "x", 0);
    world.subscribe(client, "secret/t", 0);
    assert_eq!(world.messages(client), []);
}

#[test]
fn a_new_policy_decides_from_the_next_publish() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "+/t", 0);
    world.publish(client, "secret/t", "x", 0);
    assert_eq!(world.messages(client).len(), 1);
    world.set_policy(&policy_denying(r#""publish""#, "secret/#"));
    let told = world.publish(client, "secret/t", "x", 1);
    assert_eq!(told, ReasonCode::NotAuthorized);
    assert_eq!(world.messages(client), []);
}

#[test]
fn a_new_policy_ends_subscriptions_and_takes_queued_messages_away() {
    let mut world = World::new(limits());
    let online = world.client(V5, "online");
    let offline = world.lasting(V5, "offline");
    for client in [online, offline] {
        world.subscribe(client, "secret/+", 1);
        world.subscribe(client, "t", 1);
    }
    world.lose(offline);
    let writer = world.client(V5, "writer");
    world.publish(writer, "secret/t", "queued", 1);
    world.publish(writer, "t", "stays", 1);
    world.read_all(online);

    world.set_policy(&policy_denying(r#""subscribe""#, "secret/#"));
    let mut events = std::mem::take(&mut world.events);
    events.retain(|e| e.meta().id == "subscription.removed" || e.meta().id == "messages.dropped");
    assert_eq!(events.len(), 3, "{events:?}");
    assert_eq!(world.shards[0].sizes().subscriptions, 2);
    assert_eq!(world.dropped(), 1);

    world.publish(writer, "secret/t", "not", 1);
    assert_eq!(world.messages(online), []);
    let offline = world.lasting(V5, "offline");
    assert_eq!(world.payloads(offline), ["stays"]);
}

#[test]
fn a_new_policy_takes_retained_messages_away_that_a_client_is_still_owed() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    for n in 0..30 {
        world.retain(writer, &format!("secret/{n}"), "x", 1);
    }
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "secret/#", 1);
    assert_eq!(world.messages(reader).len(), 20);
    world.set_policy(&policy_denying(r#""subscribe""#, "secret/#"));
    for id in 1..=20 {
        world.puback(reader, id);
    }
    assert_eq!(world.messages(reader), []);
    assert_eq!(world.dropped(), 10);
}

#[test]
fn a_policy_that_changes_nothing_ends_nothing() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "a/+", 1);
    world.set_policy(&policy_denying(r#""subscribe""#, "secret/#"));
    assert_eq!(world.events("subscription.removed"), []);
    world.publish(client, "a/b", "x", 1);
    assert_eq!(world.messages(client).len(), 1);
}
