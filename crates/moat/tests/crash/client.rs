//! One client as it should be: what it keeps over its connections, and what it says to a packet. Without a socket.

use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroU16;
use std::sync::Arc;

use moat_codec::{
    Ack, Connect, ForwardedProperties, Limits, Packet, Publish, QoS, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, TopicFilter, TopicName, Version, Will,
};
use moat_testkit::fume::Dice;
use moat_testkit::history::{Acknowledgement, Delivery, Event, History, MessageId, Retain};
use moat_testkit::mqtt::packet_id;

/// Messages a publisher has under way at most.
const WINDOW: usize = 8;
/// Bytes of a message's payload that say whose it is; the rest is padding.
pub(crate) const HEAD_BYTES: usize = 12;
/// Bytes of a payload unless a client asks for another size.
pub(crate) const PAYLOAD_BYTES: usize = 64;
/// Longer than any test.
const WILL_DELAY_SECS: u32 = 100_000;
const SESSION_EXPIRY_SECS: u32 = 200_000;

/// What a publisher does at each turn.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) topic: Arc<str>,
    pub(crate) qos: QoS,
    /// Whether its messages are retained.
    pub(crate) is_retained: bool,
    /// Whether half of them clear the retained message.
    pub(crate) clears: bool,
}

/// A will to be.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) topic: Arc<str>,
    pub(crate) qos: QoS,
    pub(crate) is_delayed: bool,
}

/// A message of its own that is under way.
#[derive(Clone, Debug)]
struct Outbound {
    id: u16,
    message: MessageId,
    topic: Arc<str>,
    qos: QoS,
    retain: Retain,
    /// PUBREC came: PUBREL is what is sent again.
    is_received: bool,
}

/// A durable client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) number: u32,
    pub(crate) version: Version,
    /// What it publishes, one of these at a time.
    pub(crate) plans: Vec<Plan>,
    /// What it subscribes to.
    pub(crate) filters: Vec<(Arc<str>, QoS)>,
    pub(crate) last: Option<Last>,
    pub(crate) payload_bytes: usize,
    /// Whether the broker may refuse its messages for want of room.
    pub(crate) may_be_refused: bool,
    /// Whether it leaves what it gets unanswered, on this connection.
    pub(crate) is_lazy: bool,
    /// CONNACK came, and DISCONNECT was not sent.
    pub(crate) is_connected: bool,
    /// DISCONNECT was sent.
    pub(crate) is_leaving: bool,
    is_subscribed: bool,
    next_id: u16,
    next_number: u64,
    outbound: VecDeque<Outbound>,
    /// Identifiers of QoS 2 messages it has and has not had PUBREL for.
    held: BTreeSet<u16>,
}

impl Client {
    pub(crate) fn new(number: u32) -> Self {
        Client {
            number,
            version: if number.is_multiple_of(2) {
                Version::V5
            } else {
                Version::V311
            },
            plans: Vec::new(),
            filters: Vec::new(),
            last: None,
            payload_bytes: PAYLOAD_BYTES,
            may_be_refused: false,
            is_lazy: false,
            is_connected: false,
            is_leaving: false,
            is_subscribed: false,
            next_id: 0,
            next_number: 0,
            outbound: VecDeque::new(),
            held: BTreeSet::new(),
        }
    }

    /// Nothing of its own is under way, and it has what it subscribes to.
    pub(crate) fn is_settled(&self) -> bool {
        self.outbound.is_empty() && (self.is_subscribed || self.filters.is_empty())
    }

    /// What is still to come, for people.
    pub(crate) fn standing(&self) -> String {
        format!(
            "client {}, connected: {}, subscribed: {}, under way: {:?}",
            self.number, self.is_connected, self.is_subscribed, self.outbound
        )
    }

    /// Begins a connection.
    pub(crate) fn connect(&mut self, history: &mut History, out: &mut Vec<u8>) {
        self.is_lazy = false;
        self.is_leaving = false;
        let id = format!("client-{}", self.number);
        let mut connect = Connect::new(self.version, &id);
        connect.clean_start = false;
        if self.version.is_v5() {
            connect.properties.session_expiry_secs = Some(SESSION_EXPIRY_SECS);
            connect.properties.receive_maximum = NonZeroU16::new(16);
        }
        let last = self.last.clone();
        let payload = last.as_ref().map(|_| {
            let will = self.new_message();
            payload(will, HEAD_BYTES)
        });
        if let (Some(last), Some(payload)) = (&last, &payload) {
            connect.will = Some(Will {
                topic: TopicName::new(&last.topic, &Limits::generous()).unwrap(),
                payload,
                qos: last.qos,
                retain: false,
                delay_secs: if last.is_delayed { WILL_DELAY_SECS } else { 0 },
                message_expiry_secs: None,
                properties: ForwardedProperties::default(),
            });
            history.record(Event::WillSent {
                will: message_of(payload),
                topic: last.topic.clone(),
                qos: last.qos,
                is_delayed: last.is_delayed,
            });
        }
        put(&Packet::Connect(connect), self.version, out);
    }

    /// Ends the connection properly.
    pub(crate) fn leave(&mut self, history: &mut History, out: &mut Vec<u8>) {
        self.is_leaving = true;
        self.is_connected = false;
        history.record(Event::Goodbye {
            client: self.number,
        });
        out.extend_from_slice(&[0xe0, 0]);
    }

    /// The connection is gone.
    pub(crate) fn lost(&mut self) {
        self.is_connected = false;
    }

    /// Sends something new, if it may. Returns whether it did.
    pub(crate) fn publish(
        &mut self,
        dice: &mut Dice,
        history: &mut History,
        out: &mut Vec<u8>,
    ) -> bool {
        if !self.is_connected || self.plans.is_empty() || self.outbound.len() >= WINDOW {
            return false;
        }
        let plan = dice.pick(&self.plans).clone();
        let retain = match (plan.is_retained, plan.clears && dice.chance(50)) {
            (false, _) => Retain::No,
            (true, false) => Retain::Set,
            (true, true) => Retain::Clear,
        };
        let outbound = Outbound {
            id: self.new_id(),
            message: self.new_message(),
            topic: plan.topic,
            qos: plan.qos,
            retain,
            is_received: false,
        };
        self.send(&outbound, false, history, out);
        self.outbound.push_back(outbound);
        true
    }

    /// Takes a packet and answers it. Returns whether it was an acknowledgement of a message, and no refusal.
    pub(crate) fn handle(
        &mut self,
        packet: &Packet<'_>,
        history: &mut History,
        out: &mut Vec<u8>,
    ) -> bool {
        match packet {
            Packet::ConnAck(connack) => {
                assert!(!connack.reason.is_error(), "{}: {connack:?}", self.number);
                self.connected(connack.session_present, history, out);
            }
            Packet::SubAck(suback) => self.subscribed(suback.reasons.iter().collect(), history),
            Packet::Publish(publish) => self.take(publish, history, out),
            Packet::PubRel(ack) => {
                self.held.remove(&ack.packet_id.value());
                put(&Packet::PubComp(Ack::new(ack.packet_id)), self.version, out);
            }
            Packet::PubAck(ack) => {
                return self.acknowledged(ack, Acknowledgement::PubAck, history, out);
            }
            Packet::PubRec(ack) => {
                return self.acknowledged(ack, Acknowledgement::PubRec, history, out);
            }
            Packet::PubComp(ack) => {
                return self.acknowledged(ack, Acknowledgement::PubComp, history, out);
            }
            Packet::PingResp => {}
            other => panic!("client {} got {other:?}", self.number),
        }
        false
    }

    fn connected(&mut self, session_present: bool, history: &mut History, out: &mut Vec<u8>) {
        history.record(Event::Connected {
            client: self.number,
            session_present,
        });
        self.is_connected = true;
        if !session_present {
            self.is_subscribed = false;
            self.held.clear();
            // The broker knows nothing of them any more, and they are its own.
            self.outbound.retain(|outbound| !outbound.is_received);
        }
        // In the order they were sent in [MQTT-4.6.0-1].
        for outbound in self.outbound.clone() {
            if outbound.is_received {
                let release = Packet::PubRel(Ack::new(packet_id(outbound.id)));
                put(&release, self.version, out);
            } else {
                self.send(&outbound, session_present, history, out);
            }
        }
        if !self.is_subscribed && !self.filters.is_empty() {
            self.subscribe(out);
        }
    }

    fn subscribe(&self, out: &mut Vec<u8>) {
        let limits = Limits::generous();
        let filters = self.filters.iter();
        let subscriptions: Vec<_> = filters
            .map(|(filter, qos)| Subscription {
                filter: TopicFilter::new(filter, &limits).unwrap(),
                options: SubscriptionOptions::qos(*qos),
            })
            .collect();
        let packet = Packet::Subscribe(Subscribe::new(packet_id(u16::MAX), &subscriptions));
        put(&packet, self.version, out);
    }

    fn subscribed(&mut self, reasons: Vec<ReasonCode>, history: &mut History) {
        for ((filter, qos), reason) in self.filters.iter().zip(reasons) {
            assert_eq!(
                reason.byte(),
                qos.bits(),
                "client {}: {filter}",
                self.number
            );
            history.record(Event::Subscribed {
                subscriber: self.number,
                filter: filter.clone(),
                qos: *qos,
            });
        }
        self.is_subscribed = true;
    }

    fn take(&mut self, publish: &Publish<'_>, history: &mut History, out: &mut Vec<u8>) {
        let id = publish.packet_id.map(|id| id.value());
        let is_new = publish.qos != QoS::ExactlyOnce || self.held.insert(id.unwrap());
        history.record(Event::Delivered(Delivery {
            subscriber: self.number,
            message: message_of(publish.payload),
            topic: publish.topic.into(),
            qos: publish.qos,
            dup: publish.dup,
            retain: publish.retain,
            is_new,
        }));
        let Some(id) = publish.packet_id.filter(|_| !self.is_lazy) else {
            return;
        };
        let ack = Ack::new(id);
        let answer = match publish.qos {
            QoS::ExactlyOnce => Packet::PubRec(ack),
            _ => Packet::PubAck(ack),
        };
        put(&answer, self.version, out);
    }

    fn acknowledged(
        &mut self,
        ack: &Ack<'_>,
        by: Acknowledgement,
        history: &mut History,
        out: &mut Vec<u8>,
    ) -> bool {
        // The PUBCOMP before was lost on the way: not an error after a cut (MQTT 5 section 3.7.2.1).
        let is_known_done =
            by == Acknowledgement::PubComp && ack.reason == ReasonCode::PacketIdentifierNotFound;
        if ack.reason == ReasonCode::QuotaExceeded && self.may_be_refused {
            let id = ack.packet_id.value();
            self.outbound.retain(|outbound| outbound.id != id);
            return false;
        }
        assert!(
            is_known_done || !ack.reason.is_error(),
            "client {}: {by:?} {ack:?}",
            self.number
        );
        let id = ack.packet_id.value();
        let place = self.outbound.iter().position(|outbound| outbound.id == id);
        let place = place.unwrap_or_else(|| panic!("client {}: {by:?} for {id}", self.number));
        let outbound = &mut self.outbound[place];
        let is_right = match by {
            Acknowledgement::PubAck => outbound.qos == QoS::AtLeastOnce,
            Acknowledgement::PubRec => outbound.qos == QoS::ExactlyOnce && !outbound.is_received,
            Acknowledgement::PubComp => outbound.is_received,
        };
        assert!(is_right, "client {}: {by:?} for {outbound:?}", self.number);
        history.record(Event::Acknowledged {
            message: outbound.message,
            by,
        });
        if by == Acknowledgement::PubRec {
            outbound.is_received = true;
            put(&Packet::PubRel(Ack::new(ack.packet_id)), self.version, out);
        } else {
            self.outbound.remove(place);
        }
        true
    }

    fn send(&self, outbound: &Outbound, dup: bool, history: &mut History, out: &mut Vec<u8>) {
        history.record(Event::Sent {
            message: outbound.message,
            topic: outbound.topic.clone(),
            qos: outbound.qos,
            retain: outbound.retain,
        });
        let payload = match outbound.retain {
            Retain::Clear => Vec::new(),
            _ => payload(outbound.message, self.payload_bytes),
        };
        let mut publish = Publish::new(&outbound.topic, &payload);
        publish.qos = outbound.qos;
        publish.retain = outbound.retain != Retain::No;
        publish.dup = dup;
        publish.packet_id = Some(packet_id(outbound.id));
        put(&Packet::Publish(publish), self.version, out);
    }

    fn new_message(&mut self) -> MessageId {
        self.next_number += 1;
        MessageId {
            publisher: self.number,
            number: self.next_number,
        }
    }

    fn new_id(&mut self) -> u16 {
        loop {
            // The last is for SUBSCRIBE.
            self.next_id = self.next_id % (u16::MAX - 1) + 1;
            if self.outbound.iter().all(|other| other.id != self.next_id) {
                return self.next_id;
            }
        }
    }
}

fn payload(message: MessageId, bytes: usize) -> Vec<u8> {
    let mut payload = message.publisher.to_be_bytes().to_vec();
    payload.extend_from_slice(&message.number.to_be_bytes());
    payload.resize(bytes.max(HEAD_BYTES), b'.');
    payload
}

/// Whose message a payload is.
pub(crate) fn message_of(payload: &[u8]) -> MessageId {
    let (publisher, rest) = payload.split_first_chunk().expect("a payload of ours");
    let number = rest.first_chunk().expect("a payload of ours");
    MessageId {
        publisher: u32::from_be_bytes(*publisher),
        number: u64::from_be_bytes(*number),
    }
}

fn put(packet: &Packet<'_>, version: Version, out: &mut Vec<u8>) {
    packet.encode(version, out).unwrap();
}
