//! What clients do by themselves.

use std::num::{NonZeroU16, NonZeroU32};

use moat_codec::{
    Connect, Disconnect, Limits, Packet, PacketId, Publish, QoS, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, Version, Will,
};

use crate::history::{Event, MessageId, Retain};

use super::client::{OUT_MAX, Out, qos};
use super::ledger::WillDue;
use super::world::Event as Happening;
use super::world::World;

/// Milliseconds that a client waits for its CONNACK.
const CONNECT_MILLIS: u64 = 8000;
/// What clients subscribe to, besides groups.
const FILTERS: [&str; 11] = [
    "t/0", "t/1", "t/2", "t/+", "t/#", "t/3", "r/0", "r/+", "r/#", "w/#", "wd/#",
];

/// A packet in bytes.
pub(super) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

/// Bytes by which a message is known when it comes.
fn payload(message: MessageId, filler: usize) -> Vec<u8> {
    let mut payload = format!("{}.{}.", message.publisher, message.number).into_bytes();
    payload.resize(payload.len() + filler, b'x');
    payload
}

impl World {
    /// A client's turn to do something.
    pub(super) fn act(&mut self, client: usize) {
        if self.operations_left == 0 {
            return;
        }
        let millis = match self.clients[client].burst {
            0 if self.dice.chance(2) => self.dice.below(15_000),
            0 => 1 + self.dice.below(self.plan.pace_millis),
            _ => 0,
        };
        self.clients[client].burst = self.clients[client].burst.saturating_sub(1);
        self.after(millis, Happening::Act { client });
        if self.clients[client].wire.is_none() {
            if self.dice.chance(60) {
                self.count();
                let is_clean = self.clients[client].is_clean || self.dice.chance(4);
                self.connect(client, is_clean);
            }
        } else if self.clients[client].is_connected {
            self.count();
            self.operate(client);
        }
    }

    fn count(&mut self) {
        self.operations_left -= 1;
        self.coverage.operations += 1;
    }

    fn operate(&mut self, client: usize) {
        if self.dice.chance(self.clients[client].publishes_percent) {
            let count = self.dice.below(100);
            return match count {
                0..70 => self.publish_some(client, "t", 5, Retain::No),
                70..80 => self.publish_some(client, "s", 2, Retain::No),
                80..93 => self.publish_some(client, "r", 4, Retain::Set),
                93..97 => self.publish_some(client, "r", 4, Retain::Clear),
                _ => self.clients[client].burst = 20,
            };
        }
        match self.dice.below(100) {
            0..40 => self.subscribe_some(client),
            40..52 => self.unsubscribe_some(client),
            52..64 => self.say_goodbye(client),
            64..70 => self.abort(client),
            70..74 => self.go_silently(client),
            74..79 => {
                let is_clean = self.clients[client].is_clean || self.dice.chance(20);
                self.coverage.takeovers += 1;
                self.abandon(client);
                self.connect(client, is_clean);
            }
            79..87 => {
                let millis = self.dice.below(10_000);
                self.clients[client].stalled_until = self.now.plus_millis(millis);
            }
            87..91 => {
                let millis = self.dice.below(5000);
                self.clients[client].deaf_until = self.now.plus_millis(millis);
            }
            _ => self.send(client, &Packet::PingReq),
        }
    }

    pub(super) fn send(&mut self, client: usize, packet: &Packet<'_>) {
        let Some(slot) = self.clients[client].wire else {
            return;
        };
        self.note(|| format!("client {} sends {packet:?}", client + 1));
        let bytes = encode(packet, self.clients[client].version);
        self.write(slot, &bytes);
    }

    // --- connections ---

    /// Opens a connection and sends CONNECT.
    pub(super) fn connect(&mut self, client: usize, is_clean_start: bool) {
        let left = self.clients[client].left_wire;
        let left = left.and_then(|slot| self.wires.get(&slot));
        if !self.is_up || left.is_some_and(|wire| !wire.is_over) {
            // Another connection may be faster than the DISCONNECT on the last one, which then counts for nothing.
            return;
        }
        // A clean start without an answer leaves open which session there is, so it is asked for until it is answered.
        let is_clean_start = is_clean_start || self.clients[client].is_clean_start;
        let slot = self.open(client);
        let connect_by = self.now.plus_millis(CONNECT_MILLIS);
        self.doubt_will(client);
        let of = &mut self.clients[client];
        of.wire = Some(slot);
        of.is_connected = false;
        of.is_clean_start = is_clean_start;
        of.connect_by = connect_by;
        of.expiry_now = match of.version {
            Version::V5 => of.expiry_secs,
            _ if is_clean_start => 0,
            _ => u32::MAX,
        };
        of.ping_at = self.now.plus_secs(u64::from(of.keep_alive_secs) / 2);
        let (number, name, version) = (of.number, of.name.clone(), of.version);
        let will = of.will.map(|plan| (plan, of.next_message()));
        let mut connect = Connect::new(version, &name);
        connect.clean_start = is_clean_start;
        connect.keep_alive_secs = of.keep_alive_secs;
        if version.is_v5() {
            connect.properties.session_expiry_secs = Some(of.expiry_secs);
            connect.properties.receive_maximum = NonZeroU16::new(of.receive_maximum);
        }
        if is_clean_start && !of.filters.is_empty() {
            self.coverage.clean_starts += 1;
        }
        if is_clean_start {
            self.history.record(Event::SessionEnded { client: number });
        }
        let topic;
        let bytes;
        if let Some((plan, message)) = will {
            topic = match plan.delay_secs {
                0 => format!("w/{number}"),
                _ => format!("wd/{number}"),
            };
            bytes = payload(message, 0);
            self.sent_at.insert(message, self.history.events().len());
            self.history.record(Event::WillSent {
                will: message,
                topic: topic.as_str().into(),
                qos: plan.qos,
                is_delayed: false,
            });
            if self.clients[client].expiry_now == 0 {
                self.clients[client]
                    .volatile_wills
                    .push((message, slot, None));
            }
            self.clients[client].wills.push(message);
            let is_delayed = plan.delay_secs > 0;
            self.clients[client].delayed_will = is_delayed.then_some((message, plan.delay_secs));
            connect.will = Some(Will {
                topic: TopicName::new(&topic, &Limits::generous()).unwrap(),
                payload: &bytes,
                qos: plan.qos,
                retain: plan.retain,
                delay_secs: plan.delay_secs,
                message_expiry_secs: None,
                properties: Default::default(),
            });
        }
        self.send(client, &Packet::Connect(connect));
        self.answer_by(client, connect_by);
    }

    /// A will with a delay may or may not come once its client is back, unless it must have come by now.
    fn doubt_will(&mut self, client: usize) {
        let before = self.clients[client].delayed_will.take();
        self.clients[client].doubtful_will = before;
        let Some((will, delay_secs)) = before else {
            return;
        };
        if self.ledger.will(client, delay_secs, self.now) != WillDue::Due {
            self.history.record(Event::WillDoubtful { will });
        }
    }

    /// The broker is about to handle a CONNECT: notes whether that comes in time for the will before.
    pub(super) fn note_will(&mut self, slot: u32, is_clean_start: bool) {
        let Some(client) = self.wires.get(&slot).map(|wire| wire.client) else {
            return;
        };
        let of = &mut self.clients[client];
        if of.wire != Some(slot)
            && let Some((latest, _)) = of.delayed_will.take()
        {
            // It comes late. If the latest one is already there, it resumes its session in time for its will, or ends it before
            // that; so whoever comes next does not know what became of it.
            self.history.record(Event::WillDoubtful { will: latest });
        }
        let Some((will, delay_secs)) = self.clients[client].doubtful_will else {
            return;
        };
        let due = self.ledger.will(client, delay_secs, self.now);
        // An older CONNECT that is still under way takes over what this one gets, and its will with it.
        let is_last = self
            .wires
            .iter()
            .all(|(other, wire)| *other == slot || wire.client != client || wire.up.len() == 0);
        if self.clients[client].wire == Some(slot)
            && due == WillDue::NotYet
            && !is_clean_start
            && is_last
        {
            self.clients[client].spared_will = Some(will);
        }
    }

    /// The broker has ended a connection, which the client may hear of much later. Its will is due from now on.
    pub(super) fn ended(&mut self, client: usize, slot: u32) {
        let is_read = self.wires.get(&slot).is_none_or(|wire| wire.up.len() == 0);
        if !is_read {
            self.not_heard(slot);
        }
        let (now, of) = (self.now, &mut self.clients[client]);
        if of.wire == Some(slot) {
            self.history.record(Event::Cut { client: of.number });
        }
        for (_, wire, ended) in &mut of.volatile_wills {
            if *wire == slot {
                ended.get_or_insert(now);
            }
        }
    }

    /// The broker has ended a connection before it read all that its client had said, a goodbye perhaps.
    pub(super) fn not_heard(&mut self, slot: u32) {
        let Some(wire) = self.wires.get(&slot) else {
            return;
        };
        let of = &self.clients[wire.client];
        if let (true, Some(will)) = (of.left_wire == Some(slot), of.wills.last()) {
            self.history.record(Event::WillDoubtful { will: *will });
        }
    }

    /// The broker dies: wills of sessions that are in no store may be lost with it.
    pub(super) fn doubt_volatile_wills(&mut self) {
        for client in &mut self.clients {
            if !super::WILLS_ARE_APART && client.wills.len() > 1 {
                for will in client.wills.iter().rev().take(3) {
                    self.history.record(Event::WillDoubtful { will: *will });
                }
            }
            for (will, _, ended) in std::mem::take(&mut client.volatile_wills) {
                if ended.is_none_or(|ended| !self.storage.has_settled(ended)) {
                    self.history.record(Event::WillDoubtful { will });
                }
            }
        }
    }

    /// The connection is over for the client, without a word of its own.
    pub(super) fn lost(&mut self, client: usize) {
        let of = &mut self.clients[client];
        if of.wire.take().is_none() {
            return;
        }
        self.history.record(Event::Cut { client: of.number });
        self.left(client);
    }

    /// The connection is over for the client.
    fn left(&mut self, client: usize) {
        let of = &mut self.clients[client];
        of.wire = None;
        of.is_connected = false;
        of.connect_by = moat_core::Time::NEVER;
        of.ping_at = moat_core::Time::NEVER;
        of.buffer.clear();
        of.acks.clear();
        of.subscribing = None;
        of.unsubscribing = None;
        of.spared_will = None;
        if of.expiry_now == 0 {
            // What was begun in it is over with it: a session that the broker may have next time is another one.
            of.held.clear();
            of.out.retain(|out| out.qos == QoS::AtLeastOnce);
            self.history
                .record(Event::SessionEnded { client: of.number });
        }
    }

    /// The client takes its connection for gone; what it has sent still arrives, and the broker does not know.
    fn abandon(&mut self, client: usize) {
        if let Some(wire) = self.clients[client]
            .wire
            .and_then(|slot| self.wires.get_mut(&slot))
        {
            wire.down.is_void = true;
        }
        self.lost(client);
    }

    /// The client's side closes, without DISCONNECT.
    fn abort(&mut self, client: usize) {
        let now = self.now;
        let Some(slot) = self.clients[client].wire else {
            return;
        };
        if let Some(wire) = self.wires.get_mut(&slot) {
            let end = wire.up.end(now, 0);
            self.at(end, Happening::ToBroker { slot });
        }
        self.lost(client);
    }

    /// The network is gone, and only the client notices.
    fn go_silently(&mut self, client: usize) {
        let Some(slot) = self.clients[client].wire else {
            return;
        };
        self.coverage.half_open += 1;
        self.note(|| format!("connection {slot} of client {} is half open", client + 1));
        if let Some(wire) = self.wires.get_mut(&slot) {
            wire.up.is_void = true;
            wire.down.is_void = true;
        }
        self.lost(client);
    }

    fn say_goodbye(&mut self, client: usize) {
        let of = &self.clients[client];
        let (Some(slot), version) = (of.wire, of.version) else {
            return;
        };
        let mut disconnect = Disconnect::new(ReasonCode::NORMAL_DISCONNECTION);
        let with_will = version.is_v5() && self.dice.chance(25);
        if with_will {
            disconnect.reason = ReasonCode::DisconnectWithWill;
        }
        if version.is_v5() && of.expiry_now > 0 && self.dice.chance(30) {
            self.coverage.changed_expiry += 1;
            let secs = *self.dice.pick(&[0, 1, 5, 100_000]);
            disconnect.session_expiry_secs = Some(secs);
            self.clients[client].expiry_now = secs;
            // A crash may bring the session back, which the client no longer knows.
            self.clients[client].is_clean_start = secs == 0;
            if let Some(wire) = self.wires.get_mut(&slot) {
                wire.last_expiry = Some(secs);
            }
        }
        self.leave(client, &disconnect);
    }

    /// Says DISCONNECT and closes.
    pub(super) fn leave(&mut self, client: usize, disconnect: &Disconnect<'_>) {
        let Some(slot) = self.clients[client].wire else {
            return;
        };
        // Said too late, it does not take the will away.
        let is_open = |wire: &super::network::Wire| !wire.is_over && !wire.up.has_end();
        let is_heard = self.wires.get(&slot).is_some_and(is_open);
        let number = self.clients[client].number;
        self.history.record(match disconnect.reason {
            ReasonCode::Success if is_heard => Event::Goodbye { client: number },
            _ => Event::Cut { client: number },
        });
        if disconnect.reason == ReasonCode::Success && is_heard {
            self.clients[client].delayed_will = None;
        }
        self.send(client, &Packet::Disconnect(*disconnect));
        self.clients[client].left_wire = Some(slot);
        let now = self.now;
        if let Some(wire) = self.wires.get_mut(&slot) {
            wire.down.is_void = true;
            let end = wire.up.end(now, 0);
            self.at(end, Happening::ToBroker { slot });
        }
        self.left(client);
    }

    // --- publishing ---

    fn publish_some(&mut self, client: usize, kind: &str, topics: u64, retain: Retain) {
        let number = self.dice.below(topics);
        let topic = format!("{kind}/{number}");
        let qos = qos(match self.dice.below(10) {
            0..2 => 0,
            2..6 => 1,
            _ => 2,
        });
        if qos > QoS::AtMostOnce && self.clients[client].out.len() >= OUT_MAX {
            return;
        }
        let is_v5 = self.clients[client].version.is_v5();
        let has_expiry = is_v5 && retain == Retain::No && self.dice.chance(8);
        let expiry_secs = has_expiry.then(|| *self.dice.pick(&[1, 3, 60]));
        self.coverage.with_expiry += u64::from(has_expiry);
        let filler = match self.dice.below(40) {
            0 => self.dice.place(6000),
            _ => self.dice.place(40),
        };
        let of = &mut self.clients[client];
        let message = of.next_message();
        let payload = match retain {
            Retain::Clear => Vec::new(),
            _ => payload(message, filler),
        };
        let packet_id = if qos == QoS::AtMostOnce {
            0
        } else {
            of.next_packet_id()
        };
        let out = Out {
            packet_id,
            message,
            topic,
            payload,
            qos,
            retain,
            expiry_secs,
            is_received: false,
        };
        self.sent_at.insert(message, self.history.events().len());
        self.send_message(client, &out, false);
        if has_expiry {
            self.history.record(Event::Expiring { message });
        }
        if qos > QoS::AtMostOnce {
            self.clients[client].out.push_back(out);
        }
    }

    pub(super) fn send_message(&mut self, client: usize, out: &Out, dup: bool) {
        self.coverage.resends += u64::from(dup);
        self.history.record(Event::Sent {
            message: out.message,
            topic: out.topic.as_str().into(),
            qos: out.qos,
            retain: out.retain,
        });
        let publish = Publish {
            dup,
            qos: out.qos,
            retain: out.retain != Retain::No,
            packet_id: PacketId::new(out.packet_id),
            message_expiry_secs: out.expiry_secs,
            ..Publish::new(&out.topic, &out.payload)
        };
        self.send(client, &Packet::Publish(publish));
    }

    // --- subscribing ---

    pub(super) fn subscribe_some(&mut self, client: usize) {
        if self.clients[client].subscribing.is_some()
            || self.clients[client].unsubscribing.is_some()
        {
            return;
        }
        let count = 1 + self.dice.place(3);
        let mut filters: Vec<(String, QoS)> = Vec::new();
        for _ in 0..count {
            let filter = match self.clients[client].group {
                Some(group) if self.dice.chance(30) => group,
                _ => self.dice.word(&FILTERS),
            };
            let qos = qos(match self.dice.below(10) {
                0 => 0,
                1..5 => 1,
                _ => 2,
            });
            if filters.iter().all(|(other, _)| other != filter) {
                filters.push((filter.to_owned(), qos));
            }
        }
        self.subscribe(client, filters);
    }

    pub(super) fn subscribe(&mut self, client: usize, filters: Vec<(String, QoS)>) {
        let number = self.clients[client].number;
        for (filter, qos) in &filters {
            let granted = self.clients[client].filters.get(filter);
            if granted.is_some_and(|granted| granted.is_none_or(|granted| granted > *qos)) {
                // It may be that the lower QoS is granted and the client does not hear of it.
                self.history.record(Event::Unsubscribed {
                    subscriber: number,
                    filter: filter.as_str().into(),
                });
            }
            self.clients[client].filters.insert(filter.clone(), None);
            if filter.starts_with("$share/") {
                self.history.record(Event::GroupAsked {
                    subscriber: number,
                    filter: filter.as_str().into(),
                    qos: *qos,
                    is_durable: self.clients[client].expiry_now > 0,
                });
            }
        }
        let limits = Limits::generous();
        let subscription = |(filter, qos): &'_ (String, QoS)| (filter.clone(), *qos);
        let owned: Vec<_> = filters.iter().map(subscription).collect();
        let subscriptions: Vec<_> = owned
            .iter()
            .map(|(filter, qos)| Subscription {
                filter: TopicFilter::new(filter, &limits).unwrap(),
                options: SubscriptionOptions::qos(*qos),
            })
            .collect();
        let id = self.clients[client].next_packet_id();
        let mut packet = Subscribe::new(PacketId::new(id).unwrap(), &subscriptions);
        if self.clients[client].version.is_v5() && self.dice.chance(30) {
            packet.subscription_id = NonZeroU32::new(1 + u32::from(id));
        }
        self.send(client, &Packet::Subscribe(packet));
        self.clients[client].subscribing = Some((id, filters));
    }

    fn unsubscribe_some(&mut self, client: usize) {
        let of = &mut self.clients[client];
        if of.filters.is_empty() || of.subscribing.is_some() || of.unsubscribing.is_some() {
            return;
        }
        let at = self.dice.place(of.filters.len());
        let Some(filter) = of.filters.keys().nth(at).cloned() else {
            return;
        };
        let number = of.number;
        let id = of.next_packet_id();
        of.unsubscribing = Some((id, filter.clone()));
        self.history.record(Event::Unsubscribed {
            subscriber: number,
            filter: filter.as_str().into(),
        });
        let filters = [TopicFilter::new(&filter, &Limits::generous()).unwrap()];
        let packet = Unsubscribe::new(PacketId::new(id).unwrap(), &filters);
        self.send(client, &Packet::Unsubscribe(packet));
    }
}
