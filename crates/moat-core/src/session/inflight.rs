//! QoS 1 and 2 messages under way to one client, in the order they were sent.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, QoS};

use super::share::Share;
use crate::Message;

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

/// What one delivery consists of besides its packet identifier.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message.
    pub message: Arc<Message>,
    /// The QoS granted for this delivery.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Identifiers of the subscriptions that matched.
    pub ids: SubscriptionIdList,
    /// The group that dealt it, for a shared subscription.
    pub share: Option<Arc<Share>>,
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
/// Identifiers are given out in turn, so the place of one is its distance from the oldest: no map,
/// no search. A gap is a message that was acknowledged before an older one.
#[derive(Debug)]
pub struct Inflight {
    window: VecDeque<Option<Pending>>,
    /// The identifier of the front of the window, or the next one to use when it is empty.
    front: u16,
    used: usize,
}

impl Default for Inflight {
    fn default() -> Self {
        Inflight {
            window: VecDeque::new(),
            front: 1,
            used: 0,
        }
    }
}

/// The identifier `steps` after `id`, passing over 0.
fn advance(id: u16, steps: usize) -> u16 {
    let zero_based = (usize::from(id) - 1 + steps) % usize::from(u16::MAX);
    u16::try_from(zero_based + 1).unwrap_or(1)
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

    /// Whether one more may be sent to a client with this Receive Maximum.
    #[must_use]
    pub fn has_room(&self, receive_maximum: u16) -> bool {
        let maximum = usize::from(receive_maximum);
        let span_max = maximum
            .saturating_mul(WINDOW_SPAN_FACTOR)
            .min(usize::from(u16::MAX) - 1);
        self.used < maximum && self.window.len() < span_max
    }

    /// Gives a message the next identifier [MQTT-2.2.1-4]. Call only when [`Self::has_room`].
    pub fn begin(&mut self, parcel: Parcel) -> Option<PacketId> {
        let id = PacketId::new(advance(self.front, self.window.len()))?;
        self.window
            .push_back(Some(Pending::Acknowledgement(parcel)));
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
            self.front = advance(self.front, 1);
        }
        Some(pending)
    }

    /// The entry at `place` of the window with its identifier, to be sent again on a new connection
    /// in the original order [MQTT-4.6.0-1]. `None` past the end; `Some(None)` for a gap.
    #[must_use]
    pub fn at(&self, place: usize) -> Option<Option<(PacketId, &Pending)>> {
        let entry = self.window.get(place)?;
        Some(
            entry.as_ref().and_then(|pending| {
                PacketId::new(advance(self.front, place)).map(|id| (id, pending))
            }),
        )
    }

    fn place(&self, id: PacketId) -> Option<usize> {
        let ids = usize::from(u16::MAX);
        let place = (usize::from(id.value()) + ids - usize::from(self.front)) % ids;
        (place < self.window.len()).then_some(place)
    }
}
