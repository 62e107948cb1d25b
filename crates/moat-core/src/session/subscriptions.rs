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

/// Filters of one session.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// A tree, since a client may bring thousands of them in one packet.
    filters: BTreeSet<Box<str>>,
}

impl Subscriptions {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filters.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether `filter` is subscribed, character by character [MQTT-3.8.4-3].
    #[must_use]
    pub fn contains(&self, filter: &str) -> bool {
        self.filters.contains(filter)
    }

    /// Adds `filter`. Returns whether it is new.
    pub fn insert(&mut self, filter: &str) -> bool {
        !self.contains(filter) && self.filters.insert(filter.into())
    }

    /// Removes `filter`. Returns whether it was there [MQTT-3.10.4-1].
    pub fn remove(&mut self, filter: &str) -> bool {
        self.filters.remove(filter)
    }

    /// All filters, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| &**filter)
    }

    /// Takes all filters out.
    pub fn take_all(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.filters).into_iter().collect()
    }
}
