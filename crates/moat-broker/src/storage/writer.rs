//! Group commit: what came during the last commit is the next one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use moat_core::Time;
use moat_core::durable::Write as Durable;
use moat_events::Event;
use moat_store::layout::{self, Encoder};
use moat_store::{COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, StoreError, Write};

use super::{Order, Reopen, Shared, Submission};
use crate::inbox::Envelope;

/// How often a broker with durable sessions says that it lives, if it has nothing else to write.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(60);
/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// Writes that one commit gathers, unless one batch has more; the engine takes a few times as many of its own.
const GATHERED_WRITES_MAX: usize = COMMIT_WRITES_MAX / 8;

/// What the writer keeps to.
pub(super) struct Pace {
    pub(super) heartbeat: Duration,
    pub(super) commit_bytes_max: usize,
    pub(super) commit_wait: Duration,
}

pub(super) struct Writer {
    shared: Arc<Shared>,
    orders: Receiver<Order>,
    reopen: Reopen,
    pace: Pace,
    /// When it last looked for what nobody needs any more.
    tidied: Instant,
    /// Whether there may be a durable session, whose expiry depends on when the broker was last alive.
    has_sessions: bool,
    is_ending: bool,
    gathered: Vec<Submission>,
    /// Of these. Unit: bytes.
    bytes: usize,
    writes: usize,
}

/// The store cannot go on; it has been told.
struct Failed;

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        orders: Receiver<Order>,
        reopen: Reopen,
        pace: Pace,
        opening: Vec<Submission>,
        has_sessions: bool,
    ) -> Self {
        Writer {
            shared,
            orders,
            reopen,
            pace,
            tidied: Instant::now(),
            has_sessions,
            is_ending: false,
            gathered: opening,
            bytes: 0,
            writes: 0,
        }
    }

    pub(super) fn run(mut self) {
        if !self.gathered.is_empty() && self.commit().is_err() {
            return;
        }
        while !self.is_ending {
            let arrived = self.gather();
            if self.shared.has_failed() {
                return;
            }
            let is_needed = arrived || self.is_ending || self.has_sessions;
            if is_needed && self.commit().is_err() {
                return;
            }
            if self.tidied.elapsed() >= self.pace.heartbeat && self.tidy().is_err() {
                return;
            }
        }
    }

    /// Waits for a batch, and takes what else has come. Returns whether there is one.
    fn gather(&mut self) -> bool {
        match self.orders.recv_timeout(self.pace.heartbeat) {
            Ok(order) => self.take(order),
            Err(RecvTimeoutError::Timeout) => return false,
            Err(RecvTimeoutError::Disconnected) => self.is_ending = true,
        }
        let until =
            (!self.pace.commit_wait.is_zero()).then(|| Instant::now() + self.pace.commit_wait);
        while !self.is_ending && self.has_room() {
            let order = match (self.orders.try_recv(), until) {
                (Ok(order), _) => order,
                (Err(_), Some(until)) => {
                    let left = until.saturating_duration_since(Instant::now());
                    match self.orders.recv_timeout(left) {
                        Ok(order) => order,
                        Err(_) => break,
                    }
                }
                (Err(_), None) => break,
            };
            self.take(order);
        }
        !self.gathered.is_empty()
    }

    fn has_room(&self) -> bool {
        self.bytes < self.pace.commit_bytes_max && self.writes < GATHERED_WRITES_MAX
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Batch(submission) => {
                self.bytes += submission.bytes;
                self.writes += submission.batch.writes.len();
                self.gathered.push(submission);
            }
            Order::End => self.is_ending = true,
        }
    }

    /// Removes what nobody needs any more, and looks at the size.
    fn tidy(&mut self) -> Result<(), Failed> {
        self.tidied = Instant::now();
        self.watch_limit();
        match layout::forget_deals(&*self.shared.store, self.shared.clock.now()) {
            Ok(_) => Ok(()),
            // There is another time.
            Err(layout::LoadError::Store(error)) if is_full(&error) => Ok(()),
            Err(error) => {
                self.shared.fail(error.to_string());
                Err(Failed)
            }
        }
    }

    /// Makes durable what was gathered, with the moment, and tells the shards.
    fn commit(&mut self) -> Result<(), Failed> {
        let alive_at = self.shared.clock.now();
        let mut done = 0;
        let mut full_since: Option<Instant> = None;
        loop {
            match self.try_commit(alive_at, &mut done) {
                Ok(()) => break,
                Err(error) if is_full(&error) => {
                    if full_since.is_none() {
                        full_since = Some(Instant::now());
                        self.became_full(&error);
                    }
                    self.wait_for_room(&error)?;
                }
                Err(error) => {
                    self.shared.fail(error.to_string());
                    return Err(Failed);
                }
            }
        }
        if let Some(since) = full_since {
            self.shared.is_full.store(false, Ordering::Relaxed);
            let secs = since.elapsed().as_secs();
            self.shared.events.send(Event::StoreRecovered { secs });
        }
        self.committed(full_since.is_some());
        Ok(())
    }

    /// Commits all but the first `done` commits that the gathered batches make; counts on. They are one commit unless they are larger
    /// than the engine takes at once.
    fn try_commit(&self, alive_at: Time, done: &mut usize) -> Result<(), StoreError> {
        let mut encoder = Encoder::default();
        for submission in &self.gathered {
            encoder.push(&submission.batch);
        }
        let writes = encoder.finish(alive_at);
        for writes in in_pieces(writes).into_iter().skip(*done) {
            let started = Instant::now();
            self.shared.store.commit(writes, wall_clock(alive_at))?;
            *done += 1;
            let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
            let counters = &self.shared.counters;
            counters.commits.fetch_add(1, Ordering::Relaxed);
            counters
                .slowest_commit_micros
                .fetch_max(micros, Ordering::Relaxed);
        }
        Ok(())
    }

    fn became_full(&self, error: &StoreError) {
        self.shared.is_full.store(true, Ordering::Relaxed);
        self.shared.counters.full.fetch_add(1, Ordering::Relaxed);
        self.shared.events.send(Event::StoreFull {
            cause: error.to_string(),
        });
    }

    /// Waits a while, and opens the store again if the medium itself was full.
    fn wait_for_room(&mut self, error: &StoreError) -> Result<(), Failed> {
        loop {
            if self.shared.is_ending.load(Ordering::Relaxed) {
                // Nothing that is lost now was acknowledged.
                return Err(Failed);
            }
            std::thread::park_timeout(FULL_RETRY);
            if matches!(error, StoreError::Full { limit } if *limit > 0) {
                return Ok(());
            }
            match (self.reopen)() {
                Ok(()) => return Ok(()),
                Err(error) if is_full(&error) => {}
                Err(error) => {
                    self.shared.fail(error.to_string());
                    return Err(Failed);
                }
            }
        }
    }

    /// Everything gathered is durable. If the store was full, shards that have nothing in it hear of it too: their publishers wait.
    fn committed(&mut self, was_full: bool) {
        let shared = &self.shared;
        let mut tickets: Vec<Option<u64>> = vec![None; shared.inboxes.len()];
        for submission in self.gathered.drain(..) {
            let at = submission.shard.index();
            // Tickets of a shard come in their order.
            tickets[at] = Some(submission.batch.ticket);
            shared.pending[at].fetch_sub(submission.bytes, Ordering::Relaxed);
            shared.counters.batches.fetch_add(1, Ordering::Relaxed);
            for write in &submission.batch.writes {
                match write {
                    Durable::Append { .. } => {
                        shared.counters.records.fetch_add(1, Ordering::Relaxed);
                    }
                    Durable::PutSession(..) => self.has_sessions = true,
                    _ => {}
                }
            }
        }
        (self.bytes, self.writes) = (0, 0);
        for (inbox, ticket) in shared.inboxes.iter().zip(tickets) {
            let ticket = ticket.or(was_full.then_some(0));
            if let Some(ticket) = ticket {
                inbox.send_waiting(Envelope::Committed(ticket));
            }
        }
        self.watch_limit();
    }

    /// Tells when the store has more bytes than it may have, and when it no longer has.
    fn watch_limit(&self) {
        let (bytes, limit) = (self.shared.store.bytes(), self.shared.store_bytes_max);
        let is_over = bytes > limit;
        if self.shared.is_over_limit.swap(is_over, Ordering::Relaxed) == is_over {
            return;
        }
        self.shared.events.send(if is_over {
            Event::StoreOverLimit { bytes, limit }
        } else {
            Event::StoreWithinLimit { bytes, limit }
        });
        if !is_over {
            // Nothing new is durable, but publishers of every shard may wait for this.
            for inbox in &self.shared.inboxes {
                inbox.send_waiting(Envelope::Committed(0));
            }
        }
    }
}

fn is_full(error: &StoreError) -> bool {
    matches!(error, StoreError::Full { .. } | StoreError::DiskFull)
}

fn wall_clock(time: Time) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(time.millis())
}

/// The same writes in the same order, cut where the engine takes no more at once.
fn in_pieces(writes: Vec<Write>) -> Vec<Vec<Write>> {
    let mut pieces = Vec::with_capacity(1);
    let (mut piece, mut bytes) = (Vec::new(), 0);
    let total: usize = writes.iter().map(Write::size).sum();
    if writes.len() <= COMMIT_WRITES_MAX && total <= COMMIT_BYTES_MAX {
        pieces.push(writes);
        return pieces;
    }
    for write in writes {
        let size = write.size();
        let is_over = piece.len() == COMMIT_WRITES_MAX || bytes + size > COMMIT_BYTES_MAX;
        if is_over && !piece.is_empty() {
            pieces.push(std::mem::take(&mut piece));
            bytes = 0;
        }
        bytes += size;
        piece.push(write);
    }
    pieces.push(piece);
    pieces
}
