//! What one connection says and understands.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use moat_codec::{
    Ack, ConnAck, Connect, Disconnect, Framed, Limits, Packet, PacketId, PacketType, Publish, QoS,
    ReasonCode, Subscribe, Subscription, SubscriptionOptions, TopicFilter, frame,
};
use rustls_pki_types::ServerName;

use super::exchange::Exchange;
use super::plan::{Mode, Plan, Role};
use super::stamp::Stamp;
use super::tally::Tally;
use super::wire::{Fill, Wire};
use crate::client::{ANSWER_TIMEOUT_SECS, ClientError, KEEP_ALIVE_SECS, Login, Target};

/// A client with as many bytes waiting sends no more until the kernel has taken them.
const WAITING_BYTES_MAX: usize = 64 << 10;
/// What a CONNECT has beside its texts.
const CONNECT_BYTES_MAX: usize = 64;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(ANSWER_TIMEOUT_SECS);

/// What all connections of a run share.
pub(super) struct Run<'p> {
    pub(super) plan: &'p Plan,
    pub(super) target: &'p Target,
    pub(super) login: &'p Login,
    pub(super) address: SocketAddr,
    pub(super) name: Option<ServerName<'static>>,
    /// What times are counted from.
    pub(super) start: Instant,
    /// Tells our messages from those of others.
    pub(super) id: u64,
    pub(super) tally: Tally,
    /// The payload of every message, but for its stamp.
    pub(super) payload: Vec<u8>,
    /// Where reads go first.
    pub(super) buffer: Vec<u8>,
}

impl Run<'_> {
    fn nanos(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Every connection has a client id of its own; without a name the broker chooses one.
    fn client_id(&self, number: u64) -> String {
        let base = &self.login.client_id;
        if base.is_empty() || self.plan.connections() == 1 {
            base.clone()
        } else {
            format!("{base}-{number}")
        }
    }

    pub(super) fn of_io(&self, error: &io::Error) -> ClientError {
        ClientError::of_io(error, self.target, ANSWER_TIMEOUT_SECS)
    }
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// TCP, TLS and CONNECT; the CONNACK is still to come.
    Greeting,
    /// The SUBACK is still to come.
    Subscribing,
    /// Messages go either way.
    Ready,
    /// The goodbye was said; what comes is thrown away until the broker closes.
    Closing,
}

/// A connection.
pub(super) struct Client {
    number: u64,
    state: State,
    wire: Wire,
    /// Received, from the start of a packet on.
    input: Vec<u8>,
    opened: Instant,
    opened_nanos: u64,
    last_sent: Instant,
    keep_alive: Duration,
    ping_sent: Option<Instant>,
    /// The broker has closed its side; what it said before may still be unread.
    is_closed: bool,
    exchange: Exchange,
    /// The number of the next message, sent or expected.
    next_number: u64,
    /// QoS 2 messages received whose release is still to come.
    taken: BTreeSet<PacketId>,
    /// Whether the engine has it in its queue of those that may publish.
    pub(super) is_queued: bool,
}

impl Client {
    /// Begins to connect, with the CONNECT behind it.
    ///
    /// # Errors
    /// No descriptor or no port is left, or a text is too long for MQTT.
    pub(super) fn open(number: u64, run: &Run<'_>) -> Result<Self, ClientError> {
        let tls = run.login.tls.clone().zip(run.name.clone());
        let mut wire = Wire::open(run.address, tls).map_err(|error| run.of_io(&error))?;
        let now = Instant::now();
        let id = run.client_id(number);
        let mut connect = Connect::new(run.login.version, &id);
        connect.keep_alive_secs = KEEP_ALIVE_SECS;
        connect.username = run.login.user.as_deref();
        connect.password = run.login.password.as_ref().map(|password| &***password);
        let texts = [Some(id.len()), run.login.user.as_ref().map(String::len)];
        let secret = run.login.password.as_ref().map_or(0, |secret| secret.len());
        // At once, so that no copy of the password is left behind by growing.
        wire.output()
            .reserve(CONNECT_BYTES_MAX + secret + texts.into_iter().flatten().sum::<usize>());
        wire.has_secret();
        Packet::Connect(connect)
            .encode(run.login.version, wire.output())
            .map_err(ClientError::Encode)?;
        Ok(Self {
            number,
            state: State::Greeting,
            wire,
            input: Vec::new(),
            opened: now,
            opened_nanos: run.nanos(),
            last_sent: now,
            keep_alive: Duration::from_secs(KEEP_ALIVE_SECS.into()),
            ping_sent: None,
            is_closed: false,
            exchange: Exchange::new(run.plan.inflight),
            next_number: 0,
            taken: BTreeSet::new(),
            is_queued: false,
        })
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Messages on their way to the broker.
    pub(super) fn open_messages(&self) -> usize {
        self.exchange.open()
    }

    /// Whether something was asked of the broker, or waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.exchange.open() > 0 || !self.wire.is_flushed()
    }

    /// Whether it may publish now.
    pub(super) fn can_publish(&self, run: &Run<'_>) -> bool {
        self.state == State::Ready
            && matches!(run.plan.role(self.number), Role::Publisher(_))
            && self.wire.waiting() < WAITING_BYTES_MAX
            && (run.plan.qos == QoS::AtMostOnce || self.exchange.has_room())
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// The message cannot be written.
    pub(super) fn publish(&mut self, run: &mut Run<'_>) -> Result<(), ClientError> {
        let Role::Publisher(topic) = run.plan.role(self.number) else {
            return Ok(());
        };
        let sent_nanos = run.nanos();
        if run.plan.mode == Mode::Latency {
            let stamp = Stamp {
                run: run.id,
                number: self.next_number,
                sent_nanos,
            };
            stamp.write(&mut run.payload);
        }
        let mut publish = Publish::new(topic, &run.payload);
        publish.qos = run.plan.qos;
        if run.plan.qos != QoS::AtMostOnce {
            publish.packet_id = self.exchange.begin(sent_nanos);
        }
        publish
            .encode(run.login.version, self.wire.output())
            .map_err(ClientError::Encode)?;
        self.next_number += 1;
        run.tally.sent += 1;
        run.tally.bytes_sent += run.payload.len() as u64;
        Ok(())
    }

    /// Sends what the kernel takes.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn flush(&mut self, run: &Run<'_>, now: Instant) -> Result<(), ClientError> {
        if !self.wire.is_flushed() {
            self.last_sent = now;
        }
        self.wire.flush().map_err(|error| run.of_io(&error))
    }

    /// Takes what came. Returns whether there may be more.
    ///
    /// # Errors
    /// The connection is gone, the broker refuses something, or what came is wrong.
    pub(super) fn receive(
        &mut self,
        run: &mut Run<'_>,
        is_closed: bool,
    ) -> Result<bool, ClientError> {
        let mut input = std::mem::take(&mut self.input);
        let mut buffer = std::mem::take(&mut run.buffer);
        // That is told once, and there may be more to read than this turn takes.
        self.is_closed |= is_closed;
        let fill = self.wire.read(&mut buffer, &mut input, self.is_closed);
        run.buffer = buffer;
        let used = self.packets(&input, run)?;
        if used == input.len() {
            input = Vec::new();
        } else {
            input.drain(..used);
        }
        self.input = input;
        match fill {
            Ok(Fill::Empty) => Ok(false),
            Ok(Fill::More) => Ok(true),
            Ok(Fill::End) => Err(ClientError::Closed),
            Err(error) => Err(run.of_io(&error)),
        }
    }

    /// Takes the whole packets of `input`. Returns how many bytes they have.
    fn packets(&mut self, input: &[u8], run: &mut Run<'_>) -> Result<usize, ClientError> {
        let limits = Limits::generous();
        let mut used = 0;
        loop {
            let rest = &input[used..];
            if self.state == State::Closing {
                return Ok(input.len());
            }
            let total = match frame(rest, &limits) {
                Ok(Framed::Complete { total, .. }) => total,
                Ok(Framed::Incomplete { .. }) => return Ok(used),
                Err(cause) => {
                    let place = run.target.authority();
                    return Err(ClientError::NotMqtt { place, cause });
                }
            };
            let packet = Packet::decode(&rest[..total], run.login.version, &limits)
                .map_err(|_| ClientError::Protocol("a malformed packet"))?;
            self.handle(&packet, run)?;
            used += total;
        }
    }

    fn handle(&mut self, packet: &Packet<'_>, run: &mut Run<'_>) -> Result<(), ClientError> {
        match (self.state, packet) {
            (State::Greeting, Packet::ConnAck(connack)) => self.accepted(connack, run),
            (State::Greeting, _) => Err(ClientError::Protocol("the first packet is not a CONNACK")),
            (_, Packet::Publish(publish)) => self.message(publish, run),
            (_, Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubComp(ack)) => {
                self.answer(packet.packet_type(), ack, run)
            }
            (_, Packet::PubRel(ack)) => {
                self.taken.remove(&ack.packet_id);
                self.say(&Packet::PubComp(Ack::new(ack.packet_id)), run)
            }
            (State::Subscribing, Packet::SubAck(suback)) => {
                if let Some(reason) = suback.reasons.iter().find(|reason| reason.is_error()) {
                    let Role::Subscriber(filter) = run.plan.role(self.number) else {
                        return Ok(());
                    };
                    return Err(ClientError::SubscribeRefused(filter.clone(), reason));
                }
                self.state = State::Ready;
                Ok(())
            }
            (_, Packet::PingResp) => {
                self.ping_sent = None;
                Ok(())
            }
            (_, Packet::Disconnect(disconnect)) => {
                let told = disconnect.reason_string.map(str::to_owned);
                Err(ClientError::Ended(disconnect.reason, told))
            }
            _ => Err(ClientError::Protocol(
                "a packet that only a client sends, or an answer to nothing",
            )),
        }
    }

    /// The CONNACK.
    fn accepted(&mut self, connack: &ConnAck<'_>, run: &mut Run<'_>) -> Result<(), ClientError> {
        let offer = &connack.properties;
        if connack.reason.is_error() {
            let told = offer.reason_string.map(str::to_owned);
            return Err(ClientError::ConnectRefused(connack.reason, told));
        }
        let took = run.nanos().saturating_sub(self.opened_nanos);
        run.tally.connect_times.record(took);
        run.tally.connected += 1;
        self.keep_alive = match offer.server_keep_alive_secs {
            // 0 switches it off [MQTT-3.1.2-21].
            Some(0) => Duration::MAX,
            Some(secs) => Duration::from_secs(secs.into()),
            None => self.keep_alive,
        };
        if let Some(most) = offer.receive_maximum {
            self.exchange.narrow(most.get());
        }
        match run.plan.role(self.number) {
            Role::Visitor => self.state = State::Ready,
            Role::Publisher(topic) => {
                self.check_size(topic, offer.maximum_packet_size, run)?;
                self.state = State::Ready;
            }
            Role::Subscriber(filter) => {
                let options = SubscriptionOptions::qos(run.plan.qos);
                let filter = TopicFilter::new(filter, &Limits::generous())
                    .map_err(|_| ClientError::Protocol("the filter is none"))?;
                let subscriptions = [Subscription { filter, options }];
                let subscribe = Subscribe::new(PacketId::MIN, &subscriptions);
                self.say(&Packet::Subscribe(subscribe), run)?;
                self.state = State::Subscribing;
            }
        }
        Ok(())
    }

    /// Nothing larger than the broker takes is sent [MQTT-3.2.2-15].
    fn check_size(
        &self,
        topic: &str,
        bytes_max: Option<u32>,
        run: &Run<'_>,
    ) -> Result<(), ClientError> {
        let bytes_max = bytes_max.unwrap_or(u32::MAX);
        let mut publish = Publish::new(topic, &run.payload);
        publish.qos = run.plan.qos;
        publish.packet_id = (run.plan.qos != QoS::AtMostOnce).then_some(PacketId::MIN);
        let mut packet = Vec::new();
        let bytes = publish
            .encode(run.login.version, &mut packet)
            .map_err(ClientError::Encode)?;
        match u32::try_from(bytes).is_ok_and(|bytes| bytes <= bytes_max) {
            true => Ok(()),
            false => Err(ClientError::TooLarge { bytes, bytes_max }),
        }
    }

    /// A message came.
    fn message(&mut self, publish: &Publish<'_>, run: &mut Run<'_>) -> Result<(), ClientError> {
        let mut is_new = true;
        match publish.packet_id {
            Some(id) if publish.qos == QoS::ExactlyOnce => {
                is_new = self.taken.insert(id);
                self.say(&Packet::PubRec(Ack::new(id)), run)?;
            }
            Some(id) => self.say(&Packet::PubAck(Ack::new(id)), run)?,
            None => {}
        }
        let tally = &mut run.tally;
        if run.plan.mode == Mode::Latency {
            match Stamp::read(publish.payload).filter(|stamp| stamp.run == run.id) {
                None => {
                    tally.foreign += 1;
                    return Ok(());
                }
                Some(stamp) if !is_new || stamp.number < self.next_number => {
                    tally.repeated += 1;
                    return Ok(());
                }
                Some(stamp) => {
                    self.next_number = stamp.number + 1;
                    let now = u64::try_from(run.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    tally
                        .message_times
                        .record(now.saturating_sub(stamp.sent_nanos));
                }
            }
        }
        if is_new {
            tally.received += 1;
            tally.bytes_received += publish.payload.len() as u64;
        }
        Ok(())
    }

    /// PUBACK, PUBREC or PUBCOMP.
    fn answer(
        &mut self,
        kind: PacketType,
        ack: &Ack<'_>,
        run: &mut Run<'_>,
    ) -> Result<(), ClientError> {
        let goes_on = kind == PacketType::PubRec && !ack.reason.is_error();
        let Some(sent) = self.exchange.answered(kind, ack.packet_id, goes_on) else {
            return Err(ClientError::Protocol(
                "an acknowledgement of nothing that was sent",
            ));
        };
        if ack.reason.is_error() {
            run.tally.refused += 1;
            if let Role::Publisher(topic) = run.plan.role(self.number) {
                let error = ClientError::PublishRefused(topic.clone(), ack.reason);
                run.tally.note(&error);
            }
        } else if goes_on {
            self.say(&Packet::PubRel(Ack::new(ack.packet_id)), run)?;
        } else {
            run.tally.acknowledged += 1;
            if run.plan.mode == Mode::Pub {
                let now = run.nanos();
                run.tally.message_times.record(now.saturating_sub(sent));
            }
        }
        Ok(())
    }

    fn say(&mut self, packet: &Packet<'_>, run: &Run<'_>) -> Result<(), ClientError> {
        packet
            .encode(run.login.version, self.wire.output())
            .map(|_bytes| ())
            .map_err(ClientError::Encode)
    }

    /// Keeps the connection alive, and notices a broker that says nothing. Called about once a second.
    ///
    /// # Errors
    /// The broker owes an answer for too long.
    pub(super) fn tend(&mut self, run: &Run<'_>, now: Instant) -> Result<(), ClientError> {
        let since = |then: Instant| now.saturating_duration_since(then);
        let is_late = match self.state {
            State::Greeting | State::Subscribing => since(self.opened) >= ANSWER_TIMEOUT,
            State::Ready => self
                .ping_sent
                .is_some_and(|sent| since(sent) >= ANSWER_TIMEOUT),
            State::Closing => false,
        };
        if is_late {
            return Err(ClientError::Timeout {
                place: run.target.authority(),
                secs: ANSWER_TIMEOUT_SECS,
            });
        }
        let is_idle = self.ping_sent.is_none() && since(self.last_sent) >= self.keep_alive / 2;
        if self.state == State::Ready && is_idle {
            self.say(&Packet::PingReq, run)?;
            self.ping_sent = Some(now);
            self.flush(run, now)?;
        }
        Ok(())
    }

    /// Says goodbye.
    pub(super) fn close(&mut self, run: &Run<'_>) {
        if self.state != State::Greeting {
            // Whoever is gone already needs no goodbye.
            let goodbye = Disconnect::new(ReasonCode::Success);
            let _gone = self.say(&Packet::Disconnect(goodbye), run);
        }
        self.state = State::Closing;
        self.wire.finish();
    }
}
