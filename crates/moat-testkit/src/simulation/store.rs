//! What the simulated disk keeps: the typed writes of shards, all of a commit or nothing of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, SubscriptionOptions};
use moat_core::durable::{
    Batch, Place, Position, Progress, QueueId, Restored, RestoredEntry, RestoredGroup,
    RestoredSession, SessionRecord, Taker, Write,
};
use moat_core::message::MessageParts;
use moat_core::session::Will;
use moat_core::{Message, Time};

use super::{Coverage, Planted};

/// Commits whose records a disk with [`Planted::CursorAheadOfLog`] loses in a crash.
const LOST_COMMITS: usize = 3;

/// What a broker's storage thread needs of a store.
pub trait Disk {
    /// Writes the batches of one commit. They are durable when it returns.
    fn commit(&mut self, batches: Vec<Batch>, now: Time, coverage: &mut Coverage);
    /// A message, if its record is still there.
    fn find(&self, position: Position) -> Option<Arc<Message>>;
    /// The power goes off.
    fn crash(&mut self);
    /// What the next broker starts from. `alive_at` is the last moment that the broker before is known to have lived.
    fn restored(&mut self, alive_at: Time) -> Restored;
    /// The moment of the last commit.
    fn committed_at(&self) -> Time;
    /// How much there is.
    fn left(&self) -> Left;
}

/// How much a store holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Records of the log with a taker.
    pub records: usize,
    /// Sessions.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Queues with progress.
    pub progress: usize,
    /// Packet identifiers that await PUBREL.
    pub inbound: usize,
    /// Wills.
    pub wills: usize,
    /// Groups.
    pub groups: usize,
}

type Subscriptions = BTreeMap<Box<str>, (SubscriptionOptions, Option<NonZeroU32>)>;

/// One record of the log.
struct Record {
    message: Arc<Message>,
    takers: Vec<Taker>,
    /// Takers that are not done with it.
    users: usize,
}

/// A store of typed values in memory.
#[derive(Default)]
pub struct ModelDisk {
    planted: Option<Planted>,
    starts: u32,
    committed_at: Time,
    next_sequences: BTreeMap<u16, u64>,
    records: BTreeMap<Position, Record>,
    sessions: BTreeMap<QueueId, SessionRecord>,
    subscriptions: BTreeMap<QueueId, Subscriptions>,
    progress: BTreeMap<QueueId, Progress>,
    inbound: BTreeSet<(QueueId, PacketId)>,
    wills: BTreeMap<(QueueId, u32), Arc<Will>>,
    groups: BTreeMap<QueueId, Arc<str>>,
    retained: BTreeMap<String, Arc<Message>>,
    /// The records of the last commits.
    latest: VecDeque<Vec<Position>>,
}

impl ModelDisk {
    /// An empty one, with a fault or without.
    #[must_use]
    pub fn new(planted: Option<Planted>) -> Self {
        ModelDisk {
            planted,
            ..ModelDisk::default()
        }
    }

    fn apply(&mut self, batch: Batch, coverage: &mut Coverage) {
        let is_will = |write: &Write| matches!(write, Write::DeleteWill(..));
        let loses_will =
            self.planted == Some(Planted::LostWill) && batch.writes.iter().any(is_will);
        for write in batch.writes {
            self.write(write, loses_will, coverage);
        }
    }

    #[expect(clippy::too_many_lines, reason = "one flat match")]
    fn write(&mut self, write: Write, loses_records: bool, coverage: &mut Coverage) {
        match write {
            Write::Append {
                position,
                message,
                takers,
            } => {
                assert!(!takers.is_empty(), "a record for nobody");
                let next = self.next_sequences.entry(position.part).or_insert(1);
                assert_eq!(*next, position.sequence, "a gap in the log");
                *next += 1;
                if loses_records {
                    return;
                }
                coverage.records += 1;
                let is_shift = |taker: &Taker| matches!(taker.place, Place::Ordinal(_));
                coverage.shifted += u64::from(takers.iter().any(is_shift));
                coverage.shared_records += u64::from(takers.len() > 1);
                if let Some(latest) = self.latest.back_mut() {
                    latest.push(position);
                }
                let record = Record {
                    users: takers.len(),
                    message,
                    takers,
                };
                self.records.insert(position, record);
            }
            Write::Release(position) => {
                let Some(record) = self.records.get_mut(&position) else {
                    assert!(self.planted.is_some(), "{position:?} is released twice");
                    return;
                };
                record.users -= 1;
                if record.users == 0 {
                    self.records.remove(&position);
                }
            }
            Write::Deal { position, from, to } => {
                let Some(record) = self.records.get_mut(&position) else {
                    assert!(self.planted.is_some(), "{position:?} is dealt from nowhere");
                    return;
                };
                coverage.deals += 1;
                let mut takers = record.takers.iter_mut();
                let taker = takers.find(|taker| (taker.queue, taker.place) == from);
                *taker.expect("dealt from nobody") = to;
            }
            Write::PutSession(queue, record) => {
                self.sessions.insert(queue, *record);
            }
            Write::DeleteSession(queue) => {
                self.sessions.remove(&queue);
                self.subscriptions.remove(&queue);
                self.progress.remove(&queue);
                self.wills.retain(|(of, _), _| *of != queue);
                self.inbound.retain(|(of, _)| *of != queue);
            }
            Write::PutSubscription {
                queue,
                filter,
                options,
                id,
            } => {
                let of = self.subscriptions.entry(queue).or_default();
                of.insert(filter, (options, id));
            }
            Write::DeleteSubscription(queue, filter) => {
                if let Some(of) = self.subscriptions.get_mut(&queue) {
                    of.remove(&filter);
                    if of.is_empty() {
                        self.subscriptions.remove(&queue);
                    }
                }
            }
            Write::PutProgress(queue, progress) => {
                self.progress.insert(queue, *progress);
            }
            Write::PutInbound(queue, id) => {
                self.inbound.insert((queue, id));
            }
            Write::DeleteInbound(queue, id) => {
                self.inbound.remove(&(queue, id));
            }
            Write::PutWill(queue, number, will) => {
                self.wills.insert((queue, number), will);
            }
            Write::DeleteWill(queue, number) => {
                self.wills.remove(&(queue, number));
            }
            Write::PutGroup(queue, filter) => {
                self.groups.insert(queue, filter);
            }
            Write::DeleteGroup(queue) => {
                self.groups.remove(&queue);
                self.progress.remove(&queue);
            }
            Write::PutRetained(message) => {
                self.retained.insert(message.topic().to_owned(), message);
            }
            Write::DeleteRetained(topic) => {
                self.retained.remove(&*topic);
            }
        }
    }

    /// What each queue is owed. Takers that are done or gone do not count as users of their records any more.
    fn entries(&mut self) -> BTreeMap<QueueId, Vec<RestoredEntry>> {
        let mut entries: BTreeMap<QueueId, Vec<RestoredEntry>> = BTreeMap::new();
        let nothing = Progress::default();
        for (position, record) in &mut self.records {
            record.users = 0;
            for taker in &record.takers {
                let queue = taker.queue;
                let exists = self.sessions.contains_key(&queue) || self.groups.contains_key(&queue);
                let progress = self.progress.get(&queue).unwrap_or(&nothing);
                let ordinal = progress.ordinal_of(taker.place);
                if !exists || !progress.is_owed(ordinal) {
                    continue;
                }
                record.users += 1;
                entries.entry(queue).or_default().push(RestoredEntry {
                    position: *position,
                    taker: taker.clone(),
                    ordinal,
                    weight: u32::try_from(record.message.weight()).unwrap_or(u32::MAX),
                    expires_at: record.message.expires_at,
                });
            }
        }
        self.records.retain(|_, record| record.users > 0);
        for of_one in entries.values_mut() {
            of_one.sort_by_key(|entry| entry.ordinal);
        }
        entries
    }

    fn session(
        &self,
        queue: QueueId,
        record: &SessionRecord,
        entries: Vec<RestoredEntry>,
    ) -> RestoredSession {
        let subscriptions = self.subscriptions.get(&queue).into_iter().flatten();
        let inbound = self.inbound.range((queue, PacketId::MIN)..);
        RestoredSession {
            queue,
            record: record.clone(),
            subscriptions: subscriptions
                .map(|(filter, (options, id))| (filter.clone(), *options, *id))
                .collect(),
            progress: self.progress.get(&queue).cloned().unwrap_or_default(),
            inbound: inbound
                .take_while(|(of, _)| *of == queue)
                .map(|(_, id)| *id)
                .collect(),
            wills: self
                .wills
                .range((queue, 0)..=(queue, u32::MAX))
                .map(|((_, number), will)| (*number, Will::of_parts(&will.parts())))
                .collect(),
            entries,
        }
    }
}

impl Disk for ModelDisk {
    fn commit(&mut self, batches: Vec<Batch>, now: Time, coverage: &mut Coverage) {
        self.committed_at = now;
        self.latest.push_back(Vec::new());
        if self.latest.len() > LOST_COMMITS {
            self.latest.pop_front();
        }
        for batch in batches {
            self.apply(batch, coverage);
        }
    }

    fn find(&self, position: Position) -> Option<Arc<Message>> {
        let record = self.records.get(&position)?;
        Some(copy(&record.message))
    }

    fn crash(&mut self) {
        if self.planted == Some(Planted::CursorAheadOfLog) {
            for position in self.latest.drain(..).flatten() {
                self.records.remove(&position);
            }
        }
        self.latest.clear();
    }

    fn restored(&mut self, alive_at: Time) -> Restored {
        self.starts += 1;
        let mut entries = self.entries();
        let sessions = self.sessions.iter().map(|(queue, record)| {
            self.session(*queue, record, entries.remove(queue).unwrap_or_default())
        });
        let sessions = sessions.collect();
        let groups = self.groups.iter().map(|(queue, filter)| RestoredGroup {
            queue: *queue,
            filter: Arc::clone(filter),
            progress: self.progress.get(queue).cloned().unwrap_or_default(),
            entries: entries.remove(queue).unwrap_or_default(),
        });
        Restored {
            start: self.starts,
            alive_at,
            next_sequences: self.next_sequences.iter().map(|(p, n)| (*p, *n)).collect(),
            sessions,
            groups: groups.collect(),
            retained: self.retained.values().map(copy).collect(),
        }
    }

    fn committed_at(&self) -> Time {
        self.committed_at
    }

    fn left(&self) -> Left {
        Left {
            records: self.records.len(),
            sessions: self.sessions.len(),
            subscriptions: self.subscriptions.values().map(BTreeMap::len).sum(),
            progress: self.progress.len(),
            // One may come behind the end of its session; the next start removes it.
            inbound: self
                .inbound
                .iter()
                .filter(|(queue, _)| self.sessions.contains_key(queue))
                .count(),
            wills: self.wills.len(),
            groups: self.groups.len(),
        }
    }
}

/// Another message of the same content, as one that was read from a disk.
fn copy(message: &Arc<Message>) -> Arc<Message> {
    Arc::new(Message::of_parts(&MessageParts {
        topic: message.topic(),
        properties: message.properties(),
        payload: message.payload(),
        qos: message.qos,
        retain: message.retain,
        expires_at: message.expires_at,
        publisher: &message.publisher,
    }))
}
