//! Subscriptions that several clients share.

use moat_codec::PacketType::{PubComp, PubRec, PubRel};
use moat_codec::Version::V5;
use moat_codec::{Ack, Packet, QoS, ReasonCode};
use moat_testkit::RawClient;
use moat_testkit::broker::Transport;

use crate::scene::{Scene, expect_breach, part, subscribe, unsubscribe};

everywhere!(
    a_share_name_has_at_least_one_character,
    a_share_name_has_no_wildcard_and_a_filter_behind_it,
    each_member_gets_the_qos_it_was_granted,
    a_qos_2_message_under_way_stays_with_its_member,
    a_released_qos_2_message_stays_with_its_member,
    a_qos_2_message_ends_with_the_session_of_its_member,
    a_message_that_a_member_refuses_is_discarded,
);

const SHARED: &str = "$share/group/t";

/// Proves 5.0 [MQTT-4.8.2-1].
fn a_share_name_has_at_least_one_character(transport: Transport, shards: usize) {
    refuses_filters(
        transport,
        shards,
        &["$share", "$share/", "$share//t", "$share//"],
    );
}

/// Proves 5.0 [MQTT-4.8.2-2].
fn a_share_name_has_no_wildcard_and_a_filter_behind_it(transport: Transport, shards: usize) {
    let filters = [
        "$share/a+/t",
        "$share/#/t",
        "$share/+/t",
        "$share/a",
        "$share/a/",
    ];
    refuses_filters(transport, shards, &filters);
}

fn refuses_filters(transport: Transport, shards: usize, filters: &[&str]) {
    let scene = Scene::new(transport, shards);
    for filter in filters {
        for bytes in [
            subscribe(V5, 1, &[(filter, 0)]),
            unsubscribe(V5, 1, &[filter]),
        ] {
            let mut client = scene.join(V5, "client");
            client.send(&bytes);
            expect_breach(&mut client, ReasonCode::TopicFilterInvalid);
        }
    }
}

/// Its own, not that of another member.
///
/// Proves 5.0 [MQTT-4.8.2-3].
fn each_member_gets_the_qos_it_was_granted(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for (mine, others) in [(0, 2), (1, 2), (2, 0), (1, 0)] {
        let mut other = scene.join(V5, "other");
        other.send(&subscribe(V5, 1, &[(SHARED, others)]));
        let _suback = other.read_packet();
        let mut client = scene.join(V5, "client");
        client.send(&subscribe(V5, 1, &[(SHARED, mine)]));
        let _suback = client.read_packet();
        other.send(&unsubscribe(V5, 1, &[SHARED]));
        let _unsuback = other.read_packet();
        publisher.publish_fully("t", b"", QoS::ExactlyOnce, scene.fresh_id());
        assert_eq!(client.take_message().qos.bits(), mine);
        client.settle();
    }
}

/// Proves 5.0 [MQTT-4.4.0-1] [MQTT-4.8.2-4].
fn a_qos_2_message_under_way_stays_with_its_member(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut first, _) = scene.rejoin(V5, "first");
    first.subscribe(SHARED, QoS::ExactlyOnce);
    publish(&scene, b"one");
    let id = first.message().packet_id;
    let mut second = member(&scene, "second", QoS::ExactlyOnce);
    part(first);
    gets_what_comes_next(&scene, &mut second);
    let (mut first, present) = scene.rejoin(V5, "first");
    assert!(present);
    let again = first.message();
    assert_eq!(again.packet_id, id);
    assert_eq!(again.payload, b"one");
    first.acknowledge(PubRec, id.unwrap());
    assert_eq!(first.expect_ack(PubRel).0, id.unwrap());
}

/// Proves 5.0 [MQTT-4.4.0-1] [MQTT-4.8.2-4].
fn a_released_qos_2_message_stays_with_its_member(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut first, _) = scene.rejoin(V5, "first");
    first.subscribe(SHARED, QoS::ExactlyOnce);
    publish(&scene, b"one");
    let id = first.message().packet_id.unwrap();
    first.acknowledge(PubRec, id);
    first.expect_ack(PubRel);
    let mut second = member(&scene, "second", QoS::ExactlyOnce);
    part(first);
    gets_what_comes_next(&scene, &mut second);
    let (mut first, _) = scene.rejoin(V5, "first");
    assert_eq!(first.expect_ack(PubRel).0, id);
    first.acknowledge(PubComp, id);
    first.ping();
}

/// Proves 5.0 [MQTT-4.8.2-5].
fn a_qos_2_message_ends_with_the_session_of_its_member(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for ends_at_once in [true, false] {
        let (mut first, _) = if ends_at_once {
            (scene.join(V5, "first"), false)
        } else {
            scene.rejoin(V5, "first")
        };
        first.subscribe(SHARED, QoS::ExactlyOnce);
        publish(&scene, b"one");
        assert_eq!(first.message().payload, b"one");
        let mut second = member(&scene, "second", QoS::ExactlyOnce);
        part(first);
        if !ends_at_once {
            // Clean start ends the older session.
            scene.join(V5, "first").ping();
        }
        gets_what_comes_next(&scene, &mut second);
        second.send(&[0xE0, 0]);
        second.expect_closed();
    }
}

/// Proves 5.0 [MQTT-4.8.2-6].
fn a_message_that_a_member_refuses_is_discarded(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut first = member(&scene, "first", qos);
        let mut publisher = scene.join(V5, "publisher");
        publisher.publish_fully("t", b"one", qos, scene.fresh_id());
        let id = first.message().packet_id.unwrap();
        let mut second = member(&scene, "second", qos);
        let refusal = Ack::with_reason(id, ReasonCode::ImplementationSpecificError);
        first.send_packet(&match qos {
            QoS::AtLeastOnce => Packet::PubAck(refusal),
            _ => Packet::PubRec(refusal),
        });
        // Handled before it leaves, so nothing of it is under way then.
        first.ping();
        part(first);
        gets_what_comes_next(&scene, &mut second);
        second.send(&[0xE0, 0]);
        second.expect_closed();
    }
}

fn member(scene: &Scene, client_id: &str, qos: QoS) -> RawClient {
    let mut client = scene.join(V5, client_id);
    client.subscribe(SHARED, qos);
    client
}

fn publish(scene: &Scene, payload: &[u8]) {
    let mut publisher = scene.join(V5, "publisher");
    publisher.publish_fully("t", payload, QoS::ExactlyOnce, scene.fresh_id());
}

/// The only member present gets the messages published from now on, and no other.
fn gets_what_comes_next(scene: &Scene, member: &mut RawClient) {
    for payload in [b"two", b"six", b"ten"] {
        publish(scene, payload);
        assert_eq!(member.take_message().payload, payload);
    }
    member.settle();
}
