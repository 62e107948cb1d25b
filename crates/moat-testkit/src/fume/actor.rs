//! One client of a batch: it sends what makes sense where its session stands, and sometimes something else.

use std::num::{NonZeroU16, NonZeroU32};

use moat_codec::{
    Ack, Connect, Disconnect, Framed, Limits, Packet, PacketType, Publish, QoS, ReasonCode,
    RetainHandling, Subscribe, Subscription, SubscriptionOptions, TopicFilter, TopicName,
    Unsubscribe, Version, Will, frame,
};

use super::{Dice, mutate};
use crate::broker::Transport;
use crate::hostile::Target;
use crate::mqtt::packet_id;
use crate::raw::{RawClient, TlsOptions};
use crate::websocket::REQUEST;

/// How many of a hundred packets are changed.
const MUTATED_PERCENT: u64 = 25;
const TOPICS: &[&str] = &[
    "a",
    "a/b",
    "a/b/c",
    "/",
    "b//c",
    "$own/x",
    "honest/other",
    "long/x/y/z",
];
const FILTERS: &[&str] = &[
    "#",
    "+",
    "a/#",
    "a/+",
    "+/+",
    "a/b/c",
    "/#",
    "$own/#",
    "b/+/c",
    "$share/g/a/#",
    "$share/g/+",
];
const CLIENT_IDS: &[&str] = &["", "x", "y", "z", "zz"];

/// A client.
pub struct Actor {
    version: Version,
    transport: Transport,
    client: Option<RawClient>,
    /// Whether nothing that was sent on this connection was changed: then what the broker says has to make sense.
    is_clean: bool,
    is_connected: bool,
    next_id: u16,
    /// Identifiers of QoS 2 messages to release, and packets of the broker to answer.
    to_release: Vec<u16>,
    to_answer: Vec<(PacketType, u16)>,
    received: Vec<u8>,
    last: Vec<u8>,
    /// Connections made.
    pub connections: u64,
    /// Packets sent.
    pub packets: u64,
    /// Of these, changed.
    pub mutated: u64,
    /// Packets of the broker that were read.
    pub answers: u64,
}

impl Actor {
    /// A client without a connection.
    pub fn new(_number: u64, dice: &mut Dice) -> Self {
        Actor {
            version: *dice.pick(&[Version::V5, Version::V5, Version::V311, Version::V31]),
            transport: *dice.pick(&[
                Transport::Plain,
                Transport::Plain,
                Transport::Plain,
                Transport::Ws,
                Transport::Ws,
                Transport::Tls,
                Transport::Wss,
            ]),
            client: None,
            is_clean: true,
            is_connected: false,
            next_id: 0,
            to_release: Vec::new(),
            to_answer: Vec::new(),
            received: Vec::new(),
            last: Vec::new(),
            connections: 0,
            packets: 0,
            mutated: 0,
            answers: 0,
        }
    }

    /// Connects if it has no connection; otherwise reads what there is and sends one packet, or a few.
    pub fn turn(&mut self, target: &Target, dice: &mut Dice) {
        if self.client.is_none() {
            self.open(target, dice);
        }
        self.read();
        if dice.chance(3) {
            self.break_below(dice);
            return;
        }
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(3) {
            let packet = self.packet(dice);
            self.packets += 1;
            bytes.extend(self.perhaps_changed(packet, dice));
        }
        self.send(&bytes, dice);
    }

    /// The end of the batch.
    pub fn end(&mut self, dice: &mut Dice) {
        self.read();
        if let (Some(mut client), true) = (self.client.take(), dice.chance(50)) {
            let _gone = client.try_send(&[0xe0, 0]);
        }
    }

    fn open(&mut self, target: &Target, dice: &mut Dice) {
        self.connections += 1;
        (self.is_clean, self.is_connected) = (true, false);
        self.to_answer.clear();
        self.received.clear();
        let address = target.address(self.transport);
        let options = TlsOptions {
            ca_pem: &target.ca_pem,
            ..TlsOptions::default()
        };
        let mut client = if self.transport.is_tls() {
            if dice.chance(10) {
                // Something else than TLS, or a handshake that is none.
                let mut bytes = vec![0x16, 3, 1, 0, 60, 1, 0, 0, 56, 3, 3];
                bytes.extend((0..53).map(|_| dice.byte()));
                mutate(&mut bytes, REQUEST, dice);
                let _gone = RawClient::connect(address).try_send(&bytes);
            }
            RawClient::connect_tls(address, &options).unwrap()
        } else {
            RawClient::connect(address)
        };
        if self.transport.is_websocket() {
            if dice.chance(15) {
                let mut request = REQUEST.to_vec();
                mutate(&mut request, &self.last, dice);
                let _gone = client.try_send(&request);
                return;
            }
            client.upgrade();
        }
        client.version = self.version;
        self.client = Some(client);
    }

    /// Bytes of the layer below MQTT: frames of WebSocket that are none, or the end of the connection.
    fn break_below(&mut self, dice: &mut Dice) {
        let Some(mut client) = self.client.take() else {
            return;
        };
        if self.transport.is_websocket() {
            let mut frame = crate::websocket::frame(crate::websocket::BINARY, &self.last);
            mutate(&mut frame, REQUEST, dice);
            let _gone = client.try_send_below(&frame);
        }
        if dice.chance(50) {
            client.half_close_rudely();
        }
    }

    fn perhaps_changed(&mut self, packet: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = packet.clone();
        if dice.chance(MUTATED_PERCENT) {
            mutate(&mut bytes, &self.last, dice);
            self.mutated += 1;
            self.is_clean = false;
        }
        self.last = packet;
        bytes
    }

    fn send(&mut self, bytes: &[u8], dice: &mut Dice) {
        let Some(client) = &mut self.client else {
            return;
        };
        let split = dice.place(bytes.len() + 1);
        let is_whole = dice.chance(70);
        let sent = if is_whole {
            client.try_send(bytes)
        } else {
            let (first, second) = bytes.split_at(split);
            client
                .try_send(first)
                .and_then(|()| client.try_send(second))
        };
        if sent.is_err() {
            self.client = None;
        }
    }

    /// Reads what there is, without waiting, and remembers what has to be answered.
    fn read(&mut self) {
        let Some(client) = &mut self.client else {
            return;
        };
        let is_open = client.read_available(&mut self.received);
        let limits = Limits::generous();
        while self.is_clean {
            match frame(&self.received, &limits) {
                Ok(Framed::Complete { total, .. }) => {
                    let bytes: Vec<u8> = self.received.drain(..total).collect();
                    let packet =
                        Packet::decode(&bytes, self.version, &limits).unwrap_or_else(|error| {
                            panic!("moat sent a bad packet: {error}: {bytes:02x?}")
                        });
                    self.answers += 1;
                    self.note(&packet);
                }
                Ok(Framed::Incomplete { .. }) => break,
                Err(error) => panic!("moat sent no packet: {error}: {:02x?}", self.received),
            }
        }
        if !is_open {
            self.client = None;
        }
    }

    fn note(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::ConnAck(connack) => self.is_connected = !connack.reason.is_error(),
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    let kind = match publish.qos {
                        QoS::ExactlyOnce => PacketType::PubRec,
                        _ => PacketType::PubAck,
                    };
                    self.to_answer.push((kind, id.value()));
                }
            }
            Packet::PubRel(ack) => self
                .to_answer
                .push((PacketType::PubComp, ack.packet_id.value())),
            Packet::PubRec(ack) if !ack.reason.is_error() => {
                self.to_release.push(ack.packet_id.value())
            }
            _ => {}
        }
    }

    /// The bytes of the next packet, as a client where this one stands would send it.
    fn packet(&mut self, dice: &mut Dice) -> Vec<u8> {
        let version = self.version;
        if !self.is_connected {
            // It does not wait for the CONNACK, mostly.
            self.is_connected = dice.chance(95);
            return self.connect(dice);
        }
        let kind = dice.below(100);
        match kind {
            0..30 => self.publish(dice),
            30..50 => self.subscribe(dice),
            50..57 => self.unsubscribe(dice),
            57..80 => self.answer(dice),
            80..90 => vec![0xc0, 0],
            90..93 => self.disconnect(dice),
            93..95 => self.connect(dice),
            95..97 => vec![0xf0, 0],
            97 => vec![0x20, 2, 0, 0],
            98 => vec![0xd0, 0],
            _ => bytes_of(&Packet::PubAck(Ack::new(packet_id(self.id()))), version),
        }
    }

    fn id(&mut self) -> u16 {
        self.next_id = self.next_id % 20 + 1;
        self.next_id
    }

    fn connect(&mut self, dice: &mut Dice) -> Vec<u8> {
        let mut connect = Connect::new(self.version, dice.word(CLIENT_IDS));
        connect.clean_start = dice.chance(50) || connect.client_id.is_empty();
        connect.keep_alive_secs = *dice.pick(&[0, 1, 60, u16::MAX]);
        if dice.chance(20) {
            (connect.username, connect.password) =
                (Some("anna"), Some(b"no password of anybody".as_slice()));
        }
        if dice.chance(40) {
            connect.will = Some(Will {
                topic: TopicName::new(dice.word(TOPICS), &Limits::generous()).unwrap(),
                payload: b"gone",
                qos: *dice.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]),
                retain: dice.chance(30),
                delay_secs: 0,
                message_expiry_secs: None,
                properties: Default::default(),
            });
        }
        if self.version.is_v5() {
            connect.properties.session_expiry_secs = dice.chance(50).then_some(2);
            let maximum = *dice.pick(&[1, 2, 1000]);
            connect.properties.receive_maximum =
                dice.chance(30).then(|| NonZeroU16::new(maximum)).flatten();
            let size = *dice.pick(&[30, 100, 4096]);
            connect.properties.maximum_packet_size =
                dice.chance(20).then(|| NonZeroU32::new(size)).flatten();
        }
        bytes_of(&Packet::Connect(connect), self.version)
    }

    fn publish(&mut self, dice: &mut Dice) -> Vec<u8> {
        let lengths = [0_usize, 1, 10, 300, 4000];
        let payload: Vec<u8> = vec![dice.byte(); *dice.pick(&lengths)];
        let is_v5 = self.version.is_v5();
        let has_alias = is_v5 && dice.chance(30);
        let topic = if has_alias && dice.chance(50) {
            ""
        } else {
            dice.word(TOPICS)
        };
        let mut publish = Publish::new(topic, &payload);
        publish.qos = *dice.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
        publish.packet_id = (publish.qos != QoS::AtMostOnce).then(|| packet_id(self.id()));
        publish.retain = dice.chance(20);
        publish.dup = publish.qos != QoS::AtMostOnce && dice.chance(20);
        if has_alias {
            publish.topic_alias = NonZeroU16::new(*dice.pick(&[1, 2, 8, 9]));
        }
        if is_v5 && dice.chance(10) {
            publish.message_expiry_secs = Some(1);
        }
        bytes_of(&Packet::Publish(publish), self.version)
    }

    fn subscribe(&mut self, dice: &mut Dice) -> Vec<u8> {
        let limits = Limits::generous();
        let subscriptions: Vec<_> = (0..1 + dice.below(3))
            .map(|_| {
                let filter = TopicFilter::new(dice.word(FILTERS), &limits).unwrap();
                let mut options = self.options(dice);
                // The encoder makes no such packet; changed bytes do.
                options.no_local &= filter.shared().is_none();
                Subscription { filter, options }
            })
            .collect();
        let mut subscribe = Subscribe::new(packet_id(self.id()), &subscriptions);
        if self.version.is_v5() && dice.chance(30) {
            subscribe.subscription_id = NonZeroU32::new(1 + u32::from(dice.byte()));
        }
        bytes_of(&Packet::Subscribe(subscribe), self.version)
    }

    fn options(&self, dice: &mut Dice) -> SubscriptionOptions {
        let mut options = SubscriptionOptions::qos(*dice.pick(&[
            QoS::AtMostOnce,
            QoS::AtLeastOnce,
            QoS::ExactlyOnce,
        ]));
        if self.version.is_v5() {
            options.no_local = dice.chance(20);
            options.retain_as_published = dice.chance(20);
            options.retain_handling = *dice.pick(&[
                RetainHandling::SendAlways,
                RetainHandling::SendIfNew,
                RetainHandling::DoNotSend,
            ]);
        }
        options
    }

    fn unsubscribe(&mut self, dice: &mut Dice) -> Vec<u8> {
        let filter = [TopicFilter::new(dice.word(FILTERS), &Limits::generous()).unwrap()];
        let unsubscribe = Unsubscribe::new(packet_id(self.id()), &filter);
        bytes_of(&Packet::Unsubscribe(unsubscribe), self.version)
    }

    /// What is owed: acknowledgements of messages, and releases; something nobody asked for if nothing is.
    fn answer(&mut self, dice: &mut Dice) -> Vec<u8> {
        let owed = self.to_answer.pop();
        let owed = owed.or_else(|| Some((PacketType::PubRel, self.to_release.pop()?)));
        let kinds = [
            PacketType::PubAck,
            PacketType::PubRec,
            PacketType::PubRel,
            PacketType::PubComp,
        ];
        let (kind, id) = owed.unwrap_or_else(|| (*dice.pick(&kinds), self.id()));
        let ack = Ack::new(packet_id(id));
        let packet = match kind {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            _ => Packet::PubComp(ack),
        };
        bytes_of(&packet, self.version)
    }

    fn disconnect(&mut self, dice: &mut Dice) -> Vec<u8> {
        let mut disconnect = Disconnect::new(ReasonCode::Success);
        if self.version.is_v5() && dice.chance(50) {
            disconnect.reason = ReasonCode::DisconnectWithWill;
        }
        self.is_connected = false;
        bytes_of(&Packet::Disconnect(disconnect), self.version)
    }
}

/// The bytes of a packet; those of a PINGREQ in place of one that no version has.
fn bytes_of(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    match packet.encode(version, &mut bytes) {
        Ok(_) => bytes,
        Err(_) => vec![0xc0, 0],
    }
}
