//! What clients make of what they are sent.

use moat_codec::{
    Ack, ConnAck, Framed, Limits, Packet, PacketId, Publish, QoS, TopicFilter, TopicName, frame,
};
use moat_core::Time;

use crate::history::{Acknowledgement, Delivery, Event, MessageId, Retain};

use super::client::qos;
use super::world::Event as Happening;
use super::world::World;

/// The message a payload is of.
fn message_of(payload: &[u8]) -> Option<MessageId> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut parts = text.split('.');
    Some(MessageId {
        publisher: parts.next()?.parse().ok()?,
        number: parts.next()?.parse().ok()?,
    })
}

/// Whether a filter, that of a group included, matches a topic.
pub(super) fn covers(filter: &str, topic: &str) -> bool {
    let limits = Limits::generous();
    let (Ok(filter), Ok(topic)) = (
        TopicFilter::new(filter, &limits),
        TopicName::new(topic, &limits),
    ) else {
        return false;
    };
    filter
        .shared()
        .map_or(filter, |shared| shared.filter)
        .matches(topic)
}

impl World {
    /// Bytes, or the end, have come to a client.
    pub(super) fn read(&mut self, slot: u32) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        let client = wire.client;
        if self.clients[client].wire != Some(slot) {
            return;
        }
        let deaf_until = self.clients[client].deaf_until;
        if deaf_until > now && self.is_rough {
            self.at(deaf_until, Happening::ToClient { slot });
            return;
        }
        self.read_all(slot);
    }

    /// Reads all that has come.
    pub(super) fn read_all(&mut self, slot: u32) {
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        let client = wire.client;
        if self.clients[client].wire != Some(slot) {
            return;
        }
        let bytes = wire.down.receive(now, usize::MAX);
        let is_over = wire.down.is_over(now);
        self.clients[client].buffer.extend(bytes);
        self.made_room(slot);
        while self.clients[client].wire == Some(slot) {
            let buffer = &mut self.clients[client].buffer;
            let Ok(Framed::Complete { total, .. }) = frame(buffer, &Limits::generous()) else {
                break;
            };
            let rest = buffer.split_off(total);
            let bytes = std::mem::replace(buffer, rest);
            self.got(client, slot, &bytes);
        }
        if is_over && self.clients[client].wire == Some(slot) {
            self.note(|| format!("client {} has lost connection {slot}", client + 1));
            self.lost(client);
        }
    }

    fn got(&mut self, client: usize, slot: u32, bytes: &[u8]) {
        let version = self.clients[client].version;
        let packet = match Packet::decode(bytes, version, &Limits::generous()) {
            Ok(packet) => packet,
            Err(error) => return self.complain(format!("the broker sent {bytes:?}: {error}")),
        };
        self.note(|| format!("client {} got {packet:?}", client + 1));
        match packet {
            Packet::ConnAck(connack) => self.on_connack(client, slot, &connack),
            Packet::Publish(publish) => self.on_publish(client, &publish),
            Packet::PubAck(ack) => self.on_puback(client, &ack),
            Packet::PubRec(ack) => self.on_pubrec(client, &ack),
            Packet::PubRel(ack) => {
                self.clients[client].held.remove(&ack.packet_id.value());
                self.answer_later(client, &Packet::PubComp(Ack::new(ack.packet_id)));
            }
            Packet::PubComp(ack) => self.on_pubcomp(client, &ack),
            Packet::SubAck(suback) => {
                let reasons: Vec<_> = suback.reasons.iter().map(|reason| reason.byte()).collect();
                self.on_suback(client, suback.packet_id.value(), &reasons);
            }
            Packet::UnsubAck(unsuback) => self.on_unsuback(client, unsuback.packet_id.value()),
            Packet::PingResp | Packet::Disconnect(_) => {}
            other => self.complain(format!("the broker sent {other:?}")),
        }
    }

    fn on_connack(&mut self, client: usize, slot: u32, connack: &ConnAck<'_>) {
        let present = connack.session_present;
        let number = self.clients[client].number;
        if connack.reason.is_error() {
            return self.complain(format!("client {number} was refused: {:?}", connack.reason));
        }
        let expected = self.wires.get(&slot).and_then(|wire| wire.present);
        if expected.is_some_and(|expected| expected != present) {
            self.complain(format!(
                "client {number} connected, session present: {present}"
            ));
        }
        self.ledger.told(client, slot);
        // A session that a CONNECT without an answer has begun is not the one that the client remembers, and it cannot tell.
        let queue = self.wires.get(&slot).and_then(|wire| wire.queue);
        let before = std::mem::replace(&mut self.clients[client].queue, queue);
        let is_another = present && before != queue;
        if is_another {
            self.history.record(Event::SessionEnded { client: number });
        }
        if present {
            self.coverage.resumed += 1;
            let before = self.clients[client].connected_life;
            self.coverage.resumed_after_crash += u64::from(before < self.life);
        } else if expected != Some(true) {
            self.history.record(Event::SessionEnded { client: number });
        }
        self.history.record(Event::Connected {
            client: number,
            session_present: present,
        });
        if let Some(will) = self.clients[client].spared_will.take().filter(|_| present) {
            self.coverage.wills_withdrawn += 1;
            self.history.record(Event::WillWithdrawn { will });
        }
        let of = &mut self.clients[client];
        of.is_connected = true;
        let was_clean_start = std::mem::take(&mut of.is_clean_start);
        if was_clean_start && present {
            self.complain(format!("client {number} has begun anew and has a session"));
        }
        let of = &mut self.clients[client];
        of.connect_by = Time::NEVER;
        of.connected = (self.history.events().len(), self.coverage.loads);
        of.connected_life = self.life;
        if !present || is_another {
            of.filters.clear();
            of.left_at = 0;
            of.held.clear();
            // QoS 2 messages of a session that is gone are nobody's any more.
            of.out.retain(|out| out.qos == QoS::AtLeastOnce);
        }
        self.send_again(client, present && !is_another);
        if !present && self.is_rough && self.dice.chance(80) {
            self.subscribe_some(client);
        }
        let ping_at = self.clients[client].ping_at;
        self.answer_by(client, ping_at);
    }

    /// Sends what is not acknowledged again [MQTT-4.4.0-1].
    fn send_again(&mut self, client: usize, dup: bool) {
        for out in self.clients[client].out.clone() {
            if out.is_received {
                let id = PacketId::new(out.packet_id).unwrap();
                self.send(client, &Packet::PubRel(Ack::new(id)));
            } else {
                self.send_message(client, &out, dup);
            }
        }
    }

    // --- deliveries ---

    fn on_publish(&mut self, client: usize, publish: &Publish<'_>) {
        let id = publish.packet_id.map_or(0, PacketId::value);
        let of = &mut self.clients[client];
        let is_new = publish.qos != QoS::ExactlyOnce || of.held.insert(id);
        match publish.qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => {
                let id = PacketId::new(id).unwrap();
                self.answer_later(client, &Packet::PubAck(Ack::new(id)));
            }
            QoS::ExactlyOnce => {
                let id = PacketId::new(id).unwrap();
                self.answer_later(client, &Packet::PubRec(Ack::new(id)));
            }
        }
        if publish.payload.is_empty() {
            // Nobody can tell whose it is.
            return;
        }
        let Some(message) = message_of(publish.payload) else {
            return self.complain(format!("a payload of nobody on {}", publish.topic));
        };
        if let (true, Some(read)) = (publish.retain, &mut self.retained_read) {
            read.insert(publish.topic.to_owned(), message);
        }
        self.note_delivery(client, publish, message, is_new);
        self.history.record(Event::Delivered(Delivery {
            subscriber: self.clients[client].number,
            message,
            topic: publish.topic.into(),
            qos: publish.qos,
            dup: publish.dup,
            retain: publish.retain,
            is_new,
        }));
    }

    fn note_delivery(
        &mut self,
        client: usize,
        publish: &Publish<'_>,
        message: MessageId,
        is_new: bool,
    ) {
        let of = &self.clients[client];
        let sent_at = self.sent_at.get(&message).copied().unwrap_or(usize::MAX);
        let is_wanted = of
            .filters
            .keys()
            .any(|filter| covers(filter, publish.topic));
        let (left_at, number) = (of.left_at, of.number);
        let coverage = &mut self.coverage;
        coverage.deliveries += 1;
        coverage.deliveries_dup += u64::from(publish.dup);
        coverage.deliveries_qos2 += u64::from(publish.qos == QoS::ExactlyOnce);
        coverage.deliveries_held += u64::from(!is_new);
        coverage.deliveries_retained += u64::from(publish.retain);
        coverage.deliveries_shared += u64::from(publish.topic.starts_with("s/"));
        coverage.deliveries_will += u64::from(publish.topic.starts_with("w/"));
        coverage.deliveries_delayed_will += u64::from(publish.topic.starts_with("wd/"));
        let from_memory = publish.qos > QoS::AtMostOnce
            && !publish.dup
            && !publish.retain
            && sent_at < of.connected.0
            && of.connected_life == self.life
            && self.started_at < sent_at
            && of.connected.1 == coverage.loads;
        coverage.tail_hits += u64::from(from_memory);
        let publisher = format!("client-{}", message.publisher);
        let home = |name: &str| self.topology.home(name, name);
        coverage.deliveries_across += u64::from(home(&publisher) != home(&of.name));
        if !is_wanted && sent_at >= left_at {
            let topic = publish.topic;
            self.complain(format!("client {number} got {message} on {topic} unasked"));
        }
    }

    // --- answers ---

    fn on_puback(&mut self, client: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let of = &mut self.clients[client];
        let place = of.out.iter().position(|out| out.packet_id == id);
        let Some(out) = place.and_then(|place| of.out.remove(place)) else {
            return self.complain(format!("PUBACK of nothing: {id}"));
        };
        if ack.reason.is_error() {
            self.coverage.refused_full += 1;
            return;
        }
        self.acknowledged(&out, Acknowledgement::PubAck);
    }

    fn on_pubrec(&mut self, client: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let of = &mut self.clients[client];
        let Some(place) = of.out.iter().position(|out| out.packet_id == id) else {
            return self.complain(format!("PUBREC of nothing: {id}"));
        };
        if ack.reason.is_error() {
            of.out.remove(place);
            self.coverage.refused_full += 1;
            return;
        }
        of.out[place].is_received = true;
        let out = of.out[place].clone();
        self.acknowledged(&out, Acknowledgement::PubRec);
        self.answer_later(client, &Packet::PubRel(Ack::new(ack.packet_id)));
    }

    fn on_pubcomp(&mut self, client: usize, ack: &Ack<'_>) {
        let id = ack.packet_id.value();
        let of = &mut self.clients[client];
        of.out.retain(|out| out.packet_id != id);
    }

    fn acknowledged(&mut self, out: &super::client::Out, by: Acknowledgement) {
        if out.expiry_secs.is_some() {
            // Nobody is owed what may expire.
            return;
        }
        self.coverage.retained_removed += u64::from(out.retain == Retain::Clear);
        self.history.record(Event::Acknowledged {
            message: out.message,
            by,
        });
    }

    fn on_suback(&mut self, client: usize, id: u16, reasons: &[u8]) {
        let of = &mut self.clients[client];
        let Some((_, filters)) = of.subscribing.take_if(|(asked, _)| *asked == id) else {
            return self.complain(format!("SUBACK of nothing: {id}"));
        };
        let number = of.number;
        for ((filter, _), reason) in filters.into_iter().zip(reasons) {
            if *reason > 2 {
                self.complain(format!(
                    "client {number} may not subscribe to {filter}: {reason}"
                ));
                continue;
            }
            let granted = qos(u64::from(*reason));
            self.clients[client]
                .filters
                .insert(filter.clone(), Some(granted));
            if filter.starts_with("$share/") && !super::SHARED_IS_DURABLE {
                continue;
            }
            self.history.record(Event::Subscribed {
                subscriber: number,
                filter: filter.into(),
                qos: granted,
            });
        }
    }

    fn on_unsuback(&mut self, client: usize, id: u16) {
        let of = &mut self.clients[client];
        let Some((_, filter)) = of.unsubscribing.take_if(|(asked, _)| *asked == id) else {
            return self.complain(format!("UNSUBACK of nothing: {id}"));
        };
        self.coverage.unsubscribed += 1;
        of.filters.remove(&filter);
        of.left_at = self.history.events().len();
    }

    /// Sends a packet when the client comes to it, behind those before.
    fn answer_later(&mut self, client: usize, packet: &Packet<'_>) {
        let millis = self.dice.below(1 + self.clients[client].slowness);
        let version = self.clients[client].version;
        let of = &mut self.clients[client];
        let mut due = self.now;
        if self.is_rough {
            due = due.plus_millis(millis).max(of.stalled_until);
            due = of.acks.back().map_or(due, |(last, _)| due.max(*last));
        }
        of.acks
            .push_back((due, super::act::encode(packet, version)));
        self.answer_by(client, due);
    }

    pub(super) fn answer_by(&mut self, client: usize, at: Time) {
        if at < self.clients[client].answer_at {
            self.clients[client].answer_at = at;
            self.at(at, Happening::Answer { client });
        }
    }

    /// Sends what is due: acknowledgements, a PINGREQ. Gives up a connection that is not answered.
    pub(super) fn answer(&mut self, client: usize) {
        let now = self.now;
        if now < self.clients[client].answer_at {
            return;
        }
        self.clients[client].answer_at = Time::NEVER;
        let of = &mut self.clients[client];
        let Some(slot) = of.wire else { return };
        if of.connect_by <= now {
            self.note(|| format!("client {} gives up connection {slot}", client + 1));
            if let Some(wire) = self.wires.get_mut(&slot) {
                let end = wire.up.end(now, 0);
                self.at(end, Happening::ToBroker { slot });
            }
            return self.lost(client);
        }
        while let Some((_, bytes)) = self.clients[client]
            .acks
            .pop_front_if(|(due, _)| *due <= now)
        {
            self.write(slot, &bytes);
        }
        let of = &mut self.clients[client];
        if of.ping_at <= now && of.is_connected {
            of.ping_at = now.plus_secs((u64::from(of.keep_alive_secs) / 2).max(1));
            self.send(client, &Packet::PingReq);
        }
        let of = &self.clients[client];
        let mut next = of.connect_by;
        if of.is_connected {
            next = next.min(of.ping_at);
        }
        next = next.min(of.acks.front().map_or(Time::NEVER, |(due, _)| *due));
        self.answer_by(client, next);
    }
}
