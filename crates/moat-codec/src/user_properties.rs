use std::fmt;

use crate::property::{CheckedProperties, Property};
use crate::{EncodeError, Limits};

/// The user properties of a packet: pairs of name and value, in order; names may repeat.
///
/// Decoded ones borrow the packet's property block and are read from it again when asked for: nobody asks often.
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(Source<'a>);

#[derive(Clone, Copy)]
enum Source<'a> {
    /// A block that was checked, with other properties between, and how many of them are user properties.
    Block {
        block: &'a [u8],
        count: u16,
    },
    Pairs(&'a [(&'a str, &'a str)]),
}

impl<'a> UserProperties<'a> {
    /// Pairs to send.
    #[must_use]
    pub const fn new(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(Source::Pairs(pairs))
    }

    /// The `count` user properties of a checked block.
    pub(crate) const fn in_block(block: &'a [u8], count: u16) -> Self {
        Self(Source::Block { block, count })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        match self.0 {
            Source::Block { count, .. } => count as usize,
            Source::Pairs(pairs) => pairs.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Name and value of each, in order [MQTT-3.3.2-18].
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> + Clone + use<'a> {
        let (block, pairs): (&'a [u8], &'a [_]) = match self.0 {
            Source::Block { count: 0, .. } => (&[], &[]),
            Source::Block { block, .. } => (block, &[]),
            Source::Pairs(pairs) => (&[], pairs),
        };
        let decoded = CheckedProperties::new(block).filter_map(|property| match property {
            Property::UserProperty(pair) => Some(pair),
            _ => None,
        });
        decoded.chain(pairs.iter().copied())
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // What cannot be decoded again must not be sent.
        if self.len() > usize::from(Limits::generous().user_properties_max) {
            return Err(EncodeError::FieldTooLong { bytes: self.len() });
        }
        self.iter()
            .try_for_each(|pair| Property::UserProperty(pair).write(out))
    }
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
