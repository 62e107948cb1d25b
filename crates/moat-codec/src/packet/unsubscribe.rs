use std::fmt;

use super::subscribe::read_filter;
use crate::property::{PropertyReader, place};
use crate::reader::Reader;
use crate::{
    DecodeError, EncodeError, Limits, PacketId, PacketType, TopicFilter, UserProperties, Version,
    writer,
};

/// A request to end subscriptions (section 3.10).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsubscribe<'a> {
    /// What the UNSUBACK will carry.
    pub packet_id: PacketId,
    /// For applications; 5.0 only.
    pub user: UserProperties<'a>,
    filters: Filters<'a>,
}

impl<'a> Unsubscribe<'a> {
    /// A request for `filters`, at least one [MQTT-3.10.3-2].
    #[must_use]
    pub fn new(packet_id: PacketId, filters: &'a [TopicFilter<'a>]) -> Self {
        Self {
            packet_id,
            user: UserProperties::default(),
            filters: Filters::List(filters),
        }
    }

    /// The filters, in order.
    pub fn filters(&self) -> impl Iterator<Item = TopicFilter<'a>> + Clone + use<'a> {
        self.filters.iter()
    }

    /// How many filters there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.filters {
            Filters::Wire { count, .. } => count as usize,
            Filters::List(list) => list.len(),
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
        let mut unsubscribe = Self::new(reader.packet_id()?, &[]);
        if version.is_v5() {
            let mut properties = PropertyReader::open(&mut reader, place::UNSUBSCRIBE, limits)?;
            while properties.next()?.is_some() {}
            unsubscribe.user = properties.user();
        }
        unsubscribe.filters = Filters::read(reader, limits)?;
        Ok(unsubscribe)
    }

    /// Appends the packet to `out` and returns its size in bytes. On an error `out` is as it was.
    ///
    /// # Errors
    /// [`EncodeError::NoFilters`], what is too long for its length field.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<usize, EncodeError> {
        if self.is_empty() {
            return Err(EncodeError::NoFilters);
        }
        if self.len() > usize::from(u16::MAX) {
            return Err(EncodeError::TooLarge { bytes: self.len() });
        }
        writer::packet(out, PacketType::Unsubscribe.first_byte(), |out| {
            writer::packet_id(out, self.packet_id);
            writer::properties(out, version, |out| self.user.write(out))?;
            self.filters()
                .try_for_each(|filter| writer::str(out, filter.as_str()))
        })
    }
}

/// Where an UNSUBSCRIBE's filters are.
#[derive(Clone, Copy)]
enum Filters<'a> {
    /// A payload that was checked, and the number of filters in it.
    Wire {
        payload: &'a [u8],
        count: u16,
    },
    List(&'a [TopicFilter<'a>]),
}

impl<'a> Filters<'a> {
    /// Checks the rest of a packet, at least one filter [MQTT-3.10.3-2].
    fn read(mut reader: Reader<'a>, limits: &Limits) -> Result<Self, DecodeError> {
        let payload = reader.rest();
        let mut count = 0_u16;
        while !reader.is_empty() {
            if count == limits.filters_per_packet_max {
                return Err(DecodeError::TooManyFilters { max: count });
            }
            count += 1;
            read_filter(&mut reader, limits)?;
        }
        if count == 0 {
            Err(DecodeError::NoFilters)
        } else {
            Ok(Self::Wire { payload, count })
        }
    }

    fn iter(&self) -> impl Iterator<Item = TopicFilter<'a>> + Clone + use<'a> {
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
    type Item = TopicFilter<'a>;

    fn next(&mut self) -> Option<TopicFilter<'a>> {
        self.0
            .str_unchecked_for_nul()
            .ok()
            .map(TopicFilter::from_checked)
    }
}

impl PartialEq for Filters<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Filters<'_> {}

impl fmt::Debug for Filters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
