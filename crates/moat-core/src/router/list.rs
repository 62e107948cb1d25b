//! The entries of one filter: nearly always one, which then needs no memory of its own.

use super::trie::Entry;

/// Entries with different keys.
#[derive(Default)]
pub(super) enum List<V> {
    #[default]
    None,
    One(V),
    /// Two or more. Boxed once more, since nodes without entries are as many as those with some.
    #[expect(
        clippy::box_collection,
        reason = "a third of the size where there are none"
    )]
    Many(Box<Vec<V>>),
}

impl<V> List<V> {
    pub(super) fn as_slice(&self) -> &[V] {
        match self {
            List::None => &[],
            List::One(one) => std::slice::from_ref(one),
            List::Many(many) => many,
        }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [V] {
        match self {
            List::None => &mut [],
            List::One(one) => std::slice::from_mut(one),
            List::Many(many) => many,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, List::None)
    }
}

impl<V: Entry> List<V> {
    /// Puts `entry` in the place of one with the same key. Returns that one.
    pub(super) fn put(&mut self, entry: V) -> Option<V> {
        let key = entry.key();
        let mut slots = self.as_mut_slice().iter_mut();
        if let Some(old) = slots.find(|old| old.key() == key) {
            return Some(std::mem::replace(old, entry));
        }
        *self = match std::mem::take(self) {
            List::None => List::One(entry),
            List::One(one) => List::Many(Box::new(vec![one, entry])),
            List::Many(mut many) => {
                many.push(entry);
                List::Many(many)
            }
        };
        None
    }

    /// Takes the entry with `key` out.
    pub(super) fn take(&mut self, key: &V::Key) -> Option<V> {
        let place = self.as_slice().iter().position(|e| e.key() == *key)?;
        match std::mem::take(self) {
            List::None => None,
            List::One(one) => Some(one),
            List::Many(mut many) => {
                let taken = many.swap_remove(place);
                *self = match many.len() {
                    1 => many.pop().map_or(List::None, List::One),
                    _ => List::Many(many),
                };
                Some(taken)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for (u8, u8) {
        type Key = u8;
        fn key(&self) -> u8 {
            self.0
        }
    }

    #[test]
    fn a_list_of_a_subscriber_takes_sixteen_bytes() {
        assert_eq!(size_of::<List<crate::session::Subscriber>>(), 16);
    }

    #[test]
    fn entries_come_are_replaced_and_go() {
        let mut list = List::default();
        assert!(list.is_empty() && list.take(&1).is_none());
        for key in 1..=3 {
            assert_eq!(list.put((key, 0)), None);
        }
        assert_eq!(list.put((2, 1)), Some((2, 0)));
        assert_eq!(list.as_slice(), [(1, 0), (2, 1), (3, 0)]);
        for key in [2, 1, 3] {
            assert_eq!(list.take(&key).map(|entry| entry.0), Some(key));
            assert_eq!(list.take(&key), None);
        }
        assert!(list.is_empty());
        assert_eq!(list.put((4, 0)), None);
        assert_eq!(list.take(&4), Some((4, 0)));
        assert!(list.as_mut_slice().is_empty());
    }
}
