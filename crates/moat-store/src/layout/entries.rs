//! The log, record by record, dealt out to the queues that still wait for it.

use hashbrown::HashMap;
use moat_core::durable::{
    self, Place, Progress, QueueId, RestoredEntry, RestoredGroup, RestoredSession, Taker,
};

use super::bytes::Malformed;
use super::load::{LoadError, Loader, Owner, Owners};
use super::{keys, message};
use crate::{Part, Position, READ_RECORDS_MAX, Record, Sequence, Want};

/// Entries that became those of other queues.
pub(super) type Deals = HashMap<keys::Dealt, Taker, ahash::RandomState>;

/// What the log holds for the queues there are.
pub(super) struct Entries {
    owners: Owners,
    deals: Deals,
    /// Those that led to the entry at hand.
    followed: Vec<keys::Dealt>,
    pub(super) next_sequences: Vec<(u16, u64)>,
    /// How many takers records have that still wait, in the order of the log.
    pub(super) live: Vec<(Position, u32)>,
    pub(super) records: u64,
    pub(super) waiting: u64,
}

impl Entries {
    pub(super) fn new(owners: Owners, deals: Deals) -> Self {
        Entries {
            owners,
            deals,
            followed: Vec::new(),
            next_sequences: Vec::new(),
            live: Vec::new(),
            records: 0,
            waiting: 0,
        }
    }

    /// Reads a part of the log.
    pub(super) fn scan(
        &mut self,
        loader: &Loader<'_>,
        part: Part,
        sessions: &mut [RestoredSession],
        groups: &mut [RestoredGroup],
    ) -> Result<(), LoadError> {
        let extent = loader.store.head(part)?;
        if extent.next > Sequence::FIRST {
            self.next_sequences.push((part.0, extent.next.0));
        }
        let mut next = extent.first;
        while next < extent.next {
            let page = loader
                .store
                .read(part, next, READ_RECORDS_MAX, &Want::All)?;
            for (sequence, record) in &page.records {
                let position = durable::Position {
                    part: part.0,
                    sequence: sequence.0,
                };
                let taken = self.take(position, record, sessions, groups);
                taken.map_err(|what| LoadError::DamagedRecord {
                    part: part.0,
                    sequence: sequence.0,
                    what,
                })?;
            }
            next = page.next;
        }
        Ok(())
    }

    /// Gives a record's entries to their queues.
    fn take(
        &mut self,
        position: durable::Position,
        record: &Record,
        sessions: &mut [RestoredSession],
        groups: &mut [RestoredGroup],
    ) -> Result<(), Malformed> {
        self.records += 1;
        let (head, takers) = message::decode_headers(&record.headers)?;
        let weight = record.topic.len() + head.properties.len() + record.payload.len();
        let weight = u32::try_from(weight).map_err(|_| Malformed::OutOfRange("the weight"))?;
        let mut live = 0;
        for taker in takers {
            let taker = self.dealt(position, taker?, sessions, groups)?;
            let Some(queue) = Queue::of(&self.owners, taker.queue, sessions, groups) else {
                continue;
            };
            let ordinal = queue.progress.ordinal_of(taker.place);
            if !queue.progress.is_owed(ordinal) {
                continue;
            }
            live += 1;
            queue.entries.push(RestoredEntry {
                position,
                taker,
                ordinal,
                weight,
                expires_at: head.expires_at,
            });
        }
        if live > 0 {
            self.waiting += u64::from(live);
            self.live.push((super::engine_position(position), live));
        }
        Ok(())
    }

    /// The entry that an entry has become by being dealt. One that came back is where it was.
    fn dealt(
        &mut self,
        position: durable::Position,
        first: Taker,
        sessions: &mut [RestoredSession],
        groups: &mut [RestoredGroup],
    ) -> Result<Taker, Malformed> {
        self.followed.clear();
        let mut taker = first;
        loop {
            if let Some(queue) = Queue::of(&self.owners, taker.queue, sessions, groups) {
                count_arrival(queue.progress, taker.place)?;
            }
            let from = keys::Dealt {
                position,
                queue: taker.queue,
                place: taker.place,
            };
            if self.deals.is_empty() || self.followed.contains(&from) {
                return Ok(taker);
            }
            let Some(to) = self.deals.get(&from) else {
                return Ok(taker);
            };
            self.followed.push(from);
            taker = to.clone();
        }
    }

    /// Sorts what the queues have, since it came part by part.
    pub(super) fn finish(
        &mut self,
        sessions: &mut [RestoredSession],
        groups: &mut [RestoredGroup],
    ) {
        let of_sessions = sessions.iter_mut().map(|session| &mut session.entries);
        let of_groups = groups.iter_mut().map(|group| &mut group.entries);
        for entries in of_sessions.chain(of_groups) {
            if !entries.is_sorted_by_key(|entry| entry.ordinal) {
                entries.sort_unstable_by_key(|entry| entry.ordinal);
            }
            entries.shrink_to_fit();
        }
    }
}

/// A queue that is there.
struct Queue<'q> {
    progress: &'q mut Progress,
    entries: &'q mut Vec<RestoredEntry>,
}

impl<'q> Queue<'q> {
    fn of(
        owners: &Owners,
        id: QueueId,
        sessions: &'q mut [RestoredSession],
        groups: &'q mut [RestoredGroup],
    ) -> Option<Self> {
        Some(match *owners.get(&id)? {
            Owner::Session(at) => Queue {
                progress: &mut sessions[at].progress,
                entries: &mut sessions[at].entries,
            },
            Owner::Group(at) => Queue {
                progress: &mut groups[at].progress,
                entries: &mut groups[at].entries,
            },
        })
    }
}

/// The next arrival comes after every one that the log knows, whatever the progress said when it was last written.
fn count_arrival(progress: &mut Progress, place: Place) -> Result<(), Malformed> {
    let Place::Arrival(arrival) = place else {
        return Ok(());
    };
    let last_by = progress.shifts.last().map_or(0, |(_, by)| *by);
    let next = arrival
        .checked_add(1)
        .filter(|next| next.checked_add(last_by).is_some())
        .ok_or(Malformed::OutOfRange("the place of an entry"))?;
    progress.next_arrival = progress.next_arrival.max(next);
    Ok(())
}
