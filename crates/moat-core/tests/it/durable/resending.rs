//! What was sent before a crash comes again under its identifier, and with DUP where it may have arrived.

use moat_codec::ReasonCode;

use super::*;

fn ids(messages: &[Pub]) -> Vec<u16> {
    messages.iter().map(|message| message.id).collect()
}

#[test]
fn mqtt5_4_4_0_1__what_was_sent_comes_again_with_dup_under_its_identifier() {
    on_any_arrangement(|mut world, later| {
        let reader = subscriber(&mut world, "reader", "a", 2);
        let writer = world.client(V5, "writer");
        publish_numbers(&mut world, writer, "a", 6);
        let sent = world.messages(reader);
        // The first is done, the second was received, and the fourth is complete.
        world.puback(reader, sent[0].id);
        world.pubrec(reader, sent[1].id);
        world.pubrec(reader, sent[3].id);
        world.read(reader);
        world.pubcomp(reader, sent[3].id);
        world.pass_secs(2);
        world.crash(later, 1);
        let reader = resumed(&mut world, "reader");
        let again = world.read(reader);
        let expected: Vec<Got> = [1, 2, 4, 5]
            .map(|n| match n {
                1 => Got::PubRel(sent[1].id, ReasonCode::Success),
                n => Got::Publish(Pub {
                    dup: true,
                    ..sent[n].clone()
                }),
            })
            .to_vec();
        assert_eq!(again, expected);
        for n in [2, 4, 5] {
            match sent[n].qos {
                1 => world.puback(reader, sent[n].id),
                _ => world.pubrec(reader, sent[n].id),
            }
        }
        world.pubcomp(reader, sent[1].id);
        for got in world.read(reader) {
            if let Got::PubRel(id, _) = got {
                world.pubcomp(reader, id);
            }
        }
        world.lose(reader);
        assert_eq!(world.stored().records(), 0);
        // The next identifier is one that is free.
        let writer = world.client(V5, "writer");
        world.publish(writer, "a", "next", 1);
        let reader = resumed(&mut world, "reader");
        let next = world.read_all(reader);
        assert_eq!(next.len(), 1);
        assert!(!next[0].dup && !ids(&sent).contains(&next[0].id));
    });
}

#[test]
fn retained_messages_sent_before_live_ones_keep_their_identifiers() {
    on_any_arrangement(|mut world, later| {
        let writer = world.client(V5, "writer");
        for n in 0..50 {
            world.retain(writer, &format!("kept/{n:02}"), "old", 1);
        }
        let reader = subscriber(&mut world, "reader", "#", 1);
        let first = ids(&world.messages(reader));
        assert_eq!(first.len(), 20, "a window of retained messages");
        world.publish(writer, "live", "new", 1);
        let (acknowledged, unacknowledged) = first.split_at(5);
        for id in acknowledged {
            world.puback(reader, *id);
        }
        let more = ids(&world.messages(reader));
        assert_eq!(more.len(), 5);
        world.pass_secs(2);
        world.crash(later, 1);
        let reader = resumed(&mut world, "reader");
        let again = world.messages(reader);
        assert!(again.iter().all(|message| message.dup));
        assert_eq!(ids(&again), [unacknowledged, &more].concat());
        for message in &again {
            world.puback(reader, message.id);
        }
        let rest = world.read_texts(reader);
        assert_eq!(rest.last().map(String::as_str), Some("new"));
    });
}

#[test]
fn only_what_was_sent_has_dup_after_an_orderly_end() {
    let mut world = World::durable(1, no_rate());
    let reader = subscriber(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "sent", 1);
    assert_eq!(world.read(reader).len(), 1);
    world.lose(reader);
    world.publish(writer, "a", "queued", 1);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    assert_eq!(dups(&world.read_all(reader)), [true, false]);
}

#[test]
fn what_may_have_been_sent_has_dup_after_a_second_crash_too() {
    let mut world = World::durable(1, no_rate());
    let reader = subscriber(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "sent", 1);
    assert_eq!(world.read(reader).len(), 1);
    world.crash(1, 1);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    assert_eq!(dups(&world.read_all(reader)), [true]);
}

#[test]
fn sending_some_of_it_again_does_not_forget_that_the_rest_may_have_been_sent() {
    let mut world = World::durable(1, no_rate());
    let reader = subscriber(&mut world, "reader", "a", 1);
    let writer = world.client(V5, "writer");
    for text in ["one", "two", "three"] {
        world.publish(writer, "a", text, 1);
    }
    assert_eq!(world.read(reader).len(), 3);
    world.crash(1, 1);
    let (reader, _) = world.connected(&taking(1, "reader"));
    assert_eq!(world.read(reader).len(), 1);
    world.lose(reader);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    assert_eq!(dups(&world.read_all(reader)), [true, true, true]);
}
