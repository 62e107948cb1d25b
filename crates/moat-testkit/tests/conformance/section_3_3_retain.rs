//! Section 3.3.1.3: the RETAIN flag.

use moat_codec::{QoS, Version};
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    a_retained_message_is_kept_with_its_qos,
    a_retained_message_replaces_the_one_before,
    a_retained_message_of_qos_0_replaces_the_one_before,
    a_new_subscription_is_sent_what_is_retained,
    an_empty_retained_message_removes_the_one_before,
    an_empty_retained_message_reaches_subscribers,
    an_empty_retained_message_is_not_kept,
    a_message_without_the_flag_leaves_the_retained_one_alone,
    a_live_message_has_no_retain_flag,
    retain_handling_0_sends_retained_messages_each_time,
    retain_handling_1_sends_retained_messages_to_a_new_subscription,
    retain_handling_2_sends_no_retained_messages,
    retain_as_published_keeps_the_flag,
);

/// Proves 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8]; 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn a_retained_message_is_kept_with_its_qos(transport: Transport, shards: usize) {
    for version in BOTH {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = broker(shards);
            retain(&broker, transport, version, "t", b"kept", qos);
            let mut reader = client(&broker, transport, version, "reader");
            let messages = retained_for(&mut reader, "t");
            assert_eq!(messages.len(), 1);
            assert_eq!((messages[0].retain, messages[0].qos), (true, qos));
            assert_eq!(
                (&*messages[0].topic, &*messages[0].payload),
                ("t", &b"kept"[..])
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6]; 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn a_retained_message_replaces_the_one_before(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        retain(&broker, transport, version, "t", b"old", QoS::AtLeastOnce);
        retain(&broker, transport, version, "t", b"new", QoS::AtLeastOnce);
        let mut reader = client(&broker, transport, version, "reader");
        let messages = retained_for(&mut reader, "t");
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].payload, b"new");
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-7].
fn a_retained_message_of_qos_0_replaces_the_one_before(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let version = Version::V311;
    retain(&broker, transport, version, "t", b"old", QoS::ExactlyOnce);
    retain(&broker, transport, version, "t", b"new", QoS::AtMostOnce);
    let mut reader = client(&broker, transport, version, "reader");
    let messages = retained_for(&mut reader, "t");
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].payload, b"new");
}

/// Those of other topics are not, and the last one on each matching topic is.
///
/// Proves 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-8]; 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn a_new_subscription_is_sent_what_is_retained(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        retain(&broker, transport, version, "a/1", b"old", QoS::AtMostOnce);
        for topic in ["a/1", "a/2", "b/1"] {
            retain(
                &broker,
                transport,
                version,
                topic,
                topic.as_bytes(),
                QoS::AtMostOnce,
            );
        }
        let mut reader = client(&broker, transport, version, "reader");
        reader.subscribe("a/+", QoS::AtMostOnce);
        let mut messages = [reader.message(), reader.message()];
        messages.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
        for (message, topic) in messages.iter().zip(["a/1", "a/2"]) {
            assert_eq!(
                (&*message.topic, &*message.payload),
                (topic, topic.as_bytes())
            );
            assert!(message.retain);
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-10] [MQTT-3.3.1-11]; 5.0 [MQTT-3.3.1-6] [MQTT-3.3.1-7].
fn an_empty_retained_message_removes_the_one_before(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        retain(&broker, transport, version, "t", b"old", QoS::AtLeastOnce);
        retain(&broker, transport, version, "t", b"", QoS::AtMostOnce);
        let mut reader = client(&broker, transport, version, "reader");
        assert_eq!(retained_for(&mut reader, "t"), []);
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-10]; 5.0 [MQTT-3.3.1-6].
fn an_empty_retained_message_reaches_subscribers(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut reader = client(&broker, transport, version, "reader");
        reader.subscribe("t", QoS::AtMostOnce);
        let mut writer = client(&broker, transport, version, "writer");
        let bytes = publish_by_hand(version, 1, b"t", &[], b"");
        writer.send(&bytes);
        assert_eq!(
            reader.read_packet(),
            publish_by_hand(version, 0, b"t", &[], b"")
        );
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-11]; 5.0 [MQTT-3.3.1-7].
fn an_empty_retained_message_is_not_kept(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        retain(&broker, transport, version, "t", b"", QoS::AtLeastOnce);
        let mut reader = client(&broker, transport, version, "reader");
        assert_eq!(retained_for(&mut reader, "t"), []);
    }
}

/// Neither does it replace it, nor remove it if it is empty, nor is it kept where there was none.
///
/// Proves 3.1.1 [MQTT-3.3.1-5] [MQTT-3.3.1-6] [MQTT-3.3.1-12]; 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-8] [MQTT-3.3.1-9].
fn a_message_without_the_flag_leaves_the_retained_one_alone(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        // Of several topics each shard owns some.
        for topic in ["t/1", "t/2", "t/3", "t/4", "t/5", "t/6"] {
            retain(
                &broker,
                transport,
                version,
                topic,
                b"kept",
                QoS::AtLeastOnce,
            );
            let mut writer = client(&broker, transport, version, "writer");
            let nothing_kept = topic.replace('t', "u");
            for payload in [&b""[..], b"live"] {
                writer.publish_fully(topic, payload, QoS::AtLeastOnce, 1);
                writer.publish_fully(&nothing_kept, payload, QoS::AtLeastOnce, 1);
            }
            let messages = retained_for(&mut writer, topic);
            assert_eq!(messages.len(), 1);
            assert_eq!(messages[0].payload, b"kept");
            assert_eq!(retained_for(&mut writer, &nothing_kept), []);
        }
    }
}

/// Proves 3.1.1 [MQTT-3.3.1-9]; 5.0 [MQTT-3.3.1-12].
fn a_live_message_has_no_retain_flag(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut reader = client(&broker, transport, version, "reader");
        reader.send(&subscribe_by_hand(version, 1, &[(b"t", 0), (b"u", 0)]));
        assert!(!reader.suback().is_error());
        let mut writer = client(&broker, transport, version, "writer");
        for topic in [b"t", b"u"] {
            for flag in [0, 1] {
                writer.send(&publish_by_hand(version, flag, topic, &[], b"x"));
                let unflagged = publish_by_hand(version, 0, topic, &[], b"x");
                assert_eq!(reader.read_packet(), unflagged);
            }
        }
    }
}

/// Subscription options: QoS 0 and a retain handling.
const fn handling(value: u8) -> u8 {
    value << 4
}

/// What a subscription with some options to `t` is sent, once and again, until a live message arrives. The client is
/// the publisher of that message.
fn sent_twice(transport: Transport, shards: usize, options: u8) -> [usize; 2] {
    let broker = broker(shards);
    retain(
        &broker,
        transport,
        Version::V5,
        "t",
        b"kept",
        QoS::AtMostOnce,
    );
    let mut reader = client(&broker, transport, Version::V5, "reader");
    [1_u8, 2].map(|id| {
        reader.send(&subscribe_by_hand(
            Version::V5,
            id.into(),
            &[(b"t", options)],
        ));
        assert!(!reader.suback().is_error());
        // The shard that owns the topic sees the marker behind the subscription.
        reader.send(&publish_by_hand(Version::V5, 1, b"t", &[], &[id]));
        (0..).find(|_| reader.message().payload == [id]).unwrap()
    })
}

/// Proves 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-9].
fn retain_handling_0_sends_retained_messages_each_time(transport: Transport, shards: usize) {
    assert_eq!(sent_twice(transport, shards, handling(0)), [1, 1]);
}

/// Proves 5.0 [MQTT-3.3.1-5] [MQTT-3.3.1-10].
fn retain_handling_1_sends_retained_messages_to_a_new_subscription(
    transport: Transport,
    shards: usize,
) {
    assert_eq!(sent_twice(transport, shards, handling(1)), [1, 0]);
}

/// Proves 5.0 [MQTT-3.3.1-11].
fn retain_handling_2_sends_no_retained_messages(transport: Transport, shards: usize) {
    assert_eq!(sent_twice(transport, shards, handling(2)), [0, 0]);
}

/// Proves 5.0 [MQTT-3.3.1-13].
fn retain_as_published_keeps_the_flag(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let mut reader = client(&broker, transport, Version::V5, "reader");
    reader.send(&subscribe_by_hand(Version::V5, 1, &[(b"t", 0x08)]));
    assert!(!reader.suback().is_error());
    let mut writer = client(&broker, transport, Version::V5, "writer");
    for flag in [0, 1] {
        let bytes = publish_by_hand(Version::V5, flag, b"t", &[], b"x");
        writer.send(&bytes);
        assert_eq!(reader.read_packet(), bytes);
    }
}
