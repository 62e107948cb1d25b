//! Who may send how much: receive maximum, packet size, rate, turns, and bytes that wait.

use std::num::{NonZeroU16, NonZeroU32};

use moat_codec::{Connect, Packet, ReasonCode};
use moat_core::shard::{Pause, Then};
use moat_core::{Limits, Time};

use crate::harness::*;

fn taking(client_id: &str, receive_maximum: u16) -> Connect<'_> {
    let mut connect = lasting(V5, client_id);
    connect.properties.receive_maximum = NonZeroU16::new(receive_maximum);
    connect
}

fn fast() -> Limits {
    Limits {
        publishes_per_sec_max: 0,
        ..limits()
    }
}

// --- towards the client ---

#[test]
fn mqtt5_3_3_4_9__no_more_than_receive_maximum_messages_are_under_way() {
    for qos in [1, 2] {
        let mut world = World::new(limits());
        let (reader, _) = world.connected(&taking("reader", 3));
        world.subscribe(reader, "t", 2);
        let writer = world.client(V5, "writer");
        for n in 0..7 {
            world.publish(writer, "t", &n.to_string(), qos);
        }
        let first = world.messages(reader);
        assert_eq!(first.len(), 3);
        // QoS 0 has no quota [MQTT-4.9.0-2].
        world.publish(writer, "t", "qos 0", 0);
        assert_eq!(world.payloads(reader), ["qos 0"]);
        if qos == 1 {
            world.puback(reader, first[0].id);
        } else {
            world.pubrec(reader, first[0].id);
            // PUBREC gives nothing back; PUBCOMP does.
            assert_eq!(world.read(reader).len(), 1);
            world.pubcomp(reader, first[0].id);
        }
        assert_eq!(world.payloads(reader), ["3"]);
        for message in &first[1..] {
            match qos {
                1 => world.puback(reader, message.id),
                _ => world.pubrec(reader, message.id),
            }
        }
        world.read_all(reader);
    }
}

#[test]
fn inflight_messages_max_holds_for_3_1_1_too() {
    let mut world = World::new(Limits {
        inflight_messages_max: 5,
        ..limits()
    });
    let reader = world.client(V311, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V311, "writer");
    for n in 0..9 {
        world.publish(writer, "t", &n.to_string(), 1);
    }
    assert_eq!(world.messages(reader).len(), 5);
}

#[test]
fn pubacks_nobody_waits_for_do_not_raise_the_quota() {
    let mut world = World::new(limits());
    let (reader, _) = world.connected(&taking("reader", 2));
    world.subscribe(reader, "t", 1);
    let writer = world.client(V5, "writer");
    for n in 0..9 {
        world.publish(writer, "t", &n.to_string(), 1);
    }
    for id in 100..110 {
        world.puback(reader, id);
    }
    assert_eq!(world.messages(reader).len(), 2);
}

#[test]
fn a_pubrec_with_an_error_gives_the_quota_back() {
    let mut world = World::new(limits());
    let (reader, _) = world.connected(&taking("reader", 1));
    world.subscribe(reader, "t", 2);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "1", 2);
    world.publish(writer, "t", "2", 2);
    let id = world.messages(reader)[0].id;
    let refused =
        moat_codec::Ack::with_reason(packet_id(id), ReasonCode::ImplementationSpecificError);
    world.sent(reader, &Packet::PubRec(refused));
    assert_eq!(world.payloads(reader), ["2"]);
}

#[test]
fn a_smaller_receive_maximum_on_the_next_connection_holds_for_what_comes_again() {
    let mut world = World::new(limits());
    let (reader, _) = world.connected(&taking("reader", 6));
    world.subscribe(reader, "t", 2);
    let writer = world.client(V5, "writer");
    for n in 0..6 {
        world.publish(writer, "t", &n.to_string(), 2);
    }
    let ids: Vec<u16> = world.messages(reader).iter().map(|m| m.id).collect();
    // Two are received and await PUBCOMP.
    world.pubrec(reader, ids[0]);
    world.pubrec(reader, ids[1]);
    world.lose(reader);

    let (reader, _) = world.connected(&taking("reader", 2));
    let (mut unacknowledged, mut seen) = (0_i32, Vec::new());
    loop {
        let got = world.read(reader);
        if got.is_empty() {
            break;
        }
        for got in &got {
            if let Got::Publish(publish) = got {
                unacknowledged += 1;
                seen.push(publish.text().to_owned());
            }
        }
        assert!(unacknowledged <= 2, "{unacknowledged} unacknowledged");
        for got in got {
            match got {
                Got::Publish(publish) => world.pubrec(reader, publish.id),
                Got::PubRel(id, _) => {
                    world.pubcomp(reader, id);
                    if id != ids[0] && id != ids[1] {
                        unacknowledged -= 1;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(seen, ["2", "3", "4", "5"]);
}

#[test]
fn mqtt5_3_1_2_24__a_packet_larger_than_the_client_takes_is_dropped_as_if_sent() {
    let mut world = World::new(limits());
    let mut connect = taking("reader", 1);
    connect.properties.maximum_packet_size = NonZeroU32::new(40);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "t", 2);
    let writer = world.client(V5, "writer");
    let large = "x".repeat(40);
    for qos in [0, 1, 2] {
        world.publish(writer, "t", &large, qos);
    }
    assert_eq!(world.dropped(), 3);
    world.publish(writer, "t", "small", 1);
    assert_eq!(world.payloads(reader), ["small"]);
    assert_eq!(world.events("messages.dropped").len(), 2, "not for QoS 0");
}

#[test]
fn the_exact_packet_size_is_taken() {
    let mut world = World::new(limits());
    let mut connect = taking("reader", 1);
    connect.properties.maximum_packet_size = NonZeroU32::new(40);
    let (reader, _) = world.connected(&connect);
    world.subscribe(reader, "t", 0);
    let writer = world.client(V5, "writer");
    // Fixed header 2, topic 3, properties 1.
    world.publish(writer, "t", &"x".repeat(34), 0);
    assert_eq!(world.messages(reader).len(), 1);
    world.publish(writer, "t", &"x".repeat(35), 0);
    assert_eq!(world.messages(reader).len(), 0);
}

#[test]
fn a_message_that_became_too_large_for_the_next_connection_leaves_the_window() {
    let mut world = World::new(limits());
    let (reader, _) = world.connected(&taking("reader", 2));
    world.subscribe(reader, "t", 1);
    let writer = world.client(V5, "writer");
    let large = "x".repeat(100);
    world.publish(writer, "t", &large, 1);
    world.publish(writer, "t", "small", 1);
    world.lose(reader);
    let mut connect = taking("reader", 1);
    connect.properties.maximum_packet_size = NonZeroU32::new(60);
    let (reader, _) = world.connected(&connect);
    world.publish(writer, "t", "later", 1);
    assert_eq!(world.read_texts(reader), ["small", "later"]);
    let session = world.shards[0].session(reader.at).unwrap();
    assert!(session.outbound.as_ref().unwrap().is_empty());
    assert_eq!(world.dropped(), 1);
}

#[test]
fn out_buffer_bytes_max_drops_qos_0_and_keeps_qos_1_for_later() {
    let mut world = World::new(Limits {
        out_buffer_bytes_max: 1000,
        ..limits()
    });
    let reader = world.client(V311, "reader");
    world.subscribe(reader, "t", 1);
    let writer = world.client(V311, "writer");
    let filler = "x".repeat(490);
    for _ in 0..3 {
        world.publish(writer, "t", &filler, 0);
    }
    assert_eq!(world.dropped(), 0, "the last one may cross the mark");
    assert!(world.unsent(reader) < 1000 + 500);
    world.publish(writer, "t", "dropped", 0);
    assert_eq!(world.dropped(), 1);
    assert_eq!(world.shards[0].counters().messages_dropped_total, 1);
    for n in 1..=3 {
        world.publish(writer, "t", &n.to_string(), 1);
    }
    assert_eq!(world.shards[0].session(reader.at).unwrap().queued(), 3);
    let texts = world.payloads(reader);
    assert_eq!(texts[3..], ["1", "2", "3"]);
}

#[test]
fn queued_messages_of_a_slow_reader_come_in_portions_of_the_out_buffer() {
    let mut world = World::new(Limits {
        out_buffer_bytes_max: 1000,
        inflight_messages_max: 100,
        ..limits()
    });
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    for n in 0..50 {
        world.publish(writer, "t", &format!("{n:0200}"), 1);
    }
    let reader = world.connect(&lasting(V5, "reader"));
    assert!(world.unsent(reader) < 1000 + 250);
    world.connack(reader);
    assert_eq!(world.messages(reader).len(), 50);
}

#[test]
fn what_the_pump_sends_at_once_is_bounded_and_goes_on_after_the_flush() {
    let mut world = World::new(Limits {
        inflight_messages_max: 1000,
        ..fast()
    });
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.lose(reader);
    let writer = world.client(V5, "writer");
    for _ in 0..600 {
        world.publish(writer, "t", "x", 1);
    }
    let reader = world.connect(&lasting(V5, "reader"));
    let outbound = world.shards[0].session(reader.at).unwrap();
    assert_eq!(outbound.outbound.as_ref().unwrap().inflight.len(), 256);
    world.connack(reader);
    assert_eq!(world.messages(reader).len(), 600);
}

#[test]
fn answers_to_a_client_that_never_reads_are_bounded() {
    let mut world = World::new(Limits {
        out_buffer_bytes_max: 1000,
        packet: moat_codec::Limits {
            packet_bytes_max: 1000,
            ..moat_codec::Limits::default()
        },
        ..limits()
    });
    let client = world.client(V5, "client");
    let pings = encode(&Packet::PingReq, V5).repeat(256);
    let mut paused = None;
    for _ in 0..10_000 {
        match world.send_raw(client, &pings) {
            Then::Pause(Pause::Until(until)) => {
                paused = Some(until);
                break;
            }
            Then::Budget | Then::NeedMore(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(paused.unwrap() > world.now);
    assert!(world.unsent(client) < 200_000);
    // It has read at last: everything it sent is answered.
    let mut answers = world.read(client).len();
    while !matches!(world.resume(client), Then::NeedMore(_)) {
        answers += world.read(client).len();
    }
    answers += world.read(client).len();
    assert_eq!(answers % 256, 0);
}

// --- from the client ---

#[test]
fn mqtt5_3_3_4_7__more_qos_2_messages_under_way_than_allowed_close() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    for id in 1..=20 {
        world.sent(client, &Packet::Publish(message("t", "x", 2, id)));
    }
    // A repeated one is not one more.
    world.sent(client, &Packet::Publish(message("t", "x", 2, 20)));
    assert_eq!(world.read(client).len(), 21);
    let then = world.send(client, &Packet::Publish(message("t", "x", 2, 21)));
    assert_eq!(then, Then::Closed);
    assert_eq!(world.goodbye(client), ReasonCode::ReceiveMaximumExceeded);
}

#[test]
fn a_pubrel_makes_room_for_the_next_qos_2_message() {
    let mut world = World::new(limits());
    let client = world.client(V5, "client");
    for id in 1..=20 {
        world.sent(client, &Packet::Publish(message("t", "x", 2, id)));
    }
    world.pubrel(client, 7);
    world.sent(client, &Packet::Publish(message("t", "x", 2, 21)));
    assert!(!world.is_closed(client));
}

#[test]
fn a_client_of_3_1_1_was_told_no_number_and_has_the_identifiers_there_are() {
    let mut world = World::new(fast());
    let client = world.client(V311, "client");
    for id in 1..=u16::MAX - 1 {
        world.sent(client, &Packet::Publish(message("t", "x", 2, id)));
        world.read(client);
    }
    let then = world.send(client, &Packet::Publish(message("t", "x", 2, u16::MAX)));
    assert_eq!(then, Then::Closed);
}

#[test]
fn mqtt5_3_2_2_15__a_packet_larger_than_the_server_takes_closes() {
    let mut world = World::new(Limits {
        packet: moat_codec::Limits {
            packet_bytes_max: 100,
            ..moat_codec::Limits::default()
        },
        ..limits()
    });
    let (client, granted) = world.connected(&Connect::new(V5, "client"));
    assert_eq!(granted.maximum_packet_size, Some(100));
    world.publish(client, "t", &"x".repeat(94), 0);
    // Known from the header, before the packet is there.
    assert_eq!(world.send_raw(client, &[0x30, 99]), Then::Closed);
    assert_eq!(world.goodbye(client), ReasonCode::PacketTooLarge);
}

#[test]
fn publishes_per_sec_max_pauses_after_the_burst_and_goes_on_in_time() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 10,
        publish_burst_max: 5,
        ..limits()
    });
    let reader = world.client(V5, "reader");
    world.subscribe(reader, "t", 0);
    let writer = world.client(V5, "writer");
    for n in 0..5 {
        world.publish(writer, "t", &n.to_string(), 0);
    }
    let sixth = encode(&Packet::Publish(message("t", "5", 0, 0)), V5);
    let seventh = encode(&Packet::Publish(message("t", "6", 0, 0)), V5);
    let until = world.now.plus_millis(100);
    let paused = Then::Pause(Pause::Until(until));
    assert_eq!(world.send_raw(writer, &sixth), paused);
    assert_eq!(world.send_raw(writer, &seventh), paused);
    assert_eq!(world.messages(reader).len(), 5);
    assert_eq!(world.events("publish.rate_exceeded").len(), 1, "told once");
    world.pass_millis(99);
    assert_eq!(world.resume(writer), paused);
    world.pass_millis(1);
    assert_eq!(
        world.resume(writer),
        Then::Pause(Pause::Until(until.plus_millis(100)))
    );
    assert_eq!(world.payloads(reader), ["5"]);
    world.pass_millis(100);
    assert!(matches!(world.resume(writer), Then::NeedMore(_)));
    assert_eq!(world.payloads(reader), ["6"]);
}

#[test]
fn a_burst_is_never_larger_than_publish_burst_max() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 10,
        publish_burst_max: 5,
        ..limits()
    });
    let writer = world.client(V5, "writer");
    world.pass_secs(100);
    let publish = encode(&Packet::Publish(message("t", "x", 0, 0)), V5);
    let mut taken = 0;
    while let Then::NeedMore(_) = world.send_raw(writer, &publish) {
        taken += 1;
    }
    assert_eq!(taken, 5);
}

#[test]
fn the_rate_is_reported_again_after_a_quiet_time() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 10,
        publish_burst_max: 5,
        ..limits()
    });
    let writer = world.client(V5, "writer");
    let publish = encode(&Packet::Publish(message("t", "x", 0, 0)), V5);
    for _ in 0..2 {
        while let Then::NeedMore(_) = world.send_raw(writer, &publish) {}
        assert_eq!(world.events("publish.rate_exceeded").len(), 1);
        world.pass_secs(10);
        world.resume(writer);
        world.pass_secs(10);
    }
}

#[test]
fn what_is_no_publish_is_not_held_to_the_rate() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 1,
        publish_burst_max: 1,
        ..limits()
    });
    let client = world.client(V5, "client");
    for _ in 0..50 {
        world.sent(client, &Packet::PingReq);
        world.subscribe(client, "t", 0);
    }
}

#[test]
fn repeating_a_qos_2_message_is_held_to_the_rate() {
    let mut world = World::new(Limits {
        publishes_per_sec_max: 1,
        publish_burst_max: 3,
        ..limits()
    });
    let client = world.client(V5, "client");
    let publish = encode(&Packet::Publish(message("t", "x", 2, 1)), V5);
    let mut taken = 0;
    while let Then::NeedMore(_) = world.send_raw(client, &publish) {
        taken += 1;
        assert!(taken < 100);
    }
    assert_eq!(taken, 3);
}

#[test]
fn packets_per_turn_max_gives_others_their_turn() {
    let mut world = World::new(Limits {
        packets_per_turn_max: 3,
        ..limits()
    });
    let client = world.client(V5, "client");
    let pings = encode(&Packet::PingReq, V5).repeat(7);
    assert_eq!(world.send_raw(client, &pings), Then::Budget);
    assert_eq!(world.read(client).len(), 3);
    assert_eq!(world.resume(client), Then::Budget);
    assert!(matches!(world.resume(client), Then::NeedMore(_)));
    assert_eq!(world.read(client).len(), 4);
}

#[test]
fn a_pause_never_ends_in_the_past() {
    let mut rate = moat_core::session::rate::PublishRate::new(1, Time::ZERO);
    rate.take(u32::MAX, 1, Time::ZERO).unwrap();
    let until = rate.take(u32::MAX, 1, Time::ZERO).unwrap_err();
    assert!(until > Time::ZERO);
}

#[test]
fn filters_per_sec_max_pauses_after_ten_seconds_worth_and_goes_on_in_time() {
    let mut world = World::new(Limits {
        filters_per_sec_max: 2,
        subscriptions_per_session_max: 1000,
        ..limits()
    });
    let client = world.client(V5, "client");
    for n in 0..10 {
        world.subscribe(client, &format!("a/{n}"), 0);
        world.unsubscribe(client, &format!("a/{n}"));
    }
    let filter = [moat_codec::TopicFilter::new("b", &moat_codec::Limits::default()).unwrap()];
    let unsubscribe = moat_codec::Unsubscribe::new(packet_id(9), &filter);
    let bytes = encode(&Packet::Unsubscribe(unsubscribe), V5);
    let until = world.now.plus_millis(500);
    let paused = Then::Pause(Pause::Until(until));
    assert_eq!(world.send_raw(client, &bytes), paused);
    assert_eq!(world.events("subscribe.rate_exceeded").len(), 1);
    world.pass_millis(500);
    assert!(matches!(world.resume(client), Then::NeedMore(_)));
    assert_eq!(world.read(client).len(), 1);
}

#[test]
fn a_turn_is_over_sooner_when_its_packets_cost_more() {
    let mut world = World::new(Limits {
        packets_per_turn_max: 10,
        filters_per_sec_max: 0,
        ..limits()
    });
    let client = world.client(V5, "client");
    let names: Vec<String> = (0..30).map(|n| format!("f/{n}")).collect();
    let codec = moat_codec::Limits::default();
    let filters: Vec<_> = names
        .iter()
        .map(|name| moat_codec::TopicFilter::new(name, &codec).unwrap())
        .collect();
    let unsubscribe = moat_codec::Unsubscribe::new(packet_id(9), &filters);
    let bytes = encode(&Packet::Unsubscribe(unsubscribe), V5).repeat(3);
    // Each filter costs as much as a packet, so ten of them are a turn, the packet itself counted.
    let (mut turns, mut then) = (1, world.send_raw(client, &bytes));
    assert_eq!(world.read(client), [], "not even the first one is handled");
    while then == Then::Budget {
        (turns, then) = (turns + 1, world.resume(client));
    }
    let answers = world.read(client);
    assert_eq!(answers.len(), 3);
    for answer in answers {
        assert!(matches!(answer, Got::UnsubAck(9, reasons) if reasons.len() == 30));
    }
    assert!((9..=11).contains(&turns), "{turns}");
}

#[test]
fn a_subscribe_of_many_filters_takes_turns_and_is_answered_once() {
    for shards in [1, 2] {
        let policy = std::sync::Arc::new(moat_policy::Snapshot::allow_all());
        let limits = Limits {
            packets_per_turn_max: 10,
            ..limits()
        };
        let mut world = World::with(shards, limits, policy);
        let client = world.client(V5, "client");
        let names: Vec<String> = (0..95).map(|n| format!("f/{n}")).collect();
        let filters: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), options(1)))
            .collect();
        world.send_subscribe(client, &filters, None);
        let mut turns = 1;
        while world.resume(client) == Then::Budget {
            turns += 1;
        }
        assert!((10..=12).contains(&turns), "{turns}");
        let answers = world.read(client);
        assert!(matches!(&answers[..], [Got::SubAck(_, reasons)] if reasons.len() == 95));
        world.publish(client, "f/94", "x", 0);
        assert_eq!(world.payloads(client), ["x"]);
    }
}
