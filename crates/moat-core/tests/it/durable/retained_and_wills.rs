//! Retained messages and wills: what is kept although it waits for nobody.

use super::*;

/// A CONNECT with a will that is published so long after the client is gone.
fn mortal(delay_secs: u32) -> Connect<'static> {
    let mut connect = lasting(V5, "mortal");
    let mut delayed = will("wills/a", "gone");
    delayed.delay_secs = delay_secs;
    connect.will = Some(delayed);
    connect
}

#[test]
fn retained_messages_survive_and_so_does_their_removal() {
    on_any_arrangement(|mut world, later| {
        let writer = world.client(V5, "writer");
        for n in 0..20 {
            world.retain(writer, &format!("kept/{n}"), &n.to_string(), n % 3);
        }
        for n in 0..10 {
            world.retain(writer, &format!("kept/{n}"), "", 1);
        }
        world.crash(later, 1);
        let reader = world.client(V5, "reader");
        world.subscribe(reader, "kept/+", 1);
        let mut found = world.read_texts(reader);
        found.sort();
        assert_eq!(found, numbers(10..20));
    });
}

#[test]
fn a_will_that_came_due_while_the_broker_was_down_is_published_once() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "watcher", "wills/#", 1);
        world.connected(&mortal(10));
        let mut polite = lasting(V5, "polite");
        polite.will = Some(will("wills/b", "never"));
        let (polite, _) = world.connected(&polite);
        world.disconnect(polite);
        world.crash(later, 5);
        world.crash(later, 30);
        world.crash(later, 30);
        assert_eq!(found_by(&mut world, "watcher"), ["gone"]);
    });
}

#[test]
fn a_will_is_cancelled_by_a_client_that_is_back_in_time() {
    let mut world = World::durable(1, no_rate());
    subscriber(&mut world, "watcher", "wills/#", 1);
    world.connected(&mortal(60));
    world.crash(1, 5);
    let back = resumed(&mut world, "mortal");
    world.disconnect(back);
    world.crash(1, 100);
    let watcher = resumed(&mut world, "watcher");
    assert_eq!(world.read(watcher), []);
}
