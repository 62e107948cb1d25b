//! What must hold for any bytes: the fuzz targets call these, and a plain test replays the corpus through them.
//! A broken promise is a panic.

use std::num::NonZeroU32;

use crate::{
    DecodeError, Framed, InboundAliases, Incoming, Limits, Packet, PacketType, Parts, Patch,
    Publish, PublishFrame, TopicFilter, TopicName, Version, frame,
};

/// Prefixes of the input that are framed; a fixed header has at most five bytes.
const PREFIXES_MAX: usize = 8;

/// Decodes `input`, and what it looks like as a stream, in every version and under both sets of limits.
pub fn decode(input: &[u8]) {
    for limits in [Limits::default(), Limits::generous()] {
        prefixes_agree(input, &limits);
        for version in Version::ALL {
            if let Ok(packet) = Packet::decode(input, version, &limits) {
                read_everything(&packet, &limits);
            }
            stream(input, version, &limits);
        }
    }
    if let Ok(text) = std::str::from_utf8(input) {
        let filter = TopicFilter::new(text, &Limits::default());
        let name = TopicName::new(text, &Limits::default());
        if let (Ok(filter), Ok(name)) = (filter, name) {
            // Valid as both, and no share: it has no wildcard and matches itself alone.
            assert!(filter.shared().is_some() || filter.matches(name));
        }
    }
}

/// Decodes `input` in every version; what is accepted encodes, and decodes to the same packet again.
pub fn roundtrip(input: &[u8]) {
    let limits = Limits::generous();
    for version in Version::ALL {
        let Ok(packet) = Packet::decode(input, version, &limits) else {
            continue;
        };
        let encoded = reencode(&packet, version);
        assert!(
            encoded.len() <= input.len(),
            "{packet:?} grows when it is encoded again"
        );
        let again = Packet::decode(&encoded, version, &limits);
        assert_eq!(again.as_ref(), Ok(&packet));
        assert_eq!(again.map(|packet| reencode(&packet, version)), Ok(encoded));
        if let Packet::Publish(publish) = &packet {
            frame_is_encode(publish, version);
        }
    }
}

/// [`PublishFrame`] gives what [`Publish::encode`] gives, whatever shape it was made for.
pub fn frame_is_encode(publish: &Publish<'_>, version: Version) {
    if publish.topic.is_empty() || publish.topic_alias.is_some() {
        return;
    }
    let expected = reencode(&Packet::Publish(publish.clone()), version);
    let ids: Vec<_> = publish
        .subscription_ids
        .iter()
        .filter_map(NonZeroU32::new)
        .collect();
    let patch = Patch {
        qos: publish.qos,
        dup: publish.dup,
        retain: publish.retain,
        packet_id: publish.packet_id,
        message_expiry_secs: publish.message_expiry_secs,
        subscription_ids: &ids,
        topic_alias: None,
    };
    let parts = Parts {
        topic: publish.topic.as_bytes(),
        properties: publish.properties.raw(),
        payload: publish.payload,
    };
    let size = u32::try_from(expected.len()).unwrap_or(u32::MAX);
    let mut once = vec![0xEE];
    assert!(!parts.write_to(version, &patch, size - 1, &mut once));
    assert!(parts.write_to(version, &patch, size, &mut once));
    assert_eq!(&once[1..], expected);
    for (has_expiry, with_packet_id) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let (topic, raw) = (publish.topic, publish.properties.raw());
        let frame = PublishFrame::encode(
            version,
            topic,
            raw,
            has_expiry,
            with_packet_id,
            publish.payload,
        );
        let frame = frame.ok();
        assert!(frame.is_some(), "a decoded publish does not become a frame");
        let Some(frame) = frame else { return };
        let mut out = vec![0xEE];
        frame.write_to(&patch, &mut out);
        assert_eq!(&out[1..], expected);
        assert_eq!(frame.wire_len(&patch), expected.len());
        let mut head = Vec::new();
        frame.write_head_to(&patch, &mut head);
        head.extend_from_slice(frame.payload());
        assert_eq!(head, expected);
        assert_eq!(frame.topic(), publish.topic);
    }
}

fn reencode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut out = Vec::new();
    let written = packet.encode(version, &mut out);
    assert_eq!(written, Ok(out.len()), "{packet:?} does not encode");
    out
}

/// A prefix is incomplete, or says what the whole input says.
fn prefixes_agree(input: &[u8], limits: &Limits) {
    let whole = frame(input, limits);
    for len in 0..input.len().min(PREFIXES_MAX) {
        match frame(&input[..len], limits) {
            Ok(Framed::Incomplete { need }) => {
                assert!(need > len);
                // It never asks for more than the packet has.
                if let Ok(Framed::Complete { total, .. }) = whole {
                    assert!(need <= total);
                }
            }
            other => assert_eq!(other, whole),
        }
    }
}

/// Takes packet after packet, as a connection does, resolving aliases on the way.
fn stream(input: &[u8], version: Version, limits: &Limits) {
    let mut aliases = InboundAliases::new(5);
    let mut rest = input;
    while let Ok(Framed::Complete {
        first_byte,
        header,
        total,
    }) = frame(rest, limits)
    {
        assert!(total >= 2 && total <= rest.len());
        let (packet, behind) = rest.split_at(total);
        let decoded = Packet::decode(packet, version, limits);
        assert_ne!(decoded, Err(DecodeError::NotOnePacket));
        if PacketType::of_first_byte(first_byte) == Some(PacketType::Publish) {
            // The short way for what comes most often ends where the other does.
            let incoming = Incoming::decode(packet, first_byte, header, version, limits);
            let publish = incoming.clone().map(Incoming::into_publish);
            assert_eq!(publish.map(Packet::Publish), decoded);
            if let Ok(incoming) = incoming
                && let Ok(resolved) = aliases.resolve(&incoming)
            {
                assert!(!resolved.topic().as_str().is_empty());
            }
        }
        rest = behind;
    }
}

/// Reads what is decoded lazily, and prints it.
fn read_everything(packet: &Packet<'_>, limits: &Limits) {
    assert!(!format!("{packet:?}").is_empty());
    match packet {
        Packet::Publish(publish) => {
            assert_eq!(
                publish.subscription_ids.iter().count(),
                publish.subscription_ids.len()
            );
            assert!(publish.topic.is_empty() || TopicName::new(publish.topic, limits).is_ok());
            let raw: usize = publish.properties.iter().count();
            assert!(raw <= publish.properties.raw().len());
            assert!(
                !publish.properties.payload_is_utf8()
                    || std::str::from_utf8(publish.payload).is_ok()
            );
        }
        Packet::Subscribe(subscribe) => {
            assert_eq!(subscribe.filters().count(), subscribe.len());
            for subscription in subscribe.filters() {
                assert!(TopicFilter::new(subscription.filter.as_str(), limits).is_ok());
            }
        }
        Packet::Unsubscribe(unsubscribe) => {
            assert_eq!(unsubscribe.filters().count(), unsubscribe.len());
            for filter in unsubscribe.filters() {
                assert!(TopicFilter::new(filter.as_str(), limits).is_ok());
            }
        }
        Packet::SubAck(ack) => assert_eq!(ack.reasons.iter().count(), ack.reasons.len()),
        Packet::UnsubAck(ack) => assert_eq!(ack.reasons.iter().count(), ack.reasons.len()),
        Packet::Connect(connect) => assert_eq!(
            connect.properties.user.iter().count(),
            connect.properties.user.len()
        ),
        _ => {}
    }
}
