//! Topic names and topic filters.

use moat_codec::Version::V5;
use moat_codec::{QoS, ReasonCode};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;

use crate::scene::{
    BOTH, Scene, expect_breach, no_properties, packet, string, subscribe, unsubscribe,
};

everywhere!(
    a_topic_name_with_a_wildcard_is_refused,
    a_multi_level_wildcard_is_the_whole_last_level,
    a_single_level_wildcard_is_a_whole_level,
    wildcards_match_as_they_should,
    wildcards_in_front_do_not_match_names_that_begin_with_a_dollar,
    an_empty_topic_is_refused,
    a_topic_with_a_null_character_is_refused,
    a_topic_of_65535_bytes_is_carried,
    names_are_compared_as_they_are,
);

/// Proves 5.0 [MQTT-4.7.0-1]; 3.1.1 [MQTT-4.7.1-1].
fn a_topic_name_with_a_wildcard_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for topic in ["#", "+", "a/+", "a/#", "a+b", "#a"] {
            let mut client = scene.join(version, "client");
            client.send(&packet(0x30, &[&string(topic), no_properties(version)]));
            expect_breach(&mut client, ReasonCode::TopicNameInvalid);
        }
    }
}

/// Proves 5.0 [MQTT-4.7.1-1]; 3.1.1 [MQTT-4.7.1-2].
fn a_multi_level_wildcard_is_the_whole_last_level(transport: Transport, shards: usize) {
    refuses_filters(
        transport,
        shards,
        &["a#", "#a", "a/#/b", "#/", "a/b#", "##"],
    );
}

/// Proves 5.0 [MQTT-4.7.1-2]; 3.1.1 [MQTT-4.7.1-3].
fn a_single_level_wildcard_is_a_whole_level(transport: Transport, shards: usize) {
    refuses_filters(
        transport,
        shards,
        &["a+", "+a", "a/b+/c", "++", "a/+b", "+#"],
    );
}

fn refuses_filters(transport: Transport, shards: usize, filters: &[&str]) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for filter in filters {
            for bytes in [
                subscribe(version, 1, &[("fine", 0), (filter, 0)]),
                unsubscribe(version, 1, &["fine", filter]),
            ] {
                let mut client = scene.join(version, "client");
                client.send(&bytes);
                expect_breach(&mut client, ReasonCode::TopicFilterInvalid);
            }
        }
    }
}

/// Section 4.7.1, its examples among them.
fn wildcards_match_as_they_should(transport: Transport, shards: usize) {
    for (filter, matching, others) in [
        (
            "a/b/#",
            &["a/b", "a/b/c", "a/b/c/d", "a/b/"][..],
            &["a", "a/bc"][..],
        ),
        ("#", &["a", "/", "a/b", "/a"], &[]),
        ("a/+", &["a/b", "a/"], &["a", "a/b/c", "/a/b"]),
        ("+", &["a"], &["/a", "a/", "a/b"]),
        ("+/+", &["/a", "a/", "a/b", "/"], &["a", "a/b/c"]),
        ("/+", &["/a"], &["a", "a/a"]),
        ("+/b/#", &["a/b", "/b/c", "x/b/c/d"], &["b", "a/c/b"]),
    ] {
        let scene = Scene::new(transport, shards);
        let mut publisher = scene.join(V5, "publisher");
        let mut client = scene.join(V5, "client");
        client
            .subscribe(filter, QoS::AtMostOnce)
            .subscribe("$mark", QoS::AtMostOnce);
        for topic in others.iter().chain(matching).chain(&["$mark"]) {
            publisher.publish(topic, b"", QoS::AtMostOnce, 0);
        }
        for topic in matching.iter().chain(&["$mark"]) {
            assert_eq!(client.message().topic, *topic, "{filter}");
        }
    }
}

/// Proves 5.0 [MQTT-4.7.2-1]; 3.1.1 [MQTT-4.7.2-1].
fn wildcards_in_front_do_not_match_names_that_begin_with_a_dollar(
    transport: Transport,
    shards: usize,
) {
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let mut client = scene.join(version, "client");
        for filter in ["#", "+/x", "+/#", "+"] {
            client.subscribe(filter, QoS::AtMostOnce);
        }
        for topic in ["$other/x", "$other", "$", "mark"] {
            publisher.publish(topic, b"", QoS::AtMostOnce, 0);
        }
        assert_eq!(client.message().topic, "mark");
        client.ping();
        for filter in ["$other/#", "$other/+"] {
            let mut client = scene.join(version, "other");
            client.subscribe(filter, QoS::AtMostOnce);
            publisher.publish("$other/x", b"", QoS::AtMostOnce, 0);
            assert_eq!(client.message().topic, "$other/x");
        }
    }
}

/// Proves 5.0 [MQTT-4.7.3-1]; 3.1.1 [MQTT-4.7.3-1].
fn an_empty_topic_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        let publish = packet(0x30, &[&string(""), no_properties(version)]);
        for (bytes, reason) in [
            (publish, ReasonCode::ProtocolError),
            (
                subscribe(version, 1, &[("", 0)]),
                ReasonCode::TopicFilterInvalid,
            ),
            (
                unsubscribe(version, 1, &[""]),
                ReasonCode::TopicFilterInvalid,
            ),
        ] {
            let mut client = scene.join(version, "client");
            client.send(&bytes);
            expect_breach(&mut client, reason);
        }
    }
}

/// Proves 5.0 [MQTT-4.7.3-2]; 3.1.1 [MQTT-4.7.3-2].
fn a_topic_with_a_null_character_is_refused(transport: Transport, shards: usize) {
    let scene = Scene::new(transport, shards);
    for version in BOTH {
        for bytes in [
            packet(0x30, &[&string("a\0b"), no_properties(version)]),
            subscribe(version, 1, &[("a/\0", 0)]),
            unsubscribe(version, 1, &["\0"]),
        ] {
            let mut client = scene.join(version, "client");
            client.send(&bytes);
            expect_breach(&mut client, ReasonCode::MalformedPacket);
        }
    }
}

/// The longest there is, where the limits allow it.
///
/// Proves 5.0 [MQTT-4.2-1]; 3.1.1 [MQTT-7.1.1-1].
fn a_topic_of_65535_bytes_is_carried(transport: Transport, shards: usize) {
    let builder = TestBroker::builder().limits(|limits| {
        limits.packet.topic_bytes_max = u16::MAX;
    });
    let scene = Scene::of(builder, transport, shards);
    for version in BOTH {
        let topic = "t".repeat(usize::from(u16::MAX));
        let mut client = scene.join(version, "client");
        client
            .subscribe(&topic, QoS::AtMostOnce)
            .publish(&topic, b"", QoS::AtMostOnce, 0);
        assert_eq!(client.message().topic, topic);
    }
}

/// Case, spaces, empty levels, composed and decomposed letters, and a byte order mark make different names.
///
/// Proves 5.0 [MQTT-4.7.3-4]; 3.1.1 [MQTT-4.7.3-4].
fn names_are_compared_as_they_are(transport: Transport, shards: usize) {
    const NAMES: [&str; 14] = [
        "a/b",
        "A/b",
        "a/b/",
        "/a/b",
        "a//b",
        "a/b ",
        " a/b",
        "a/./b",
        "a\\b",
        "caf\u{E9}",
        "cafe\u{301}",
        "\u{FEFF}a/b",
        "a%2Fb",
        "stra\u{DF}e",
    ];
    for version in BOTH {
        let scene = Scene::new(transport, shards);
        let mut publisher = scene.join(V5, "publisher");
        let mut clients: Vec<_> = NAMES
            .iter()
            .enumerate()
            .map(|(n, name)| {
                let mut client = scene.join(version, &format!("client-{n}"));
                client.subscribe(name, QoS::AtMostOnce);
                client.subscribe("mark", QoS::AtMostOnce);
                client
            })
            .collect();
        for name in NAMES.iter().chain(&["strasse", "mark"]) {
            publisher.publish(name, b"", QoS::AtMostOnce, 0);
        }
        for (client, name) in clients.iter_mut().zip(NAMES) {
            assert_eq!(client.message().topic, name);
            assert_eq!(client.message().topic, "mark");
        }
    }
}
