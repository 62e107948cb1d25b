//! More than one shard: who hears what, and in which order.

use std::sync::Arc;

use moat_codec::{Packet, ReasonCode, SubscriptionOptions};
use moat_core::Limits;
use moat_core::shard::{Pause, Then, VIA_OWNER_MAX, WAITING_SUBSCRIBES_MAX};
use moat_policy::Snapshot;

use crate::harness::*;

fn shards(count: usize) -> World {
    World::with(count, limits(), Arc::new(Snapshot::allow_all()))
}

/// Shards of a broker whose acknowledgements wait for nothing.
fn shards_in_memory(count: usize) -> World {
    World::in_memory(count, limits(), Arc::new(Snapshot::allow_all()))
}

fn client_at(world: &mut World, shard: usize, prefix: &str) -> Client {
    let id = world.client_id_at(shard, prefix);
    let client = world.lasting(V5, &id);
    assert_eq!(client.shard, shard);
    client
}

#[test]
fn a_message_crosses_from_shard_to_shard() {
    for qos in [0, 1, 2] {
        let mut world = shards(3);
        let writer = client_at(&mut world, 0, "writer");
        let readers: Vec<Client> = (0..3)
            .map(|shard| {
                let reader = client_at(&mut world, shard, "reader");
                world.subscribe(reader, "a/#", 2);
                reader
            })
            .collect();
        let told = world.publish(writer, "a/b", "x", qos);
        assert_eq!(told, ReasonCode::Success, "somebody wants it");
        for reader in readers {
            assert_eq!(world.read_all(reader).len(), 1);
        }
    }
}

#[test]
fn a_message_goes_only_where_somebody_wants_it() {
    let mut world = shards_in_memory(3);
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 1, "reader");
    world.subscribe(reader, "a/+", 1);
    world.automatic = false;
    world.publish(writer, "a/b", "x", 1);
    world.publish(writer, "b", "x", 1);
    assert_eq!(world.fx[0].peers[1].messages.len(), 1);
    assert_eq!(world.fx[0].peers[2].messages.len(), 0);
    world.settle();
    assert_eq!(world.payloads(reader), ["x"]);
}

#[test]
fn a_shard_is_told_once_however_many_of_its_clients_subscribe() {
    let mut world = shards(2);
    let one = client_at(&mut world, 0, "one");
    let two = client_at(&mut world, 0, "two");
    // Its retained message would be here, so nobody else is asked for it.
    let topic = world.topic_of(0, "t");
    world.subscribe(one, &topic, 1);
    world.automatic = false;
    world.subscribe(two, &topic, 1);
    world.subscribe(one, &topic, 0);
    world.unsubscribe(one, &topic);
    assert_eq!(world.fx[0].peers[1].messages.len(), 0);
    world.unsubscribe(two, &topic);
    assert_eq!(world.fx[0].peers[1].messages.len(), 1);
    world.settle();
    let writer = client_at(&mut world, 1, "writer");
    world.publish(writer, &topic, "x", 0);
    assert_eq!(world.fx[1].peers[0].messages.len(), 0);
}

#[test]
fn a_suback_waits_until_every_other_shard_has_confirmed() {
    let mut world = shards(3);
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = false;
    let filters = [("a", options(1)), ("b", options(0))];
    world.send_subscribe(reader, &filters, None);
    assert_eq!(world.read(reader), []);
    for peer in [1, 2] {
        world.carry(0, peer);
        world.run_inbox(peer);
        assert_eq!(world.read(reader), [], "shard {peer} has yet to confirm");
        world.carry(peer, 0);
        world.run_inbox(0);
    }
    let codes = [ReasonCode::GrantedQoS1, ReasonCode::Success];
    assert_eq!(world.suback(reader), codes);
}

#[test]
fn a_second_subscriber_waits_for_the_confirmations_of_the_first() {
    let mut world = shards(2);
    let one = client_at(&mut world, 0, "one");
    let two = client_at(&mut world, 0, "two");
    world.automatic = false;
    world.send_subscribe(one, &[("a", options(1))], None);
    world.send_subscribe(two, &[("a", options(1))], None);
    assert_eq!(world.read(two), []);
    world.settle();
    assert_eq!(world.read(one).len(), 1);
    assert_eq!(world.read(two).len(), 1);
    world.send_subscribe(two, &[("a", options(1))], None);
    assert_eq!(world.read(two).len(), 1, "nobody needs to be told");
}

#[test]
fn a_suback_is_not_sent_to_a_later_connection() {
    let mut world = shards(2);
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = false;
    world.send_subscribe(reader, &[("a", options(1))], None);
    world.lose(reader);
    let reader = client_at(&mut world, 0, "reader");
    world.settle();
    assert_eq!(world.read(reader), []);
    let link = world.shards[0].link(reader.at).unwrap();
    assert_eq!(link.waiting_subscribes, 0);
}

#[test]
fn a_subscription_that_ended_before_its_confirmation_leaves_nothing_behind() {
    let mut world = shards(2);
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = false;
    world.send_subscribe(reader, &[("a", options(1))], None);
    world.unsubscribe(reader, "a");
    world.settle();
    assert_eq!(world.suback(reader), [ReasonCode::GrantedQoS1]);
    let writer = client_at(&mut world, 1, "writer");
    world.publish(writer, "a", "x", 0);
    assert_eq!(world.fx[1].peers[0].messages.len(), 0);
}

#[test]
fn waiting_subscribes_max_pauses_the_next_one() {
    let mut world = shards(2);
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = false;
    for n in 0..WAITING_SUBSCRIBES_MAX {
        world.send_subscribe(reader, &[(&format!("t/{n}"), options(0))], None);
    }
    let bytes = b"\x82\x07\x7f\xff\0\0\x01x\0";
    assert_eq!(world.send_raw(reader, bytes), Then::Pause(Pause::Peers));
    world.settle();
    assert!(matches!(world.resume(reader), Then::NeedMore(_)));
    world.settle();
    let expected = usize::from(WAITING_SUBSCRIBES_MAX) + 1;
    assert_eq!(world.read(reader).len(), expected);
}

/// Proves 5.0 [MQTT-3.8.3-3].
#[test]
fn mqtt5_3_8_3_3__no_local_holds_when_the_message_came_by_way_of_another_shard() {
    let mut world = shards(2);
    let client = client_at(&mut world, 0, "client");
    let topic = world.topic_of(1, "t");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..options(1)
    };
    world.subscribe_with(client, &topic, no_local, None);
    world.retain(client, &topic, "own", 1);
    assert_eq!(world.messages(client), []);
    let other = client_at(&mut world, 0, "other");
    world.retain(other, &topic, "foreign", 1);
    assert_eq!(world.payloads(client), ["foreign"]);
}

#[test]
fn no_local_does_not_hit_a_session_that_took_the_place_of_the_publishers() {
    let mut world = shards(2);
    let writer_id = world.client_id_at(0, "writer");
    let writer = world.client(V5, &writer_id);
    let topic = world.topic_of(1, "t");
    world.automatic = false;
    world.retain(writer, &topic, "x", 0);
    world.lose(writer);
    let reader = client_at(&mut world, 0, "reader");
    assert_eq!(reader.at, writer.at, "the place is used again");
    let no_local = SubscriptionOptions {
        no_local: true,
        ..handling(1, moat_codec::RetainHandling::DoNotSend)
    };
    world.send_subscribe(reader, &[(&topic, no_local)], None);
    world.settle();
    let got = world.read(reader);
    assert_eq!(
        got.iter().filter(|g| matches!(g, Got::Publish(_))).count(),
        1,
        "{got:?}"
    );
}

#[test]
fn a_retained_message_is_kept_by_the_shard_that_owns_its_topic() {
    for owner in 0..3 {
        for home in 0..3 {
            let mut world = shards(3);
            let topic = world.topic_of(owner, "t");
            let writer = client_at(&mut world, 0, "writer");
            world.retain(writer, &topic, "x", 1);
            assert_eq!(world.shards[owner].sizes().retained_messages, 1);
            let reader = client_at(&mut world, home, "reader");
            world.subscribe_with(reader, &topic, options(1), Some(9));
            let got = world.messages(reader);
            assert_eq!(got.len(), 1);
            assert!(got[0].retain);
            assert_eq!((got[0].qos, &got[0].subscription_ids[..]), (1, &[9][..]));
            world.subscribe(reader, "#", 0);
            assert_eq!(world.messages(reader).len(), 1);
        }
    }
}

#[test]
fn retained_messages_of_every_shard_are_found_by_a_wildcard() {
    let mut world = shards(3);
    let writer = client_at(&mut world, 0, "writer");
    for n in 0..30 {
        world.retain(writer, &format!("a/{n}"), "x", 0);
    }
    let reader = client_at(&mut world, 1, "reader");
    world.subscribe(reader, "a/+", 0);
    assert_eq!(world.messages(reader).len(), 30);
}

#[test]
fn a_late_answer_of_an_owner_finds_no_subscription_and_is_dropped() {
    let mut world = shards(2);
    let topic = world.topic_of(1, "t");
    let writer = client_at(&mut world, 0, "writer");
    world.retain(writer, &topic, "x", 0);
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = false;
    world.send_subscribe(reader, &[(&topic, options(0))], None);
    // Confirmed, and the retained messages are asked for.
    for (from, to) in [(0, 1), (1, 0)] {
        world.hand_over(from);
        world.run_inbox(to);
    }
    world.unsubscribe(reader, &topic);
    world.settle();
    assert!(!has(&world.read(reader), moat_codec::PacketType::Publish));
}

#[test]
fn the_newest_value_is_the_last_a_subscriber_sees() {
    // Old value retained; a new one is published while somebody subscribes: in any order of the
    // two, the new one comes last.
    for publish_first in [true, false] {
        for writer_at in 0..3 {
            let mut world = shards(3);
            let topic = world.topic_of(1, "t");
            let writer = client_at(&mut world, writer_at, "writer");
            world.retain(writer, &topic, "old", 0);
            let reader = client_at(&mut world, 0, "reader");
            world.automatic = false;
            if publish_first {
                world.retain(writer, &topic, "new", 0);
            }
            world.send_subscribe(reader, &[(&topic, options(0))], None);
            if !publish_first {
                world.retain(writer, &topic, "new", 0);
            }
            world.settle();
            let mut texts = Vec::new();
            for got in world.read(reader) {
                if let Got::Publish(publish) = got {
                    texts.push(publish.text().to_owned());
                }
            }
            assert_eq!(texts.last().map(|t| &**t), Some("new"), "{texts:?}");
        }
    }
}

#[test]
fn messages_with_and_without_retain_of_one_publisher_keep_their_order() {
    let mut world = shards(3);
    let topic = world.topic_of(1, "t");
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 2, "reader");
    world.subscribe(reader, &topic, 1);
    world.automatic = false;
    for n in 0..10 {
        let text = n.to_string();
        let mut publish = message(&topic, &text, 1, 1 + n);
        publish.retain = n % 3 == 0;
        world.sent(writer, &Packet::Publish(publish));
        if n == 5 {
            world.settle();
        }
    }
    // The direct way is open already; the way by the owner takes another step.
    world.settle();
    let texts = world.read_texts(reader);
    let expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(texts, expected);
}

#[test]
fn after_the_owners_confirmation_messages_go_directly_again() {
    let mut world = shards_in_memory(3);
    let topic = world.topic_of(1, "t");
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 2, "reader");
    world.subscribe(reader, &topic, 1);
    world.retain(writer, &topic, "1", 1);
    world.automatic = false;
    world.publish(writer, &topic, "2", 1);
    assert_eq!(world.fx[0].peers[2].messages.len(), 1);
    assert_eq!(world.fx[0].waiting_for(moat_core::ShardId::new(1)), 0);
}

/// Shard 2 hears what shard 0 has for it before anything comes by way of the owner, which is shard 1.
fn take_the_quicker_way(world: &mut World) {
    world.hand_over(0);
    while world.run_inbox(2) {}
    world.settle();
}

#[test]
fn the_order_of_a_publisher_outlives_its_connection() {
    let mut world = shards(3);
    let topic = world.topic_of(1, "t");
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 2, "reader");
    world.subscribe(reader, &topic, 1);
    world.automatic = false;
    world.sent(writer, &Packet::Publish(retained(&topic, "1", 1, 1)));
    world.lose(writer);
    let writer = client_at(&mut world, 0, "writer");
    world.sent(writer, &Packet::Publish(message(&topic, "2", 1, 2)));
    take_the_quicker_way(&mut world);
    assert_eq!(world.read_texts(reader), ["1", "2"]);
}

#[test]
fn mqtt5_4_6_0_6__the_order_of_a_publisher_outlives_its_session() {
    let mut world = shards(3);
    let topic = world.topic_of(1, "t");
    let id = world.client_id_at(0, "writer");
    let reader = client_at(&mut world, 2, "reader");
    world.subscribe(reader, &topic, 1);
    let old = world.client(V5, &id);
    world.automatic = false;
    world.sent(old, &Packet::Publish(retained(&topic, "1", 1, 1)));
    world.disconnect(old);
    // Another session takes the place of the old one, and is not the one that is waited for.
    let _other = client_at(&mut world, 0, "other");
    let new = world.client(V5, &id);
    let then = world.send(new, &Packet::Publish(message(&topic, "2", 1, 1)));
    assert_eq!(then, Then::Pause(Pause::Peers));
    take_the_quicker_way(&mut world);
    world.resume(new);
    world.settle();
    assert_eq!(world.read_texts(reader), ["1", "2"]);
}

#[test]
fn a_message_by_way_of_the_owner_does_not_overtake_an_earlier_direct_one() {
    let mut world = shards_in_memory(3);
    let topic = world.topic_of(1, "t");
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 2, "reader");
    world.subscribe(reader, &topic, 1);
    world.automatic = false;
    world.sent(writer, &Packet::Publish(message(&topic, "1", 1, 1)));
    world.sent(writer, &Packet::Publish(retained(&topic, "2", 1, 2)));
    // The owner has its batch and handles it before the reader's shard is handed its own.
    world.carry(0, 1);
    world.run_inbox(1);
    world.hand_over(1);
    while world.run_inbox(2) {}
    world.settle();
    assert_eq!(world.read_texts(reader), ["1", "2"]);
}

fn small_outbox(count: usize) -> World {
    let limits = Limits {
        peer_outbox_messages_max: 3,
        ..limits()
    };
    World::in_memory(count, limits, Arc::new(Snapshot::allow_all()))
}

#[test]
fn peer_outbox_messages_max_pauses_the_publisher_and_nothing_is_lost() {
    let mut world = small_outbox(2);
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 1, "reader");
    world.subscribe(reader, "t", 1);
    world.automatic = false;
    let mut bytes = Vec::new();
    for n in 1..=5 {
        let text = n.to_string();
        bytes.extend(encode(&Packet::Publish(message("t", &text, 1, n)), V5));
    }
    assert_eq!(world.send_raw(writer, &bytes), Then::Pause(Pause::Peers));
    assert_eq!(world.read(writer).len(), 3, "acknowledged so far");
    assert_eq!(world.resume(writer), Then::Pause(Pause::Peers));
    // Others are not held up.
    let other = client_at(&mut world, 0, "other");
    world.publish(other, "nobody/wants/it", "x", 1);
    world.settle();
    assert!(matches!(world.resume(writer), Then::NeedMore(_)));
    world.settle();
    assert_eq!(world.read(writer).len(), 2);
    assert_eq!(world.read_texts(reader), ["1", "2", "3", "4", "5"]);
}

#[test]
fn a_full_outbox_to_the_owner_pauses_too() {
    let mut world = small_outbox(2);
    let writer = client_at(&mut world, 0, "writer");
    let topic = world.topic_of(1, "t");
    world.automatic = false;
    let mut bytes = Vec::new();
    for n in 1..=5 {
        let text = n.to_string();
        let publish = retained(&topic, &text, 1, n);
        bytes.extend(encode(&Packet::Publish(publish), V5));
    }
    assert_eq!(world.send_raw(writer, &bytes), Then::Pause(Pause::Peers));
    world.settle();
    assert!(matches!(world.resume(writer), Then::NeedMore(_)));
    world.settle();
    let reader = client_at(&mut world, 0, "reader");
    world.automatic = true;
    world.subscribe(reader, &topic, 0);
    assert_eq!(world.payloads(reader), ["5"]);
}

#[test]
fn a_pause_gives_the_token_of_the_rate_back() {
    let mut world = World::with(
        2,
        Limits {
            peer_outbox_messages_max: 1,
            publishes_per_sec_max: 1,
            publish_burst_max: 2,
            ..limits()
        },
        Arc::new(Snapshot::allow_all()),
    );
    let writer = client_at(&mut world, 0, "writer");
    let reader = client_at(&mut world, 1, "reader");
    world.subscribe(reader, "t", 0);
    world.automatic = false;
    let bytes = encode(&Packet::Publish(message("t", "x", 0, 0)), V5).repeat(2);
    for _ in 0..10 {
        let then = world.send_raw(writer, if world_is_fresh(&world) { &bytes } else { &[] });
        assert_eq!(then, Then::Pause(Pause::Peers));
    }
    world.settle();
    assert!(matches!(world.resume(writer), Then::NeedMore(_)));
}

fn world_is_fresh(world: &World) -> bool {
    world.fx[0].peers[1].messages.is_empty()
}

#[test]
fn a_will_is_not_lost_to_a_full_outbox() {
    let mut world = small_outbox(2);
    let reader = client_at(&mut world, 1, "reader");
    world.subscribe(reader, "#", 1);
    let id = world.client_id_at(0, "client");
    let mut connect = lasting(V5, &id);
    connect.will = Some(will("w", "gone"));
    let (client, _) = world.connected(&connect);
    world.automatic = false;
    for n in 1..=3 {
        world.sent(client, &Packet::Publish(message("t", "x", 1, n)));
    }
    world.lose(client);
    world.settle();
    let got = world.read_all(reader);
    assert_eq!(got.len(), 4);
    assert_eq!(got[3].text(), "gone");
}

#[test]
fn a_policy_swap_takes_back_the_interest() {
    let mut world = shards(2);
    let reader = client_at(&mut world, 0, "reader");
    world.subscribe(reader, "secret/t", 1);
    world.set_policy(&policy_denying(r#""subscribe""#, "secret/#"));
    let writer = client_at(&mut world, 1, "writer");
    let told = world.publish(writer, "secret/t", "x", 1);
    assert_eq!(told, ReasonCode::NoMatchingSubscribers);
    assert_eq!(world.messages(reader), []);
}

#[test]
fn via_owner_max_pauses_a_publisher_whose_messages_the_owner_has_not_confirmed() {
    let no_rate = Limits {
        publishes_per_sec_max: 0,
        ..limits()
    };
    let mut world = World::with(2, no_rate, Arc::new(Snapshot::allow_all()));
    let writer = client_at(&mut world, 0, "writer");
    let topic = world.topic_of(1, "t");
    world.automatic = false;
    let bytes = encode(&Packet::Publish(retained(&topic, "x", 0, 0)), V5);
    for _ in 0..VIA_OWNER_MAX {
        assert!(matches!(world.send_raw(writer, &bytes), Then::NeedMore(_)));
    }
    assert_eq!(world.send_raw(writer, &bytes), Then::Pause(Pause::Peers));
    world.settle();
    assert!(matches!(world.resume(writer), Then::NeedMore(_)));
}
