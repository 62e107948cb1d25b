//! Whole messages through a shard, from the bytes of a publisher to the bytes for its subscribers.

use std::net::SocketAddr;
use std::sync::Arc;

use moat_codec::{
    Ack, Connect, Packet, PacketId, PacketType, Publish, QoS, Subscribe, Subscription,
    SubscriptionOptions, TopicFilter, Version,
};
use moat_core::session::{Opening, SessionIndex};
use moat_core::shard::{Arrival, Then, Topology};
use moat_core::{ConnId, Effects, Limits, Shard, Time};
use moat_policy::Identity;

use crate::Path;
use crate::policy::ten_rules;

const TOPIC: &str = "plant/press-1/temperature";
const PAYLOAD: [u8; 64] = [b'x'; 64];
const VERSION: Version = Version::V311;
/// Receivers of [`FAN_OUT`].
const RECEIVERS: usize = 100;

/// QoS 0.
pub(crate) const ONE_AT_MOST_ONCE: Path = Path {
    name: "qos-0",
    what: "a message of QoS 0 from its publisher to its subscriber",
    begin: || {
        let mut world = World::new();
        let (writer, reader) = (world.client(), world.client());
        world.subscribe(reader, QoS::AtMostOnce);
        let publish = publish(QoS::AtMostOnce);
        Box::new(move || {
            world.receive(writer, &publish);
            world.sent(reader, publish.len());
        })
    },
};

/// QoS 1, both acknowledgements included.
pub(crate) const ONE_AT_LEAST_ONCE: Path = Path {
    name: "qos-1",
    what: "a message of QoS 1 from its publisher to its subscriber, both acknowledgements included",
    begin: || {
        let mut world = World::new();
        let (writer, reader) = (world.client(), world.client());
        world.subscribe(reader, QoS::AtLeastOnce);
        let publish = publish(QoS::AtLeastOnce);
        Box::new(move || {
            world.receive(writer, &publish);
            world.sent(writer, 4);
            world.sent(reader, publish.len());
            let answer = world.answer(PacketType::PubAck);
            world.receive(reader, &answer);
            world.next_id();
        })
    },
};

/// QoS 2, all of it.
pub(crate) const ONE_EXACTLY_ONCE: Path = Path {
    name: "qos-2",
    what: "a message of QoS 2 from its publisher to its subscriber, both handshakes included",
    begin: || {
        let mut world = World::new();
        let (writer, reader) = (world.client(), world.client());
        world.subscribe(reader, QoS::ExactlyOnce);
        let publish = publish(QoS::ExactlyOnce);
        let release = ack(PacketType::PubRel, 1);
        Box::new(move || {
            world.receive(writer, &publish);
            world.sent(writer, 4);
            world.receive(writer, &release);
            world.sent(writer, 4);
            world.sent(reader, publish.len());
            for packet in [PacketType::PubRec, PacketType::PubComp] {
                let answer = world.answer(packet);
                world.receive(reader, &answer);
            }
            world.sent(reader, 4);
            world.next_id();
        })
    },
};

/// QoS 0 for many.
pub(crate) const FAN_OUT: Path = Path {
    name: "fan-out-100",
    what: "a message of QoS 0 from its publisher to 100 subscribers",
    begin: || {
        let mut world = World::new();
        let writer = world.client();
        let readers: Vec<SessionIndex> = (0..RECEIVERS).map(|_| world.client()).collect();
        for reader in &readers {
            world.subscribe(*reader, QoS::AtMostOnce);
        }
        let publish = publish(QoS::AtMostOnce);
        Box::new(move || {
            world.receive(writer, &publish);
            for reader in &readers {
                world.sent(*reader, publish.len());
            }
        })
    },
};

/// For nobody.
pub(crate) const NOBODY: Path = Path {
    name: "nobody",
    what: "a message of QoS 0 that nobody wants",
    begin: || {
        let mut world = World::new();
        let writer = world.client();
        let publish = publish(QoS::AtMostOnce);
        Box::new(move || world.receive(writer, &publish))
    },
};

/// A shard with its clients.
struct World {
    shard: Shard,
    fx: Effects,
    clients: u32,
    /// The identifier of the next message to the subscriber.
    id: u16,
}

impl World {
    fn new() -> World {
        let topology = Topology::new(1);
        let limits = Limits {
            publishes_per_sec_max: 0,
            ..Limits::default()
        };
        let id = topology.shards().next().unwrap();
        World {
            shard: Shard::new(id, topology, limits, Arc::new(ten_rules(0))),
            fx: Effects::new(1),
            clients: 0,
            id: 1,
        }
    }

    fn client(&mut self) -> SessionIndex {
        self.clients += 1;
        let client_id = format!("press-1-{}", self.clients);
        let connect = Connect::new(VERSION, &client_id);
        let opening = Opening::of_packet(&connect, |_| false, || "".into()).unwrap();
        let arrival = Arrival {
            conn: ConnId {
                slot: self.clients,
                generation: 1,
            },
            address: SocketAddr::from(([127, 0, 0, 1], 1)).into(),
            listener: "paths".into(),
            tls: None,
            opening,
            identity: Arc::new(Identity::from_password("press-1")),
            expires_at: Time::NEVER,
        };
        let connected = self.shard.connect(arrival, Time::ZERO, &mut self.fx);
        let at = connected.unwrap_or_else(|_| panic!("refused"));
        self.sent(at, 4);
        at
    }

    fn subscribe(&mut self, at: SessionIndex, qos: QoS) {
        let options = SubscriptionOptions {
            qos,
            ..SubscriptionOptions::default()
        };
        let filter = TopicFilter::new(TOPIC, &moat_codec::Limits::default()).unwrap();
        let subscriptions = [Subscription { filter, options }];
        let mut bytes = Vec::new();
        let subscribe = Subscribe::new(PacketId::MIN, &subscriptions);
        subscribe.encode(VERSION, &mut bytes).unwrap();
        self.receive(at, &bytes);
        self.sent(at, 5);
    }

    fn receive(&mut self, at: SessionIndex, bytes: &[u8]) {
        let received = self.shard.receive(at, bytes, Time::ZERO, &mut self.fx);
        assert_eq!(received.consumed, bytes.len());
        assert!(matches!(received.then, Then::NeedMore(_)));
    }

    /// What the event loop does once the kernel has taken a client's bytes.
    fn sent(&mut self, at: SessionIndex, expected: usize) {
        let link = self.shard.link(at).unwrap();
        assert_eq!(link.out.len(), expected);
        let out = std::mem::take(&mut link.out);
        self.shard.pool().give(out);
        self.shard.flushed(at, Time::ZERO, &mut self.fx);
        self.fx.dirty.clear();
        self.fx.events.clear();
    }

    fn answer(&self, packet: PacketType) -> Vec<u8> {
        ack(packet, self.id)
    }

    fn next_id(&mut self) {
        self.id = self.id % u16::MAX + 1;
    }
}

fn ack(packet: PacketType, id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let ack = Ack::new(PacketId::new(id).unwrap());
    ack.encode(packet, VERSION, &mut bytes).unwrap();
    bytes
}

fn publish(qos: QoS) -> Vec<u8> {
    let mut publish = Publish::new(TOPIC, &PAYLOAD);
    publish.qos = qos;
    publish.packet_id = (qos != QoS::AtMostOnce).then_some(PacketId::MIN);
    let mut bytes = Vec::new();
    Packet::Publish(publish)
        .encode(VERSION, &mut bytes)
        .unwrap();
    bytes
}
