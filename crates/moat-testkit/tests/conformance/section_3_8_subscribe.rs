//! SUBSCRIBE.

use moat_codec::Version::{V5, V311};
use moat_codec::{Packet, Publish, QoS, ReasonCode};
use moat_testkit::broker::Transport;
use moat_testkit::{RawClient, TestBroker};

use crate::scene::{
    BOTH, OPEN_ONLY, Scene, answer, expect_breach, no_properties, packet, part, string, subscribe,
};

everywhere!(
    reserved_flags_of_subscribe_are_malformed,
    a_filter_that_is_not_utf_8_is_refused,
    a_subscribe_without_a_filter_is_refused,
    reserved_bits_of_the_options_are_malformed,
    a_requested_qos_of_3_is_refused,
    no_local_keeps_a_clients_own_messages_from_it,
    no_local_does_not_keep_messages_of_others,
    no_local_holds_for_the_client_id_over_connections,
    no_local_with_a_shared_subscription_is_refused,
    a_subscribe_is_answered_with_its_packet_identifier,
    every_filter_has_its_code,
    a_second_subscription_to_a_filter_replaces_the_first,
    replacing_a_subscription_sends_retained_messages_again_and_loses_none,
    filters_of_one_packet_count_in_turn,
    a_refused_filter_does_not_keep_the_others_from_being_granted,
    messages_come_with_the_lower_qos,
);

/// Proves 5.0 [MQTT-3.8.1-1]; 3.1.1 [MQTT-3.8.1-1].
fn reserved_flags_of_subscribe_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for flags in [0, 1, 3, 6, 0xA] {
            let mut client = scene.join(version, "client");
            let mut bytes = subscribe(version, 1, &[("t", 0)]);
            bytes[0] = 0x80 | flags;
            client.send(&bytes);
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// Proves 5.0 [MQTT-3.8.3-1]; 3.1.1 [MQTT-3.8.3-1].
fn a_filter_that_is_not_utf_8_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for filter in [&b"a/\xFF"[..], b"\xC0\xAF", b"\xED\xA0\x80"] {
            let mut client = scene.join(version, "client");
            let head = [&[0, 1], no_properties(version)].concat();
            client.send(&packet(0x82, &[&head, &string(filter), &[0]]));
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// Proves 5.0 [MQTT-3.8.3-2]; 3.1.1 [MQTT-3.8.3-3].
fn a_subscribe_without_a_filter_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&subscribe(version, 1, &[]));
        expect_breach(&mut client, ReasonCode::ProtocolError);
    }
}

/// Proves 5.0 [MQTT-3.8.3-5]; 3.1.1 [MQTT-3.8.3-4].
fn reserved_bits_of_the_options_are_malformed(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for (version, reserved) in [
        (V5, &[0x40, 0x80][..]),
        (V311, &[0x04, 0x08, 0x10, 0x20, 0x40, 0x80]),
    ] {
        for bit in reserved {
            let mut client = scene.join(version, "client");
            client.send(&subscribe(version, 1, &[("fine", 0), ("t", *bit)]));
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// In 5.0 it is a protocol error (section 3.8.3.1), in 3.1.1 part of a numbered statement.
///
/// Proves 3.1.1 [MQTT-3.8.3-4].
fn a_requested_qos_of_3_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&subscribe(version, 1, &[("t", 3)]));
        expect_breach(&mut client, ReasonCode::ProtocolError);
    }
}

const NO_LOCAL: u8 = 0x04;

/// Proves 5.0 [MQTT-3.8.3-3].
fn no_local_keeps_a_clients_own_messages_from_it(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    client.send(&subscribe(V5, 1, &[("a", NO_LOCAL), ("b", 0)]));
    assert_eq!(suback_codes(&mut client), [0, 0]);
    client.publish("a", b"own", QoS::AtMostOnce, 0);
    // A retained message takes another way when its topic belongs to another shard.
    let mut retained = Publish::new("a", b"own and retained");
    retained.retain = true;
    client.send_packet(&Packet::Publish(retained));
    client.publish("a", b"own", QoS::AtMostOnce, 0);
    let mut retained = Publish::new("b", b"mark");
    retained.retain = true;
    client.send_packet(&Packet::Publish(retained));
    assert_eq!(client.message().topic, "b");
    client.ping();
}

/// The other side of [MQTT-3.8.3-3].
fn no_local_does_not_keep_messages_of_others(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut clients: Vec<_> = (0..4)
        .map(|n| scene.join(V5, &format!("client-{n}")))
        .collect();
    for client in &mut clients {
        client.send(&subscribe(V5, 1, &[("a", NO_LOCAL)]));
        let _suback = client.read_packet();
    }
    clients[0].publish("a", b"from another", QoS::AtMostOnce, 0);
    for client in &mut clients[1..] {
        assert_eq!(client.message().payload, b"from another");
    }
}

/// Proves 5.0 [MQTT-3.8.3-3].
fn no_local_holds_for_the_client_id_over_connections(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let (mut client, _) = scene.rejoin(V5, "client");
    client.send(&subscribe(V5, 1, &[("a", NO_LOCAL), ("b", 0)]));
    let _suback = client.read_packet();
    part(client);
    let (mut client, present) = scene.rejoin(V5, "client");
    assert!(present);
    client.publish("a", b"own", QoS::AtMostOnce, 0);
    client.publish("b", b"mark", QoS::AtMostOnce, 0);
    assert_eq!(client.message().topic, "b");
}

/// Proves 5.0 [MQTT-3.8.3-4].
fn no_local_with_a_shared_subscription_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut client = scene.join(V5, "client");
    client.send(&subscribe(V5, 1, &[("$share/group/a", NO_LOCAL)]));
    expect_breach(&mut client, ReasonCode::ProtocolError);
}

/// Proves 5.0 [MQTT-2.2.1-6] [MQTT-3.8.4-1] [MQTT-3.8.4-2]; 3.1.1 [MQTT-2.3.1-7] [MQTT-3.8.4-1] [MQTT-3.8.4-2].
fn a_subscribe_is_answered_with_its_packet_identifier(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for id in [1, 0x1234, 0xFFFF] {
            client.send(&subscribe(version, id, &[("t", 0)]));
            assert_eq!(client.read_packet(), answer(version, 0x90, id, &[0]));
        }
    }
}

/// Proves 5.0 [MQTT-3.8.4-6] [MQTT-3.8.4-7]; 3.1.1 [MQTT-3.8.4-5].
fn every_filter_has_its_code(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().policy(OPEN_ONLY);
    let scene = Scene::of(builder, transport, shards);
    let filters = [("open/0", 0), ("open/1", 1), ("closed", 2), ("open/2", 2)];
    for (version, refused) in [(V311, 0x80), (V5, 0x87)] {
        let mut client = scene.join(version, "client");
        client.send(&subscribe(version, 1, &filters));
        assert_eq!(suback_codes(&mut client), [0, 1, refused, 2]);
    }
}

/// Proves 5.0 [MQTT-3.8.4-3]; 3.1.1 [MQTT-3.8.4-3].
fn a_second_subscription_to_a_filter_replaces_the_first(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for qos in [2, 0, 1] {
            client.send(&subscribe(version, 1, &[("a/+", qos)]));
            assert_eq!(suback_codes(&mut client), [qos]);
            publisher.publish_fully("a/b", b"", QoS::ExactlyOnce, scene.fresh_id());
            assert_eq!(client.take_message().qos.bits(), qos);
            // Neither a second copy nor the older options.
            client.settle();
        }
    }
}

/// With retain handling 0, the only one there is in 3.1.1.
///
/// Proves 5.0 [MQTT-3.8.4-4]; 3.1.1 [MQTT-3.8.4-3].
fn replacing_a_subscription_sends_retained_messages_again_and_loses_none(
    transport: Transport,
    shards: usize,
) {
    const MESSAGES: u16 = 200;
    const ROUNDS: u16 = 20;
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    let mut retained = Publish::new("a", b"kept");
    retained.retain = true;
    publisher.send_packet(&Packet::Publish(retained));
    publisher.ping();
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.subscribe("a", QoS::AtMostOnce);
        assert!(client.message().retain);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0..MESSAGES {
                    publisher.publish("a", &number.to_be_bytes(), QoS::AtMostOnce, 0);
                }
                publisher.ping();
            });
            let (mut retained, mut live) = (0, 0_u16);
            for _ in 0..ROUNDS {
                client.subscribe("a", QoS::AtMostOnce);
            }
            while retained < ROUNDS || live < MESSAGES {
                let message = client.message();
                if message.retain {
                    retained += 1;
                } else {
                    assert_eq!(message.payload, live.to_be_bytes());
                    live += 1;
                }
            }
        });
    }
}

/// Proves 5.0 [MQTT-3.8.4-5]; 3.1.1 [MQTT-3.8.4-4].
fn filters_of_one_packet_count_in_turn(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        client.send(&subscribe(version, 1, &[("a", 1), ("b", 0), ("a", 2)]));
        assert_eq!(suback_codes(&mut client), [1, 0, 2]);
        publisher.publish_fully("a", b"", QoS::ExactlyOnce, scene.fresh_id());
        assert_eq!(
            client.take_message().qos,
            QoS::ExactlyOnce,
            "the last one holds"
        );
        publisher.publish_fully("b", b"", QoS::ExactlyOnce, scene.fresh_id());
        assert_eq!(client.take_message().qos, QoS::AtMostOnce);
        client.settle();
    }
}

/// Proves 5.0 [MQTT-3.8.4-5]; 3.1.1 [MQTT-3.8.4-4].
fn a_refused_filter_does_not_keep_the_others_from_being_granted(
    transport: Transport,
    shards: usize,
) {
    let builder = TestBroker::builder().policy(OPEN_ONLY);
    let scene = Scene::of(builder, transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        let filters = [("open/1", 0), ("closed", 0), ("open/2", 0)];
        client.send(&subscribe(version, 1, &filters));
        let _suback = client.read_packet();
        for topic in ["open/1", "open/2"] {
            publisher.publish(topic, b"", QoS::AtMostOnce, 0);
            assert_eq!(client.message().topic, topic);
        }
    }
}

/// Proves 5.0 [MQTT-3.8.4-8]; 3.1.1 [MQTT-3.8.4-6].
fn messages_come_with_the_lower_qos(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for granted in QOS {
            client.subscribe("a", granted);
            for published in QOS {
                publisher.publish_fully("a", b"", published, scene.fresh_id());
                assert_eq!(client.take_message().qos, granted.min(published));
            }
            client.settle();
        }
    }
}

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

/// The codes of the SUBACK that comes next.
fn suback_codes(client: &mut RawClient) -> Vec<u8> {
    client.recv(|packet| match packet {
        Packet::SubAck(suback) => suback.reasons.iter().map(|reason| reason.byte()).collect(),
        other => panic!("not a SUBACK: {other:?}"),
    })
}
