//! What shards say to each other, each pair in order.

use std::sync::Arc;

use moat_codec::QoS;

use super::publication::{Asked, Coordinator, Publication, Terms};
use super::route::{retain_refused, tell_wanting};
use super::search::{Search, SearchPart};
use super::share::ShareMessage;
use super::{Shard, ShardId};
use crate::durable::{Place, Position, Taker};
use crate::effects::Effects;
use crate::message::{Message, Outgoing};
use crate::session::SessionIndex;
use crate::time::Time;

/// A session of one shard, as another shard names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionRef {
    /// Its home.
    pub shard: ShardId,
    /// Its place there.
    pub session: SessionIndex,
    /// Tells it from a later session in the same place.
    pub generation: u32,
}

/// A message from one shard to another.
#[derive(Debug)]
pub enum PeerMessage {
    /// A publication somebody in the other shard wants.
    Deliver {
        /// The publication.
        message: Arc<Message>,
        /// Whose it is.
        from: SessionRef,
        /// Who wants to know which durable sessions take it, if somebody does.
        coordinator: Option<Coordinator>,
    },
    /// A publication for the shard that owns its topic: to be kept if it is retained, and fanned out.
    ViaOwner {
        /// The publication.
        message: Arc<Message>,
        /// Whose it is.
        from: SessionRef,
        /// What else it changes, and who waits for it.
        terms: Option<Box<Terms>>,
    },
    /// The sending shard has durable sessions, and wants to be asked who takes a publication.
    KeepsSessions,
    /// The durable takers of a publication in the sending shard.
    Takers {
        /// The coordinator's number of the publication.
        number: u64,
        /// What it was asked for.
        asked: Asked,
        /// The takers.
        takers: Vec<Taker>,
        /// Members of groups in other shards that it was dealt to, and who answer by themselves.
        further: u32,
    },
    /// A publication that the sending shard coordinates is durable.
    Stored {
        /// Its number there.
        number: u64,
        /// Its record.
        position: Position,
        /// The publication.
        message: Arc<Message>,
    },
    /// A publication that went by way of the sending shard is durable.
    Acknowledged {
        /// Whose it is.
        session: SessionRef,
        /// What its home calls it.
        receipt: u64,
    },
    /// A value of the broker itself, for the shard that owns its topic.
    System {
        /// The value.
        message: Arc<Message>,
    },
    /// A value of the broker itself that somebody in the other shard wants.
    SystemDeliver {
        /// The value.
        message: Arc<Message>,
    },
    /// A [`PeerMessage::ViaOwner`] of this session has reached the inbox of every shard that wants it.
    OwnerDone {
        /// Whose message it was.
        session: SessionRef,
    },
    /// The sending shard wants a filter (`ticket` asks for confirmation), or no longer does.
    Interest {
        /// The filter.
        filter: Box<str>,
        /// What the confirmation carries; `None` takes the interest back.
        ticket: Option<u64>,
    },
    /// About a group of a shared subscription.
    Share {
        /// Its filter, `$share/GROUP/` included.
        filter: Arc<str>,
        /// What there is to say.
        what: ShareMessage,
    },
    /// An entry that a session gave back to its group is somebody else's, or nobody's.
    Moved {
        /// The session.
        session: SessionRef,
        /// The entry's place in its queue.
        place: Place,
        /// Its record, if nobody has it any more.
        released: Option<Position>,
    },
    /// The interest of this ticket has been applied.
    InterestApplied {
        /// The ticket.
        ticket: u64,
    },
    /// A new subscription wants the retained messages owned by the other shard.
    RetainedWanted {
        /// What it wants, and where to go on.
        search: Box<Search>,
        /// Whose it is.
        to: SessionRef,
    },
    /// What the other shard has retained for it.
    RetainedFound {
        /// What is left of the search.
        search: SearchPart,
        /// Whose it is.
        to: SessionRef,
        /// The messages.
        messages: Vec<Arc<Message>>,
    },
}

impl Shard {
    /// Handles what another shard says.
    pub fn peer(&mut self, from: ShardId, message: PeerMessage, now: Time, fx: &mut Effects) {
        match message {
            PeerMessage::Deliver {
                message,
                from,
                coordinator,
            } => {
                let is_publisher = from.shard == self.id
                    && self.residents.same(from.session, from.generation).is_some();
                let publisher = is_publisher.then_some(from.session);
                let (mut delivery, frames, _) = self.delivery();
                let mut outgoing = Outgoing::of_message(&message, frames, now);
                delivery.residents.takers.coordinator = coordinator;
                delivery.deliver(&mut outgoing, publisher, fx);
                self.tell_takers(Asked::Shard, &message, now, fx);
                self.frames.give_back(message);
            }
            PeerMessage::ViaOwner {
                message,
                from,
                terms,
            } => self.as_owner(&message, from, terms, now, fx),
            PeerMessage::KeepsSessions => {
                if let Some(keeper) = &mut self.keeper {
                    keeper.durable_shards.insert(from);
                }
            }
            PeerMessage::Takers {
                number,
                asked,
                takers,
                further,
            } => {
                let local = Vec::new();
                self.on_takers(Some(from), number, asked, takers, local, further, now, fx);
            }
            PeerMessage::Stored {
                number,
                position,
                message,
            } => self.on_stored((from, number), position, &message, now, fx),
            PeerMessage::Acknowledged { session, receipt } => {
                self.acknowledged(session, receipt, now, fx);
            }
            PeerMessage::System { message } => self.own_system(&message, now, fx),
            PeerMessage::SystemDeliver { message } => self.fan_out_system(&message, now, fx),
            PeerMessage::OwnerDone { session } => self.owner_done(from, session),
            PeerMessage::Interest { filter, ticket } => {
                self.interest.apply(from, &filter, ticket.is_some());
                if let Some(ticket) = ticket {
                    fx.tell(from, PeerMessage::InterestApplied { ticket });
                }
            }
            PeerMessage::Share { filter, what } => self.on_share(from, &filter, what, now, fx),
            PeerMessage::Moved {
                session,
                place,
                released,
            } => self.moved_from(session, place, released, fx),
            PeerMessage::InterestApplied { ticket } => {
                if self.interest.confirm(ticket) {
                    self.ticket_confirmed(ticket, now, fx);
                }
            }
            PeerMessage::RetainedWanted { search, to } => self.search_wanted(search, to, now, fx),
            PeerMessage::RetainedFound {
                search,
                to,
                messages,
            } => self.search_answered(to, search, messages, now, fx),
        }
    }

    /// Keeps and fans out a message of a topic this shard owns.
    fn as_owner(
        &mut self,
        message: &Arc<Message>,
        from: SessionRef,
        terms: Option<Box<Terms>>,
        now: Time,
        fx: &mut Effects,
    ) {
        let mut is_retained = message.retain;
        if message.retain {
            let limits = self.retained_limits();
            if let Err(refusal) = self.retained.set(message, &limits) {
                is_retained = false;
                fx.events
                    .push(retain_refused(&message.publisher, message.topic(), refusal));
            }
        }
        let coordinator = self.coordinate(message.qos);
        let durable_shards = self.durable_shards();
        let wanting = self.interest.shards_wanting(message.topic());
        let asked = tell_wanting(
            || Arc::clone(message),
            from,
            coordinator,
            wanting,
            durable_shards,
            fx,
        );
        let (mut delivery, frames, _) = self.delivery();
        let mut outgoing = Outgoing::of_message(message, frames, now);
        delivery.residents.takers.coordinator = coordinator;
        delivery.deliver(&mut outgoing, None, fx);
        // What follows it from the same client must not be durable before it is.
        let is_stored = self.keeper.is_some() && message.qos != QoS::AtMostOnce;
        if self.keeper.is_some() {
            let takers = std::mem::take(&mut self.residents.takers);
            let number = self.publication_number(coordinator);
            let terms = terms.map(|terms| *terms).unwrap_or_default();
            let message = Arc::clone(message);
            let mut publication = Publication::new(message, takers, asked, number, terms, from);
            publication.is_retained = is_retained;
            publication.is_awaited = true;
            publication.is_via_owner = is_stored;
            self.begin_publication(publication, now, fx);
        }
        if !is_stored {
            fx.tell_last(from.shard, PeerMessage::OwnerDone { session: from });
        }
    }

    fn owner_done(&mut self, owner: ShardId, session: SessionRef) {
        self.residents.arrived(session, |session| {
            if let Some(under_way) = session.via_owner.get_mut(owner.index()) {
                *under_way = under_way.saturating_sub(1);
            }
        });
    }
}
