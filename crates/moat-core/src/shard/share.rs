//! Shared subscriptions between the shard that deals for a group and the homes of its members (4.8.2).
//!
//! A home tells the owner who joins, goes offline, leaves, and how much more it takes; the owner deals.
//! What a member never sent goes back to the group when its connection ends, what it sent and had no
//! PUBACK for when its session ends; of QoS 2 nothing that was sent ever goes to another [MQTT-4.8.2-5].

use std::sync::Arc;

use moat_codec::Subscription;

use super::delivery::lost;
use super::publication::{Asked, Coordinator, Origin};
use super::residents::Dealt;
use super::subscribe::Waiting;
use super::{PeerMessage, SessionRef, Shard, ShardId};
use crate::durable::{Place, Position};
use crate::effects::Effects;
use crate::message::{Message, Outgoing};
use crate::router::shared::{Group, Member, inner};
use crate::session::SessionIndex;
use crate::session::parcel::Parcel;
use crate::time::Time;

/// What a home and an owner say to each other about one group.
#[derive(Debug)]
pub enum ShareMessage {
    /// A member joins, or joins again under other terms.
    Join {
        /// The member.
        member: Box<Member>,
        /// What the confirmation carries, if one is asked for.
        ticket: Option<u64>,
    },
    /// A member is offline.
    Away {
        /// The member.
        session: SessionRef,
    },
    /// A member is gone for good.
    Leave {
        /// The member.
        session: SessionRef,
    },
    /// A member takes more messages.
    Credit {
        /// The member.
        session: SessionRef,
        /// The joining it counts for.
        epoch: u32,
        /// QoS 1 and 2 messages it takes besides those it was said to take before.
        more: u16,
    },
    /// A message that was dealt and never sent, or lost with a session at QoS 1.
    Returned {
        /// The message.
        message: Arc<Message>,
        /// How often it was dealt.
        deals: u8,
        /// The member whose client does not read, if that is why.
        congested: Option<SessionRef>,
        /// Who waits to know which durable session takes it, if somebody does.
        coordinator: Option<Coordinator>,
        /// Where it is in the store, if it is there.
        origin: Option<Box<Origin>>,
    },
    /// An entry that was dealt is in the store as somebody else's.
    Moved {
        /// Its place in the group's queue.
        place: Place,
        /// Its record, if nobody has it any more.
        released: Option<Position>,
    },
    /// A message for a member.
    Deal {
        /// The member.
        to: SessionRef,
        /// The joining whose credit it costs.
        epoch: u32,
        /// The message.
        message: Arc<Message>,
        /// How often it was dealt before.
        deals: u8,
        /// Who waits to know which durable session takes it, if somebody does.
        coordinator: Option<Coordinator>,
        /// Where it is in the store, if it is there.
        origin: Option<Box<Origin>>,
    },
}

impl Shard {
    /// A granted shared subscription: enters the group. Returns the ticket its SUBACK waits for.
    pub(super) fn subscribe_shared(
        &mut self,
        at: SessionIndex,
        subscription: &Subscription<'_>,
        id: Option<core::num::NonZeroU32>,
        judged_at_delivery: bool,
        now: Time,
        fx: &mut Effects,
    ) -> Option<u64> {
        let filter = subscription.filter.as_str();
        let owner = self.topology.owner(filter);
        let session = self.residents.sessions.get_mut(at.get())?;
        session.subscriptions.insert(filter);
        let shares = session.shares.get_or_insert_default();
        let divisor = shares.divisor();
        let member = shares.enter(filter, owner);
        member.options = subscription.options;
        member.id = id;
        member.judged_at_delivery = judged_at_delivery;
        if shares.divisor() != divisor {
            // The other groups get to know that this one shares its session's limits with them.
            self.join_all(at, now, fx);
        }
        if owner == self.id {
            return self.join(at, filter, None, now, fx);
        }
        let ticket = self.interest.expect_answer();
        self.join(at, filter, Some(ticket), now, fx);
        Some(ticket)
    }

    /// Tells the owner of a group about a member of this shard, from the beginning. Returns the ticket
    /// of the group's interest, if this shard is the owner and others have yet to confirm it.
    pub(super) fn join(
        &mut self,
        at: SessionIndex,
        filter: &str,
        ticket: Option<u64>,
        now: Time,
        fx: &mut Effects,
    ) -> Option<u64> {
        let session = self.residents.sessions.get_mut(at.get())?;
        let is_online = session.link.is_some();
        let window = session.link.as_ref().map_or(0, |link| link.receive_maximum);
        let is_durable = session.durable.is_some();
        let shares = session.shares.as_mut()?;
        let divisor = shares.divisor();
        let membership = shares.of(filter)?;
        let credit = membership.join(window);
        let member = Member {
            session: SessionRef {
                shard: self.id,
                session: at,
                generation: session.generation,
            },
            identity: Arc::clone(&session.identity),
            client_id: session.client_id.clone(),
            qos: membership.options.qos,
            judged_at_delivery: membership.judged_at_delivery,
            epoch: membership.epoch,
            credit,
            divisor,
            is_online,
            is_durable,
        };
        let (owner, filter) = (membership.owner, Arc::clone(membership.filter()));
        if owner == self.id {
            return self.seat(&filter, member, now, fx);
        }
        let member = Box::new(member);
        let what = ShareMessage::Join { member, ticket };
        fx.tell(owner, PeerMessage::Share { filter, what });
        None
    }

    /// A session is online again: all its groups may deal to it.
    pub(super) fn join_all(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        for filter in self.groups_of(at) {
            self.join(at, &filter, None, now, fx);
        }
    }

    /// A session has lost its connection: nothing is dealt to it, and what it was never sent goes back.
    pub(super) fn away(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        for filter in self.groups_of(at) {
            self.say_of_share(
                at,
                &filter,
                |session| ShareMessage::Away { session },
                now,
                fx,
            );
        }
        self.return_unsent(at, |_| true, now, fx);
    }

    /// A session gives up a shared subscription. What it was never sent goes back to the group.
    pub(super) fn leave(&mut self, at: SessionIndex, filter: &str, now: Time, fx: &mut Effects) {
        self.say_of_share(
            at,
            filter,
            |session| ShareMessage::Leave { session },
            now,
            fx,
        );
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let mut others_have_more = false;
        if let Some(shares) = session.shares.as_mut() {
            let divisor = shares.divisor();
            shares.remove(filter);
            others_have_more = shares.divisor() != divisor;
            if shares.is_empty() {
                session.shares = None;
            }
        }
        let of_this = |parcel: &Parcel| {
            let share = parcel.share.as_ref();
            share.is_some_and(|share| *share.filter == *filter)
        };
        self.return_unsent(at, of_this, now, fx);
        if others_have_more {
            self.join_all(at, now, fx);
        }
    }

    /// Tells the owners of a session's groups how much more it takes, when that is worth a message.
    pub(super) fn report_credit(&mut self, at: SessionIndex, now: Time, fx: &mut Effects) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let (Some(shares), Some(link)) = (session.shares.as_mut(), session.link.as_deref()) else {
            return;
        };
        let room = link.out.len() < self.limits.out_buffer_bytes_max;
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        let mut reports = Vec::new();
        for member in shares.iter_mut() {
            let reads_again = room && std::mem::take(&mut member.is_congested);
            let more = member.more_credit(link.receive_maximum);
            if more.is_some() || reads_again {
                let what = ShareMessage::Credit {
                    session: to,
                    epoch: member.epoch,
                    more: more.unwrap_or(0),
                };
                reports.push((member.owner, Arc::clone(member.filter()), what));
            }
        }
        for (owner, filter, what) in reports {
            self.tell_share(owner, &filter, what, now, fx);
        }
    }

    /// Handles what another shard, or this one, says about a group.
    pub(super) fn on_share(
        &mut self,
        from: ShardId,
        filter: &Arc<str>,
        what: ShareMessage,
        now: Time,
        fx: &mut Effects,
    ) {
        match what {
            ShareMessage::Join { member, ticket } => {
                let waits_for = self.seat(filter, *member, now, fx);
                let Some(theirs) = ticket else { return };
                match waits_for {
                    None => fx.tell(from, PeerMessage::InterestApplied { ticket: theirs }),
                    Some(ours) => {
                        let waiting = Waiting::Join {
                            home: from,
                            ticket: theirs,
                        };
                        self.waiting.entry(ours).or_default().push(waiting);
                    }
                }
            }
            ShareMessage::Away { session } => self.with_group(filter, |group| group.away(session)),
            ShareMessage::Leave { session } => self.unseat(filter, session, fx),
            ShareMessage::Credit {
                session,
                epoch,
                more,
            } => {
                self.with_group(filter, |group| group.credit(session, epoch, more));
                self.deal_waiting(filter, now, fx);
            }
            ShareMessage::Returned {
                message,
                deals,
                congested,
                coordinator,
                origin,
            } => {
                if let Some(session) = congested {
                    self.with_group(filter, |group| group.congested(session));
                }
                self.deal_again(filter, &message, deals, coordinator, origin, now, fx);
            }
            ShareMessage::Moved { place, released } => self.moved(filter, place, released, fx),
            ShareMessage::Deal {
                to,
                epoch,
                message,
                deals,
                coordinator,
                origin,
            } => {
                self.residents.takers.coordinator = coordinator;
                self.residents.takers.origin = origin;
                self.dealt(from, filter, to, epoch, &message, deals, now, fx);
            }
        }
    }

    /// Gives a member its place. Returns the ticket of the group's interest while it is not known
    /// everywhere.
    fn seat(
        &mut self,
        filter: &Arc<str>,
        member: Member,
        now: Time,
        fx: &mut Effects,
    ) -> Option<u64> {
        let is_durable = member.is_durable;
        let is_new = self.shared.join(filter, member);
        if is_durable {
            self.keep_group(filter, fx);
        }
        let ticket = self.announce(inner(filter), !is_new, fx);
        self.deal_waiting(filter, now, fx);
        self.trim_waiting(filter, fx);
        ticket
    }

    /// A group may hold less since one of its members left or has come to more groups.
    fn trim_waiting(&mut self, filter: &str, fx: &mut Effects) {
        let (delivery, ..) = self.delivery();
        let found = delivery.shared.find(filter);
        if let Some(group) = found.and_then(|at| delivery.shared.group(at)) {
            let gone = group.trim(delivery.limits);
            let counters = &mut delivery.residents.counters;
            lost(group, gone, counters, "queue full", fx);
        }
    }

    fn unseat(&mut self, filter: &str, session: SessionRef, fx: &mut Effects) {
        if let Some(group) = self.shared.leave(filter, session) {
            self.end_group(group, fx);
            self.take_back_interest(inner(filter), fx);
        }
        self.trim_waiting(filter, fx);
    }

    /// Deals what waits in a group, as far as its members have credit.
    pub(super) fn deal_waiting(&mut self, filter: &str, now: Time, fx: &mut Effects) {
        let (mut delivery, frames, _) = self.delivery();
        let taken = match delivery.shared.find(filter) {
            Some(group) => delivery.deal_waiting(group, frames, now, fx),
            None => return,
        };
        for (message, takers) in taken {
            self.write_alone(message, takers, now, fx);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn deal_again(
        &mut self,
        filter: &str,
        message: &Arc<Message>,
        deals: u8,
        coordinator: Option<Coordinator>,
        origin: Option<Box<Origin>>,
        now: Time,
        fx: &mut Effects,
    ) {
        let (mut delivery, frames, _) = self.delivery();
        let mut outgoing = Outgoing::of_message(message, frames, now).for_one();
        delivery.residents.takers.coordinator = coordinator;
        delivery.residents.takers.origin = origin;
        match delivery.shared.find(filter) {
            Some(group) => {
                delivery.deal(group, &mut outgoing, deals, fx);
            }
            None => delivery.residents.counters.messages_dropped_total += 1,
        }
        self.tell_takers(Asked::Deal, message, now, fx);
    }

    /// A message for a session of this shard; it goes back if that cannot take it.
    #[expect(clippy::too_many_arguments, reason = "the fields of one message")]
    fn dealt(
        &mut self,
        owner: ShardId,
        filter: &Arc<str>,
        to: SessionRef,
        epoch: u32,
        message: &Arc<Message>,
        deals: u8,
        now: Time,
        fx: &mut Effects,
    ) {
        let mut outgoing = Outgoing::of_message(message, &mut self.frames, now).for_one();
        let dealt =
            self.residents
                .deliver_dealt(to, filter, epoch, &mut outgoing, &self.limits, fx);
        if dealt == Dealt::Taken {
            self.tell_takers(Asked::Deal, message, now, fx);
            return;
        }
        let takers = std::mem::take(&mut self.residents.takers);
        let what = ShareMessage::Returned {
            message: Arc::clone(message),
            deals: deals.saturating_add(1),
            congested: (dealt == Dealt::Congested).then_some(to),
            coordinator: takers.coordinator,
            origin: takers.origin,
        };
        self.tell_share(owner, filter, what, now, fx);
    }

    fn say_of_share(
        &mut self,
        at: SessionIndex,
        filter: &str,
        what: impl FnOnce(SessionRef) -> ShareMessage,
        now: Time,
        fx: &mut Effects,
    ) {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return;
        };
        let to = SessionRef {
            shard: self.id,
            session: at,
            generation: session.generation,
        };
        let Some(member) = session.shares.as_mut().and_then(|shares| shares.of(filter)) else {
            return;
        };
        let (owner, filter) = (member.owner, Arc::clone(member.filter()));
        self.tell_share(owner, &filter, what(to), now, fx);
    }

    pub(super) fn tell_share(
        &mut self,
        owner: ShardId,
        filter: &Arc<str>,
        what: ShareMessage,
        now: Time,
        fx: &mut Effects,
    ) {
        if owner == self.id {
            self.on_share(owner, filter, what, now, fx);
        } else {
            let filter = Arc::clone(filter);
            fx.tell(owner, PeerMessage::Share { filter, what });
        }
    }

    fn with_group(&mut self, filter: &str, act: impl FnOnce(&mut Group)) {
        if let Some(group) = self
            .shared
            .find(filter)
            .and_then(|at| self.shared.group(at))
        {
            act(group);
        }
    }

    fn groups_of(&mut self, at: SessionIndex) -> Vec<Arc<str>> {
        let Some(session) = self.residents.sessions.get_mut(at.get()) else {
            return Vec::new();
        };
        session.shares.as_mut().map_or_else(Vec::new, |shares| {
            shares
                .iter_mut()
                .map(|member| Arc::clone(member.filter()))
                .collect()
        })
    }
}
