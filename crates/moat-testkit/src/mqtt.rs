//! What a well-behaved client says, on top of [`RawClient`].

use moat_codec::{
    Ack, Connect, Limits, Packet, PacketId, PacketType, Publish, QoS, ReasonCode, Subscribe,
    Subscription, SubscriptionOptions, TopicFilter,
};

use crate::raw::{RawClient, decode};

/// A message as it arrived.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// At which quality of service.
    pub qos: QoS,
    /// The RETAIN flag.
    pub retain: bool,
    /// The DUP flag.
    pub dup: bool,
    /// At QoS 1 and 2.
    pub packet_id: Option<PacketId>,
}

/// A packet identifier that is not 0.
#[must_use]
pub fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).expect("a packet identifier is not 0")
}

/// A PUBLISH to encode.
#[must_use]
pub fn publish<'a>(topic: &'a str, payload: &'a [u8], qos: QoS, id: u16) -> Packet<'a> {
    let mut publish = Publish::new(topic, payload);
    publish.qos = qos;
    publish.packet_id = (qos != QoS::AtMostOnce).then(|| packet_id(id));
    Packet::Publish(publish)
}

impl RawClient {
    /// Sends a plain CONNECT with clean start. Returns the reason of the CONNACK.
    pub fn try_hello(&mut self, client_id: &str) -> ReasonCode {
        let version = self.version;
        self.connect_with(&Connect::new(version, client_id))
    }

    /// Sends a plain CONNECT with clean start, and fails unless it is accepted.
    pub fn hello(&mut self, client_id: &str) -> &mut Self {
        assert_eq!(self.try_hello(client_id), ReasonCode::Success, "CONNACK");
        self
    }

    /// Sends a CONNECT. Returns the reason of the CONNACK.
    pub fn connect_with(&mut self, connect: &Connect<'_>) -> ReasonCode {
        self.version = connect.version;
        self.send_packet(&Packet::Connect(connect.clone()));
        self.connack()
    }

    /// Receives a CONNACK. Returns its reason.
    pub fn connack(&mut self) -> ReasonCode {
        self.recv(|packet| match packet {
            Packet::ConnAck(connack) => connack.reason,
            other => panic!("not a CONNACK: {other:?}"),
        })
    }

    /// Subscribes to one filter. Returns the reason of the SUBACK.
    pub fn try_subscribe(&mut self, filter: &str, qos: QoS) -> ReasonCode {
        let subscriptions = [Subscription {
            filter: TopicFilter::new(filter, &Limits::generous()).unwrap(),
            options: SubscriptionOptions::qos(qos),
        }];
        self.send_packet(&Packet::Subscribe(Subscribe::new(
            packet_id(1),
            &subscriptions,
        )));
        self.suback()
    }

    /// Subscribes to one filter and fails unless it is granted.
    pub fn subscribe(&mut self, filter: &str, qos: QoS) -> &mut Self {
        let reason = self.try_subscribe(filter, qos);
        assert!(!reason.is_error(), "SUBACK: {reason:?}");
        self
    }

    /// Receives a SUBACK. Returns its first reason. Messages may come before it (MQTT 5 section 3.8.4); they are kept
    /// for later.
    pub fn suback(&mut self) -> ReasonCode {
        loop {
            let bytes = self
                .fresh_packet()
                .expect("a SUBACK, but the connection is closed");
            match decode(&bytes, self.version) {
                Packet::SubAck(suback) => return suback.reasons.iter().next().unwrap(),
                Packet::Publish(_) => self.early.push_back(bytes),
                other => panic!("not a SUBACK: {other:?}"),
            }
        }
    }

    /// Sends a PUBLISH and waits for nothing.
    pub fn publish(&mut self, topic: &str, payload: &[u8], qos: QoS, id: u16) -> &mut Self {
        self.send_packet(&publish(topic, payload, qos, id));
        self
    }

    /// Receives a PUBLISH, without acknowledging it.
    pub fn message(&mut self) -> Message {
        self.recv(|packet| {
            message_of(&packet).unwrap_or_else(|| panic!("not a PUBLISH: {packet:?}"))
        })
    }

    /// Receives the next message and takes part in its whole exchange, PUBRELs before it included.
    pub fn take_message(&mut self) -> Message {
        loop {
            if let Some(message) = self.step() {
                return message;
            }
        }
    }

    /// Sends a PINGREQ and takes part in all exchanges until its answer comes: nothing is left open then. Fails if a
    /// message arrives.
    pub fn settle(&mut self) -> &mut Self {
        self.send_packet(&Packet::PingReq);
        let mut answered = false;
        while !answered {
            let bytes = self.read_packet();
            answered = matches!(decode(&bytes, self.version), Packet::PingResp);
            self.early.push_front(bytes);
            let message = self.step();
            assert_eq!(message, None, "nothing should be left");
        }
        self
    }

    /// Receives one packet and answers it. Returns the message if it was a PUBLISH.
    pub(crate) fn step(&mut self) -> Option<Message> {
        let (message, answer) = self.recv(|packet| {
            let answer = match &packet {
                Packet::PubRel(ack) => Some((PacketType::PubComp, ack.packet_id)),
                Packet::PubRec(ack) => Some((PacketType::PubRel, ack.packet_id)),
                Packet::Publish(publish) => publish.packet_id.map(|id| match publish.qos {
                    QoS::ExactlyOnce => (PacketType::PubRec, id),
                    _ => (PacketType::PubAck, id),
                }),
                Packet::PubAck(_) | Packet::PubComp(_) | Packet::PingResp => None,
                other => panic!("unexpected {other:?}"),
            };
            (message_of(&packet), answer)
        });
        if let Some((kind, id)) = answer {
            self.acknowledge(kind, id);
        }
        message
    }

    /// Sends PUBACK, PUBREC, PUBREL or PUBCOMP.
    pub fn acknowledge(&mut self, kind: PacketType, id: PacketId) {
        let ack = Ack::new(id);
        self.send_packet(&match kind {
            PacketType::PubAck => Packet::PubAck(ack),
            PacketType::PubRec => Packet::PubRec(ack),
            PacketType::PubRel => Packet::PubRel(ack),
            PacketType::PubComp => Packet::PubComp(ack),
            other => panic!("{other:?} is no acknowledgement"),
        });
    }

    /// Receives an acknowledgement of the given kind and returns its identifier and reason.
    pub fn expect_ack(&mut self, kind: PacketType) -> (PacketId, ReasonCode) {
        self.recv(|packet| match &packet {
            Packet::PubAck(ack)
            | Packet::PubRec(ack)
            | Packet::PubRel(ack)
            | Packet::PubComp(ack)
                if packet.packet_type() == kind =>
            {
                (ack.packet_id, ack.reason)
            }
            other => panic!("not a {kind:?}: {other:?}"),
        })
    }

    /// Publishes and takes part in the whole exchange. Returns the reason of the first answer.
    pub fn publish_fully(&mut self, topic: &str, payload: &[u8], qos: QoS, id: u16) -> ReasonCode {
        self.publish(topic, payload, qos, id);
        match qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => self.expect_ack(PacketType::PubAck).1,
            QoS::ExactlyOnce => {
                let (id, reason) = self.expect_ack(PacketType::PubRec);
                if !reason.is_error() {
                    self.acknowledge(PacketType::PubRel, id);
                    self.expect_ack(PacketType::PubComp);
                }
                reason
            }
        }
    }

    /// Sends a PINGREQ and waits for its answer: everything sent before was handled by then.
    pub fn ping(&mut self) -> &mut Self {
        self.send_packet(&Packet::PingReq);
        self.recv(|packet| {
            assert!(
                matches!(packet, Packet::PingResp),
                "not a PINGRESP: {packet:?}"
            )
        });
        self
    }

    /// Receives a DISCONNECT. Returns its reason.
    pub fn expect_disconnect(&mut self) -> ReasonCode {
        self.recv(|packet| match packet {
            Packet::Disconnect(disconnect) => disconnect.reason,
            other => panic!("not a DISCONNECT: {other:?}"),
        })
    }
}

fn message_of(packet: &Packet<'_>) -> Option<Message> {
    let Packet::Publish(publish) = packet else {
        return None;
    };
    Some(Message {
        topic: publish.topic.to_owned(),
        payload: publish.payload.to_vec(),
        qos: publish.qos,
        retain: publish.retain,
        dup: publish.dup,
        packet_id: publish.packet_id,
    })
}
