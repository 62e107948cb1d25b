//! A publication that outlives its packet, and one on its way to many receivers.

mod spare;

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{Parts, Patch, PublishFrame, QoS, Resolved, TopicAlias, Version};
use moat_policy::Authorized;

use crate::Time;
use spare::SpareMessages;
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

/// Where the bytes of an [`Outgoing`] are.
enum Source<'a> {
    Packet {
        publish: &'a Authorized<Resolved<'a>>,
        publisher: &'a Arc<str>,
    },
    Shared(&'a Arc<Message>),
}

/// What is reused from message to message: the frames by shape (3.x or 5.0, with or without packet id), and the memory of messages
/// that are done with.
#[derive(Default)]
pub struct FrameCache {
    frames: [Option<PublishFrame>; 4],
    spares: SpareMessages,
}

impl FrameCache {
    fn clear(&mut self) {
        self.frames = Default::default();
    }

    /// Takes back a message that is done with here: acknowledged, or delivered for another shard.
    pub fn give_back(&mut self, message: Arc<Message>) {
        self.spares.give(message);
    }

    fn message(
        &mut self,
        publish: &Authorized<Resolved<'_>>,
        publisher: &Arc<str>,
        now: Time,
    ) -> Arc<Message> {
        // What is retained stays for long, so it has memory of its own size.
        let spare = match publish.get().retain() {
            true => None,
            false => self.spares.take(),
        };
        let Some(mut spare) = spare else {
            return Arc::new(Message::new(publish, publisher, now));
        };
        match Arc::get_mut(&mut spare) {
            Some(message) => message.become_new(publish, publisher, now),
            None => spare = Arc::new(Message::new(publish, publisher, now)),
        }
        spare
    }
}

/// One message on its way to any number of receivers: encoded at most once per shape, copied into
/// an allocation of its own only when somebody has to keep it.
pub struct Outgoing<'a> {
    source: Source<'a>,
    shared: Option<Arc<Message>>,
    frames: &'a mut FrameCache,
    /// Whether one receiver is all there is, so that a frame to copy from is not worth it.
    is_for_one: bool,
    /// The publisher's QoS.
    pub qos: QoS,
    /// The publisher's RETAIN flag.
    pub retain: bool,
    expires_at: Option<Time>,
    now: Time,
}

impl<'a> Outgoing<'a> {
    /// A PUBLISH that has just been allowed.
    pub fn of_packet(
        publish: &'a Authorized<Resolved<'a>>,
        publisher: &'a Arc<str>,
        frames: &'a mut FrameCache,
        now: Time,
    ) -> Self {
        frames.clear();
        let packet = publish.get();
        Outgoing {
            qos: packet.qos(),
            retain: packet.retain(),
            expires_at: expiry(packet, now),
            source: Source::Packet { publish, publisher },
            shared: None,
            frames,
            is_for_one: false,
            now,
        }
    }

    /// A message that was kept.
    pub fn of_message(message: &'a Arc<Message>, frames: &'a mut FrameCache, now: Time) -> Self {
        frames.clear();
        Outgoing {
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expires_at,
            source: Source::Shared(message),
            shared: None,
            frames,
            is_for_one: false,
            now,
        }
    }

    /// The same, when there is no second receiver.
    #[must_use]
    pub fn for_one(mut self) -> Self {
        self.is_for_one = true;
        self
    }

    /// Says whether the next receiver is the only one.
    pub fn set_for_one(&mut self, is_for_one: bool) {
        self.is_for_one = is_for_one;
    }

    /// The topic name.
    #[must_use]
    pub fn topic(&self) -> &str {
        match self.source {
            Source::Packet { publish, .. } => publish.get().topic().as_str(),
            Source::Shared(message) => message.topic(),
        }
    }

    /// The moment it is delivered.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Bytes of the payload.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        match self.source {
            Source::Packet { publish, .. } => publish.get().payload().len(),
            Source::Shared(message) => message.payload().len(),
        }
    }

    /// Bytes a copy of it would hold.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self.source {
            Source::Packet { publish, .. } => {
                let packet = publish.get();
                self.topic().len() + packet.properties().len() + packet.payload().len()
            }
            Source::Shared(message) => message.weight(),
        }
    }

    /// The message as something that can be kept; copied on the first call only.
    pub fn shared(&mut self) -> Arc<Message> {
        match self.source {
            Source::Shared(message) => Arc::clone(message),
            Source::Packet { publish, publisher } => {
                let (frames, now) = (&mut *self.frames, self.now);
                let shared = self
                    .shared
                    .get_or_insert_with(|| frames.message(publish, publisher, now));
                Arc::clone(shared)
            }
        }
    }

    /// Appends the PUBLISH for one receiver to `out`.
    ///
    /// Returns whether it was written: a frame larger than `size_max` bytes is not, as if it had
    /// been sent [MQTT-3.1.2-24], [MQTT-3.1.2-25].
    pub fn write(&mut self, to: &Receiver<'_>, size_max: u32, out: &mut Vec<u8>) -> bool {
        let remaining = self.expires_at.map(|at| at.secs_from(self.now));
        let patch = Patch {
            qos: to.qos,
            dup: to.dup,
            retain: to.retain,
            packet_id: to.packet_id,
            message_expiry_secs: remaining,
            subscription_ids: to.subscription_ids,
            topic_alias: to.topic_alias,
        };
        if self.is_for_one {
            return self.parts().write_to(to.version, &patch, size_max, out);
        }
        let Some(frame) = self.frame(to.version, to.packet_id.is_some()) else {
            return false;
        };
        if frame.wire_len(&patch) > size_max as usize {
            return false;
        }
        frame.write_to(&patch, out);
        true
    }

    /// As [`Self::write`] for a receiver at QoS 0 that has nothing of its own in it. Returns whether it was written; where not,
    /// [`Self::write`] may do it all the same.
    #[inline]
    pub fn write_plain(&mut self, version: Version, size_max: u32, out: &mut Vec<u8>) -> bool {
        if self.is_for_one {
            return self.write(&Receiver::plain(version), size_max, out);
        }
        let frame = self.frame(version, false);
        let bytes = frame.and_then(PublishFrame::plain);
        let bytes = bytes.filter(|bytes| bytes.len() <= size_max as usize);
        out.extend_from_slice(bytes.unwrap_or_default());
        bytes.is_some()
    }

    /// The frame of one shape, encoded on first use. `None` when no encoding can hold it, as when
    /// a 3.x packet grows past the largest remaining length as a 5.0 one.
    #[inline]
    fn frame(&mut self, version: Version, with_packet_id: bool) -> Option<&PublishFrame> {
        let slot = usize::from(version.is_v5()) * 2 + usize::from(with_packet_id);
        if self.frames.frames[slot].is_none() {
            self.frames.frames[slot] = self.encode(version, with_packet_id);
        }
        self.frames.frames[slot].as_ref()
    }

    #[cold]
    fn encode(&self, version: Version, with_packet_id: bool) -> Option<PublishFrame> {
        let Parts {
            properties,
            payload,
            ..
        } = self.parts();
        let has_expiry = self.expires_at.is_some();
        let topic = self.topic();
        PublishFrame::encode(
            version,
            topic,
            properties,
            has_expiry,
            with_packet_id,
            payload,
        )
        .ok()
    }

    fn parts(&self) -> Parts<'_> {
        match self.source {
            Source::Packet { publish, .. } => {
                let packet = publish.get();
                Parts {
                    topic: packet.topic().as_str().as_bytes(),
                    properties: packet.properties(),
                    payload: packet.payload(),
                }
            }
            Source::Shared(message) => Parts {
                topic: message.topic_bytes(),
                properties: message.properties(),
                payload: message.payload(),
            },
        }
    }
}

impl Receiver<'_> {
    /// At QoS 0, with nothing of its own.
    #[must_use]
    pub fn plain(version: Version) -> Self {
        Receiver {
            version,
            qos: QoS::AtMostOnce,
            dup: false,
            retain: false,
            packet_id: None,
            subscription_ids: &[],
            topic_alias: None,
        }
    }
}

/// What differs from receiver to receiver.
#[derive(Clone, Copy)]
pub struct Receiver<'a> {
    /// The receiver's protocol version.
    pub version: Version,
    /// The QoS of this delivery.
    pub qos: QoS,
    /// Whether it was sent before.
    pub dup: bool,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Given exactly when `qos` is not 0 [MQTT-2.2.1-2].
    pub packet_id: Option<moat_codec::PacketId>,
    /// Identifiers of all subscriptions that matched [MQTT-3.3.4-3..5].
    pub subscription_ids: &'a [NonZeroU32],
    /// The receiver's alias for the topic.
    pub topic_alias: Option<TopicAlias>,
}
