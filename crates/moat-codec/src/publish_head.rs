//! Everything of a PUBLISH but its payload: shared by the packet and the frame that is patched per receiver.

use std::num::NonZeroU16;

use crate::{
    EncodeError, Limits, PacketId, PacketType, QoS, TopicError, TopicName, Version, varint,
};

/// Identifier and four bytes of a message expiry interval.
pub(crate) const EXPIRY_PROPERTY_BYTES: usize = 5;
pub(crate) const EXPIRY_ID: u8 = 0x02;
const SUBSCRIPTION_ID: u8 = 0x0B;
const TOPIC_ALIAS_ID: u8 = 0x23;
const TOPIC_ALIAS_PROPERTY_BYTES: usize = 3;

/// What stands before a payload. Before 5.0 expiry, alias, identifiers and forwarded properties are left out.
pub(crate) struct Head<'a, Ids> {
    pub(crate) version: Version,
    pub(crate) qos: QoS,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    /// At most 65,535 bytes, see [`check_topic`].
    pub(crate) topic: &'a [u8],
    /// Written at QoS 1 and 2.
    pub(crate) packet_id: Option<PacketId>,
    pub(crate) message_expiry_secs: Option<u32>,
    pub(crate) topic_alias: Option<NonZeroU16>,
    /// Each at most [`varint::MAX`].
    pub(crate) subscription_ids: Ids,
    pub(crate) forwarded: &'a [u8],
    pub(crate) payload_len: usize,
}

/// Sizes in bytes.
pub(crate) struct Lengths {
    /// The property block without its length; 0 before 5.0.
    pub(crate) properties: usize,
    /// Everything after the fixed header, payload included.
    pub(crate) remaining: usize,
    /// The whole packet, payload included.
    pub(crate) wire: usize,
}

impl<Ids: Iterator<Item = u32> + Clone> Head<'_, Ids> {
    /// Sizes as [`write`](Self::write) will make them.
    pub(crate) fn lengths(&self) -> Lengths {
        let properties = self.properties_len();
        let properties_field = if self.version.is_v5() {
            varint_len(properties) + properties
        } else {
            0
        };
        let packet_id = if self.sent_packet_id().is_some() {
            2
        } else {
            0
        };
        let remaining = 2 + self.topic.len() + packet_id + properties_field + self.payload_len;
        Lengths {
            properties,
            remaining,
            wire: 1 + varint_len(remaining) + remaining,
        }
    }

    fn properties_len(&self) -> usize {
        if !self.version.is_v5() {
            return 0;
        }
        let expiry = if self.message_expiry_secs.is_some() {
            EXPIRY_PROPERTY_BYTES
        } else {
            0
        };
        let alias = if self.topic_alias.is_some() {
            TOPIC_ALIAS_PROPERTY_BYTES
        } else {
            0
        };
        let ids: usize = self
            .subscription_ids
            .clone()
            .map(|id| 1 + varint::len(id))
            .sum();
        expiry + alias + ids + self.forwarded.len()
    }

    /// [MQTT-2.2.1-2]
    fn sent_packet_id(&self) -> Option<PacketId> {
        if self.qos == QoS::AtMostOnce {
            None
        } else {
            self.packet_id
        }
    }

    /// Appends everything up to the payload. `lengths` are this head's, at most [`varint::MAX`].
    pub(crate) fn write(&self, lengths: &Lengths, out: &mut Vec<u8>) {
        out.push(first_byte(self.qos, self.dup, self.retain));
        write_varint(lengths.remaining, out);
        let topic_len = u16::try_from(self.topic.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&topic_len.to_be_bytes());
        out.extend_from_slice(self.topic);
        if let Some(id) = self.sent_packet_id() {
            out.extend_from_slice(&id.value().to_be_bytes());
        }
        if self.version.is_v5() {
            write_varint(lengths.properties, out);
            self.write_properties(out);
        }
    }

    fn write_properties(&self, out: &mut Vec<u8>) {
        if let Some(secs) = self.message_expiry_secs {
            out.push(EXPIRY_ID);
            out.extend_from_slice(&secs.to_be_bytes());
        }
        if let Some(alias) = self.topic_alias {
            out.push(TOPIC_ALIAS_ID);
            out.extend_from_slice(&alias.get().to_be_bytes());
        }
        for id in self.subscription_ids.clone() {
            out.push(SUBSCRIPTION_ID);
            varint::write(id, out);
        }
        out.extend_from_slice(self.forwarded);
    }
}

/// The first byte of a PUBLISH; DUP is left out at QoS 0 [MQTT-3.3.1-2].
#[inline]
pub(crate) const fn first_byte(qos: QoS, dup: bool, retain: bool) -> u8 {
    let dup = dup && !matches!(qos, QoS::AtMostOnce);
    PacketType::Publish.first_byte() | (dup as u8) << 3 | qos.bits() << 1 | retain as u8
}

/// A topic goes out only if it is a topic name [MQTT-3.3.2-2]; the peer's own limits are its business.
pub(crate) fn check_topic(topic: &str) -> Result<(), EncodeError> {
    match TopicName::new(topic, &Limits::generous()) {
        Ok(_) => Ok(()),
        Err(TopicError::ContainsNul) => Err(EncodeError::NulInString),
        Err(TopicError::TooLong { bytes, .. }) => Err(EncodeError::FieldTooLong { bytes }),
        Err(error) => Err(EncodeError::TopicInvalid(error)),
    }
}

fn varint_len(bytes: usize) -> usize {
    varint::len(u32::try_from(bytes).unwrap_or(u32::MAX))
}

fn write_varint(bytes: usize, out: &mut Vec<u8>) {
    varint::write(u32::try_from(bytes).unwrap_or(varint::MAX), out);
}
