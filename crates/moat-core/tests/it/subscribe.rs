//! SUBSCRIBE and UNSUBSCRIBE.

use moat_codec::{PacketType, ReasonCode, SubscriptionOptions, Version};

use crate::harness::*;

/// Proves 5.0 [MQTT-3.9.3-1].
#[test]
fn mqtt5_3_9_3_1__a_suback_has_one_code_per_filter_in_order() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "client");
        let filters = [("a", options(2)), ("b/#", options(0)), ("+", options(1))];
        world.send_subscribe(client, &filters, None);
        let codes = [
            ReasonCode::GrantedQoS2,
            ReasonCode::Success,
            ReasonCode::GrantedQoS1,
        ];
        assert_eq!(world.suback(client), codes);
        assert_eq!(world.shards[0].sizes().subscriptions, 3);
    }
}

#[test]
fn mqtt5_3_3_4_2__overlapping_subscriptions_get_one_copy_with_the_highest_qos_and_all_identifiers()
{
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe_with(client, "a/+", options(1), Some(1));
    world.subscribe_with(client, "a/#", options(2), Some(2));
    world.subscribe_with(client, "a/b", options(0), Some(268_435_455));
    world.subscribe(client, "#", 0);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a/b", "x", 2);
    let mut got = world.messages(client);
    assert_eq!(got.len(), 1);
    got[0].subscription_ids.sort_unstable();
    assert_eq!(got[0].subscription_ids, [1, 2, 268_435_455]);
    assert_eq!(got[0].qos, 2);
}

#[test]
fn overlapping_subscriptions_of_3_1_1_get_one_copy() {
    let mut world = World::new(limits());
    let client = world.client(V311, "client");
    world.subscribe(client, "a/+", 0);
    world.subscribe(client, "a/#", 1);
    world.publish(client, "a/b", "x", 1);
    assert_eq!(world.messages(client).len(), 1);
}

#[test]
fn an_identifier_goes_with_a_message_that_was_queued() {
    let mut world = World::new(limits());
    let client = world.lasting(V5, "client");
    world.subscribe_with(client, "a/+", options(1), Some(7));
    world.subscribe_with(client, "a/#", options(1), Some(9));
    world.lose(client);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a/b", "x", 1);
    let client = world.lasting(V5, "client");
    let mut got = world.messages(client);
    got[0].subscription_ids.sort_unstable();
    assert_eq!(got[0].subscription_ids, [7, 9]);
}

/// Proves 5.0 [MQTT-3.8.4-3].
#[test]
fn mqtt5_3_8_4_3__an_identical_filter_replaces_the_subscription() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe_with(client, "t", options(2), Some(1));
    world.subscribe_with(client, "t", options(0), Some(2));
    assert_eq!(world.shards[0].sizes().subscriptions, 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "x", 2);
    let got = world.messages(client);
    assert_eq!((got[0].qos, &got[0].subscription_ids[..]), (0, &[2][..]));
}

/// Proves 5.0 [MQTT-4.7.2-1].
#[test]
fn mqtt5_4_7_2_1__leading_wildcards_do_not_match_system_topics() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "#", 0);
    world.subscribe(client, "+/x", 0);
    let writer = world.client(V5, "writer");
    world.publish(writer, "$own/x", "x", 0);
    assert_eq!(world.messages(client), []);
    world.subscribe(client, "$own/#", 0);
    world.publish(writer, "$own/x", "x", 0);
    assert_eq!(world.messages(client).len(), 1);
}

/// Proves 5.0 [MQTT-3.10.4-2].
#[test]
fn mqtt5_3_10_4_1__nothing_comes_after_an_unsubscribe() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "client");
        world.subscribe(client, "a/#", 1);
        world.subscribe(client, "a/b", 1);
        assert_eq!(
            world.unsubscribe(client, "a/#"),
            reasons(version, ReasonCode::Success)
        );
        let writer = world.client(version, "writer");
        world.publish(writer, "a/c", "not", 1);
        world.publish(writer, "a/b", "still", 1);
        assert_eq!(world.payloads(client), ["still"]);
    }
}

#[test]
fn mqtt5_3_11_3__an_unknown_filter_is_told_so() {
    for version in [V31, V311, V5] {
        let mut world = World::new(limits());
        let client = world.client(version, "client");
        world.subscribe(client, "a/#", 1);
        let told = world.unsubscribe(client, "a/+");
        assert_eq!(told, reasons(version, ReasonCode::NoSubscriptionExisted));
    }
}

/// An UNSUBACK before 5.0 has no reason codes.
fn reasons(version: Version, reason: ReasonCode) -> Vec<ReasonCode> {
    if version.is_v5() {
        vec![reason]
    } else {
        Vec::new()
    }
}

/// Proves 5.0 [MQTT-3.10.4-3].
#[test]
fn mqtt5_3_10_4_2__what_was_sent_before_an_unsubscribe_is_completed() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 2);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "x", 2);
    world.unsubscribe(client, "t");
    assert_eq!(world.read_all(client).len(), 1);
    let session = world.shards[0].session(client.at).unwrap();
    assert!(session.outbound.as_ref().unwrap().is_empty());
}

#[test]
fn a_refused_filter_does_not_keep_the_others_from_being_granted() {
    let policy = policy_denying(r#""subscribe""#, "secret/#");
    let mut world = World::with(1, limits(), policy);
    let client = world.client(V5, "client");
    let filters = [("secret/t", options(1)), ("t", options(1))];
    world.send_subscribe(client, &filters, None);
    let codes = [ReasonCode::NotAuthorized, ReasonCode::GrantedQoS1];
    assert_eq!(world.suback(client), codes);
}

#[test]
fn subscriptions_per_session_max_refuses_the_next_filter_but_not_a_known_one() {
    let mut world = World::new(moat_core::Limits {
        subscriptions_per_session_max: 2,
        ..limits()
    });
    let client = world.client(V5, "client");
    world.subscribe(client, "a", 0);
    world.subscribe(client, "b", 0);
    assert_eq!(world.subscribe(client, "c", 0), ReasonCode::QuotaExceeded);
    assert_eq!(world.subscribe(client, "b", 1), ReasonCode::GrantedQoS1);
    world.unsubscribe(client, "a");
    assert_eq!(world.subscribe(client, "c", 0), ReasonCode::Success);

    let old = world.client(V311, "old");
    world.subscribe(old, "a", 0);
    world.subscribe(old, "b", 0);
    assert_eq!(world.subscribe(old, "c", 0), ReasonCode::UnspecifiedError);
}

#[test]
fn mqtt5_3_8_4__subscriptions_outlive_the_connection() {
    let mut world = World::new(limits());
    let client = world.lasting(V5, "client");
    let keep = SubscriptionOptions {
        retain_as_published: true,
        ..options(1)
    };
    world.subscribe_with(client, "t", keep, Some(5));
    world.lose(client);
    let client = world.lasting(V5, "client");
    let writer = world.client(V5, "writer");
    world.retain(writer, "t", "x", 2);
    let got = world.messages(client);
    assert_eq!((got[0].qos, got[0].retain), (1, true));
    assert_eq!(got[0].subscription_ids, [5]);
}

/// Proves 5.0 [MQTT-4.1.0-2].
#[test]
fn subscriptions_go_with_their_session() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "a/#", 1);
    world.subscribe(client, "b", 1);
    world.lose(client);
    assert_eq!(world.shards[0].sizes(), Default::default());
}

#[test]
fn a_suback_comes_before_the_retained_messages() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.retain(client, "t", "x", 0);
    world.send_subscribe(client, &[("t", options(0))], None);
    let got = world.read(client);
    assert!(matches!(got[0], Got::SubAck(..)), "{got:?}");
    assert!(has(&got, PacketType::Publish));
}
