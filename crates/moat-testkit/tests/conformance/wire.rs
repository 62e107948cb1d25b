//! What every section needs: packets made by hand, clients that are in, and how a breach ends.

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
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

/// A broker where everybody may do everything.
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

/// A PUBLISH by its flags, its topic's bytes, what stands between topic and payload, and its payload.
pub(crate) fn publish_by_hand(flags: u8, topic: &[u8], middle: &[u8], payload: &[u8]) -> Vec<u8> {
    packet(0x30 | flags, &[&field(topic), middle, payload].concat())
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

/// Publishes at QoS 0 and is sure that it was handled.
pub(crate) fn tell(client: &mut RawClient, topic: &str, payload: &[u8]) {
    client.send_packet(&publish(topic, payload, QoS::AtMostOnce, 0));
    client.ping();
}

/// Publishes a retained message at QoS 1, and waits until everybody could have it.
pub(crate) fn retain(client: &mut RawClient, topic: &str, payload: &[u8]) {
    let Packet::Publish(mut packet) = publish(topic, payload, QoS::AtLeastOnce, 7) else {
        panic!("a PUBLISH was made");
    };
    packet.retain = true;
    client.send_packet(&Packet::Publish(packet));
    assert!(
        !client
            .expect_ack(moat_codec::PacketType::PubAck)
            .1
            .is_error()
    );
}

/// What a new subscription to `filter` is sent at once. A message to the subscriber itself ends it.
pub(crate) fn retained(client: &mut RawClient, filter: &str) -> Vec<Message> {
    client.subscribe(filter, QoS::AtMostOnce);
    let end = format!("end/{filter}").replace(['+', '#', '/'], "-");
    client.subscribe(&end, QoS::AtMostOnce);
    client.publish(&end, b"", QoS::AtMostOnce, 0);
    let mut messages = Vec::new();
    loop {
        let message = client.message();
        if message.topic == end {
            return messages;
        }
        messages.push(message);
    }
}
