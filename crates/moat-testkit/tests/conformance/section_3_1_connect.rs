//! Section 3.1: what a CONNECT has to look like, and what follows one that does not.

use moat_codec::{QoS, ReasonCode, Version};
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    the_first_packet_has_to_be_a_connect,
    a_second_connect_is_a_protocol_error,
    an_unknown_protocol_name_is_not_served,
    a_connect_of_3_1_is_served_by_the_rules_of_3_1,
    an_unknown_protocol_level_is_refused_and_closed,
    the_reserved_connect_flag_has_to_be_zero,
    a_user_name_without_its_flag_closes_the_connection,
    a_user_name_flag_without_a_user_name_closes_the_connection,
    a_password_without_its_flag_closes_the_connection,
    a_password_flag_without_a_password_closes_the_connection,
    a_password_without_a_user_name_closes_a_3_1_1_connection,
    the_fields_of_the_payload_are_read_in_their_order,
    a_client_id_has_to_be_there,
    a_client_id_that_is_no_utf8_closes_the_connection,
    a_user_name_that_is_no_utf8_closes_the_connection,
    bytes_behind_the_payload_close_the_connection,
    a_property_that_a_connect_may_not_have_closes_the_connection,
    a_property_that_stands_twice_closes_the_connection,
    a_valid_connect_is_acknowledged,
    wrong_credentials_close_the_connection,
    what_follows_a_refused_connect_is_not_handled,
);

const NAME: &str = "anna";
const SECRET: &str = "correct horse battery";

/// Proves 3.1.1 [MQTT-3.1.0-1] [MQTT-4.8.0-1]; 5.0 [MQTT-3.1.0-1].
fn the_first_packet_has_to_be_a_connect(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for bytes in [
            vec![0xC0, 0],
            publish_by_hand(version, 0, b"t", &[], b"x"),
            subscribe_by_hand(version, 1, &[(b"t", 0)]),
            vec![0xE0, 0],
            vec![0x20, 2, 0, 0],
        ] {
            let mut client = broker.client(transport);
            client.send(&[bytes, connect(version, CLEAN, &field(b"late"))].concat());
            client.expect_closed();
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.0-2]; 5.0 [MQTT-3.1.0-2] [MQTT-3.2.0-2].
fn a_second_connect_is_a_protocol_error(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for id in ["offender", "another"] {
            let bytes = connect(version, CLEAN, &field(id.as_bytes()));
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::ProtocolError,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-1]; 5.0 [MQTT-3.1.2-1].
fn an_unknown_protocol_name_is_not_served(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for name in [
            &b"MQTX"[..],
            b"mqtt",
            b"MQTTT",
            b"MQT",
            b"",
            b"\xFF\xFF\xFF\xFF",
        ] {
            let head = [&field(name)[..], &[version.level(), CLEAN, 0, 0]].concat();
            let body = [&head, &properties(version, &[]), &field(b"c")[..]].concat();
            let mut client = broker.client(transport);
            client.send(&packet(0x10, &body));
            assert!(!entered(&mut client));
        }
    }
}

/// Its CONNACK has no place for a session that is present, and its UNSUBSCRIBE may be a repeated one.
///
/// Proves 3.1.1 [MQTT-3.1.2-1].
fn a_connect_of_3_1_is_served_by_the_rules_of_3_1(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for _ in 0..2 {
        let mut client = broker.client(transport);
        client.version = Version::V31;
        let head = [&field(b"MQIsdp")[..], &[3, 0, 0, 0], &field(b"client")].concat();
        client.send(&packet(0x10, &head));
        assert_eq!(client.read_packet(), [0x20, 2, 0, 0]);
        let mut repeated = unsubscribe_by_hand(Version::V31, 1, &[b"t"]);
        repeated[0] |= 0x08;
        client.send(&repeated);
        assert_eq!(client.read_packet()[..2], [0xB0, 2]);
        leave(client);
    }
}

/// A broker cannot know in which form a client reads that refuses it, so it is the one of 3.1.1.
///
/// Proves 3.1.1 [MQTT-3.1.2-2] [MQTT-3.2.2-5]; 5.0 [MQTT-3.1.2-2].
fn an_unknown_protocol_level_is_refused_and_closed(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for level in [0, 1, 2, 3, 6, 7, 0x84, 0xFF] {
        let mut bytes = connect(Version::V5, CLEAN, &field(b"c"));
        bytes[8] = level;
        let mut client = broker.client(transport);
        client.send(&bytes);
        assert_eq!(client.read_to_end(), [0x20, 2, 0, 1], "{level}");
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-3] [MQTT-3.1.4-1] [MQTT-3.2.2-6]; 5.0 [MQTT-3.1.2-3] [MQTT-3.1.4-1].
fn the_reserved_connect_flag_has_to_be_zero(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = connect(version, CLEAN | 1, &field(b"c"));
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-18]; 5.0 [MQTT-3.1.2-16].
fn a_user_name_without_its_flag_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let payload = [field(b"c"), field(NAME.as_bytes())].concat();
        let bytes = connect(version, CLEAN, &payload);
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-19]; 5.0 [MQTT-3.1.2-17].
fn a_user_name_flag_without_a_user_name_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = connect(version, CLEAN | USERNAME, &field(b"c"));
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-20]; 5.0 [MQTT-3.1.2-18].
fn a_password_without_its_flag_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let payload = [
            field(b"c"),
            field(NAME.as_bytes()),
            field(SECRET.as_bytes()),
        ]
        .concat();
        let bytes = connect(version, CLEAN | USERNAME, &payload);
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-21]; 5.0 [MQTT-3.1.2-19].
fn a_password_flag_without_a_password_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let payload = [field(b"c"), field(NAME.as_bytes())].concat();
        let bytes = connect(version, CLEAN | USERNAME | PASSWORD, &payload);
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// 5.0 allows it.
///
/// Proves 3.1.1 [MQTT-3.1.2-22].
fn a_password_without_a_user_name_closes_a_3_1_1_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let payload = [field(b"c"), field(SECRET.as_bytes())].concat();
    let version = Version::V311;
    let bytes = connect(version, CLEAN | PASSWORD, &payload);
    expect_no_entry(
        &broker,
        transport,
        version,
        &bytes,
        ReasonCode::MalformedPacket,
    );
}

/// The will arrives where it is meant for, user name and password are those of a user, and the client id is taken.
///
/// Proves 3.1.1 [MQTT-3.1.2-8] [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.4-2]; 5.0 [MQTT-3.1.2-7] [MQTT-3.1.2-8]
/// [MQTT-3.1.3-1] [MQTT-3.1.3-3] [MQTT-3.1.4-3].
fn the_fields_of_the_payload_are_read_in_their_order(transport: Transport, shards: usize) {
    let broker = moat_testkit::TestBroker::builder()
        .shards(shards)
        .identity_required()
        .user(NAME, SECRET)
        .start();
    for version in BOTH {
        let enter = |id: &[u8]| {
            let fields = [
                field(id),
                properties(version, &[]),
                field(b"will/topic"),
                field(b"will payload"),
                field(NAME.as_bytes()),
                field(SECRET.as_bytes()),
            ];
            let mut client = broker.client(transport);
            client.version = version;
            client.send(&connect(
                version,
                CLEAN | WILL | USERNAME | PASSWORD,
                &fields.concat(),
            ));
            assert!(entered(&mut client));
            client
        };
        let mut reader = enter(b"reader");
        reader.subscribe("will/topic", QoS::AtMostOnce);
        let mut client = enter(b"client");
        // The same client id: the connection that is taken over leaves its will.
        let _next = enter(b"client");
        if version.is_v5() {
            assert_eq!(client.expect_disconnect(), ReasonCode::SessionTakenOver);
        }
        client.expect_closed();
        let message = reader.message();
        assert_eq!(
            (&*message.topic, &*message.payload),
            ("will/topic", &b"will payload"[..])
        );
    }
}

/// Proves 3.1.1 [MQTT-3.1.3-3]; 5.0 [MQTT-3.1.3-3].
fn a_client_id_has_to_be_there(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = connect(version, CLEAN, &[]);
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 3.1.1 [MQTT-1.5.3-1] [MQTT-3.1.3-4]; 5.0 [MQTT-1.5.4-1] [MQTT-3.1.3-4].
fn a_client_id_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for id in [&b"a\xED\xA0\x80"[..], b"a\xFF", b"a\xC3"] {
            let bytes = connect(version, CLEAN, &field(id));
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-1.5.3-1] [MQTT-3.1.3-11]; 5.0 [MQTT-1.5.4-1] [MQTT-3.1.3-12].
fn a_user_name_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for name in [&b"a\xED\xA0\x80"[..], b"a\xFF", b"a\xC3"] {
            let bytes = connect(
                version,
                CLEAN | USERNAME,
                &[field(b"c"), field(name)].concat(),
            );
            expect_no_entry(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.1.4-1] [MQTT-3.2.2-6]; 5.0 [MQTT-3.1.4-1].
fn bytes_behind_the_payload_close_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = connect(version, CLEAN, &[&field(b"c")[..], &[0]].concat());
        expect_no_entry(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 5.0 [MQTT-3.1.4-1].
fn a_property_that_a_connect_may_not_have_closes_the_connection(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    // A topic alias, and an identifier that nothing has.
    for property in [&[TOPIC_ALIAS, 0, 1][..], &[0x7E, 0, 1]] {
        let bytes = connect_with(Version::V5, CLEAN, property, &field(b"c"));
        let reason = ReasonCode::MalformedPacket;
        expect_no_entry(&broker, transport, Version::V5, &bytes, reason);
    }
}

/// Proves 5.0 [MQTT-3.1.4-1].
fn a_property_that_stands_twice_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for property in [
        &[SESSION_EXPIRY, 0, 0, 0, 1][..],
        &[RECEIVE_MAXIMUM, 0, 1],
        &[MAXIMUM_PACKET_SIZE, 0, 1, 0, 0],
        &[TOPIC_ALIAS_MAXIMUM, 0, 1],
        &[REQUEST_PROBLEM_INFORMATION, 1],
        &[REQUEST_RESPONSE_INFORMATION, 1],
    ] {
        let once = connect_with(Version::V5, CLEAN, property, &field(b"c"));
        let mut client = broker.client(transport);
        client.send(&once);
        assert!(entered(&mut client), "{property:02x?}");
        let twice = connect_with(Version::V5, CLEAN, &property.repeat(2), &field(b"c"));
        let reason = ReasonCode::ProtocolError;
        expect_no_entry(&broker, transport, Version::V5, &twice, reason);
    }
}

/// Proves 3.1.1 [MQTT-3.1.4-4] [MQTT-3.2.2-1]; 5.0 [MQTT-3.1.4-5].
fn a_valid_connect_is_acknowledged(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut client = broker.client(transport);
    client.send(&connect(Version::V311, CLEAN, &field(b"c")));
    assert_eq!(client.read_packet(), [0x20, 2, 0, 0]);
    let mut client = broker.client(transport);
    client.send(&connect(Version::V5, CLEAN, &field(b"c")));
    let connack = client.read_packet();
    assert_eq!((connack[0], connack[3]), (0x20, 0));
}

/// Proves 3.1.1 [MQTT-3.2.2-5]; 5.0 [MQTT-3.1.4-2] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.13.2-1].
fn wrong_credentials_close_the_connection(transport: Transport, shards: usize) {
    let broker = moat_testkit::TestBroker::builder()
        .shards(shards)
        .identity_required()
        .user(NAME, SECRET)
        .start();
    for version in BOTH {
        let (nobody, wrong): (&[u8], &[u8]) = match version {
            Version::V5 => (&[0x20, 3, 0, 0x87, 0], &[0x20, 3, 0, 0x86, 0]),
            _ => (&[0x20, 2, 0, 5], &[0x20, 2, 0, 4]),
        };
        let mut client = broker.client(transport);
        client.send(&connect(version, CLEAN, &field(b"c")));
        assert_eq!(client.read_to_end(), nobody);
        let payload = [field(b"c"), field(NAME.as_bytes()), field(b"a guess")].concat();
        let mut client = broker.client(transport);
        client.send(&connect(version, CLEAN | USERNAME | PASSWORD, &payload));
        assert_eq!(client.read_to_end(), wrong);
    }
}

/// The message behind a refused CONNECT does not arrive, whereas that behind a good one does.
///
/// Proves 3.1.1 [MQTT-3.1.4-5]; 5.0 [MQTT-3.1.4-2] [MQTT-3.1.4-6].
fn what_follows_a_refused_connect_is_not_handled(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = moat_testkit::TestBroker::builder()
            .shards(shards)
            .identity_required()
            .user(NAME, SECRET)
            .start();
        let enter = |id: &[u8], password: &[u8], topic: &[u8], message: &[u8]| {
            let payload = [field(id), field(NAME.as_bytes()), field(password)].concat();
            let connect = connect(version, CLEAN | USERNAME | PASSWORD, &payload);
            let publish = publish_by_hand(version, 0, topic, &[], message);
            let mut client = broker.client(transport);
            client.version = version;
            client.send(&[connect, publish].concat());
            (entered(&mut client), client)
        };
        let (_, mut reader) = enter(b"reader", SECRET.as_bytes(), b"nowhere", b"");
        reader.subscribe("t", QoS::AtMostOnce);
        assert!(!enter(b"writer", b"a guess", b"t", b"refused").0);
        let (entered, _writer) = enter(b"writer", SECRET.as_bytes(), b"t", b"taken");
        assert!(entered);
        assert_eq!(reader.message().payload, b"taken");
    }
}
