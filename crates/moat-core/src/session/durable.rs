//! What makes a session durable: its number in the store, and how its entries are counted there.

use moat_codec::{PacketId, QoS};

use super::Outbound;
use super::inflight::Pending;
use crate::durable::{Place, Position, Progress, QueueId};

/// Entries done after which a queue's progress is written, if nothing asks for it earlier.
pub const UNSAVED_ENTRIES_MAX: usize = 64;

/// The durable side of a session. Boxed: a session without expiry pays a pointer.
#[derive(Debug)]
pub struct Durable {
    /// Its number.
    pub queue: QueueId,
    /// The arrival of the next message.
    next_arrival: u64,
    /// The number of the will in the store, if there is one that was not published.
    pub will: Option<u32>,
    /// Receipts of wills that are on their way into the store.
    pub leaving_wills: Vec<u64>,
    /// Wills that were put into the store.
    pub wills: u32,
    /// As [`Progress::sent_below`].
    pub sent_below: u64,
    /// As [`Progress::shifts`].
    shifts: Vec<(u64, u64)>,
    /// Records of entries done with since progress was written.
    pub released: Vec<Position>,
    /// Whether an ordinal between two that wait may have been given up.
    pub has_holes: bool,
    /// Whether progress is to be written at the end of this turn.
    pub is_urgent: bool,
    /// Whether progress is to be written soon.
    pub is_unsaved: bool,
    /// Entries that are on their way back to the group that dealt them.
    pub returning: Vec<Place>,
    /// QoS 2 messages of the client that are not durable yet, each with the number of its receipt.
    pub receiving: Vec<(PacketId, u64)>,
}

impl Durable {
    /// A queue that has never had a message.
    #[must_use]
    pub fn new(queue: QueueId) -> Durable {
        Durable {
            has_holes: false,
            ..Durable::restored(queue, &Progress::default())
        }
    }

    /// A queue that has come so far.
    #[must_use]
    pub fn restored(queue: QueueId, progress: &Progress) -> Durable {
        Durable {
            queue,
            next_arrival: progress.next_arrival,
            will: None,
            leaving_wills: Vec::new(),
            wills: 0,
            sent_below: progress.sent_below,
            shifts: progress.shifts.clone(),
            released: Vec::new(),
            has_holes: true,
            is_urgent: false,
            is_unsaved: false,
            returning: Vec::new(),
            receiving: Vec::new(),
        }
    }

    /// The place of the next message, if it is kept.
    #[must_use]
    pub fn next_place(&self) -> Place {
        Place::Arrival(self.next_arrival)
    }

    /// The next message has its place.
    pub fn arrived(&mut self) {
        self.next_arrival += 1;
    }

    /// The last broker ended without saying what it had sent: any of it may have been.
    pub fn everything_may_be_sent(&mut self) {
        self.sent_below = self.ordinal(self.next_place());
    }

    /// The ordinal of an entry.
    #[must_use]
    pub fn ordinal(&self, place: Place) -> u64 {
        match place {
            Place::Ordinal(ordinal) => ordinal,
            Place::Arrival(arrival) => {
                let after = self.shifts.partition_point(|(from, _)| *from <= arrival);
                let by = after.checked_sub(1).map_or(0, |at| self.shifts[at].1);
                arrival + by
            }
        }
    }

    /// Makes room for `count` messages before all that have not been sent; `first` is the oldest of these. Returns the ordinal
    /// of the first of them.
    pub fn insert(&mut self, first: Option<Place>, count: u64) -> u64 {
        let from = match first {
            Some(Place::Arrival(arrival)) => arrival,
            Some(Place::Ordinal(_)) | None => self.next_arrival,
        };
        let ordinal = self.ordinal(Place::Arrival(from));
        match self.shifts.last_mut() {
            Some((at, by)) if *at == from => *by += count,
            last => {
                let by = last.map_or(0, |(_, by)| *by);
                self.shifts.push((from, by + count));
            }
        }
        ordinal
    }

    /// One entry is done with.
    pub fn done(&mut self, position: Option<Position>) {
        self.released.extend(position);
    }

    /// How far the queue has come.
    pub fn progress(&mut self, outbound: Option<&Outbound>) -> Progress {
        let end = self.ordinal(self.next_place());
        let mut progress = Progress {
            next_arrival: self.next_arrival,
            done_below: end,
            sent_below: self.sent_below,
            ..Progress::default()
        };
        let Some(outbound) = outbound else {
            if !self.returning.is_empty() {
                let mut live = self.returning_ordinals();
                live.sort_unstable();
                progress.note_live(live, end);
            }
            self.shifts.drain(..self.shifts.len().saturating_sub(1));
            progress.shifts.clone_from(&self.shifts);
            return progress;
        };
        let mut live = self.returning_ordinals();
        for (ordinal, pending) in outbound.inflight.iter() {
            live.push(ordinal);
            if matches!(pending, Pending::Completion) {
                progress.received.push(ordinal);
            }
        }
        let waiting = outbound.waiting_all().filter(|p| p.qos != QoS::AtMostOnce);
        let mut places = waiting.filter_map(|parcel| Some(parcel.entry?.place()));
        if self.has_holes || !self.returning.is_empty() {
            live.extend(places.map(|place| self.ordinal(place)));
            live.sort_unstable();
            progress.note_live(live, end);
        } else {
            // All that wait follow each other without a gap.
            let first = places.next().map_or(end, |place| self.ordinal(place));
            progress.note_live(live, first);
        }
        self.prune(&progress);
        progress.shifts.clone_from(&self.shifts);
        progress
    }

    fn returning_ordinals(&self) -> Vec<u64> {
        let ordinals = self.returning.iter().map(|place| self.ordinal(*place));
        ordinals.collect()
    }

    /// Forgets shifts that no live entry needs.
    fn prune(&mut self, progress: &Progress) {
        while let [(_, by), (next, _), ..] = *self.shifts {
            if progress.done_below < next + by {
                break;
            }
            self.shifts.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_of_arrivals_move_behind_what_is_put_before_them() {
        let mut durable = Durable::new(QueueId(1));
        durable.arrived();
        durable.arrived();
        assert_eq!(durable.insert(Some(Place::Arrival(1)), 3), 1);
        assert_eq!(durable.ordinal(Place::Arrival(0)), 0);
        assert_eq!(durable.ordinal(Place::Arrival(1)), 4);
        assert_eq!(durable.insert(Some(Place::Arrival(1)), 2), 4);
        assert_eq!(durable.ordinal(Place::Arrival(1)), 6);
        assert_eq!(durable.insert(None, 1), 7);
        assert_eq!(durable.ordinal(Place::Arrival(2)), 8);
    }

    #[test]
    fn progress_gives_the_same_ordinals() {
        let mut durable = Durable::new(QueueId(1));
        for _ in 0..5 {
            durable.arrived();
        }
        durable.insert(Some(Place::Arrival(2)), 3);
        durable.insert(Some(Place::Arrival(4)), 7);
        let progress = Progress {
            next_arrival: 5,
            shifts: durable.shifts.clone(),
            ..Progress::default()
        };
        for arrival in 0..8 {
            let place = Place::Arrival(arrival);
            assert_eq!(progress.ordinal_of(place), durable.ordinal(place));
        }
        let restored = Durable::restored(QueueId(1), &progress);
        assert_eq!(
            restored.ordinal(restored.next_place()),
            durable.ordinal(durable.next_place())
        );
    }
}
