//! What a client has been sent, decoded.

use std::num::NonZeroU16;

use moat_codec::{Ack, Packet, PacketId, PacketType, ReasonCode, Version};
use moat_core::shard::Refused;

use super::METHOD;

/// A PUBLISH that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pub {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) id: u16,
    pub(crate) expiry: Option<u32>,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) alias: Option<u16>,
}

impl Pub {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// The properties of a CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) session_present: bool,
    pub(crate) reason: ReasonCode,
    pub(crate) session_expiry_secs: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) server_keep_alive_secs: Option<u16>,
    pub(crate) shared_subscription_available: Option<bool>,
}

/// A packet that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    ConnAck(Granted),
    Publish(Pub),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubRel(u16, ReasonCode),
    PubComp(u16, ReasonCode),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16, Vec<ReasonCode>),
    PingResp,
    Disconnect(ReasonCode),
    Auth(ReasonCode, Vec<u8>),
}

/// Decodes a packet of the server. What does not decode is a bug of the server.
pub(super) fn got(bytes: &[u8], version: Version) -> Got {
    let packet = Packet::decode(bytes, version, &moat_codec::Limits::generous()).unwrap();
    let id = |ack: &Ack<'_>| (ack.packet_id.value(), ack.reason);
    match packet {
        Packet::ConnAck(connack) => Got::ConnAck(Granted {
            session_present: connack.session_present,
            reason: connack.reason,
            session_expiry_secs: connack.properties.session_expiry_secs,
            receive_maximum: connack.properties.receive_maximum.map(NonZeroU16::get),
            maximum_packet_size: connack.properties.maximum_packet_size,
            assigned_client_id: connack.properties.assigned_client_id.map(str::to_owned),
            topic_alias_maximum: connack.properties.topic_alias_maximum,
            server_keep_alive_secs: connack.properties.server_keep_alive_secs,
            shared_subscription_available: connack.properties.shared_subscription_available,
        }),
        Packet::Publish(publish) => Got::Publish(Pub {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos.bits(),
            dup: publish.dup,
            retain: publish.retain,
            id: publish.packet_id.map_or(0, PacketId::value),
            expiry: publish.message_expiry_secs,
            subscription_ids: publish.subscription_ids.iter().collect(),
            alias: publish.topic_alias.map(NonZeroU16::get),
        }),
        Packet::PubAck(ack) => Got::PubAck(id(&ack).0, id(&ack).1),
        Packet::PubRec(ack) => Got::PubRec(id(&ack).0, id(&ack).1),
        Packet::PubRel(ack) => Got::PubRel(id(&ack).0, id(&ack).1),
        Packet::PubComp(ack) => Got::PubComp(id(&ack).0, id(&ack).1),
        Packet::SubAck(ack) => Got::SubAck(ack.packet_id.value(), ack.reasons.iter().collect()),
        Packet::UnsubAck(ack) => Got::UnsubAck(ack.packet_id.value(), ack.reasons.iter().collect()),
        Packet::PingResp => Got::PingResp,
        Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason),
        Packet::Auth(auth) => {
            assert_eq!(auth.authentication_method, Some(METHOD));
            let data = auth.authentication_data.unwrap_or_default();
            Got::Auth(auth.reason, data.to_vec())
        }
        other => panic!("not a server's: {other:?}"),
    }
}

/// The refusal a CONNECT got, decoded.
pub(crate) fn refusal(refused: &Refused, version: Version) -> ReasonCode {
    match got(&refused.bytes, version) {
        Got::ConnAck(granted) => {
            assert!(!granted.session_present);
            granted.reason
        }
        other => panic!("not a CONNACK: {other:?}"),
    }
}

/// Whether a packet of this type is in the list.
pub(crate) fn has(got: &[Got], packet: PacketType) -> bool {
    got.iter().any(|got| {
        let of = match got {
            Got::ConnAck(_) => PacketType::ConnAck,
            Got::Publish(_) => PacketType::Publish,
            Got::PubAck(..) => PacketType::PubAck,
            Got::PubRec(..) => PacketType::PubRec,
            Got::PubRel(..) => PacketType::PubRel,
            Got::PubComp(..) => PacketType::PubComp,
            Got::SubAck(..) => PacketType::SubAck,
            Got::UnsubAck(..) => PacketType::UnsubAck,
            Got::PingResp => PacketType::PingResp,
            Got::Disconnect(_) => PacketType::Disconnect,
            Got::Auth(..) => PacketType::Auth,
        };
        of == packet
    })
}
