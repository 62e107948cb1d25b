//! A publication that outlives its packet.

mod outgoing;
mod spare;

use std::sync::Arc;

use moat_codec::{QoS, Resolved};
use moat_policy::Authorized;

use crate::Time;
pub use outgoing::{FrameCache, Outgoing, Receiver};
pub use spare::{SPARE_MESSAGE_BYTES_MAX, SPARE_MESSAGES_MAX};

/// A publication kept in a queue, in flight, retained, or sent to another shard.
///
/// Topic, forwarded properties and payload share one allocation, in this order.
pub struct Message {
    bytes: Box<[u8]>,
    topic_len: u32,
    properties_len: u32,
    /// The publisher's QoS.
    pub qos: QoS,
    /// The publisher's RETAIN flag.
    pub retain: bool,
    /// When it stops being worth delivering [MQTT-3.3.2-5].
    pub expires_at: Option<Time>,
    /// The name of the identity that published it.
    pub publisher: Arc<str>,
}

impl Message {
    /// Copies what the policy has let through.
    #[must_use]
    pub fn new(publish: &Authorized<Resolved<'_>>, publisher: &Arc<str>, now: Time) -> Message {
        let packet = publish.get();
        let (topic, properties) = (packet.topic().as_str(), packet.properties());
        let mut bytes = Vec::with_capacity(topic.len() + properties.len() + packet.payload().len());
        bytes.extend_from_slice(topic.as_bytes());
        bytes.extend_from_slice(properties);
        bytes.extend_from_slice(packet.payload());
        Message {
            bytes: bytes.into_boxed_slice(),
            topic_len: len_u32(topic.len()),
            properties_len: len_u32(properties.len()),
            qos: packet.qos(),
            retain: packet.retain(),
            expires_at: expiry(packet, now),
            publisher: Arc::clone(publisher),
        }
    }

    /// As [`Self::new`], in the place of another one. Its bytes stay where they were if there are as many.
    fn become_new(&mut self, publish: &Authorized<Resolved<'_>>, publisher: &Arc<str>, now: Time) {
        let packet = publish.get();
        let (topic, properties) = (packet.topic().as_str(), packet.properties());
        let len = topic.len() + properties.len() + packet.payload().len();
        if self.bytes.len() != len {
            *self = Self::new(publish, publisher, now);
            return;
        }
        let (topic_bytes, rest) = self.bytes.split_at_mut(topic.len());
        let (properties_bytes, payload) = rest.split_at_mut(properties.len());
        topic_bytes.copy_from_slice(topic.as_bytes());
        properties_bytes.copy_from_slice(properties);
        payload.copy_from_slice(packet.payload());
        self.topic_len = len_u32(topic.len());
        self.properties_len = len_u32(properties.len());
        (self.qos, self.retain) = (packet.qos(), packet.retain());
        self.expires_at = expiry(packet, now);
        if !Arc::ptr_eq(&self.publisher, publisher) {
            self.publisher = Arc::clone(publisher);
        }
    }

    /// A message that was kept elsewhere, as `parts` of one that was accepted once.
    #[must_use]
    pub fn of_parts(parts: &MessageParts<'_>) -> Message {
        let (topic, properties) = (parts.topic.as_bytes(), parts.properties);
        Message {
            bytes: [topic, properties, parts.payload]
                .concat()
                .into_boxed_slice(),
            topic_len: len_u32(topic.len()),
            properties_len: len_u32(properties.len()),
            qos: parts.qos,
            retain: parts.retain,
            expires_at: parts.expires_at,
            publisher: Arc::clone(parts.publisher),
        }
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        // The bytes were copied from a `str`; falling back keeps this free of panics.
        std::str::from_utf8(self.topic_bytes()).unwrap_or_default()
    }

    fn topic_bytes(&self) -> &[u8] {
        &self.bytes[..self.topic_len as usize]
    }

    /// The forwarded properties, without a length prefix.
    #[must_use]
    pub fn properties(&self) -> &[u8] {
        let start = self.topic_len as usize;
        &self.bytes[start..start + self.properties_len as usize]
    }

    /// The application's bytes.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[(self.topic_len + self.properties_len) as usize..]
    }

    /// Bytes this message holds, for the limits of queues and of the retained store.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.bytes.len()
    }

    /// Reads something of the first two cache lines of its bytes. See [`crate::session::Outbound::fetch_next`].
    pub(crate) fn fetch(&self) -> usize {
        let at = |place| self.bytes.get(place).copied().unwrap_or(0);
        usize::from(at(0)) + usize::from(at(64))
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What a [`Message`] consists of.
#[derive(Clone, Copy)]
pub struct MessageParts<'a> {
    /// The topic name.
    pub topic: &'a str,
    /// The forwarded properties, without a length prefix.
    pub properties: &'a [u8],
    /// The application's bytes.
    pub payload: &'a [u8],
    /// The publisher's QoS.
    pub qos: QoS,
    /// The publisher's RETAIN flag.
    pub retain: bool,
    /// When it stops being worth delivering.
    pub expires_at: Option<Time>,
    /// The name of the identity that published it.
    pub publisher: &'a Arc<str>,
}

impl std::fmt::Debug for Message {
    /// Topic and size only: a payload never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("topic", &self.topic())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}

/// When a message stops being worth delivering [MQTT-3.3.2-5].
fn expiry(packet: &Resolved<'_>, now: Time) -> Option<Time> {
    let secs = packet.message_expiry_secs()?;
    Some(now.plus_secs(u64::from(secs)))
}

/// A packet is at most 268,435,455 bytes long, so each of its parts fits.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
