//! The properties of MQTT 5.0: one table, one row each (table 2-4).

use std::num::{NonZeroU16, NonZeroU32};

use crate::reader::Reader;
use crate::user_properties::UserProperties;
use crate::{DecodeError, EncodeError, Limits, QoS, varint, writer};

/// Where a property may stand: bits of packet types, and one for the will, which has a block of its own.
pub(crate) mod place {
    use crate::PacketType;

    pub(crate) const NOWHERE: u16 = 0;
    /// Packet type 0 does not exist, so its bit is free.
    pub(crate) const WILL: u16 = 1;
    pub(crate) const CONNECT: u16 = PacketType::Connect.bit();
    pub(crate) const CONNACK: u16 = PacketType::ConnAck.bit();
    pub(crate) const PUBLISH: u16 = PacketType::Publish.bit();
    pub(crate) const ACKS: u16 = PacketType::PubAck.bit()
        | PacketType::PubRec.bit()
        | PacketType::PubRel.bit()
        | PacketType::PubComp.bit()
        | PacketType::SubAck.bit()
        | PacketType::UnsubAck.bit();
    pub(crate) const SUBSCRIBE: u16 = PacketType::Subscribe.bit();
    pub(crate) const UNSUBSCRIBE: u16 = PacketType::Unsubscribe.bit();
    pub(crate) const DISCONNECT: u16 = PacketType::Disconnect.bit();
    pub(crate) const AUTH: u16 = PacketType::Auth.bit();
    pub(crate) const EVERYWHERE: u16 =
        WILL | CONNECT | CONNACK | PUBLISH | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH;
}

/// Makes [`Property`] and what goes with it from the table below.
macro_rules! properties {
    ($lifetime:lifetime; $($(#[$doc:meta])* $id:literal $name:ident($value:ty), in $places:expr, many in $many:expr;)+) => {
        /// One property with its value.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Property<$lifetime> {
            $($(#[$doc])* $name($value),)+
        }

        impl<$lifetime> Property<$lifetime> {
            /// The identifiers of all properties, in ascending order.
            pub const IDS: &'static [u8] = &[$($id),+];

            /// The identifier on the wire.
            #[must_use]
            pub const fn id(&self) -> u8 {
                match self { $(Self::$name(_) => $id),+ }
            }

            /// Where the property may stand, and where more than once; `None` when there is no such property.
            #[inline]
            const fn places(id: u8) -> Option<(u16, u16)> {
                match id { $($id => Some(($places, $many)),)+ _ => None }
            }

            /// Reads the value of property `id`.
            #[inline]
            fn read(id: u8, reader: &mut Reader<$lifetime>) -> Result<Self, DecodeError> {
                match id {
                    $($id => <$value as Value<$lifetime>>::read(reader, id).map(Self::$name),)+
                    _ => Err(DecodeError::UnknownProperty { id }),
                }
            }

            /// Appends identifier and value.
            pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
                out.push(self.id());
                match self { $(Self::$name(value) => value.write(out)),+ }
            }
        }
    };
}

properties! { 'a;
    /// The payload is UTF-8 (true) or unspecified bytes (section 3.3.2.3.2).
    0x01 PayloadFormatIndicator(bool), in place::PUBLISH | place::WILL, many in place::NOWHERE;
    /// Seconds the message lives (section 3.3.2.3.3).
    0x02 MessageExpiryInterval(u32), in place::PUBLISH | place::WILL, many in place::NOWHERE;
    /// What the payload is (section 3.3.2.3.9).
    0x03 ContentType(&'a str), in place::PUBLISH | place::WILL, many in place::NOWHERE;
    /// Where an answer goes (section 3.3.2.3.5).
    0x08 ResponseTopic(&'a str), in place::PUBLISH | place::WILL, many in place::NOWHERE;
    /// What an answer refers to (section 3.3.2.3.6).
    0x09 CorrelationData(&'a [u8]), in place::PUBLISH | place::WILL, many in place::NOWHERE;
    /// Which subscriptions a message is for (sections 3.3.2.3.8 and 3.8.2.1.2).
    0x0B SubscriptionIdentifier(NonZeroVarInt), in place::PUBLISH | place::SUBSCRIBE, many in place::PUBLISH;
    /// Seconds the session lives after the connection (section 3.1.2.11.2).
    0x11 SessionExpiryInterval(u32), in place::CONNECT | place::CONNACK | place::DISCONNECT, many in place::NOWHERE;
    /// The client identifier the server chose (section 3.2.2.3.7).
    0x12 AssignedClientIdentifier(&'a str), in place::CONNACK, many in place::NOWHERE;
    /// The keep alive, in seconds, the server insists on (section 3.2.2.3.14).
    0x13 ServerKeepAlive(u16), in place::CONNACK, many in place::NOWHERE;
    /// The name of the authentication method (section 3.1.2.11.9).
    0x15 AuthenticationMethod(&'a str), in place::CONNECT | place::CONNACK | place::AUTH, many in place::NOWHERE;
    /// What the method says (section 3.1.2.11.10).
    0x16 AuthenticationData(&'a [u8]), in place::CONNECT | place::CONNACK | place::AUTH, many in place::NOWHERE;
    /// Whether the client wants reason strings and user properties (section 3.1.2.11.7).
    0x17 RequestProblemInformation(bool), in place::CONNECT, many in place::NOWHERE;
    /// Seconds the will waits (section 3.1.3.2.2).
    0x18 WillDelayInterval(u32), in place::WILL, many in place::NOWHERE;
    /// Whether the client wants response information (section 3.1.2.11.6).
    0x19 RequestResponseInformation(bool), in place::CONNECT, many in place::NOWHERE;
    /// A base for response topics (section 3.2.2.3.15).
    0x1A ResponseInformation(&'a str), in place::CONNACK, many in place::NOWHERE;
    /// Another server to use (section 3.2.2.3.16).
    0x1C ServerReference(&'a str), in place::CONNACK | place::DISCONNECT, many in place::NOWHERE;
    /// The reason for people (section 3.2.2.3.9).
    0x1F ReasonString(&'a str), in place::CONNACK | place::ACKS | place::DISCONNECT | place::AUTH, many in place::NOWHERE;
    /// How many QoS 1 and 2 messages may be in flight; never 0 (section 3.1.2.11.3).
    0x21 ReceiveMaximum(NonZeroU16), in place::CONNECT | place::CONNACK, many in place::NOWHERE;
    /// The largest topic alias accepted (section 3.1.2.11.5).
    0x22 TopicAliasMaximum(u16), in place::CONNECT | place::CONNACK, many in place::NOWHERE;
    /// The alias of the topic name; never 0 [MQTT-3.3.2-8].
    0x23 TopicAlias(NonZeroU16), in place::PUBLISH, many in place::NOWHERE;
    /// The highest QoS the server takes: 0 or 1 (section 3.2.2.3.4).
    0x24 MaximumQoS(QoS), in place::CONNACK, many in place::NOWHERE;
    /// Whether the server keeps retained messages (section 3.2.2.3.5).
    0x25 RetainAvailable(bool), in place::CONNACK, many in place::NOWHERE;
    /// Name and value, for applications (section 3.1.2.11.8).
    0x26 UserProperty((&'a str, &'a str)), in place::EVERYWHERE, many in place::EVERYWHERE;
    /// Bytes of the largest packet accepted; never 0 (section 3.1.2.11.4).
    0x27 MaximumPacketSize(NonZeroU32), in place::CONNECT | place::CONNACK, many in place::NOWHERE;
    /// Whether the server takes wildcards (section 3.2.2.3.11).
    0x28 WildcardSubscriptionAvailable(bool), in place::CONNACK, many in place::NOWHERE;
    /// Whether the server takes subscription identifiers (section 3.2.2.3.12).
    0x29 SubscriptionIdentifierAvailable(bool), in place::CONNACK, many in place::NOWHERE;
    /// Whether the server takes shared subscriptions (section 3.2.2.3.13).
    0x2A SharedSubscriptionAvailable(bool), in place::CONNACK, many in place::NOWHERE;
}

/// A variable byte integer that is not zero: a subscription identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NonZeroVarInt(pub NonZeroU32);

/// How a property's value stands on the wire.
trait Value<'a>: Sized {
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError>;
    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

/// What a zero is called that must not be one.
const fn zero(id: u8) -> DecodeError {
    const TOPIC_ALIAS: u8 = 0x23;
    // [MQTT-3.3.2-8] is the only one with a reason code of its own.
    if id == TOPIC_ALIAS {
        DecodeError::TopicAliasZero
    } else {
        DecodeError::PropertyValueInvalid { id }
    }
}

impl<'a> Value<'a> for bool {
    #[inline]
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        match reader.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::PropertyValueInvalid { id }),
        }
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(u8::from(*self));
        Ok(())
    }
}

impl<'a> Value<'a> for QoS {
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        // QoS 2 is said by leaving the property out.
        bool::read(reader, id).map(|once| {
            if once {
                Self::AtLeastOnce
            } else {
                Self::AtMostOnce
            }
        })
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(self.bits());
        Ok(())
    }
}

impl<'a> Value<'a> for u16 {
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        reader.u16()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

impl<'a> Value<'a> for u32 {
    #[inline]
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        reader.u32()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(&self.to_be_bytes());
        Ok(())
    }
}

impl<'a> Value<'a> for NonZeroU16 {
    #[inline]
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        Self::new(reader.u16()?).ok_or(zero(id))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.get().write(out)
    }
}

impl<'a> Value<'a> for NonZeroU32 {
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        Self::new(reader.u32()?).ok_or(zero(id))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.get().write(out)
    }
}

impl<'a> Value<'a> for NonZeroVarInt {
    #[inline]
    fn read(reader: &mut Reader<'a>, id: u8) -> Result<Self, DecodeError> {
        NonZeroU32::new(reader.varint()?).map(Self).ok_or(zero(id))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let id = self.0.get();
        if id > varint::MAX {
            return Err(EncodeError::SubscriptionIdTooLarge { id });
        }
        varint::write(id, out);
        Ok(())
    }
}

impl<'a> Value<'a> for &'a str {
    #[inline]
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        reader.str()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::str(out, self)
    }
}

impl<'a> Value<'a> for &'a [u8] {
    #[inline]
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        reader.binary()
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::binary(out, self)
    }
}

/// Both strings keep the rules for strings [MQTT-1.5.7-1].
impl<'a> Value<'a> for (&'a str, &'a str) {
    #[inline]
    fn read(reader: &mut Reader<'a>, _id: u8) -> Result<Self, DecodeError> {
        Ok((reader.str()?, reader.str()?))
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        writer::str(out, self.0)?;
        writer::str(out, self.1)
    }
}

/// Walks a property block and judges every property on the way.
pub(crate) struct PropertyReader<'a> {
    block: &'a [u8],
    reader: Reader<'a>,
    place: u16,
    /// One bit per identifier; the largest is 0x2A.
    seen: u64,
    users: u16,
    users_max: u16,
}

impl<'a> PropertyReader<'a> {
    /// The block at the front of `packet`, after its length.
    #[inline]
    pub(crate) fn open(
        packet: &mut Reader<'a>,
        place: u16,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let len = packet.varint()?;
        let block = packet.bytes(len as usize)?;
        let users_max = limits.user_properties_max;
        Ok(Self {
            block,
            reader: Reader::new(block),
            place,
            seen: 0,
            users: 0,
            users_max,
        })
    }

    /// The same for a packet that may end before the block (acknowledgements, DISCONNECT).
    pub(crate) fn open_optional(
        packet: &mut Reader<'a>,
        place: u16,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        if packet.is_empty() {
            Ok(Self::none(place))
        } else {
            Self::open(packet, place, limits)
        }
    }

    /// The empty block of a version that has no properties.
    pub(crate) const fn none(place: u16) -> Self {
        Self {
            block: &[],
            reader: Reader::new(&[]),
            place,
            seen: 0,
            users: 0,
            users_max: 0,
        }
    }

    /// User properties counted elsewhere in the same packet: a will shares its CONNECT's limit.
    pub(crate) const fn with_users_already(mut self, users: u16) -> Self {
        self.users = users;
        self
    }

    /// The next property, `None` behind the last.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Property<'a>>, DecodeError> {
        if self.reader.is_empty() {
            return Ok(None);
        }
        // Identifiers are variable byte integers, but none needs a second byte.
        let id = self.reader.byte()?;
        let (places, many) = Property::places(id).ok_or(DecodeError::UnknownProperty { id })?;
        if places & self.place == 0 {
            return Err(DecodeError::PropertyNotAllowed { id });
        }
        let bit = 1_u64 << id;
        if self.seen & bit != 0 && many & self.place == 0 {
            return Err(DecodeError::DuplicateProperty { id });
        }
        self.seen |= bit;
        let property = Property::read(id, &mut self.reader)?;
        match property {
            Property::UserProperty(_) => self.count_user()?,
            Property::ResponseTopic(topic) => check_response_topic(topic)?,
            _ => {}
        }
        Ok(Some(property))
    }

    fn count_user(&mut self) -> Result<(), DecodeError> {
        if self.users == self.users_max {
            return Err(DecodeError::TooManyUserProperties {
                max: self.users_max,
            });
        }
        self.users += 1;
        Ok(())
    }

    /// The whole block.
    #[inline]
    pub(crate) const fn block(&self) -> &'a [u8] {
        self.block
    }

    /// Where the next property begins in the block.
    #[inline]
    pub(crate) const fn position(&self) -> usize {
        self.block.len() - self.reader.rest().len()
    }

    /// The user properties met so far.
    pub(crate) const fn user(&self) -> UserProperties<'a> {
        UserProperties::in_block(self.block, self.users)
    }
}

/// [MQTT-3.3.2-13], [MQTT-3.3.2-14]; a response topic may belong to another broker, so no limit is applied.
fn check_response_topic(topic: &str) -> Result<(), DecodeError> {
    crate::TopicName::new(topic, &Limits::generous())
        .map(|_| ())
        .map_err(DecodeError::ResponseTopicInvalid)
}

/// The properties of a block that was walked before.
#[derive(Clone)]
pub(crate) struct CheckedProperties<'a> {
    reader: Reader<'a>,
}

impl<'a> CheckedProperties<'a> {
    #[inline]
    pub(crate) const fn new(block: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(block),
        }
    }
}

impl<'a> Iterator for CheckedProperties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        let id = self.reader.byte().ok()?;
        Property::read(id, &mut self.reader).ok()
    }
}

/// Appends `property(value)` when there is a value.
pub(crate) fn write_some<'a, T>(
    out: &mut Vec<u8>,
    value: Option<T>,
    property: impl FnOnce(T) -> Property<'a>,
) -> Result<(), EncodeError> {
    value.map_or(Ok(()), |value| property(value).write(out))
}
