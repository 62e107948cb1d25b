//! What shards say to each other, each pair in order.

use std::sync::Arc;

use super::publish::retain_refused;
use super::share::ShareMessage;
use super::subscribe::RetainedWish;
use super::{Shard, ShardId};
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
    },
    /// A publication for the shard that owns its topic: to be kept if it is retained, and fanned out.
    ViaOwner {
        /// The publication.
        message: Arc<Message>,
        /// Whose it is.
        from: SessionRef,
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
    /// The interest of this ticket has been applied.
    InterestApplied {
        /// The ticket.
        ticket: u64,
    },
    /// A new subscription wants the retained messages owned by the other shard.
    RetainedWanted {
        /// What it wants.
        wish: RetainedWish,
        /// Whose it is.
        to: SessionRef,
    },
    /// What the other shard has retained for it.
    RetainedFound {
        /// What was wanted.
        wish: RetainedWish,
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
            PeerMessage::Deliver { message, from } => {
                let is_publisher = from.shard == self.id
                    && self.residents.same(from.session, from.generation).is_some();
                let publisher = is_publisher.then_some(from.session);
                let (mut delivery, frames, _) = self.delivery();
                let mut outgoing = Outgoing::of_message(&message, frames, now);
                delivery.deliver(&mut outgoing, publisher, fx);
            }
            PeerMessage::ViaOwner { message, from } => self.as_owner(&message, from, now, fx),
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
            PeerMessage::InterestApplied { ticket } => {
                if self.interest.confirm(ticket) {
                    self.ticket_confirmed(ticket, now, fx);
                }
            }
            PeerMessage::RetainedWanted { wish, to } => {
                let messages = self.retained_matching(&wish.filter, now);
                if !messages.is_empty() {
                    fx.tell(from, PeerMessage::RetainedFound { wish, to, messages });
                }
            }
            PeerMessage::RetainedFound { wish, to, messages } => {
                self.owe_retained(to, &wish, messages, now, fx);
            }
        }
    }

    /// Keeps and fans out a message of a topic this shard owns.
    fn as_owner(&mut self, message: &Arc<Message>, from: SessionRef, now: Time, fx: &mut Effects) {
        if message.retain {
            let limits = self.retained_limits();
            if let Err(refusal) = self.retained.set(message, &limits) {
                fx.events
                    .push(retain_refused(&message.publisher, message.topic(), refusal));
            }
        }
        let wanting = self.interest.shards_wanting(message.topic());
        for shard in wanting.iter() {
            fx.tell(
                shard,
                PeerMessage::Deliver {
                    message: Arc::clone(message),
                    from,
                },
            );
        }
        let (mut delivery, frames, _) = self.delivery();
        let mut outgoing = Outgoing::of_message(message, frames, now);
        delivery.deliver(&mut outgoing, None, fx);
        fx.tell_last(from.shard, PeerMessage::OwnerDone { session: from });
    }

    fn owner_done(&mut self, owner: ShardId, session: SessionRef) {
        let Some(session) = self.residents.same(session.session, session.generation) else {
            return;
        };
        if let Some(under_way) = session.via_owner.get_mut(owner.index()) {
            *under_way = under_way.saturating_sub(1);
        }
    }
}
