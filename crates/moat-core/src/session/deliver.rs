//! Messages towards the client: at once, later, or not at all.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{QoS, TopicAlias};

use super::durable::Durable;
use super::entry::Entry;
use super::inflight::{Pending, id_of};
use super::outbound::Queued;
use super::parcel::{Content, Parcel, SubscriptionIdList};
use super::{Lent, Link, Outbound, Session, Share};
use crate::buffer_pool::BufferPool;
use crate::durable::{Place, Position, Taker};
use crate::limits::Limits;
use crate::message::{Outgoing, Receiver};
use crate::{Message, Time};

/// What one session wants of one message.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The QoS of the delivery: the lower one of publisher and subscription [MQTT-3.8.4-8].
    pub qos: QoS,
    /// The RETAIN flag of the delivery.
    pub retain: bool,
    /// Identifiers of all its subscriptions that matched.
    pub ids: &'a [NonZeroU32],
    /// The group that dealt the message, for a shared subscription.
    pub share: Option<&'a Arc<Share>>,
    /// The entry that somebody else has for it.
    pub lent: Option<&'a Arc<Lent>>,
}

/// What became of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivered {
    /// Written into the out-buffer.
    Sent,
    /// Kept until the client can take it.
    Queued,
    /// Kept in a durable session until it is durable, and the client can take it.
    Awaiting(Place),
    /// Neither: a slow or absent QoS 0 reader, a full queue, a packet too large for the client.
    Dropped,
}

impl Session {
    /// Takes one message for the client. The driver flushes when the out-buffer stops being empty.
    pub fn deliver(
        &mut self,
        message: &mut Outgoing<'_>,
        wish: Wish<'_>,
        limits: &Limits,
        pool: &mut BufferPool,
        given_up: &mut Vec<Parcel>,
    ) -> Delivered {
        if self.durable.is_some() && wish.qos != QoS::AtMostOnce {
            return self.keep_durable(message, wish, limits, given_up);
        }
        let Some(link) = self.link.as_deref_mut() else {
            return if wish.qos == QoS::AtMostOnce {
                Delivered::Dropped
            } else {
                self.keep(message, wish, limits, given_up)
            };
        };
        let first = self
            .outbound
            .as_ref()
            .is_none_or(|outbound| outbound.may_send_now(wish.qos));
        let room = link.out.len() < limits.out_buffer_bytes_max;
        if wish.qos == QoS::AtMostOnce {
            return match (first, room) {
                (true, true) => link.send_unacknowledged(message, wish, pool),
                (true, false) => Delivered::Dropped,
                (false, _) => self.keep(message, wish, limits, given_up),
            };
        }
        let window = self.outbound.as_ref().is_none_or(|o| {
            o.inflight
                .has_room(o.inflight.next_ordinal(), link.receive_maximum)
        });
        if first && room && window && link.send_quota > 0 {
            let parcel = parcel(message, wish, limits);
            let outbound = self.outbound.get_or_insert_default();
            let ordinal = outbound.inflight.next_ordinal();
            return link.send_acknowledged(message, parcel, ordinal, outbound, pool);
        }
        self.keep(message, wish, limits, given_up)
    }

    fn keep(
        &mut self,
        message: &mut Outgoing<'_>,
        wish: Wish<'_>,
        limits: &Limits,
        given_up: &mut Vec<Parcel>,
    ) -> Delivered {
        let parcel = parcel(message, wish, limits);
        let Queued { is_kept, victims } = self.outbound_mut().queue(parcel, limits);
        given_up.extend(victims);
        if is_kept {
            Delivered::Queued
        } else {
            Delivered::Dropped
        }
    }

    /// Lets a message wait for the store. Nothing is sent to a durable session before it would survive a crash: so the client never has
    /// more than the broker knows of, and sees each message under one identifier only.
    fn keep_durable(
        &mut self,
        message: &mut Outgoing<'_>,
        wish: Wish<'_>,
        limits: &Limits,
        given_up: &mut Vec<Parcel>,
    ) -> Delivered {
        let Some(place) = self.durable.as_deref().map(Durable::next_place) else {
            return Delivered::Dropped;
        };
        let mut parcel = parcel(message, wish, limits);
        parcel.entry = Some(Entry::awaited(place));
        let Queued { is_kept, victims } = self.outbound_mut().queue(parcel, limits);
        let Some(durable) = self.durable.as_deref_mut() else {
            return Delivered::Dropped;
        };
        durable.has_holes |= !victims.is_empty();
        given_up.extend(victims);
        if !is_kept {
            return Delivered::Dropped;
        }
        durable.arrived();
        Delivered::Awaiting(place)
    }

    /// Owes the client retained messages of a subscription it made. What a durable session has to have in the store for that is
    /// told to `keep`.
    pub fn owe_retained(
        &mut self,
        messages: Vec<Arc<Message>>,
        qos: QoS,
        id: Option<NonZeroU32>,
        mut keep: impl FnMut(&Arc<Message>, Taker),
    ) {
        let acknowledged = messages
            .iter()
            .filter(|message| qos.min(message.qos) != QoS::AtMostOnce);
        let count = acknowledged.count() as u64;
        let outbound = self.outbound.get_or_insert_default();
        outbound.keep_sent_ahead();
        let first = outbound.first_queued();
        let mut durable = self.durable.as_deref_mut().filter(|_| count > 0);
        let mut ordinal = durable
            .as_mut()
            .map_or(0, |durable| durable.insert(first, count));
        for message in messages {
            let qos = qos.min(message.qos);
            let mut entry = None;
            if let (Some(durable), true) = (durable.as_ref(), qos != QoS::AtMostOnce) {
                let place = Place::Ordinal(ordinal);
                ordinal += 1;
                entry = Some(Entry::awaited(place));
                let taker = Taker {
                    queue: durable.queue,
                    place,
                    qos,
                    retain: true,
                    ids: SubscriptionIdList::new(id.as_slice()),
                    group: None,
                };
                keep(&message, taker);
            }
            let content = Content::Held(message);
            let mut parcel = Parcel::new(content, qos, id.as_slice(), Time::NEVER);
            parcel.retain = true;
            parcel.entry = entry;
            outbound.retained.push_back(parcel);
        }
    }

    /// An entry is durable now. Returns whether there is such an entry.
    pub fn entry_committed(&mut self, place: Place, position: Position) -> bool {
        let outbound = self.outbound.as_deref_mut();
        let Some(parcel) = outbound.and_then(|outbound| outbound.waiting(place)) else {
            return false;
        };
        parcel.entry = Some(Entry::committed(place, position));
        true
    }
}

impl Link {
    /// Appends bytes for the client, with a buffer from the pool if it has none.
    pub fn buffer(&mut self, pool: &mut BufferPool) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = pool.take();
        }
        &mut self.out
    }

    pub(super) fn send_unacknowledged(
        &mut self,
        message: &mut Outgoing<'_>,
        wish: Wish<'_>,
        pool: &mut BufferPool,
    ) -> Delivered {
        let to = Receiver {
            version: self.version,
            qos: QoS::AtMostOnce,
            dup: false,
            retain: wish.retain,
            packet_id: None,
            subscription_ids: wish.ids,
            topic_alias: None,
        };
        if self.write(message, to, pool) {
            Delivered::Sent
        } else {
            Delivered::Dropped
        }
    }

    /// Sends a message under the identifier of `ordinal`, and keeps it in the window until it is acknowledged.
    fn send_acknowledged(
        &mut self,
        message: &mut Outgoing<'_>,
        parcel: Parcel,
        ordinal: u64,
        outbound: &mut Outbound,
        pool: &mut BufferPool,
    ) -> Delivered {
        if !self.write_acknowledged(message, &parcel, ordinal, pool) {
            return Delivered::Dropped;
        }
        self.keep_sent(parcel, ordinal, outbound);
        Delivered::Sent
    }

    /// Returns whether it was written.
    pub(super) fn write_acknowledged(
        &mut self,
        message: &mut Outgoing<'_>,
        parcel: &Parcel,
        ordinal: u64,
        pool: &mut BufferPool,
    ) -> bool {
        let to = Receiver {
            version: self.version,
            qos: parcel.qos,
            dup: parcel.dup,
            retain: parcel.retain,
            packet_id: id_of(ordinal),
            subscription_ids: parcel.ids(),
            topic_alias: None,
        };
        to.packet_id.is_some() && self.write(message, to, pool)
    }

    /// What was just sent is under way.
    pub(super) fn keep_sent(&mut self, mut parcel: Parcel, ordinal: u64, outbound: &mut Outbound) {
        if parcel.qos == QoS::ExactlyOnce {
            // Once sent, nobody else may have it [MQTT-4.8.2-5].
            parcel.set_lent(None);
        }
        let pending = Pending::Acknowledgement(parcel);
        outbound.inflight.begin(ordinal, pending);
        // It is not to be sent again on this connection.
        outbound.resent = outbound.inflight.span();
        self.send_quota -= 1;
    }

    /// Appends one PUBLISH, with an alias for its topic if the client takes some. Returns whether it was written.
    fn write(
        &mut self,
        message: &mut Outgoing<'_>,
        to: Receiver<'_>,
        pool: &mut BufferPool,
    ) -> bool {
        let size_max = self.maximum_packet_size;
        if self.aliases_out.is_some() && self.write_aliased(message, &to, pool) {
            return true;
        }
        message.write(&to, size_max, self.buffer(pool))
    }

    /// Appends one PUBLISH with an alias. Returns false, and writes nothing, where there is none or where the alias
    /// makes it too large for the client.
    fn write_aliased(
        &mut self,
        message: &mut Outgoing<'_>,
        to: &Receiver<'_>,
        pool: &mut BufferPool,
    ) -> bool {
        let offered = self
            .aliases_out
            .as_ref()
            .and_then(|aliases| aliases.offer(message.topic()));
        let Some(alias) = offered else { return false };
        // What is retained is told once as a rule, and would take the aliases from what comes again.
        if to.retain && matches!(alias, TopicAlias::Set(_)) {
            return false;
        }
        let to = Receiver {
            topic_alias: offered,
            ..*to
        };
        let size_max = self.maximum_packet_size;
        if !message.write(&to, size_max, self.buffer(pool)) {
            return false;
        }
        if let Some(aliases) = self.aliases_out.as_deref_mut() {
            aliases.sent(message.topic(), alias);
        }
        true
    }
}

fn parcel(message: &mut Outgoing<'_>, wish: Wish<'_>, limits: &Limits) -> Parcel {
    let content = Content::Held(message.shared());
    let waits_until = limits.waits_until(message.now());
    let mut parcel = Parcel::new(content, wish.qos, wish.ids, waits_until);
    parcel.retain = wish.retain;
    parcel.share = wish.share.cloned();
    parcel.set_lent(wish.lent.cloned());
    parcel
}
