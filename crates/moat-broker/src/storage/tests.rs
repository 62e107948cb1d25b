//! The service against a store that stalls, fills up and fails on demand.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::{Condvar, Mutex};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use moat_codec::QoS;
use moat_core::durable::{LoadFor, Loaded, Place, Position, QueueId, Taker, Write};
use moat_core::message::MessageParts;
use moat_core::session::inflight::SubscriptionIdList;
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
    reads: AtomicUsize,
}

impl Moody {
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
        self.reads.fetch_add(positions.len(), Ordering::SeqCst);
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

#[test]
fn what_came_during_a_commit_is_one_commit() {
    let rig = rig(Moody::default());
    rig.store.stall(true);
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.until(|rig| rig.store.begun.load(Ordering::SeqCst) == 1);
    for ticket in 2..=5 {
        rig.storage.submit(shard(0), retain(ticket, b"b"));
    }
    rig.storage.submit(shard(1), retain(1, b"c"));
    rig.store.stall(false);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.ticket(0), 5);
    assert_eq!(rig.ticket(1), 1);
    // Each with the moment it was made.
    assert_eq!(*rig.store.commits.lock().unwrap(), [2, 6]);
    rig.storage.stop().unwrap();
}

#[test]
fn a_commit_takes_no_more_than_its_bytes() {
    let rig = rig_with(Moody::default(), |setup| setup.commit_bytes_max = 3000);
    rig.store.stall(true);
    for ticket in 1..=5 {
        rig.storage.submit(shard(0), retain(ticket, &[0; 1200]));
    }
    rig.store.stall(false);
    while rig.ticket(0) < 5 {}
    assert!(
        rig.store
            .commits
            .lock()
            .unwrap()
            .iter()
            .all(|count| *count <= 4)
    );
    rig.storage.stop().unwrap();
}

#[test]
fn a_commit_waits_for_more_as_long_as_it_may() {
    let wait = Duration::from_secs(3600);
    let rig = rig_with(Moody::default(), |setup| {
        (setup.commit_wait, setup.commit_bytes_max) = (wait, 3000);
    });
    for ticket in 1..=3 {
        rig.storage.submit(shard(0), retain(ticket, &[0; 1200]));
    }
    // Full before the hour is over.
    assert_eq!(rig.ticket(0), 3);
    assert_eq!(*rig.store.commits.lock().unwrap(), [4]);
    rig.storage.submit(shard(0), retain(4, b"a"));
    // The end does not wait.
    rig.storage.stop().unwrap();
    assert_eq!(rig.ticket(0), 4);
}

#[test]
fn what_a_start_has_to_write_is_one_commit_before_anything_else() {
    let mut opening = opening(true);
    opening.batches = vec![
        (shard(0), retain(1, &[0; 2000])),
        (shard(1), retain(1, &[0; 2000])),
    ];
    let beat = Duration::from_millis(1);
    // Each of them is more than a commit gathers.
    let rig = rig_beating(beat, opening, Moody::default(), |setup| {
        setup.commit_bytes_max = 1000;
    });
    assert_eq!((rig.ticket(0), rig.ticket(1)), (1, 1));
    // With the moment, which is not written before.
    assert_eq!(rig.store.commits.lock().unwrap()[0], 3);
    rig.storage.stop().unwrap();
}

#[test]
fn a_broker_with_durable_sessions_says_that_it_lives() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(true), Moody::default(), |_| {});
    rig.until(|rig| rig.store.commits.lock().unwrap().len() > 3);
    rig.storage.stop().unwrap();
    let alive = rig.store.store.get("meta", b"alive-at", SystemTime::now());
    assert!(alive.unwrap().is_some());
}

#[test]
fn a_broker_without_durable_sessions_leaves_the_disk_alone() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(false), Moody::default(), |_| {});
    // The size is looked at with every beat.
    rig.store.size.store(1001, Ordering::SeqCst);
    assert!(matches!(rig.event(), Event::StoreOverLimit { .. }));
    assert!(rig.store.commits.lock().unwrap().is_empty());
    rig.storage.stop().unwrap();
}

#[test]
fn deals_of_messages_that_are_gone_go_too() {
    let beat = Duration::from_millis(1);
    let rig = rig_beating(beat, opening(false), Moody::default(), |_| {});
    let at = position(0, 1);
    let Write::Append { takers, .. } = append(at, b"x") else {
        panic!("an append");
    };
    let deal = Write::Deal {
        position: at,
        from: (QueueId(2), Place::Arrival(0)),
        to: takers[0].clone(),
    };
    rig.storage
        .submit(shard(0), batch(1, vec![append(at, b"x"), deal]));
    assert_eq!(rig.ticket(0), 1);
    let deals = |rig: &Rig| {
        let page = rig
            .store
            .store
            .scan("deals", b"", None, 10, SystemTime::UNIX_EPOCH);
        page.unwrap().entries.len()
    };
    assert_eq!(deals(&rig), 1);
    rig.store.store.trim(Part(0), Sequence(2)).unwrap();
    rig.until(|rig| deals(rig) == 0);
    rig.storage.stop().unwrap();
}

#[test]
fn a_batch_larger_than_the_engine_takes_is_committed_in_pieces() {
    let rig = rig(Moody::default());
    let writes = (1..=70_000).map(|n| Write::Release(position(9, n)));
    rig.storage.submit(shard(0), batch(1, writes.collect()));
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(*rig.store.commits.lock().unwrap(), [65_536, 4465]);
    rig.storage.stop().unwrap();
}

#[test]
fn publishers_wait_while_too_much_is_not_committed() {
    let rig = rig(Moody::default());
    rig.store.stall(true);
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    let writes = (0..17).map(|_| Write::PutRetained(message(&vec![0; 1 << 20])));
    rig.storage.submit(shard(0), batch(1, writes.collect()));
    assert_eq!(rig.storage.state(shard(0)), StoreState::Behind);
    assert_eq!(rig.storage.state(shard(1)), StoreState::Ready);
    assert!(rig.storage.report().pending_bytes > STORE_PENDING_BYTES_MAX);
    rig.store.stall(false);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    assert_eq!(rig.storage.report().pending_bytes, 0);
    rig.storage.stop().unwrap();
}

#[test]
fn nothing_is_said_while_the_disk_is_full_and_all_of_it_when_there_is_room() {
    let store = Moody::default();
    *store.moods.lock().unwrap() = [StoreError::DiskFull, StoreError::DiskFull].into();
    store.stall(true);
    let rig = rig(store);
    rig.openings.lock().unwrap().push_back(StoreError::DiskFull);
    rig.storage
        .submit(shard(0), batch(1, vec![append(position(0, 1), b"x")]));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    assert_eq!(rig.storage.state(shard(1)), StoreState::Full);
    rig.storage.submit(shard(0), retain(2, b"y"));
    // Opened in vain, opened and full again, opened and done.
    assert!(matches!(rig.event(), Event::StoreRecovered { .. }));
    assert_eq!(rig.opened.load(Ordering::SeqCst), 3);
    assert_eq!(rig.ticket(0), 1);
    assert_eq!(rig.ticket(0), 2);
    assert_eq!(rig.storage.state(shard(1)), StoreState::Ready);
    assert_eq!(rig.storage.report().full_total, 1);
    rig.storage.stop().unwrap();
}

#[test]
fn a_failed_disk_is_told_and_nothing_is_committed_after_it() {
    let store = Moody::default();
    let cause = "fsync: input/output error".to_owned();
    *store.moods.lock().unwrap() = [StoreError::Broken { cause }].into();
    let rig = rig(store);
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.storage.submit(shard(0), retain(2, b"b"));
    match rig.event() {
        Event::StoreFailed { cause } => assert!(cause.contains("input/output error")),
        other => panic!("{other:?}"),
    }
    rig.until(|rig| rig.storage.failure().is_some());
    let error = rig.storage.stop().unwrap_err();
    assert!(error.to_string().contains("input/output error"), "{error}");
    assert!(rig.store.commits.lock().unwrap().is_empty());
    assert!(rig.inboxes[0].receive().is_none());
}

#[test]
fn a_store_that_cannot_be_opened_again_has_failed() {
    let store = Moody::default();
    *store.moods.lock().unwrap() = [StoreError::DiskFull].into();
    store.stall(true);
    let rig = rig(store);
    rig.openings.lock().unwrap().push_back(StoreError::Broken {
        cause: "gone".to_owned(),
    });
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    assert!(matches!(rig.event(), Event::StoreFailed { .. }));
    assert!(rig.storage.stop().is_err());
}

#[test]
fn a_full_disk_does_not_keep_the_broker_from_stopping() {
    let store = Moody::default();
    *store.moods.lock().unwrap() = [StoreError::DiskFull].into();
    store.stall(true);
    let rig = rig(store);
    rig.openings
        .lock()
        .unwrap()
        .extend(std::iter::repeat_n(StoreError::DiskFull, 1000));
    rig.storage.submit(shard(0), retain(1, b"a"));
    rig.store.stall(false);
    assert!(matches!(rig.event(), Event::StoreFull { .. }));
    rig.storage.stop().unwrap();
    assert!(rig.inboxes[0].receive().is_none());
}

#[test]
fn a_store_over_its_limit_is_full_until_it_is_not() {
    let rig = rig(Moody::default());
    rig.store.size.store(1001, Ordering::SeqCst);
    rig.storage.submit(shard(0), retain(1, b"a"));
    assert_eq!(
        rig.event(),
        Event::StoreOverLimit {
            bytes: 1001,
            limit: 1000
        }
    );
    assert_eq!(rig.storage.state(shard(0)), StoreState::Full);
    assert!(rig.storage.report().is_over_limit && !rig.storage.report().is_full);
    rig.store.size.store(1000, Ordering::SeqCst);
    rig.storage.submit(shard(0), retain(2, b"a"));
    assert_eq!(
        rig.event(),
        Event::StoreWithinLimit {
            bytes: 1000,
            limit: 1000
        }
    );
    assert_eq!(rig.storage.state(shard(0)), StoreState::Ready);
    // Who waits in another shard hears of it.
    assert_eq!(rig.ticket(1), 0);
    rig.storage.stop().unwrap();
}

#[test]
fn loads_bring_messages_in_the_order_asked_and_tell_what_is_missing() {
    let rig = rig(Moody::default());
    let writes = vec![
        append(position(0, 1), b"one"),
        append(position(0, 2), b"two"),
    ];
    rig.storage.submit(shard(0), batch(1, writes));
    assert_eq!(rig.ticket(0), 1);
    let asked = [position(0, 2), position(0, 7), position(0, 1)];
    rig.storage.load(shard(1), load("g", &asked)).unwrap();
    let loaded = rig.loaded(1);
    assert_eq!(loaded.to, LoadFor::Group("g".into()));
    let payloads: Vec<_> = loaded
        .messages
        .iter()
        .map(|(at, message)| (*at, message.as_ref().map(|message| message.payload())))
        .collect();
    assert_eq!(
        payloads,
        [
            (asked[0], Some(&b"two"[..])),
            (asked[1], None),
            (asked[2], Some(&b"one"[..]))
        ]
    );
    assert_eq!(
        rig.event(),
        Event::StoreMessageMissing {
            part: 0,
            sequence: 7
        }
    );
    let report = rig.storage.report();
    assert_eq!(
        (
            report.loaded_total,
            report.missing_total,
            report.records_total
        ),
        (3, 1, 2)
    );
    rig.storage.stop().unwrap();
}

#[test]
fn loads_without_room_come_back_to_the_shard() {
    let rig = rig(Moody::default());
    // The reader waits for an inbox that nobody empties, and then its own queue is full.
    let mut refused = None;
    for _ in 0..100_000 {
        if let Err(load) = rig.storage.load(shard(0), load("g", &[])) {
            refused = Some(load);
            break;
        }
    }
    assert_eq!(
        refused.map(|load| load.to),
        Some(LoadFor::Group("g".into()))
    );
    drop(rig.inboxes);
    rig.storage.stop().unwrap();
}

#[test]
fn what_was_handed_in_before_the_end_is_committed() {
    let rig = rig(Moody::default());
    for ticket in 1..=100 {
        rig.storage.submit(shard(0), retain(ticket, b"a"));
    }
    rig.storage.stop().unwrap();
    let writes: usize = rig.store.commits.lock().unwrap().iter().sum();
    assert!(writes > 100);
    let page = rig
        .store
        .store
        .scan("retained", b"", None, 10, SystemTime::UNIX_EPOCH);
    let entries: Vec<Entry> = page.unwrap().entries;
    assert_eq!(entries.len(), 1);
}
