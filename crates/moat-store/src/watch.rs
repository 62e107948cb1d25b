//! Watches: a bounded queue each, behind a snapshot that is read page by page.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::bucket::{WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_EVENTS_MAX};
use crate::{Event, Revision, ScanPage, StoreError, Watch, WatchError, WatchFrom};

/// Most watches of a store.
pub const WATCHES_MAX: usize = 1024;

/// Entries of a snapshot that are taken at a time.
const SNAPSHOT_PAGE_KEYS: usize = 256;

/// Where a watch reads its snapshot.
pub(crate) trait Source: Send + Sync {
    /// As [`crate::Store::scan`].
    fn page(
        &self,
        queue: &Queue,
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError>;

    /// The watch has ended.
    fn leave(&self, queue: &Arc<Queue>);
}

/// Changes that wait for one watcher.
pub(crate) struct Queue {
    pub(crate) bucket: Box<str>,
    pub(crate) prefix: Bytes,
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: usize,
    lagged: bool,
}

impl Queue {
    pub(crate) fn new(bucket: &str, prefix: &[u8]) -> Arc<Self> {
        Arc::new(Self {
            bucket: bucket.into(),
            prefix: Bytes::copy_from_slice(prefix),
            waiting: Mutex::default(),
            wake: Condvar::new(),
        })
    }

    /// Adds a change if it concerns this watch; never blocks for its watcher.
    pub(crate) fn push(&self, bucket: &str, event: &Event) {
        let key = match event {
            Event::Put(entry) => &entry.key,
            Event::Delete { key, .. } => key,
            Event::SnapshotEnd => return,
        };
        if *self.bucket != *bucket || !key.starts_with(&self.prefix) {
            return;
        }
        let mut waiting = locked(&self.waiting);
        if waiting.lagged {
            return;
        }
        let bytes = waiting.bytes + event.size();
        if waiting.events.len() >= WATCH_QUEUE_EVENTS_MAX || bytes > WATCH_QUEUE_BYTES_MAX {
            // A watcher that missed one event needs a new snapshot; the rest is of no use to it.
            *waiting = Waiting {
                lagged: true,
                ..Waiting::default()
            };
        } else {
            waiting.bytes = bytes;
            waiting.events.push_back(event.clone());
        }
        drop(waiting);
        self.wake.notify_all();
    }

    fn take(&self, wait: Duration) -> Result<Option<Event>, WatchError> {
        let idle = |waiting: &mut Waiting| waiting.events.is_empty() && !waiting.lagged;
        let waited = self
            .wake
            .wait_timeout_while(locked(&self.waiting), wait, idle);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if waiting.lagged {
            return Err(WatchError::Lagged);
        }
        let event = waiting.events.pop_front();
        waiting.bytes -= event.as_ref().map_or(0, Event::size);
        Ok(event)
    }
}

/// A running watch.
pub(crate) struct QueueWatch {
    source: Arc<dyn Source>,
    queue: Arc<Queue>,
    snapshot: Option<Snapshot>,
}

/// Where the snapshot has got to.
///
/// It delivers what is at or before `until`. A key that changed after the watch was registered is
/// skipped: its change is in the queue, and so nothing is missed and nothing goes backwards.
struct Snapshot {
    until: Revision,
    now: SystemTime,
    page: VecDeque<Event>,
    after: Option<Bytes>,
    more: bool,
}

impl QueueWatch {
    /// A watch whose queue is told of every change after `until`.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        queue: Arc<Queue>,
        until: Revision,
        from: WatchFrom,
        now: SystemTime,
    ) -> Self {
        let snapshot = match from {
            WatchFrom::Now => None,
            WatchFrom::Snapshot => Some(Snapshot {
                until,
                now,
                page: VecDeque::new(),
                after: None,
                more: true,
            }),
        };
        Self {
            source,
            queue,
            snapshot,
        }
    }
}

impl Watch for QueueWatch {
    fn next(&mut self, wait: Duration) -> Result<Option<Event>, WatchError> {
        let Some(snapshot) = &mut self.snapshot else {
            return self.queue.take(wait);
        };
        if locked(&self.queue.waiting).lagged {
            return Err(WatchError::Lagged);
        }
        while snapshot.page.is_empty() && snapshot.more {
            snapshot.turn_page(&*self.source, &self.queue)?;
        }
        match snapshot.page.pop_front() {
            Some(event) => Ok(Some(event)),
            None => {
                self.snapshot = None;
                Ok(Some(Event::SnapshotEnd))
            }
        }
    }
}

impl Snapshot {
    fn turn_page(&mut self, source: &dyn Source, queue: &Queue) -> Result<(), WatchError> {
        let after = self.after.as_deref();
        let page = source.page(queue, after, SNAPSHOT_PAGE_KEYS, self.now)?;
        self.more = page.more;
        self.after = page.entries.last().map(|entry| entry.key.clone());
        let old = page
            .entries
            .into_iter()
            .filter(|entry| entry.versioned.revision <= self.until);
        self.page.extend(old.map(Event::Put));
        Ok(())
    }
}

impl Drop for QueueWatch {
    fn drop(&mut self) {
        self.source.leave(&self.queue);
    }
}

/// No code that can panic runs under these locks, so a poisoned one is still whole.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
