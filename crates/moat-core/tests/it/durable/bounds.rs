//! What is too much for memory, for a queue or for one load, and what has waited too long.

use moat_core::durable::LOAD_BYTES_MAX;
use moat_core::limits::QueueFull;

use super::*;

#[test]
fn the_memory_of_the_log_is_bounded_and_the_rest_is_loaded() {
    let limits = Limits {
        log_memory_bytes_max: 2000,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    subscriber_away(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    for n in 0..500 {
        world.publish(writer, "a", &n.to_string(), 1);
    }
    let reader = resumed(&mut world, "reader");
    assert_eq!(world.read_texts(reader), numbers(0..500));
    world.lose(reader);
    assert_eq!(world.stored().records(), 0);
}

#[test]
fn queue_full_says_which_message_goes() {
    for (queue_full, first) in [(QueueFull::DropNewest, "0"), (QueueFull::DropOldest, "5")] {
        let limits = Limits {
            queued_messages_max: 10,
            queue_full,
            ..no_rate()
        };
        let mut world = World::durable(1, limits);
        subscriber_away(&mut world, "reader", "a", 1);
        let writer = world.client(V5, "writer");
        for n in 0..15 {
            let reason = world.publish(writer, "a", &n.to_string(), 1);
            assert!(!reason.is_error(), "one slow reader is no reason to fail");
        }
        world.pass_secs(2);
        world.crash(1, 1);
        let found = found_by(&mut world, "reader");
        assert_eq!((found.len(), &*found[0]), (10, first));
        assert_eq!(world.dropped(), 0, "counters begin anew");
    }
}

#[test]
fn queued_message_age_secs_max_bounds_how_long_a_message_waits() {
    let limits = Limits {
        queued_message_age_secs_max: 60,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    subscriber_away(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "old", 1);
    world.pass_secs(50);
    world.publish(writer, "a", "new", 1);
    world.pass_secs(20);
    let reader = resumed(&mut world, "reader");
    assert_eq!(world.read_texts(reader), ["new"]);
    world.lose(reader);
    assert_eq!(world.stored().records(), 0);
}

#[test]
fn load_bytes_max_bounds_what_is_read_at_once() {
    let limits = Limits {
        log_memory_bytes_max: 0,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    subscriber_away(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    let payload = "x".repeat(400_000);
    for _ in 0..10 {
        world.publish(writer, "a", &payload, 1);
    }
    world.commits = false;
    world.loads = false;
    let reader = world.connect(&lasting(V5, "reader"));
    world.commits = true;
    world.settle_store();
    assert_eq!(world.fx[0].loads.len(), 1);
    assert_eq!(
        world.fx[0].loads[0].positions.len(),
        LOAD_BYTES_MAX / 400_000
    );
    world.loads = true;
    world.settle_store();
    world.connack(reader);
    assert_eq!(world.read_all(reader).len(), 10);
}
