use crate::{Publish, QoS, TopicName, Will};

/// What of a PUBLISH goes on to those who receive it, with a topic that is known and valid: its alias, if any, has been resolved.
///
/// Everything that decides about a message takes this type, so no rule ever sees an alias or an empty topic. Sixty-four bytes to pass on,
/// whatever the packet had.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Resolved<'a> {
    topic: TopicName<'a>,
    properties: &'a [u8],
    payload: &'a [u8],
    message_expiry_secs: Option<u32>,
    qos: QoS,
    retain: bool,
}

impl<'a> Resolved<'a> {
    /// A message without properties, as the broker makes them.
    #[must_use]
    pub const fn new(topic: TopicName<'a>, payload: &'a [u8], qos: QoS, retain: bool) -> Self {
        Self {
            topic,
            properties: &[],
            payload,
            message_expiry_secs: None,
            qos,
            retain,
        }
    }

    /// `publish` as a message to `topic`, which counts instead of what the packet says.
    #[inline]
    #[must_use]
    pub fn of_publish(topic: TopicName<'a>, publish: &'a Publish<'_>) -> Self {
        Self {
            topic,
            properties: publish.properties.raw(),
            payload: publish.payload,
            message_expiry_secs: publish.message_expiry_secs,
            qos: publish.qos,
            retain: publish.retain,
        }
    }

    /// A will as the message it becomes.
    #[must_use]
    pub fn of_will(will: &'a Will<'_>) -> Self {
        Self {
            topic: will.topic,
            properties: will.properties.raw(),
            payload: will.payload,
            message_expiry_secs: will.message_expiry_secs,
            qos: will.qos,
            retain: will.retain,
        }
    }

    /// The topic.
    #[inline]
    #[must_use]
    pub const fn topic(&self) -> TopicName<'a> {
        self.topic
    }

    /// What is forwarded unaltered, without the length of the block: [`ForwardedProperties::raw`](crate::ForwardedProperties::raw).
    #[inline]
    #[must_use]
    pub const fn properties(&self) -> &'a [u8] {
        self.properties
    }

    /// The message.
    #[inline]
    #[must_use]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Seconds the message lives.
    #[inline]
    #[must_use]
    pub const fn message_expiry_secs(&self) -> Option<u32> {
        self.message_expiry_secs
    }

    /// How often it is to arrive.
    #[inline]
    #[must_use]
    pub const fn qos(&self) -> QoS {
        self.qos
    }

    /// Whether it is kept for later subscribers.
    #[inline]
    #[must_use]
    pub const fn retain(&self) -> bool {
        self.retain
    }
}

/// No payload in logs: its size only.
impl std::fmt::Debug for Resolved<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolved")
            .field("topic", &self.topic)
            .field("qos", &self.qos)
            .field("retain", &self.retain)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ForwardedProperties, Limits, Property};

    #[test]
    fn will_keeps_what_it_is_published_with() {
        let will = Will {
            topic: TopicName::new("w", &Limits::default()).unwrap(),
            payload: b"gone",
            qos: QoS::AtLeastOnce,
            retain: true,
            delay_secs: 5,
            message_expiry_secs: Some(7),
            properties: ForwardedProperties::build(&[Property::ContentType("t")]).unwrap(),
        };
        let resolved = Resolved::of_will(&will);
        assert_eq!(resolved.topic().as_str(), "w");
        assert_eq!(resolved.payload(), b"gone");
        assert_eq!(
            (resolved.qos(), resolved.retain()),
            (QoS::AtLeastOnce, true)
        );
        assert_eq!(resolved.message_expiry_secs(), Some(7));
        assert_eq!(resolved.properties(), will.properties.raw());
    }
}
