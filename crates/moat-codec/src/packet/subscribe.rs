use std::fmt;
use std::num::NonZeroU32;

use crate::property::{NonZeroVarInt, Property, PropertyReader, place, write_some};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, Limits, PacketId, PacketType, QoS, TopicFilter, UserProperties,
    Version, writer,
};

/// A request for subscriptions (section 3.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscribe<'a> {
    /// What the SUBACK will carry [MQTT-3.8.4-2].
    pub packet_id: PacketId,
    /// What messages for these subscriptions will carry; 5.0 only.
    pub subscription_id: Option<NonZeroU32>,
    /// For applications; 5.0 only.
    pub user: UserProperties<'a>,
    subscriptions: Subscriptions<'a>,
}

/// One filter with its options.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Subscription<'a> {
    /// What it matches.
    pub filter: TopicFilter<'a>,
    /// How messages are delivered.
    pub options: SubscriptionOptions,
}

/// The options of a subscription (section 3.8.3.1); before 5.0 there is only the QoS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub struct SubscriptionOptions {
    /// The highest QoS of its messages.
    pub qos: QoS,
    /// Not the subscriber's own messages [MQTT-3.8.3-3].
    pub no_local: bool,
    /// Keep the retain flag as the publisher set it [MQTT-3.3.1-13].
    pub retain_as_published: bool,
    /// Whether retained messages are sent at once.
    pub retain_handling: RetainHandling,
}

/// Whether a new subscription gets the retained messages it matches.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum RetainHandling {
    /// Always [MQTT-3.3.1-9].
    #[default]
    SendAlways = 0,
    /// Unless the subscription was there before [MQTT-3.3.1-10].
    SendIfNew = 1,
    /// Never [MQTT-3.3.1-11].
    DoNotSend = 2,
}

impl<'a> Subscribe<'a> {
    /// A request for `subscriptions`, at least one [MQTT-3.8.3-2].
    #[must_use]
    pub fn new(packet_id: PacketId, subscriptions: &'a [Subscription<'a>]) -> Self {
        Self {
            packet_id,
            subscription_id: None,
            user: UserProperties::default(),
            subscriptions: Subscriptions::List(subscriptions),
        }
    }

    /// The filters with their options, in order.
    pub fn filters(&self) -> impl Iterator<Item = Subscription<'a>> + Clone + use<'a> {
        self.subscriptions.iter()
    }

    /// How many filters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.subscriptions {
            Subscriptions::Wire { count, .. } => count as usize,
            Subscriptions::List(list) => list.len(),
        }
    }

    /// Whether there is none; a decoded packet has at least one.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn decode(
        body: &'a [u8],
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body);
        let mut subscribe = Self::new(reader.packet_id()?, &[]);
        if version.is_v5() {
            let mut properties = PropertyReader::open(&mut reader, place::SUBSCRIBE, limits)?;
            while let Some(property) = properties.next()? {
                if let Property::SubscriptionIdentifier(NonZeroVarInt(id)) = property {
                    subscribe.subscription_id = Some(id);
                }
            }
            subscribe.user = properties.user();
        }
        subscribe.subscriptions = Subscriptions::read(reader, version, limits)?;
        Ok(subscribe)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::NoFilters`], [`EncodeError::NoLocalOnShared`], [`EncodeError::SubscriptionIdTooLarge`],
    /// what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        if self.is_empty() {
            return Err(EncodeError::NoFilters);
        }
        if self.len() > usize::from(u16::MAX) {
            return Err(EncodeError::TooLarge { bytes: self.len() });
        }
        writer::packet(out, PacketType::Subscribe.first_byte(), |out| {
            writer::packet_id(out, self.packet_id);
            writer::properties(out, version, |out| {
                let id = self.subscription_id.map(NonZeroVarInt);
                write_some(out, id, Property::SubscriptionIdentifier)?;
                self.user.write(out)
            })?;
            self.filters()
                .try_for_each(|subscription| subscription.write(out, version))
        })
    }
}

impl Subscription<'_> {
    fn write(&self, out: &mut Vec<u8>, version: Version) -> Result<(), EncodeError> {
        if version.is_v5() && self.options.no_local && self.filter.shared().is_some() {
            return Err(EncodeError::NoLocalOnShared);
        }
        writer::str(out, self.filter.as_str())?;
        out.push(if version.is_v5() {
            self.options.byte()
        } else {
            self.options.qos.bits()
        });
        Ok(())
    }
}

impl SubscriptionOptions {
    /// QoS alone.
    #[must_use]
    pub fn qos(qos: QoS) -> Self {
        Self {
            qos,
            ..Self::default()
        }
    }

    /// The byte on the wire.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self.qos.bits()
            | (self.no_local as u8) << 2
            | (self.retain_as_published as u8) << 3
            | (self.retain_handling as u8) << 4
    }

    /// Reads the byte behind a filter.
    fn from_byte(byte: u8, version: Version) -> Result<Self, DecodeError> {
        let reserved = if version.is_v5() {
            0b1100_0000
        } else {
            0b1111_1100
        };
        // [MQTT-3.8.3-5]
        if byte & reserved != 0 {
            return Err(DecodeError::SubscriptionOptionsReserved);
        }
        Ok(Self {
            qos: QoS::from_bits(byte & 0b11).ok_or(DecodeError::SubscriptionQosInvalid)?,
            no_local: byte & 0b0100 != 0,
            retain_as_published: byte & 0b1000 != 0,
            retain_handling: match (byte >> 4) & 0b11 {
                0 => RetainHandling::SendAlways,
                1 => RetainHandling::SendIfNew,
                2 => RetainHandling::DoNotSend,
                _ => return Err(DecodeError::RetainHandlingInvalid),
            },
        })
    }
}

/// Where a SUBSCRIBE's filters are.
#[derive(Clone, Copy)]
enum Subscriptions<'a> {
    /// A payload that was checked, and the number of filters in it.
    Wire {
        payload: &'a [u8],
        count: u16,
    },
    List(&'a [Subscription<'a>]),
}

impl<'a> Subscriptions<'a> {
    /// Checks the rest of a packet, at least one filter [MQTT-3.8.3-2].
    fn read(
        mut reader: Reader<'a>,
        version: Version,
        limits: &Limits,
    ) -> Result<Self, DecodeError> {
        let payload = reader.rest();
        let mut count = 0_u16;
        while !reader.is_empty() {
            if count == limits.filters_per_packet_max {
                return Err(DecodeError::TooManyFilters { max: count });
            }
            count += 1;
            let filter = read_filter(&mut reader, limits)?;
            let options = SubscriptionOptions::from_byte(reader.byte()?, version)?;
            // [MQTT-3.8.3-4]
            if options.no_local && filter.shared().is_some() {
                return Err(DecodeError::NoLocalOnShared);
            }
        }
        if count == 0 {
            Err(DecodeError::NoFilters)
        } else {
            Ok(Self::Wire { payload, count })
        }
    }

    fn iter(&self) -> impl Iterator<Item = Subscription<'a>> + Clone + use<'a> {
        let (payload, list): (&'a [u8], &'a [_]) = match *self {
            Self::Wire { payload, .. } => (payload, &[]),
            Self::List(list) => (&[], list),
        };
        Checked(Reader::new(payload)).chain(list.iter().copied())
    }
}

/// The filters of a payload that was checked.
#[derive(Clone)]
struct Checked<'a>(Reader<'a>);

impl<'a> Iterator for Checked<'a> {
    type Item = Subscription<'a>;

    fn next(&mut self) -> Option<Subscription<'a>> {
        let filter = TopicFilter::from_checked(self.0.str_unchecked_for_nul().ok()?);
        // The reserved bits were checked, so every version's byte reads as that of 5.0.
        let options = SubscriptionOptions::from_byte(self.0.byte().ok()?, Version::V5).ok()?;
        Some(Subscription { filter, options })
    }
}

impl PartialEq for Subscriptions<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Subscriptions<'_> {}

impl fmt::Debug for Subscriptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A topic filter [MQTT-3.8.3-1], [MQTT-3.10.3-1].
pub(super) fn read_filter<'a>(
    reader: &mut Reader<'a>,
    limits: &Limits,
) -> Result<TopicFilter<'a>, DecodeError> {
    TopicFilter::new(reader.str_unchecked_for_nul()?, limits).map_err(DecodeError::of_filter)
}
