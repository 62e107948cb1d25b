//! Sections 3.1.2.4, 3.1.2.11.2, 3.1.3.1 and 3.1.4: sessions, and whose they are.

use moat_codec::{Connect, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    a_clean_start_discards_the_session,
    a_session_is_resumed,
    without_a_session_a_new_one_begins,
    messages_are_kept_while_the_client_is_away,
    a_clean_session_ends_with_its_connection,
    retained_messages_outlive_the_session,
    a_client_id_names_its_session,
    each_identity_has_its_own_session_under_a_client_id,
    a_second_connection_ends_the_first,
    client_ids_of_23_characters_are_accepted,
    a_client_without_id_is_given_one,
    an_assigned_id_names_the_session,
    an_empty_client_id_of_3_1_1_needs_a_clean_session,
    a_client_id_that_is_too_long_is_refused,
    a_client_id_that_the_listener_forbids_is_refused,
);

const QOS: [QoS; 2] = [QoS::AtLeastOnce, QoS::ExactlyOnce];

/// Proves 3.1.1 [MQTT-3.1.2-6] [MQTT-3.1.4-3] [MQTT-3.2.2-1];
/// 5.0 [MQTT-3.1.2-4] [MQTT-3.1.4-4] [MQTT-3.2.2-2].
fn a_clean_start_discards_the_session(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut writer = client(&broker, transport, version, "writer");
        let (mut first, _) = enter(&broker, transport, &lasting(version, "client"));
        first.subscribe("t", QoS::AtLeastOnce);
        leave(first);
        writer.publish_fully("t", b"for the old session", QoS::AtLeastOnce, 1);
        let (mut second, present) = enter(&broker, transport, &Connect::new(version, "client"));
        assert!(!present);
        second.subscribe("end", QoS::AtMostOnce);
        writer.publish_fully("t", b"without a subscription", QoS::AtLeastOnce, 2);
        expect_silence(&mut second, &mut writer, "end");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.4-3] [MQTT-3.2.2-2] [MQTT-4.1.0-1];
/// 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.1.4-4] [MQTT-3.2.2-3].
fn a_session_is_resumed(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let (mut first, _) = enter(&broker, transport, &lasting(version, "client"));
        first.subscribe("t", QoS::AtMostOnce);
        leave(first);
        let (mut second, present) = enter(&broker, transport, &lasting(version, "client"));
        assert!(present);
        second.publish("t", b"x", QoS::AtMostOnce, 0);
        assert_eq!(second.message().payload, b"x");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.2.2-3] [MQTT-4.1.0-1]; 5.0 [MQTT-3.1.2-6] [MQTT-3.2.2-3].
fn without_a_session_a_new_one_begins(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let id = format!("client of {}", version.level());
        let (mut first, present) = enter(&broker, transport, &lasting(version, &id));
        assert!(!present);
        first.ping();
        leave(first);
        let (_second, present) = enter(&broker, transport, &lasting(version, &id));
        assert!(present, "it was created");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.2-5] [MQTT-4.1.0-1] [MQTT-4.5.0-1]; 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23]
/// [MQTT-4.5.0-1].
fn messages_are_kept_while_the_client_is_away(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in QOS {
            let broker = broker(shards);
            let (mut first, _) = enter(&broker, transport, &lasting(version, "client"));
            first.subscribe("t", qos);
            leave(first);
            let mut writer = client(&broker, transport, version, "writer");
            for number in 0..5 {
                writer.publish_fully("t", &[number], qos, 1);
            }
            let (mut second, _) = enter(&broker, transport, &lasting(version, "client"));
            for number in 0..5 {
                assert_eq!(second.take_message().payload, [number]);
            }
            second.settle();
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-6] [MQTT-3.2.2-3]; 5.0 [MQTT-3.2.2-3] [MQTT-4.1.0-2].
fn a_clean_session_ends_with_its_connection(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let (mut first, _) = enter(&broker, transport, &Connect::new(version, "client"));
        first.subscribe("t", QoS::AtLeastOnce);
        leave(first);
        let (mut second, present) = enter(&broker, transport, &lasting(version, "client"));
        assert!(!present);
        second.subscribe("end", QoS::AtMostOnce);
        let mut writer = client(&broker, transport, version, "writer");
        writer.publish("t", b"x", QoS::AtMostOnce, 0);
        expect_silence(&mut second, &mut writer, "end");
        leave(second);
        enter(&broker, transport, &Connect::new(version, "client"));
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-7] [MQTT-3.3.1-5] [MQTT-3.3.1-6]; 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn retained_messages_outlive_the_session(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        retain(&broker, transport, version, "t", b"kept", QoS::AtLeastOnce);
        let (mut next, _) = enter(&broker, transport, &Connect::new(version, "retainer"));
        let messages = retained_for(&mut next, "t");
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].payload, b"kept");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.1.3-2] [MQTT-3.2.2-2] [MQTT-3.2.2-3] [MQTT-4.1.0-1]; 5.0 [MQTT-3.1.2-5]
/// [MQTT-3.1.2-23] [MQTT-3.1.3-2] [MQTT-3.2.2-3].
fn a_client_id_names_its_session(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        leave(enter(&broker, transport, &lasting(version, "client")).0);
        for (id, is_there) in [("Client", false), ("client1", false), ("client", true)] {
            let (mut next, present) = enter(&broker, transport, &lasting(version, id));
            assert_eq!(present, is_there, "{id}");
            next.ping();
        }
    }
}

/// The deliberate deviation: a session belongs to an identity, and the client id names it among that identity's.
///
/// Proves 3.1.1 [MQTT-3.1.3-2] [MQTT-3.1.4-2] [MQTT-3.2.2-3]; 5.0 [MQTT-3.1.3-2] [MQTT-3.1.4-3] [MQTT-3.2.2-3].
fn each_identity_has_its_own_session_under_a_client_id(transport: Transport, shards: usize) {
    const SECRET: &str = "correct horse battery";
    let broker = TestBroker::builder()
        .shards(shards)
        .identity_required()
        .user("anna", SECRET)
        .user("otto", SECRET)
        .start();
    for version in BOTH {
        let id = format!("client of {}", version.level());
        let of = |name: &'static str| {
            let mut connect = lasting(version, &id);
            (connect.username, connect.password) = (Some(name), Some(SECRET.as_bytes()));
            enter(&broker, transport, &connect)
        };
        let (mut annas, _) = of("anna");
        let (mut ottos, present) = of("otto");
        assert!(!present, "it is anna's");
        annas.ping();
        ottos.ping();
    }
}

/// Proves 3.1.1 [MQTT-3.1.4-2]; 5.0 [MQTT-3.1.4-3].
fn a_second_connection_ends_the_first(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for connect in [Connect::new(version, "client"), lasting(version, "client")] {
            let (mut first, _) = enter(&broker, transport, &connect);
            let (mut second, _) = enter(&broker, transport, &connect);
            if version.is_v5() {
                assert_eq!(first.expect_disconnect(), ReasonCode::SessionTakenOver);
            }
            first.expect_closed();
            second.ping();
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.3-5]; 5.0 [MQTT-3.1.3-5].
fn client_ids_of_23_characters_are_accepted(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for id in [
            "0",
            "0123456789abcdefghijklm",
            "nopqrstuvwxyzABCDEFGHIJ",
            "KLMNOPQRSTUVWXYZ",
        ] {
            leave(enter(&broker, transport, &Connect::new(version, id)).0);
        }
    }
}

/// Two of them do not take each other over.
///
/// Proves 3.1.1 [MQTT-3.1.3-6]; 5.0 [MQTT-3.1.3-6] [MQTT-3.1.3-7] [MQTT-3.2.2-16].
fn a_client_without_id_is_given_one(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut clients: Vec<_> = (0..3)
            .map(|_| {
                let mut client = broker.client(transport);
                client.version = version;
                client.send(&connect(version, CLEAN, &field(b"")));
                (assigned_client_id(&client.read_packet()), client)
            })
            .collect();
        for (_, client) in &mut clients {
            client.ping();
        }
        if version.is_v5() {
            let mut ids: Vec<_> = clients.iter().filter_map(|(id, _)| id.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), 3, "{ids:?}");
        }
    }
}

/// The Assigned Client Identifier of a CONNACK. 3.1.1 has none.
fn assigned_client_id(connack: &[u8]) -> Option<String> {
    match moat_testkit::raw::decode(
        connack,
        if connack[1] == 2 {
            Version::V311
        } else {
            Version::V5
        },
    ) {
        moat_codec::Packet::ConnAck(connack) => {
            assert_eq!(connack.reason, ReasonCode::Success);
            connack.properties.assigned_client_id.map(str::to_owned)
        }
        other => panic!("not a CONNACK: {other:?}"),
    }
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.1.3-7] [MQTT-3.2.2-3].
fn an_assigned_id_names_the_session(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut first = broker.client(transport);
    let expiry = [SESSION_EXPIRY, 0, 0, 2, 0];
    first.send(&connect_with(Version::V5, 0, &expiry, &field(b"")));
    let id = assigned_client_id(&first.read_packet()).expect("it is told");
    leave(first);
    let (_second, present) = enter(&broker, transport, &lasting(Version::V5, &id));
    assert!(present);
}

/// Proves 3.1.1 [MQTT-3.1.3-8] [MQTT-3.2.2-5].
fn an_empty_client_id_of_3_1_1_needs_a_clean_session(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut client = broker.client(transport);
    client.send(&connect(Version::V311, 0, &field(b"")));
    assert_eq!(client.read_to_end(), [0x20, 2, 0, 2]);
}

/// Proves 3.1.1 [MQTT-3.1.3-9] [MQTT-3.2.2-5]; 5.0 [MQTT-3.1.3-8] [MQTT-3.2.2-7].
fn a_client_id_that_is_too_long_is_refused(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let mut client = broker.client(transport);
        client.send(&connect(version, CLEAN, &field(&[b'c'; 257])));
        assert_eq!(client.read_to_end(), client_id_refused(version));
    }
}

/// Proves 3.1.1 [MQTT-3.1.3-9] [MQTT-3.2.2-5]; 5.0 [MQTT-3.1.3-8] [MQTT-3.2.2-7].
fn a_client_id_that_the_listener_forbids_is_refused(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .client_id(moat_config::ClientIdMode::IsIdentity)
        .start();
    for version in BOTH {
        let mut client = broker.client(transport);
        client.send(&connect(version, CLEAN, &field(b"somebody else")));
        // Its reason for people may follow.
        let connack = client.read_packet();
        assert_eq!(
            (connack[0], &connack[2..4]),
            (0x20, &client_id_refused(version)[2..4])
        );
        client.expect_closed();
    }
}

fn client_id_refused(version: Version) -> &'static [u8] {
    match version {
        Version::V5 => &[0x20, 3, 0, 0x85, 0],
        _ => &[0x20, 2, 0, 2],
    }
}
