//! An allowed message on its way to whoever wants it: here, in other shards, and in the store.

use std::sync::Arc;

use moat_codec::{QoS, ReasonCode, Resolved};
use moat_events::Event;
use moat_policy::Authorized;

use super::publication::{Coordinator, Publication, Terms};
use super::receive::Pause;
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::effects::Effects;
use crate::message::{Message, Outgoing};
use crate::router::{RetainRefusal, ShardSet};
use crate::session::SessionIndex;
use crate::time::Time;

/// Messages of one session under way through one owning shard; more pause its client. The owner
/// confirms only once every shard has room for them, so this bounds what a slow one piles up there.
pub const VIA_OWNER_MAX: u32 = 1024;

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

/// A message to be routed.
struct Routing<'a> {
    publish: &'a Authorized<Resolved<'a>>,
    publisher: Arc<str>,
    from: SessionRef,
    terms: Terms,
    now: Time,
}

impl Shard {
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
        let Some(session) = self.residents.sessions.get(at.get()) else {
            return Ok(Routed::Now(ReasonCode::Success));
        };
        let routing = Routing {
            publish,
            publisher: Arc::clone(&session.identity.name),
            from: SessionRef {
                shard: self.id,
                session: at,
                generation: session.generation,
            },
            terms,
            now,
        };
        let mut wanting = ShardSet::default();
        if !self.interest.is_alone() {
            if session.follows && !must {
                return Err(Pause::Peers);
            }
            // Whoever never published a retained message has nothing under way by way of any owner.
            let goes_by_owner = publish.get().retain() || !session.via_owner.is_empty();
            let topic = publish.get().topic().as_str();
            let owner = match goes_by_owner {
                true => self.topology.owner(topic),
                false => self.id,
            };
            if owner != self.id && (publish.get().retain() || self.under_way(at, owner) > 0) {
                return self.route_by_owner(routing, owner, must, fx);
            }
            wanting = self.interest.shards_wanting(topic);
            if wanting.iter().any(|shard| self.is_full(shard, fx)) && !must {
                return Err(Pause::Peers);
            }
        }
        Ok(self.route_from_here(routing, wanting, fx))
    }

    /// Leaves all of it to the shard that owns the topic.
    fn route_by_owner(
        &mut self,
        routing: Routing<'_>,
        owner: ShardId,
        must: bool,
        fx: &mut Effects,
    ) -> Result<Routed, Pause> {
        let from = routing.from;
        let at = from.session;
        // What went directly has to be durable before what the owner writes.
        let behind = self.under_way(at, owner) >= VIA_OWNER_MAX || self.unwritten(at) > 0;
        if (behind || self.is_full(owner, fx)) && !must {
            return Err(Pause::Peers);
        }
        self.follow(at, owner);
        let is_awaited = routing.terms.receipt.is_some();
        let message = Message::new(routing.publish, &routing.publisher, routing.now);
        let terms = routing.terms;
        fx.tell_last(
            owner,
            PeerMessage::ViaOwner {
                message: Arc::new(message),
                from,
                terms: terms.matter().then(|| Box::new(terms)),
            },
        );
        Ok(match is_awaited {
            true => Routed::Later(ReasonCode::Success),
            false => Routed::Now(ReasonCode::Success),
        })
    }

    /// Keeps it if it is retained, delivers it here, tells the shards in `wanting`, and has the store keep what is durable of it.
    fn route_from_here(
        &mut self,
        routing: Routing<'_>,
        wanting: ShardSet,
        fx: &mut Effects,
    ) -> Routed {
        let Routing {
            publish,
            publisher,
            from,
            terms,
            now,
        } = routing;
        let limits = self.retained_limits();
        let coordinator = self.coordinate(publish.get().qos());
        let (mut delivery, frames, retained) = self.delivery();
        let mut outgoing = Outgoing::of_packet(publish, &publisher, frames, now);
        let mut is_retained = publish.get().retain();
        if is_retained {
            let refusal = retained.set(&outgoing.shared(), &limits).err();
            if let Some(refusal) = refusal {
                is_retained = false;
                fx.events
                    .push(retain_refused(&publisher, outgoing.topic(), refusal));
            }
        }
        delivery.residents.takers.coordinator = coordinator;
        let here = delivery.deliver(&mut outgoing, Some(from.session), fx);
        let is_wanted = here.is_wanted || !wanting.is_empty();
        let reason = outcome(here.receivers > 0 || !wanting.is_empty());
        if coordinator.is_none() && !is_retained && wanting.is_empty() && !terms.matter() {
            // Of QoS 0, and for this shard only: the usual case where nothing is stored.
            return match is_wanted {
                true => Routed::Now(reason),
                false => Routed::Nowhere,
            };
        }
        let takers = std::mem::take(&mut delivery.residents.takers);
        let durable_shards = delivery.durable_shards;
        let asked = tell_wanting(
            || outgoing.shared(),
            from,
            coordinator,
            wanting,
            durable_shards,
            fx,
        );
        let is_stored = is_retained
            || takers.matter()
            || asked > 0
            || terms.inbound.is_some()
            || terms.will_of.is_some();
        if !is_wanted && !is_stored {
            return Routed::Nowhere;
        }
        let message = is_stored.then(|| outgoing.shared());
        let (Some(message), Some(_)) = (message, self.keeper.as_ref()) else {
            return Routed::Now(reason);
        };
        let number = self.publication_number(coordinator);
        let mut publication = Publication::new(message, takers, asked, number, terms, from);
        publication.is_retained = is_retained;
        if !self.begin_publication(publication, now, fx) {
            return Routed::Now(reason);
        }
        if let Some(session) = self.residents.sessions.get_mut(from.session.get()) {
            session.unwritten += 1;
        }
        Routed::Later(reason)
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

    fn is_full(&self, shard: ShardId, fx: &Effects) -> bool {
        fx.waiting_for(shard) >= self.limits.peer_outbox_messages_max
    }

    /// Messages of this client still under way through the shard that owns their topics.
    fn under_way(&self, at: SessionIndex, owner: ShardId) -> u32 {
        self.session(at)
            .and_then(|session| session.via_owner.get(owner.index()).copied())
            .unwrap_or(0)
    }

    fn follow(&mut self, at: SessionIndex, owner: ShardId) {
        let shards = self.topology.len();
        if let Some(session) = self.residents.sessions.get_mut(at.get()) {
            if session.via_owner.is_empty() {
                session.via_owner = vec![0; shards].into_boxed_slice();
            }
            session.via_owner[owner.index()] += 1;
        }
    }
}

/// Tells the other shards that want a message. Returns how many of them have to answer.
pub(super) fn tell_wanting(
    mut message: impl FnMut() -> Arc<Message>,
    from: SessionRef,
    coordinator: Option<Coordinator>,
    wanting: ShardSet,
    durable_shards: ShardSet,
    fx: &mut Effects,
) -> u32 {
    let mut asked = 0;
    for shard in wanting.iter() {
        let coordinator = coordinator.filter(|_| durable_shards.contains(shard));
        asked += u32::from(coordinator.is_some());
        fx.tell(
            shard,
            PeerMessage::Deliver {
                message: message(),
                from,
                coordinator,
            },
        );
    }
    asked
}

/// What a publisher is told of a message that reached somebody, or nobody.
pub(super) fn outcome(reached: bool) -> ReasonCode {
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
