//! SUBSCRIBE from a client, the SUBACK once every shard knows, and then the retained messages.

use std::num::NonZeroU32;

use moat_codec::{
    PacketType, QoS, ReasonCode, SubAck, Subscribe, Subscription, TopicFilter, Version,
};
use moat_events::Event;
use moat_policy::Denied;

use super::answer::explanation;
use super::keeper::After;
use super::receive::{FILTER_WORK, Next, Pause, Violation};
use super::search::RetainedWish;
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::durable::{QueueId, Write};
use crate::effects::{ConnId, Effects};
use crate::router::Applied;
use crate::session::{PartialPacket, SessionIndex, Subscriber, subscriptions::wants_retained};
use crate::time::Time;

/// SUBSCRIBE packets of one connection that may wait for other shards at once; more pause it.
pub const WAITING_SUBSCRIBES_MAX: u16 = 16;

/// A SUBACK to be, and what follows it.
struct Grant {
    packet_id: moat_codec::PacketId,
    reasons: Vec<ReasonCode>,
    retained: Vec<RetainedWish>,
}

/// What waits for the confirmations of a ticket.
pub(super) enum Waiting {
    /// A SUBSCRIBE of this shard's own.
    Subscribe(WaitingSubscribe),
    /// Another shard's member of a group that this shard deals for.
    Join {
        /// The member's home.
        home: ShardId,
        /// What the confirmation to it carries.
        ticket: u64,
    },
}

/// A SUBSCRIBE that waits until other shards have applied its filters.
pub(super) struct WaitingSubscribe {
    session: SessionRef,
    /// The connection it came by: a later one would not know its packet identifier.
    conn: ConnId,
    grant: Grant,
    /// Tickets still to be confirmed besides the one it is stored under.
    tickets: Vec<u64>,
}

impl Shard {
    /// Handles a SUBSCRIBE [MQTT-3.8.4-1].
    pub(super) fn on_subscribe(
        &mut self,
        at: SessionIndex,
        subscribe: &Subscribe<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        let Some(link) = self.link(at) else {
            return Ok(Next::Closed);
        };
        if link.partial.is_none() && link.waiting_subscribes >= WAITING_SUBSCRIBES_MAX {
            return Ok(Next::Pause(Pause::Peers));
        }
        let version = link.version;
        self.check_suback_fits(at, subscribe.filters().count())?;
        let partial = self.link(at).and_then(|link| link.partial.take());
        let mut partial = match partial {
            Some(partial) => partial,
            None => match self.over_filter_rate(at, subscribe.filters().count(), now, fx) {
                Some(pause) => return Ok(Next::Pause(pause)),
                None => Box::default(),
            },
        };
        let id = subscribe.subscription_id;
        for subscription in subscribe.filters().skip(partial.reasons.len()) {
            if self.is_turn_over() {
                return Ok(self.go_on_later(at, partial));
            }
            self.residents.work += FILTER_WORK;
            let reason = self.subscribe_one(at, &subscription, id, &mut partial, now, fx);
            if reason.is_error() && version == Version::V31 {
                // 3.1 has no failure code in SUBACK, and a grant would be a lie.
                return Err(Violation {
                    reason,
                    error: "a subscription was refused, which 3.1 cannot be told".into(),
                });
            }
            partial.reasons.push(reason);
        }
        let PartialPacket {
            reasons,
            retained,
            mut tickets,
        } = *partial;
        let grant = Grant {
            packet_id: subscribe.packet_id,
            reasons,
            retained,
        };
        // A packet that took several turns may have been confirmed in part meanwhile: nobody would come for those tickets.
        tickets.retain(|ticket| self.interest.is_pending(*ticket));
        match tickets.pop() {
            None => self.complete_subscribe(at, grant, now, fx),
            Some(ticket) => self.wait_for_peers(at, ticket, tickets, grant),
        }
        Ok(Next::Continue)
    }

    /// Remembers how far a packet of many filters has come; it comes again in the next turn.
    pub(super) fn go_on_later(&mut self, at: SessionIndex, partial: Box<PartialPacket>) -> Next {
        let Some(link) = self.link(at) else {
            return Next::Closed;
        };
        link.partial = Some(partial);
        Next::Again
    }

    /// Takes a token per filter of the connection's rate; over it, the connection is not read.
    pub(super) fn over_filter_rate(
        &mut self,
        at: SessionIndex,
        filters: usize,
        now: Time,
        fx: &mut Effects,
    ) -> Option<Pause> {
        let count = u32::try_from(filters).unwrap_or(u32::MAX);
        let (per_sec, burst) = (
            self.limits.filters_per_sec_max,
            self.limits.filter_burst_max(),
        );
        let session = self.residents.sessions.get_mut(at.get())?;
        let link = session.link.as_deref_mut()?;
        let until = link
            .filter_rate
            .take_many(count, per_sec, burst, now)
            .err()?;
        if !std::mem::replace(&mut link.filter_rate.reported, true) {
            fx.events.push(Event::SubscribeRateExceeded {
                identity: session.identity.name.to_string(),
                client_id: session.client_id.to_string(),
                address: link.address,
            });
        }
        Some(Pause::Until(until))
    }

    fn subscribe_one(
        &mut self,
        at: SessionIndex,
        subscription: &Subscription<'_>,
        id: Option<NonZeroU32>,
        partial: &mut PartialPacket,
        now: Time,
        fx: &mut Effects,
    ) -> ReasonCode {
        let filter = subscription.filter;
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return ReasonCode::UnspecifiedError;
        };
        let allowed = match self.policy.authorize_subscribe(session.subject(), filter) {
            Ok(authorized) => authorized,
            Err(denied) => {
                self.subscribe_denied(at, filter, &denied, fx);
                return ReasonCode::NotAuthorized;
            }
        };
        let filter = allowed.get().as_str();
        let existed = session.subscriptions.contains(filter);
        if !existed && session.subscriptions.len() >= self.limits.subscriptions_per_session_max {
            return ReasonCode::QuotaExceeded;
        }
        let judged_at_delivery = allowed.judged_at_delivery();
        if subscription.filter.shared().is_some() {
            self.write_for(at, fx, |queue| put_subscription(queue, subscription, id));
            // What is retained is not for a group (4.8.2).
            partial.tickets.extend(self.subscribe_shared(
                at,
                subscription,
                id,
                judged_at_delivery,
                now,
                fx,
            ));
            return granted(subscription.options.qos);
        }
        session.subscriptions.insert(filter);
        if let Some(durable) = session.durable.as_deref() {
            fx.journal
                .push(put_subscription(durable.queue, subscription, id));
        }
        self.residents.subscriptions.insert(
            filter,
            Subscriber::new(at, subscription.options, id, judged_at_delivery),
        );
        partial.tickets.extend(self.announce(filter, existed, fx));
        if wants_retained(subscription.options.retain_handling, existed) {
            partial.retained.push(RetainedWish {
                filter: filter.into(),
                qos: subscription.options.qos,
                id,
            });
        }
        granted(subscription.options.qos)
    }

    /// Makes the other shards know that this one wants `filter`. Returns the ticket to wait for.
    pub(super) fn announce(
        &mut self,
        filter: &str,
        existed: bool,
        fx: &mut Effects,
    ) -> Option<u64> {
        let applied = if existed {
            self.interest.status(filter)
        } else {
            self.interest.add(filter)
        };
        let Applied::Pending { ticket, tell } = applied else {
            return None;
        };
        if tell {
            for shard in self.topology.shards().filter(|shard| *shard != self.id) {
                fx.tell(
                    shard,
                    PeerMessage::Interest {
                        filter: filter.into(),
                        ticket: Some(ticket),
                    },
                );
            }
        }
        Some(ticket)
    }

    fn subscribe_denied(
        &mut self,
        at: SessionIndex,
        filter: TopicFilter<'_>,
        denied: &Denied,
        fx: &mut Effects,
    ) {
        self.residents.counters.denials_total += 1;
        let Some((session, link)) = self.session(at).and_then(|s| Some((s, s.link.as_ref()?)))
        else {
            return;
        };
        fx.events.push(Event::SubscribeDenied {
            identity: session.identity.name.to_string(),
            client_id: session.client_id.to_string(),
            address: link.address,
            filter: filter.as_str().to_owned(),
            rule: denied.rule.to_string(),
        });
    }

    fn wait_for_peers(&mut self, at: SessionIndex, ticket: u64, tickets: Vec<u64>, grant: Grant) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let Some(link) = session.link.as_deref_mut() else {
            return;
        };
        link.waiting_subscribes += 1;
        let conn = link.conn;
        let session = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        self.waiting
            .entry(ticket)
            .or_default()
            .push(Waiting::Subscribe(WaitingSubscribe {
                session,
                conn,
                grant,
                tickets,
            }));
    }

    /// Every shard has applied the filter of `ticket`.
    pub(super) fn ticket_confirmed(&mut self, ticket: u64, now: Time, fx: &mut Effects) {
        for waiting in self.waiting.remove(&ticket).unwrap_or_default() {
            let mut waiting = match waiting {
                Waiting::Subscribe(waiting) => waiting,
                Waiting::Join { home, ticket } => {
                    fx.tell(home, PeerMessage::InterestApplied { ticket });
                    continue;
                }
            };
            let unconfirmed = loop {
                match waiting.tickets.pop() {
                    Some(next) if self.interest.is_pending(next) => break Some(next),
                    Some(_) => {}
                    None => break None,
                }
            };
            if let Some(next) = unconfirmed {
                let waiting = Waiting::Subscribe(waiting);
                self.waiting.entry(next).or_default().push(waiting);
                continue;
            }
            let SessionRef {
                session: at,
                generation,
                ..
            } = waiting.session;
            let Some(session) = self.residents.same(at, generation) else {
                continue;
            };
            let Some(link) = session.link.as_deref_mut() else {
                continue;
            };
            if link.conn != waiting.conn {
                continue;
            }
            link.waiting_subscribes = link.waiting_subscribes.saturating_sub(1);
            self.complete_subscribe(at, waiting.grant, now, fx);
        }
    }

    /// Every shard knows the filters: the SUBACK waits for the store only.
    fn complete_subscribe(&mut self, at: SessionIndex, grant: Grant, now: Time, fx: &mut Effects) {
        let Some(session) = self.session(at) else {
            return;
        };
        let (Some(link), Some(_)) = (session.link.as_deref(), session.durable.as_deref()) else {
            return self.grant(at, grant, now, fx);
        };
        let waiting = WaitingSubscribe {
            session: SessionRef {
                shard: self.id,
                session: at,
                generation: session.generation,
            },
            conn: link.conn,
            grant,
            tickets: Vec::new(),
        };
        self.after_writes(After::Subscribe(Box::new(waiting)), now, fx);
    }

    /// The subscriptions of a durable session are in the store.
    pub(super) fn subscribe_committed(
        &mut self,
        waiting: WaitingSubscribe,
        now: Time,
        fx: &mut Effects,
    ) {
        let SessionRef {
            session: at,
            generation,
            ..
        } = waiting.session;
        let same = self.residents.same(at, generation);
        let link = same.and_then(|session| session.link.as_deref());
        if link.is_some_and(|link| link.conn == waiting.conn) {
            self.grant(at, waiting.grant, now, fx);
        }
    }

    /// Sends the SUBACK, then what is retained.
    fn grant(&mut self, at: SessionIndex, grant: Grant, now: Time, fx: &mut Effects) {
        let refused = grant.reasons.iter().find(|reason| reason.is_error());
        let why = refused.and_then(|reason| explanation(PacketType::SubAck, *reason));
        self.answer(at, why, fx, |version, why, out| {
            let suback = SubAck {
                reason_string: why,
                ..SubAck::new(grant.packet_id, &grant.reasons)
            };
            suback.encode(version, out)
        });
        for wish in grant.retained {
            self.search_retained(at, wish);
        }
        self.pump(at, now, fx);
    }
}

fn put_subscription(
    queue: QueueId,
    subscription: &Subscription<'_>,
    id: Option<NonZeroU32>,
) -> Write {
    Write::PutSubscription {
        queue,
        filter: subscription.filter.as_str().into(),
        options: subscription.options,
        id,
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
