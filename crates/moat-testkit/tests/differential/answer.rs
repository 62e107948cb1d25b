//! What a broker said, without what the standard leaves to it: order between streams, packet identifiers, names.

use std::collections::{BTreeMap, HashMap};

use moat_codec::{ConnAck, Limits, Packet, PacketType, Publish, Version};

use crate::shape::NONCE;

/// Seconds to which an expiry is rounded up, so that a second more or less in a test makes no difference.
const EXPIRY_STEP_SECS: u32 = 10;

/// One packet of a broker, or the end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Said {
    ConnAck {
        present: bool,
        reason: u8,
        /// Assigned client identifier, session expiry, keep alive, authentication: what is about this client.
        about: Vec<String>,
        /// What the broker takes of everybody.
        offers: BTreeMap<&'static str, u32>,
    },
    PubAck(u16, u8),
    PubRec(u16, u8),
    PubRel(u16, u8),
    PubComp(u16, u8),
    SubAck(u16, Vec<u8>),
    UnsubAck(u16, Vec<u8>),
    PingResp,
    Publish(Message),
    Auth(u8),
    Disconnect(u8),
    /// What cannot be decoded.
    Bad(String),
    /// Closed within a packet.
    Torn,
    Closed,
    /// Neither an answer nor an end within the time allowed.
    Silent,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Message {
    /// Messages of one topic and QoS stay in order [MQTT-4.6.0-5]; others have none between them.
    pub(crate) topic: String,
    pub(crate) qos: u8,
    /// The n-th identifier this session was sent.
    pub(crate) id: Option<u16>,
    pub(crate) payload: String,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) expiry: Option<u32>,
    pub(crate) subscriptions: Vec<u32>,
    pub(crate) properties: Vec<String>,
}

/// What only one connection's packets can be understood with.
pub(crate) struct Reader {
    pub(crate) version: Version,
    aliases: HashMap<u16, String>,
    nonce: String,
}

impl Reader {
    pub(crate) fn new(version: Version, nonce: &[u8; 8]) -> Self {
        Self {
            version,
            aliases: HashMap::new(),
            nonce: String::from_utf8(nonce.to_vec()).unwrap(),
        }
    }

    /// What a packet says; packet identifiers are the broker's still.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Said {
        // A refusal may be in an older form than the CONNECT: 3.x has two bytes.
        let is_old = bytes.first() == Some(&0x20) && bytes.get(1) == Some(&2);
        let version = if is_old { Version::V311 } else { self.version };
        let packet = match Packet::decode(bytes, version, &Limits::generous()) {
            Ok(packet) => packet,
            Err(error) => return Said::Bad(format!("{error}: {bytes:02x?}")),
        };
        match packet {
            Packet::ConnAck(ack) => connack(&ack, version),
            Packet::Publish(publish) => self.publish(&publish),
            Packet::PubAck(ack) => Said::PubAck(ack.packet_id.value(), ack.reason.byte()),
            Packet::PubRec(ack) => Said::PubRec(ack.packet_id.value(), ack.reason.byte()),
            Packet::PubRel(ack) => Said::PubRel(ack.packet_id.value(), ack.reason.byte()),
            Packet::PubComp(ack) => Said::PubComp(ack.packet_id.value(), ack.reason.byte()),
            Packet::SubAck(ack) => Said::SubAck(ack.packet_id.value(), codes(ack.reasons.iter())),
            Packet::UnsubAck(ack) => {
                Said::UnsubAck(ack.packet_id.value(), codes(ack.reasons.iter()))
            }
            Packet::PingResp => Said::PingResp,
            Packet::Disconnect(packet) => Said::Disconnect(packet.reason.byte()),
            Packet::Auth(auth) => Said::Auth(auth.reason.byte()),
            Packet::Connect(_)
            | Packet::Subscribe(_)
            | Packet::Unsubscribe(_)
            | Packet::PingReq => Said::Bad(format!("only clients send this: {bytes:02x?}")),
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) -> Said {
        let mut topic = publish.topic.replace(&self.nonce, "N");
        if let Some(alias) = publish.topic_alias {
            if topic.is_empty() {
                topic = match self.aliases.get(&alias.get()) {
                    Some(topic) => topic.clone(),
                    None => return Said::Bad(format!("alias {alias} stands for nothing")),
                };
            } else {
                self.aliases.insert(alias.get(), topic.clone());
            }
        }
        let rounded = |secs: u32| secs.div_ceil(EXPIRY_STEP_SECS) * EXPIRY_STEP_SECS;
        let mut subscriptions: Vec<u32> = publish.subscription_ids.iter().collect();
        subscriptions.sort_unstable();
        let properties = publish.properties.iter();
        Said::Publish(Message {
            topic,
            qos: publish.qos.bits(),
            id: publish.packet_id.map(|id| id.value()),
            payload: String::from_utf8_lossy(publish.payload).replace(&self.nonce, "N"),
            retain: publish.retain,
            dup: publish.dup,
            expiry: publish.message_expiry_secs.map(rounded),
            subscriptions,
            properties: properties
                .map(|property| format!("{property:?}").replace(&self.nonce, "N"))
                .collect(),
        })
    }
}

fn codes(reasons: impl Iterator<Item = moat_codec::ReasonCode>) -> Vec<u8> {
    reasons.map(moat_codec::ReasonCode::byte).collect()
}

fn connack(ack: &ConnAck<'_>, version: Version) -> Said {
    let told = &ack.properties;
    let mut about = Vec::new();
    if told.assigned_client_id.is_some() {
        about.push("assigned client id".to_owned());
    }
    about.extend(
        told.session_expiry_secs
            .map(|secs| format!("session expiry {secs}")),
    );
    about.extend(
        told.server_keep_alive_secs
            .map(|secs| format!("keep alive {secs}")),
    );
    about.extend(
        told.authentication_method
            .map(|method| format!("method {method}")),
    );
    let mut offers = BTreeMap::new();
    if version.is_v5() && !ack.reason.is_error() {
        let yes = |offered: Option<bool>| u32::from(offered.unwrap_or(true));
        offers.insert(
            "receive maximum",
            told.receive_maximum.map_or(65_535, |max| max.get().into()),
        );
        offers.insert(
            "topic alias maximum",
            told.topic_alias_maximum.unwrap_or(0).into(),
        );
        offers.insert(
            "maximum qos",
            told.maximum_qos.map_or(2, |qos| qos.bits().into()),
        );
        offers.insert("retain", yes(told.retain_available));
        offers.insert("wildcards", yes(told.wildcard_subscription_available));
        offers.insert(
            "subscription ids",
            yes(told.subscription_identifiers_available),
        );
        offers.insert("shared", yes(None));
    }
    Said::ConnAck {
        present: ack.session_present,
        // 3.x has codes of its own.
        reason: if version.is_v5() {
            ack.reason.byte()
        } else {
            ack.reason.connack_v3()
        },
        about,
        offers,
    }
}

impl Said {
    /// Whether the client has to answer.
    pub(crate) fn wants_answer(&self) -> Option<(PacketType, u16)> {
        match self {
            Self::Publish(message) => message.id.map(|id| {
                let kind = if message.qos == 1 {
                    PacketType::PubAck
                } else {
                    PacketType::PubRec
                };
                (kind, id)
            }),
            Self::PubRel(id, _) => Some((PacketType::PubComp, *id)),
            Self::PubRec(id, reason) if *reason < 0x80 => Some((PacketType::PubRel, *id)),
            _ => None,
        }
    }

    /// Where it stands among what has no order of its own: answers, then messages, then the end.
    fn rank(&self) -> (u8, String, u8) {
        match self {
            Self::ConnAck { .. } => (0, String::new(), 0),
            Self::PubAck(id, _) => (1, format!("{id:05}"), 0),
            Self::PubRec(id, _) => (2, format!("{id:05}"), 0),
            Self::PubComp(id, _) => (3, format!("{id:05}"), 0),
            Self::SubAck(id, _) => (4, format!("{id:05}"), 0),
            Self::UnsubAck(id, _) => (5, format!("{id:05}"), 0),
            Self::PingResp => (6, String::new(), 0),
            Self::Publish(message) => (7, message.topic.clone(), message.qos),
            // In the order of their PUBLISHes [MQTT-4.3.3-13], whatever stands between.
            Self::PubRel(..) => (8, String::new(), 0),
            Self::Auth(_) => (9, String::new(), 0),
            Self::Disconnect(_) => (10, String::new(), 0),
            Self::Bad(_) => (11, String::new(), 0),
            Self::Torn => (12, String::new(), 0),
            Self::Closed | Self::Silent => (13, String::new(), 0),
        }
    }
}

/// Sorts what came in one step; packets of one stream keep their order.
pub(crate) fn sort(said: &mut [Said]) {
    said.sort_by_cached_key(Said::rank);
}

/// The identifiers a session was sent, in order.
#[derive(Default)]
pub(crate) struct Identifiers(Vec<u16>);

impl Identifiers {
    /// Which one this is; PUBRELs and repeated PUBLISHes have that of their first PUBLISH.
    pub(crate) fn ordinal(&mut self, id: u16) -> u16 {
        let place = self.0.iter().position(|known| *known == id);
        let place = place.unwrap_or_else(|| {
            self.0.push(id);
            self.0.len() - 1
        });
        u16::try_from(place + 1).unwrap()
    }
}

/// The client identifier of a CONNECT, as far as it can be read, for the map of [`Identifiers`].
pub(crate) fn client_of(connect: &[u8]) -> Vec<u8> {
    let at = connect
        .windows(NONCE.len())
        .position(|window| window == NONCE);
    // Its two first bytes tell the clients of one sequence apart.
    at.map_or_else(Vec::new, |at| connect[at.saturating_sub(2)..at].to_vec())
}
