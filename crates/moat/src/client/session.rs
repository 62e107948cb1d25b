//! CONNECT, PUBLISH and SUBSCRIBE with their answers. Waiting keeps the connection alive.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moat_codec::{
    Ack, Connect, Disconnect, Limits, Packet, PacketId, PacketType, Publish, QoS, ReasonCode,
    Subscribe, Subscription, SubscriptionOptions, TopicFilter, Version,
};
use rustls::ClientConfig;
use serde_json::Value;
use zeroize::{Zeroize, Zeroizing};

use super::connection::{ANSWER_TIMEOUT_SECS, Connection, Stopper};
use super::error::ClientError;
use super::target::Target;

/// The longest silence. Unit: seconds.
pub(crate) const KEEP_ALIVE_SECS: u16 = 60;
/// Messages kept that came before an answer. More of them end the connection.
const EARLY_MESSAGES_MAX: usize = 100_000;

/// How long [`Session::tend`] listens.
const TENDING: Duration = Duration::from_millis(5);

/// Who connects, and how.
pub(crate) struct Login {
    /// 5.0, or 3.1.1.
    pub(crate) version: Version,
    /// Empty for one of the broker's choice.
    pub(crate) client_id: String,
    /// The name of the user.
    pub(crate) user: Option<String>,
    /// The user's password.
    pub(crate) password: Option<Zeroizing<Vec<u8>>>,
    /// Whom to trust and who to be; `None` for no encryption.
    pub(crate) tls: Option<Arc<ClientConfig>>,
}

/// A message as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    /// Where.
    pub(crate) topic: String,
    /// What.
    pub(crate) payload: Vec<u8>,
    /// At which quality of service.
    pub(crate) qos: QoS,
    /// The RETAIN flag.
    pub(crate) retain: bool,
    /// The properties of 5.0 that people use, as JSON; empty if there are none.
    pub(crate) properties: serde_json::Map<String, Value>,
}

/// A connection whose CONNECT was accepted.
pub(crate) struct Session {
    connection: Connection,
    version: Version,
    last_id: u16,
    keep_alive: Duration,
    last_sent: Instant,
    /// When the PINGREQ was sent that has no answer yet.
    ping_sent: Option<Instant>,
    packet_bytes_max: u32,
    /// QoS 2 messages taken whose release is still to come.
    taken: BTreeSet<PacketId>,
    early: VecDeque<Message>,
}

impl Session {
    /// Connects and says who we are.
    ///
    /// # Errors
    /// The network, or the broker's refusal.
    pub(super) fn open(target: &Target, login: &Login) -> Result<Self, ClientError> {
        let mut session = Self {
            connection: Connection::open(target, login.tls.clone())?,
            version: login.version,
            last_id: 0,
            keep_alive: Duration::from_secs(KEEP_ALIVE_SECS.into()),
            last_sent: Instant::now(),
            ping_sent: None,
            packet_bytes_max: u32::MAX,
            taken: BTreeSet::new(),
            early: VecDeque::new(),
        };
        let mut connect = Connect::new(login.version, &login.client_id);
        connect.keep_alive_secs = KEEP_ALIVE_SECS;
        connect.username = login.user.as_deref();
        connect.password = login.password.as_ref().map(|password| &***password);
        session.send(&Packet::Connect(connect))?;
        let answer = session.answer()?;
        match session.decode(&answer)? {
            Packet::ConnAck(connack) if connack.reason.is_error() => {
                let told = connack.properties.reason_string.map(str::to_owned);
                Err(ClientError::ConnectRefused(connack.reason, told))
            }
            Packet::ConnAck(connack) => {
                let (secs, bytes) = (
                    connack.properties.server_keep_alive_secs,
                    connack.properties.maximum_packet_size,
                );
                // 0 switches it off [MQTT-3.1.2-21].
                session.keep_alive = match secs {
                    Some(0) => Duration::MAX,
                    Some(secs) => Duration::from_secs(secs.into()),
                    None => session.keep_alive,
                };
                session.packet_bytes_max = bytes.unwrap_or(u32::MAX);
                Ok(session)
            }
            _ => Err(ClientError::Protocol("the first packet is not a CONNACK")),
        }
    }

    /// A way to end the waiting from another thread.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn stopper(&self) -> Result<Stopper, ClientError> {
        self.connection.stopper()
    }

    /// Publishes a message. At QoS 1 and 2 it returns when the broker has taken it.
    ///
    /// # Errors
    /// The broker's refusal, or the end of the connection.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: QoS,
        retain: bool,
    ) -> Result<(), ClientError> {
        let id = self.next_id();
        let mut publish = Publish::new(topic, payload);
        (publish.qos, publish.retain) = (qos, retain);
        publish.packet_id = (qos != QoS::AtMostOnce).then_some(id);
        self.send(&Packet::Publish(publish))?;
        let refused = |reason: ReasonCode| match reason.is_error() {
            true => Err(ClientError::PublishRefused(topic.to_owned(), reason)),
            false => Ok(()),
        };
        match qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => refused(self.acknowledgement(PacketType::PubAck, id)?),
            QoS::ExactlyOnce => {
                refused(self.acknowledgement(PacketType::PubRec, id)?)?;
                self.send(&Packet::PubRel(Ack::new(id)))?;
                refused(self.acknowledgement(PacketType::PubComp, id)?)
            }
        }
    }

    /// Subscribes, and returns when all filters are granted.
    ///
    /// # Errors
    /// The first filter the broker refused, or the end of the connection.
    pub(crate) fn subscribe(
        &mut self,
        filters: &[TopicFilter<'_>],
        qos: QoS,
    ) -> Result<(), ClientError> {
        let id = self.next_id();
        let options = SubscriptionOptions::qos(qos);
        let subscriptions: Vec<_> = filters
            .iter()
            .map(|&filter| Subscription { filter, options })
            .collect();
        self.send(&Packet::Subscribe(Subscribe::new(id, &subscriptions)))?;
        loop {
            let bytes = self.answer()?;
            match self.decode(&bytes)? {
                Packet::SubAck(suback) if suback.packet_id == id => {
                    let refused = filters
                        .iter()
                        .zip(suback.reasons.iter())
                        .find(|(_, reason)| reason.is_error());
                    return match refused {
                        Some((filter, reason)) => Err(ClientError::SubscribeRefused(
                            filter.as_str().to_owned(),
                            reason,
                        )),
                        None => Ok(()),
                    };
                }
                // They may come before the answer (MQTT 5 section 3.8.4).
                _ => self.keep_early(&bytes)?,
            }
        }
    }

    /// The next message, however long it takes. Its acknowledgement is sent.
    ///
    /// # Errors
    /// The end of the connection, [`ClientError::Stopped`] included.
    pub(crate) fn message(&mut self) -> Result<Message, ClientError> {
        loop {
            if let Some(message) = self.early.pop_front() {
                return Ok(message);
            }
            if let Some(bytes) = self.receive(None)?
                && let Some(message) = self.take(&bytes)?
            {
                return Ok(message);
            }
        }
    }

    /// Looks after the connection of somebody who waits for something else, and takes a moment for it: keeps it alive,
    /// and notices its end.
    ///
    /// # Errors
    /// The end of the connection.
    pub(crate) fn tend(&mut self) -> Result<(), ClientError> {
        if let Some(bytes) = self.receive(Some(Instant::now() + TENDING))? {
            // Nothing was subscribed to, so there is no message to lose.
            self.take(&bytes)?;
        }
        Ok(())
    }

    /// Says goodbye.
    pub(crate) fn close(mut self) {
        // Whoever is gone already needs no goodbye.
        let _gone = self.send(&Packet::Disconnect(Disconnect::new(ReasonCode::Success)));
        self.connection.close();
    }

    /// Waits for PUBACK, PUBREC or PUBCOMP.
    fn acknowledgement(
        &mut self,
        kind: PacketType,
        id: PacketId,
    ) -> Result<ReasonCode, ClientError> {
        loop {
            let bytes = self.answer()?;
            match self.decode(&bytes)? {
                Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)
                    if ack.packet_id == id && PacketType::of_first_byte(bytes[0]) == Some(kind) =>
                {
                    return Ok(ack.reason);
                }
                _ => self.keep_early(&bytes)?,
            }
        }
    }

    /// Takes a packet that came before the answer that is waited for; its message is not lost.
    fn keep_early(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        if self.early.len() >= EARLY_MESSAGES_MAX {
            return Err(ClientError::Protocol("too many messages before an answer"));
        }
        let message = self.take(bytes)?;
        self.early.extend(message);
        Ok(())
    }

    /// A packet the broker owes us now.
    fn answer(&mut self) -> Result<Vec<u8>, ClientError> {
        let until = Instant::now() + Duration::from_secs(ANSWER_TIMEOUT_SECS);
        self.receive(Some(until))?.ok_or_else(|| self.silent())
    }

    /// The next packet that is not about keeping alive, or `None` if there is none by then.
    fn receive(&mut self, until: Option<Instant>) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let wake = until.map_or(self.next_ping(), |until| until.min(self.next_ping()));
            match self.connection.packet(wake)? {
                Some(bytes) => match self.decode(&bytes)? {
                    Packet::PingResp => self.ping_sent = None,
                    Packet::Disconnect(disconnect) => {
                        let told = disconnect.reason_string.map(str::to_owned);
                        return Err(ClientError::Ended(disconnect.reason, told));
                    }
                    _ => return Ok(Some(bytes)),
                },
                None if Instant::now() >= self.next_ping() => {
                    if self.ping_sent.is_some() {
                        return Err(self.silent());
                    }
                    self.send(&Packet::PingReq)?;
                    self.ping_sent = Some(Instant::now());
                }
                None if until.is_some_and(|until| until <= Instant::now()) => return Ok(None),
                None => {}
            }
        }
    }

    /// When to send a PINGREQ, or to give up waiting for its answer.
    fn next_ping(&self) -> Instant {
        let far = Duration::from_secs(u32::MAX.into());
        match self.ping_sent {
            Some(sent) => sent + Duration::from_secs(ANSWER_TIMEOUT_SECS),
            None => self.last_sent + (self.keep_alive / 2).min(far),
        }
    }

    /// Takes part in the exchange that a packet belongs to. Returns its message if it is a new one.
    fn take(&mut self, bytes: &[u8]) -> Result<Option<Message>, ClientError> {
        match self.decode(bytes)? {
            Packet::Publish(publish) => {
                let message = message_of(&publish);
                match publish.packet_id {
                    Some(id) if publish.qos == QoS::ExactlyOnce => {
                        let is_new = self.taken.insert(id);
                        self.send(&Packet::PubRec(Ack::new(id)))?;
                        return Ok(is_new.then_some(message));
                    }
                    Some(id) => self.send(&Packet::PubAck(Ack::new(id)))?,
                    None => {}
                }
                Ok(Some(message))
            }
            Packet::PubRel(ack) => {
                self.taken.remove(&ack.packet_id);
                self.send(&Packet::PubComp(Ack::new(ack.packet_id)))?;
                Ok(None)
            }
            // Late answers to what is already settled.
            Packet::PubAck(_) | Packet::PubRec(_) | Packet::PubComp(_) | Packet::SubAck(_) => {
                Ok(None)
            }
            _ => Err(ClientError::Protocol(
                "a packet that only a client sends, or a second CONNACK",
            )),
        }
    }

    fn send(&mut self, packet: &Packet<'_>) -> Result<(), ClientError> {
        let mut bytes = Vec::new();
        packet
            .encode(self.version, &mut bytes)
            .map_err(ClientError::Encode)?;
        let fits = u32::try_from(bytes.len()).is_ok_and(|len| len <= self.packet_bytes_max);
        let result = match fits {
            true => self.connection.send(&bytes),
            // [MQTT-3.2.2-15]
            false => Err(ClientError::TooLarge {
                bytes: bytes.len(),
                bytes_max: self.packet_bytes_max,
            }),
        };
        if let Packet::Connect(_) = packet {
            // It has the password in it.
            bytes.zeroize();
        }
        self.last_sent = Instant::now();
        result
    }

    fn decode<'b>(&self, bytes: &'b [u8]) -> Result<Packet<'b>, ClientError> {
        Packet::decode(bytes, self.version, &Limits::generous())
            .map_err(|_| ClientError::Protocol("a malformed packet"))
    }

    fn silent(&self) -> ClientError {
        ClientError::Timeout {
            place: self.connection.place(),
            secs: ANSWER_TIMEOUT_SECS,
        }
    }

    fn next_id(&mut self) -> PacketId {
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_id) {
                return id;
            }
        }
    }
}

fn message_of(publish: &Publish<'_>) -> Message {
    let mut properties = serde_json::Map::new();
    let mut set = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            properties.insert(key.to_owned(), value.into());
        }
    };
    set("content_type", publish.properties.content_type());
    set("response_topic", publish.properties.response_topic());
    let user: Vec<Value> = publish
        .properties
        .user()
        .map(|(name, value)| serde_json::json!([name, value]))
        .collect();
    if !user.is_empty() {
        properties.insert("user_properties".to_owned(), user.into());
    }
    Message {
        topic: publish.topic.to_owned(),
        payload: publish.payload.to_vec(),
        qos: publish.qos,
        retain: publish.retain,
        properties,
    }
}
