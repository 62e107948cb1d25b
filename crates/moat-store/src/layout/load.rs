//! From a whole store to what shards start from.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hashbrown::HashMap;
use moat_core::durable::{QueueId, Restored, RestoredGroup, RestoredSession};
use moat_core::{Message, Time};

use super::bytes::{Input, Malformed, shown, text};
use super::deals::forget_deals;
use super::entries::{Deals, Entries};
use super::{LAYOUT_VERSION, VALUE_VERSION, keys, message, queue, session};
use crate::{Entry, Part, Position, SCAN_KEYS_MAX, Store, StoreError, Write};

/// Parts that are looked for: more than there are shards.
pub(super) const PARTS_MAX: u16 = 256;
/// Bits of a queue's number below those of the start that made it.
const QUEUE_START_SHIFT: u32 = 40;
/// Starts that the number of a queue has room for.
const STARTS_MAX: u32 = 1 << 24;
/// Values without an owner that are removed in one commit.
const REMOVED_AT_ONCE_MAX: usize = 4096;

/// Why a store cannot be loaded. It was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The engine failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value is not what it has to be.
    #[error(
        "bucket {bucket}, key {key}: {what}; run 'moat store verify' and restore the folder from a backup"
    )]
    Damaged {
        /// The bucket.
        bucket: &'static str,
        /// The key, hexadecimal, cut if it is long.
        key: String,
        /// What is wrong.
        what: Malformed,
    },
    /// A record of the log is not what it has to be.
    #[error(
        "log part {part}, record {sequence}: {what}; run 'moat store verify' and restore the folder from a backup"
    )]
    DamagedRecord {
        /// The part.
        part: u16,
        /// The number of the record.
        sequence: u64,
        /// What is wrong.
        what: Malformed,
    },
    /// The store was written by a later release.
    #[error(
        "the store has layout {found}, and this release knows layouts up to {LAYOUT_VERSION}: start the release that wrote it, or a later one"
    )]
    NewerLayout {
        /// Its version.
        found: u64,
    },
}

/// What a load found.
#[derive(Debug, Default)]
pub struct Load {
    /// What the shards start from.
    pub restored: Restored,
    /// Its figures.
    pub tally: Tally,
}

/// Figures of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Sessions.
    pub sessions: u64,
    /// Retained messages.
    pub retained: u64,
    /// Records of the log that were read.
    pub records: u64,
    /// Entries of queues that wait.
    pub entries: u64,
    /// Values that belonged to no session, group or record any more, and were removed.
    pub removed: u64,
}

/// Reads the whole store: each bucket and each part of the log once. Counts the start of a broker, tells the log how many takers
/// each record still has, and removes values whose session, group or record is gone.
///
/// # Errors
/// [`LoadError`]; the store was not changed, and nothing of it must be used.
pub fn load(store: &dyn Store, now: Time) -> Result<Load, LoadError> {
    let loader = Loader::new(store, now);
    let Everything {
        starts,
        alive_at,
        mut rest,
        retained,
    } = loader.everything(now)?;
    loader.commit_start(starts + 1, &rest)?;
    rest.tally.removed += count(forget_deals(store, now)?);
    Ok(Load {
        restored: Restored {
            start: starts + 1,
            alive_at,
            next_sequences: rest.entries.next_sequences,
            sessions: rest.sessions,
            groups: rest.groups,
            retained,
        },
        tally: rest.tally,
    })
}

/// What [`inspect`] found.
#[derive(Debug)]
pub struct Inspection {
    /// Its figures; `removed` are those that the next load removes.
    pub tally: Tally,
    /// How many takers still wait for each record that has any.
    pub live: Vec<(Position, u32)>,
}

/// Reads everything as [`load`] does, and changes nothing.
///
/// # Errors
/// [`LoadError`]: what [`load`] would say.
pub fn inspect(store: &dyn Store, now: Time) -> Result<Inspection, LoadError> {
    let Everything { rest, .. } = Loader::new(store, now).everything(now)?;
    Ok(Inspection {
        tally: rest.tally,
        live: rest.entries.live,
    })
}

/// A moment of UNIX time as the engine has it.
pub(super) fn wall_clock(now: Time) -> SystemTime {
    // A clock that counts seconds in 64 bits shows every number of milliseconds.
    SystemTime::UNIX_EPOCH + Duration::from_millis(now.millis())
}

pub(super) fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

pub(super) struct Loader<'a> {
    pub(super) store: &'a dyn Store,
    now: SystemTime,
}

struct Everything {
    starts: u32,
    alive_at: Time,
    rest: Rest,
    retained: Vec<Arc<Message>>,
}

/// All but the retained messages.
struct Rest {
    sessions: Vec<RestoredSession>,
    groups: Vec<RestoredGroup>,
    entries: Entries,
    /// Values without an owner.
    orphans: Vec<(&'static str, Bytes)>,
    tally: Tally,
}

/// Where a queue is.
#[derive(Clone, Copy)]
pub(super) enum Owner {
    Session(usize),
    Group(usize),
}

/// Every queue there is.
pub(super) type Owners = HashMap<QueueId, Owner, ahash::RandomState>;

impl<'a> Loader<'a> {
    fn new(store: &'a dyn Store, now: Time) -> Self {
        Loader {
            store,
            now: wall_clock(now),
        }
    }
}

impl Loader<'_> {
    fn everything(&self, now: Time) -> Result<Everything, LoadError> {
        let (starts, alive_at) = self.meta(now)?;
        let (rest, retained) = std::thread::scope(|scope| {
            // The only large bucket that nothing else refers to.
            let retained = scope.spawn(|| self.retained());
            let rest = self.all_but_retained(starts);
            (rest, retained.join())
        });
        // Not reached: no code that can panic runs in the thread.
        let panicked = |_| StoreError::Broken {
            cause: "the thread that loads retained messages panicked".to_owned(),
        };
        let retained = retained.map_err(panicked)??;
        let mut rest = rest?;
        rest.tally.retained = count(retained.len());
        Ok(Everything {
            starts,
            alive_at,
            rest,
            retained,
        })
    }

    /// How many starts there were before, and when the last broker was known to live.
    fn meta(&self, now: Time) -> Result<(u32, Time), LoadError> {
        let get = |key: &'static [u8]| -> Result<Option<u64>, LoadError> {
            let Some(found) = self.store.get(keys::META, key, self.now)? else {
                return Ok(None);
            };
            let number = Input::versioned(&found.value).and_then(|mut input| {
                let number = input.u64()?;
                input.end().map(|()| number)
            });
            number.map(Some).map_err(damaged(keys::META, key))
        };
        match get(keys::VERSION)? {
            Some(found) if found > LAYOUT_VERSION => return Err(LoadError::NewerLayout { found }),
            _ => {}
        }
        let starts = u32::try_from(get(keys::STARTS)?.unwrap_or(0))
            .ok()
            .filter(|starts| *starts < STARTS_MAX)
            .ok_or_else(|| {
                damaged(keys::META, keys::STARTS)(Malformed::OutOfRange("the number of starts"))
            })?;
        let alive_at = get(keys::ALIVE_AT)?.map_or(now, Time::from_millis);
        Ok((starts, alive_at))
    }

    fn retained(&self) -> Result<Vec<Arc<Message>>, LoadError> {
        let mut retained = Vec::new();
        let mut publisher: Arc<str> = Arc::from("");
        self.each(keys::RETAINED, |key, value| {
            let topic = text(key, "a topic")?;
            let message = message::decode_retained(topic, value, &mut publisher)?;
            retained.push(Arc::new(message));
            Ok(())
        })?;
        Ok(retained)
    }

    fn all_but_retained(&self, starts: u32) -> Result<Rest, LoadError> {
        let mut orphans = Vec::new();
        let mut owners = Owners::default();
        let mut sessions = self.sessions(starts, &mut owners)?;
        let mut groups = self.groups(starts, &mut owners)?;
        self.parts_of_sessions(&mut sessions, &mut orphans)?;
        self.progress(&owners, &mut sessions, &mut groups, &mut orphans)?;
        let deals = self.deals()?;
        let mut entries = Entries::new(owners, deals);
        for part in 0..PARTS_MAX {
            entries.scan(self, Part(part), &mut sessions, &mut groups)?;
        }
        entries.finish(&mut sessions, &mut groups);
        let tally = Tally {
            sessions: count(sessions.len()),
            retained: 0,
            records: entries.records,
            entries: entries.waiting,
            removed: count(orphans.len()),
        };
        Ok(Rest {
            sessions,
            groups,
            entries,
            orphans,
            tally,
        })
    }

    fn sessions(
        &self,
        starts: u32,
        owners: &mut Owners,
    ) -> Result<Vec<RestoredSession>, LoadError> {
        let mut sessions = Vec::new();
        self.each(keys::SESSIONS, |key, value| {
            let queue = known_queue(key, starts)?;
            owners.insert(queue, Owner::Session(sessions.len()));
            sessions.push(RestoredSession {
                queue,
                record: session::decode(value)?,
                subscriptions: Vec::new(),
                progress: Default::default(),
                inbound: Vec::new(),
                will: None,
                entries: Vec::new(),
            });
            Ok(())
        })?;
        Ok(sessions)
    }

    fn groups(&self, starts: u32, owners: &mut Owners) -> Result<Vec<RestoredGroup>, LoadError> {
        let mut groups = Vec::new();
        self.each(keys::GROUPS, |key, value| {
            let queue = known_queue(key, starts)?;
            let filter = text(Input::versioned(value)?.rest(), "a filter")?;
            if owners.insert(queue, Owner::Group(groups.len())).is_some() {
                return Err(Malformed::OutOfRange(
                    "the queue, which is that of a session,",
                ));
            }
            groups.push(RestoredGroup {
                queue,
                filter: filter.into(),
                progress: Default::default(),
                entries: Vec::new(),
            });
            Ok(())
        })?;
        Ok(groups)
    }

    /// Subscriptions, identifiers and wills. Both they and the sessions come in the order of the queues.
    fn parts_of_sessions(
        &self,
        sessions: &mut [RestoredSession],
        orphans: &mut Vec<(&'static str, Bytes)>,
    ) -> Result<(), LoadError> {
        let mut walk = Walk::new(sessions, keys::SUBSCRIPTIONS, orphans);
        self.each_entry(keys::SUBSCRIPTIONS, |entry| {
            let (options, id, in_value) = queue::decode_subscription(&entry.versioned.value)?;
            let (queue, filter) = keys::subscription(&entry.key, in_value)?;
            if let Some(session) = walk.to(queue, &entry.key) {
                session.subscriptions.push((filter.into(), options, id));
            }
            Ok(())
        })?;
        let mut walk = Walk::new(sessions, keys::INBOUND, orphans);
        self.each_entry(keys::INBOUND, |entry| {
            let (queue, id) = keys::inbound(&entry.key)?;
            Input::versioned(&entry.versioned.value)?.end()?;
            if let Some(session) = walk.to(queue, &entry.key) {
                session.inbound.push(id);
            }
            Ok(())
        })?;
        let mut walk = Walk::new(sessions, keys::WILLS, orphans);
        self.each_entry(keys::WILLS, |entry| {
            let queue = keys::queue(&entry.key)?;
            let will = queue::decode_will(&entry.versioned.value)?;
            if let Some(session) = walk.to(queue, &entry.key) {
                session.will = Some(will);
            }
            Ok(())
        })
    }

    fn progress(
        &self,
        owners: &Owners,
        sessions: &mut [RestoredSession],
        groups: &mut [RestoredGroup],
        orphans: &mut Vec<(&'static str, Bytes)>,
    ) -> Result<(), LoadError> {
        self.each_entry(keys::PROGRESS, |entry| {
            let progress = queue::decode_progress(&entry.versioned.value)?;
            match owners.get(&keys::queue(&entry.key)?) {
                Some(Owner::Session(at)) => sessions[*at].progress = progress,
                Some(Owner::Group(at)) => groups[*at].progress = progress,
                None => orphans.push((keys::PROGRESS, Bytes::copy_from_slice(&entry.key))),
            }
            Ok(())
        })
    }

    fn deals(&self) -> Result<Deals, LoadError> {
        let mut deals = Deals::default();
        self.each(keys::DEALS, |key, value| {
            let deal = message::decode_deal(value)?;
            deals.insert(keys::deal(key)?, deal);
            Ok(())
        })?;
        Ok(deals)
    }

    /// Makes the start durable, before any number of it is given out, and tidies up.
    fn commit_start(&self, start: u32, rest: &Rest) -> Result<(), LoadError> {
        let put = |key: &'static [u8], number: u64| {
            let mut value = vec![VALUE_VERSION];
            value.extend(number.to_be_bytes());
            Write::Put {
                bucket: keys::META,
                key: Bytes::from_static(key),
                value: value.into(),
            }
        };
        let writes = vec![
            put(keys::VERSION, LAYOUT_VERSION),
            put(keys::STARTS, u64::from(start)),
        ];
        self.store.commit(writes, self.now)?;
        for some in rest.orphans.chunks(REMOVED_AT_ONCE_MAX) {
            let delete = |(bucket, key): &(&'static str, Bytes)| Write::Delete {
                bucket,
                key: key.clone(),
            };
            self.store
                .commit(some.iter().map(delete).collect(), self.now)?;
        }
        self.store.recount(&rest.entries.live)?;
        Ok(())
    }

    /// Calls `take` with key and value of each entry of a bucket, in order.
    fn each(
        &self,
        bucket: &'static str,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), LoadError> {
        self.each_entry(bucket, |entry| take(&entry.key, &entry.versioned.value))
    }

    fn each_entry(
        &self,
        bucket: &'static str,
        mut take: impl FnMut(&Entry) -> Result<(), Malformed>,
    ) -> Result<(), LoadError> {
        let mut after: Option<Bytes> = None;
        loop {
            let page = self
                .store
                .scan(bucket, b"", after.as_deref(), SCAN_KEYS_MAX, self.now)?;
            for entry in &page.entries {
                take(entry).map_err(damaged(bucket, &entry.key))?;
            }
            match page.entries.into_iter().next_back() {
                Some(last) if page.more => after = Some(last.key),
                _ => return Ok(()),
            }
        }
    }
}

pub(super) fn damaged<'k>(
    bucket: &'static str,
    key: &'k [u8],
) -> impl Fn(Malformed) -> LoadError + use<'k> {
    move |what| LoadError::Damaged {
        bucket,
        key: shown(key),
        what,
    }
}

/// A queue that a start before this one has made.
fn known_queue(key: &[u8], starts: u32) -> Result<QueueId, Malformed> {
    let queue = keys::queue(key)?;
    if queue.0 >> QUEUE_START_SHIFT > u64::from(starts) {
        return Err(Malformed::OutOfRange(
            "the queue's start, which is yet to come,",
        ));
    }
    Ok(queue)
}

/// A walk along the sessions beside a bucket in the same order.
struct Walk<'s> {
    sessions: std::iter::Peekable<std::slice::IterMut<'s, RestoredSession>>,
    bucket: &'static str,
    orphans: &'s mut Vec<(&'static str, Bytes)>,
}

impl<'s> Walk<'s> {
    fn new(
        sessions: &'s mut [RestoredSession],
        bucket: &'static str,
        orphans: &'s mut Vec<(&'static str, Bytes)>,
    ) -> Self {
        Walk {
            sessions: sessions.iter_mut().peekable(),
            bucket,
            orphans,
        }
    }

    /// The session of `queue`; without one the key is an orphan.
    fn to(&mut self, queue: QueueId, key: &[u8]) -> Option<&mut RestoredSession> {
        while self
            .sessions
            .next_if(|session| session.queue < queue)
            .is_some()
        {}
        let found = self
            .sessions
            .peek_mut()
            .filter(|session| session.queue == queue);
        if found.is_none() {
            self.orphans
                .push((self.bucket, Bytes::copy_from_slice(key)));
        }
        found.map(|session| &mut **session)
    }
}
