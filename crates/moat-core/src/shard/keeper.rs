//! What a shard has put into the store and what waits for that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;

use super::publication::{Local, Publication};
use super::subscribe::WaitingSubscribe;
use super::tail::Tail;
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::durable::{Position, QueueId, StoreState, Write};
use crate::effects::{ConnId, Effects};
use crate::router::ShardSet;
use crate::session::{Link, SessionIndex};
use crate::time::Time;

/// Milliseconds that the progress of a queue may be behind in the store, where nothing but repeats depends on it.
pub const PROGRESS_SAVE_MILLIS: u64 = 1000;

/// A shard's side of the store. Without one, nothing outlives the process and every session is in memory only.
pub(super) struct Keeper {
    start: u32,
    queues_made: u32,
    next_sequence: u64,
    /// The highest ticket that is durable.
    committed: u64,
    /// What waits for tickets, in their order.
    waiting: VecDeque<(u64, After)>,
    /// Publications that wait for takers in other shards, and those behind them, by number.
    pub(super) publications: BTreeMap<u64, Publication>,
    /// Entries here of publications that other shards write, by shard and its number of the publication.
    pub(super) foreign: HashMap<(ShardId, u64), Vec<Local>, RandomState>,
    /// The ticket of the last session that was deleted.
    pub(super) last_deletion: u64,
    /// Sessions that are over and go from the store when their wills are in it.
    pub(super) endings: Vec<Ending>,
    numbers: u64,
    /// Messages of the store that are still in memory.
    pub(super) tail: Tail,
    /// How the store is.
    pub(super) state: StoreState,
    /// Shards that have durable sessions.
    pub(super) durable_shards: ShardSet,
    has_durable_sessions: bool,
    /// When progress that nobody waits for is written.
    save_at: Time,
}

/// A session that is over and still in the store.
pub(super) struct Ending {
    pub(super) queue: QueueId,
    /// Whose it was, and its client identifier.
    pub(super) key: (Arc<str>, Box<str>),
    /// The receipts of its wills.
    pub(super) wills: Vec<u64>,
    /// Connections that ended it by a clean start, or came after that, and wait for their CONNACK.
    pub(super) successors: Vec<(SessionRef, ConnId)>,
}

/// What is done once something is durable.
pub(super) enum After {
    /// A publication goes to its takers, and is acknowledged.
    Publication(Box<Publication>, Option<Position>),
    /// A connection is told that it has its session.
    ConnAck(SessionRef, ConnId),
    /// A SUBSCRIBE is granted.
    Subscribe(Box<WaitingSubscribe>),
    /// A connection is sent these bytes.
    Say(SessionRef, ConnId, Vec<u8>),
}

impl Keeper {
    /// The keeper of a shard in the `start`-th life of the store, whose next record gets `next_sequence`.
    pub(super) fn new(start: u32, next_sequence: u64, tail_bytes_max: usize) -> Keeper {
        Keeper {
            start,
            queues_made: 0,
            next_sequence,
            committed: 0,
            waiting: VecDeque::new(),
            publications: BTreeMap::new(),
            foreign: HashMap::default(),
            last_deletion: 0,
            endings: Vec::new(),
            numbers: 0,
            tail: Tail::new(tail_bytes_max),
            state: StoreState::Ready,
            durable_shards: ShardSet::default(),
            has_durable_sessions: false,
            save_at: Time::NEVER,
        }
    }

    /// A number that nothing of this shard had before.
    pub(super) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Where the next record goes.
    pub(super) fn next_position(&mut self, shard: ShardId) -> Position {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        Position {
            part: u16::from(shard.number()),
            sequence,
        }
    }

    /// Whether a session was deleted that may come back after a crash.
    pub(super) fn is_deleting(&self) -> bool {
        self.last_deletion > self.committed
    }

    /// Lets `what` wait for the writes that have `ticket`.
    pub(super) fn wait(&mut self, ticket: u64, what: After) {
        self.waiting.push_back((ticket, what));
    }

    /// When [`Shard::finish_turn`] has something to do by itself.
    pub(super) fn next_timeout(&self) -> Time {
        self.save_at
    }
}

impl Shard {
    /// Everything up to `ticket` is durable: does what waited for it.
    pub fn committed(&mut self, ticket: u64, now: Time, fx: &mut Effects) {
        loop {
            let Some(keeper) = &mut self.keeper else {
                return;
            };
            keeper.committed = keeper.committed.max(ticket);
            if keeper.waiting.front().is_none_or(|(due, _)| *due > ticket) {
                return;
            }
            if let Some((_, after)) = keeper.waiting.pop_front() {
                self.after_commit(after, now, fx);
            }
        }
    }

    fn after_commit(&mut self, after: After, now: Time, fx: &mut Effects) {
        match after {
            After::Publication(publication, position) => {
                self.published(*publication, position, now, fx);
            }
            After::ConnAck(session, conn) => self.announce_session(session, conn, now, fx),
            After::Subscribe(waiting) => self.subscribe_committed(*waiting, now, fx),
            After::Say(session, conn, bytes) => self.say_later(session, conn, &bytes, fx),
        }
    }

    /// Does `what` when all writes so far are durable, at once if they are.
    pub(super) fn after_writes(&mut self, what: After, now: Time, fx: &mut Effects) {
        match &mut self.keeper {
            Some(keeper) if fx.journal.latest() > keeper.committed => {
                let ticket = fx.journal.latest();
                keeper.wait(ticket, what);
            }
            _ => self.after_commit(what, now, fx),
        }
    }

    /// A session of this shard as others name it, with its connection.
    pub(super) fn reference(&self, at: SessionIndex) -> Option<(SessionRef, &Link)> {
        let session = self.session(at)?;
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        Some((to, session.link.as_deref()?))
    }

    /// Sends a client of a durable session these bytes when what was written for it is durable; others at once.
    pub(super) fn say_when_written(
        &mut self,
        to: SessionRef,
        conn: ConnId,
        bytes: Vec<u8>,
        now: Time,
        fx: &mut Effects,
    ) {
        if self.queue_of(to.session).is_some() {
            self.after_writes(After::Say(to, conn, bytes), now, fx);
        } else {
            self.say_later(to, conn, &bytes, fx);
        }
    }

    fn say_later(&mut self, session: SessionRef, conn: ConnId, bytes: &[u8], fx: &mut Effects) {
        let same = self.residents.same(session.session, session.generation);
        let link = same.and_then(|session| session.link.as_deref());
        if link.is_some_and(|link| link.conn == conn) {
            self.say(session.session, fx, |_, out| out.extend_from_slice(bytes));
        }
    }

    /// How the store is; meant to be told in every turn.
    pub fn set_store_state(&mut self, state: StoreState) {
        if let Some(keeper) = &mut self.keeper {
            keeper.state = state;
        }
    }

    /// Adds to the journal what this turn has left unwritten. Meant to be called at the end of each turn, before the journal's batch is
    /// taken.
    pub fn finish_turn(&mut self, now: Time, fx: &mut Effects) {
        for origin in self.residents.given_up.take() {
            self.tell_moved(origin, true, fx);
        }
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        self.shared.save(|queue, progress, released| {
            let progress = Box::new(progress);
            fx.journal.push(Write::PutProgress(queue, progress));
            fx.journal.extend(released.into_iter().map(Write::Release));
        });
        for at in std::mem::take(&mut self.residents.urgent) {
            self.residents.save_progress(at, fx);
        }
        if self.residents.unsaved.is_empty() {
            keeper.save_at = Time::NEVER;
        } else if keeper.save_at <= now {
            keeper.save_at = Time::NEVER;
            for at in std::mem::take(&mut self.residents.unsaved) {
                self.residents.save_progress(at, fx);
            }
        } else {
            keeper.save_at = keeper.save_at.min(now.plus_millis(PROGRESS_SAVE_MILLIS));
        }
    }

    /// Writes at once what would be written soon. Meant for the end of the broker.
    pub fn save_all(&mut self, fx: &mut Effects) {
        for at in std::mem::take(&mut self.residents.unsaved) {
            self.residents.save_progress(at, fx);
        }
    }

    /// A number for a new durable queue. The first one of a shard is told to all others, ahead of the interest that comes with it: from
    /// then on they ask it for takers.
    pub(super) fn new_queue(&mut self, fx: &mut Effects) -> Option<QueueId> {
        let keeper = self.keeper.as_mut()?;
        keeper.queues_made += 1;
        let queue = QueueId::new(keeper.start, self.id.number(), keeper.queues_made);
        self.tell_of_durable_sessions(fx);
        Some(queue)
    }

    pub(super) fn tell_of_durable_sessions(&mut self, fx: &mut Effects) {
        let Some(keeper) = &mut self.keeper else {
            return;
        };
        if !std::mem::replace(&mut keeper.has_durable_sessions, true) {
            for shard in self.topology.shards().filter(|shard| *shard != self.id) {
                fx.tell(shard, PeerMessage::KeepsSessions);
            }
        }
    }

    /// The session's side of a change in the store, with its number.
    pub(super) fn queue_of(&self, at: SessionIndex) -> Option<QueueId> {
        let session = self.residents.sessions.get(at.get())?;
        Some(session.durable.as_ref()?.queue)
    }

    /// Writes for a durable session; nothing for others.
    pub(super) fn write_for(
        &self,
        at: SessionIndex,
        fx: &mut Effects,
        write: impl FnOnce(QueueId) -> Write,
    ) -> bool {
        match self.queue_of(at) {
            Some(queue) => {
                fx.journal.push(write(queue));
                true
            }
            None => false,
        }
    }
}
