//! A message on its way to any number of receivers.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{Parts, Patch, PublishFrame, QoS, Resolved, TopicAlias, Version};
use moat_policy::Authorized;

use super::spare::SpareMessages;
use super::{Message, expiry};
use crate::Time;

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
