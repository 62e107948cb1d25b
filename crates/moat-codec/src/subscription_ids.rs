use std::fmt;
use std::num::NonZeroU32;

use crate::property::{CheckedProperties, NonZeroVarInt, Property};

/// The subscription identifiers of a PUBLISH: an iterator over them.
///
/// A client's PUBLISH must have none [MQTT-3.3.4-6]; the session checks that, since the codec does not know who
/// is a client.
#[derive(Clone, Default)]
pub struct SubscriptionIds<'a>(Source<'a>);

#[derive(Clone)]
enum Source<'a> {
    /// What is left of a checked block, and of the identifiers in it.
    Block {
        properties: CheckedProperties<'a>,
        left: usize,
    },
    List(&'a [NonZeroU32]),
}

impl Default for Source<'_> {
    fn default() -> Self {
        Self::List(&[])
    }
}

impl<'a> SubscriptionIds<'a> {
    /// Identifiers to send.
    #[must_use]
    pub const fn new(ids: &'a [NonZeroU32]) -> Self {
        Self(Source::List(ids))
    }

    /// The `count` identifiers of a checked block.
    #[inline]
    pub(crate) const fn in_block(block: &'a [u8], count: usize) -> Self {
        if count == 0 {
            return Self(Source::List(&[]));
        }
        Self(Source::Block {
            properties: CheckedProperties::new(block),
            left: count,
        })
    }

    /// How many are left.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        match &self.0 {
            Source::Block { left, .. } => *left,
            Source::List(ids) => ids.len(),
        }
    }

    /// Whether none is left.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The identifiers, without consuming them.
    #[must_use]
    pub fn iter(&self) -> Self {
        self.clone()
    }
}

impl Iterator for SubscriptionIds<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        match &mut self.0 {
            Source::Block { properties, left } => {
                let id = properties.find_map(|property| match property {
                    Property::SubscriptionIdentifier(NonZeroVarInt(id)) => Some(id.get()),
                    _ => None,
                })?;
                *left -= 1;
                Some(id)
            }
            Source::List(ids) => {
                let (id, rest) = ids.split_first()?;
                *ids = rest;
                Some(id.get())
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl ExactSizeIterator for SubscriptionIds<'_> {}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_what_is_left() {
        // Identifier 1, a user property between, identifier 128.
        let block = [0x0B, 1, 0x26, 0, 1, b'k', 0, 1, b'v', 0x0B, 0x80, 1];
        let list = [NonZeroU32::MIN, NonZeroU32::MIN.saturating_add(127)];
        for mut ids in [
            SubscriptionIds::in_block(&block, 2),
            SubscriptionIds::new(&list),
        ] {
            assert_eq!((ids.len(), ids.next()), (2, Some(1)));
            assert_eq!((ids.len(), ids.next()), (1, Some(128)));
            assert_eq!((ids.is_empty(), ids.next()), (true, None));
        }
    }
}
