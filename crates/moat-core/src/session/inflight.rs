//! QoS 1 and 2 messages under way to one client, in the order they were sent.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, QoS};

use super::lent::Lent;
use super::share::Share;
use crate::durable::{Place, Position};
use crate::message::Message;
use crate::time::Time;

/// Packet identifiers in use at once, from the oldest unacknowledged one to the newest, as a
/// multiple of the client's Receive Maximum. A client that never acknowledges its first message
/// but all others would otherwise make the window grow to every identifier there is.
pub const WINDOW_SPAN_FACTOR: usize = 8;

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

/// What a delivery to a durable session is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Which entry of the session's queue it is.
    pub place: Place,
    /// The record of its message; `None` while it is not known, and for good where nothing was written.
    pub position: Option<Position>,
    /// Whether it is durable, so that it may be sent.
    pub is_committed: bool,
}

/// What one delivery consists of besides its packet identifier.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message.
    pub content: Content,
    /// The QoS granted for this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Identifiers of the subscriptions that matched.
    pub ids: SubscriptionIdList,
    /// The group that dealt it, for a shared subscription.
    pub share: Option<Arc<Share>>,
    /// Whether it may have been sent before the broker ended the last time.
    pub dup: bool,
    /// When it has waited too long to be sent for the first time.
    pub waits_until: Time,
    /// Its entry, in a durable session, unless it is of QoS 0.
    pub entry: Option<Entry>,
    /// The entry that somebody else has for it, if it was dealt from the store and this session keeps nothing.
    pub lent: Option<Arc<Lent>>,
}

impl Parcel {
    /// Whether its time has passed.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.waits_until <= now || self.content.is_expired(now)
    }
}

/// What the client still owes for one packet identifier.
#[derive(Clone, Debug)]
pub enum Pending {
    /// PUBACK (QoS 1) or PUBREC (QoS 2); the message may have to be sent again.
    Acknowledgement(Parcel),
    /// PUBCOMP; the message itself has arrived and is gone from here [MQTT-4.3.3-4].
    Completion,
}

/// The window of messages under way.
///
/// Every message has an ordinal, one more than the one before, and its identifier follows from that: so the place of one is its
/// distance from the oldest: no map, no search. A gap is a message that was acknowledged before an older one, or never sent.
#[derive(Debug, Default)]
pub struct Inflight {
    window: VecDeque<Option<Pending>>,
    /// The ordinal of the front of the window, or the next one to use when it is empty.
    front: u64,
    used: usize,
}

/// The identifier of an ordinal: 1 to 65,535, again and again.
pub(super) fn id_of(ordinal: u64) -> Option<PacketId> {
    let zero_based = ordinal % u64::from(u16::MAX);
    PacketId::new(u16::try_from(zero_based + 1).ok()?)
}

impl Inflight {
    /// Messages the client has yet to acknowledge or complete.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Places from the oldest to the newest message, gaps included.
    #[must_use]
    pub fn span(&self) -> usize {
        self.window.len()
    }

    /// The ordinal of the next message, where nothing else decides it.
    #[must_use]
    pub fn next_ordinal(&self) -> u64 {
        self.front + self.window.len() as u64
    }

    /// Whether the message of `ordinal`, which is above all others here, may be sent to a client with this Receive Maximum.
    #[must_use]
    pub fn has_room(&self, ordinal: u64, receive_maximum: u16) -> bool {
        let maximum = usize::from(receive_maximum);
        let span_max = maximum
            .saturating_mul(WINDOW_SPAN_FACTOR)
            .min(usize::from(u16::MAX) - 1);
        let fits = self.window.is_empty() || ordinal - self.front < span_max as u64;
        self.used < maximum && fits
    }

    /// Begins the flow of `ordinal`, which is above all others here, under the identifier that it gives [MQTT-2.2.1-4]. Call only
    /// when [`Self::has_room`].
    pub fn begin(&mut self, ordinal: u64, pending: Pending) -> Option<PacketId> {
        debug_assert!(ordinal >= self.next_ordinal(), "an ordinal comes twice");
        let id = id_of(ordinal)?;
        if self.window.is_empty() {
            self.front = ordinal;
        }
        while self.next_ordinal() < ordinal {
            self.window.push_back(None);
        }
        self.window.push_back(Some(pending));
        self.used += 1;
        Some(id)
    }

    /// The entry of `id`.
    pub fn entry(&mut self, id: PacketId) -> Option<&mut Pending> {
        let place = self.place(id)?;
        self.window.get_mut(place)?.as_mut()
    }

    /// Ends `id`'s flow. Returns what was pending.
    pub fn finish(&mut self, id: PacketId) -> Option<Pending> {
        let place = self.place(id)?;
        let pending = self.window.get_mut(place)?.take()?;
        self.used -= 1;
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.front += 1;
        }
        Some(pending)
    }

    /// The entry at `place` of the window with its identifier, to be sent again on a new connection
    /// in the original order [MQTT-4.6.0-1]. `None` past the end; `Some(None)` for a gap.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Option<(PacketId, &Pending)>> {
        let entry = self.window.get(place)?;
        let id = id_of(self.front + place as u64);
        Some(entry.as_ref().and_then(|pending| Some((id?, pending))))
    }

    /// What is under way, with its ordinals, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Pending)> {
        let pending = (self.front..).zip(&self.window);
        pending.filter_map(|(ordinal, pending)| Some((ordinal, pending.as_ref()?)))
    }

    /// As [`Self::iter`].
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Pending)> {
        let pending = (self.front..).zip(&mut self.window);
        pending.filter_map(|(ordinal, pending)| Some((ordinal, pending.as_mut()?)))
    }

    fn place(&self, id: PacketId) -> Option<usize> {
        let ids = u64::from(u16::MAX);
        let front = self.front % ids + 1;
        let place = (u64::from(id.value()) + ids - front) % ids;
        let place = usize::try_from(place).ok()?;
        (place < self.window.len()).then_some(place)
    }
}
