//! The subscriptions of one session, sorted by filter.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use moat_codec::{QoS, RetainHandling, SubscriptionOptions};

use crate::router::Entry;

/// A shard-wide name of a session: its place in the shard's table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SessionIndex(pub u32);

impl SessionIndex {
    /// As an index.
    #[must_use]
    pub fn get(self) -> usize {
        self.0 as usize
    }
}

/// What the trie stores for one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Whose it is.
    pub session: SessionIndex,
    /// The subscription identifier, if one was given.
    pub id: Option<NonZeroU32>,
    /// The maximum QoS granted.
    pub qos: QoS,
    /// Not to the one who published it [MQTT-3.8.3-3].
    pub no_local: bool,
    /// Keep the RETAIN flag as published.
    pub retain_as_published: bool,
    /// Whether the policy granted the subscription alone and judges each message.
    pub judged_at_delivery: bool,
}

impl Entry for Subscriber {
    type Key = SessionIndex;
    fn key(&self) -> SessionIndex {
        self.session
    }
}

impl Subscriber {
    /// From a SUBSCRIBE that was granted.
    #[must_use]
    pub fn new(
        session: SessionIndex,
        options: SubscriptionOptions,
        id: Option<NonZeroU32>,
        judged_at_delivery: bool,
    ) -> Self {
        Subscriber {
            session,
            id,
            qos: options.qos,
            no_local: options.no_local,
            retain_as_published: options.retain_as_published,
            judged_at_delivery,
        }
    }
}

/// Whether a subscription is owed the retained messages it matches [MQTT-3.3.1-9..11].
#[must_use]
pub fn wants_retained(handling: RetainHandling, existed: bool) -> bool {
    match handling {
        RetainHandling::SendAlways => true,
        RetainHandling::SendIfNew => !existed,
        RetainHandling::DoNotSend => false,
    }
}

/// Filters of a session up to which they are a list: most sessions have one or two, and a tree takes two hundred bytes at once.
pub const FEW_FILTERS_MAX: usize = 16;

/// Filters of one session.
#[derive(Debug)]
pub struct Subscriptions {
    filters: Filters,
}

#[derive(Debug)]
enum Filters {
    /// Sorted, at most [`FEW_FILTERS_MAX`].
    Few(Vec<Box<str>>),
    /// A tree, since a client may bring thousands of them in one packet.
    Many(BTreeSet<Box<str>>),
}

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions {
            filters: Filters::Few(Vec::new()),
        }
    }
}

impl Subscriptions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.filters {
            Filters::Few(list) => list.len(),
            Filters::Many(tree) => tree.len(),
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `filter` is subscribed, character by character [MQTT-3.8.4-3].
    #[must_use]
    pub fn contains(&self, filter: &str) -> bool {
        match &self.filters {
            Filters::Few(list) => find(list, filter).is_ok(),
            Filters::Many(tree) => tree.contains(filter),
        }
    }

    /// Adds `filter`. Returns whether it is new.
    pub fn insert(&mut self, filter: &str) -> bool {
        let list = match &mut self.filters {
            Filters::Few(list) => list,
            Filters::Many(tree) => return !tree.contains(filter) && tree.insert(filter.into()),
        };
        let Err(place) = find(list, filter) else {
            return false;
        };
        if list.len() < FEW_FILTERS_MAX {
            if list.is_empty() {
                list.reserve_exact(1);
            }
            list.insert(place, filter.into());
        } else {
            let mut tree: BTreeSet<Box<str>> = std::mem::take(list).into_iter().collect();
            tree.insert(filter.into());
            self.filters = Filters::Many(tree);
        }
        true
    }

    /// Removes `filter`. Returns whether it was there [MQTT-3.10.4-1].
    pub fn remove(&mut self, filter: &str) -> bool {
        match &mut self.filters {
            Filters::Few(list) => find(list, filter).map(|at| list.remove(at)).is_ok(),
            Filters::Many(tree) => tree.remove(filter),
        }
    }

    /// All filters, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let (list, tree) = match &self.filters {
            Filters::Few(list) => (Some(list), None),
            Filters::Many(tree) => (None, Some(tree)),
        };
        let all = list.into_iter().flatten().chain(tree.into_iter().flatten());
        all.map(|filter| &**filter)
    }

    /// Takes all filters out.
    pub fn take_all(&mut self) -> Vec<Box<str>> {
        match std::mem::take(self).filters {
            Filters::Few(list) => list,
            Filters::Many(tree) => tree.into_iter().collect(),
        }
    }
}

fn find(list: &[Box<str>], filter: &str) -> Result<usize, usize> {
    list.binary_search_by(|other| (**other).cmp(filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_filters_max_makes_a_tree_and_changes_nothing() {
        let mut subscriptions = Subscriptions::default();
        let names: Vec<String> = (0..3 * FEW_FILTERS_MAX)
            .map(|n| format!("{n:03}"))
            .collect();
        for (count, name) in names.iter().rev().enumerate() {
            assert!(subscriptions.insert(name) && !subscriptions.insert(name));
            assert_eq!(subscriptions.len(), count + 1);
            let is_tree = matches!(subscriptions.filters, Filters::Many(_));
            assert_eq!(is_tree, count >= FEW_FILTERS_MAX);
            assert!(subscriptions.iter().is_sorted() && subscriptions.contains(name));
        }
        for name in &names {
            assert!(subscriptions.remove(name) && !subscriptions.remove(name));
        }
        assert!(subscriptions.is_empty());
        for name in &names[..2] {
            subscriptions.insert(name);
        }
        assert_eq!(
            subscriptions.take_all(),
            [names[0].clone().into(), names[1].clone().into()] as [Box<str>; 2]
        );
        assert!(subscriptions.is_empty());
    }
}
