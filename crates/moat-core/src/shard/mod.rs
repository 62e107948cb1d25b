//! One shard: its sessions, its part of the routing, and the doors in and out.
//!
//! A driver calls [`Shard::connect`] when a client has been authenticated, [`Shard::receive`] with
//! its bytes, [`Shard::flushed`] when an out-buffer has drained, [`Shard::connection_lost`] when
//! its socket is gone, [`Shard::peer`] with what other shards say, and [`Shard::tick`] when
//! [`Shard::next_timeout`] has come. After each call it carries out the [`Effects`].

mod acknowledge;
mod answer;
mod authenticate;
mod connect;
mod delivery;
mod disconnect;
mod entries;
mod keeper;
mod leaving;
mod peer;
mod policy;
mod publication;
mod publish;
mod receipt;
mod receive;
mod residents;
mod restore;
mod route;
mod search;
mod share;
mod subscribe;
mod system;
mod tail;
mod timers;
mod topology;
mod transfer;
mod unsubscribe;

use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use moat_codec::Version;
use moat_policy::Snapshot;

pub use authenticate::AnotherIdentity;
pub use connect::{Arrival, Refused};
pub use keeper::PROGRESS_SAVE_MILLIS;
pub use peer::{PeerMessage, SessionRef};
pub use publication::{Asked, Coordinator, Holder, Origin, Terms};
pub use publish::UNANSWERED_MAX;
pub use receive::{Pause, Received, Then};
pub use restore::restore_all;
pub use route::VIA_OWNER_MAX;
pub use search::{
    RetainedWish, SEARCH_MESSAGES_MAX, SEARCH_VISITS_PER_TURN_MAX, SEARCHES_SPARE,
    SEARCHES_UNDER_WAY_MAX, Search, SearchPart,
};
pub use share::ShareMessage;
pub use subscribe::WAITING_SUBSCRIBES_MAX;
pub use topology::{SHARDS_MAX, ShardId, Topology};

use crate::counters::Counters;
use crate::durable::{Load, LoadFor, Loaded};
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::FrameCache;
use crate::router::{Interest, Retained, Shared, retained::RetainedLimits};
use crate::session::{Link, PUMPED_MESSAGES_MAX, Session, SessionIndex, Will};
use crate::time::Time;

/// One shard.
pub struct Shard {
    id: ShardId,
    topology: Topology,
    limits: Limits,
    policy: Arc<Snapshot>,
    residents: residents::Residents,
    interest: Interest,
    retained: Retained,
    shared: Shared,
    frames: FrameCache,
    timers: BinaryHeap<timers::Timer>,
    waiting: HashMap<u64, Vec<subscribe::Waiting>, RandomState>,
    retained_swept: Time,
    /// The [`Shard::work_total`] at which the connection at hand has had its turn.
    turn_ends_at: u64,
    /// Whether acknowledgements of the connection at hand have made room that is not used yet.
    credited: bool,
    /// What is left of this turn's budget for looking through retained messages.
    search_visits_left: usize,
    /// Searches that found nothing left of it; at most [`SEARCHES_UNDER_WAY_MAX`] per session of any shard.
    delayed_searches: VecDeque<search::Delayed>,
    /// Wills of connections before the last ones, found in the store; published as soon as every shard knows what the others want.
    overdue_wills: Vec<(SessionIndex, u32, Will)>,
    /// Its side of the store; absent where nothing is durable.
    keeper: Option<keeper::Keeper>,
}

/// Sizes of one shard, for `moat status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Sessions, online and offline.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Groups of shared subscriptions owned here.
    pub shared_groups: usize,
    /// Messages that wait in them for a member.
    pub shared_waiting: usize,
    /// Retained messages owned here.
    pub retained_messages: usize,
}

/// Places of sessions that one part of a census looks at: some 50 µs of walking through memory that nobody else has touched of late.
pub const CENSUS_PLACES_MAX: usize = 256;

/// What takes a walk over all sessions to know; now and then, not for every packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Sessions with a connection.
    pub connected: usize,
    /// Messages that wait in queues.
    pub queued_messages: usize,
    /// Bytes of these.
    pub queued_bytes: usize,
    /// Bytes of the retained messages owned here.
    pub retained_bytes: usize,
    /// Memberships in groups of shared subscriptions.
    pub shared_subscriptions: usize,
}

impl Census {
    /// Adds another shard's numbers.
    pub fn add(&mut self, other: &Census) {
        self.connected += other.connected;
        self.queued_messages += other.queued_messages;
        self.queued_bytes += other.queued_bytes;
        self.retained_bytes += other.retained_bytes;
        self.shared_subscriptions += other.shared_subscriptions;
    }
}

impl Shard {
    /// A shard without sessions. All shards of a broker share one `topology`.
    #[must_use]
    pub fn new(id: ShardId, topology: Topology, limits: Limits, policy: Arc<Snapshot>) -> Self {
        let interest = Interest::new(topology.len());
        Shard {
            id,
            topology,
            limits,
            policy,
            residents: residents::Residents::new(id),
            interest,
            retained: Retained::default(),
            shared: Shared::default(),
            frames: FrameCache::default(),
            timers: BinaryHeap::new(),
            waiting: HashMap::default(),
            retained_swept: Time::ZERO,
            turn_ends_at: 0,
            credited: false,
            search_visits_left: SEARCH_VISITS_PER_TURN_MAX,
            delayed_searches: VecDeque::new(),
            overdue_wills: Vec::new(),
            keeper: None,
        }
    }

    /// Which shard this is.
    #[must_use]
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// The limits it keeps.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connected half of a session, with its out-buffer.
    pub fn link(&mut self, at: SessionIndex) -> Option<&mut Link> {
        self.residents
            .sessions
            .get_mut(at.get())?
            .link
            .as_deref_mut()
    }

    /// The session at `at`.
    #[must_use]
    pub fn session(&self, at: SessionIndex) -> Option<&Session> {
        self.residents.sessions.get(at.get())
    }

    /// The session of (identity, client id), if it is here.
    #[must_use]
    pub fn find(&self, identity: &str, client_id: &str) -> Option<SessionIndex> {
        self.residents.find(identity, client_id)
    }

    /// Out-buffers for the driver to write from.
    pub fn pool(&mut self) -> &mut crate::buffer_pool::BufferPool {
        &mut self.residents.pool
    }

    /// What has been done so far, in units of roughly 100 ns: a driver ends a part of its turn when this has grown enough.
    #[must_use]
    pub fn work_total(&self) -> u64 {
        self.residents.work
    }

    /// Running totals.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.residents.counters
    }

    /// Current sizes.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            sessions: self.residents.sessions.len(),
            subscriptions: self.residents.subscriptions.len(),
            shared_groups: self.shared.len(),
            shared_waiting: self.shared.waiting(),
            retained_messages: self.retained.len(),
        }
    }

    /// Counts what there is no running count of, all at once: for brokers that have nothing else to do meanwhile.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.count_on(from, &mut census);
        }
        census
    }

    /// Adds the sessions at [`CENSUS_PLACES_MAX`] places from `from` on to what was counted before. Returns where to go on, or `None` at the
    /// end. Who comes or goes meanwhile is counted or not.
    pub fn count_on(&self, from: usize, census: &mut Census) -> Option<usize> {
        let sessions = &self.residents.sessions;
        let end = sessions.capacity().min(from + CENSUS_PLACES_MAX);
        for session in (from..end).filter_map(|place| sessions.get(place)) {
            census.connected += usize::from(session.link.is_some());
            census.shared_subscriptions += session.shares.as_ref().map_or(0, |s| s.count());
            if let Some(outbound) = &session.outbound {
                census.queued_messages += outbound.queued();
                census.queued_bytes += outbound.queued_bytes();
            }
        }
        let is_over = end == sessions.capacity();
        if is_over {
            census.retained_bytes = self.retained.bytes();
        }
        (!is_over).then_some(end)
    }

    /// The out-buffer of `at` has drained: sends what waited for room, which makes it dirty again.
    pub fn flushed(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        self.pump(at, now, fx);
    }

    /// Sends what a session is owed, looks for what its subscriptions are owed next, and marks its connection dirty if there is
    /// something to flush. What went without being sent, since its time had passed, makes room like an acknowledgement, so groups hear of
    /// their credit here.
    fn pump(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        self.send_owed(at, now, fx);
        let wants_search = |shard: &Shard| {
            let outbound = shard.session(at).and_then(|s| s.outbound.as_ref());
            outbound.is_some_and(|outbound| outbound.wants_search())
        };
        while wants_search(self) && self.search_on(at, now, fx) {
            self.send_owed(at, now, fx);
        }
        self.report_credit(at, now, fx);
    }

    fn send_owed(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let mut left = PUMPED_MESSAGES_MAX;
        while self.send_some(at, &mut left, now, fx) {
            // What was not in memory may be now.
            if !self.recall(at, fx) {
                return;
            }
        }
    }

    /// Sends at most `left` messages. Returns whether the next one is in the store only.
    fn send_some(&mut self, at: SessionIndex, left: &mut u64, now: Time, fx: &mut Effects) -> bool {
        let residents = &mut self.residents;
        let Some(session) = residents.sessions.get_mut(at.get()) else {
            return false;
        };
        let drained = session
            .outbound
            .as_ref()
            .is_none_or(|outbound| outbound.is_drained());
        if drained {
            return false;
        }
        let silent = session
            .link
            .as_ref()
            .is_some_and(|link| link.out.is_empty());
        let pumped = session.pump(
            *left,
            &mut self.frames,
            &self.limits,
            &mut residents.pool,
            now,
        );
        *left -= pumped.sent;
        residents.counters.messages_sent_total += pumped.sent;
        residents.counters.payload_bytes_sent_total += pumped.sent_payload_bytes;
        residents.counters.messages_dropped_total += pumped.dropped;
        residents.counters.messages_expired_total += pumped.expired;
        if pumped.dropped > 0 {
            fx.events.push(residents::dropped(
                session,
                pumped.dropped,
                "packet too large for the client",
            ));
        }
        if let Some(link) = session.link.as_ref()
            && silent
            && !link.out.is_empty()
        {
            fx.dirty.push(link.conn);
        }
        if pumped.is_unsaved {
            residents.note_unsaved(at);
        }
        pumped.wants_load
    }

    /// Brings what a session is sent next back into its queue: from the tail, or asks the store for it. Returns whether it is there.
    fn recall(&mut self, at: SessionIndex, fx: &mut Effects) -> bool {
        let (Some(keeper), Some(session)) = (
            self.keeper.as_ref(),
            self.residents.sessions.get_mut(at.get()),
        ) else {
            return false;
        };
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        let Some(outbound) = session.outbound.as_deref_mut() else {
            return false;
        };
        if outbound.is_loading {
            return false;
        }
        let wanted = outbound.wanted();
        let here = wanted.iter().map_while(|position| {
            let message = keeper.tail.find(*position)?;
            Some((*position, Some(Arc::clone(message))))
        });
        let here: Vec<_> = here.collect();
        if here.is_empty() {
            outbound.is_loading = true;
            fx.loads.push(Load {
                to: LoadFor::Session(to),
                positions: wanted,
            });
            return false;
        }
        outbound.take_loaded(&here);
        true
    }

    /// Messages that were asked for have come from the store.
    pub fn loaded(&mut self, loaded: Loaded, now: Time, fx: &mut Effects) {
        let to = match loaded.to {
            LoadFor::Session(to) => to,
            LoadFor::Group(filter) => {
                self.group_loaded(&filter, &loaded.messages, now, fx);
                return;
            }
        };
        let (policy, limits) = (&self.policy, &self.limits);
        let lost = self
            .residents
            .loaded(to, &loaded.messages, policy, limits, fx);
        self.residents.counters.messages_dropped_total += lost;
        self.pump(to.session, now, fx);
    }

    /// Appends bytes for a client by `write` and marks its connection dirty.
    fn say(
        &mut self,
        at: SessionIndex,
        fx: &mut Effects,
        write: impl FnOnce(Version, &mut Vec<u8>),
    ) {
        let residents = &mut self.residents;
        let Some(session) = residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(link) = session.link.as_deref_mut() else {
            return;
        };
        if link.out.is_empty() {
            fx.dirty.push(link.conn);
        }
        let version = link.version;
        residents.counters.answers_sent_total += 1;
        write(version, link.buffer(&mut residents.pool));
    }

    fn retained_limits(&self) -> RetainedLimits {
        RetainedLimits {
            messages_max: self.limits.retained_messages_max,
            bytes_max: self.limits.retained_bytes_max,
            per_identity_max: self.limits.retained_per_identity_max,
        }
    }
}
