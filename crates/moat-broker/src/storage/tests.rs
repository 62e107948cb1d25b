//! The service against a store that stalls, fills up and fails on demand.
//!
//! - [`commits`]: what becomes one commit, and when;
//! - [`trouble`]: a disk that is slow, full or broken;
//! - [`loads`]: what is read back.

mod commits;
mod loads;
mod trouble;

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use moat_codec::QoS;
use moat_core::durable::{LoadFor, Loaded, Place, Position, QueueId, Taker, Write};
use moat_core::message::MessageParts;
use moat_core::session::parcel::SubscriptionIdList;
use moat_core::{Message, Time};
use moat_store::{
    Entry, Expect, Extent, MemoryStore, Page, Part, Record, Revision, ScanPage, Sequence,
    Versioned, Want, Watch, WatchFrom, Write as EngineWrite,
};

use super::*;
use crate::inbox::{Envelope, Inbox, inbox};

/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store in memory whose commits do what the test says.
#[derive(Default)]
struct Moody {
    store: MemoryStore,
    /// What the next commits say instead.
    moods: Mutex<VecDeque<StoreError>>,
    /// Writes of each commit that got through.
    commits: Mutex<Vec<usize>>,
    /// Commits wait while this holds.
    is_stalled: Mutex<bool>,
    stalled: Condvar,
    /// Commits that have begun.
    begun: AtomicUsize,
    size: AtomicU64,
}

impl Moody {
    /// One whose first commits fail like this.
    fn failing(moods: impl Into<VecDeque<StoreError>>) -> Self {
        Self {
            moods: Mutex::new(moods.into()),
            ..Self::default()
        }
    }

    fn stall(&self, stall: bool) {
        *self.is_stalled.lock().unwrap() = stall;
        self.stalled.notify_all();
    }
}

impl Store for Moody {
    fn commit(
        &self,
        writes: Vec<EngineWrite>,
        now: SystemTime,
    ) -> Result<Vec<moat_store::Position>, StoreError> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let stalled = self.is_stalled.lock().unwrap();
        drop(
            self.stalled
                .wait_while(stalled, |stalled| *stalled)
                .unwrap(),
        );
        if let Some(error) = self.moods.lock().unwrap().pop_front() {
            return Err(error);
        }
        let count = writes.len();
        let positions = self.store.commit(writes, now)?;
        self.commits.lock().unwrap().push(count);
        Ok(positions)
    }

    fn read_exact(
        &self,
        positions: &[moat_store::Position],
    ) -> Result<Vec<Option<Record>>, StoreError> {
        self.store.read_exact(positions)
    }

    fn recount(&self, live: &[(moat_store::Position, u32)]) -> Result<(), StoreError> {
        self.store.recount(live)
    }

    fn bytes(&self) -> u64 {
        self.size.load(Ordering::SeqCst)
    }

    fn append(&self, batch: Vec<Record>) -> Result<Vec<moat_store::Position>, StoreError> {
        self.store.append(batch)
    }

    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        self.store.read(part, from, max, want)
    }

    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        self.store.trim(part, below)
    }

    fn head(&self, part: Part) -> Result<Extent, StoreError> {
        self.store.head(part)
    }

    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        self.store.get(bucket, key, now)
    }

    fn put(
        &self,
        bucket: &str,
        key: &[u8],
        value: Bytes,
        expect: Expect,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Revision, StoreError> {
        self.store.put(bucket, key, value, expect, ttl, now)
    }

    fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError> {
        self.store.delete(bucket, key, expect, now)
    }

    fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        self.store.scan(bucket, prefix, after, max, now)
    }

    fn watch(
        &self,
        bucket: &str,
        prefix: &[u8],
        from: WatchFrom,
        now: SystemTime,
    ) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(bucket, prefix, from, now)
    }

    fn expire(&self, now: SystemTime) -> Result<usize, StoreError> {
        self.store.expire(now)
    }
}

struct Rig {
    store: Arc<Moody>,
    storage: Storage,
    inboxes: Vec<Inbox>,
    events: Receiver<Event>,
    /// What the next openings say.
    openings: Arc<Mutex<VecDeque<StoreError>>>,
    /// How often the store was opened again.
    opened: Arc<AtomicUsize>,
    _polls: Vec<mio::Poll>,
}

fn rig(store: Moody) -> Rig {
    rig_with(store, |_| {})
}

fn rig_with(store: Moody, change: impl FnOnce(&mut StorageSetup)) -> Rig {
    rig_beating(writer::HEARTBEAT, opening(false), store, change)
}

fn opening(has_sessions: bool) -> Opening {
    Opening {
        batches: Vec::new(),
        has_sessions,
    }
}

fn rig_beating(
    heartbeat: Duration,
    opening: Opening,
    store: Moody,
    change: impl FnOnce(&mut StorageSetup),
) -> Rig {
    let store = Arc::new(store);
    let mut polls = Vec::new();
    let (mut senders, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, inbox) = inbox(waker, 1024);
        polls.push(poll);
        senders.push(sender);
        inboxes.push(inbox);
    }
    let (sender, events) = EventSender::collect();
    let openings: Arc<Mutex<VecDeque<StoreError>>> = Arc::default();
    let opened: Arc<AtomicUsize> = Arc::default();
    let (says, counts) = (Arc::clone(&openings), Arc::clone(&opened));
    let mut setup = StorageSetup {
        store: Arc::clone(&store) as Arc<dyn Store>,
        reopen: Box::new(move || {
            counts.fetch_add(1, Ordering::SeqCst);
            says.lock().unwrap().pop_front().map_or(Ok(()), Err)
        }),
        restored: Restored::default(),
        commit_bytes_max: 4 << 20,
        commit_wait: Duration::ZERO,
        store_bytes_max: 1000,
    };
    change(&mut setup);
    let storage =
        Storage::start_at(heartbeat, setup, opening, senders, sender, Clock::start()).unwrap();
    Rig {
        store,
        storage,
        inboxes,
        events,
        openings,
        opened,
        _polls: polls,
    }
}

impl Rig {
    /// The next thing in the inbox of a shard.
    fn next(&self, shard: u8) -> Envelope {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(envelope) = self.inboxes[usize::from(shard)].receive() {
                return envelope;
            }
            assert!(Instant::now() < deadline, "nothing came");
            std::thread::yield_now();
        }
    }

    fn ticket(&self, shard: u8) -> u64 {
        match self.next(shard) {
            Envelope::Committed(ticket) => ticket,
            _ => panic!("something else came"),
        }
    }

    fn loaded(&self, shard: u8) -> Loaded {
        match self.next(shard) {
            Envelope::Loaded(loaded) => *loaded,
            _ => panic!("something else came"),
        }
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn until(&self, what: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(self) {
            assert!(Instant::now() < deadline, "it never was so");
            std::thread::yield_now();
        }
    }
}

fn shard(number: u8) -> ShardId {
    ShardId::new(number)
}

fn message(payload: &[u8]) -> Arc<Message> {
    Arc::new(Message::of_parts(&MessageParts {
        topic: "t",
        properties: b"",
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: Some(Time::NEVER),
        publisher: &"anna".into(),
    }))
}

fn position(part: u8, sequence: u64) -> Position {
    Position {
        part: part.into(),
        sequence,
    }
}

fn append(at: Position, payload: &[u8]) -> Write {
    Write::Append {
        position: at,
        message: message(payload),
        takers: vec![Taker {
            queue: QueueId(1),
            place: Place::Arrival(at.sequence),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIdList::None,
            group: None,
        }],
    }
}

fn batch(ticket: u64, writes: Vec<Write>) -> Batch {
    Batch { ticket, writes }
}

fn retain(ticket: u64, payload: &[u8]) -> Batch {
    batch(ticket, vec![Write::PutRetained(message(payload))])
}

fn load(name: &str, positions: &[Position]) -> Load {
    Load {
        to: LoadFor::Group(name.into()),
        positions: positions.to_vec(),
    }
}
