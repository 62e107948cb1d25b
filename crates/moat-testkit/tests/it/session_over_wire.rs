//! Sessions across connections and shards: takeover, order, retained messages.

use std::collections::HashMap;
use std::num::NonZeroU32;

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::{Builder, Transport};
use moat_testkit::mqtt::publish;
use moat_testkit::raw::{RawClient, encode};

everywhere!(
    a_session_changes_hands_again_and_again,
    racing_takeovers_leave_one_connection,
    order_is_kept_per_publisher,
    no_older_retained_message_follows_a_newer_live_one,
    a_session_keeps_its_messages_while_its_client_is_away,
    packets_behind_a_password_wait_for_the_verdict,
    a_graceful_stop_says_goodbye,
    a_graceful_stop_sends_clients_to_the_other_server,
);

const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

fn unlimited(shards: usize) -> Builder {
    TestBroker::builder().shards(shards).limits(|limits| {
        limits.publishes_per_sec_max = 0;
        limits.out_buffer_bytes_max = 64 << 20;
        limits.queued_messages_max = 100_000;
        limits.inflight_messages_max = 1000;
    })
}

fn lasting(client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(Version::V5, client_id);
    connect.clean_start = false;
    connect.properties.session_expiry_secs = Some(600);
    connect
}

fn a_session_changes_hands_again_and_again(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut publisher = broker.client(transport);
    publisher.hello("publisher");
    let mut current = broker.client(transport);
    assert_eq!(
        current.connect_with(&lasting("device")),
        ReasonCode::Success
    );
    current.subscribe("t", QoS::AtLeastOnce);
    for round in 0..30_u8 {
        let mut next = broker.client(transport);
        assert_eq!(next.connect_with(&lasting("device")), ReasonCode::Success);
        assert_eq!(current.expect_disconnect(), ReasonCode::SessionTakenOver);
        current.expect_closed();
        publisher.publish_fully("t", &[round], QoS::AtLeastOnce, 1);
        assert_eq!(next.take_message().payload, [round]);
        // The broker has the acknowledgement before the session changes hands again.
        next.ping();
        current = next;
    }
    assert_eq!(broker.report().sizes.sessions, 2);
    broker.stop();
}

fn racing_takeovers_leave_one_connection(transport: Transport, shards: usize) {
    const RACERS: usize = 6;
    const ROUNDS: usize = 10;
    let broker = unlimited(shards).start();
    std::thread::scope(|scope| {
        for _ in 0..RACERS {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    let mut client = broker.client(transport);
                    assert_eq!(
                        client.connect_with(&lasting("contested")),
                        ReasonCode::Success
                    );
                }
            });
        }
    });
    let mut last = broker.client(transport);
    assert_eq!(
        last.connect_with(&lasting("contested")),
        ReasonCode::Success
    );
    last.subscribe("t", QoS::ExactlyOnce)
        .publish("t", b"mine", QoS::AtMostOnce, 0);
    assert_eq!(last.message().payload, b"mine");
    assert_eq!(broker.report().sizes.sessions, 1);
    broker.stop();
}

/// Several publishers and subscribers, so that with two shards some of each pair are on different ones.
fn order_is_kept_per_publisher(transport: Transport, shards: usize) {
    const PUBLISHERS: u32 = 4;
    const SUBSCRIBERS: u32 = 3;
    const MESSAGES: u16 = 600;
    for qos in QOS {
        let broker = unlimited(shards).start();
        let mut subscribers: Vec<_> = (0..SUBSCRIBERS)
            .map(|n| {
                let mut client = broker.client(transport);
                client
                    .hello(&format!("subscriber-{n}"))
                    .subscribe("order/+", qos);
                client
            })
            .collect();
        std::thread::scope(|scope| {
            for n in 0..PUBLISHERS {
                let mut client = broker.client(transport);
                client.hello(&format!("publisher-{n}"));
                scope.spawn(move || publish_numbered(client, &format!("order/{n}"), qos, MESSAGES));
            }
            for client in &mut subscribers {
                scope.spawn(move || expect_numbered(client, PUBLISHERS, MESSAGES));
            }
        });
        broker.stop();
    }
}

fn publish_numbered(mut client: RawClient, topic: &str, qos: QoS, count: u16) {
    let mut bytes = Vec::new();
    for number in 0..count {
        publish(topic, &number.to_be_bytes(), qos, number + 1)
            .encode(Version::V5, &mut bytes)
            .unwrap();
        // As many as may be under way at once.
        if number % 500 == 499 || number + 1 == count {
            client.send(&std::mem::take(&mut bytes));
            finish_exchanges(&mut client, qos, number % 500 + 1);
        }
    }
    client.ping();
}

fn finish_exchanges(client: &mut RawClient, qos: QoS, count: u16) {
    use moat_codec::PacketType::{PubAck, PubComp, PubRec, PubRel};
    match qos {
        QoS::AtMostOnce => {}
        QoS::AtLeastOnce => {
            (0..count).for_each(|n| assert!(!client.expect_ack(PubAck).1.is_error(), "{n}"))
        }
        QoS::ExactlyOnce => {
            let ids: Vec<_> = (0..count).map(|_| client.expect_ack(PubRec).0).collect();
            ids.iter().for_each(|id| client.acknowledge(PubRel, *id));
            ids.iter()
                .for_each(|id| assert_eq!(client.expect_ack(PubComp).0, *id));
        }
    }
}

fn expect_numbered(client: &mut RawClient, publishers: u32, count: u16) {
    let mut next: HashMap<String, u16> = HashMap::new();
    for _ in 0..publishers * u32::from(count) {
        let message = client.take_message();
        let number = u16::from_be_bytes(message.payload[..].try_into().unwrap());
        let expected = next.entry(message.topic).or_default();
        assert_eq!(number, *expected);
        *expected += 1;
    }
}

fn no_older_retained_message_follows_a_newer_live_one(transport: Transport, shards: usize) {
    const ROUNDS: u32 = 20;
    const MESSAGES: u32 = 60;
    let broker = unlimited(shards).start();
    for round in 0..ROUNDS {
        let topic = format!("state/{round}");
        let mut publisher = broker.client(transport);
        publisher.hello(&format!("publisher-{round}"));
        let mut joiner = broker.client(transport);
        joiner.hello(&format!("joiner-{round}"));
        std::thread::scope(|scope| {
            let publisher_topic = topic.clone();
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let mut packet = moat_codec::Publish::new(&publisher_topic, &[]);
                    let payload = number.to_be_bytes();
                    (packet.payload, packet.retain) = (&payload, true);
                    publisher.send_packet(&Packet::Publish(packet));
                }
                publisher.ping();
            });
            joiner.subscribe(&topic, QoS::AtMostOnce);
            let mut newest = None;
            while newest != Some(MESSAGES - 1) {
                let payload = joiner.message().payload;
                let number = u32::from_be_bytes(payload[..].try_into().unwrap());
                assert!(Some(number) >= newest, "{number} after {newest:?}");
                newest = Some(number);
            }
        });
    }
    broker.stop();
}

fn a_session_keeps_its_messages_while_its_client_is_away(transport: Transport, shards: usize) {
    const MESSAGES: u16 = 100;
    let broker = unlimited(shards).start();
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut connect = lasting("sleeper");
        connect.properties.maximum_packet_size = NonZeroU32::new(100_000);
        let mut sleeper = broker.client(transport);
        assert_eq!(sleeper.connect_with(&connect), ReasonCode::Success);
        sleeper.subscribe("dream", qos);
        sleeper.half_close();
        sleeper.expect_closed();
        let mut publisher = broker.client(transport);
        publisher.hello("publisher");
        for number in 0..MESSAGES {
            let reason = publisher.publish_fully("dream", &number.to_be_bytes(), qos, number + 1);
            assert_eq!(reason, ReasonCode::Success);
        }
        let mut sleeper = broker.client(transport);
        assert_eq!(sleeper.connect_with(&connect), ReasonCode::Success);
        for number in 0..MESSAGES {
            assert_eq!(sleeper.take_message().payload, number.to_be_bytes());
        }
        sleeper.settle();
    }
    broker.stop();
}

fn packets_behind_a_password_wait_for_the_verdict(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .identity_required()
        .user("anna", "correct horse battery")
        .user("otto", "battery horse correct")
        .start();
    let session = |user: &'static str, password: &'static str| {
        let mut connect = Connect::new(Version::V5, user);
        (connect.username, connect.password) = (Some(user), Some(password.as_bytes()));
        connect
    };
    let mut subscriber = broker.client(transport);
    assert_eq!(
        subscriber.connect_with(&session("otto", "battery horse correct")),
        ReasonCode::Success
    );
    subscriber.subscribe("t", QoS::AtMostOnce);
    for (password, number) in [("wrong horse battery", 0_u8), ("correct horse battery", 1)] {
        let mut bytes = encode(&Packet::Connect(session("anna", password)), Version::V5);
        bytes.extend(encode(
            &publish("t", &[number], QoS::AtMostOnce, 0),
            Version::V5,
        ));
        let mut client = broker.client(transport);
        client.send(&bytes);
        let expected = if number == 0 {
            ReasonCode::BadUserNameOrPassword
        } else {
            ReasonCode::Success
        };
        assert_eq!(client.connack(), expected);
        if number == 1 {
            client.ping();
        }
    }
    assert_eq!(
        subscriber.message().payload,
        [1],
        "the refused client's message is not the first"
    );
    broker.stop();
}

fn a_graceful_stop_says_goodbye(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut clients: Vec<_> = (0..10).map(|_| broker.client(transport)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.hello(&format!("client-{number}"));
    }
    let mut old = broker.client(transport);
    assert_eq!(
        old.connect_with(&Connect::new(Version::V311, "old")),
        ReasonCode::Success
    );
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| broker.stop());
        for client in &mut clients {
            assert_eq!(client.expect_disconnect(), ReasonCode::ServerShuttingDown);
            client.expect_closed();
        }
        old.expect_closed();
        drop((clients, old));
        stopping.join().unwrap();
    });
}

fn a_graceful_stop_sends_clients_to_the_other_server(transport: Transport, shards: usize) {
    const OTHER: &str = "mqtt-2.example.org:8883";
    let builder = TestBroker::builder().shards(shards);
    let broker = builder.server_reference(OTHER).start();
    let mut client = broker.client(transport);
    client.hello("told");
    // Too small for the reference, which is left out then [MQTT-3.14.2-4].
    let mut small = broker.client(transport);
    let mut connect = Connect::new(Version::V5, "small");
    connect.properties.maximum_packet_size = NonZeroU32::new(27);
    assert_eq!(small.connect_with(&connect), ReasonCode::Success);
    let goodbye = |client: &mut RawClient| {
        let told = client.recv(|packet| match packet {
            Packet::Disconnect(goodbye) => {
                let reference = goodbye.server_reference.map(str::to_owned);
                (goodbye.reason, reference)
            }
            other => panic!("not a DISCONNECT: {other:?}"),
        });
        client.expect_closed();
        told
    };
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| broker.stop());
        let told = (ReasonCode::UseAnotherServer, Some(OTHER.to_owned()));
        assert_eq!(goodbye(&mut client), told);
        assert_eq!(goodbye(&mut small), (ReasonCode::UseAnotherServer, None));
        drop((client, small));
        stopping.join().unwrap();
    });
}
