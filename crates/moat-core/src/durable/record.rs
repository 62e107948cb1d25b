//! The pieces that are written: sessions, takers, progress.

use std::sync::Arc;

use moat_codec::QoS;
use moat_policy::Identity;

use crate::Time;
use crate::session::parcel::SubscriptionIdList;

/// The number of a durable queue: a session's, or that of a group of a shared subscription. None is ever given twice, so a
/// record can outlive its takers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct QueueId(pub u64);

/// Shards below 256, starts of the broker below 2^24, and queues made per shard and start below 2^32.
const SHARD_BITS: u32 = 8;
const COUNTER_BITS: u32 = 32;

impl QueueId {
    /// The number of the `counter`-th queue that `shard` makes in the `start`-th life of the store.
    #[must_use]
    pub fn new(start: u32, shard: u8, counter: u32) -> QueueId {
        let high = u64::from(start) << (SHARD_BITS + COUNTER_BITS);
        QueueId(high | u64::from(shard) << COUNTER_BITS | u64::from(counter))
    }
}

/// A queue that has to have a message, and how.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taker {
    /// The queue.
    pub queue: QueueId,
    /// Which entry of the queue it is.
    pub place: Place,
    /// The QoS granted for this delivery, 1 or 2.
    pub qos: QoS,
    /// The RETAIN flag of this delivery.
    pub retain: bool,
    /// Identifiers of the subscriptions that matched.
    pub ids: SubscriptionIdList,
    /// The group that dealt it, if it came by a shared subscription.
    pub group: Option<QueueId>,
}

/// How an entry of a queue is told from the others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Place {
    /// As the n-th message that came for the queue; its ordinal follows from [`Progress::shifts`].
    Arrival(u64),
    /// By its ordinal: a retained message, which was put before those that wait.
    Ordinal(u64),
}

/// A session, as it stands in the store.
#[derive(Clone, PartialEq, Debug)]
pub struct SessionRecord {
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// The client identifier.
    pub client_id: Box<str>,
    /// How long it outlives its connection, in seconds; `u32::MAX` is for ever.
    pub expiry_secs: u32,
    /// When its connection ended; `None` while there is one.
    pub offline_since: Option<Time>,
}

/// How far a queue has come.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// The arrival that the next message gets.
    pub next_arrival: u64,
    /// Every ordinal below this one is done with.
    pub done_below: u64,
    /// Ranges of ordinals above it that are done with, each from its first up to and without its end; sorted and apart.
    pub done: Vec<(u64, u64)>,
    /// Every ordinal from this one on was never sent, if the session was offline when this was written.
    pub sent_below: u64,
    /// Ordinals of QoS 2 messages that the client has and has not completed, sorted: PUBREL is due for them.
    pub received: Vec<u64>,
    /// From the arrival on, entries have an ordinal this much above it; sorted, each with the whole distance.
    pub shifts: Vec<(u64, u64)>,
}

impl Progress {
    /// The ordinal of an arrival.
    #[must_use]
    pub fn ordinal(&self, arrival: u64) -> u64 {
        let after = self.shifts.partition_point(|(from, _)| *from <= arrival);
        let by = after.checked_sub(1).map_or(0, |at| self.shifts[at].1);
        arrival + by
    }

    /// The ordinal of a taker's entry.
    #[must_use]
    pub fn ordinal_of(&self, place: Place) -> u64 {
        match place {
            Place::Arrival(arrival) => self.ordinal(arrival),
            Place::Ordinal(ordinal) => ordinal,
        }
    }

    /// Notes that only these ordinals, sorted, are not done with; `end` is the first one that was never used.
    pub fn note_live(&mut self, live: impl IntoIterator<Item = u64>, end: u64) {
        let mut after = None;
        for ordinal in live.into_iter().chain([end]) {
            match after {
                None => self.done_below = ordinal,
                Some(after) if after < ordinal => self.done.push((after, ordinal)),
                Some(_) => {}
            }
            after = Some(ordinal + 1);
        }
    }

    /// Whether the message of an ordinal is still wanted: it is neither done with nor with the client already.
    #[must_use]
    pub fn is_owed(&self, ordinal: u64) -> bool {
        !self.is_done(ordinal) && self.received.binary_search(&ordinal).is_err()
    }

    /// Whether an ordinal is done with.
    #[must_use]
    pub fn is_done(&self, ordinal: u64) -> bool {
        let after = self.done.partition_point(|(first, _)| *first <= ordinal);
        let within = |at: usize| ordinal < self.done[at].1;
        ordinal < self.done_below || after.checked_sub(1).is_some_and(within)
    }
}
