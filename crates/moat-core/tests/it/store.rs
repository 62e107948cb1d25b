//! A store of typed values in memory, with what a broker finds there when it starts again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{Disconnect, ReasonCode};
use moat_codec::{PacketId, SubscriptionOptions};
use moat_core::durable::{
    Batch, Position, Progress, QueueId, Restored, RestoredEntry, RestoredGroup, RestoredSession,
    SessionRecord, Taker, Write,
};
use moat_core::durable::{Load, Loaded};
use moat_core::message::MessageParts;
use moat_core::session::Will;
use moat_core::shard::{Topology, restore_all};
use moat_core::{Effects, Limits, Message, Shard, Time};
use moat_policy::Snapshot;

use crate::harness::{V5, World};

type Subscriptions = BTreeMap<Box<str>, (SubscriptionOptions, Option<NonZeroU32>)>;

/// One record of the log.
struct Record {
    message: Arc<Message>,
    takers: Vec<Taker>,
    /// Takers that are not done with it.
    users: usize,
}

#[derive(Default)]
pub(crate) struct ModelStore {
    starts: u32,
    alive_at: Time,
    next_sequences: BTreeMap<u16, u64>,
    records: BTreeMap<Position, Record>,
    sessions: BTreeMap<QueueId, SessionRecord>,
    subscriptions: BTreeMap<QueueId, Subscriptions>,
    progress: BTreeMap<QueueId, Progress>,
    inbound: BTreeSet<(QueueId, PacketId)>,
    wills: BTreeMap<(QueueId, u32), Arc<Will>>,
    groups: BTreeMap<QueueId, Arc<str>>,
    retained: BTreeMap<String, Arc<Message>>,
}

impl ModelStore {
    fn apply(&mut self, batch: Batch, now: Time) {
        self.alive_at = now;
        for write in batch.writes {
            self.write(write);
        }
    }

    fn write(&mut self, write: Write) {
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
                let record = Record {
                    users: takers.len(),
                    message,
                    takers,
                };
                self.records.insert(position, record);
            }
            Write::Release(position) => {
                let record = self.records.get_mut(&position).expect("released twice");
                record.users -= 1;
                if record.users == 0 {
                    self.records.remove(&position);
                }
            }
            Write::Deal { position, from, to } => {
                let record = self.records.get_mut(&position).expect("dealt from nowhere");
                let is_it = |taker: &&mut Taker| (taker.queue, taker.place) == from;
                let taker = record.takers.iter_mut().find(is_it);
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

    /// Records of the log that somebody still wants.
    pub(crate) fn records(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    fn find(&self, position: Position) -> Option<Arc<Message>> {
        let record = self.records.get(&position)?;
        Some(copy(&record.message))
    }

    /// What the next broker starts from.
    fn restored(&mut self) -> Restored {
        self.starts += 1;
        let entries = self.entries();
        let entries_of = |queue| entries.get(&queue).cloned().unwrap_or_default();
        let progress_of = |queue| self.progress.get(&queue).cloned().unwrap_or_default();
        let sessions = self.sessions.iter().map(|(queue, record)| RestoredSession {
            queue: *queue,
            record: record.clone(),
            subscriptions: self
                .subscriptions
                .get(queue)
                .into_iter()
                .flatten()
                .map(|(filter, (options, id))| (filter.clone(), *options, *id))
                .collect(),
            progress: progress_of(*queue),
            inbound: self
                .inbound
                .iter()
                .filter(|(of, _)| of == queue)
                .map(|(_, id)| *id)
                .collect(),
            wills: self
                .wills
                .iter()
                .filter(|((of, _), _)| of == queue)
                .map(|((_, number), will)| (*number, Will::of_parts(&will.parts())))
                .collect(),
            entries: entries_of(*queue),
        });
        let groups = self.groups.iter().map(|(queue, filter)| RestoredGroup {
            queue: *queue,
            filter: Arc::clone(filter),
            progress: progress_of(*queue),
            entries: entries_of(*queue),
        });
        Restored {
            start: self.starts,
            alive_at: self.alive_at,
            next_sequences: self.next_sequences.iter().map(|(p, n)| (*p, *n)).collect(),
            sessions: sessions.collect(),
            groups: groups.collect(),
            retained: self.retained.values().map(copy).collect(),
        }
    }

    /// What each queue is owed. Takers that are done or gone do not count as users of their records any more.
    fn entries(&mut self) -> BTreeMap<QueueId, Vec<RestoredEntry>> {
        let mut entries: BTreeMap<QueueId, Vec<RestoredEntry>> = BTreeMap::new();
        for (position, record) in &mut self.records {
            record.users = 0;
            for taker in &record.takers {
                let queue = taker.queue;
                let exists = self.sessions.contains_key(&queue) || self.groups.contains_key(&queue);
                let progress = self.progress.get(&queue).cloned().unwrap_or_default();
                let ordinal = progress.ordinal_of(taker.place);
                if !exists || !progress.is_owed(ordinal) {
                    continue;
                }
                record.users += 1;
                entries.entry(queue).or_default().push(RestoredEntry {
                    position: *position,
                    taker: taker.clone(),
                    ordinal,
                    weight: record.message.weight() as u32,
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
}

impl World {
    /// A broker with a store, and what ended it the last time is forgotten.
    pub(crate) fn durable(shards: usize, limits: Limits) -> World {
        let mut world = World::with(shards, limits, Arc::new(Snapshot::allow_all()));
        if world.store.is_none() {
            world.store = Some(ModelStore::default());
            world.restore();
        }
        world
    }

    /// The broker is gone without a word, with everything that was not durable, and another one of `shards` shards starts `secs` later.
    pub(crate) fn crash(&mut self, shards: usize, secs: u64) {
        let limits = self.shards[0].limits().clone();
        let policy = Arc::clone(&self.policy);
        self.now = self.now.plus_secs(secs);
        self.topology = Topology::new(shards);
        let topology = &self.topology;
        let shard = |id| Shard::new(id, topology.clone(), limits.clone(), Arc::clone(&policy));
        self.shards = topology.shards().map(shard).collect();
        self.fx = (0..shards).map(|_| Effects::new(shards)).collect();
        self.pending = (0..shards).map(|_| VecDeque::new()).collect();
        self.inboxes = (0..shards).map(|_| VecDeque::new()).collect();
        for wire in &mut self.wires {
            wire.closed = true;
        }
        self.restore();
        for shard in &mut self.shards {
            shard.tick(self.now, &mut self.fx[shard.id().index()]);
        }
        self.after_step();
    }

    pub(crate) fn with_store_if_asked(mut self) -> World {
        if std::env::var_os("MOAT_TEST_STORE").is_some() {
            self.store = Some(ModelStore::default());
            self.restore();
            self.be_known();
        }
        self
    }

    /// Every shard has had a durable session, so that none has to tell the others of its first one while a test counts what they say.
    fn be_known(&mut self) {
        for shard in 0..self.shards.len() {
            let id = self.client_id_at(shard, "first-");
            let first = self.lasting(V5, &id);
            let mut goodbye = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
            goodbye.session_expiry_secs = Some(0);
            self.disconnect_with(first, goodbye);
        }
        self.events.clear();
    }

    /// Gives the shards what the store has.
    fn restore(&mut self) {
        let Some(store) = &mut self.store else { return };
        let restored = store.restored();
        restore_all(&mut self.shards, &mut self.fx, restored, self.now);
        self.after_step();
    }

    /// What is durable, in a broker that has a store.
    pub(crate) fn stored(&self) -> &ModelStore {
        self.store.as_ref().unwrap()
    }

    /// Lets the store do what waits for it.
    pub(crate) fn settle_store(&mut self) {
        self.after_step();
    }

    /// Ends the turn of every shard: writes what there is to write, and brings what there is to load. Returns whether there was
    /// something.
    pub(crate) fn store_step(&mut self) -> bool {
        let Some(store) = &mut self.store else {
            return false;
        };
        let mut worked = false;
        for at in 0..self.shards.len() {
            let (shard, fx) = (&mut self.shards[at], &mut self.fx[at]);
            shard.finish_turn(self.now, fx);
            self.pending[at].extend(fx.journal.take());
            while let (true, Some(batch)) = (self.commits, self.pending[at].front()) {
                let ticket = batch.ticket;
                if let Some(batch) = self.pending[at].pop_front() {
                    store.apply(batch, self.now);
                }
                shard.committed(ticket, self.now, fx);
                worked = true;
            }
            let loads = match self.loads {
                true => std::mem::take(&mut fx.loads),
                false => Vec::new(),
            };
            for Load { to, positions } in loads {
                let found = |position: Position| (position, store.find(position));
                let messages = positions.into_iter().map(found).collect();
                shard.loaded(Loaded { to, messages }, self.now, fx);
                worked = true;
            }
        }
        worked
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
