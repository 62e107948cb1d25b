//! Nothing is acknowledged before it is durable, and what was acknowledged once is not taken again.

use moat_codec::{Packet, Publish, ReasonCode};
use moat_core::durable::StoreState;
use moat_core::shard::Then;

use super::*;

/// Sends a message at QoS 1 and one at QoS 2, under the identifiers 1 and 2.
fn send_of_both_kinds(world: &mut World, writer: Client) {
    for qos in 1..=2 {
        let publish = message("a", "x", qos, u16::from(qos));
        world.sent(writer, &Packet::Publish(publish));
    }
}

/// Whether these acknowledge what [`send_of_both_kinds`] sent, and nothing else.
fn acknowledge_both(answers: &[Got]) -> bool {
    matches!(answers, [Got::PubAck(1, _), Got::PubRec(2, _)])
}

/// Sends a PUBLISH once more, as a client does that has not heard of it.
fn send_again(world: &mut World, writer: Client, publish: Publish<'_>) {
    let again = Publish {
        dup: true,
        ..publish
    };
    world.sent(writer, &Packet::Publish(again));
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    for shards in 1..=3 {
        let mut world = World::durable(shards, no_rate());
        let reader = subscriber(&mut world, "reader", "a", 2);
        let writer = world.client(V5, "writer");
        world.commits = false;
        send_of_both_kinds(&mut world, writer);
        let keeper = world.client(V5, "keeper");
        world.sent(keeper, &Packet::Publish(retained("kept", "x", 1, 3)));
        assert_eq!(world.read(writer), []);
        assert_eq!(world.read(keeper), []);
        assert_eq!(world.read(reader), []);
        let late = world.connect(&lasting(V5, "late"));
        assert_eq!(world.read(late), []);
        // What nobody durable takes need not wait.
        let publish = message("nobody", "x", 0, 4);
        world.sent(writer, &Packet::Publish(publish));
        world.commits = true;
        world.settle_store();
        assert!(acknowledge_both(&world.read(writer)));
        assert!(matches!(world.read(keeper)[..], [Got::PubAck(3, _)]));
        assert_eq!(world.read_all(reader).len(), 2);
        assert!(matches!(world.read(late)[..], [Got::ConnAck(_)]));
    }
}

#[test]
fn what_nobody_durable_takes_is_acknowledged_at_once() {
    for shards in 1..=3 {
        let mut world = World::durable(shards, no_rate());
        let reader = world.client(V5, "reader");
        world.subscribe(reader, "a", 2);
        let writer = world.client(V5, "writer");
        world.commits = false;
        send_of_both_kinds(&mut world, writer);
        assert!(acknowledge_both(&world.read(writer)));
        assert_eq!(world.messages(reader).len(), 2);
    }
}

#[test]
fn what_was_not_acknowledged_may_be_lost_and_is_taken_again() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "reader", "a", 2);
        let writer = world.lasting(V5, "writer");
        world.commits = false;
        let publish = message("a", "x", 2, 9);
        world.sent(writer, &Packet::Publish(publish.clone()));
        world.crash(later, 1);
        world.commits = true;
        let writer = resumed(&mut world, "writer");
        send_again(&mut world, writer, publish);
        assert_eq!(
            world.read(writer),
            [Got::PubRec(9, ReasonCode::Success)],
            "it was never taken"
        );
        assert_eq!(found_by(&mut world, "reader"), ["x"]);
    });
}

#[test]
fn mqtt5_4_3_3_10__a_qos_2_message_that_was_taken_is_not_delivered_again() {
    on_any_arrangement(|mut world, later| {
        subscriber_away(&mut world, "reader", "#", 2);
        for publish in [message("a", "x", 2, 9), retained("a", "x", 2, 9)] {
            let writer = world.lasting(V5, "writer");
            world.sent(writer, &Packet::Publish(publish.clone()));
            assert_eq!(world.read(writer).len(), 1);
            world.crash(later, 1);
            let writer = resumed(&mut world, "writer");
            send_again(&mut world, writer, publish);
            world.read(writer);
            world.pubrel(writer, 9);
            assert_eq!(world.read(writer), [Got::PubComp(9, ReasonCode::Success)]);
            world.crash(later, 1);
            let writer = resumed(&mut world, "writer");
            world.pubrel(writer, 9);
            assert_eq!(
                world.read(writer),
                [Got::PubComp(9, ReasonCode::PacketIdentifierNotFound)]
            );
        }
        assert_eq!(found_by(&mut world, "reader"), ["x", "x"]);
    });
}

#[test]
fn a_client_that_waits_for_the_store_is_not_silent() {
    let mut world = World::durable(1, no_rate());
    let reader = subscriber(&mut world, "reader", "#", 1);
    let mut connect = lasting(V311, "writer");
    connect.keep_alive_secs = 10;
    connect.will = Some(will("w", "gone"));
    let (writer, _) = world.connected(&connect);
    world.shards[0].set_store_state(StoreState::Behind);
    let publish = message("a", "x", 1, 1);
    let then = world.send(writer, &Packet::Publish(publish));
    assert!(matches!(then, Then::Pause(_)));
    world.pass_secs(60);
    assert!(!world.is_closed(writer));
    world.shards[0].set_store_state(StoreState::Ready);
    world.resume(writer);
    assert_eq!(world.read_texts(reader), ["x"]);
    // Its silence from now on is its own.
    world.pass_secs(60);
    assert!(world.is_closed(writer));
    assert_eq!(world.read_texts(reader), ["gone"]);
}
