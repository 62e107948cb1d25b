//! Section 1.5: strings, integers and pairs.

use moat_codec::{QoS, ReasonCode, Version};
use moat_testkit::broker::Transport;

use crate::wire::*;

everywhere!(
    a_string_that_is_no_utf8_closes_the_connection,
    a_property_that_is_no_utf8_closes_the_connection,
    a_string_with_a_null_character_closes_the_connection,
    a_property_with_a_null_character_closes_the_connection,
    a_byte_order_mark_is_a_character_of_its_string,
    a_variable_byte_integer_longer_than_needed_closes_the_connection,
    what_the_broker_sends_has_the_shortest_lengths,
);

/// An encoded surrogate, a byte that occurs nowhere, a sequence cut short, and one longer than needed.
const NO_UTF8: [&[u8]; 4] = [b"a\xED\xA0\x80", b"a\xFF", b"a\xC3", b"\xC0\xAF"];

/// Proves 3.1.1 [MQTT-1.5.3-1] [MQTT-3.3.2-1]; 5.0 [MQTT-1.5.4-1] [MQTT-3.3.2-1].
fn a_string_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        for bad in NO_UTF8 {
            let bytes = publish_by_hand(version, 0, bad, &[], b"x");
            breach(
                &broker,
                transport,
                version,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Content type, response topic, and both halves of a user property.
///
/// Proves 5.0 [MQTT-1.5.4-1] [MQTT-1.5.7-1] [MQTT-3.3.2-13] [MQTT-3.3.2-19].
fn a_property_that_is_no_utf8_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for bad in NO_UTF8 {
        for property in strings_of_a_publish(bad) {
            let bytes = publish_by_hand(Version::V5, 0, b"t", &property, b"x");
            breach(
                &broker,
                transport,
                Version::V5,
                &bytes,
                ReasonCode::MalformedPacket,
            );
        }
    }
}

/// Proves 3.1.1 [MQTT-1.5.3-2] [MQTT-4.7.3-2]; 5.0 [MQTT-1.5.4-2] [MQTT-4.7.3-2].
fn a_string_with_a_null_character_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for version in BOTH {
        let bytes = publish_by_hand(version, 0, b"a\0b", &[], b"x");
        breach(
            &broker,
            transport,
            version,
            &bytes,
            ReasonCode::MalformedPacket,
        );
        let id = connect(version, CLEAN, &field(b"a\0b"));
        expect_no_entry(
            &broker,
            transport,
            version,
            &id,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Proves 5.0 [MQTT-1.5.4-2] [MQTT-1.5.7-1].
fn a_property_with_a_null_character_closes_the_connection(transport: Transport, shards: usize) {
    let broker = broker(shards);
    for property in strings_of_a_publish(b"a\0b") {
        let bytes = publish_by_hand(Version::V5, 0, b"t", &property, b"x");
        // The response topic is a topic, too, and has a reason of its own.
        let mut client = client(&broker, transport, Version::V5, "offender");
        client.send(&bytes);
        assert!(client.expect_disconnect().is_error());
        client.expect_closed();
    }
}

/// A property with a string in each place a string can have in a PUBLISH.
fn strings_of_a_publish(text: &[u8]) -> [Vec<u8>; 4] {
    [
        [&[CONTENT_TYPE], &field(text)[..]].concat(),
        [&[RESPONSE_TOPIC], &field(text)[..]].concat(),
        [&[USER_PROPERTY], &field(text)[..], &field(b"value")].concat(),
        [&[USER_PROPERTY], &field(b"name")[..], &field(text)].concat(),
    ]
}

/// Proves 3.1.1 [MQTT-1.5.3-3]; 5.0 [MQTT-1.5.4-3].
fn a_byte_order_mark_is_a_character_of_its_string(transport: Transport, shards: usize) {
    for version in BOTH {
        let broker = broker(shards);
        let mut reader = client(&broker, transport, version, "reader");
        reader.subscribe("\u{FEFF}a", QoS::AtMostOnce);
        reader.subscribe("end", QoS::AtMostOnce);
        let mut writer = client(&broker, transport, version, "writer");
        writer.send(&publish_by_hand(version, 0, b"a", &[], b"without"));
        writer.send(&publish_by_hand(version, 0, b"\xEF\xBB\xBFa", &[], b"with"));
        let expected = publish_by_hand(version, 0, b"\xEF\xBB\xBFa", &[], b"with");
        assert_eq!(reader.read_packet(), expected);
        expect_silence(&mut reader, &mut writer, "end");
    }
}

/// Proves 5.0 [MQTT-1.5.5-1].
fn a_variable_byte_integer_longer_than_needed_closes_the_connection(
    transport: Transport,
    shards: usize,
) {
    let broker = broker(shards);
    let version = Version::V5;
    for bytes in [
        // A remaining length, a property length, and a subscription identifier.
        &[0xC0, 0x80, 0x00][..],
        b"\x30\x06\x00\x01t\x80\x00x",
        b"\x82\x0A\x00\x01\x03\x0B\x81\x00\x00\x01t\x00",
    ] {
        breach(
            &broker,
            transport,
            version,
            bytes,
            ReasonCode::MalformedPacket,
        );
    }
}

/// Remaining lengths and property lengths on both sides of 127 and 16,383.
///
/// Proves 5.0 [MQTT-1.5.5-1] [MQTT-3.3.2-16].
fn what_the_broker_sends_has_the_shortest_lengths(transport: Transport, shards: usize) {
    let broker = broker(shards);
    let version = Version::V5;
    let mut reader = client(&broker, transport, version, "reader");
    reader.subscribe("t", QoS::AtMostOnce);
    let mut writer = client(&broker, transport, version, "writer");
    for size in [100, 110, 122, 123, 130, 16_370, 16_378, 16_379, 16_390] {
        let payload = publish_by_hand(version, 0, b"t", &[], &vec![b'x'; size]);
        let data = [&[CORRELATION_DATA], &field(&vec![b'y'; size])[..]].concat();
        let property = publish_by_hand(version, 0, b"t", &data, b"x");
        for bytes in [payload, property] {
            writer.send(&bytes);
            assert_eq!(reader.read_packet(), bytes, "{size}");
        }
    }
}
