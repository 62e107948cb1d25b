//! Queues of sessions that are away or slow. Other limits are tested where they belong.

use moat_core::session::outbound::QUEUED_OVERHEAD_BYTES;
use moat_core::shard::{SHARDS_MAX, Topology};
use moat_core::{Limits, Shard, ShardId};
use moat_events::Event;

use crate::harness::*;

fn away(limits: Limits) -> (World, Client) {
    let mut world = World::new(limits);
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 2);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    (world, writer)
}

#[test]
fn queued_messages_max_drops_counts_and_tells() {
    let (mut world, writer) = away(Limits {
        queued_messages_max: 3,
        ..limits()
    });
    for n in 0..5 {
        world.publish(writer, "t", &n.to_string(), 1);
    }
    assert_eq!(world.dropped(), 2);
    let events = world.events("messages.dropped");
    let [Event::MessagesDropped { client_id, .. }, _] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(client_id, "reader");
    let reader = world.lasting(V5, "reader");
    assert_eq!(world.payloads(reader), ["0", "1", "2"]);
}

#[test]
fn queued_bytes_max_counts_topic_payload_and_bookkeeping() {
    let (mut world, writer) = away(Limits {
        queued_bytes_max: 2 * (1 + 10 + QUEUED_OVERHEAD_BYTES),
        ..limits()
    });
    world.publish(writer, "t", "0123456789", 1);
    world.publish(writer, "t", "0123456789", 2);
    assert_eq!(world.dropped(), 0);
    world.publish(writer, "t", "", 1);
    assert_eq!(world.dropped(), 1);
    // What was delivered makes room again.
    let reader = world.lasting(V5, "reader");
    assert_eq!(world.read_all(reader).len(), 2);
    world.lose(reader);
    world.publish(writer, "t", "0123456789", 1);
    world.publish(writer, "t", "0123456789", 1);
    assert_eq!(world.dropped(), 1);
}

#[test]
fn one_slow_reader_costs_the_others_nothing() {
    let mut world = World::new(Limits {
        queued_messages_max: 1,
        out_buffer_bytes_max: 100,
        ..limits()
    });
    let slow = world.client(V5, "slow");
    let quick = world.client(V5, "quick");
    for reader in [slow, quick] {
        world.subscribe(reader, "t", 1);
    }
    let writer = world.client(V5, "writer");
    for n in 0..50 {
        world.publish(writer, "t", &format!("{n:050}"), 1);
        assert_eq!(world.read_all(quick).len(), 1);
    }
    assert!(world.dropped() > 0);
    assert!(!world.is_closed(slow));
}

#[test]
fn qos_0_messages_behind_retained_ones_are_held_to_the_queue() {
    let mut world = World::new(Limits {
        queued_messages_max: 4,
        ..limits()
    });
    let writer = world.client(V5, "writer");
    for n in 0..30 {
        world.retain(writer, &format!("r/{n}"), "x", 1);
    }
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    world.send_subscribe(reader, &[("r/+", options(1))], None);
    for n in 0..6 {
        world.publish(writer, "t", &n.to_string(), 0);
    }
    assert_eq!(world.dropped(), 2);
}

#[test]
fn there_are_at_most_shards_max_shards_and_at_least_one() {
    assert_eq!(Topology::new(0).len(), 1);
    assert_eq!(Topology::new(SHARDS_MAX).len(), SHARDS_MAX);
    assert_eq!(Topology::new(SHARDS_MAX + 1).len(), SHARDS_MAX);
    let topology = Topology::new(SHARDS_MAX);
    let mut used = std::collections::HashSet::new();
    for n in 0..10_000 {
        used.insert(topology.owner(&n.to_string()));
        assert!(topology.home("a", &n.to_string()).index() < SHARDS_MAX);
    }
    assert_eq!(used.len(), SHARDS_MAX);
}

#[test]
fn a_shard_knows_its_name_and_its_limits() {
    let world = World::with(
        2,
        limits(),
        std::sync::Arc::new(moat_policy::Snapshot::built_in()),
    );
    let ids: Vec<ShardId> = world.shards.iter().map(Shard::id).collect();
    assert_eq!(ids, [ShardId::new(0), ShardId::new(1)]);
    assert_eq!(world.shards[1].limits().queued_messages_max, 1000);
}

#[test]
fn an_idle_connection_holds_no_buffer() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    world.subscribe(client, "t", 1);
    world.publish(client, "t", "x", 1);
    world.read_all(client);
    let link = world.shards[0].link(client.at).unwrap();
    assert_eq!(link.out.capacity(), 0);
    assert!(!world.shards[0].pool().is_empty());
}

#[test]
fn qos_0_messages_that_waited_go_with_the_connection() {
    let mut world = World::new(limits());
    let writer = world.client(V5, "writer");
    for n in 0..30 {
        world.retain(writer, &format!("r/{n}"), "retained", 1);
    }
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.send_subscribe(reader, &[("r/+", options(1))], None);
    world.publish(writer, "t", "qos 0", 0);
    world.publish(writer, "t", "qos 1", 1);
    world.lose(reader);
    let reader = world.lasting(V5, "reader");
    let mut texts: Vec<String> = Vec::new();
    for message in world.read_all(reader) {
        texts.push(message.text().to_owned());
    }
    texts.retain(|text| text != "retained");
    assert_eq!(texts, ["qos 1"]);
}
