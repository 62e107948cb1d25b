//! What the broker says about itself, below `$SYS/`.

use std::sync::Arc;

use moat_codec::{QoS, ReasonCode};
use moat_core::Limits;
use moat_events::Event;
use moat_policy::Snapshot;

use moat_core::shard::{CENSUS_PLACES_MAX, Census};

use crate::harness::*;

const TOPIC: &str = "$SYS/broker/uptime";
/// A topic of more levels than the limits below allow a client.
const LONG: &str = "$SYS/broker/load/publish/received/15min";

/// Anna may read everything, the broker's own topics included; her rule to write them is void.
const READER: &str = "[[rule]]\nwho = [\"anna\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\n\
                      topics = [\"#\", \"$SYS/#\"]\n";

impl World {
    /// The driver hands every value to the first shard.
    fn tell(&mut self, topic: &str, value: &str) {
        let (shard, fx) = (&mut self.shards[0], &mut self.fx[0]);
        shard.publish_system(topic, value.as_bytes(), self.now, fx);
        self.settle();
    }
}

#[test]
fn a_value_reaches_subscribers_of_every_shard_at_once_and_later_ones_retained() {
    let mut world = World::with(3, limits(), policy(READER));
    let mut early = Vec::new();
    for shard in 0..3 {
        let id = world.client_id_at(shard, "early");
        let client = world.client(V5, &id);
        world.subscribe(client, "$SYS/#", 2);
        early.push(client);
    }
    // Owned by another shard each, as a rule.
    let topics: Vec<_> = (0..3)
        .map(|shard| world.topic_of(shard, "$SYS/x"))
        .collect();
    for topic in &topics {
        world.tell(topic, "1");
        world.tell(topic, "2");
    }
    for client in early {
        let got = world.messages(client);
        assert_eq!(got.len(), 6);
        assert!(
            got.iter()
                .all(|m| !m.retain && m.qos == QoS::AtMostOnce as u8)
        );
        for pair in got.chunks(2) {
            assert_eq!(pair[0].topic, pair[1].topic);
            assert_eq!((pair[0].text(), pair[1].text()), ("1", "2"));
        }
    }
    // Of a group one gets each.
    let members = ["m1", "m2"].map(|id| world.client(V5, id));
    for member in members {
        world.subscribe(member, "$share/g/$SYS/#", 0);
    }
    for topic in &topics {
        world.tell(topic, "2");
    }
    let got: usize = members.iter().map(|m| world.messages(*m).len()).sum();
    assert_eq!(got, topics.len());
    let late = world.client(V5, "late");
    world.subscribe(late, "$SYS/#", 1);
    let got = world.messages(late);
    assert_eq!(got.len(), 3);
    assert!(got.iter().all(|m| m.retain && m.text() == "2"));
}

#[test]
fn who_has_no_rule_for_it_gets_nothing() {
    let everything = "[[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n";
    let mut world = World::with(2, limits(), policy(everything));
    world.tell(TOPIC, "1");
    let client = world.client(V5, "client");
    // [MQTT-4.7.2-1]
    assert!(!world.subscribe(client, "#", 1).is_error());
    assert!(!world.subscribe(client, "+/broker/uptime", 1).is_error());
    for filter in ["$SYS/#", TOPIC, "$SYS/+/uptime"] {
        let answer = world.subscribe(client, filter, 1);
        assert_eq!(answer, ReasonCode::NotAuthorized, "{filter}");
    }
    world.tell(TOPIC, "2");
    assert_eq!(world.messages(client), []);
}

#[test]
fn nobody_but_the_broker_changes_a_value() {
    let mut world = World::with(1, limits(), policy(READER));
    world.tell(TOPIC, "1");
    let client = world.client(V5, "client");
    for payload in ["forged", ""] {
        world.retain(client, TOPIC, payload, 0);
    }
    assert_eq!(world.events("publish.denied").len(), 2);
    world.subscribe(client, TOPIC, 0);
    assert_eq!(world.payloads(client), ["1"]);
}

#[test]
fn values_take_no_room_from_others_and_keep_to_no_limit() {
    let limits = Limits {
        retained_messages_max: 3,
        retained_per_identity_max: 3,
        packet: moat_codec::Limits {
            topic_levels_max: 3,
            ..moat_codec::Limits::default()
        },
        ..limits()
    };
    let mut world = World::with(1, limits, policy(READER));
    for topic in [TOPIC, LONG, "$SYS/broker/version"] {
        world.tell(topic, "1");
    }
    assert_eq!(world.shards[0].sizes().retained_messages, 0);
    let client = world.client(V5, "client");
    for topic in ["a", "b", "c"] {
        world.retain(client, topic, "mine", 0);
    }
    world.tell(TOPIC, "2");
    assert_eq!(world.events("retain.refused"), []);
    assert_eq!(world.shards[0].sizes().retained_messages, 3);
    world.subscribe(client, "$SYS/#", 0);
    assert_eq!(world.messages(client).len(), 3);
    world.subscribe(client, "+", 0);
    assert_eq!(world.payloads(client), ["mine"; 3]);
}

#[test]
fn what_is_not_below_sys_is_not_said() {
    let mut world = World::with(1, limits(), policy(READER));
    for topic in ["t", "$SYS", "$SYSTEM/x", "$SYS/+"] {
        world.tell(topic, "1");
    }
    let client = world.client(V5, "client");
    world.subscribe(client, "#", 0);
    world.subscribe(client, "$SYS/#", 0);
    assert_eq!(world.messages(client), []);
}

#[test]
fn packets_payloads_and_sessions_are_counted() {
    let mut world = World::in_memory(1, limits(), Arc::new(Snapshot::allow_all()));
    let reader = world.lasting(V5, "reader");
    world.subscribe(reader, "t", 1);
    world.publish(reader, "t", "12345", 1);
    assert_eq!(world.payloads(reader), ["12345"]);
    let counters = world.shards[0].counters();
    assert_eq!(counters.connects_total, 1);
    // CONNECT, SUBSCRIBE, PUBLISH; and CONNACK, SUBACK, PUBACK, PUBLISH.
    assert_eq!(counters.packets_received_total, 3);
    assert_eq!(counters.packets_sent_total(), 4);
    assert_eq!(counters.payload_bytes_received_total, 5);
    assert_eq!(counters.payload_bytes_sent_total, 5);
    assert_eq!(world.shards[0].census().connected, 1);

    world.subscribe(reader, "$share/g/u", 0);
    world.subscribe(reader, "$share/h/u", 0);
    assert_eq!(world.shards[0].census().shared_subscriptions, 2);
    assert_eq!(world.shards[0].sizes().subscriptions, 1);

    world.lose(reader);
    let writer = world.client(V5, "writer");
    world.publish(writer, "t", "1234567", 1);
    let census = world.shards[0].census();
    assert_eq!((census.connected, census.queued_messages), (1, 1));
    assert!(census.queued_bytes >= 7);
    // It is resumed: what was under way and what waited count when they are sent.
    let reader = world.lasting(V5, "reader");
    let sent = world.shards[0].counters().payload_bytes_sent_total;
    assert_eq!(world.payloads(reader).concat().len() as u64 + 5, sent);
    world.lose(reader);
    world.pass_secs(u64::from(u32::MAX));
    assert_eq!(world.shards[0].counters().sessions_expired_total, 1);
}

#[test]
fn what_is_withheld_at_delivery_is_counted_and_told_now_and_then() {
    let mut world = World::with(
        1,
        limits(),
        acl("user anna\ntopic write #\ntopic read open\n"),
    );
    let client = world.client(V5, "client");
    world.subscribe(client, "#", 0);
    for topic in ["open", "shut", "shut/too"] {
        world.publish(client, topic, "x", 0);
    }
    assert_eq!(world.payloads(client), ["x"]);
    assert_eq!(world.shards[0].counters().messages_withheld_total, 2);
    let told = |world: &mut World| {
        let events = world.events("messages.withheld").into_iter();
        let text = |event: Event| {
            event
                .fields()
                .map(|(_, value)| format!("{value:?}"))
                .collect()
        };
        events.map(text).collect::<Vec<Vec<String>>>()
    };
    let events = told(&mut world);
    assert_eq!(events.len(), 2);
    assert_eq!(events[1][2..], ["Text(\"shut/too\")", "Number(2)"]);
    // The third is not told, the fourth is; retained ones count too.
    world.retain(client, "shut/1", "x", 0);
    assert_eq!(told(&mut world).len(), 0);
    world.subscribe(client, "shut/#", 0);
    assert_eq!(told(&mut world)[0][2..], ["Text(\"shut/#\")", "Number(4)"]);
    assert_eq!(world.payloads(client), [""; 0]);
}

#[test]
fn census_places_max_bounds_one_part_of_a_census_and_all_parts_count_everybody_once() {
    let mut world = World::new(limits());
    let clients = CENSUS_PLACES_MAX + 40;
    for number in 0..clients {
        world.client(V5, &format!("client-{number}"));
    }
    let shard = &world.shards[0];
    let mut census = Census::default();
    let next = shard.count_on(0, &mut census);
    assert_eq!(
        (next, census.connected),
        (Some(CENSUS_PLACES_MAX), CENSUS_PLACES_MAX)
    );
    let mut next = next;
    while let Some(from) = next {
        next = shard.count_on(from, &mut census);
    }
    assert_eq!(census.connected, clients);
    assert_eq!(census, shard.census());
}
