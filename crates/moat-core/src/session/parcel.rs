//! One delivery that is kept: until the client can take it, and until it has acknowledged it.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::QoS;

use super::entry::Entry;
use super::lent::Lent;
use super::share::Share;
use crate::message::Message;
use crate::time::Time;

/// Subscription identifiers of one delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionIdList {
    /// None, as in every 3.x session.
    #[default]
    None,
    /// The usual case.
    One(NonZeroU32),
    /// Overlapping subscriptions.
    Many(Box<[NonZeroU32]>),
}

impl SubscriptionIdList {
    /// Keeps `ids`.
    #[must_use]
    pub fn new(ids: &[NonZeroU32]) -> Self {
        match ids {
            [] => SubscriptionIdList::None,
            [one] => SubscriptionIdList::One(*one),
            many => SubscriptionIdList::Many(many.into()),
        }
    }

    /// Adds one more.
    pub fn push(&mut self, id: NonZeroU32) {
        *self = match self.as_slice() {
            [] => SubscriptionIdList::One(id),
            some => SubscriptionIdList::Many([some, &[id]].concat().into_boxed_slice()),
        };
    }

    /// The identifiers.
    #[must_use]
    pub fn as_slice(&self) -> &[NonZeroU32] {
        match self {
            SubscriptionIdList::None => &[],
            SubscriptionIdList::One(one) => std::slice::from_ref(one),
            SubscriptionIdList::Many(many) => many,
        }
    }
}

/// Where the message of a delivery is.
#[derive(Clone, Debug)]
pub enum Content {
    /// Here.
    Held(Arc<Message>),
    /// In the store, at the position of the entry.
    Stored {
        /// [`Message::weight`] of the message, in bytes.
        weight: u32,
        /// When it stops being worth delivering.
        expires_at: Option<Time>,
    },
}

impl Content {
    /// The message, if it is in memory.
    #[must_use]
    pub fn held(&self) -> Option<&Arc<Message>> {
        match self {
            Content::Held(message) => Some(message),
            Content::Stored { .. } => None,
        }
    }

    /// [`Message::weight`] of the message, in bytes.
    #[must_use]
    pub fn weight(&self) -> usize {
        match self {
            Content::Held(message) => message.weight(),
            Content::Stored { weight, .. } => *weight as usize,
        }
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        match self {
            Content::Held(message) => message.is_expired(now),
            Content::Stored { expires_at, .. } => expires_at.is_some_and(|at| at <= now),
        }
    }

    /// Leaves the message to the store.
    pub fn let_go(&mut self) {
        if let Content::Held(message) = self {
            *self = Content::Stored {
                weight: u32::try_from(message.weight()).unwrap_or(u32::MAX),
                expires_at: message.expires_at,
            };
        }
    }
}

/// What one delivery consists of besides its packet identifier.
///
/// Sixty-four bytes: thousands may wait for one client, and each is read once when it comes and once when it goes, so what few of
/// them have is elsewhere.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message.
    pub content: Content,
    /// The QoS granted for this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Whether it may have been sent before the broker ended the last time.
    pub dup: bool,
    /// When it has waited too long to be sent for the first time.
    pub waits_until: Time,
    /// Its entry, in a durable session, unless it is of QoS 0.
    pub entry: Option<Entry>,
    /// The group that dealt it, for a shared subscription.
    pub share: Option<Arc<Share>>,
    /// The identifier of the subscription that matched, if it is one.
    id: Option<NonZeroU32>,
    rare: Option<Box<Rare>>,
}

/// What few deliveries have.
#[derive(Clone, Debug, Default)]
struct Rare {
    /// Identifiers of the subscriptions that matched, if they are several.
    ids: Box<[NonZeroU32]>,
    lent: Option<Arc<Lent>>,
}

impl Parcel {
    /// A delivery of `content`, with the identifiers of the subscriptions that matched.
    #[must_use]
    pub fn new(content: Content, qos: QoS, ids: &[NonZeroU32], waits_until: Time) -> Parcel {
        let mut parcel = Parcel {
            content,
            qos,
            retain: false,
            dup: false,
            waits_until,
            entry: None,
            share: None,
            id: None,
            rare: None,
        };
        match ids {
            [] => {}
            [one] => parcel.id = Some(*one),
            several => parcel.rare.get_or_insert_default().ids = several.into(),
        }
        parcel
    }

    /// Identifiers of the subscriptions that matched.
    #[must_use]
    pub fn ids(&self) -> &[NonZeroU32] {
        match (&self.id, &self.rare) {
            (Some(one), _) => std::slice::from_ref(one),
            (None, Some(rare)) => &rare.ids,
            (None, None) => &[],
        }
    }

    /// The entry that somebody else has for it, if it was dealt from the store and this session keeps nothing.
    #[must_use]
    pub fn lent(&self) -> Option<&Arc<Lent>> {
        self.rare.as_ref()?.lent.as_ref()
    }

    /// Sets [`Self::lent`].
    pub fn set_lent(&mut self, lent: Option<Arc<Lent>>) {
        match (&mut self.rare, lent) {
            (Some(rare), lent) => rare.lent = lent,
            (None, None) => {}
            (None, lent) => self.rare.get_or_insert_default().lent = lent,
        }
    }

    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.waits_until <= now || self.content.is_expired(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parcel_is_one_line_of_cache() {
        assert_eq!(size_of::<Option<Parcel>>(), 64);
    }

    #[test]
    fn any_number_of_identifiers_comes_back() {
        let content = || Content::Stored {
            weight: 0,
            expires_at: None,
        };
        let ids = [7, 8, 9].map(|id| NonZeroU32::new(id).unwrap());
        for count in 0..=ids.len() {
            let parcel = Parcel::new(content(), QoS::AtLeastOnce, &ids[..count], Time::NEVER);
            assert_eq!(parcel.ids(), &ids[..count]);
            assert!(parcel.lent().is_none());
        }
    }
}
