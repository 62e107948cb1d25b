//! A broker with the clients of one check, and packets written byte by byte.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU16, Ordering};

use moat_codec::{Connect, Limits, Packet, QoS, ReasonCode, TopicName, Version, Will};
use moat_testkit::broker::{Builder, Transport};
use moat_testkit::{RawClient, TestBroker};

use crate::wire;
pub(crate) use crate::wire::{BOTH, expect_breach, lasting};

/// A policy by which everything below `open` is allowed and nothing else.
pub(crate) const OPEN_ONLY: &str = r#"version = 1
[[rule]]
who = ["*"]
allow = ["publish", "subscribe", "retain"]
topics = ["open/#"]
"#;

/// A broker and the way its clients come to it.
pub(crate) struct Scene {
    pub(crate) broker: TestBroker,
    transport: Transport,
    last_id: AtomicU16,
}

impl Scene {
    pub(crate) fn new(transport: Transport, shards: usize) -> Self {
        Self::of(TestBroker::builder(), transport, shards)
    }

    pub(crate) fn of(builder: Builder, transport: Transport, shards: usize) -> Self {
        Scene {
            broker: builder.shards(shards).start(),
            transport,
            last_id: AtomicU16::new(0),
        }
    }

    /// A packet identifier that no publisher of this scene has used.
    pub(crate) fn fresh_id(&self) -> u16 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A connection that has said nothing yet.
    pub(crate) fn stranger(&self, version: Version) -> RawClient {
        let mut client = self.broker.client(self.transport);
        client.version = version;
        client
    }

    /// A client with a session that ends with its connection.
    pub(crate) fn join(&self, version: Version, client_id: &str) -> RawClient {
        let mut client = self.stranger(version);
        client.hello(client_id);
        client
    }

    /// A client whose session lasts, and whether it was there already.
    pub(crate) fn rejoin(&self, version: Version, client_id: &str) -> (RawClient, bool) {
        self.enter(&lasting(version, client_id))
    }

    /// A client with a CONNECT of its own, and whether its session was there already.
    pub(crate) fn enter(&self, connect: &Connect<'_>) -> (RawClient, bool) {
        let mut client = self.stranger(connect.version);
        client.send_packet(&Packet::Connect(connect.clone()));
        let present = client.recv(|packet| match packet {
            Packet::ConnAck(connack) if connack.reason == ReasonCode::Success => {
                connack.session_present
            }
            other => panic!("not a CONNACK that grants: {other:?}"),
        });
        (client, present)
    }

    /// What a client that takes packets of so many bytes is answered.
    pub(crate) fn answer_within(&self, bytes: Option<u32>, request: &[u8]) -> Vec<u8> {
        let mut connect = Connect::new(Version::V5, "client");
        connect.properties.maximum_packet_size = bytes.and_then(NonZeroU32::new);
        let (mut client, _) = self.enter(&connect);
        client.send(request);
        client.read_packet()
    }

    /// Fails unless the answer is larger than `bare` where the client takes that, and where it would be one byte too
    /// large has the kind, the length and the last byte of `bare`.
    #[track_caller]
    pub(crate) fn expect_reason_where_there_is_room(&self, request: &[u8], bare: &[u8]) {
        let whole = self.answer_within(None, request);
        assert!(whole.len() > bare.len(), "no reason: {whole:02x?}");
        let size = u32::try_from(whole.len()).unwrap();
        assert_eq!(self.answer_within(Some(size), request), whole);
        let short = self.answer_within(Some(size - 1), request);
        assert_eq!(
            (short[0], short.len(), short.last()),
            (bare[0], bare.len(), bare.last()),
            "{short:02x?}"
        );
    }

    /// Returns once more than a second has passed for the broker: a will waits that long.
    pub(crate) fn a_second_passes(&self) {
        let mut watcher = self.join(Version::V5, "clock-watcher");
        watcher.subscribe("clock", QoS::AtMostOnce);
        let mut connect = lasting(Version::V5, "clock");
        connect.will = Some(Will {
            topic: TopicName::new("clock", &Limits::generous()).unwrap(),
            payload: b"a second later",
            qos: QoS::AtMostOnce,
            retain: false,
            delay_secs: 1,
            message_expiry_secs: None,
            properties: Default::default(),
        });
        let (clock, _) = self.enter(&connect);
        part(clock);
        assert_eq!(watcher.message().topic, "clock");
    }
}

/// Ends a connection without a DISCONNECT. The broker has noticed when this returns.
pub(crate) fn part(mut client: RawClient) {
    client.half_close();
    let _rest = client.read_to_end();
}

/// A packet of parts.
pub(crate) fn packet(first_byte: u8, parts: &[&[u8]]) -> Vec<u8> {
    wire::packet(first_byte, &parts.concat())
}

/// A string behind its length.
pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    wire::field(text.as_ref())
}

/// An empty property block, where the version has one.
pub(crate) fn no_properties(version: Version) -> &'static [u8] {
    if version.is_v5() { &[0] } else { &[] }
}

/// A SUBSCRIBE for filters with their options.
pub(crate) fn subscribe(version: Version, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (filter, options) in filters {
        payload.extend(string(filter));
        payload.push(*options);
    }
    packet(0x82, &[&id.to_be_bytes(), no_properties(version), &payload])
}

/// An UNSUBSCRIBE.
pub(crate) fn unsubscribe(version: Version, id: u16, filters: &[&str]) -> Vec<u8> {
    let payload: Vec<u8> = filters.iter().flat_map(string).collect();
    packet(0xA2, &[&id.to_be_bytes(), no_properties(version), &payload])
}

/// The codes of a SUBACK (0x90) or UNSUBACK (0xB0), whichever packet identifier it has.
pub(crate) fn codes(version: Version, first_byte: u8, bytes: &[u8]) -> Vec<u8> {
    let id = u16::from_be_bytes([bytes[2], bytes[3]]);
    let codes = &bytes[4 + no_properties(version).len()..];
    assert_eq!(bytes, answer(version, first_byte, id, codes));
    codes.to_vec()
}

/// A SUBACK (0x90) or UNSUBACK (0xB0) with these codes.
pub(crate) fn answer(version: Version, first_byte: u8, id: u16, codes: &[u8]) -> Vec<u8> {
    packet(
        first_byte,
        &[&id.to_be_bytes(), no_properties(version), codes],
    )
}
