use super::{PacketType, Publish, check_header};
use crate::{DecodeError, Limits, TopicName, Version};

/// A PUBLISH from a peer, with what checking it has found about its topic: so nobody has to look again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incoming<'a> {
    /// `None` if an alias stands for it.
    topic: Option<TopicName<'a>>,
    publish: Publish<'a>,
}

impl<'a> Incoming<'a> {
    /// Decodes a PUBLISH, as [`Packet::decode`](crate::Packet::decode) does: `bytes` is exactly what [`frame`](crate::frame) found complete,
    /// and said to begin with `first_byte` and a fixed header of `header` bytes.
    ///
    /// # Errors
    /// As those of [`Packet::decode`](crate::Packet::decode); [`DecodeError::NotOnePacket`] unless it is a PUBLISH of that header.
    #[inline]
    pub fn decode(
        bytes: &'a [u8],
        first_byte: u8,
        header: usize,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let packet = PacketType::of_first_byte(first_byte);
        let body = bytes.get(header..);
        let (Some(PacketType::Publish), Some(body)) = (packet, body) else {
            return Err(DecodeError::NotOnePacket);
        };
        check_header(PacketType::Publish, first_byte, header, body.len(), version)?;
        Publish::decode(first_byte, body, version, limits)
    }

    /// One that was not decoded here, or not under these limits.
    ///
    /// # Errors
    /// [`DecodeError::TopicNameInvalid`] if its topic is none.
    pub fn of(publish: Publish<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let topic = match publish.topic {
            "" => None,
            // [MQTT-3.3.2-1], [MQTT-3.3.2-2]
            topic => Some(TopicName::new(topic, limits).map_err(DecodeError::of_name)?),
        };
        Ok(Self { topic, publish })
    }

    /// `topic` is the one of `publish`, if that has one.
    #[inline]
    pub(super) const fn checked(topic: Option<TopicName<'a>>, publish: Publish<'a>) -> Self {
        Self { topic, publish }
    }

    /// The message.
    #[inline]
    #[must_use]
    pub const fn publish(&self) -> &Publish<'a> {
        &self.publish
    }

    /// Its topic, if no alias stands for it.
    #[inline]
    #[must_use]
    pub const fn topic(&self) -> Option<TopicName<'a>> {
        self.topic
    }

    /// The message, to keep.
    #[inline]
    #[must_use]
    pub fn into_publish(self) -> Publish<'a> {
        self.publish
    }
}
