//! QoS 1 and 2 messages under way to one client, in the order they were sent.

use std::collections::VecDeque;

use moat_codec::PacketId;

use super::parcel::Parcel;

/// Packet identifiers in use at once, from the oldest unacknowledged one to the newest, as a
/// multiple of the client's Receive Maximum. A client that never acknowledges its first message
/// but all others would otherwise make the window grow to every identifier there is.
pub const WINDOW_SPAN_FACTOR: usize = 8;

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
