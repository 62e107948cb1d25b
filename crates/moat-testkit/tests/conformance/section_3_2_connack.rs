//! Section 3.2: what a CONNACK says, and when.

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    nothing_is_sent_before_the_connack,
    there_is_one_connack_in_a_connection,
    a_refusal_says_that_no_session_is_present,
    a_refusal_is_the_end_of_the_connection,
    a_3_1_1_connect_without_a_fitting_code_is_closed_without_a_word,
    a_packet_larger_than_announced_closes_the_connection,
    an_assigned_client_id_is_nobody_elses,
    without_topic_aliases_none_is_accepted,
    the_reserved_bits_of_the_connack_are_zero,
    a_reason_string_makes_no_connack_larger_than_the_client_takes,
    a_retained_will_is_refused_where_nothing_is_retained,
    a_retained_message_closes_the_connection_where_nothing_is_retained,
    response_information_is_not_sent_to_a_client_that_does_not_ask_for_it,
);

/// A resumed session has messages to send, and a client asks before it is known who it is.
///
/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.2.0-1] [MQTT-3.3.1-3] [MQTT-4.1.0-1]; 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23]
/// [MQTT-3.2.0-1] [MQTT-3.3.1-3].
fn nothing_is_sent_before_the_connack(transport: Transport, shards: usize) {
    const SECRET: &str = "correct horse battery";
    for version in BOTH {
        let broker = TestBroker::builder()
            .shards(shards)
            .identity_required()
            .user("anna", SECRET)
            .start();
        let reader_id = format!("reader of {}", version.level());
        let of = |id| {
            let mut connect = lasting(version, id);
            (connect.username, connect.password) = (Some("anna"), Some(SECRET.as_bytes()));
            connect
        };
        let (mut reader, _) = enter(&broker, transport, &of(&reader_id));
        reader.subscribe("t", QoS::AtLeastOnce);
        leave(reader);
        let (mut writer, _) = enter(&broker, transport, &of("writer"));
        writer.publish_fully("t", b"x", QoS::AtLeastOnce, 1);
        let mut reader = broker.client(transport);
        reader.version = version;
        let connect = moat_testkit::raw::encode(&Packet::Connect(of(&reader_id)), version);
        reader.send(&[&connect[..], &[0xC0, 0]].concat());
        assert_eq!(reader.read_packet()[0], 0x20);
        let mut next = [reader.read_packet()[0], reader.read_packet()[0]];
        next.sort_unstable();
        assert_eq!(next, [0x32, 0xD0]);
    }
}

/// Proves 5.0 [MQTT-3.1.0-2] [MQTT-3.2.0-2].
fn there_is_one_connack_in_a_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut client = client(&broker, transport, Version::V5, "client");
    client.subscribe("t", QoS::AtLeastOnce);
    client.publish_fully("u", b"", QoS::ExactlyOnce, 1);
    client.send(&connect(Version::V5, CLEAN, &field(b"client")));
    expect_breach(&mut client, ReasonCode::ProtocolError);
}

/// Proves 3.1.1 [MQTT-3.1.2-4] [MQTT-3.2.2-2] [MQTT-3.2.2-4] [MQTT-4.1.0-1]; 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23]
/// [MQTT-3.2.2-3] [MQTT-3.2.2-6].
fn a_refusal_says_that_no_session_is_present(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .policy("version = 1\n[[rule]]\nwho = [\"*\"]\nallow = [\"subscribe\"]\ntopics = [\"#\"]\n")
        .start();
    for version in BOTH {
        let (mut client, _) = enter(&broker, transport, &lasting(version, "client"));
        client.ping();
        leave(client);
        // The will of this one may not be published.
        let payload = [
            field(b"client"),
            properties(version, &[]),
            field(b"w"),
            field(b""),
        ]
        .concat();
        let mut refused = broker.client(transport);
        refused.send(&connect(version, WILL, &payload));
        let connack = refused.read_packet();
        let not_authorized = if version.is_v5() { 0x87 } else { 5 };
        assert_eq!(
            (connack[0], &connack[2..4]),
            (0x20, &[0, not_authorized][..])
        );
        let (client, present) = enter(&broker, transport, &lasting(version, "client"));
        assert!(present, "a session was there all the time");
        drop(client);
        leave(enter(&broker, transport, &Connect::new(version, "client")).0);
    }
}

/// Each reason that is the client's fault, with its own code.
///
/// Proves 3.1.1 [MQTT-3.1.2-2] [MQTT-3.1.3-8] [MQTT-3.2.2-5]; 5.0 [MQTT-3.1.2-2] [MQTT-3.1.2-3] [MQTT-3.1.3-8]
/// [MQTT-3.1.4-1] [MQTT-3.2.2-7] [MQTT-3.2.2-8] [MQTT-4.12.0-1] [MQTT-4.13.2-1].
fn a_refusal_is_the_end_of_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let level = |level: u8| {
        let mut bytes = connect(Version::V5, CLEAN, &field(b"c"));
        bytes[8] = level;
        bytes
    };
    let method = [&[0x15][..], &field(b"unheard of")].concat();
    let twice = [RECEIVE_MAXIMUM, 0, 1, RECEIVE_MAXIMUM, 0, 1];
    for (bytes, answer) in [
        (level(6), &[0x20, 2, 0, 1][..]),
        (connect(Version::V311, 0, &field(b"")), &[0x20, 2, 0, 2]),
        (
            connect(Version::V5, CLEAN | 1, &field(b"c")),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            connect_with(Version::V5, CLEAN, &twice, &field(b"c")),
            &[0x20, 3, 0, 0x82, 0],
        ),
        (
            connect(Version::V5, CLEAN, &field(&[b'c'; 300])),
            &[0x20, 3, 0, 0x85, 0],
        ),
        (
            connect_with(Version::V5, CLEAN, &method, &field(b"c")),
            &[0x20, 3, 0, 0x8C, 0],
        ),
    ] {
        let mut client = broker.client(transport);
        client.send(&bytes);
        assert_eq!(client.read_to_end(), answer);
    }
}

/// Proves 3.1.1 [MQTT-3.1.2-3] [MQTT-3.1.3-3] [MQTT-3.1.4-1] [MQTT-3.2.2-6].
fn a_3_1_1_connect_without_a_fitting_code_is_closed_without_a_word(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    for bytes in [
        connect(Version::V311, CLEAN | 1, &field(b"c")),
        connect(Version::V311, CLEAN, &[]),
        packet(0x10, &field(b"MQTT")),
    ] {
        let mut client = broker.client(transport);
        client.send(&bytes);
        assert_eq!(client.read_to_end(), b"");
    }
}

/// Proves 5.0 [MQTT-3.2.2-15].
fn a_packet_larger_than_announced_closes_the_connection(transport: Transport, shards: usize) {
    const SIZE: u32 = 1000;
    // A PUBLISH with topic `t` and no properties is seven bytes longer than its payload.
    const PAYLOAD: usize = SIZE as usize - 7;
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| limits.packet.packet_bytes_max = SIZE)
        .start();
    let mut client = broker.client(transport);
    client.send(&connect(Version::V5, CLEAN, &field(b"client")));
    client.recv(|packet| match packet {
        Packet::ConnAck(connack) => {
            assert_eq!(connack.properties.maximum_packet_size, Some(SIZE));
        }
        other => panic!("not a CONNACK: {other:?}"),
    });
    let fits = publish_by_hand(Version::V5, 0, b"t", &[], &vec![b'x'; PAYLOAD]);
    assert_eq!(fits.len(), SIZE as usize);
    client.send(&fits);
    client.ping();
    client.send(&publish_by_hand(
        Version::V5,
        0,
        b"t",
        &[],
        &vec![b'x'; PAYLOAD + 1],
    ));
    expect_breach(&mut client, ReasonCode::PacketTooLarge);
}

/// Proves 5.0 [MQTT-3.1.3-7] [MQTT-3.2.2-16].
fn an_assigned_client_id_is_nobody_elses(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut ids = Vec::new();
    for _ in 0..20 {
        let mut client = broker.client(transport);
        client.send(&connect_with(
            Version::V5,
            0,
            &[SESSION_EXPIRY, 0, 0, 1, 0],
            &field(b""),
        ));
        let id = client.recv(|packet| match packet {
            Packet::ConnAck(connack) => connack
                .properties
                .assigned_client_id
                .expect("it is told")
                .to_owned(),
            other => panic!("not a CONNACK: {other:?}"),
        });
        assert!(!ids.contains(&id), "{id} is a session's already");
        ids.push(id);
    }
}

/// Proves 5.0 [MQTT-3.2.2-18].
fn without_topic_aliases_none_is_accepted(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| limits.topic_alias_max = 0)
        .start();
    let bytes = publish_by_hand(Version::V5, 0, b"t", &[TOPIC_ALIAS, 0, 1], b"x");
    breach(
        &broker,
        transport,
        Version::V5,
        &bytes,
        ReasonCode::TopicAliasInvalid,
    );
}

/// Proves 5.0 [MQTT-3.1.2-5] [MQTT-3.1.2-23] [MQTT-3.2.2-1] [MQTT-3.2.2-3].
fn the_reserved_bits_of_the_connack_are_zero(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut flags = Vec::new();
    for _ in 0..2 {
        let mut client = broker.client(transport);
        client.send_packet(&Packet::Connect(lasting(Version::V5, "client")));
        flags.push(client.read_packet()[2]);
        leave(client);
    }
    assert_eq!(flags, [0, 1]);
}

/// Proves 5.0 [MQTT-3.1.2-28].
fn response_information_is_not_sent_to_a_client_that_does_not_ask_for_it(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    for asked in [&[][..], &[REQUEST_RESPONSE_INFORMATION, 0]] {
        let mut client = broker.client(transport);
        client.send(&connect_with(Version::V5, CLEAN, asked, &field(b"client")));
        client.recv(|packet| match packet {
            Packet::ConnAck(connack) => assert_eq!(connack.properties.response_information, None),
            other => panic!("not a CONNACK: {other:?}"),
        });
    }
}

/// A will that is not allowed is refused with a reason for people.
///
/// Proves 5.0 [MQTT-3.1.2-24] [MQTT-3.2.2-19].
fn a_reason_string_makes_no_connack_larger_than_the_client_takes(
    transport: Transport,
    shards: usize,
) {
    let broker = TestBroker::builder().shards(shards).policy(DENYING).start();
    let payload = [&field(b"client")[..], &[0], &field(b"secret"), &field(b"")].concat();
    let refused = |size: usize| {
        let size = u16::try_from(size).unwrap().to_be_bytes();
        let maximum = [MAXIMUM_PACKET_SIZE, 0, 0, size[0], size[1]];
        let mut client = broker.client(transport);
        client.send(&connect_with(Version::V5, CLEAN | WILL, &maximum, &payload));
        let connack = client.read_packet();
        assert_eq!((connack[0], connack[3]), (0x20, 0x87));
        connack
    };
    let whole = refused(1000);
    assert!(whole.contains(&REASON_STRING), "{whole:02x?}");
    assert_eq!(refused(whole.len()), whole);
    assert_eq!(refused(whole.len() - 1), [0x20, 3, 0, 0x87, 0]);
}

fn broker_without_retained_messages(shards: usize) -> TestBroker {
    let builder = TestBroker::builder().shards(shards);
    builder
        .limits(|limits| limits.retained_messages_max = 0)
        .start()
}

/// Proves 5.0 [MQTT-3.2.2-13].
fn a_retained_will_is_refused_where_nothing_is_retained(transport: Transport, shards: usize) {
    let broker = broker_without_retained_messages(shards);
    let payload = [&field(b"client")[..], &[0], &field(b"w"), &field(b"")].concat();
    for (flags, reason) in [(CLEAN | WILL, 0), (CLEAN | WILL | WILL_RETAIN, 0x9A)] {
        let mut client = broker.client(transport);
        client.send(&connect(Version::V5, flags, &payload));
        let connack = client.read_packet();
        assert_eq!((connack[0], connack[3]), (0x20, reason));
        if reason > 0 {
            client.expect_closed();
        }
    }
}

/// The client was told so by its CONNACK.
///
/// Proves 5.0 [MQTT-3.2.2-14].
fn a_retained_message_closes_the_connection_where_nothing_is_retained(
    transport: Transport,
    shards: usize,
) {
    let broker = broker_without_retained_messages(shards);
    let mut client = broker.client(transport);
    client.send(&connect(Version::V5, CLEAN, &field(b"client")));
    client.recv(|packet| match packet {
        Packet::ConnAck(connack) => {
            assert_eq!(connack.properties.retain_available, Some(false));
        }
        other => panic!("not a CONNACK: {other:?}"),
    });
    client.send(&publish_by_hand(Version::V5, 1, b"t", &[], b"x"));
    expect_breach(&mut client, ReasonCode::RetainNotSupported);
}
