//! Random writes, in batches, against the plainest thing that could hold them.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{PacketId, SubscriptionOptions};
use moat_core::durable::{
    Batch, Place, Position, Progress, QueueId, Restored, RestoredEntry, SessionRecord, Taker, Write,
};
use moat_core::session::Will;
use moat_core::{Message, Time};
use proptest::collection::vec;
use proptest::prelude::*;

use super::strategies;
use super::values::{show, show_will};
use crate::layout::{encode, load, read_messages};
use crate::{MemoryStore, Store};

/// A write whose queue and position are filled in by the model.
#[derive(Debug, Clone)]
enum Step {
    Append(u16, Arc<Message>, Vec<(u64, Taker)>),
    /// Deals an entry, counted from the first one that waits, to a queue.
    Deal(usize, u64),
    /// An entry, counted so, is done with.
    Done(usize),
    Session(u64, Box<SessionRecord>),
    EndSession(u64),
    Subscribe(u64, String, SubscriptionOptions, Option<NonZeroU32>),
    Unsubscribe(u64, String),
    Inbound(u64, PacketId),
    InboundDone(u64, PacketId),
    Will(u64, u32, Arc<Will>),
    WillDone(u64, u32),
    Group(u64, String),
    EndGroup(u64),
    Retain(Arc<Message>),
    Clear(String),
}

const GROUPS_FROM: u64 = 100;
const GONE_FROM: u64 = 1000;

fn step() -> impl Strategy<Value = Step> {
    let session = || 1..5_u64;
    let group = || GROUPS_FROM..GROUPS_FROM + 3;
    let taker = (
        prop_oneof![session(), group()],
        strategies::taker(QueueId(0), Place::Arrival(0)),
    );
    prop_oneof![
        8 => (0..3_u16, strategies::message(), vec(taker, 1..4)).prop_map(|(part, message, mut takers)| {
            takers.sort_by_key(|(queue, _)| *queue);
            takers.dedup_by_key(|(queue, _)| *queue);
            Step::Append(part, message, takers)
        }),
        3 => (0..20_usize, prop_oneof![session(), group()]).prop_map(|(n, to)| Step::Deal(n, to)),
        3 => (0..20_usize).prop_map(Step::Done),
        4 => (session(), strategies::session()).prop_map(|(queue, record)| Step::Session(queue, Box::new(record))),
        1 => session().prop_map(Step::EndSession),
        3 => (session(), strategies::topic(), strategies::options(), strategies::subscription_id())
            .prop_map(|(queue, filter, options, id)| Step::Subscribe(queue, filter, options, id)),
        1 => (session(), strategies::topic()).prop_map(|(queue, filter)| Step::Unsubscribe(queue, filter)),
        2 => (session(), strategies::packet_id()).prop_map(|(queue, id)| Step::Inbound(queue, id)),
        1 => (session(), strategies::packet_id()).prop_map(|(queue, id)| Step::InboundDone(queue, id)),
        2 => (session(), 0..3_u32, strategies::will()).prop_map(|(queue, number, will)| Step::Will(queue, number, will)),
        1 => (session(), 0..3_u32).prop_map(|(queue, number)| Step::WillDone(queue, number)),
        3 => (group(), strategies::topic()).prop_map(|(queue, filter)| Step::Group(queue, filter)),
        1 => group().prop_map(Step::EndGroup),
        3 => strategies::message().prop_map(Step::Retain),
        1 => strategies::topic().prop_map(Step::Clear),
    ]
}

#[derive(Default)]
struct Model {
    sessions: BTreeMap<u64, SessionRecord>,
    subscriptions: BTreeMap<(u64, String), (SubscriptionOptions, Option<NonZeroU32>)>,
    progress: BTreeMap<u64, Progress>,
    inbound: BTreeSet<(u64, PacketId)>,
    wills: BTreeMap<(u64, u32), Arc<Will>>,
    groups: BTreeMap<u64, String>,
    retained: BTreeMap<String, Arc<Message>>,
    /// Entries that wait, with their message.
    entries: Vec<(Position, Taker, Arc<Message>)>,
    next: BTreeMap<u16, u64>,
    /// Queues that are over: no number is given twice.
    over: BTreeSet<u64>,
}

impl Model {
    fn has(&self, queue: u64) -> bool {
        self.sessions.contains_key(&queue) || self.groups.contains_key(&queue)
    }

    fn arrive(&mut self, queue: u64) -> Place {
        let progress = self.progress.entry(queue).or_default();
        progress.next_arrival += 1;
        Place::Arrival(progress.next_arrival - 1)
    }

    fn end(&mut self, queue: u64) {
        self.over.insert(queue);
        self.progress.remove(&queue);
        self.entries.retain(|(_, taker, _)| taker.queue.0 != queue);
    }

    /// The writes of a step, applied. None if it makes no sense as things stand.
    fn apply(&mut self, step: Step) -> Vec<Write> {
        match step {
            Step::Append(part, message, takers) => {
                let next = self.next.entry(part).or_insert(1);
                let position = Position {
                    part,
                    sequence: *next,
                };
                *next += 1;
                let mut list = Vec::new();
                for (queue, mut taker) in takers {
                    taker.queue = QueueId(queue);
                    if !self.has(queue) {
                        // One that is gone; no later one has its number.
                        taker.queue = QueueId(queue + GONE_FROM);
                    } else {
                        taker.place = self.arrive(queue);
                        self.entries
                            .push((position, taker.clone(), Arc::clone(&message)));
                    }
                    list.push(taker);
                }
                vec![Write::Append {
                    position,
                    message,
                    takers: list,
                }]
            }
            Step::Deal(n, to) => {
                if !self.has(to) || n >= self.entries.len() {
                    return Vec::new();
                }
                let place = self.arrive(to);
                let (position, taker, _) = &mut self.entries[n];
                let from = (taker.queue, taker.place);
                taker.queue = QueueId(to);
                taker.place = place;
                let (position, to) = (*position, taker.clone());
                vec![Write::Deal { position, from, to }]
            }
            Step::Done(n) => {
                if n >= self.entries.len() {
                    return Vec::new();
                }
                let (position, taker, _) = self.entries.remove(n);
                let queue = taker.queue;
                let progress = self.progress.entry(queue.0).or_default();
                let ordinal = progress.ordinal_of(taker.place);
                let at = progress.done.partition_point(|(first, _)| *first < ordinal);
                progress.done.insert(at, (ordinal, ordinal + 1));
                let progress = Box::new(progress.clone());
                vec![
                    Write::Release(position),
                    Write::PutProgress(queue, progress),
                ]
            }
            other => self.apply_to_buckets(other),
        }
    }

    fn apply_to_buckets(&mut self, step: Step) -> Vec<Write> {
        vec![match step {
            Step::Session(queue, _) | Step::Group(queue, _) if self.over.contains(&queue) => {
                return Vec::new();
            }
            Step::Session(queue, record) => {
                self.sessions.insert(queue, (*record).clone());
                Write::PutSession(QueueId(queue), record)
            }
            Step::EndSession(queue) => {
                self.sessions.remove(&queue);
                self.subscriptions.retain(|(of, _), _| *of != queue);
                self.inbound.retain(|(of, _)| *of != queue);
                self.wills.retain(|(of, _), _| *of != queue);
                self.end(queue);
                Write::DeleteSession(QueueId(queue))
            }
            Step::Subscribe(queue, filter, options, id) => {
                self.subscriptions
                    .insert((queue, filter.clone()), (options, id));
                Write::PutSubscription {
                    queue: QueueId(queue),
                    filter: filter.into(),
                    options,
                    id,
                }
            }
            Step::Unsubscribe(queue, filter) => {
                self.subscriptions.remove(&(queue, filter.clone()));
                Write::DeleteSubscription(QueueId(queue), filter.into())
            }
            Step::Inbound(queue, id) => {
                self.inbound.insert((queue, id));
                Write::PutInbound(QueueId(queue), id)
            }
            Step::InboundDone(queue, id) => {
                self.inbound.remove(&(queue, id));
                Write::DeleteInbound(QueueId(queue), id)
            }
            Step::Will(queue, number, will) => {
                self.wills.insert((queue, number), Arc::clone(&will));
                Write::PutWill(QueueId(queue), number, will)
            }
            Step::WillDone(queue, number) => {
                self.wills.remove(&(queue, number));
                Write::DeleteWill(QueueId(queue), number)
            }
            Step::Group(queue, filter) => {
                self.groups.insert(queue, filter.clone());
                Write::PutGroup(QueueId(queue), filter.into())
            }
            Step::EndGroup(queue) => {
                self.groups.remove(&queue);
                self.end(queue);
                Write::DeleteGroup(QueueId(queue))
            }
            Step::Retain(message) => {
                self.retained
                    .insert(message.topic().to_owned(), Arc::clone(&message));
                Write::PutRetained(message)
            }
            Step::Clear(topic) => {
                self.retained.remove(&topic);
                Write::DeleteRetained(topic.into())
            }
            Step::Append(..) | Step::Deal(..) | Step::Done(_) => return Vec::new(),
        }]
    }

    fn expects(&self, store: &dyn Store, restored: &Restored) {
        let filters: Vec<_> = restored
            .groups
            .iter()
            .map(|g| (g.queue.0, g.filter.to_string()))
            .collect();
        assert_eq!(filters, self.groups.clone().into_iter().collect::<Vec<_>>());
        let sessions: Vec<_> = restored
            .sessions
            .iter()
            .map(|s| (s.queue.0, s.record.clone()))
            .collect();
        assert_eq!(
            sessions,
            self.sessions.clone().into_iter().collect::<Vec<_>>()
        );
        for session in &restored.sessions {
            let queue = session.queue.0;
            let subscriptions: Vec<_> = self
                .subscriptions
                .iter()
                .filter(|((of, _), _)| *of == queue)
                .map(|((_, filter), (options, id))| (filter.as_str().into(), *options, *id))
                .collect();
            assert_eq!(session.subscriptions, subscriptions);
            let inbound: Vec<_> = self
                .inbound
                .iter()
                .filter(|(of, _)| *of == queue)
                .map(|(_, id)| *id)
                .collect();
            assert_eq!(session.inbound, inbound);
            let wills = self.wills.iter().filter(|((of, _), _)| *of == queue);
            let wills = wills.map(|((_, number), will)| (*number, show_will(will)));
            let restored = session.wills.iter();
            let restored = restored.map(|(number, will)| (*number, show_will(will)));
            assert_eq!(restored.collect::<Vec<_>>(), wills.collect::<Vec<_>>());
            self.expects_queue(store, queue, &session.progress, &session.entries);
        }
        for group in &restored.groups {
            self.expects_queue(store, group.queue.0, &group.progress, &group.entries);
        }
        let mut retained: Vec<_> = restored.retained.iter().map(|m| show(m)).collect();
        retained.sort();
        let mut expected: Vec<_> = self.retained.values().map(|m| show(m)).collect();
        expected.sort();
        assert_eq!(retained, expected);
        let next: Vec<_> = self
            .next
            .iter()
            .map(|(part, next)| (*part, *next))
            .collect();
        assert_eq!(restored.next_sequences, next);
    }

    fn expects_queue(
        &self,
        store: &dyn Store,
        queue: u64,
        progress: &Progress,
        entries: &[RestoredEntry],
    ) {
        let known = self.progress.get(&queue).cloned().unwrap_or_default();
        // What is not in the log any more has been told by the progress that was written last.
        assert!(progress.next_arrival <= known.next_arrival);
        assert_eq!(progress.done, known.done);
        let mut expected: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, taker, _)| taker.queue.0 == queue)
            .collect();
        expected.sort_by_key(|(_, taker, _)| known.ordinal_of(taker.place));
        assert_eq!(entries.len(), expected.len());
        let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
        let messages = read_messages(store, &positions).unwrap();
        for ((entry, (position, taker, message)), (read_at, read)) in
            entries.iter().zip(expected).zip(messages)
        {
            assert_eq!((entry.position, &entry.taker), (*position, taker));
            assert_eq!(entry.ordinal, known.ordinal_of(taker.place));
            assert_eq!(entry.weight as usize, message.weight());
            assert_eq!(entry.expires_at, message.expires_at);
            assert_eq!(read_at, *position);
            assert_eq!(show(&read.unwrap()), show(message));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_committed_is_what_is_loaded(batches in vec(vec(step(), 1..8), 1..8)) {
        let store = MemoryStore::default();
        let now = Time::from_millis(1_700_000_000_000);
        let mut model = Model::default();
        let mut start = 0;
        for (ticket, steps) in (1_u64..).zip(batches) {
            let writes: Vec<_> = steps.into_iter().flat_map(|step| model.apply(step)).collect();
            let batch = Batch { ticket, writes };
            store.commit(encode(&batch, now), std::time::SystemTime::UNIX_EPOCH).unwrap();
            // Every third time a broker starts in between.
            if ticket % 3 == 0 {
                start += 1;
                let loaded = load(&store, now).unwrap();
                prop_assert_eq!(loaded.restored.start, start);
                prop_assert_eq!(loaded.restored.alive_at, now);
                // Values of a session that was not there were removed.
                model.subscriptions.retain(|(of, _), _| model.sessions.contains_key(of));
                model.inbound.retain(|(of, _)| model.sessions.contains_key(of));
                model.wills.retain(|(of, _), _| model.sessions.contains_key(of));
                model.expects(&store, &loaded.restored);
            }
        }
        let loaded = load(&store, now).unwrap();
        model.expects(&store, &loaded.restored);
        prop_assert_eq!(loaded.tally.entries, u64::try_from(model.entries.len()).unwrap());
    }
}
