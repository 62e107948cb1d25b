//! SUBSCRIBE from a client, the SUBACK once every shard knows, and then the retained messages.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{
    PacketType, QoS, ReasonCode, SubAck, Subscribe, Subscription, TopicFilter, Version,
};
use moat_events::Event;
use moat_policy::Denied;

use super::answer::explanation;
use super::receive::{Next, Pause, Violation};
use super::{PeerMessage, SessionRef, Shard, ShardId, residents};
use crate::effects::{ConnId, Effects};
use crate::message::Message;
use crate::router::Applied;
use crate::session::{SessionIndex, Subscriber, subscriptions::wants_retained};
use crate::time::Time;

/// SUBSCRIBE packets of one connection that may wait for other shards at once; more pause it.
pub const WAITING_SUBSCRIBES_MAX: u16 = 64;

/// The retained messages a new subscription is owed.
#[derive(Clone, Debug)]
pub struct RetainedWish {
    /// The topic filter.
    pub filter: Box<str>,
    /// The maximum QoS granted.
    pub qos: QoS,
    /// The subscription identifier.
    pub id: Option<NonZeroU32>,
}

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
        if link.waiting_subscribes >= WAITING_SUBSCRIBES_MAX {
            return Ok(Next::Pause(Pause::Peers));
        }
        let version = link.version;
        self.check_suback_fits(at, subscribe.filters().count())?;
        let mut grant = Grant {
            packet_id: subscribe.packet_id,
            reasons: Vec::new(),
            retained: Vec::new(),
        };
        let mut tickets = Vec::new();
        for subscription in subscribe.filters() {
            let reason = self.subscribe_one(
                at,
                &subscription,
                subscribe.subscription_id,
                &mut grant,
                &mut tickets,
                now,
                fx,
            );
            if reason.is_error() && version == Version::V31 {
                // 3.1 has no failure code in SUBACK, and a grant would be a lie.
                return Err(Violation {
                    reason,
                    error: "a subscription was refused, which 3.1 cannot be told".into(),
                });
            }
            grant.reasons.push(reason);
        }
        match tickets.pop() {
            None => self.complete_subscribe(at, grant, now, fx),
            Some(ticket) => self.wait_for_peers(at, ticket, tickets, grant),
        }
        Ok(Next::Continue)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one filter of a packet and where its answer goes"
    )]
    fn subscribe_one(
        &mut self,
        at: SessionIndex,
        subscription: &Subscription<'_>,
        id: Option<NonZeroU32>,
        grant: &mut Grant,
        tickets: &mut Vec<u64>,
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
            // What is retained is not for a group (4.8.2).
            tickets.extend(self.subscribe_shared(
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
        self.residents.subscriptions.insert(
            filter,
            Subscriber::new(at, subscription.options, id, judged_at_delivery),
        );
        tickets.extend(self.announce(filter, existed, fx));
        if wants_retained(subscription.options.retain_handling, existed) {
            grant.retained.push(RetainedWish {
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

    /// Sends the SUBACK, then what is retained.
    fn complete_subscribe(&mut self, at: SessionIndex, grant: Grant, now: Time, fx: &mut Effects) {
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
            self.fetch_retained(at, wish, now, fx);
        }
        self.pump(at, now, fx);
    }

    /// Gets the retained messages of a filter from the shards that own them.
    fn fetch_retained(
        &mut self,
        at: SessionIndex,
        wish: RetainedWish,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(generation) = self.session(at).map(|session| session.generation) else {
            return;
        };
        let has_wildcard = wish.filter.bytes().any(|b| b == b'+' || b == b'#');
        let owner = self.topology.owner(&wish.filter);
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation,
        };
        for shard in self.topology.shards() {
            if !has_wildcard && shard != owner {
                continue;
            }
            if shard == self.id {
                let found = self.retained_matching(&wish.filter, now);
                self.owe_retained(to, &wish, found, now, fx);
            } else {
                // Behind the retained messages that are under way to their owner.
                fx.tell_last(
                    shard,
                    PeerMessage::RetainedWanted {
                        wish: wish.clone(),
                        to,
                    },
                );
            }
        }
    }

    /// The retained messages of this shard that `filter` matches.
    pub(super) fn retained_matching(&self, filter: &str, now: Time) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        self.retained
            .matching(filter, now, |message| found.push(Arc::clone(message)));
        found
    }

    /// Retained messages found for a session of this shard [MQTT-3.3.1-8].
    pub(super) fn owe_retained(
        &mut self,
        to: SessionRef,
        wish: &RetainedWish,
        found: Vec<Arc<Message>>,
        now: Time,
        fx: &mut Effects,
    ) {
        let found = self.residents.receivable(
            to.session,
            &wish.filter,
            found,
            &self.policy,
            &self.limits,
            fx,
        );
        let Some(session) = self.residents.same(to.session, to.generation) else {
            return;
        };
        if found.is_empty()
            || session.link.is_none()
            || !session.subscriptions.contains(&wish.filter)
        {
            return;
        }
        // One copy of everything there is to retain, from all shards.
        let owed_max = self
            .limits
            .retained_messages_max
            .saturating_mul(self.topology.len());
        let dropped = session.owe_retained(found, wish.qos, wish.id, owed_max);
        if dropped > 0 {
            fx.events.push(residents::dropped(
                session,
                dropped,
                "too many retained messages owed to a client that does not read them",
            ));
            self.residents.counters.messages_dropped_total += dropped;
        }
        self.pump(to.session, now, fx);
    }
}

fn granted(qos: QoS) -> ReasonCode {
    match qos {
        QoS::AtMostOnce => ReasonCode::Success,
        QoS::AtLeastOnce => ReasonCode::GrantedQoS1,
        QoS::ExactlyOnce => ReasonCode::GrantedQoS2,
    }
}
