//! The edge-trigger rules: nothing that was received, decrypted or paused is ever forgotten.

use moat_codec::{
    Connect, Limits, Packet, PacketType, QoS, ReasonCode, Subscribe, Subscription,
    SubscriptionOptions, TopicFilter, Unsubscribe, Version,
};
use moat_events::Event;
use moat_testkit::TestBroker;
use moat_testkit::broker::{Builder, Transport};
use moat_testkit::mqtt::{packet_id, publish};
use moat_testkit::raw::{RawClient, TlsOptions, encode};

/// Messages of a flood.
const FLOOD_MESSAGES: u32 = 100_000;

everywhere!(
    a_session_byte_by_byte,
    a_session_in_segments_of_one_byte,
    a_flood_in_one_write_arrives_whole_and_in_order,
    many_packets_in_one_record,
    one_packet_over_many_records,
    more_than_a_read_budget_waits_behind_a_pause,
    data_right_before_the_end_is_handled,
    data_right_before_a_rude_end_is_handled,
    a_whole_session_right_before_the_end_is_handled,
    a_whole_session_with_a_password_right_before_the_end_is_handled,
    data_behind_a_pause_is_handled_after_the_end,
    a_paused_publisher_goes_on_by_itself,
    a_reader_that_stops_gets_every_qos_1_message,
    what_a_slow_qos_0_reader_misses_is_counted,
);

fn unlimited(shards: usize) -> Builder {
    TestBroker::builder().shards(shards).limits(|limits| {
        limits.publishes_per_sec_max = 0;
        limits.out_buffer_bytes_max = 64 << 20;
    })
}

fn subscribe_to(filter: &str) -> Vec<u8> {
    let subscriptions = [Subscription {
        filter: TopicFilter::new(filter, &Limits::generous()).unwrap(),
        options: SubscriptionOptions::qos(QoS::AtMostOnce),
    }];
    encode(
        &Packet::Subscribe(Subscribe::new(packet_id(1), &subscriptions)),
        Version::V5,
    )
}

/// CONNECT, SUBSCRIBE to `t/#` and PUBLISH to `t/x`.
fn whole_session(payload: &[u8]) -> Vec<u8> {
    let mut bytes = encode(
        &Packet::Connect(Connect::new(Version::V5, "whole")),
        Version::V5,
    );
    bytes.extend(subscribe_to("t/#"));
    bytes.extend(encode(
        &publish("t/x", payload, QoS::AtMostOnce, 0),
        Version::V5,
    ));
    bytes
}

fn expect_whole_session(client: &mut RawClient, payload: &[u8]) {
    assert_eq!(client.connack(), ReasonCode::Success);
    assert_eq!(client.suback(), ReasonCode::Success);
    assert_eq!(client.message().payload, payload);
}

/// `count` numbered messages to `topic`, as one run of bytes.
fn numbered(topic: &str, qos: QoS, count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let id = u16::try_from(number % 60_000 + 1).unwrap();
        publish(topic, &number.to_be_bytes(), qos, id)
            .encode(Version::V5, &mut bytes)
            .unwrap();
    }
    bytes
}

fn number_of(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload[..4].try_into().unwrap())
}

/// Plain: each byte in a segment. TLS: each byte in a record.
fn a_session_byte_by_byte(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut client = broker.client(transport);
    client.send_slowly(&whole_session(b"slow"));
    expect_whole_session(&mut client, b"slow");
    broker.stop();
}

/// TLS: the handshake and the records, each byte in a segment.
fn a_session_in_segments_of_one_byte(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut client = match transport {
        Transport::Plain | Transport::Ws | Transport::Unix => broker.client(transport),
        Transport::Tls | Transport::Wss => {
            let options = TlsOptions {
                byte_by_byte: true,
                ..broker.tls_options()
            };
            let mut client = RawClient::connect_tls(broker.address(transport), &options).unwrap();
            if transport == Transport::Wss {
                client.upgrade();
            }
            client
        }
    };
    client.byte_by_byte(true);
    client.send(&whole_session(b"slower"));
    expect_whole_session(&mut client, b"slower");
    broker.stop();
}

fn a_flood_in_one_write_arrives_whole_and_in_order(transport: Transport, shards: usize) {
    let broker = unlimited(shards).start();
    let mut subscriber = broker.client(transport);
    subscriber
        .hello("subscriber")
        .subscribe("flood", QoS::AtMostOnce);
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    std::thread::scope(|scope| {
        scope.spawn(|| publisher.send(&numbered("flood", QoS::AtMostOnce, FLOOD_MESSAGES)));
        for number in 0..FLOOD_MESSAGES {
            assert_eq!(number_of(&subscriber.message().payload), number);
        }
    });
    assert_eq!(broker.report().counters.messages_dropped_total, 0);
    broker.stop();
}

fn many_packets_in_one_record(transport: Transport, shards: usize) {
    const MESSAGES: u32 = 500;
    let broker = unlimited(shards).start();
    let mut client = broker.client(transport);
    let mut bytes = encode(
        &Packet::Connect(Connect::new(Version::V5, "many")),
        Version::V5,
    );
    bytes.extend(subscribe_to("many"));
    bytes.extend(numbered("many", QoS::AtMostOnce, MESSAGES));
    assert!(bytes.len() < 16 << 10, "fits into one record");
    client.send(&bytes);
    assert_eq!(client.connack(), ReasonCode::Success);
    assert_eq!(client.suback(), ReasonCode::Success);
    for number in 0..MESSAGES {
        assert_eq!(number_of(&client.message().payload), number);
    }
    broker.stop();
}

fn one_packet_over_many_records(transport: Transport, shards: usize) {
    let broker = unlimited(shards).start();
    let mut client = broker.client(transport);
    client.hello("long").subscribe("long", QoS::AtMostOnce);
    let pattern: Vec<u8> = (0..=250).cycle().take(700_000).collect();
    client.send(&encode(
        &publish("long", &pattern, QoS::AtMostOnce, 0),
        Version::V5,
    ));
    assert!(
        client.message().payload == pattern,
        "one write, many full records"
    );
    let pattern = &pattern[..3000];
    for chunk in encode(&publish("long", pattern, QoS::AtMostOnce, 0), Version::V5).chunks(7) {
        client.send(chunk);
    }
    assert!(
        client.message().payload == pattern,
        "one packet, many tiny records"
    );
    broker.stop();
}

/// While a publisher is paused its bytes pile up in the kernel, and the end of the pause is no event of the socket's.
fn more_than_a_read_budget_waits_behind_a_pause(transport: Transport, shards: usize) {
    const LARGE_PACKETS: usize = 6;
    let broker = slow_publishers(shards).start();
    let mut client = broker.client(transport);
    client.hello("patient");
    let large = large_unsubscribe();
    assert!(large.len() > 64 << 10, "larger than the read budget");
    // First fast, so that the kernel grows the window and all of the rest fits into it.
    for _ in 0..LARGE_PACKETS {
        client.send(&large);
    }
    for _ in 0..LARGE_PACKETS {
        expect_unsuback(&mut client);
    }
    client.send(&numbered("t", QoS::AtMostOnce, 2));
    wait_for_pause(&broker);
    for _ in 0..LARGE_PACKETS {
        client.send(&large);
    }
    client.send(&encode(&Packet::PingReq, Version::V5));
    for _ in 0..LARGE_PACKETS {
        expect_unsuback(&mut client);
    }
    client.recv(|packet| assert!(matches!(packet, Packet::PingResp), "{packet:?}"));
    broker.stop();
}

/// One message at once, and one more per second.
fn slow_publishers(shards: usize) -> Builder {
    TestBroker::builder().shards(shards).limits(|limits| {
        limits.publishes_per_sec_max = 1;
        limits.publish_burst_max = 1;
    })
}

fn wait_for_pause(broker: &TestBroker) {
    broker.wait_for(|event| matches!(event, Event::PublishRateExceeded { .. }).then_some(()));
}

/// A packet of about 100 KB that costs no publish.
fn large_unsubscribe() -> Vec<u8> {
    let limits = Limits::generous();
    let names: Vec<String> = (0..100).map(|n| format!("{n:0>1000}")).collect();
    let filters: Vec<_> = names
        .iter()
        .map(|name| TopicFilter::new(name, &limits).unwrap())
        .collect();
    encode(
        &Packet::Unsubscribe(Unsubscribe::new(packet_id(7), &filters)),
        Version::V5,
    )
}

fn expect_unsuback(client: &mut RawClient) {
    client.recv(|packet| assert!(matches!(packet, Packet::UnsubAck(_)), "{packet:?}"));
}

fn data_right_before_the_end_is_handled(transport: Transport, shards: usize) {
    data_before_an_end(transport, shards, RawClient::half_close);
}

fn data_right_before_a_rude_end_is_handled(transport: Transport, shards: usize) {
    data_before_an_end(transport, shards, RawClient::half_close_rudely);
}

fn data_before_an_end(transport: Transport, shards: usize, end: fn(&mut RawClient)) {
    const MESSAGES: u32 = 20_000;
    let broker = unlimited(shards).start();
    let mut subscriber = broker.client(transport);
    subscriber
        .hello("subscriber")
        .subscribe("last", QoS::AtMostOnce);
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    publisher.send(&numbered("last", QoS::AtMostOnce, MESSAGES));
    end(&mut publisher);
    for number in 0..MESSAGES {
        assert_eq!(number_of(&subscriber.message().payload), number);
    }
    publisher.expect_closed();
    broker.stop();
}

/// CONNECT, PUBLISH, DISCONNECT and FIN before the first answer.
fn a_whole_session_right_before_the_end_is_handled(transport: Transport, shards: usize) {
    let broker = unlimited(shards).start();
    let mut subscriber = broker.client(transport);
    subscriber
        .hello("subscriber")
        .subscribe("t/#", QoS::AtMostOnce);
    for number in 0..20_u8 {
        let mut client = broker.client(transport);
        client.send(&whole_session(&[number]));
        client.half_close();
        assert_eq!(subscriber.message().payload, [number]);
    }
    broker.stop();
}

/// The verdict comes after the end of the client's side.
fn a_whole_session_with_a_password_right_before_the_end_is_handled(
    transport: Transport,
    shards: usize,
) {
    const PASSWORD: &str = "correct horse battery";
    let broker = TestBroker::builder()
        .shards(shards)
        .user("anna", PASSWORD)
        .start();
    let mut subscriber = broker.client(transport);
    subscriber
        .hello("subscriber")
        .subscribe("t", QoS::AtMostOnce);
    let mut connect = Connect::new(Version::V5, "anna");
    (connect.username, connect.password) = (Some("anna"), Some(PASSWORD.as_bytes()));
    let mut client = broker.client(transport);
    client.send(&encode(&Packet::Connect(connect), Version::V5));
    client.send_packet(&publish("t", b"last words", QoS::AtMostOnce, 0));
    client.half_close();
    assert_eq!(subscriber.message().payload, b"last words");
    broker.stop();
}

fn data_behind_a_pause_is_handled_after_the_end(transport: Transport, shards: usize) {
    let broker = slow_publishers(shards).start();
    let mut subscriber = broker.client(transport);
    subscriber
        .hello("subscriber")
        .subscribe("last", QoS::AtMostOnce);
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    publisher.send(&numbered("last", QoS::AtMostOnce, 3));
    publisher.half_close();
    for number in 0..3 {
        assert_eq!(number_of(&subscriber.message().payload), number);
    }
    broker.stop();
}

fn a_paused_publisher_goes_on_by_itself(transport: Transport, shards: usize) {
    const MESSAGES: u32 = 25;
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| {
            limits.publishes_per_sec_max = 20;
            limits.publish_burst_max = 5;
        })
        .start();
    let mut client = broker.client(transport);
    client
        .hello("eager")
        .send(&numbered("t", QoS::AtLeastOnce, MESSAGES));
    wait_for_pause(&broker);
    for number in 0..MESSAGES {
        let (id, reason) = client.expect_ack(PacketType::PubAck);
        assert_eq!(
            (u32::from(id.value()), reason.is_error()),
            (number + 1, false)
        );
    }
    broker.stop();
}

/// Bytes of each message that fills up a reader.
const FILLING: usize = 32 << 10;
/// Messages that fill up a reader: 16 MiB, more than the kernel keeps for a socket.
const FILLING_MESSAGES: u16 = 512;

fn filling(number: u16) -> Vec<u8> {
    let mut payload = vec![0; FILLING];
    payload[..4].copy_from_slice(&u32::from(number).to_be_bytes());
    payload
}

fn a_reader_that_stops_gets_every_qos_1_message(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| {
            limits.publishes_per_sec_max = 0;
            limits.inflight_messages_max = u16::MAX;
            limits.queued_bytes_max = 64 << 20;
        })
        .start();
    let mut reader = broker.client_with_receive_buffer(transport, 4096);
    reader.hello("reader").subscribe("fill", QoS::AtLeastOnce);
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    for number in 0..FILLING_MESSAGES {
        let reason =
            publisher.publish_fully("fill", &filling(number), QoS::AtLeastOnce, number + 1);
        assert_eq!(reason, ReasonCode::Success);
    }
    for number in 0..FILLING_MESSAGES {
        assert_eq!(number_of(&reader.take_message().payload), u32::from(number));
    }
    assert_eq!(broker.report().counters.messages_dropped_total, 0);
    broker.stop();
}

fn what_a_slow_qos_0_reader_misses_is_counted(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .limits(|limits| limits.publishes_per_sec_max = 0)
        .start();
    let mut reader = broker.client_with_receive_buffer(transport, 4096);
    reader.hello("reader").subscribe("fill", QoS::AtMostOnce);
    reader.subscribe("end", QoS::AtLeastOnce);
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    for number in 0..FILLING_MESSAGES {
        publisher.publish("fill", &filling(number), QoS::AtMostOnce, 0);
    }
    // On the way to the reader's shard it is behind all the others, and it is not dropped.
    publisher.publish_fully("end", b"", QoS::AtLeastOnce, 1);
    let mut arrived = Vec::new();
    while let Some(number) = reader.recv(|packet| match packet {
        Packet::Publish(publish) if publish.payload.is_empty() => None,
        Packet::Publish(publish) => Some(number_of(publish.payload)),
        other => panic!("unexpected {other:?}"),
    }) {
        arrived.push(number);
    }
    assert!(arrived.is_sorted(), "dropped, not reordered");
    let dropped = broker.report().counters.messages_dropped_total;
    assert!(dropped > 0, "16 MiB do not fit");
    assert_eq!(arrived.len() as u64 + dropped, u64::from(FILLING_MESSAGES));
    // The one who was slow is not punished for it.
    publisher.publish("fill", &filling(7), QoS::AtMostOnce, 0);
    assert_eq!(number_of(&reader.message().payload), 7);
    broker.stop();
}
