//! What survives of a session, and which sessions do not.

use moat_codec::{Disconnect, ReasonCode};

use super::*;

#[test]
fn mqtt5_4_1_0_1__a_session_with_its_subscriptions_and_queue_survives() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe_with(reader, "a/+", options(2), Some(7));
        world.lose(reader);
        let writer = world.client(V5, "writer");
        publish_numbers(&mut world, writer, "a/b", 30);
        world.crash(later, 5);
        let reader = resumed(&mut world, "reader");
        let messages = world.read_all(reader);
        assert_eq!(texts(&messages), numbers(0..30));
        assert!(messages.iter().all(|m| !m.dup && m.subscription_ids == [7]));
        // And it still subscribes.
        let writer = world.client(V5, "writer");
        world.publish(writer, "a/c", "live", 1);
        assert_eq!(world.read_texts(reader), ["live"]);
        world.disconnect(reader);
        world.pass_secs(2);
        assert_eq!(world.stored().records(), 0);
    });
}

#[test]
fn what_nobody_promised_to_keep_is_not_kept() {
    on_any_arrangement(|mut world, later| {
        let passing = world.client(V5, "passing");
        world.subscribe(passing, "a", 2);
        subscriber_away(&mut world, "reader", "a", 2);
        let writer = world.client(V5, "writer");
        for qos in 0..=2 {
            world.publish(writer, "a", &qos.to_string(), qos);
        }
        world.crash(later, 1);
        let (passing, granted) = world.connected(&lasting(V5, "passing"));
        assert!(!granted.session_present);
        assert!(world.read_all(passing).is_empty());
        assert_eq!(found_by(&mut world, "reader"), ["1", "2"]);
    });
}

#[test]
fn mqtt5_3_1_2_11_2__expiry_counts_while_the_broker_is_down() {
    let mut world = World::durable(2, no_rate());
    for (id, secs) in [("short", 10), ("long", 1000)] {
        let mut connect = lasting(V5, id);
        connect.properties.session_expiry_secs = Some(secs);
        let (client, _) = world.connected(&connect);
        world.subscribe(client, "a", 1);
        world.lose(client);
    }
    let writer = world.client(V5, "writer");
    world.publish_with(writer, "a", "short-lived", 1, |publish| {
        publish.message_expiry_secs = Some(5);
    });
    world.publish(writer, "a", "x", 1);
    world.crash(2, 30);
    let (_, granted) = world.connected(&lasting(V5, "short"));
    assert!(!granted.session_present);
    assert_eq!(found_by(&mut world, "long"), ["x"]);
}

#[test]
fn mqtt5_3_1_2_4__a_clean_start_leaves_nothing_behind() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "reader", "a", 1);
        let writer = world.client(V5, "writer");
        world.publish(writer, "a", "old", 1);
        world.client(V5, "reader");
        assert_eq!(world.stored().records(), 0);
        world.crash(later, 1);
        let (reader, granted) = world.connected(&lasting(V5, "reader"));
        assert!(!granted.session_present);
        assert_eq!(world.read(reader), []);
    });
}

#[test]
fn a_session_that_a_clean_start_replaced_does_not_come_back() {
    let mut world = World::durable(2, no_rate());
    subscriber_away(&mut world, "watcher", "wills/#", 1);
    let mut connect = lasting(V5, "mortal");
    connect.will = Some(will("wills/a", "gone"));
    let (mortal, _) = world.connected(&connect);
    world.subscribe(mortal, "a", 1);
    // Its will is on its way, and a new session is there already.
    world.automatic = false;
    let mut again = lasting(V5, "mortal");
    again.clean_start = true;
    world.connect(&again);
    world.automatic = true;
    world.crash(2, 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "no", 1);
    let mortal = world.lasting(V5, "mortal");
    assert_eq!(world.read_all(mortal).len(), 0);
    assert_eq!(found_by(&mut world, "watcher"), ["gone"]);
    assert_eq!(world.stored().sessions(), 2);
}

#[test]
fn a_disconnect_that_ends_the_session_ends_it_in_the_store() {
    let mut world = World::durable(1, no_rate());
    let reader = subscriber(&mut world, "reader", "a", 1);
    assert_eq!(world.stored().sessions(), 1);
    let mut goodbye = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    goodbye.session_expiry_secs = Some(0);
    world.disconnect_with(reader, goodbye);
    assert_eq!(world.stored().sessions(), 0);
}

#[test]
fn an_unsubscribed_filter_stays_unsubscribed() {
    let mut world = World::durable(2, no_rate());
    let reader = subscriber(&mut world, "reader", "a", 1);
    world.subscribe(reader, "b", 1);
    world.unsubscribe(reader, "a");
    world.crash(2, 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "no", 1);
    world.publish(writer, "b", "yes", 1);
    assert_eq!(found_by(&mut world, "reader"), ["yes"]);
}
