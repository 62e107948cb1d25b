//! Shared subscriptions (4.8.2): one member for each message, on every arrangement of shards.

mod schedule;

use std::collections::BTreeMap;
use std::sync::Arc;

use moat_codec::{Ack, Connect, Packet, PacketType, ReasonCode};
use moat_core::router::shared::DEALS_MAX;
use moat_policy::Snapshot;

use crate::harness::*;

const GROUP: &str = "$share/workers/jobs/+";
const TOPIC: &str = "jobs/a";

fn world(shards: usize) -> World {
    let limits = moat_core::Limits {
        publishes_per_sec_max: 0,
        ..limits()
    };
    World::with(shards, limits, Arc::new(Snapshot::allow_all()))
}

/// Members whose homes are spread over the shards, and a writer.
fn crew(world: &mut World, members: usize, qos: u8) -> (Vec<Client>, Client) {
    let shards = world.shards.len();
    let members: Vec<Client> = (0..members)
        .map(|n| {
            let id = world.client_id_at(n % shards, &format!("member-{n}-"));
            let member = world.lasting(V5, &id);
            assert!(!world.subscribe(member, GROUP, qos).is_error());
            member
        })
        .collect();
    let writer = world.client(V5, "writer");
    (members, writer)
}

fn on_any_arrangement(check: impl Fn(World)) {
    for shards in 1..=3 {
        check(world(shards));
    }
}

fn write(world: &mut World, writer: Client, qos: u8, numbers: std::ops::Range<u32>) {
    for number in numbers {
        world.publish(writer, TOPIC, &number.to_string(), qos);
        world.read_all(writer);
    }
}

#[test]
fn mqtt5_4_8_2__each_message_goes_to_one_member_and_each_has_its_turn() {
    on_any_arrangement(|mut world| {
        for qos in 0..=2 {
            let (members, writer) = crew(&mut world, 3, qos);
            write(&mut world, writer, qos, 0..30);
            let shares: Vec<usize> = members
                .iter()
                .map(|member| world.read_all(*member).len())
                .collect();
            assert_eq!(shares, [10, 10, 10], "at QoS {qos}");
        }
    });
}

#[test]
fn groups_of_other_names_and_ordinary_subscribers_have_their_own_copies() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        let other = world.client(V5, "other");
        world.subscribe(other, "$share/auditors/jobs/#", 1);
        let plain = world.client(V311, "plain");
        world.subscribe(plain, TOPIC, 1);
        // One of the members besides has the topic for itself.
        world.subscribe(members[0], TOPIC, 1);
        write(&mut world, writer, 1, 0..10);
        assert_eq!(world.read_all(members[0]).len(), 15);
        assert_eq!(world.read_all(members[1]).len(), 5);
        assert_eq!(world.read_all(other).len(), 10);
        assert_eq!(world.read_all(plain).len(), 10);
    });
}

/// Proves 5.0 [MQTT-4.8.2-3].
#[test]
fn mqtt5_4_8_2_3__a_member_gets_no_higher_qos_than_it_was_granted() {
    on_any_arrangement(|mut world| {
        let writer = world.client(V5, "writer");
        let low = world.client(V5, "low");
        world.subscribe(low, GROUP, 0);
        write(&mut world, writer, 2, 0..1);
        let high = world.client(V5, "high");
        world.subscribe(high, GROUP, 1);
        write(&mut world, writer, 2, 1..3);
        let qos = |messages: Vec<Pub>| messages.iter().map(|m| m.qos).collect::<Vec<_>>();
        assert_eq!(qos(world.read_all(low)), [0, 0]);
        assert_eq!(qos(world.read_all(high)), [1]);
    });
}

#[test]
fn a_member_that_does_not_acknowledge_leaves_the_rest_to_the_others() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        let window = usize::from(world.shards[0].limits().inflight_messages_max);
        let mut done = 0;
        for number in 0..100 {
            write(&mut world, writer, 1, number..number + 1);
            done += world.read_all(members[1]).len();
        }
        let stuck = world.messages(members[0]).len();
        assert_eq!((stuck, done), (window, 100 - window));
    });
}

#[test]
fn messages_wait_for_the_first_member_with_credit() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        write(&mut world, writer, 1, 0..100);
        let waiting: usize = world.shards.iter().map(|s| s.sizes().shared_waiting).sum();
        assert_eq!(waiting, 60);
        let held = world.messages(members[1]);
        assert_eq!(world.read_all(members[0]).len(), 80);
        for message in held {
            world.puback(members[1], message.id);
        }
        write(&mut world, writer, 1, 100..110);
        let rest = world.read_all(members[1]).len() + world.read_all(members[0]).len();
        assert_eq!(rest, 10);
    });
}

#[test]
fn offline_members_are_passed_over_and_messages_wait_when_all_are_offline() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        world.lose(members[0]);
        write(&mut world, writer, 1, 0..5);
        assert_eq!(world.read_all(members[1]).len(), 5);
        world.lose(members[1]);
        write(&mut world, writer, 1, 5..10);
        write(&mut world, writer, 0, 10..11);
        let id = world.client_id_at(0, "member-0-");
        let back = world.lasting(V5, &id);
        let numbers = world.read_texts(back);
        assert_eq!(numbers, ["5", "6", "7", "8", "9"]);
        assert_eq!(world.dropped(), 1, "QoS 0 does not wait");
    });
}

/// Proves 5.0 [MQTT-4.4.0-1] [MQTT-4.8.2-4].
#[test]
fn mqtt5_4_8_2_4__qos_2_that_was_sent_is_completed_by_the_same_session() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 2);
        write(&mut world, writer, 2, 0..1);
        let holder = members
            .iter()
            .position(|m| !world.messages(*m).is_empty())
            .unwrap();
        world.lose(members[holder]);
        assert!(world.read(members[1 - holder]).is_empty());
        let shard = members[holder].shard;
        let id = world.client_id_at(shard, &format!("member-{holder}-"));
        let back = world.lasting(V5, &id);
        let again = world.read_all(back);
        assert_eq!((again.len(), again[0].dup), (1, true));
        assert!(world.read(members[1 - holder]).is_empty());
    });
}

/// Proves 5.0 [MQTT-4.1.0-2] [MQTT-4.3.2-3] [MQTT-4.8.2-5].
#[test]
fn mqtt5_4_8_2_5__what_a_member_was_sent_at_qos_2_ends_with_its_session() {
    on_any_arrangement(|mut world| {
        for (qos, dealt_again) in [(2, 0), (1, 1)] {
            let topic = format!("jobs/{qos}");
            let writer = world.client(V5, "writer");
            let leaver = world.client(V5, "leaver");
            world.subscribe(leaver, GROUP, qos);
            world.publish(writer, &topic, "x", qos);
            assert_eq!(world.messages(leaver).len(), 1);
            let other = world.client(V5, "other");
            world.subscribe(other, GROUP, qos);
            world.disconnect(leaver);
            world.settle();
            assert_eq!(world.read_all(other).len(), dealt_again, "at QoS {qos}");
            world.disconnect(other);
        }
    });
}

/// Proves 5.0 [MQTT-4.8.2-6].
#[test]
fn mqtt5_4_8_2_6__a_refused_message_goes_to_nobody_else() {
    on_any_arrangement(|mut world| {
        for (qos, packet) in [(1, PacketType::PubAck), (2, PacketType::PubRec)] {
            let (members, writer) = crew(&mut world, 2, qos);
            write(&mut world, writer, qos, 0..1);
            let (holder, id) = members
                .iter()
                .find_map(|m| Some((*m, world.messages(*m).first()?.id)))
                .unwrap();
            let ack = Ack::with_reason(packet_id(id), ReasonCode::UnspecifiedError);
            let refusal = match packet {
                PacketType::PubAck => Packet::PubAck(ack),
                _ => Packet::PubRec(ack),
            };
            world.sent(holder, &refusal);
            world.settle();
            for member in members {
                assert!(world.read(member).is_empty());
            }
        }
    });
}

#[test]
fn unsubscribing_ends_the_membership_and_what_was_never_sent_goes_to_another() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        // The window is full of messages of its own, so what it is dealt waits unsent.
        world.subscribe(members[0], "own", 1);
        for n in 0..20 {
            world.publish(writer, "own", &n.to_string(), 1);
        }
        write(&mut world, writer, 1, 0..10);
        assert_eq!(world.read_all(members[1]).len(), 5);
        assert_eq!(world.unsubscribe(members[0], GROUP), [ReasonCode::Success]);
        world.settle();
        assert_eq!(world.read_all(members[1]).len(), 5);
        assert_eq!(
            world.unsubscribe(members[0], GROUP),
            [ReasonCode::NoSubscriptionExisted]
        );
        write(&mut world, writer, 1, 10..14);
        assert_eq!(world.read_all(members[1]).len(), 4);
    });
}

#[test]
fn the_last_member_takes_the_group_with_it() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        for member in members {
            world.unsubscribe(member, GROUP);
        }
        world.settle();
        let groups: usize = world.shards.iter().map(|s| s.sizes().shared_groups).sum();
        assert_eq!(groups, 0);
        let reason = world.publish(writer, TOPIC, "x", 1);
        assert_eq!(reason, ReasonCode::NoMatchingSubscribers);
    });
}

#[test]
fn mqtt5_3_8_4__a_group_gets_nothing_retained_when_it_is_joined() {
    on_any_arrangement(|mut world| {
        let writer = world.client(V5, "writer");
        world.retain(writer, TOPIC, "old", 1);
        let (members, _) = crew(&mut world, 1, 1);
        assert!(world.read(members[0]).is_empty());
    });
}

#[test]
fn a_member_without_the_right_to_a_message_is_never_dealt_it() {
    for shards in 1..=3 {
        // In a mosquitto ACL every filter is granted and each message judged.
        let rules = "user anna\ntopic readwrite jobs/#\nuser bert\ntopic read jobs/b\n";
        let mut world = World::with(shards, limits(), acl(rules));
        let bert = world.open("bert", &Connect::new(V5, "bert")).unwrap();
        world.connack(bert);
        world.subscribe(bert, GROUP, 1);
        let anna = world.client(V5, "anna");
        world.subscribe(anna, GROUP, 1);
        let writer = world.client(V5, "writer");
        for n in 0..10 {
            world.publish(writer, "jobs/a", &n.to_string(), 1);
            world.publish(writer, "jobs/b", &n.to_string(), 1);
        }
        let for_bert = world.read_all(bert);
        let for_anna = world.read_all(anna);
        assert!(!for_bert.is_empty() && for_bert.iter().all(|m| m.topic == "jobs/b"));
        assert_eq!(for_bert.len() + for_anna.len(), 20);
        // Bert loses the right, and the owner of the group knows.
        world.set_policy(&acl("user anna\ntopic readwrite jobs/#\n"));
        world.settle();
        for n in 0..10 {
            world.publish(writer, "jobs/b", &n.to_string(), 1);
        }
        assert_eq!(world.read_all(anna).len(), 10);
        assert!(world.read(bert).is_empty());
    }
}

#[test]
fn a_qos_0_reader_that_does_not_read_leaves_messages_to_the_others() {
    for shards in 1..=3 {
        let limits = moat_core::Limits {
            publishes_per_sec_max: 0,
            out_buffer_bytes_max: 200,
            ..limits()
        };
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let (members, writer) = crew(&mut world, 2, 0);
        let mut done = 0;
        for n in 0..100 {
            world.publish(writer, TOPIC, &n.to_string(), 0);
            done += world.messages(members[1]).len();
        }
        let stuck = world.messages(members[0]).len();
        assert!(stuck < 25, "{stuck} in a buffer of 200 bytes");
        assert_eq!(done + stuck, 100);
        // It reads again, so it has its turn again.
        for n in 0..10 {
            world.publish(writer, TOPIC, &n.to_string(), 0);
        }
        assert_eq!(world.messages(members[0]).len(), 5);
    }
}

#[test]
fn queued_messages_max_bounds_what_waits_in_a_group() {
    for shards in 1..=3 {
        let limits = moat_core::Limits {
            publishes_per_sec_max: 0,
            queued_messages_max: 10,
            ..limits()
        };
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let (members, writer) = crew(&mut world, 1, 1);
        world.lose(members[0]);
        write(&mut world, writer, 1, 0..13);
        assert_eq!(world.dropped(), 3);
        // One, then each time the total has doubled.
        assert_eq!(world.events("shared.dropped").len(), 2);
        let id = world.client_id_at(0, "member-0-");
        let back = world.lasting(V5, &id);
        assert_eq!(world.read_all(back).len(), 10);
    }
}

#[test]
fn queued_messages_max_is_for_all_groups_of_a_session_together() {
    for shards in 1..=3 {
        let limits = moat_core::Limits {
            publishes_per_sec_max: 0,
            queued_messages_max: 16,
            ..limits()
        };
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let (members, writer) = crew(&mut world, 1, 1);
        world.lose(members[0]);
        write(&mut world, writer, 1, 0..16);
        let waiting = |world: &World| {
            let of = |shard: &moat_core::Shard| shard.sizes().shared_waiting;
            world.shards.iter().map(of).sum::<usize>()
        };
        assert_eq!(waiting(&world), 16);
        // Nothing is dealt while its window is full of messages of its own.
        let id = world.client_id_at(0, "member-0-");
        let back = world.lasting(V5, &id);
        world.messages(back);
        world.lose(back);
        let back = world.lasting(V5, &id);
        for group in 0..7 {
            world.subscribe(back, &format!("$share/g{group}/jobs/+"), 1);
        }
        world.lose(back);
        write(&mut world, writer, 1, 0..100);
        assert_eq!(waiting(&world), 8 * 2);
        // With the others gone, the first group has all of the limit again.
        let back = world.lasting(V5, &id);
        for group in 0..7 {
            world.unsubscribe(back, &format!("$share/g{group}/jobs/+"));
        }
        world.read_all(back);
        world.lose(back);
        write(&mut world, writer, 1, 0..100);
        assert_eq!(waiting(&world), 16);
    }
}

#[test]
fn a_group_loses_its_newest_messages_when_its_member_comes_to_more_groups() {
    for shards in 1..=3 {
        let limits = moat_core::Limits {
            publishes_per_sec_max: 0,
            queued_messages_max: 16,
            inflight_messages_max: 2,
            ..limits()
        };
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        let (members, writer) = crew(&mut world, 1, 1);
        write(&mut world, writer, 1, 0..18);
        world.subscribe(members[0], "$share/other/x", 1);
        world.settle();
        assert_eq!(world.dropped(), 8);
        let texts: Vec<String> = world
            .read_all(members[0])
            .iter()
            .map(|m| m.text().into())
            .collect();
        let oldest: Vec<String> = (0..10).map(|n: u32| n.to_string()).collect();
        assert_eq!(texts, oldest);
    }
}

#[test]
fn a_member_that_leaves_takes_no_room_from_those_that_stay() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 1);
        for member in &members {
            world.lose(*member);
        }
        write(&mut world, writer, 1, 0..1000);
        let id = world.client_id_at(1 % world.shards.len(), "member-1-");
        let leaver = world.connect(&Connect::new(V5, &id));
        world.connack(leaver);
        world.settle();
        assert_eq!(world.dropped(), 0);
    });
}

#[test]
fn deals_max_bounds_how_often_qos_0_goes_round() {
    let members = usize::from(DEALS_MAX) * 2;
    let limits = moat_core::Limits {
        publishes_per_sec_max: 0,
        out_buffer_bytes_max: 1,
        ..limits()
    };
    let mut world = World::with(3, limits, Arc::new(Snapshot::allow_all()));
    let (members, writer) = crew(&mut world, members, 0);
    world.publish(writer, TOPIC, "fills every buffer", 0);
    for n in 0..200 {
        world.publish(writer, TOPIC, &n.to_string(), 0);
    }
    let seen: usize = members.iter().map(|m| world.messages(*m).len()).sum();
    assert_eq!(seen, members.len(), "one each, then nobody has room");
    assert_eq!(world.dropped(), 201 - members.len() as u64);
}

#[test]
fn subscribing_again_changes_the_terms_and_not_the_number_of_members() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 2, 0);
        world.subscribe_with(members[0], GROUP, options(1), Some(7));
        write(&mut world, writer, 1, 0..10);
        let first = world.read_all(members[0]);
        assert_eq!(first.len(), 5);
        assert!(
            first
                .iter()
                .all(|m| m.qos == 1 && m.subscription_ids == [7])
        );
        assert_eq!(world.read_all(members[1]).len(), 5);
    });
}

#[test]
fn a_message_that_has_expired_while_it_waited_is_not_dealt() {
    on_any_arrangement(|mut world| {
        let (members, writer) = crew(&mut world, 1, 1);
        world.lose(members[0]);
        world.publish_with(writer, TOPIC, "short", 1, |publish| {
            publish.message_expiry_secs = Some(10);
        });
        write(&mut world, writer, 1, 0..1);
        world.pass_secs(11);
        let id = world.client_id_at(0, "member-0-");
        let back = world.lasting(V5, &id);
        assert_eq!(world.read_texts(back), ["0"]);
    });
}
