//! The one way from the packet plane to the store: batches in, commits and messages out.
//!
//! Shards never wait. They hand in batches ([`Storage::submit`]) and wishes for messages ([`Storage::load`]); a writer thread joins the
//! batches that came during its last commit into the next one, a reader thread brings messages back, and both answer into the shards'
//! inboxes. A shard asks [`Storage::state`] in every turn and keeps its publishers from piling up more than the disk can take.
//!
//! - `writer`: group commit, and what happens when the disk is full or fails.
//! - `reader`: loads, joined.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use moat_core::ShardId;
use moat_core::durable::{Batch, Load, Restored, StoreState};
use moat_events::{Event, EventSender};
use moat_store::{Store, StoreError, layout};

use self::reader::Reader;
use self::writer::Writer;
use crate::clock::Clock;
use crate::inbox::InboxSender;

/// Bytes that one shard may have handed in and not yet seen committed; above it publishers wait. A batch counts at least
/// [`BATCH_BYTES_MIN`], so this bounds their number too.
pub const STORE_PENDING_BYTES_MAX: usize = 16 << 20;
/// What a batch counts besides its writes. Unit: bytes.
pub const BATCH_BYTES_MIN: usize = 128;
/// Loads that wait for the reader; a shard whose load finds no room keeps it.
pub const LOADS_WAITING_MAX: usize = 1024;

/// Closes the store's files and opens them again, after the disk was full. `Full` and `DiskFull`: there is still no room.
pub type Reopen = Box<dyn FnMut() -> Result<(), StoreError> + Send>;

/// What a broker keeps its sessions in.
pub struct StorageSetup {
    /// The store.
    pub store: Arc<dyn Store>,
    /// How to open it again.
    pub reopen: Reopen,
    /// What was in it.
    pub restored: Restored,
    /// What one commit takes, in bytes, unless one batch is larger.
    pub commit_bytes_max: usize,
    /// How long a commit waits for more batches.
    pub commit_wait: Duration,
    /// Above so many bytes of the whole store nothing new is kept.
    pub store_bytes_max: u64,
}

/// What a start has made of what was in the store.
pub struct Opening {
    /// What the shards have to write before anything else. They are one commit: the store says when the broker lived last, and what was
    /// open then has to be closed at that moment before it says that another one lives.
    pub batches: Vec<(ShardId, Batch)>,
    /// Whether a session was restored.
    pub has_sessions: bool,
}

/// The handle that all shards share.
pub struct Storage {
    orders: Sender<Order>,
    loads: SyncSender<Wish>,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Figures of the store since the start, and how it is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// Bytes on the disk.
    pub bytes: u64,
    /// Bytes that were handed in and are not yet committed.
    pub pending_bytes: usize,
    /// Whether there was no room for the last commit, which is tried again.
    pub is_full: bool,
    /// Whether the store has more bytes than it may have.
    pub is_over_limit: bool,
    /// Commits.
    pub commits_total: u64,
    /// Batches of shards in them.
    pub batches_total: u64,
    /// Messages written to the log.
    pub records_total: u64,
    /// Messages read back from it.
    pub loaded_total: u64,
    /// Messages that were asked for and are not there.
    pub missing_total: u64,
    /// How often it became full.
    pub full_total: u64,
    /// How long the slowest commit took, in microseconds.
    pub slowest_commit_micros: u64,
}

enum Order {
    Batch(Submission),
    /// Nothing comes any more: commit what there is and end.
    End,
}

struct Submission {
    shard: ShardId,
    batch: Batch,
    /// What it counts as waiting. Unit: bytes.
    bytes: usize,
}

enum Wish {
    Load(ShardId, Load),
    End,
}

/// What handle and threads have in common.
struct Shared {
    store: Arc<dyn Store>,
    inboxes: Vec<InboxSender>,
    events: EventSender,
    clock: Clock,
    store_bytes_max: u64,
    /// Bytes that wait, by shard.
    pending: Vec<AtomicUsize>,
    is_full: AtomicBool,
    is_over_limit: AtomicBool,
    /// The broker is stopping: a full disk is not waited for.
    is_ending: AtomicBool,
    /// Why the store must not be used any more.
    failure: OnceLock<String>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    records: AtomicU64,
    loaded: AtomicU64,
    missing: AtomicU64,
    full: AtomicU64,
    slowest_commit_micros: AtomicU64,
}

impl Storage {
    /// Starts the threads. What was restored is the caller's to hand out; `opening` is what came of that.
    ///
    /// # Errors
    /// When the kernel gives no thread.
    pub fn start(
        setup: StorageSetup,
        opening: Opening,
        inboxes: Vec<InboxSender>,
        events: EventSender,
        clock: Clock,
    ) -> io::Result<Storage> {
        Self::start_at(writer::HEARTBEAT, setup, opening, inboxes, events, clock)
    }

    fn start_at(
        heartbeat: Duration,
        setup: StorageSetup,
        opening: Opening,
        inboxes: Vec<InboxSender>,
        events: EventSender,
        clock: Clock,
    ) -> io::Result<Storage> {
        #[expect(
            clippy::disallowed_methods,
            reason = "a shard cannot wait and nothing it hands in may be lost; what waits is bounded by STORE_PENDING_BYTES_MAX, at \
                      which its publishers pause"
        )]
        let (orders, orders_in) = channel();
        let (loads, loads_in) = sync_channel(LOADS_WAITING_MAX);
        let shared = Arc::new(Shared {
            store: setup.store,
            pending: inboxes.iter().map(|_| AtomicUsize::new(0)).collect(),
            inboxes,
            events,
            clock,
            store_bytes_max: setup.store_bytes_max,
            is_full: AtomicBool::new(false),
            is_over_limit: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
            failure: OnceLock::new(),
            counters: Counters::default(),
        });
        let pace = writer::Pace {
            heartbeat,
            commit_bytes_max: setup.commit_bytes_max,
            commit_wait: setup.commit_wait,
        };
        let has_sessions = opening.has_sessions;
        let batches = opening.batches.into_iter();
        let opening = batches
            .map(|(shard, batch)| shared.submission(shard, batch))
            .collect();
        let writer = Writer::new(
            Arc::clone(&shared),
            orders_in,
            setup.reopen,
            pace,
            opening,
            has_sessions,
        );
        let reader = Reader::new(Arc::clone(&shared), loads_in);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let threads = vec![
            thread("store-writer").spawn(move || writer.run())?,
            thread("store-reader").spawn(move || reader.run())?,
        ];
        Ok(Storage {
            orders,
            loads,
            shared,
            threads: Mutex::new(threads),
        })
    }

    /// Hands in a batch of a shard. Its ticket comes back as [`crate::inbox::Envelope::Committed`].
    pub fn submit(&self, shard: ShardId, batch: Batch) {
        let order = Order::Batch(self.shared.submission(shard, batch));
        // A writer that is gone has failed, and the broker is ending.
        let _gone = self.orders.send(order);
    }

    /// Asks for messages. They come back as [`crate::inbox::Envelope::Loaded`].
    ///
    /// # Errors
    /// With the load when too many wait already: to be tried again in a later turn.
    pub fn load(&self, shard: ShardId, load: Load) -> Result<(), Load> {
        match self.loads.try_send(Wish::Load(shard, load)) {
            Err(TrySendError::Full(Wish::Load(_, load))) => Err(load),
            // A reader that is gone has failed, and the broker is ending.
            _ => Ok(()),
        }
    }

    /// How the store is for a shard; cheap, for every turn.
    #[must_use]
    pub fn state(&self, shard: ShardId) -> StoreState {
        let shared = &self.shared;
        if shared.is_full.load(Ordering::Relaxed) || shared.is_over_limit.load(Ordering::Relaxed) {
            StoreState::Full
        } else if shared.pending[shard.index()].load(Ordering::Relaxed) > STORE_PENDING_BYTES_MAX {
            StoreState::Behind
        } else {
            StoreState::Ready
        }
    }

    /// Why the store must not be used any more, if it must not.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.shared.failure.get().map(String::as_str)
    }

    /// Figures.
    #[must_use]
    pub fn report(&self) -> StoreReport {
        let shared = &self.shared;
        let total = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let pending = shared.pending.iter().map(|p| p.load(Ordering::Relaxed));
        StoreReport {
            bytes: shared.store.bytes(),
            pending_bytes: pending.sum(),
            is_full: shared.is_full.load(Ordering::Relaxed),
            is_over_limit: shared.is_over_limit.load(Ordering::Relaxed),
            commits_total: total(&shared.counters.commits),
            batches_total: total(&shared.counters.batches),
            records_total: total(&shared.counters.records),
            loaded_total: total(&shared.counters.loaded),
            missing_total: total(&shared.counters.missing),
            full_total: total(&shared.counters.full),
            slowest_commit_micros: total(&shared.counters.slowest_commit_micros),
        }
    }

    /// Commits what was handed in and ends the threads. Meant for when all shards have ended.
    ///
    /// # Errors
    /// Why the store must not be used any more, or a panic of a thread.
    pub fn stop(&self) -> io::Result<()> {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        // Whoever is gone has ended already.
        let _gone = self.orders.send(Order::End);
        let _gone = self.loads.send(Wish::End);
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            thread.thread().unpark();
            thread
                .join()
                .map_err(|_| io::Error::other("a thread of the store panicked"))?;
        }
        match self.failure() {
            Some(cause) => Err(io::Error::other(format!("the store failed: {cause}"))),
            None => Ok(()),
        }
    }
}

impl Shared {
    /// A batch that waits from now on.
    fn submission(&self, shard: ShardId, batch: Batch) -> Submission {
        let writes: usize = batch.writes.iter().map(layout::weight).sum();
        let bytes = BATCH_BYTES_MIN + writes;
        self.pending[shard.index()].fetch_add(bytes, Ordering::Relaxed);
        Submission {
            shard,
            batch,
            bytes,
        }
    }

    /// The store must not be used any more. Told once; the broker ends.
    fn fail(&self, cause: String) {
        if self.failure.set(cause.clone()).is_ok() {
            self.events.send(Event::StoreFailed { cause });
        }
    }

    fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }
}
