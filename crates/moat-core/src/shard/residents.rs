//! The sessions at home in this shard, who of them subscribed to what, and the fan-out to them.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use moat_codec::{QoS, TopicName};
use moat_events::Event;
use moat_policy::{Identity, Snapshot};

use super::delivery::Reached;
use super::entries::may_have;
use super::leaving::Leaving;
use super::publication::{Holder, Local, Takers};
use super::{SessionRef, ShardId};
use crate::buffer_pool::BufferPool;
use crate::counters::Counters;
use crate::durable::{Position, Taker};
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::{Message, Outgoing};
use crate::router::Trie;
use crate::session::parcel::{Parcel, SubscriptionIdList};
use crate::session::{Delivered, GivenUp, Lent, Outbound, Session, SessionIndex, Subscriber, Wish};

/// What a session did with a message that was dealt to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dealt {
    /// It has it.
    Taken,
    /// Its client does not read, and a QoS 0 message must not be lost to that.
    Congested,
    /// It is offline, has left the group, or is no more.
    Gone,
}

/// What a session loses to a new policy.
#[derive(Default)]
pub(super) struct Rejudged {
    /// Filters it may no longer have, each with the rule that says so.
    pub(super) lost: Vec<(Box<str>, String)>,
    /// Queued messages that were dropped.
    pub(super) unqueued: u64,
    /// Queued messages of shared subscriptions, for another member.
    pub(super) unqueued_dealt: Vec<Parcel>,
}

/// One session's wish, gathered over all of its subscriptions that match.
struct Target {
    session: SessionIndex,
    qos: QoS,
    retain: bool,
    ids: SubscriptionIdList,
}

impl Target {
    /// Whether all there is to it is the message, at QoS 0.
    fn is_plain(&self) -> bool {
        self.qos == QoS::AtMostOnce && !self.retain && matches!(self.ids, SubscriptionIdList::None)
    }
}

/// Sessions and their subscriptions.
pub(super) struct Residents {
    /// All sessions, online and offline.
    pub(super) sessions: slab::Slab<Session>,
    /// Filters of this shard's sessions.
    pub(super) subscriptions: Trie<Subscriber>,
    /// Running totals.
    pub(super) counters: Counters,
    /// What has been done so far, in units of about 100 ns: for the budgets of turns.
    pub(super) work: u64,
    /// Buffers for connections that have something to say.
    pub(super) pool: BufferPool,
    /// The durable takers of the delivery at hand.
    pub(super) takers: Takers,
    /// Entries of others whose messages have been dealt with here.
    pub(super) given_up: GivenUp,
    /// Sessions whose progress is written at the end of this turn.
    pub(super) urgent: Vec<SessionIndex>,
    /// Sessions whose progress is written soon.
    pub(super) unsaved: Vec<SessionIndex>,
    /// Sessions that are gone, as long as messages of theirs are under way.
    leaving: Leaving,
    /// The shard they are at home in.
    here: ShardId,
    by_key: HashTable<SessionIndex>,
    hasher: RandomState,
    targets: Vec<Target>,
    fan_outs: u64,
    generations: u32,
}

impl Residents {
    /// Nobody, in the shard `here`.
    pub(super) fn new(here: ShardId) -> Self {
        Residents {
            here,
            sessions: slab::Slab::new(),
            subscriptions: Trie::default(),
            counters: Counters::default(),
            work: 0,
            pool: BufferPool::default(),
            takers: Takers::default(),
            given_up: GivenUp::default(),
            urgent: Vec::new(),
            unsaved: Vec::new(),
            leaving: Leaving::default(),
            by_key: HashTable::new(),
            hasher: RandomState::new(),
            targets: Vec::new(),
            fan_outs: 0,
            generations: 0,
        }
    }

    /// The session of (identity, client id), if it exists.
    #[must_use]
    pub(super) fn find(&self, identity: &str, client_id: &str) -> Option<SessionIndex> {
        let hash = self.hasher.hash_one((identity, client_id));
        self.by_key
            .find(hash, |at| {
                let session = &self.sessions[at.get()];
                *session.identity.name == *identity && *session.client_id == *client_id
            })
            .copied()
    }

    /// Makes a session. The caller has seen that there is none with this key.
    pub(super) fn create(&mut self, identity: Arc<Identity>, client_id: Box<str>) -> SessionIndex {
        self.generations = self.generations.wrapping_add(1);
        let hash = self.hasher.hash_one((&*identity.name, &*client_id));
        let mut session = Session::new(identity, client_id, self.generations);
        session.follows = self.leaving.has(&session.identity.name, &session.client_id);
        // The limit of sessions is far below four billion.
        let at = SessionIndex(u32::try_from(self.sessions.insert(session)).unwrap_or(u32::MAX));
        let (sessions, hasher) = (&self.sessions, &self.hasher);
        self.by_key.insert_unique(hash, at, |at| {
            let session = &sessions[at.get()];
            hasher.hash_one((&*session.identity.name, &*session.client_id))
        });
        at
    }

    /// Forgets a session whose subscriptions are already gone.
    pub(super) fn remove(&mut self, at: SessionIndex) -> Option<Session> {
        let session = self.sessions.get(at.get())?;
        let hash = self
            .hasher
            .hash_one((&*session.identity.name, &*session.client_id));
        if let Ok(entry) = self.by_key.find_entry(hash, |other| *other == at) {
            entry.remove();
        }
        let session = self.sessions.try_remove(at.get())?;
        self.leaving.add(at, &session);
        Some(session)
    }

    /// A message of a session that was under way has arrived where it is kept, or is durable. What is counted is told to `count`, unless
    /// the session is gone.
    pub(super) fn arrived(&mut self, of: SessionRef, count: impl FnOnce(&mut Session)) {
        if let Some(session) = self.same(of.session, of.generation) {
            return count(session);
        }
        let last = self.leaving.arrived(of.session, of.generation);
        if let Some((identity, client_id)) = last
            && let Some(next) = self.find(&identity, &client_id)
        {
            self.sessions[next.get()].follows = false;
        }
    }

    /// The session at `at`, if it is still the one of `generation`.
    pub(super) fn same(&mut self, at: SessionIndex, generation: u32) -> Option<&mut Session> {
        self.sessions
            .get_mut(at.get())
            .filter(|session| session.generation == generation)
    }

    /// Delivers `message` to every session here that wants it, one copy each, with the highest QoS
    /// and all identifiers of its matching subscriptions [MQTT-3.3.4-2..5].
    pub(super) fn fan_out(
        &mut self,
        message: &mut Outgoing<'_>,
        from: Option<SessionIndex>,
        policy: &Snapshot,
        limits: &Limits,
        fx: &mut Effects,
    ) -> Reached {
        let is_wanted = self.choose(message, from, policy, limits, fx);
        let mut targets = std::mem::take(&mut self.targets);
        let chosen = targets.len();
        self.work += chosen as u64;
        let mut sent = 0;
        message.set_for_one(chosen == 1);
        for target in targets.drain(..) {
            if target.is_plain() && self.send_plain(target.session, message, limits, fx) {
                sent += 1;
            } else {
                self.deliver_to(&target, message, limits, fx);
            }
        }
        self.targets = targets;
        self.counters.messages_sent_total += sent;
        self.counters.payload_bytes_sent_total += sent * message.payload_len() as u64;
        Reached {
            receivers: chosen,
            is_wanted,
        }
    }

    /// Collects the targets of a message. Returns whether any filter matches.
    fn choose(
        &mut self,
        message: &Outgoing<'_>,
        from: Option<SessionIndex>,
        policy: &Snapshot,
        limits: &Limits,
        fx: &mut Effects,
    ) -> bool {
        self.fan_outs += 1;
        let (fan_out, sessions, targets) = (self.fan_outs, &mut self.sessions, &mut self.targets);
        let counters = &mut self.counters;
        let mut is_wanted = false;
        let visits = self.subscriptions.matches(message.topic(), |subscriber| {
            is_wanted = true;
            if subscriber.no_local && from == Some(subscriber.session) {
                return;
            }
            let Some(session) = sessions.get_mut(subscriber.session.get()) else {
                return;
            };
            if subscriber.judged_at_delivery
                && !may_receive(session, message.topic(), policy, limits)
            {
                counters.messages_withheld_total += 1;
                withheld(session, 1, message.topic(), fx);
                return;
            }
            let qos = subscriber.qos.min(message.qos);
            let retain = subscriber.retain_as_published && message.retain;
            if session.chosen.0 == fan_out {
                let target = &mut targets[session.chosen.1 as usize];
                target.qos = target.qos.max(qos);
                target.retain |= retain;
                if let Some(id) = subscriber.id {
                    target.ids.push(id);
                }
                return;
            }
            session.chosen = (fan_out, u32::try_from(targets.len()).unwrap_or(u32::MAX));
            let ids = subscriber
                .id
                .map_or(SubscriptionIdList::None, SubscriptionIdList::One);
            targets.push(Target {
                session: subscriber.session,
                qos,
                retain,
                ids,
            });
        });
        self.work += visits as u64;
        is_wanted
    }

    /// Sends a message of QoS 0 at once, if that is all there is to do. The same as [`Self::deliver_to`], for most deliveries of a
    /// broker's life. Returns whether it did.
    #[inline]
    fn send_plain(
        &mut self,
        at: SessionIndex,
        message: &mut Outgoing<'_>,
        limits: &Limits,
        fx: &mut Effects,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return false;
        };
        let Some(link) = session.link.as_deref_mut() else {
            return false;
        };
        let waits = |outbound: &Outbound| !outbound.may_send_now(QoS::AtMostOnce);
        if session.outbound.as_deref().is_some_and(waits)
            || link.aliases_out.is_some()
            || link.out.len() >= limits.out_buffer_bytes_max
        {
            return false;
        }
        let (version, size_max) = (link.version, link.maximum_packet_size);
        let is_silent = link.out.is_empty();
        if !message.write_plain(version, size_max, link.buffer(&mut self.pool)) {
            return false;
        }
        if is_silent {
            fx.dirty.push(link.conn);
        }
        true
    }

    fn deliver_to(
        &mut self,
        target: &Target,
        message: &mut Outgoing<'_>,
        limits: &Limits,
        fx: &mut Effects,
    ) {
        let wish = Wish {
            qos: target.qos,
            retain: target.retain,
            ids: target.ids.as_slice(),
            share: None,
            lent: None,
        };
        self.hand_over(target.session, message, wish, limits, fx);
    }

    /// Delivers a message that the owner of a group dealt to one of these sessions.
    pub(super) fn deliver_dealt(
        &mut self,
        to: SessionRef,
        filter: &str,
        epoch: u32,
        message: &mut Outgoing<'_>,
        limits: &Limits,
        fx: &mut Effects,
    ) -> Dealt {
        let Some(session) = self
            .sessions
            .get_mut(to.session.get())
            .filter(|session| session.generation == to.generation)
        else {
            return Dealt::Gone;
        };
        let member = session.shares.as_mut().and_then(|shares| shares.of(filter));
        let (Some(member), Some(link)) = (member, session.link.as_deref()) else {
            return Dealt::Gone;
        };
        let qos = message.qos.min(member.options.qos);
        if qos != QoS::AtMostOnce {
            member.dealt(epoch);
        } else if link.out.len() >= limits.out_buffer_bytes_max {
            member.is_congested = true;
            return Dealt::Congested;
        }
        let (share, id) = (Arc::clone(member.share()), member.id);
        let keeps_nothing = session.durable.is_none() || qos == QoS::AtMostOnce;
        let origin = self.takers.origin.take_if(|_| keeps_nothing);
        let lent = origin.map(|origin| Lent::new(origin, &self.given_up));
        let wish = Wish {
            qos,
            retain: member.options.retain_as_published && message.retain,
            ids: id.as_slice(),
            share: Some(&share),
            lent: lent.as_ref(),
        };
        self.hand_over(to.session, message, wish, limits, fx);
        Dealt::Taken
    }

    /// Delivers to one session and counts what became of it.
    fn hand_over(
        &mut self,
        at: SessionIndex,
        message: &mut Outgoing<'_>,
        wish: Wish<'_>,
        limits: &Limits,
        fx: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return;
        };
        let silent = session
            .link
            .as_ref()
            .is_some_and(|link| link.out.is_empty());
        let mut given_up = Vec::new();
        match session.deliver(message, wish, limits, &mut self.pool, &mut given_up) {
            Delivered::Sent => {
                self.counters.messages_sent_total += 1;
                self.counters.payload_bytes_sent_total += message.payload_len() as u64;
                if let (true, Some(link)) = (silent, session.link.as_ref()) {
                    fx.dirty.push(link.conn);
                }
            }
            Delivered::Queued => {}
            Delivered::Awaiting(place) => {
                if let Some(durable) = &session.durable {
                    self.takers.list.push(Taker {
                        queue: durable.queue,
                        place,
                        qos: wish.qos,
                        retain: wish.retain,
                        ids: SubscriptionIdList::new(wish.ids),
                        group: None,
                    });
                    let to = SessionRef {
                        shard: self.here,
                        session: at,
                        generation: session.generation,
                    };
                    self.takers.local.push(Local {
                        holder: Holder::Session(to),
                        place,
                    });
                }
            }
            Delivered::Dropped => {
                self.counters.messages_dropped_total += 1;
                if wish.qos != QoS::AtMostOnce {
                    count_dropped(session, fx);
                }
            }
        }
        if !given_up.is_empty() {
            self.give_up(at, given_up, fx);
        }
    }

    /// Messages that a full queue gave up for others.
    fn give_up(&mut self, at: SessionIndex, given_up: Vec<Parcel>, fx: &mut Effects) {
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return;
        };
        self.counters.messages_dropped_total += given_up.len() as u64;
        for parcel in &given_up {
            if parcel.qos != QoS::AtMostOnce {
                count_dropped(session, fx);
            }
        }
        self.entries_done(at, given_up);
    }

    /// Those of the retained messages found for a subscription that its session may receive. All of
    /// them, unless the policy judges each.
    pub(super) fn receivable(
        &mut self,
        at: SessionIndex,
        filter: &str,
        mut found: Vec<Arc<Message>>,
        policy: &Snapshot,
        limits: &Limits,
        fx: &mut Effects,
    ) -> Vec<Arc<Message>> {
        let subscriber = self.subscriptions.get_mut(filter, &at);
        if subscriber.is_some_and(|subscriber| subscriber.judged_at_delivery)
            && let Some(session) = self.sessions.get_mut(at.get())
        {
            let before = found.len();
            found.retain(|message| may_receive(session, message.topic(), policy, limits));
            let count = (before - found.len()) as u64;
            self.counters.messages_withheld_total += count;
            withheld(session, count, filter, fx);
        }
        found
    }

    /// Re-judges what a session holds by a new policy: subscriptions that go or are judged in another
    /// way from now on, and queued messages.
    pub(super) fn no_longer_allowed(
        &mut self,
        at: SessionIndex,
        policy: &Snapshot,
        limits: &Limits,
        recall: impl Fn(Position) -> Option<Arc<Message>>,
    ) -> Rejudged {
        let mut rejudged = Rejudged::default();
        let Some(session) = self.sessions.get_mut(at.get()) else {
            return rejudged;
        };
        for filter in session.subscriptions.iter() {
            let verdict = moat_codec::TopicFilter::new(filter, &limits.packet)
                .map_err(|error| error.to_string())
                .and_then(|parsed| {
                    policy
                        .authorize_subscribe(session.subject(), parsed)
                        .map(|granted| granted.judged_at_delivery())
                        .map_err(|denied| denied.rule.to_string())
                });
            match verdict {
                Err(rule) => rejudged.lost.push((filter.into(), rule)),
                Ok(judged_at_delivery) => {
                    let shares = session.shares.as_mut();
                    if let Some(member) = shares.and_then(|shares| shares.of(filter)) {
                        member.judged_at_delivery = judged_at_delivery;
                    } else if let Some(subscriber) = self.subscriptions.get_mut(filter, &at) {
                        subscriber.judged_at_delivery = judged_at_delivery;
                    }
                }
            }
        }
        let subject = moat_policy::Subject {
            identity: &session.identity,
            client_id: &session.client_id,
        };
        // What is in the store only is judged when it comes from there.
        let must_go = |parcel: &Parcel| {
            let held = parcel.content.held().cloned();
            let held = held.or_else(|| recall(parcel.entry?.position()?));
            held.is_some_and(|message| !may_have(policy, limits, subject, message.topic()))
        };
        if let Some(outbound) = session.outbound.as_deref_mut() {
            rejudged.unqueued_dealt = outbound.take_dealt(must_go);
            let unqueued = outbound.take_queued(must_go);
            rejudged.unqueued = unqueued.len() as u64;
            if !unqueued.is_empty() {
                self.entries_done(at, unqueued);
            }
        }
        rejudged
    }
}

/// Counts a message of QoS 1 or 2 that a session has lost to its limits.
fn count_dropped(session: &mut Session, fx: &mut Effects) {
    session.dropped += 1;
    // An absent client's full queue must not flood the log: 1, 2, 4, 8 …
    if session.dropped.is_power_of_two() {
        let since_last = session.dropped - session.dropped / 2;
        let cause = "queue full or packet too large";
        fx.events.push(dropped(session, since_last, cause));
    }
}

/// Whether the policy lets the session have a message of this topic.
fn may_receive(session: &Session, topic: &str, policy: &Snapshot, limits: &Limits) -> bool {
    TopicName::new(topic, &limits.packet)
        .is_ok_and(|topic| policy.may_receive(session.subject(), topic))
}

/// Counts messages that a session may not have, and tells of the first, the second, the fourth …: who subscribes to
/// everything would fill the log.
fn withheld(session: &mut Session, count: u64, topic: &str, fx: &mut Effects) {
    let before = session.withheld;
    session.withheld += count;
    if before.checked_ilog2() != session.withheld.checked_ilog2() {
        fx.events.push(Event::MessagesWithheld {
            identity: session.identity.name.to_string(),
            client_id: session.client_id.to_string(),
            topic: topic.to_owned(),
            count: session.withheld,
        });
    }
}

/// The event for messages a session will not get.
pub(super) fn dropped(session: &Session, count: u64, cause: &str) -> Event {
    Event::MessagesDropped {
        identity: session.identity.name.to_string(),
        client_id: session.client_id.to_string(),
        count,
        cause: cause.to_owned(),
    }
}
