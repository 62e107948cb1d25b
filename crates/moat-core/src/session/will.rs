//! The message a client leaves behind for the case that it goes without saying so.

use moat_codec::{ForwardedProperties, Limits, QoS, TopicName};

/// A will as the session keeps it [MQTT-3.1.2-7], [MQTT-3.1.2-9].
///
/// It is judged twice: when the client connects, and again by the policy in force when it is
/// published.
pub struct Will {
    topic: Box<str>,
    payload: Box<[u8]>,
    properties: Box<[u8]>,
    qos: QoS,
    retain: bool,
    /// Seconds between the loss of the connection and the publication (3.1.3.2.2).
    pub delay_secs: u32,
    message_expiry_secs: Option<u32>,
}

impl Will {
    /// Copies the will out of a CONNECT.
    #[must_use]
    pub fn of_packet(will: &moat_codec::Will<'_>) -> Will {
        Will {
            topic: will.topic.as_str().into(),
            payload: will.payload.into(),
            properties: will.properties.raw().into(),
            qos: will.qos,
            retain: will.retain,
            delay_secs: will.delay_secs,
            message_expiry_secs: will.message_expiry_secs,
        }
    }

    /// A will that was kept elsewhere, as `parts` of one that was accepted once.
    #[must_use]
    pub fn of_parts(parts: &WillParts<'_>) -> Will {
        Will {
            topic: parts.topic.into(),
            payload: parts.payload.into(),
            properties: parts.properties.into(),
            qos: parts.qos,
            retain: parts.retain,
            delay_secs: parts.delay_secs,
            message_expiry_secs: parts.message_expiry_secs,
        }
    }

    /// What it consists of, to be kept elsewhere.
    #[must_use]
    pub fn parts(&self) -> WillParts<'_> {
        WillParts {
            topic: &self.topic,
            payload: &self.payload,
            properties: &self.properties,
            qos: self.qos,
            retain: self.retain,
            delay_secs: self.delay_secs,
            message_expiry_secs: self.message_expiry_secs,
        }
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The will in the codec's form. `None` if the limits have shrunk since it was accepted.
    #[must_use]
    pub fn as_packet(&self, limits: &Limits) -> Option<moat_codec::Will<'_>> {
        Some(moat_codec::Will {
            topic: TopicName::new(&self.topic, limits).ok()?,
            payload: &self.payload,
            qos: self.qos,
            retain: self.retain,
            delay_secs: self.delay_secs,
            message_expiry_secs: self.message_expiry_secs,
            properties: ForwardedProperties::from_validated(&self.properties),
        })
    }
}

/// What a [`Will`] consists of.
#[derive(Clone, Copy)]
pub struct WillParts<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The forwarded properties, without a length prefix.
    pub properties: &'a [u8],
    /// Its QoS.
    pub qos: QoS,
    /// Its RETAIN flag.
    pub retain: bool,
    /// Seconds between the loss of the connection and the publication.
    pub delay_secs: u32,
    /// Its message expiry interval, in seconds.
    pub message_expiry_secs: Option<u32>,
}

impl std::fmt::Debug for Will {
    /// Topic and size only: a payload never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Will")
            .field("topic", &self.topic)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}
