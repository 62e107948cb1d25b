//! A message reaches those of this shard who want it: each subscriber, and one member of each group.

use std::sync::Arc;

use moat_codec::{QoS, TopicName};
use moat_events::Event;
use moat_policy::Snapshot;

use super::publication::{Holder, Local, Origin, Takers};
use super::residents::{Dealt, Residents};
use super::share::ShareMessage;
use super::{PeerMessage, Shard, ShardId};
use crate::counters::Counters;
use crate::durable::{Load, LoadFor, Place, QueueId, Taker};
use crate::effects::Effects;
use crate::limits::Limits;
use crate::message::{FrameCache, Message, Outgoing};
use crate::router::shared::{Choice, DEALS_MAX, Group, GroupIndex, Member, Waits};
use crate::router::{Retained, ShardSet, Shared};
use crate::session::SessionIndex;
use crate::session::parcel::SubscriptionIdList;
use crate::time::Time;

/// The parts of a shard that a delivery needs, apart from those the message borrows.
pub(super) struct Delivery<'a> {
    here: ShardId,
    pub(super) residents: &'a mut Residents,
    pub(super) shared: &'a mut Shared,
    policy: &'a Snapshot,
    pub(super) limits: &'a Limits,
    pub(super) durable_shards: ShardSet,
}

/// Whom a message has reached here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reached {
    /// Sessions and groups.
    pub(super) receivers: usize,
    /// Whether any filter matches, even if none of those who have it may or can receive.
    pub(super) is_wanted: bool,
}

impl Shard {
    /// What delivers, what the message is encoded with, and what keeps it if it is retained.
    pub(super) fn delivery(&mut self) -> (Delivery<'_>, &mut FrameCache, &mut Retained) {
        let durable_shards = self.durable_shards();
        let delivery = Delivery {
            here: self.id,
            residents: &mut self.residents,
            shared: &mut self.shared,
            policy: &self.policy,
            limits: &self.limits,
            durable_shards,
        };
        (delivery, &mut self.frames, &mut self.retained)
    }
}

impl Delivery<'_> {
    /// Delivers to every subscriber and deals to every group that matches.
    pub(super) fn deliver(
        &mut self,
        message: &mut Outgoing<'_>,
        from: Option<SessionIndex>,
        fx: &mut Effects,
    ) -> Reached {
        let reached = self
            .residents
            .fan_out(message, from, self.policy, self.limits, fx);
        if self.shared.is_empty() {
            return reached;
        }
        let groups = self.shared.matching(message.topic());
        let is_wanted = reached.is_wanted || !groups.is_empty();
        let taken = groups
            .iter()
            .filter(|group| self.deal(**group, message, 0, fx))
            .count();
        self.shared.give_back(groups);
        Reached {
            receivers: reached.receivers + taken,
            is_wanted,
        }
    }

    /// Deals one message, dealt `deals` times before, to a member of the group, or lets it wait there.
    /// Returns whether the group has it.
    pub(super) fn deal(
        &mut self,
        at: GroupIndex,
        message: &mut Outgoing<'_>,
        deals: u8,
        fx: &mut Effects,
    ) -> bool {
        let (policy, limits) = (self.policy, self.limits);
        // Each round ends here or makes one member unavailable, so there are no more than members.
        loop {
            let Some(group) = self.shared.group(at) else {
                return false;
            };
            let may = |member: &Member| may_receive(policy, limits, member, message.topic());
            let choice = match group.choose(message.qos, may) {
                // A message that nobody will acknowledge is not worth going round for ever.
                Choice::Member(member)
                    if deals >= DEALS_MAX && group.grants_at_most_once(member, message.qos) =>
                {
                    Choice::Nobody
                }
                choice => choice,
            };
            match choice {
                Choice::Member(member) => {
                    if self.give(at, member, message, deals, fx) {
                        return true;
                    }
                }
                Choice::Later => {
                    let waits = group.wait(message.shared(), deals, limits);
                    match waits {
                        Waits::Here => {}
                        Waits::No => {
                            lost(group, 1, &mut self.residents.counters, "queue full", fx);
                        }
                        Waits::Stored(queue, place) => {
                            let filter = Arc::clone(group.filter());
                            self.note_waiting(queue, place, filter, message);
                        }
                    }
                    return waits != Waits::No;
                }
                Choice::Nobody => {
                    self.residents.counters.messages_dropped_total += 1;
                    return false;
                }
            }
        }
    }

    /// A durable group has a message that nobody takes now.
    fn note_waiting(
        &mut self,
        queue: QueueId,
        place: Place,
        filter: Arc<str>,
        message: &Outgoing<'_>,
    ) {
        let takers = &mut self.residents.takers;
        takers.list.push(Taker {
            queue,
            place,
            qos: message.qos,
            retain: message.retain,
            ids: SubscriptionIdList::None,
            group: None,
        });
        takers.local.push(Local {
            holder: Holder::Group(self.here, filter),
            place,
        });
    }

    /// Deals what waits in a group, as far as its members have credit. Returns the messages that durable sessions have taken.
    pub(super) fn deal_waiting(
        &mut self,
        at: GroupIndex,
        frames: &mut FrameCache,
        now: Time,
        fx: &mut Effects,
    ) -> Vec<(Arc<Message>, Takers)> {
        let (policy, limits) = (self.policy, self.limits);
        let mut taken = Vec::new();
        loop {
            let Some(group) = self.shared.group(at) else {
                return taken;
            };
            if group.waiting() == 0 || group.is_loading || !group.has_credit() {
                return taken;
            }
            let next = group.next_deal(now, |member, message| {
                may_receive(policy, limits, member, message.topic())
            });
            if next.wants_load && !std::mem::replace(&mut group.is_loading, true) {
                fx.loads.push(Load {
                    to: LoadFor::Group(Arc::clone(group.filter())),
                    positions: group.wanted(),
                });
            }
            let queue = group.durable.as_ref().map(|durable| durable.queue);
            let filter = Arc::clone(group.filter());
            let counters = &mut self.residents.counters;
            counters.messages_expired_total += next.expired;
            lost(group, next.gone, counters, "no member may have them", fx);
            let Some((member, message, waiting)) = next.deal else {
                return taken;
            };
            let deals = waiting.deals;
            let entry = waiting
                .entry
                .and_then(|e| Some((queue?, e.place(), e.position()?)));
            self.residents.takers.origin = entry.map(|(queue, place, position)| {
                Box::new(Origin {
                    position,
                    from: (queue, place),
                    holder: Holder::Group(self.here, filter),
                })
            });
            let mut outgoing = Outgoing::of_message(&message, frames, now).for_one();
            if !self.give(at, member, &mut outgoing, deals, fx) {
                self.deal(at, &mut outgoing, deals, fx);
            }
            let takers = std::mem::take(&mut self.residents.takers);
            if !takers.list.is_empty() || takers.origin.is_some() {
                taken.push((message, takers));
            }
        }
    }

    /// Gives a message to a member that has paid for it. Returns whether it could be given; if not,
    /// the member is known to be unavailable from now on.
    fn give(
        &mut self,
        at: GroupIndex,
        member: usize,
        message: &mut Outgoing<'_>,
        deals: u8,
        fx: &mut Effects,
    ) -> bool {
        let Some(group) = self.shared.group(at) else {
            return false;
        };
        let filter = Arc::clone(group.filter());
        let Some(member) = group.member(member) else {
            return false;
        };
        let (to, epoch, qos) = (member.session, member.epoch, message.qos.min(member.qos));
        if to.shard != self.here {
            if qos == QoS::AtMostOnce
                && fx.waiting_for(to.shard) >= self.limits.peer_outbox_messages_max
            {
                self.residents.counters.messages_dropped_total += 1;
                return true;
            }
            let takers = &mut self.residents.takers;
            let asked = qos != QoS::AtMostOnce && self.durable_shards.contains(to.shard);
            let coordinator = takers.coordinator.filter(|_| asked);
            takers.further += u32::from(coordinator.is_some());
            let what = ShareMessage::Deal {
                to,
                epoch,
                message: message.shared(),
                deals,
                coordinator,
                origin: takers.origin.take(),
            };
            fx.tell(to.shard, PeerMessage::Share { filter, what });
            return true;
        }
        let dealt = self
            .residents
            .deliver_dealt(to, &filter, epoch, message, self.limits, fx);
        match dealt {
            Dealt::Taken => return true,
            Dealt::Congested => group.congested(to),
            Dealt::Gone => group.away(to),
        }
        false
    }
}

/// Messages of QoS 1 and 2 that a group will not deal any more. The log has the first, and then each
/// time the number has doubled: a group without readers must not flood it.
pub(super) fn lost(
    group: &mut Group,
    count: u64,
    counters: &mut Counters,
    cause: &str,
    fx: &mut Effects,
) {
    if count == 0 {
        return;
    }
    counters.messages_dropped_total += count;
    let before = group.dropped;
    group.dropped += count;
    if before.checked_ilog2() != group.dropped.checked_ilog2() {
        fx.events.push(Event::SharedMessagesDropped {
            filter: group.filter().to_string(),
            total: group.dropped,
            cause: cause.to_owned(),
        });
    }
}

/// Whether the policy lets a member have a message of this topic.
fn may_receive(policy: &Snapshot, limits: &Limits, member: &Member, topic: &str) -> bool {
    TopicName::new(topic, &limits.packet)
        .is_ok_and(|topic| policy.may_receive(member.subject(), topic))
}
