//! Bytes to packets and back.

use std::hint::black_box;

use moat_codec::{
    Framed, Limits, Packet, PacketId, Parts, Patch, Publish, PublishFrame, QoS, Version, frame,
};

use crate::Path;

const TOPIC: &str = "plant/7/line/3/press-1/temperature";
const PAYLOAD: [u8; 64] = [b'x'; 64];
/// Two user properties, as they stand in a packet.
const PROPERTIES: &[u8] = b"\x26\x00\x04unit\x00\x07celsius\x26\x00\x06sensor\x00\x0cthermocouple";

/// Receivers of [`ENCODE_FRAME`].
const RECEIVERS: u16 = 100;

/// A PUBLISH of 3.1.1 at QoS 1.
pub(crate) const DECODE: Path = Path {
    name: "decode",
    what: "a PUBLISH of MQTT 3.1.1 at QoS 1, 64 bytes, from bytes",
    begin: || {
        let mut publish = Publish::new(TOPIC, &PAYLOAD);
        (publish.qos, publish.packet_id) = (QoS::AtLeastOnce, PacketId::new(7));
        let mut bytes = Vec::new();
        Packet::Publish(publish)
            .encode(Version::V311, &mut bytes)
            .unwrap();
        decode_again(bytes, Version::V311)
    },
};

/// A PUBLISH of 5.0 with two user properties.
pub(crate) const DECODE_WITH_PROPERTIES: Path = Path {
    name: "decode-properties",
    what: "a PUBLISH of MQTT 5.0 with two user properties, 64 bytes, from bytes",
    begin: || {
        let mut bytes = Vec::new();
        let parts = Parts {
            topic: TOPIC.as_bytes(),
            properties: PROPERTIES,
            payload: &PAYLOAD,
        };
        assert!(parts.write_to(Version::V5, &patch(None), u32::MAX, &mut bytes));
        decode_again(bytes, Version::V5)
    },
};

fn decode_again(bytes: Vec<u8>, version: Version) -> crate::Pass {
    let limits = Limits::default();
    Box::new(move || {
        let Ok(Framed::Complete { total, .. }) = frame(black_box(&bytes), &limits) else {
            panic!("not a packet")
        };
        let packet = Packet::decode(&bytes[..total], version, &limits);
        assert!(matches!(black_box(packet), Ok(Packet::Publish(_))));
    })
}

/// For one receiver.
pub(crate) const ENCODE_ONCE: Path = Path {
    name: "encode",
    what: "a PUBLISH for one receiver, 64 bytes, into a buffer",
    begin: || {
        let mut out = Vec::with_capacity(4096);
        Box::new(move || {
            let parts = Parts {
                topic: TOPIC.as_bytes(),
                properties: &[],
                payload: &PAYLOAD,
            };
            out.clear();
            let patch = patch(PacketId::new(9));
            assert!(parts.write_to(Version::V311, black_box(&patch), 1 << 20, &mut out));
        })
    },
};

/// For many.
pub(crate) const ENCODE_FRAME: Path = Path {
    name: "encode-100",
    what: "a PUBLISH for 100 receivers, 64 bytes, encoded once and written for each",
    begin: || {
        let mut out = Vec::with_capacity(1 << 16);
        Box::new(move || {
            let frame = PublishFrame::encode(Version::V311, TOPIC, &[], false, true, &PAYLOAD);
            let frame = frame.unwrap();
            out.clear();
            for id in 1..=RECEIVERS {
                frame.write_to(black_box(&patch(PacketId::new(id))), &mut out);
            }
        })
    },
};

fn patch(packet_id: Option<PacketId>) -> Patch<'static> {
    Patch {
        qos: QoS::AtLeastOnce,
        dup: false,
        retain: false,
        packet_id,
        message_expiry_secs: None,
        subscription_ids: &[],
        topic_alias: None,
    }
}
