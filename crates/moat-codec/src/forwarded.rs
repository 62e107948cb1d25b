use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use crate::property::{CheckedProperties, Property};
use crate::redacted::ByteCount;
use crate::{DecodeError, EncodeError};

/// The properties of a PUBLISH or will that a server forwards unaltered and in order [MQTT-3.3.2-4],
/// [MQTT-3.3.2-15], [MQTT-3.3.2-16], [MQTT-3.3.2-17], [MQTT-3.3.2-18], [MQTT-3.3.2-20]: payload format
/// indicator, content type, response topic, correlation data and user properties.
///
/// Held as the bytes they came in, checked, without their length. They borrow from the packet when they stand
/// next to each other and are copied together when an expiry or alias stands between.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ForwardedProperties<'a>(Cow<'a, [u8]>);

impl<'a> ForwardedProperties<'a> {
    /// Wraps bytes that came out of [`raw`](Self::raw) earlier: from a store, or from another packet.
    ///
    /// They are not checked again. Bytes from elsewhere end up in packets as they are, so nobody may pass them;
    /// reading them never panics, it only ends early.
    #[inline]
    #[must_use]
    pub const fn from_validated(raw: &'a [u8]) -> Self {
        Self(Cow::Borrowed(raw))
    }

    /// Encodes properties to send.
    ///
    /// # Errors
    /// When a string is too long or has a NUL, or the response topic is no topic name.
    pub fn build(properties: &[Property<'_>]) -> Result<ForwardedProperties<'static>, EncodeError> {
        let mut raw = Vec::new();
        for property in properties.iter().filter(|property| is_forwarded(property)) {
            if let Property::ResponseTopic(topic) = property {
                crate::TopicName::new(topic, &crate::Limits::generous())
                    .map_err(EncodeError::TopicInvalid)?;
            }
            property.write(&mut raw)?;
        }
        Ok(ForwardedProperties(Cow::Owned(raw)))
    }

    /// The properties as they stand in a packet, without the length of the block.
    #[inline]
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// A copy of the bytes, to keep.
    #[must_use]
    pub fn to_owned_raw(&self) -> Vec<u8> {
        self.0.to_vec()
    }

    /// The same properties without borrowing from the packet.
    #[must_use]
    pub fn into_owned(self) -> ForwardedProperties<'static> {
        ForwardedProperties(Cow::Owned(self.0.into_owned()))
    }

    /// Whether there is none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each property, in order.
    pub fn iter(&self) -> impl Iterator<Item = Property<'_>> + Clone {
        CheckedProperties::new(&self.0)
    }

    /// Name and value of each user property, in order.
    pub fn user(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.iter().filter_map(|property| match property {
            Property::UserProperty(pair) => Some(pair),
            _ => None,
        })
    }

    /// Whether the sender declared the payload to be UTF-8.
    #[must_use]
    pub fn payload_is_utf8(&self) -> bool {
        self.iter()
            .any(|property| property == Property::PayloadFormatIndicator(true))
    }

    /// Where an answer goes.
    #[must_use]
    pub fn response_topic(&self) -> Option<&str> {
        self.iter().find_map(|property| match property {
            Property::ResponseTopic(topic) => Some(topic),
            _ => None,
        })
    }

    /// What an answer refers to.
    #[must_use]
    pub fn correlation_data(&self) -> Option<&[u8]> {
        self.iter().find_map(|property| match property {
            Property::CorrelationData(data) => Some(data),
            _ => None,
        })
    }

    /// What the payload is.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.iter().find_map(|property| match property {
            Property::ContentType(kind) => Some(kind),
            _ => None,
        })
    }
}

/// Correlation data and user properties belong to the application; a log shows only how much there is.
impl fmt::Debug for ForwardedProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ForwardedProperties")
            .field(&ByteCount(self.0.len()))
            .finish()
    }
}

const fn is_forwarded(property: &Property<'_>) -> bool {
    matches!(
        property,
        Property::PayloadFormatIndicator(_)
            | Property::ContentType(_)
            | Property::ResponseTopic(_)
            | Property::CorrelationData(_)
            | Property::UserProperty(_)
    )
}

/// Collects the forwarded properties while their block is walked.
pub(crate) struct Collector<'a> {
    block: &'a [u8],
    /// The run of forwarded properties so far, while there is only one.
    run: Range<usize>,
    /// The runs so far, once there was a second.
    copied: Vec<u8>,
    declares_utf8: bool,
}

impl<'a> Collector<'a> {
    #[inline]
    pub(crate) const fn new(block: &'a [u8]) -> Self {
        Self {
            block,
            run: 0..0,
            copied: Vec::new(),
            declares_utf8: false,
        }
    }

    /// Takes the property that stands at `span` of the block.
    #[inline]
    pub(crate) fn take(&mut self, property: &Property<'_>, span: Range<usize>) {
        self.declares_utf8 |= *property == Property::PayloadFormatIndicator(true);
        if !self.copied.is_empty() {
            self.copied.extend_from_slice(&self.block[span]);
        } else if self.run.is_empty() {
            self.run = span;
        } else if self.run.end == span.start {
            self.run.end = span.end;
        } else {
            self.copied.extend_from_slice(&self.block[self.run.clone()]);
            self.copied.extend_from_slice(&self.block[span]);
        }
    }

    /// The properties taken; the payload must be what they declare (section 3.3.2.3.2).
    #[inline]
    pub(crate) fn finish(self, payload: &[u8]) -> Result<ForwardedProperties<'a>, DecodeError> {
        if self.declares_utf8 && std::str::from_utf8(payload).is_err() {
            return Err(DecodeError::PayloadNotUtf8);
        }
        Ok(ForwardedProperties(if self.copied.is_empty() {
            Cow::Borrowed(&self.block[self.run])
        } else {
            Cow::Owned(self.copied)
        }))
    }
}
