//! What a broker's end leaves behind: everything that was acknowledged, under the identifiers it had.

use moat_codec::{Connect, Disconnect, Packet, ReasonCode};
use moat_core::Limits;
use moat_core::durable::{LOAD_BYTES_MAX, StoreState};
use moat_core::limits::QueueFull;
use moat_core::shard::Then;

use crate::harness::*;

fn no_rate() -> Limits {
    Limits {
        publishes_per_sec_max: 0,
        ..limits()
    }
}

/// On one to three shards, and on another number after the crash.
fn on_any_arrangement(check: impl Fn(World, usize)) {
    for shards in 1..=3 {
        for later in [1, 3] {
            check(World::durable(shards, no_rate()), later);
        }
    }
}

fn texts(messages: &[Pub]) -> Vec<&str> {
    messages.iter().map(Pub::text).collect()
}

/// A session that keeps nothing, whose client takes so many messages at once.
fn with_window(receive_maximum: u16) -> Connect<'static> {
    let mut connect = lasting(V5, "busy");
    connect.properties.session_expiry_secs = None;
    connect.properties.receive_maximum = std::num::NonZeroU16::new(receive_maximum);
    connect
}

fn resumed(world: &mut World, id: &str) -> Client {
    let (client, granted) = world.connected(&lasting(V5, id));
    assert!(granted.session_present, "{id} has lost its session");
    client
}

#[test]
fn mqtt5_4_1_0_1__a_session_with_its_subscriptions_and_queue_survives() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe_with(reader, "a/+", options(2), Some(7));
        world.lose(reader);
        let writer = world.client(V5, "writer");
        for n in 0..30 {
            world.publish(writer, "a/b", &n.to_string(), 1 + n % 2);
        }
        world.crash(later, 5);
        let reader = resumed(&mut world, "reader");
        let messages = world.read_all(reader);
        let expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(texts(&messages), expected);
        assert!(messages.iter().all(|m| !m.dup && m.subscription_ids == [7]));
        // And it still subscribes.
        let writer = world.client(V5, "writer");
        world.publish(writer, "a/c", "live", 1);
        assert_eq!(texts(&world.read_all(reader)), ["live"]);
        world.disconnect(reader);
        world.pass_secs(2);
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
    });
}

#[test]
fn nothing_is_acknowledged_before_it_is_durable() {
    for shards in 1..=3 {
        let mut world = World::durable(shards, no_rate());
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "a", 2);
        let writer = world.client(V5, "writer");
        world.commits = false;
        for qos in 1..=2 {
            let publish = message("a", "x", qos, u16::from(qos));
            world.sent(writer, &Packet::Publish(publish));
        }
        let keeper = world.client(V5, "keeper");
        let publish = moat_codec::Publish {
            retain: true,
            ..message("kept", "x", 1, 3)
        };
        world.sent(keeper, &Packet::Publish(publish));
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
        let answers = world.read(writer);
        assert!(matches!(
            answers[..],
            [Got::PubAck(1, _), Got::PubRec(2, _)]
        ));
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
        for qos in 1..=2 {
            let publish = message("a", "x", qos, u16::from(qos));
            world.sent(writer, &Packet::Publish(publish));
        }
        let answers = world.read(writer);
        assert!(matches!(
            answers[..],
            [Got::PubAck(1, _), Got::PubRec(2, _)]
        ));
        assert_eq!(world.messages(reader).len(), 2);
    }
}

#[test]
fn what_was_not_acknowledged_may_be_lost_and_is_taken_again() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "a", 2);
        world.lose(reader);
        let writer = world.lasting(V5, "writer");
        world.commits = false;
        let publish = message("a", "x", 2, 9);
        world.sent(writer, &Packet::Publish(publish.clone()));
        world.crash(later, 1);
        world.commits = true;
        let writer = resumed(&mut world, "writer");
        let again = moat_codec::Publish {
            dup: true,
            ..publish
        };
        world.sent(writer, &Packet::Publish(again));
        assert_eq!(
            world.read(writer),
            [Got::PubRec(9, ReasonCode::Success)],
            "it was never taken"
        );
        let reader = resumed(&mut world, "reader");
        assert_eq!(texts(&world.read_all(reader)), ["x"]);
    });
}

#[test]
fn mqtt5_4_3_3_10__a_qos_2_message_that_was_taken_is_not_delivered_again() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "#", 2);
        world.lose(reader);
        for retain in [false, true] {
            let writer = world.lasting(V5, "writer");
            let publish = moat_codec::Publish {
                retain,
                ..message("a", "x", 2, 9)
            };
            world.sent(writer, &Packet::Publish(publish.clone()));
            assert_eq!(world.read(writer).len(), 1);
            world.crash(later, 1);
            let writer = resumed(&mut world, "writer");
            let again = moat_codec::Publish {
                dup: true,
                ..publish
            };
            world.sent(writer, &Packet::Publish(again));
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
        let reader = resumed(&mut world, "reader");
        assert_eq!(texts(&world.read_all(reader)), ["x", "x"]);
    });
}

#[test]
fn mqtt5_4_4_0_1__what_was_sent_comes_again_with_dup_under_its_identifier() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "a", 2);
        let writer = world.client(V5, "writer");
        for n in 0..6 {
            world.publish(writer, "a", &n.to_string(), 1 + n % 2);
        }
        let got = world.read(reader);
        let sent: Vec<Pub> = got
            .into_iter()
            .map(|got| match got {
                Got::Publish(publish) => publish,
                other => panic!("{other:?}"),
            })
            .collect();
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
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
        // The next identifier is one that is free.
        let writer = world.client(V5, "writer");
        world.publish(writer, "a", "next", 1);
        let reader = resumed(&mut world, "reader");
        let next = world.read_all(reader);
        assert_eq!(next.len(), 1);
        assert!(!next[0].dup && sent.iter().all(|old| old.id != next[0].id));
    });
}

#[test]
fn only_what_was_sent_has_dup_after_an_orderly_end() {
    let mut world = World::durable(1, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "sent", 1);
    assert_eq!(world.read(reader).len(), 1);
    world.lose(reader);
    world.publish(writer, "a", "queued", 1);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    let dups: Vec<bool> = world.read_all(reader).iter().map(|m| m.dup).collect();
    assert_eq!(dups, [true, false]);
}

#[test]
fn what_nobody_promised_to_keep_is_not_kept() {
    on_any_arrangement(|mut world, later| {
        let passing = world.client(V5, "passing");
        let reader = world.lasting(V5, "reader");
        for client in [passing, reader] {
            world.subscribe(client, "a", 2);
        }
        world.lose(reader);
        let writer = world.client(V5, "writer");
        for qos in 0..=2 {
            world.publish(writer, "a", &qos.to_string(), qos);
        }
        world.crash(later, 1);
        let (passing, granted) = world.connected(&lasting(V5, "passing"));
        assert!(!granted.session_present);
        assert!(world.read_all(passing).is_empty());
        let reader = resumed(&mut world, "reader");
        assert_eq!(texts(&world.read_all(reader)), ["1", "2"]);
    });
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
        let mut found: Vec<String> = world
            .read_all(reader)
            .iter()
            .map(|m| m.text().into())
            .collect();
        found.sort();
        let expected: Vec<String> = (10..20).map(|n| n.to_string()).collect();
        assert_eq!(found, expected);
    });
}

#[test]
fn retained_messages_sent_before_live_ones_keep_their_identifiers() {
    on_any_arrangement(|mut world, later| {
        let writer = world.client(V5, "writer");
        for n in 0..50 {
            world.retain(writer, &format!("kept/{n:02}"), "old", 1);
        }
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "#", 1);
        let first = world.read(reader);
        assert_eq!(first.len(), 20, "a window of retained messages");
        world.publish(writer, "live", "new", 1);
        let ids: Vec<u16> = first
            .iter()
            .map(|got| match got {
                Got::Publish(publish) => publish.id,
                other => panic!("{other:?}"),
            })
            .collect();
        for id in &ids[..5] {
            world.puback(reader, *id);
        }
        let more = world.read(reader);
        assert_eq!(more.len(), 5);
        world.pass_secs(2);
        world.crash(later, 1);
        let reader = resumed(&mut world, "reader");
        let again: Vec<u16> = world
            .read(reader)
            .iter()
            .map(|got| match got {
                Got::Publish(publish) => {
                    assert!(publish.dup);
                    publish.id
                }
                other => panic!("{other:?}"),
            })
            .collect();
        let mut sent = ids[5..].to_vec();
        sent.extend(more.iter().map(|got| match got {
            Got::Publish(publish) => publish.id,
            other => panic!("{other:?}"),
        }));
        assert_eq!(again, sent);
        for id in &again {
            world.puback(reader, *id);
        }
        let rest = world.read_all(reader);
        assert_eq!(rest.last().map(Pub::text), Some("new"));
    });
}

#[test]
fn a_will_that_came_due_while_the_broker_was_down_is_published_once() {
    on_any_arrangement(|mut world, later| {
        let watcher = world.lasting(V5, "watcher");
        world.subscribe(watcher, "wills/#", 1);
        world.lose(watcher);
        let mut connect = lasting(V5, "mortal");
        let mut delayed = will("wills/a", "gone");
        delayed.delay_secs = 10;
        connect.will = Some(delayed);
        world.connected(&connect);
        let mut polite = lasting(V5, "polite");
        polite.will = Some(will("wills/b", "never"));
        let (polite, _) = world.connected(&polite);
        world.disconnect(polite);
        world.crash(later, 5);
        world.crash(later, 30);
        world.crash(later, 30);
        let watcher = resumed(&mut world, "watcher");
        assert_eq!(texts(&world.read_all(watcher)), ["gone"]);
    });
}

#[test]
fn a_will_is_cancelled_by_a_client_that_is_back_in_time() {
    let mut world = World::durable(1, no_rate());
    let watcher = world.lasting(V5, "watcher");
    world.subscribe(watcher, "wills/#", 1);
    let mut connect = lasting(V5, "mortal");
    let mut delayed = will("wills/a", "gone");
    delayed.delay_secs = 60;
    connect.will = Some(delayed);
    world.connected(&connect);
    world.crash(1, 5);
    let back = resumed(&mut world, "mortal");
    world.disconnect(back);
    world.crash(1, 100);
    let watcher = resumed(&mut world, "watcher");
    assert_eq!(world.read(watcher), []);
}

#[test]
fn mqtt5_3_1_2_11_2__expiry_counts_while_the_broker_is_down() {
    let mut world = World::durable(2, no_rate());
    for (id, secs) in [("short", 10), ("long", 1000)] {
        let mut connect = Connect::new(V5, id);
        connect.clean_start = false;
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
    let long = resumed(&mut world, "long");
    assert_eq!(texts(&world.read_all(long)), ["x"]);
}

#[test]
fn mqtt5_3_1_2_4__a_clean_start_leaves_nothing_behind() {
    on_any_arrangement(|mut world, later| {
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "a", 1);
        world.lose(reader);
        let writer = world.client(V5, "writer");
        world.publish(writer, "a", "old", 1);
        world.client(V5, "reader");
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
        world.crash(later, 1);
        let (reader, granted) = world.connected(&lasting(V5, "reader"));
        assert!(!granted.session_present);
        assert_eq!(world.read(reader), []);
    });
}

#[test]
fn a_disconnect_that_ends_the_session_ends_it_in_the_store() {
    let mut world = World::durable(1, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    let mut goodbye = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
    goodbye.session_expiry_secs = Some(0);
    world.disconnect_with(reader, goodbye);
    assert_eq!(world.store.as_ref().unwrap().sessions(), 0);
}

#[test]
fn an_unsubscribed_filter_stays_unsubscribed() {
    let mut world = World::durable(2, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    world.subscribe(reader, "b", 1);
    world.unsubscribe(reader, "a");
    world.crash(2, 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "no", 1);
    world.publish(writer, "b", "yes", 1);
    let reader = resumed(&mut world, "reader");
    assert_eq!(texts(&world.read_all(reader)), ["yes"]);
}

#[test]
fn the_memory_of_the_log_is_bounded_and_the_rest_is_loaded() {
    let limits = Limits {
        log_memory_bytes_max: 2000,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    for n in 0..500 {
        world.publish(writer, "a", &n.to_string(), 1);
    }
    let reader = resumed(&mut world, "reader");
    let expected: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    assert_eq!(texts(&world.read_all(reader)), expected);
    world.lose(reader);
    assert_eq!(world.store.as_ref().unwrap().records(), 0);
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
        let reader = world.lasting(V5, "reader");
        world.subscribe(reader, "a", 1);
        world.lose(reader);
        let writer = world.client(V5, "writer");
        for n in 0..15 {
            let reason = world.publish(writer, "a", &n.to_string(), 1);
            assert!(!reason.is_error(), "one slow reader is no reason to fail");
        }
        world.pass_secs(2);
        world.crash(1, 1);
        let reader = resumed(&mut world, "reader");
        let messages = world.read_all(reader);
        assert_eq!((messages.len(), messages[0].text()), (10, first));
        assert_eq!(world.dropped(), 0, "counters begin anew");
    }
}

#[test]
fn what_waits_in_a_group_of_durable_members_survives() {
    on_any_arrangement(|mut world, later| {
        let member = world.lasting(V5, "member");
        world.subscribe(member, "$share/workers/jobs", 2);
        world.lose(member);
        let writer = world.client(V5, "writer");
        for n in 0..30 {
            world.publish(writer, "jobs", &n.to_string(), 1 + n % 2);
        }
        world.crash(later, 1);
        let member = resumed(&mut world, "member");
        let first = world.read(member).len();
        assert_eq!(first, 20, "its window");
        world.crash(later, 1);
        let member = resumed(&mut world, "member");
        let messages = world.read_all(member);
        let expected: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(texts(&messages), expected);
        assert_eq!(messages.iter().filter(|m| m.dup).count(), 20);
        world.unsubscribe(member, "$share/workers/jobs");
        world.lose(member);
        world.pass_secs(2);
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
    });
}

#[test]
fn a_group_keeps_what_it_has_dealt_to_a_session_that_keeps_nothing_until_that_has_it() {
    on_any_arrangement(|mut world, later| {
        let lasting = world.lasting(V5, "lasting");
        world.subscribe(lasting, "$share/workers/jobs", 1);
        world.lose(lasting);
        let writer = world.client(V5, "writer");
        for n in 0..4 {
            world.publish(writer, "jobs", &n.to_string(), 1);
        }
        let passing = world.client(V5, "passing");
        world.subscribe(passing, "$share/workers/jobs", 1);
        let dealt = world.messages(passing);
        assert_eq!(texts(&dealt), ["0", "1", "2", "3"]);
        world.puback(passing, dealt[1].id);
        world.crash(later, 1);
        let lasting = resumed(&mut world, "lasting");
        let messages = world.read_all(lasting);
        assert_eq!(texts(&messages), ["0", "2", "3"]);
        world.pass_secs(2);
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
    });
}

#[test]
fn mqtt5_4_8_2_5__what_a_group_has_dealt_at_qos_2_and_was_sent_comes_to_nobody_else() {
    on_any_arrangement(|mut world, later| {
        let lasting = world.lasting(V5, "lasting");
        world.subscribe(lasting, "$share/workers/jobs", 2);
        world.lose(lasting);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "once", 2);
        let passing = world.client(V5, "passing");
        world.subscribe(passing, "$share/workers/jobs", 2);
        assert_eq!(texts(&world.messages(passing)), ["once"]);
        world.crash(later, 1);
        let lasting = resumed(&mut world, "lasting");
        assert!(world.read_all(lasting).is_empty());
    });
}

#[test]
fn a_dealt_message_that_expires_before_it_is_sent_makes_room_for_the_next() {
    on_any_arrangement(|mut world, _| {
        let mut connect = with_window(1);
        connect.properties.session_expiry_secs = Some(1000);
        let (reader, _) = world.connected(&connect);
        world.subscribe(reader, "$share/workers/jobs", 1);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "first", 1);
        let first = world.messages(reader);
        for text in ["short", "long"] {
            let expiry = (text == "short").then_some(1);
            world.publish_with(writer, "jobs", text, 1, |publish| {
                publish.message_expiry_secs = expiry;
            });
        }
        // It is dealt, and its time passes while it waits for the disk.
        world.commits = false;
        world.puback(reader, first[0].id);
        world.pass_secs(2);
        world.commits = true;
        world.settle_store();
        world.settle_store();
        assert_eq!(texts(&world.messages(reader)), ["long"]);
    });
}

#[test]
fn a_message_that_goes_from_session_to_session_of_a_group_stays_one_entry() {
    on_any_arrangement(|mut world, later| {
        let lasting = world.lasting(V5, "lasting");
        world.subscribe(lasting, "$share/workers/jobs", 2);
        world.lose(lasting);
        let writer = world.client(V5, "writer");
        world.publish(writer, "jobs", "once", 2);
        // A member that cannot be sent it now: it waits in its queue, and goes back.
        let mut connect = with_window(1);
        connect.clean_start = true;
        let busy = world.connect(&connect);
        world.subscribe(busy, "busy", 1);
        world.publish(writer, "busy", "first", 1);
        world.subscribe(busy, "$share/workers/jobs", 2);
        world.lose(busy);
        world.crash(later, 1);
        let lasting = resumed(&mut world, "lasting");
        assert_eq!(texts(&world.read_all(lasting)), ["once"]);
        world.pass_secs(2);
        assert_eq!(world.store.as_ref().unwrap().records(), 0);
    });
}

#[test]
fn what_may_have_been_sent_has_dup_after_a_second_crash_too() {
    let mut world = World::durable(1, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "sent", 1);
    assert_eq!(world.read(reader).len(), 1);
    world.crash(1, 1);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    assert!(world.read_all(reader)[0].dup);
}

#[test]
fn sending_some_of_it_again_does_not_forget_that_the_rest_may_have_been_sent() {
    let mut world = World::durable(1, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    let writer = world.client(V5, "writer");
    for text in ["one", "two", "three"] {
        world.publish(writer, "a", text, 1);
    }
    assert_eq!(world.read(reader).len(), 3);
    world.crash(1, 1);
    let mut taking_one = lasting(V5, "reader");
    taking_one.properties.receive_maximum = std::num::NonZeroU16::new(1);
    let (reader, _) = world.connected(&taking_one);
    assert_eq!(world.read(reader).len(), 1);
    world.lose(reader);
    world.crash(1, 1);
    let reader = resumed(&mut world, "reader");
    let dups: Vec<bool> = world.read_all(reader).iter().map(|m| m.dup).collect();
    assert_eq!(dups, [true, true, true]);
}

#[test]
fn queued_message_age_secs_max_bounds_how_long_a_message_waits() {
    let limits = Limits {
        queued_message_age_secs_max: 60,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    world.publish(writer, "a", "old", 1);
    world.pass_secs(50);
    world.publish(writer, "a", "new", 1);
    world.pass_secs(20);
    let reader = resumed(&mut world, "reader");
    assert_eq!(texts(&world.read_all(reader)), ["new"]);
    world.lose(reader);
    assert_eq!(world.store.as_ref().unwrap().records(), 0);
}

#[test]
fn load_bytes_max_bounds_what_is_read_at_once() {
    let limits = Limits {
        log_memory_bytes_max: 0,
        ..no_rate()
    };
    let mut world = World::durable(1, limits);
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "a", 1);
    world.lose(reader);
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

#[test]
fn a_session_that_a_clean_start_replaced_does_not_come_back() {
    let mut world = World::durable(2, no_rate());
    let watcher = world.lasting(V5, "watcher");
    world.subscribe(watcher, "wills/#", 1);
    world.lose(watcher);
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
    let watcher = resumed(&mut world, "watcher");
    assert_eq!(texts(&world.read_all(watcher)), ["gone"]);
    assert_eq!(world.store.as_ref().unwrap().sessions(), 2);
}

#[test]
fn a_client_that_waits_for_the_store_is_not_silent() {
    let mut world = World::durable(1, no_rate());
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "#", 1);
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
    assert_eq!(texts(&world.read_all(reader)), ["x"]);
    // Its silence from now on is its own.
    world.pass_secs(60);
    assert!(world.is_closed(writer));
    assert_eq!(texts(&world.read_all(reader)), ["gone"]);
}
