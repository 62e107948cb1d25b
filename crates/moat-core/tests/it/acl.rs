//! A mosquitto ACL: every subscription is granted, and each message is judged when it is delivered.

use moat_codec::ReasonCode;

use crate::harness::*;

/// Anna may send everything and receive `open/#`, but not `open/shut`.
const ACL: &str = "user anna\ntopic write #\ntopic read open/#\ntopic deny open/shut\n";
/// The same without the right to receive.
const WRITE_ONLY: &str = "user anna\ntopic write #\n";

fn topics(world: &mut World, client: Client) -> Vec<String> {
    world
        .messages(client)
        .into_iter()
        .map(|m| m.topic)
        .collect()
}

#[test]
fn a_subscription_is_granted_and_each_message_judged_on_every_shard() {
    let mut world = World::with(2, limits(), acl(ACL));
    let reader = world.client_id_at(0, "reader");
    let reader = world.client(V5, &reader);
    for filter in ["#", "shut/t", "open/shut"] {
        assert_eq!(world.subscribe(reader, filter, 1), ReasonCode::GrantedQoS1);
    }
    for shard in 0..2 {
        let writer = world.client_id_at(shard, "writer");
        let writer = world.client(V5, &writer);
        for topic in ["open/t", "shut/t", "open", "open/shut"] {
            world.publish(writer, topic, "x", 0);
        }
        assert_eq!(topics(&mut world, reader), ["open/t", "open"]);
    }
    assert_eq!(world.events("subscribe.denied"), []);
}

#[test]
fn retained_messages_are_judged_one_by_one() {
    for shards in [1, 2] {
        let mut world = World::with(shards, limits(), acl(ACL));
        let writer = world.client(V5, "writer");
        for topic in ["open/a", "shut/a", "shut/b", "open/shut"] {
            world.retain(writer, topic, "x", 0);
        }
        let reader = world.client(V5, "reader");
        world.subscribe(reader, "#", 0);
        assert_eq!(topics(&mut world, reader), ["open/a"]);
        world.subscribe(reader, "shut/a", 0);
        assert_eq!(topics(&mut world, reader), [""; 0]);
    }
}

#[test]
fn what_queues_for_an_absent_client_is_judged_too() {
    let mut world = World::with(1, limits(), acl(ACL));
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "#", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    for topic in ["shut/t", "open/t", "open/shut"] {
        world.publish(writer, topic, "x", 1);
    }
    let reader = world.lasting(V5, "reader");
    assert_eq!(topics(&mut world, reader), ["open/t"]);
}

#[test]
fn a_new_acl_judges_the_deliveries_of_the_subscriptions_that_are() {
    let mut world = World::with(1, limits(), acl(ACL));
    let online = world.client(V5, "online");
    let offline = world.lasting(V5, "offline");
    for client in [online, offline] {
        world.subscribe(client, "open/+", 1);
    }
    world.lose(offline);
    let writer = world.client(V5, "writer");
    world.publish(writer, "open/t", "x", 1);
    world.read_all(online);
    world.set_policy(&acl(WRITE_ONLY));
    world.publish(writer, "open/t", "x", 1);
    assert_eq!(topics(&mut world, online), [""; 0]);
    assert_eq!(world.dropped(), 1, "what was queued is taken away");
    world.set_policy(&acl(ACL));
    world.publish(writer, "open/t", "x", 1);
    assert_eq!(
        topics(&mut world, online),
        ["open/t"],
        "the subscription is still there"
    );
}

#[test]
fn subscriptions_change_the_way_they_are_judged_with_the_policy() {
    let open = policy(
        "[[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n",
    );
    let mut world = World::with(1, limits(), open.clone());
    let client = world.client(V5, "client");
    for filter in ["shut/t", "+/t", "#"] {
        world.subscribe(client, filter, 0);
    }
    // Granted as a whole, and from now on message by message.
    world.set_policy(&acl(ACL));
    world.publish(client, "shut/t", "x", 0);
    world.publish(client, "open/t", "x", 0);
    assert_eq!(topics(&mut world, client), ["open/t"]);
    world.set_policy(&open);
    world.publish(client, "shut/t", "x", 0);
    assert_eq!(topics(&mut world, client), ["shut/t"]);
    // Under an ACL that does not speak for the client at all nothing is left.
    world.set_policy(&acl("user bert\ntopic #\n"));
    assert_eq!(world.shards[0].sizes().subscriptions, 0);
    assert_eq!(world.events("subscription.removed").len(), 3);
}

#[test]
fn whom_the_file_does_not_name_is_refused() {
    let mut world = World::with(1, limits(), acl("user bert\ntopic #\n"));
    let client = world.client(V5, "client");
    assert_eq!(world.subscribe(client, "t", 0), ReasonCode::NotAuthorized);
    assert_eq!(world.events("subscribe.denied").len(), 1);
}
