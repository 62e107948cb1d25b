//! PUBLISH from a client: resolved, judged, routed, acknowledged, in this order only.

use std::sync::Arc;

use moat_codec::{InboundAliases, Incoming, Publish, QoS, ReasonCode, Resolved};
use moat_events::Event;
use moat_policy::{Authorized, Denied};

use super::publication::{Coordinator, Publication, Terms};
use super::receipt::Receipt;
use super::receive::{Next, Pause, Violation};
use super::{PeerMessage, SessionRef, Shard};
use crate::durable::StoreState;
use crate::effects::Effects;
use crate::message::{Message, Outgoing};
use crate::router::{RetainRefusal, ShardSet};
use crate::session::{Session, SessionIndex};
use crate::time::Time;

/// Messages of one session under way through one owning shard; more pause its client. The owner
/// confirms only once every shard has room for them, so this bounds what a slow one piles up there.
pub const VIA_OWNER_MAX: u32 = 1024;

/// Acknowledgements of one connection that may wait for the store; more pause it.
pub const UNANSWERED_MAX: usize = 1024;

/// What became of a message that was routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Routed {
    /// It is on its way, and nobody has to wait for the store.
    Now(ReasonCode),
    /// It is acknowledged with this reason when it is durable.
    Later(ReasonCode),
    /// No filter of any shard matches its topic, and nobody keeps it.
    Nowhere,
}

impl Shard {
    /// Handles a PUBLISH [MQTT-3.3.4-1].
    pub(super) fn on_publish(
        &mut self,
        at: SessionIndex,
        incoming: Incoming<'_>,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Next, Violation> {
        // What it publishes to itself must find the room that it has made.
        self.spend_credit(at, now, fx);
        let publish = incoming.publish();
        let receipt = Receipt {
            qos: publish.qos,
            packet_id: publish.packet_id,
        };
        if !publish.subscription_ids.is_empty() {
            // [MQTT-3.3.4-6]
            return Err(Violation::new(
                ReasonCode::ProtocolError,
                "subscription identifier in a client's PUBLISH",
            ));
        }
        if publish.retain && self.limits.retained_messages_max == 0 && self.is_v5(at) {
            // It was told so by Retain Available [MQTT-3.2.2-14].
            return Err(Violation::new(
                ReasonCode::RetainNotSupported,
                "a retained message, which the server does not keep",
            ));
        }
        let repeated = self.is_repeated(at, receipt)?;
        if let Some(next) = self.held_back(at, publish, receipt, repeated, fx) {
            return Ok(next);
        }
        if let Some(pause) = self.over_rate(at, now, fx) {
            return Ok(Next::Pause(pause));
        }
        let Some(link) = self.link(at) else {
            return Ok(Next::Closed);
        };
        // The table leaves the session while the message borrows from it, if it does.
        let has_alias = publish.topic_alias.is_some();
        let mut aliases = InboundAliases::new(0);
        if has_alias {
            std::mem::swap(&mut aliases, &mut link.aliases);
        }
        let resolved = aliases.resolve(&incoming).map_err(Violation::from);
        let next = resolved.map(|resolved| {
            if repeated {
                // Its alias counts all the same: aliases are the connection's, the message is not.
                self.acknowledge_repeated(at, receipt, fx);
                return Next::Continue;
            }
            self.judge_publish(at, resolved, receipt, now, fx)
        });
        if has_alias && let Some(link) = self.link(at) {
            link.aliases = aliases;
        }
        next
    }

    /// Whether a QoS 2 message was already taken [MQTT-4.3.3-10], and whether there are too many.
    fn is_repeated(&self, at: SessionIndex, receipt: Receipt) -> Result<bool, Violation> {
        let (QoS::ExactlyOnce, Some(id)) = (receipt.qos, receipt.packet_id) else {
            return Ok(false);
        };
        let Some(session) = self.session(at) else {
            return Ok(false);
        };
        if session.inbound.binary_search(&id).is_ok() {
            return Ok(true);
        }
        if session.inbound.len() >= usize::from(self.limits.inflight_messages_max) && self.is_v5(at)
        {
            // [MQTT-3.3.4-7]; a 3.x client was never told a number.
            return Err(Violation::new(
                ReasonCode::ReceiveMaximumExceeded,
                "more QoS 2 messages under way than allowed",
            ));
        }
        if session.inbound.len() >= usize::from(u16::MAX) - 1 {
            return Err(Violation::new(
                ReasonCode::QuotaExceeded,
                "every packet identifier is in use",
            ));
        }
        Ok(false)
    }

    pub(super) fn is_v5(&self, at: SessionIndex) -> bool {
        self.session(at)
            .and_then(|s| s.link.as_ref())
            .is_some_and(|link| link.version.is_v5())
    }

    /// Takes one token of the connection's publish rate; over it, the connection is not read.
    fn over_rate(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) -> Option<Pause> {
        let (per_sec, burst) = (
            self.limits.publishes_per_sec_max,
            self.limits.publish_burst_max,
        );
        let session = self.residents.sessions.get_mut(at.get())?;
        let link = session.link.as_deref_mut()?;
        let until = link.rate.take(per_sec, burst, now).err()?;
        if !std::mem::replace(&mut link.rate.reported, true) {
            fx.events.push(Event::PublishRateExceeded {
                identity: session.identity.name.to_string(),
                client_id: session.client_id.to_string(),
                address: link.address,
            });
        }
        Some(Pause::Until(until))
    }

    fn judge_publish(
        &mut self,
        at: SessionIndex,
        resolved: Resolved<'_>,
        receipt: Receipt,
        now: Time,
        fx: &mut Effects,
    ) -> Next {
        let session = self.residents.sessions.get_mut(at.get());
        let Some((subject, link)) = session.and_then(Session::linked) else {
            return Next::Closed;
        };
        let topic = resolved.topic();
        let memory = link.remembered.get_or_insert_default();
        let decision = self
            .policy
            .authorize_publish_again(subject, resolved, memory);
        let noted = memory.note();
        match decision {
            Ok(authorized) => match self.publish(at, &authorized, receipt, noted, now, fx) {
                Ok(()) => {
                    let counters = &mut self.residents.counters;
                    counters.messages_received_total += 1;
                    counters.payload_bytes_received_total +=
                        authorized.get().payload().len() as u64;
                    Next::Continue
                }
                Err(pause) => {
                    // It comes again whole, so its token goes back.
                    if let Some(link) = self.link(at) {
                        link.rate.give_back();
                    }
                    Next::Pause(pause)
                }
            },
            Err(denied) => {
                self.publish_denied(at, topic.as_str(), &denied, fx);
                self.acknowledge(at, receipt, ReasonCode::NotAuthorized, fx);
                Next::Continue
            }
        }
    }

    /// Routes a message and acknowledges it, now or when it is durable. Of a topic that was `noted` when no filter matched it, and none has
    /// come or gone since, nobody need be looked for.
    fn publish(
        &mut self,
        at: SessionIndex,
        publish: &Authorized<Resolved<'_>>,
        receipt: Receipt,
        noted: u64,
        now: Time,
        fx: &mut Effects,
    ) -> Result<(), Pause> {
        let leaves_nothing = !publish.get().retain() && receipt.qos != QoS::ExactlyOnce;
        if leaves_nothing && noted == self.filters_version() {
            self.acknowledge(at, receipt, outcome(false), fx);
            return Ok(());
        }
        let mut terms = Terms::default();
        if let (Some(keeper), Some(id)) = (&mut self.keeper, receipt.packet_id) {
            let number = keeper.number();
            terms.receipt = Some(number);
            if receipt.qos == QoS::ExactlyOnce {
                terms.inbound = self.queue_of(at).map(|queue| (queue, id));
            }
        }
        let number = terms.receipt;
        match (self.route(at, publish, terms, false, now, fx)?, number) {
            (Routed::Later(reason), Some(number)) => {
                self.acknowledge_later(at, receipt, reason, number);
            }
            (Routed::Now(reason) | Routed::Later(reason), _) => {
                self.acknowledge(at, receipt, reason, fx);
            }
            (Routed::Nowhere, _) => {
                self.note_unwanted(at);
                self.acknowledge(at, receipt, outcome(false), fx);
            }
        }
        Ok(())
    }

    /// No filter matches the topic that the client published to last.
    fn note_unwanted(&mut self, at: SessionIndex) {
        let version = self.filters_version();
        let link = self.link(at);
        if let Some(memory) = link.and_then(|link| link.remembered.as_deref_mut()) {
            memory.set_note(version);
        }
    }

    /// Differs after each change of what topics match; never 0.
    fn filters_version(&self) -> u64 {
        let here = self.residents.subscriptions.changes() + self.shared.changes();
        here + self.interest.changes() + 1
    }

    /// A publish that the store cannot take now: its client waits, or is refused where the store is full. One of QoS 2 that is `repeated`
    /// has been taken, so it is not refused any more.
    fn held_back(
        &mut self,
        at: SessionIndex,
        publish: &Publish<'_>,
        receipt: Receipt,
        repeated: bool,
        fx: &mut Effects,
    ) -> Option<Next> {
        let state = self.keeper.as_ref()?.state;
        if receipt.qos == QoS::AtMostOnce && !publish.retain {
            // Nothing of it is stored, and nobody waits for an acknowledgement.
            return None;
        }
        let link = self.session(at).and_then(|session| session.link.as_deref());
        if link.is_some_and(|link| link.unanswered.len() >= UNANSWERED_MAX) {
            return Some(Next::Pause(Pause::Peers));
        }
        if state == StoreState::Ready || repeated {
            return None;
        }
        if state == StoreState::Full && self.is_v5(at) && receipt.packet_id.is_some() {
            self.acknowledge(at, receipt, ReasonCode::QuotaExceeded, fx);
            return Some(Next::Continue);
        }
        Some(Next::Pause(Pause::Peers))
    }

    fn publish_denied(&mut self, at: SessionIndex, topic: &str, denied: &Denied, fx: &mut Effects) {
        self.residents.counters.denials_total += 1;
        let Some((session, link)) = self.session(at).and_then(|s| Some((s, s.link.as_ref()?)))
        else {
            return;
        };
        fx.events.push(Event::PublishDenied {
            identity: session.identity.name.to_string(),
            client_id: session.client_id.to_string(),
            address: link.address,
            topic: topic.to_owned(),
            rule: denied.rule.to_string(),
        });
    }

    /// Hands an allowed message to everybody who wants it, here and in other shards.
    ///
    /// A retained message goes by way of the shard that owns its topic, which keeps it and fans it
    /// out: so no subscriber sees an older retained value after a newer live one. What the same
    /// client publishes to that shard's topics meanwhile follows it, and what it published before
    /// has left for every shard when it leaves: so order is kept.
    ///
    /// # Errors
    /// With [`Pause::Peers`] when a shard that wants it has no room and `must` is not set.
    pub(super) fn route(
        &mut self,
        at: SessionIndex,
        publish: &Authorized<Resolved<'_>>,
        terms: Terms,
        must: bool,
        now: Time,
        fx: &mut Effects,
    ) -> Result<Routed, Pause> {
        let topic = publish.get().topic().as_str();
        let (retain, qos) = (publish.get().retain(), publish.get().qos());
        let Some(session) = self.residents.sessions.get(at.get()) else {
            return Ok(Routed::Now(ReasonCode::Success));
        };
        let publisher = Arc::clone(&session.identity.name);
        let from = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        let mut wanting = ShardSet::default();
        if !self.interest.is_alone() {
            if session.follows && !must {
                return Err(Pause::Peers);
            }
            // Whoever never published a retained message has nothing under way by way of any owner.
            let goes_by_owner = retain || !session.via_owner.is_empty();
            let owner = match goes_by_owner {
                true => self.topology.owner(topic),
                false => self.id,
            };
            if owner != self.id && (retain || self.under_way(at, owner) > 0) {
                // What went directly has to be durable before what the owner writes.
                let behind = self.under_way(at, owner) >= VIA_OWNER_MAX || self.unwritten(at) > 0;
                if (behind || self.is_full(owner, fx)) && !must {
                    return Err(Pause::Peers);
                }
                self.follow(at, owner);
                let message = Arc::new(Message::new(publish, &publisher, now));
                let terms = terms.matter().then(|| Box::new(terms));
                let is_awaited = terms.as_ref().is_some_and(|terms| terms.receipt.is_some());
                fx.tell_last(
                    owner,
                    PeerMessage::ViaOwner {
                        message,
                        from,
                        terms,
                    },
                );
                return Ok(match is_awaited {
                    true => Routed::Later(ReasonCode::Success),
                    false => Routed::Now(ReasonCode::Success),
                });
            }
            wanting = self.interest.shards_wanting(topic);
            if wanting.iter().any(|shard| self.is_full(shard, fx)) && !must {
                return Err(Pause::Peers);
            }
        }
        let limits = self.retained_limits();
        let coordinator = self.coordinate(qos);
        let durable_shards = self.durable_shards();
        let (mut delivery, frames, retained) = self.delivery();
        let mut outgoing = Outgoing::of_packet(publish, &publisher, frames, now);
        let mut is_retained = retain;
        if retain {
            let refusal = retained.set(&outgoing.shared(), &limits).err();
            if let Some(refusal) = refusal {
                is_retained = false;
                fx.events.push(retain_refused(&publisher, topic, refusal));
            }
        }
        delivery.residents.takers.coordinator = coordinator;
        let here = delivery.deliver(&mut outgoing, Some(at), fx);
        let reached = here.receivers > 0 || !wanting.is_empty();
        let is_wanted = here.is_wanted || !wanting.is_empty();
        if coordinator.is_none() && !is_retained && wanting.is_empty() && !terms.matter() {
            // Of QoS 0, and for this shard only: the usual case where nothing is stored.
            return Ok(match is_wanted {
                true => Routed::Now(outcome(reached)),
                false => Routed::Nowhere,
            });
        }
        let takers = std::mem::take(&mut delivery.residents.takers);
        let mut asked = 0;
        for shard in wanting.iter() {
            let coordinator = coordinator.filter(|_| durable_shards.contains(shard));
            asked += u32::from(coordinator.is_some());
            fx.tell(
                shard,
                PeerMessage::Deliver {
                    message: outgoing.shared(),
                    from,
                    coordinator,
                },
            );
        }
        let reason = outcome(reached);
        let is_stored = is_retained
            || !takers.list.is_empty()
            || takers.further > 0
            || asked > 0
            || terms.inbound.is_some()
            || terms.will_of.is_some();
        if !is_wanted && !is_stored {
            return Ok(Routed::Nowhere);
        }
        let message = is_stored.then(|| outgoing.shared());
        let (Some(message), Some(_)) = (message, self.keeper.as_ref()) else {
            return Ok(Routed::Now(reason));
        };
        let publication = Publication {
            message,
            takers: takers.list,
            local: takers.local,
            number: self.publication_number(coordinator),
            awaiting: asked,
            dealt: i64::from(takers.further),
            remote: Vec::new(),
            is_retained,
            terms,
            from,
            is_awaited: false,
            is_via_owner: false,
            origin: None,
        };
        if !self.begin_publication(publication, now, fx) {
            return Ok(Routed::Now(reason));
        }
        if let Some(session) = self.residents.sessions.get_mut(at.get()) {
            session.unwritten += 1;
        }
        Ok(Routed::Later(reason))
    }

    fn unwritten(&self, at: SessionIndex) -> u32 {
        self.session(at).map_or(0, |session| session.unwritten)
    }

    /// This shard as the coordinator of a publication, if it is one that durable sessions may take.
    pub(super) fn coordinate(&mut self, qos: QoS) -> Option<Coordinator> {
        let keeper = self.keeper.as_mut()?;
        (qos != QoS::AtMostOnce).then(|| (self.id, keeper.number()))
    }

    /// The number of a publication, whoever asked for it or not.
    pub(super) fn publication_number(&mut self, coordinator: Option<Coordinator>) -> u64 {
        let keeper = self.keeper.as_mut();
        coordinator.map_or_else(
            || keeper.map_or(0, |keeper| keeper.number()),
            |(_, number)| number,
        )
    }

    pub(super) fn durable_shards(&self) -> ShardSet {
        self.keeper
            .as_ref()
            .map_or(ShardSet::default(), |keeper| keeper.durable_shards)
    }

    fn is_full(&self, shard: super::ShardId, fx: &Effects) -> bool {
        fx.waiting_for(shard) >= self.limits.peer_outbox_messages_max
    }

    /// Messages of this client still under way through the shard that owns their topics.
    fn under_way(&self, at: SessionIndex, owner: super::ShardId) -> u32 {
        self.session(at)
            .and_then(|session| session.via_owner.get(owner.index()).copied())
            .unwrap_or(0)
    }

    fn follow(&mut self, at: SessionIndex, owner: super::ShardId) {
        let shards = self.topology.len();
        if let Some(session) = self.residents.sessions.get_mut(at.get()) {
            if session.via_owner.is_empty() {
                session.via_owner = vec![0; shards].into_boxed_slice();
            }
            session.via_owner[owner.index()] += 1;
        }
    }
}

/// What a publisher is told of a message that reached somebody, or nobody.
fn outcome(reached: bool) -> ReasonCode {
    if reached {
        ReasonCode::Success
    } else {
        ReasonCode::NoMatchingSubscribers
    }
}

/// The event for a message that was delivered but not kept.
pub(super) fn retain_refused(publisher: &str, topic: &str, refusal: RetainRefusal) -> Event {
    let limit = match refusal {
        RetainRefusal::TooMany => "retained_messages_max",
        RetainRefusal::TooLarge => "retained_bytes_max",
        RetainRefusal::TooManyOfIdentity => "retained_per_identity_max",
    };
    Event::RetainRefused {
        identity: publisher.to_owned(),
        topic: topic.to_owned(),
        limit: limit.to_owned(),
    }
}
