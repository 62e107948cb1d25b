//! What every section needs: packets made by hand, clients that are in, and how a breach ends.

use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_events::Event;
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::{Message, publish};
use moat_testkit::raw::RawClient;

/// The versions with numbered statements.
pub(crate) const BOTH: [Version; 2] = [Version::V311, Version::V5];

/// CONNECT flags.
pub(crate) const CLEAN: u8 = 0x02;
pub(crate) const WILL: u8 = 0x04;
pub(crate) const WILL_RETAIN: u8 = 0x20;
pub(crate) const PASSWORD: u8 = 0x40;
pub(crate) const USERNAME: u8 = 0x80;

/// Property identifiers.
pub(crate) const PAYLOAD_FORMAT: u8 = 0x01;
pub(crate) const MESSAGE_EXPIRY: u8 = 0x02;
pub(crate) const CONTENT_TYPE: u8 = 0x03;
pub(crate) const RESPONSE_TOPIC: u8 = 0x08;
pub(crate) const CORRELATION_DATA: u8 = 0x09;
pub(crate) const SUBSCRIPTION_IDENTIFIER: u8 = 0x0B;
pub(crate) const SESSION_EXPIRY: u8 = 0x11;
pub(crate) const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
pub(crate) const REQUEST_RESPONSE_INFORMATION: u8 = 0x19;
pub(crate) const REASON_STRING: u8 = 0x1F;
pub(crate) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(crate) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(crate) const TOPIC_ALIAS: u8 = 0x23;
pub(crate) const USER_PROPERTY: u8 = 0x26;
pub(crate) const MAXIMUM_PACKET_SIZE: u8 = 0x27;

/// Everybody may publish and subscribe to everything, except publish to `secret` and subscribe to `hidden`.
pub(crate) const DENYING: &str = "\
version = 1

[[rule]]
who = [\"*\"]
deny = [\"publish\"]
topics = [\"secret\"]

[[rule]]
who = [\"*\"]
deny = [\"subscribe\"]
topics = [\"hidden\"]

[[rule]]
who = [\"*\"]
allow = [\"publish\", \"subscribe\"]
topics = [\"#\"]
";

/// A broker where everybody may do everything. It stops, and fails if a shard ended badly, when it is dropped: after its
/// clients, which it would wait for.
pub(crate) fn broker(shards: usize) -> TestBroker {
    TestBroker::builder().shards(shards).start()
}

/// A client that has been let in, with a clean session.
pub(crate) fn client(
    broker: &TestBroker,
    transport: Transport,
    version: Version,
    id: &str,
) -> RawClient {
    let mut client = broker.client(transport);
    let reason = client.connect_with(&Connect::new(version, id));
    assert_eq!(reason, ReasonCode::Success);
    client
}

/// Connects, fails unless that succeeds, and returns whether the CONNACK says that a session is present.
pub(crate) fn enter(
    broker: &TestBroker,
    transport: Transport,
    connect: &Connect<'_>,
) -> (RawClient, bool) {
    let mut client = broker.client(transport);
    client.version = connect.version;
    client.send_packet(&Packet::Connect(connect.clone()));
    let connack = client.read_packet();
    assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
    assert!(connack[2] < 2, "reserved flags are set: {connack:02x?}");
    (client, connack[2] == 1)
}

/// A CONNECT whose session outlives its connection.
pub(crate) fn lasting(version: Version, id: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, id);
    connect.clean_start = false;
    connect.properties.session_expiry_secs = version.is_v5().then_some(600);
    connect
}

/// A packet: its first byte, its remaining length, its body.
pub(crate) fn packet(first_byte: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first_byte];
    bytes.extend(variable(body.len()));
    bytes.extend_from_slice(body);
    bytes
}

/// A variable byte integer.
pub(crate) fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Binary data or a string: two bytes of length, then the bytes.
pub(crate) fn field(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap();
    [&length.to_be_bytes(), bytes].concat()
}

/// A property block: its length and its bytes. Nothing before 5.0.
pub(crate) fn properties(version: Version, bytes: &[u8]) -> Vec<u8> {
    if !version.is_v5() {
        return Vec::new();
    }
    [&variable(bytes.len()), bytes].concat()
}

/// A CONNECT with a keep alive of 0 and no properties, by its flags and its payload.
pub(crate) fn connect(version: Version, flags: u8, payload: &[u8]) -> Vec<u8> {
    connect_with(version, flags, &[], payload)
}

/// As [`connect`], with properties.
pub(crate) fn connect_with(
    version: Version,
    flags: u8,
    property_bytes: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let body = [
        &field(b"MQTT")[..],
        &[version.level(), flags, 0, 0],
        &properties(version, property_bytes),
        payload,
    ];
    packet(0x10, &body.concat())
}

/// A PUBLISH of QoS 0 by its flags, its topic, its properties (none before 5.0) and its payload.
pub(crate) fn publish_by_hand(
    version: Version,
    flags: u8,
    topic: &[u8],
    property_bytes: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let body = [&field(topic), &properties(version, property_bytes), payload];
    packet(0x30 | flags, &body.concat())
}

/// A PUBLISH of QoS 1 or 2, empty and without properties.
pub(crate) fn publish_with_id(version: Version, qos: u8, topic: &[u8], id: u16) -> Vec<u8> {
    let body = [
        &field(topic)[..],
        &id.to_be_bytes(),
        &properties(version, &[]),
    ];
    packet(0x30 | qos << 1, &body.concat())
}

/// A SUBSCRIBE of filters with their options.
pub(crate) fn subscribe_by_hand(version: Version, id: u16, filters: &[(&[u8], u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &properties(version, &[])].concat();
    for (filter, options) in filters {
        body.extend(field(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE.
pub(crate) fn unsubscribe_by_hand(version: Version, id: u16, filters: &[&[u8]]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], &properties(version, &[])].concat();
    body.extend(filters.iter().flat_map(|filter| field(filter)));
    packet(0xA2, &body)
}

/// Sends bytes as the first ones of a connection and fails unless that is its end: for 5.0 after a CONNACK with
/// `reason` if there is one, for 3.1.1 without a word [MQTT-3.1.4-1].
pub(crate) fn expect_no_entry(
    broker: &TestBroker,
    transport: Transport,
    version: Version,
    bytes: &[u8],
    reason: ReasonCode,
) {
    let mut client = broker.client(transport);
    client.version = version;
    client.send(bytes);
    if version.is_v5() {
        assert_eq!(client.connack(), reason);
    }
    client.expect_closed();
}

/// Fails unless the broker ends the connection because of a breach: in 5.0 after a DISCONNECT with `reason`, in 3.1.1
/// without a word.
pub(crate) fn expect_breach(client: &mut RawClient, reason: ReasonCode) {
    if client.version.is_v5() {
        assert_eq!(client.expect_disconnect(), reason);
    }
    client.expect_closed();
}

/// Lets a client in, sends bytes, and fails unless they are a breach with `reason`.
pub(crate) fn breach(
    broker: &TestBroker,
    transport: Transport,
    version: Version,
    bytes: &[u8],
    reason: ReasonCode,
) {
    let mut client = client(broker, transport, version, "offender");
    client.send(bytes);
    expect_breach(&mut client, reason);
}

/// Whether a connection whose CONNECT was sent is let in. If not, it must be closed.
pub(crate) fn entered(client: &mut RawClient) -> bool {
    match client.next_packet() {
        None => false,
        Some(bytes) if bytes[0] == 0x20 && bytes[3] == 0 => true,
        Some(bytes) => {
            assert!(
                bytes[0] == 0x20,
                "the first packet is no CONNACK: {bytes:02x?}"
            );
            client.expect_closed();
            false
        }
    }
}

/// Publishes `marker` to a topic that `reader` is subscribed to, and fails if anything else arrives first.
///
/// Messages of one client keep their order, so what `writer` sent before has been delivered by then or never will be.
pub(crate) fn expect_silence(reader: &mut RawClient, writer: &mut RawClient, topic: &str) {
    writer.publish(topic, b"marker", QoS::AtMostOnce, 0);
    let message = reader.message();
    assert_eq!(
        (&*message.topic, &*message.payload),
        (topic, &b"marker"[..])
    );
}

/// Waits until the connection of a client has ended, will and all.
pub(crate) fn wait_until_gone(broker: &TestBroker, id: &str) {
    broker.wait_for(|event| match event {
        Event::ClientDisconnected { client_id, .. } if client_id == id => Some(()),
        _ => None,
    });
}

/// Publishes a retained message as the client `retainer`, which is gone afterwards.
///
/// It reads the message itself: the shard that owns the topic has stored it by then.
pub(crate) fn retain(
    broker: &TestBroker,
    transport: Transport,
    version: Version,
    topic: &str,
    payload: &[u8],
    qos: QoS,
) {
    let mut client = client(broker, transport, version, "retainer");
    client.subscribe(topic, QoS::AtMostOnce);
    let Packet::Publish(mut packet) = publish(topic, payload, qos, 7) else {
        panic!("a PUBLISH was made");
    };
    packet.retain = true;
    client.send_packet(&Packet::Publish(packet));
    // What was retained before comes first.
    while client.take_message().payload != payload {}
    // The first answers the PUBREC of a message of QoS 2, the second waits for its PUBCOMP.
    client.settle().settle();
    leave(client);
}

/// Says goodbye and waits until that has been heard.
pub(crate) fn leave(mut client: RawClient) {
    client.send(&[0xE0, 0]);
    client.expect_closed();
}

/// What is retained for a topic, as a new subscription is told. It is replaced by something else afterwards.
///
/// The shard that owns the topic answers the subscription and then fans out the retained marker of the same client.
pub(crate) fn retained_for(client: &mut RawClient, topic: &str) -> Vec<Message> {
    client.subscribe(topic, QoS::ExactlyOnce);
    let Packet::Publish(mut packet) = publish(topic, b"marker", QoS::AtMostOnce, 0) else {
        panic!("a PUBLISH was made");
    };
    packet.retain = true;
    client.send_packet(&Packet::Publish(packet));
    let mut messages = Vec::new();
    loop {
        let message = client.message();
        if message.payload == b"marker" {
            return messages;
        }
        messages.push(message);
    }
}

/// Lets one and a half seconds pass: intervals are counted in seconds, by the clock.
pub(crate) fn pass_a_second() {
    let (_sender, nobody) = std::sync::mpsc::sync_channel::<()>(1);
    let waited = nobody.recv_timeout(Duration::from_millis(1500));
    assert_eq!(waited, Err(RecvTimeoutError::Timeout));
}
