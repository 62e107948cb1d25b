//! Shared subscriptions that this shard deals for: their groups, members, credit, and waiting messages.
//!
//! A group is one `$share/GROUP/FILTER`. The shard that owns it has the filter's interest, so each
//! message comes here once, and is dealt in turn to a member that is online, may have it, and has
//! credit. While nobody has credit, QoS 1 and 2 wait here and not with one member, so that whoever is
//! free first takes them.

mod waiting;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use moat_codec::QoS;
use moat_policy::{Identity, Subject};

pub use waiting::{DurableGroup, Waiting, Waits};

use super::trie::{Entry, Trie};
use crate::durable::{Place, Position, Progress, QueueId};
use crate::limits::Limits;
use crate::message::Message;
use crate::session::entry::Entry as Stored;
use crate::session::outbound::QUEUED_OVERHEAD_BYTES;
use crate::session::parcel::Content;
use crate::shard::SessionRef;
use crate::time::Time;

/// Members that may give a QoS 0 message back, one after the other, before it is dropped.
pub const DEALS_MAX: u8 = 8;

/// Waiting messages looked at in one go for one that a member with credit may have.
pub const WAITING_SCAN_MAX: usize = 64;

/// The place of a group in the table of its owner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupIndex(u32);

impl Entry for GroupIndex {
    type Key = GroupIndex;
    fn key(&self) -> GroupIndex {
        *self
    }
}

/// A member as its home shard describes it.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its session.
    pub session: SessionRef,
    /// Whose it is, for the policy.
    pub identity: Arc<Identity>,
    /// Its client identifier, for the policy.
    pub client_id: Box<str>,
    /// The maximum QoS granted.
    pub qos: QoS,
    /// Whether the policy judges each message.
    pub judged_at_delivery: bool,
    /// Which joining this is.
    pub epoch: u32,
    /// QoS 1 and 2 messages it takes before it says more.
    pub credit: u16,
    /// Groups that its session's queue limits are divided among, a power of two.
    pub divisor: usize,
    /// Whether it has a connection.
    pub is_online: bool,
    /// Whether its session is durable, so that what waits in its groups has to be.
    pub is_durable: bool,
}

impl Member {
    /// Who the policy has to judge.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            identity: &self.identity,
            client_id: &self.client_id,
        }
    }
}

/// A member with what only the owner knows.
struct Seat {
    member: Member,
    online: bool,
    /// It gave a QoS 0 message back because its client does not read.
    congested: bool,
}

impl Seat {
    /// Whether it can take a message of `qos` now.
    fn takes(&self, qos: QoS) -> bool {
        self.online
            && match qos.min(self.member.qos) {
                QoS::AtMostOnce => !self.congested,
                QoS::AtLeastOnce | QoS::ExactlyOnce => self.member.credit > 0,
            }
    }
}

/// One group.
pub struct Group {
    filter: Arc<str>,
    seats: Vec<Seat>,
    next: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Its side in the store; absent while no member is durable.
    pub durable: Option<Box<DurableGroup>>,
    /// Whether messages are on their way from the store.
    pub is_loading: bool,
    /// QoS 1 and 2 messages it has lost.
    pub dropped: u64,
}

/// Who is to have a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// This member of the group.
    Member(usize),
    /// Some member, once it has credit or is online again.
    Later,
    /// Nobody: no member may have it, or it is of QoS 0 and nobody can take it now.
    Nobody,
}

impl Group {
    /// The whole filter, `$share/GROUP/` included.
    #[must_use]
    pub fn filter(&self) -> &Arc<str> {
        &self.filter
    }

    /// Messages waiting for credit.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The member at `at`.
    #[must_use]
    pub fn member(&self, at: usize) -> Option<&Member> {
        self.seats.get(at).map(|seat| &seat.member)
    }

    /// Whether the member at `at` has a message of `qos` without acknowledging it.
    #[must_use]
    pub fn grants_at_most_once(&self, at: usize, qos: QoS) -> bool {
        let member = self.member(at);
        member.is_none_or(|member| qos.min(member.qos) == QoS::AtMostOnce)
    }

    /// Chooses a member for a message of `qos`, each in turn; `may` is the policy's word on members
    /// that are judged at delivery. The member chosen pays with one credit if it needs any.
    pub fn choose(&mut self, qos: QoS, may: impl Fn(&Member) -> bool) -> Choice {
        let mut later = false;
        let seats = self.seats.len();
        for step in 0..seats {
            let at = (self.next + step) % seats;
            let seat = &mut self.seats[at];
            let allowed = !seat.member.judged_at_delivery || may(&seat.member);
            if !allowed {
                continue;
            }
            let granted = qos.min(seat.member.qos);
            if !seat.takes(qos) {
                later |= granted != QoS::AtMostOnce;
                continue;
            }
            if granted != QoS::AtMostOnce {
                seat.member.credit -= 1;
            }
            self.next = (at + 1) % seats;
            return Choice::Member(at);
        }
        if later { Choice::Later } else { Choice::Nobody }
    }

    /// Messages and bytes that may wait here. It is what the member with the fewest groups has for each of them, so that
    /// all groups together hold no more than their members' sessions might, however many groups somebody makes.
    fn room(&self, limits: &Limits) -> (usize, usize) {
        let divisor = self.seats.iter().map(|seat| seat.member.divisor).min();
        let divisor = divisor.unwrap_or(1).max(1);
        (
            limits.queued_messages_max / divisor,
            limits.queued_bytes_max / divisor,
        )
    }

    /// Puts a message behind the others, if there is room.
    pub fn wait(&mut self, message: Arc<Message>, deals: u8, limits: &Limits) -> Waits {
        let weight = message.weight() + QUEUED_OVERHEAD_BYTES;
        let (messages_max, bytes_max) = self.room(limits);
        if self.waiting.len() >= messages_max || self.waiting_bytes + weight > bytes_max {
            return Waits::No;
        }
        self.waiting_bytes += weight;
        let mut waits = Waits::Here;
        if let Some(durable) = self.durable.as_deref_mut() {
            waits = Waits::Stored(durable.queue, Place::Arrival(durable.next_arrival));
            durable.next_arrival += 1;
        }
        let entry = match waits {
            Waits::Stored(_, place) => Some(Stored::awaited(place)),
            Waits::No | Waits::Here => None,
        };
        self.waiting.push_back(Waiting {
            qos: message.qos,
            content: Content::Held(message),
            deals,
            entry,
        });
        waits
    }

    /// Takes the oldest waiting message that a member can take now, with that member. Messages nobody
    /// may have any more go, and those whose time has passed.
    pub fn next_deal(&mut self, now: Time, may: impl Fn(&Member, &Message) -> bool) -> NextDeal {
        let mut next = NextDeal::default();
        let mut place = 0;
        while place < self.waiting.len().min(WAITING_SCAN_MAX) {
            let waiting = &self.waiting[place];
            if waiting.entry.is_some_and(|entry| !entry.is_committed()) {
                break;
            }
            if waiting.content.is_expired(now) {
                self.drop_at(place);
                next.expired += 1;
                continue;
            }
            let Some(message) = waiting.content.held().map(Arc::clone) else {
                next.wants_load = true;
                break;
            };
            match self.choose(message.qos, |member| may(member, &message)) {
                Choice::Later => place += 1,
                Choice::Nobody => {
                    self.drop_at(place);
                    next.gone += 1;
                }
                Choice::Member(member) => {
                    let taken = self.take(place);
                    if let (Some(durable), Some(entry)) = (
                        self.durable.as_deref_mut(),
                        taken.as_ref().and_then(|taken| taken.entry),
                    ) {
                        durable.dealing.push(entry.place());
                    }
                    next.deal = taken.map(|waiting| (member, message, waiting));
                    break;
                }
            }
        }
        next
    }

    /// Gives up the waiting message at `place`.
    fn drop_at(&mut self, place: usize) -> bool {
        let Some(waiting) = self.take(place) else {
            return false;
        };
        if let Some(durable) = self.durable.as_deref_mut() {
            durable.gone(&waiting);
        }
        true
    }

    /// Takes away the newest messages that have no room any more since a member left or came to more groups. Returns how many.
    pub fn trim(&mut self, limits: &Limits) -> u64 {
        let (messages_max, bytes_max) = self.room(limits);
        let mut gone = 0;
        while self.waiting.len() > messages_max || self.waiting_bytes > bytes_max {
            if !self.drop_at(self.waiting.len() - 1) {
                break;
            }
            gone += 1;
        }
        gone
    }

    /// Whether any member could take a QoS 1 or 2 message.
    #[must_use]
    pub fn has_credit(&self) -> bool {
        self.seats.iter().any(|seat| seat.takes(QoS::ExactlyOnce))
    }

    /// A member's client does not read: no QoS 0 for it until it says otherwise.
    pub fn congested(&mut self, session: SessionRef) {
        if let Some(seat) = self.seat(session) {
            seat.congested = true;
        }
    }

    /// A member takes `more` messages, and reads again. What it says of an earlier joining is nothing.
    pub fn credit(&mut self, session: SessionRef, epoch: u32, more: u16) {
        if let Some(seat) = self.seat(session)
            && seat.member.epoch == epoch
        {
            seat.member.credit = seat.member.credit.saturating_add(more);
            seat.congested = false;
        }
    }

    /// A member is offline: nothing is dealt to it until it joins again.
    pub fn away(&mut self, session: SessionRef) {
        if let Some(seat) = self.seat(session) {
            seat.online = false;
            seat.member.credit = 0;
        }
    }

    fn join(&mut self, member: Member) {
        let seat = Seat {
            online: member.is_online,
            congested: false,
            member,
        };
        match self.seat(seat.member.session) {
            Some(old) => *old = seat,
            None => self.seats.push(seat),
        }
    }

    fn leave(&mut self, session: SessionRef) {
        if let Some(at) = self.seats.iter().position(|s| s.member.session == session) {
            self.seats.remove(at);
            // Whoever was next stays next.
            self.next -= usize::from(at < self.next);
        }
    }

    fn seat(&mut self, session: SessionRef) -> Option<&mut Seat> {
        self.seats
            .iter_mut()
            .find(|seat| seat.member.session == session)
    }

    fn take(&mut self, place: usize) -> Option<Waiting> {
        let waiting = self.waiting.remove(place)?;
        self.waiting_bytes -= weight(&waiting);
        Some(waiting)
    }
}

/// What [`Group::next_deal`] found.
#[derive(Default)]
pub struct NextDeal {
    /// Messages that nobody may have any more.
    pub gone: u64,
    /// Messages whose time had passed.
    pub expired: u64,
    /// The member, its message, and how that waited.
    pub deal: Option<(usize, Arc<Message>, Waiting)>,
    /// Whether the next message is in the store only.
    pub wants_load: bool,
}

/// All groups this shard owns.
#[derive(Default)]
pub struct Shared {
    groups: slab::Slab<Group>,
    by_filter: HashMap<Arc<str>, GroupIndex, RandomState>,
    matching: Trie<GroupIndex>,
    /// The groups of the message being dealt; kept for its capacity.
    matched: Vec<GroupIndex>,
    /// Durable groups that may have to be written at the end of this turn.
    touched: Vec<GroupIndex>,
}

impl Shared {
    /// Groups owned here.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether none is owned here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// As [`Trie::changes`], of the groups.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.matching.changes()
    }

    /// Messages that wait in all groups.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.groups.iter().map(|(_, group)| group.waiting()).sum()
    }

    /// The groups whose filter matches `topic`. Give the list back with [`Self::give_back`].
    pub fn matching(&mut self, topic: &str) -> Vec<GroupIndex> {
        let mut found = std::mem::take(&mut self.matched);
        found.clear();
        self.matching.matches(topic, |group| found.push(*group));
        found
    }

    /// Returns the list of [`Self::matching`] for the next message.
    pub fn give_back(&mut self, matched: Vec<GroupIndex>) {
        self.matched = matched;
    }

    /// The group at `at`.
    pub fn group(&mut self, at: GroupIndex) -> Option<&mut Group> {
        let group = self.groups.get_mut(at.0 as usize)?;
        if group.durable.is_some() && self.touched.last() != Some(&at) {
            self.touched.push(at);
        }
        Some(group)
    }

    /// Calls `write` for the durable groups that have changed since the last call, with what they give up.
    pub fn save(&mut self, mut write: impl FnMut(QueueId, Progress, Vec<Position>)) {
        for at in std::mem::take(&mut self.touched) {
            let Some(group) = self.groups.get_mut(at.0 as usize) else {
                continue;
            };
            let progress = group.progress();
            if let Some(durable) = group.durable.as_deref_mut()
                && std::mem::take(&mut durable.is_unsaved)
            {
                let released = std::mem::take(&mut durable.released);
                write(durable.queue, progress, released);
            }
        }
    }

    /// The group of `filter`, made if need be, for what waited in it before the broker started.
    pub fn restored(&mut self, filter: &Arc<str>) -> Option<&mut Group> {
        let found = self.find(filter);
        let at = found.unwrap_or_else(|| self.create(filter));
        self.group(at)
    }

    /// Takes the groups out that have no member.
    pub fn take_empty(&mut self) -> Vec<Group> {
        let empty = self
            .groups
            .iter()
            .filter(|(_, group)| group.seats.is_empty());
        let filters: Vec<Arc<str>> = empty.map(|(_, group)| Arc::clone(&group.filter)).collect();
        let taken = filters.iter().filter_map(|filter| self.remove(filter));
        taken.collect()
    }

    /// The group of `filter`.
    #[must_use]
    pub fn find(&self, filter: &str) -> Option<GroupIndex> {
        self.by_filter.get(filter).copied()
    }

    /// A member joins the group of `filter`, or joins again under other terms. Returns whether the
    /// group is new, so that its interest has to be told.
    pub fn join(&mut self, filter: &Arc<str>, member: Member) -> bool {
        let found = self.find(filter);
        let at = found.unwrap_or_else(|| self.create(filter));
        if let Some(group) = self.group(at) {
            group.join(member);
        }
        found.is_none()
    }

    /// A member leaves for good. Returns the group itself if that was its last: its interest has to be
    /// taken back, and what waits in it goes.
    pub fn leave(&mut self, filter: &str, session: SessionRef) -> Option<Group> {
        let at = self.find(filter)?;
        let group = self.group(at)?;
        group.leave(session);
        if !group.seats.is_empty() {
            return None;
        }
        self.remove(filter)
    }

    fn remove(&mut self, filter: &str) -> Option<Group> {
        let at = self.find(filter)?;
        self.by_filter.remove(filter);
        self.matching.remove(inner(filter), &at);
        Some(self.groups.remove(at.0 as usize))
    }

    fn create(&mut self, filter: &Arc<str>) -> GroupIndex {
        let group = Group {
            filter: Arc::clone(filter),
            seats: Vec::new(),
            next: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            durable: None,
            is_loading: false,
            dropped: 0,
        };
        // There are fewer groups than subscriptions, and fewer of those than four billion.
        let at = GroupIndex(u32::try_from(self.groups.insert(group)).unwrap_or(u32::MAX));
        self.by_filter.insert(Arc::clone(filter), at);
        self.matching.insert(inner(filter), at);
        at
    }
}

/// The filter behind `$share/GROUP/`. The codec has checked that it is there.
#[must_use]
pub fn inner(filter: &str) -> &str {
    filter.splitn(3, '/').nth(2).unwrap_or_default()
}

/// Whether a checked filter is one of a shared subscription.
#[must_use]
pub fn is_shared(filter: &str) -> bool {
    filter.starts_with("$share/")
}

fn weight(waiting: &Waiting) -> usize {
    waiting.content.weight() + QUEUED_OVERHEAD_BYTES
}
