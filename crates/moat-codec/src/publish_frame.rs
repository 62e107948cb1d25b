use std::num::NonZeroU32;

use crate::publish_head::{self, EXPIRY_PROPERTY_BYTES, Head};
use crate::{EncodeError, PacketId, QoS, TopicAlias, Version, varint, writer};

/// Subscription identifiers one frame can carry; further ones are left out. A session has far fewer.
pub const SUBSCRIPTION_IDS_PER_FRAME_MAX: usize = 65_535;

/// Bytes a frame keeps free for what a [`Patch`] adds: subscription identifiers of one byte and at most four,
/// an expiry and a topic alias.
const PATCH_BYTES_MAX: usize = 5 * SUBSCRIPTION_IDS_PER_FRAME_MAX + 64;

/// A PUBLISH encoded once for every receiver of one protocol family and one shape (with or without packet
/// identifier).
///
/// A receiver whose [`Patch`] fits the shape gets one copy of these bytes with a few of them changed. Any other
/// patch is served, too: then the head is written anew for that receiver.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishFrame {
    /// A whole packet at QoS 1 or 0, with packet identifier and expiry zero.
    bytes: Box<[u8]>,
    version: Version,
    has_expiry: bool,
    /// Where the topic begins.
    topic_at: usize,
    /// Where the topic ends, and the packet identifier begins if there is one.
    topic_end: usize,
    with_packet_id: bool,
    /// Where the forwarded properties begin, right behind the expiry.
    forwarded_at: usize,
    /// Where the payload begins, and the forwarded properties end.
    payload_at: usize,
}

/// What differs between the receivers of a [`PublishFrame`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patch<'a> {
    /// The receiver's QoS. Without a packet identifier the message goes out at QoS 0.
    pub qos: QoS,
    /// Sent to this receiver before; ignored at QoS 0 [MQTT-3.3.1-2].
    pub dup: bool,
    /// The retain flag for this receiver [MQTT-3.3.1-12].
    pub retain: bool,
    /// The receiver's packet identifier; ignored at QoS 0 [MQTT-2.2.1-2].
    pub packet_id: Option<PacketId>,
    /// Seconds left [MQTT-3.3.2-6]; ignored before 5.0.
    pub message_expiry_secs: Option<u32>,
    /// The identifiers of the matching subscriptions [MQTT-3.3.4-3]; ignored before 5.0.
    pub subscription_ids: &'a [NonZeroU32],
    /// The receiver's alias for the topic [MQTT-3.3.2-11]; ignored before 5.0.
    pub topic_alias: Option<TopicAlias>,
}

impl PublishFrame {
    /// Encodes a message for the shape `version` (5.0, or any earlier one) and `with_packet_id`.
    ///
    /// `properties_raw` is [`ForwardedProperties::raw`](crate::ForwardedProperties::raw); it is left out before
    /// 5.0, as is the expiry. `has_expiry` keeps room for one, which each patch fills in.
    ///
    /// # Errors
    /// [`EncodeError::TopicInvalid`], [`EncodeError::FieldTooLong`] and [`EncodeError::NulInString`] for the
    /// topic; [`EncodeError::TooLarge`] when the packet, with what patches may add, is too large.
    pub fn encode(
        version: Version,
        topic: &str,
        properties_raw: &[u8],
        has_expiry: bool,
        with_packet_id: bool,
        payload: &[u8],
    ) -> Result<Self, EncodeError> {
        publish_head::check_topic(topic)?;
        let has_expiry = has_expiry && version.is_v5();
        let forwarded = if version.is_v5() { properties_raw } else { &[] };
        let head = Head {
            version,
            qos: if with_packet_id {
                QoS::AtLeastOnce
            } else {
                QoS::AtMostOnce
            },
            dup: false,
            retain: false,
            topic: topic.as_bytes(),
            packet_id: with_packet_id.then_some(PacketId::MIN),
            message_expiry_secs: has_expiry.then_some(0),
            topic_alias: None,
            subscription_ids: std::iter::empty(),
            forwarded,
            payload_len: payload.len(),
        };
        let lengths = head.lengths();
        let remaining =
            writer::remaining(lengths.remaining + PATCH_BYTES_MAX)? as usize - PATCH_BYTES_MAX;
        let mut bytes = Vec::with_capacity(lengths.wire);
        head.write(&lengths, &mut bytes);
        let payload_at = bytes.len();
        bytes.extend_from_slice(payload);
        let topic_at = lengths.wire - remaining + 2;
        Ok(Self {
            bytes: bytes.into_boxed_slice(),
            version,
            has_expiry,
            topic_at,
            topic_end: topic_at + topic.len(),
            with_packet_id,
            forwarded_at: payload_at - forwarded.len(),
            payload_at,
        })
    }

    /// The whole packet for a receiver at QoS 0 without RETAIN and without anything of its own, if it is the same for all of them.
    #[inline]
    #[must_use]
    pub fn plain(&self) -> Option<&[u8]> {
        (!self.with_packet_id && !self.has_expiry).then_some(&self.bytes)
    }

    /// Appends the frame for one receiver. Without subscription identifiers that is one copy and a few patches.
    #[inline]
    pub fn write_to(&self, patch: &Patch<'_>, out: &mut Vec<u8>) {
        if self.fits(patch) {
            let start = out.len();
            out.extend_from_slice(&self.bytes);
            self.patch(patch, &mut out[start..]);
        } else {
            let head = self.head(patch);
            let lengths = head.lengths();
            out.reserve(lengths.wire);
            head.write(&lengths, out);
            out.extend_from_slice(self.payload());
        }
    }

    /// Appends everything of the frame for one receiver but the payload, which the caller writes from
    /// [`payload`](Self::payload) without copying it.
    pub fn write_head_to(&self, patch: &Patch<'_>, out: &mut Vec<u8>) {
        if self.fits(patch) {
            let start = out.len();
            out.extend_from_slice(&self.bytes[..self.payload_at]);
            self.patch(patch, &mut out[start..]);
        } else {
            let head = self.head(patch);
            head.write(&head.lengths(), out);
        }
    }

    /// The exact number of bytes [`write_to`](Self::write_to) appends, for the receiver's Maximum Packet Size
    /// [MQTT-3.1.2-24].
    #[inline]
    #[must_use]
    pub fn wire_len(&self, patch: &Patch<'_>) -> usize {
        if self.fits(patch) {
            self.bytes.len()
        } else {
            self.head(patch).lengths().wire
        }
    }

    /// The message itself.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload_at..]
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        // Written from a `str` by `encode`.
        std::str::from_utf8(&self.bytes[self.topic_at..self.topic_end]).unwrap_or_default()
    }

    /// Bytes this frame holds in memory, for budgets.
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }

    /// Whether the patch leaves every field where it is.
    #[inline]
    fn fits(&self, patch: &Patch<'_>) -> bool {
        let needs_packet_id = patch.effective_qos() != QoS::AtMostOnce;
        needs_packet_id == self.with_packet_id
            && (!self.version.is_v5()
                || (patch.topic_alias.is_none()
                    && patch.subscription_ids.is_empty()
                    && patch.message_expiry_secs.is_some() == self.has_expiry))
    }

    /// Changes a fresh copy (of the head, at least) for its receiver.
    #[inline]
    fn patch(&self, patch: &Patch<'_>, copy: &mut [u8]) {
        copy[0] = publish_head::first_byte(patch.effective_qos(), patch.dup, patch.retain);
        if let (true, Some(id)) = (self.with_packet_id, patch.packet_id) {
            copy[self.topic_end..self.topic_end + 2].copy_from_slice(&id.value().to_be_bytes());
        }
        if let (true, Some(secs)) = (self.has_expiry, patch.message_expiry_secs) {
            // Behind the property's identifier.
            let at = self.forwarded_at - EXPIRY_PROPERTY_BYTES + 1;
            copy[at..self.forwarded_at].copy_from_slice(&secs.to_be_bytes());
        }
    }

    /// The head for a patch that does not fit.
    fn head<'a>(
        &'a self,
        patch: &Patch<'a>,
    ) -> Head<'a, impl Iterator<Item = u32> + Clone + use<'a>> {
        let message = Parts {
            topic: &self.bytes[self.topic_at..self.topic_end],
            properties: &self.bytes[self.forwarded_at..self.payload_at],
            payload: self.payload(),
        };
        patch.head(self.version, &message)
    }
}

/// A message that is written for one receiver only, without a [`PublishFrame`] in between.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The topic of a [`TopicName`](crate::TopicName).
    pub topic: &'a [u8],
    /// [`ForwardedProperties::raw`](crate::ForwardedProperties::raw); left out before 5.0.
    pub properties: &'a [u8],
    /// The message itself.
    pub payload: &'a [u8],
}

impl Parts<'_> {
    /// Appends the PUBLISH of `version` for the receiver of `patch`, byte for byte what a [`PublishFrame`] makes of both. Returns whether
    /// it was written: not if it is larger than `size_max` bytes, or than any packet.
    pub fn write_to(
        &self,
        version: Version,
        patch: &Patch<'_>,
        size_max: u32,
        out: &mut Vec<u8>,
    ) -> bool {
        let head = patch.head(version, self);
        let lengths = head.lengths();
        if lengths.wire > size_max as usize || lengths.remaining > varint::MAX as usize {
            return false;
        }
        out.reserve(lengths.wire);
        head.write(&lengths, out);
        out.extend_from_slice(self.payload);
        true
    }
}

impl<'a> Patch<'a> {
    /// What stands before the payload of `message` for this receiver.
    #[inline]
    fn head(
        &self,
        version: Version,
        message: &Parts<'a>,
    ) -> Head<'a, impl Iterator<Item = u32> + Clone + use<'a>> {
        let ids = self.subscription_ids.iter().map(|id| id.get());
        let (topic, topic_alias) = match self.topic_alias.filter(|_| version.is_v5()) {
            None => (message.topic, None),
            Some(TopicAlias::Set(alias)) => (message.topic, Some(alias)),
            Some(TopicAlias::Use(alias)) => (&message.topic[..0], Some(alias)),
        };
        Head {
            version,
            qos: self.effective_qos(),
            dup: self.dup,
            retain: self.retain,
            topic,
            packet_id: self.packet_id,
            message_expiry_secs: self.message_expiry_secs,
            topic_alias,
            // No decoded SUBSCRIBE has an identifier above the maximum, and none could be sent.
            subscription_ids: ids
                .filter(|&id| id <= varint::MAX)
                .take(SUBSCRIPTION_IDS_PER_FRAME_MAX),
            forwarded: message.properties,
            payload_len: message.payload.len(),
        }
    }

    /// QoS 1 and 2 need a packet identifier [MQTT-2.2.1-4].
    #[inline]
    const fn effective_qos(&self) -> QoS {
        if self.packet_id.is_none() {
            QoS::AtMostOnce
        } else {
            self.qos
        }
    }
}

/// No payload in logs: sizes only.
impl std::fmt::Debug for PublishFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishFrame")
            .field("version", &self.version)
            .field("topic", &self.topic())
            .field("has_expiry", &self.has_expiry)
            .field("with_packet_id", &self.with_packet_id)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: Patch<'static> = Patch {
        qos: QoS::AtMostOnce,
        dup: false,
        retain: false,
        packet_id: None,
        message_expiry_secs: None,
        subscription_ids: &[],
        topic_alias: None,
    };

    fn written(frame: &PublishFrame, patch: &Patch<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        frame.write_to(patch, &mut out);
        assert_eq!(frame.wire_len(patch), out.len());
        out
    }

    #[test]
    fn fitting_patch_changes_first_byte_packet_id_and_expiry() {
        let frame =
            PublishFrame::encode(Version::V5, "t", &[0x01, 0x00], true, true, b"x").unwrap();
        let id = PacketId::new(0x0A0B);
        let patch = Patch {
            qos: QoS::ExactlyOnce,
            dup: true,
            retain: true,
            packet_id: id,
            message_expiry_secs: Some(0x0102_0304),
            ..PATCH
        };
        assert!(frame.fits(&patch));
        assert_eq!(
            written(&frame, &patch),
            [
                0x3D, 14, 0, 1, b't', 0x0A, 0x0B, 7, 0x02, 1, 2, 3, 4, 0x01, 0x00, b'x'
            ]
        );
    }

    #[test]
    fn subscription_ids_are_written_behind_the_expiry() {
        let frame =
            PublishFrame::encode(Version::V5, "t", &[0x01, 0x00], false, false, b"x").unwrap();
        let ids = [NonZeroU32::MIN, NonZeroU32::new(128).unwrap()];
        let patch = Patch {
            subscription_ids: &ids,
            ..PATCH
        };
        assert_eq!(
            written(&frame, &patch),
            [
                0x30, 12, 0, 1, b't', 7, 0x0B, 1, 0x0B, 0x80, 0x01, 0x01, 0x00, b'x'
            ]
        );
    }

    #[test]
    fn an_alias_is_set_beside_the_topic_and_used_instead_of_it() {
        let frame = PublishFrame::encode(Version::V5, "t", &[], true, false, b"x").unwrap();
        let alias = std::num::NonZeroU16::new(0x0102).unwrap();
        let set = Patch {
            message_expiry_secs: Some(5),
            topic_alias: Some(TopicAlias::Set(alias)),
            ..PATCH
        };
        assert_eq!(
            written(&frame, &set),
            [0x30, 13, 0, 1, b't', 8, 0x02, 0, 0, 0, 5, 0x23, 1, 2, b'x']
        );
        let used = Patch {
            topic_alias: Some(TopicAlias::Use(alias)),
            ..set
        };
        assert_eq!(
            written(&frame, &used),
            [0x30, 12, 0, 0, 8, 0x02, 0, 0, 0, 5, 0x23, 1, 2, b'x']
        );
        let old = PublishFrame::encode(Version::V311, "t", &[], false, false, b"x").unwrap();
        assert_eq!(written(&old, &used), [0x30, 4, 0, 1, b't', b'x']);
    }

    /// Proves 3.1.1 [MQTT-4.3.1-1].
    #[test]
    fn qos_without_packet_id_goes_out_as_qos_0() {
        let frame = PublishFrame::encode(Version::V311, "t", &[], false, true, b"x").unwrap();
        let patch = Patch {
            qos: QoS::AtLeastOnce,
            dup: true,
            ..PATCH
        };
        assert_eq!(written(&frame, &patch), [0x30, 4, 0, 1, b't', b'x']);
    }

    #[test]
    fn properties_are_left_out_before_5_0() {
        let frame =
            PublishFrame::encode(Version::V311, "t", &[0x01, 0x00], true, false, b"x").unwrap();
        let ids = [NonZeroU32::MIN];
        let patch = Patch {
            subscription_ids: &ids,
            message_expiry_secs: Some(5),
            ..PATCH
        };
        assert!(frame.fits(&patch));
        assert_eq!(written(&frame, &patch), [0x30, 4, 0, 1, b't', b'x']);
    }

    #[test]
    fn subscription_ids_above_the_limit_are_left_out() {
        let frame = PublishFrame::encode(Version::V5, "t", &[], false, false, b"").unwrap();
        let ids = vec![NonZeroU32::MIN; SUBSCRIPTION_IDS_PER_FRAME_MAX + 1];
        let all = written(
            &frame,
            &Patch {
                subscription_ids: &ids,
                ..PATCH
            },
        );
        let allowed = &ids[..SUBSCRIPTION_IDS_PER_FRAME_MAX];
        assert_eq!(
            all,
            written(
                &frame,
                &Patch {
                    subscription_ids: allowed,
                    ..PATCH
                }
            )
        );
        let unsendable = [NonZeroU32::MAX];
        let patch = Patch {
            subscription_ids: &unsendable,
            ..PATCH
        };
        assert_eq!(written(&frame, &patch), written(&frame, &PATCH));
    }

    #[test]
    fn topic_that_is_no_topic_name_is_refused() {
        let encode =
            |topic: &str| PublishFrame::encode(Version::V5, topic, &[], false, false, b"").err();
        assert_eq!(
            encode("a/#"),
            Some(EncodeError::TopicInvalid(
                crate::TopicError::ContainsWildcard
            ))
        );
        assert_eq!(
            encode(""),
            Some(EncodeError::TopicInvalid(crate::TopicError::Empty))
        );
        assert_eq!(
            encode(&"t".repeat(65_536)),
            Some(EncodeError::FieldTooLong { bytes: 65_536 })
        );
        assert_eq!(encode(&"t".repeat(65_535)), None);
    }

    #[test]
    fn payload_that_leaves_no_room_for_patches_is_too_large() {
        let payload = vec![0; varint::MAX as usize - PATCH_BYTES_MAX];
        let frame = PublishFrame::encode(Version::V311, "t", &[], false, false, &payload);
        assert!(matches!(frame, Err(EncodeError::TooLarge { .. })));
    }
}
