use std::fmt;
use std::num::NonZeroU16;

use super::Incoming;
use crate::forwarded::Collector;
use crate::property::{Property, PropertyReader, place};
use crate::publish_head::{self, Head};
use crate::reader::Reader;
use crate::redacted::ByteCount;
use crate::{
    DecodeError, EncodeError, ForwardedProperties, Limits, PacketId, QoS, SubscriptionIds,
    TopicName, Version,
};

/// A message on its way (section 3.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Sent before; never at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// How often it is to arrive.
    pub qos: QoS,
    /// Kept for later subscribers, or kept until now.
    pub retain: bool,
    /// A valid topic name; empty in 5.0 when an alias stands for it.
    pub topic: &'a str,
    /// Present exactly at QoS 1 and 2 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// What the topic is called on this connection; 5.0 only.
    pub topic_alias: Option<NonZeroU16>,
    /// Seconds the message lives; 5.0 only.
    pub message_expiry_secs: Option<u32>,
    /// Which subscriptions it is for; from a server only [MQTT-3.3.4-6].
    pub subscription_ids: SubscriptionIds<'a>,
    /// What is forwarded unaltered.
    pub properties: ForwardedProperties<'a>,
    /// The message.
    pub payload: &'a [u8],
}

impl<'a> Publish<'a> {
    /// A QoS 0 message without properties, to change as needed.
    #[must_use]
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            dup: false,
            qos: QoS::AtMostOnce,
            retain: false,
            topic,
            packet_id: None,
            topic_alias: None,
            message_expiry_secs: None,
            subscription_ids: SubscriptionIds::default(),
            properties: ForwardedProperties::default(),
            payload,
        }
    }

    /// Decodes what follows the fixed header, whose flags [`frame`](crate::frame) has checked.
    #[inline]
    pub(crate) fn decode(
        first_byte: u8,
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Incoming<'a>, DecodeError> {
        let mut reader = Reader::new(body);
        let qos =
            QoS::from_bits((first_byte >> 1) & 0b11).ok_or(DecodeError::PublishQosReserved)?;
        let topic = reader.str_unchecked_for_nul()?;
        let name = match topic {
            "" => None,
            // [MQTT-3.3.2-1], [MQTT-3.3.2-2]
            topic => Some(TopicName::new(topic, limits).map_err(DecodeError::of_name)?),
        };
        // [MQTT-2.2.1-2]
        let packet_id = if qos == QoS::AtMostOnce {
            None
        } else {
            Some(reader.packet_id()?)
        };
        let mut publish = Self {
            dup: first_byte & 0b1000 != 0,
            qos,
            retain: first_byte & 0b0001 != 0,
            packet_id,
            ..Self::new(topic, &[])
        };
        if version.is_v5() {
            publish.read_properties(&mut reader, limits)?;
        }
        publish.payload = reader.rest();
        publish.check_topic_is_known(version)?;
        Ok(Incoming::checked(name, publish))
    }

    /// Also checks the payload, the rest of `reader`, against the format they declare.
    #[inline]
    fn read_properties(
        &mut self,
        reader: &mut Reader<'a>,
        limits: &Limits,
    ) -> Result<(), DecodeError> {
        let mut properties = PropertyReader::open(reader, place::PUBLISH, limits)?;
        let mut forwarded = Collector::new(properties.block());
        let mut subscription_ids = 0;
        let mut start = 0;
        while let Some(property) = properties.next()? {
            let end = properties.position();
            match property {
                Property::TopicAlias(alias) => self.topic_alias = Some(alias),
                Property::MessageExpiryInterval(secs) => self.message_expiry_secs = Some(secs),
                Property::SubscriptionIdentifier(_) => subscription_ids += 1,
                property => forwarded.take(&property, start..end),
            }
            start = end;
        }
        self.subscription_ids = SubscriptionIds::in_block(properties.block(), subscription_ids);
        self.properties = forwarded.finish(reader.rest())?;
        Ok(())
    }

    #[inline]
    fn check_topic_is_known(&self, version: Version) -> Result<(), DecodeError> {
        match (self.topic, self.topic_alias) {
            ("", None) if version.is_v5() => Err(DecodeError::TopicMissing),
            // [MQTT-4.7.3-1]
            ("", None) => Err(DecodeError::TopicEmpty),
            _ => Ok(()),
        }
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::TopicInvalid`] unless the topic is a topic name, or empty with an alias in 5.0;
    /// [`EncodeError::PacketIdMissing`] at QoS 1 and 2; what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        let aliased = version.is_v5() && self.topic_alias.is_some();
        if !(aliased && self.topic.is_empty()) {
            publish_head::check_topic(self.topic)?;
        }
        if self.qos != QoS::AtMostOnce && self.packet_id.is_none() {
            return Err(EncodeError::PacketIdMissing { qos: self.qos });
        }
        let head = Head {
            version,
            qos: self.qos,
            dup: self.dup,
            retain: self.retain,
            topic: self.topic.as_bytes(),
            packet_id: self.packet_id,
            message_expiry_secs: self.message_expiry_secs,
            topic_alias: self.topic_alias,
            subscription_ids: self.subscription_ids.iter(),
            forwarded: self.properties.raw(),
            payload_len: self.payload.len(),
        };
        if let Some(id) = self
            .subscription_ids
            .iter()
            .find(|&id| id > crate::varint::MAX)
        {
            return Err(EncodeError::SubscriptionIdTooLarge { id });
        }
        let lengths = head.lengths();
        crate::writer::remaining(lengths.remaining)?;
        let start = out.len();
        out.reserve(lengths.wire);
        head.write(&lengths, out);
        out.extend_from_slice(self.payload);
        Ok(out.len() - start)
    }
}

/// No payload in logs: its size only.
impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish")
            .field("dup", &self.dup)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("topic", &self.topic)
            .field("packet_id", &self.packet_id)
            .field("topic_alias", &self.topic_alias)
            .field("message_expiry_secs", &self.message_expiry_secs)
            .field("subscription_ids", &self.subscription_ids)
            .field("properties", &self.properties)
            .field("payload", &ByteCount(self.payload.len()))
            .finish()
    }
}
