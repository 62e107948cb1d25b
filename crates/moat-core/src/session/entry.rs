//! What a delivery to a durable session, or one that waits in a durable group, is in the store.

use std::fmt;
use std::num::NonZeroU64;

use crate::durable::{Place, Position};

/// Bits of a [`Position`] that tell the part; the others tell the number in it: 2^48 of them, which is seventy years of 128,000
/// messages per second.
const PART_BITS: u32 = u16::BITS;

/// An entry of a queue in the store.
///
/// Sixteen bytes, and as many where there is none: each message that waits for somebody durable has one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The number of the place; then a bit for [`Place::Ordinal`], then one that is set.
    place: NonZeroU64,
    /// The number of the record, then its part.
    position: Option<NonZeroU64>,
}

impl Entry {
    /// An entry that is on its way into the store.
    #[must_use]
    pub fn awaited(place: Place) -> Entry {
        let (number, kind) = match place {
            Place::Arrival(number) => (number, 0b01),
            Place::Ordinal(number) => (number, 0b11),
        };
        debug_assert!(number < 1 << 62, "more messages than a queue lives to see");
        Entry {
            place: NonZeroU64::MIN | (number << 2 | kind),
            position: None,
        }
    }

    /// An entry whose message is the record at `position`.
    #[must_use]
    pub fn committed(place: Place, position: Position) -> Entry {
        debug_assert!(position.sequence < 1 << (u64::BITS - PART_BITS));
        let packed = position.sequence << PART_BITS | u64::from(position.part);
        Entry {
            position: NonZeroU64::new(packed),
            ..Entry::awaited(place)
        }
    }

    /// Which entry of its queue it is.
    #[must_use]
    pub fn place(self) -> Place {
        let number = self.place.get() >> 2;
        match self.place.get() & 0b10 {
            0 => Place::Arrival(number),
            _ => Place::Ordinal(number),
        }
    }

    /// The record of its message; `None` while it is not durable.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        let packed = self.position?.get();
        let [low, high, ..] = packed.to_le_bytes();
        Some(Position {
            part: u16::from_le_bytes([low, high]),
            sequence: packed >> PART_BITS,
        })
    }

    /// Whether it is durable, so that it may be sent.
    #[must_use]
    pub fn is_committed(self) -> bool {
        self.position.is_some()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("place", &self.place())
            .field("position", &self.position())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn place_and_position_come_back(
            number in 0_u64..1 << 62,
            is_ordinal: bool,
            part: u16,
            sequence in 1_u64..1 << 48,
        ) {
            let place = if is_ordinal { Place::Ordinal(number) } else { Place::Arrival(number) };
            let position = Position { part, sequence };
            let awaited = Entry::awaited(place);
            prop_assert_eq!((awaited.place(), awaited.position()), (place, None));
            prop_assert!(!awaited.is_committed());
            let committed = Entry::committed(place, position);
            prop_assert_eq!((committed.place(), committed.position()), (place, Some(position)));
            prop_assert!(committed.is_committed());
        }
    }

    #[test]
    fn an_entry_takes_sixteen_bytes_even_where_there_is_none() {
        assert_eq!(size_of::<Option<Entry>>(), 16);
    }
}
