//! A broker without sockets: shards, a clock, and clients that see bytes only.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use crate::store::ModelStore;
use moat_codec::{
    Ack, Connect, Disconnect, Framed, Packet, PacketId, PacketType, Publish, QoS, ReasonCode,
    RetainHandling, Subscribe, Subscription, SubscriptionOptions, TopicFilter, TopicName,
    Unsubscribe, Version, Will, frame,
};
use moat_core::durable::Batch;
use moat_core::session::enhanced::AuthenticationStep;
use moat_core::session::{Opening, SessionIndex};
use moat_core::shard::{AnotherIdentity, Arrival, PeerMessage, Refused, Then, Topology};
use moat_core::{ConnId, Effects, Limits, Shard, ShardId, Time};
use moat_events::Event;
use moat_policy::{Identity, PolicyFormat, PolicySourceText, Snapshot};
use proptest::test_runner::Config as ProptestConfig;

pub(crate) const V31: Version = Version::V31;
pub(crate) const V311: Version = Version::V311;
pub(crate) const V5: Version = Version::V5;

/// Whose clients are when a test does not care.
pub(crate) const ANNA: &str = "anna";

/// The cases of a property test: `bounded`, unless `MOAT_MODEL_CASES` names another number.
pub(crate) fn cases(bounded: u32) -> ProptestConfig {
    let asked = std::env::var("MOAT_MODEL_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(bounded, |text| {
            text.parse().expect("MOAT_MODEL_CASES is a number")
        }),
        failure_persistence: None,
        max_shrink_iters: 10_000,
        // A million cases reject more than the default allows.
        max_local_rejects: u32::MAX,
        ..ProptestConfig::default()
    }
}

/// The only authentication method clients of tests may name.
pub(crate) const METHOD: &str = "test";

/// A connection, as a test holds it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client {
    pub(crate) shard: usize,
    pub(crate) at: SessionIndex,
    pub(crate) conn: ConnId,
    pub(crate) version: Version,
}

/// A PUBLISH that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pub {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) id: u16,
    pub(crate) expiry: Option<u32>,
    pub(crate) subscription_ids: Vec<u32>,
    pub(crate) alias: Option<u16>,
}

impl Pub {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).unwrap()
    }
}

/// The properties of a CONNACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) session_present: bool,
    pub(crate) reason: ReasonCode,
    pub(crate) session_expiry_secs: Option<u32>,
    pub(crate) receive_maximum: Option<u16>,
    pub(crate) maximum_packet_size: Option<u32>,
    pub(crate) assigned_client_id: Option<String>,
    pub(crate) topic_alias_maximum: Option<u16>,
    pub(crate) server_keep_alive_secs: Option<u16>,
    pub(crate) shared_subscription_available: Option<bool>,
}

/// A packet that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    ConnAck(Granted),
    Publish(Pub),
    PubAck(u16, ReasonCode),
    PubRec(u16, ReasonCode),
    PubRel(u16, ReasonCode),
    PubComp(u16, ReasonCode),
    SubAck(u16, Vec<ReasonCode>),
    UnsubAck(u16, Vec<ReasonCode>),
    PingResp,
    Disconnect(ReasonCode),
    Auth(ReasonCode, Vec<u8>),
}

#[derive(Default)]
pub(crate) struct Wire {
    /// Bytes of the client that the shard has not used up.
    input: Vec<u8>,
    /// Bytes for the client that are not a whole packet yet.
    incoming: Vec<u8>,
    inbox: VecDeque<Got>,
    last_id: u16,
    pub(crate) closed: bool,
    /// Whether the driver was told to flush.
    dirty: bool,
}

pub(crate) struct World {
    pub(crate) shards: Vec<Shard>,
    pub(crate) fx: Vec<Effects>,
    pub(crate) topology: Topology,
    pub(crate) now: Time,
    /// When what clients prove who they are with ends.
    pub(crate) expires_at: Time,
    pub(crate) events: Vec<Event>,
    /// Whether shards hear of each other after every step; otherwise the test carries messages.
    pub(crate) automatic: bool,
    pub(crate) policy: Arc<Snapshot>,
    /// What is durable; absent in a broker that keeps everything in memory.
    pub(crate) store: Option<ModelStore>,
    /// Whether what is written is durable at once; otherwise the test commits.
    pub(crate) commits: bool,
    /// Whether what is asked for comes from the store at once; otherwise it waits in the effects.
    pub(crate) loads: bool,
    /// Batches that are not durable, by shard.
    pub(crate) pending: Vec<VecDeque<Batch>>,
    pub(crate) inboxes: Vec<VecDeque<(ShardId, Vec<PeerMessage>)>>,
    pub(crate) wires: Vec<Wire>,
}

pub(crate) fn limits() -> Limits {
    Limits::default()
}

pub(crate) fn policy(text: &str) -> Arc<Snapshot> {
    let source = PolicySourceText {
        file: "policy.toml".into(),
        format: PolicyFormat::Toml,
        text: format!("version = 1\n{text}"),
    };
    Arc::new(Snapshot::compile(vec![source], 1).unwrap())
}

/// The policy of a mosquitto ACL file.
pub(crate) fn acl(text: &str) -> Arc<Snapshot> {
    let source = PolicySourceText {
        file: "acl".into(),
        format: PolicyFormat::MosquittoAcl,
        text: text.into(),
    };
    Arc::new(Snapshot::compile(vec![source], 1).unwrap())
}

/// Everything but `denied` topics is allowed to everybody; `denied` concerns these actions.
pub(crate) fn policy_denying(actions: &str, denied: &str) -> Arc<Snapshot> {
    policy(&format!(
        "[[rule]]\nwho = [\"*\"]\ndeny = [{actions}]\ntopics = [\"{denied}\"]\n\
         [[rule]]\nwho = [\"*\"]\nallow = [\"publish\", \"subscribe\", \"retain\"]\ntopics = [\"#\"]\n"
    ))
}

/// A CONNECT that keeps its session: for ever in 5.0 as far as the server allows.
pub(crate) fn lasting(version: Version, client_id: &str) -> Connect<'_> {
    let mut connect = Connect::new(version, client_id);
    connect.clean_start = false;
    if version.is_v5() {
        connect.properties.session_expiry_secs = Some(u32::MAX);
    }
    connect
}

pub(crate) fn will<'a>(topic: &'a str, payload: &'a str) -> Will<'a> {
    Will {
        topic: TopicName::new(topic, &moat_codec::Limits::default()).unwrap(),
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        delay_secs: 0,
        message_expiry_secs: None,
        properties: Default::default(),
    }
}

/// A PUBLISH of a client; `id` is used at QoS 1 and 2.
pub(crate) fn message<'a>(topic: &'a str, payload: &'a str, qos: u8, id: u16) -> Publish<'a> {
    let qos = QoS::from_bits(qos).unwrap();
    Publish {
        qos,
        packet_id: (qos != QoS::AtMostOnce).then(|| packet_id(id)),
        ..Publish::new(topic, payload.as_bytes())
    }
}

pub(crate) fn packet_id(id: u16) -> PacketId {
    PacketId::new(id).unwrap()
}

pub(crate) fn options(qos: u8) -> SubscriptionOptions {
    SubscriptionOptions {
        qos: QoS::from_bits(qos).unwrap(),
        ..SubscriptionOptions::default()
    }
}

pub(crate) fn encode(packet: &Packet<'_>, version: Version) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(version, &mut bytes).unwrap();
    bytes
}

impl World {
    pub(crate) fn new(limits: Limits) -> World {
        World::with(1, limits, Arc::new(Snapshot::allow_all()))
    }

    pub(crate) fn with(shards: usize, limits: Limits, policy: Arc<Snapshot>) -> World {
        World::in_memory(shards, limits, policy).with_store_if_asked()
    }

    /// A broker without a store, also where the tests run with one: it does not wait for anything.
    pub(crate) fn in_memory(shards: usize, limits: Limits, policy: Arc<Snapshot>) -> World {
        let topology = Topology::new(shards);
        let shard = |id| Shard::new(id, topology.clone(), limits.clone(), Arc::clone(&policy));
        World {
            shards: topology.shards().map(shard).collect(),
            fx: (0..shards).map(|_| Effects::new(shards)).collect(),
            topology,
            now: Time::from_millis(1_000_000),
            expires_at: Time::NEVER,
            events: Vec::new(),
            automatic: true,
            policy,
            store: None,
            commits: true,
            loads: true,
            pending: (0..shards).map(|_| VecDeque::new()).collect(),
            inboxes: (0..shards).map(|_| VecDeque::new()).collect(),
            wires: Vec::new(),
        }
    }

    // --- connecting ---

    /// What the CONNECT asks for, as the driver keeps it.
    pub(crate) fn opening(connect: &Connect<'_>) -> Result<Opening, ReasonCode> {
        let bytes = encode(&Packet::Connect(connect.clone()), connect.version);
        let limits = moat_codec::Limits::default();
        let Packet::Connect(connect) = Packet::decode(&bytes, connect.version, &limits).unwrap()
        else {
            panic!("not a CONNECT")
        };
        Opening::of_packet(&connect, |method| method == METHOD, || "made-up".into())
    }

    pub(crate) fn open(
        &mut self,
        identity: &str,
        connect: &Connect<'_>,
    ) -> Result<Client, Refused> {
        let opening = Self::opening(connect).unwrap();
        let shard = self.topology.home(identity, &opening.client_id).index();
        let conn = ConnId {
            slot: self.wires.len() as u32,
            generation: 1,
        };
        self.wires.push(Wire::default());
        let arrival = Arrival {
            conn,
            address: SocketAddr::from(([127, 0, 0, 1], 1000 + conn.slot as u16)).into(),
            listener: "test".into(),
            tls: None,
            opening,
            identity: Arc::new(Identity::from_password(identity)),
            expires_at: self.expires_at,
        };
        let (shard_, fx) = (&mut self.shards[shard], &mut self.fx[shard]);
        let result = shard_.connect(arrival, self.now, fx);
        self.after_step();
        let version = connect.version;
        result.map(|at| Client {
            shard,
            at,
            conn,
            version,
        })
    }

    /// Connects; the CONNACK waits to be read.
    pub(crate) fn connect(&mut self, connect: &Connect<'_>) -> Client {
        self.open(ANNA, connect).unwrap()
    }

    /// Connects and reads the CONNACK.
    pub(crate) fn connected(&mut self, connect: &Connect<'_>) -> (Client, Granted) {
        let client = self.connect(connect);
        let granted = self.connack(client);
        (client, granted)
    }

    /// A clean session without anything special.
    pub(crate) fn client(&mut self, version: Version, client_id: &str) -> Client {
        self.connected(&Connect::new(version, client_id)).0
    }

    /// A session that lasts.
    pub(crate) fn lasting(&mut self, version: Version, client_id: &str) -> Client {
        self.connected(&lasting(version, client_id)).0
    }

    pub(crate) fn connack(&mut self, client: Client) -> Granted {
        self.drain(client);
        match self.wire(client).inbox.pop_front() {
            Some(Got::ConnAck(granted)) => granted,
            other => panic!("not a CONNACK: {other:?}"),
        }
    }

    // --- from the client ---

    fn wire(&mut self, client: Client) -> &mut Wire {
        &mut self.wires[client.conn.slot as usize]
    }

    pub(crate) fn send_raw(&mut self, client: Client, bytes: &[u8]) -> Then {
        self.wire(client).input.extend_from_slice(bytes);
        self.resume(client)
    }

    /// Hands over what was sent and not used up, as a driver does after a pause.
    pub(crate) fn resume(&mut self, client: Client) -> Then {
        if self.wire(client).closed {
            return Then::Closed;
        }
        let input = std::mem::take(&mut self.wire(client).input);
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        let received = shard.receive(client.at, &input, self.now, fx);
        self.wire(client).input = input[received.consumed..].to_vec();
        self.after_step();
        received.then
    }

    pub(crate) fn send(&mut self, client: Client, packet: &Packet<'_>) -> Then {
        self.send_raw(client, &encode(packet, client.version))
    }

    /// Sends a packet that is handled at once and leaves the connection open.
    pub(crate) fn sent(&mut self, client: Client, packet: &Packet<'_>) {
        let then = self.send(client, packet);
        assert!(
            matches!(then, Then::NeedMore(_)),
            "{then:?} after {packet:?}"
        );
    }

    pub(crate) fn next_id(&mut self, client: Client) -> u16 {
        let wire = self.wire(client);
        wire.last_id += 1;
        wire.last_id
    }

    /// Publishes, up to the end of the flow. Returns the reason code of PUBACK or PUBREC.
    pub(crate) fn publish(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> ReasonCode {
        self.publish_with(client, topic, payload, qos, |_| ())
    }

    pub(crate) fn publish_with<'a>(
        &mut self,
        client: Client,
        topic: &'a str,
        payload: &'a str,
        qos: u8,
        change: impl FnOnce(&mut Publish<'a>),
    ) -> ReasonCode {
        let id = self.next_id(client);
        let mut publish = message(topic, payload, qos, id);
        change(&mut publish);
        self.sent(client, &Packet::Publish(publish));
        let reason = match qos {
            0 => return ReasonCode::Success,
            1 => self.expect(client, |got| match got {
                Got::PubAck(_, reason) => Some(*reason),
                _ => None,
            }),
            _ => self.expect(client, |got| match got {
                Got::PubRec(of, reason) if *of == id => Some(*reason),
                _ => None,
            }),
        };
        if qos == 2 && !reason.is_error() {
            self.pubrel(client, id);
            let done = self.expect(client, |got| match got {
                Got::PubComp(of, reason) if *of == id => Some(*reason),
                _ => None,
            });
            assert_eq!(done, ReasonCode::Success);
        }
        reason
    }

    pub(crate) fn retain(
        &mut self,
        client: Client,
        topic: &str,
        payload: &str,
        qos: u8,
    ) -> ReasonCode {
        self.publish_with(client, topic, payload, qos, |p| p.retain = true)
    }

    pub(crate) fn puback(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubAck(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubrec(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubRec(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubrel(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubRel(Ack::new(packet_id(id))));
    }

    pub(crate) fn pubcomp(&mut self, client: Client, id: u16) {
        self.sent(client, &Packet::PubComp(Ack::new(packet_id(id))));
    }

    /// Subscribes and returns the reason code of the SUBACK; what follows it stays to be read.
    pub(crate) fn subscribe(&mut self, client: Client, filter: &str, qos: u8) -> ReasonCode {
        self.subscribe_with(client, filter, options(qos), None)
    }

    pub(crate) fn subscribe_with(
        &mut self,
        client: Client,
        filter: &str,
        options: SubscriptionOptions,
        subscription_id: Option<u32>,
    ) -> ReasonCode {
        self.send_subscribe(client, &[(filter, options)], subscription_id);
        let reasons = self.expect(client, |got| match got {
            Got::SubAck(_, reasons) => Some(reasons.clone()),
            _ => None,
        });
        assert_eq!(reasons.len(), 1);
        reasons[0]
    }

    /// Sends a SUBSCRIBE and does not wait for its SUBACK. Returns its packet identifier.
    pub(crate) fn send_subscribe(
        &mut self,
        client: Client,
        filters: &[(&str, SubscriptionOptions)],
        subscription_id: Option<u32>,
    ) -> u16 {
        let id = self.next_id(client);
        let bytes = encode(
            &subscribe_packet(id, filters, subscription_id, &mut Vec::new()),
            client.version,
        );
        self.send_raw(client, &bytes);
        id
    }

    /// The codes of a SUBACK, which has to be all that the client was sent.
    pub(crate) fn suback(&mut self, client: Client) -> Vec<ReasonCode> {
        let mut got = self.read(client);
        match (got.pop(), got.is_empty()) {
            (Some(Got::SubAck(_, codes)), true) => codes,
            (last, _) => panic!("not one SUBACK: {got:?}, {last:?}"),
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: Client, filter: &str) -> Vec<ReasonCode> {
        let id = self.next_id(client);
        let filters = [TopicFilter::new(filter, &moat_codec::Limits::generous()).unwrap()];
        self.sent(
            client,
            &Packet::Unsubscribe(Unsubscribe::new(packet_id(id), &filters)),
        );
        self.expect(client, |got| match got {
            Got::UnsubAck(_, reasons) => Some(reasons.clone()),
            _ => None,
        })
    }

    pub(crate) fn disconnect(&mut self, client: Client) {
        self.disconnect_with(client, Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
    }

    pub(crate) fn disconnect_with(&mut self, client: Client, disconnect: Disconnect<'_>) {
        let then = self.send(client, &Packet::Disconnect(disconnect));
        assert_eq!(then, Then::Closed);
    }

    /// The network connection is gone without a word.
    pub(crate) fn lose(&mut self, client: Client) {
        self.wire(client).closed = true;
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        shard.connection_lost(client.at, "lost", self.now, fx);
        self.after_step();
    }

    // --- to the client ---

    /// Flushes what the client is owed, as often as there is more, and decodes it.
    fn drain(&mut self, client: Client) {
        let mut first = true;
        while self.flush(client, first) {
            first = false;
        }
        let wire = self.wire(client);
        let mut used = 0;
        let limits = moat_codec::Limits::generous();
        while let Ok(Framed::Complete { total, .. }) = frame(&wire.incoming[used..], &limits) {
            let bytes = &wire.incoming[used..used + total];
            wire.inbox.push_back(got(bytes, client.version));
            used += total;
        }
        wire.incoming.drain(..used);
    }

    /// One write of the driver. Returns whether there was something to write.
    fn flush(&mut self, client: Client, must_be_dirty: bool) -> bool {
        let now = self.now;
        let shard = &mut self.shards[client.shard];
        let Some(link) = shard.link(client.at).filter(|l| l.conn == client.conn) else {
            return false;
        };
        if link.is_unannounced {
            return false;
        }
        let out = std::mem::take(&mut link.out);
        if out.is_empty() {
            return false;
        }
        let wire = &mut self.wires[client.conn.slot as usize];
        assert!(
            wire.dirty || !must_be_dirty,
            "the driver was not told to flush"
        );
        wire.dirty = false;
        wire.incoming.extend_from_slice(&out);
        shard.pool().give(out);
        shard.flushed(client.at, now, &mut self.fx[client.shard]);
        self.after_step();
        true
    }

    /// The bytes a client has been sent since the last look.
    pub(crate) fn raw(&mut self, client: Client) -> Vec<u8> {
        let mut first = true;
        while self.flush(client, first) {
            first = false;
        }
        std::mem::take(&mut self.wire(client).incoming)
    }

    /// Everything the client has been sent since the last look.
    pub(crate) fn read(&mut self, client: Client) -> Vec<Got> {
        self.drain(client);
        self.wire(client).inbox.drain(..).collect()
    }

    /// The next packet the client has been sent.
    pub(crate) fn read_one(&mut self, client: Client) -> Option<Got> {
        self.drain(client);
        self.wire(client).inbox.pop_front()
    }

    /// The PUBLISH packets of [`Self::read`], when there is nothing else.
    pub(crate) fn messages(&mut self, client: Client) -> Vec<Pub> {
        self.read(client)
            .into_iter()
            .map(|got| match got {
                Got::Publish(publish) => publish,
                other => panic!("not a PUBLISH: {other:?}"),
            })
            .collect()
    }

    /// The payloads of [`Self::messages`].
    pub(crate) fn payloads(&mut self, client: Client) -> Vec<String> {
        let messages = self.messages(client);
        messages.iter().map(|m| m.text().to_owned()).collect()
    }

    /// Reads and acknowledges until nothing more comes. Returns the messages.
    pub(crate) fn read_all(&mut self, client: Client) -> Vec<Pub> {
        let mut messages = Vec::new();
        loop {
            let got = self.read(client);
            if got.is_empty() {
                return messages;
            }
            for got in got {
                match got {
                    Got::Publish(publish) => {
                        match publish.qos {
                            1 => self.puback(client, publish.id),
                            2 => self.pubrec(client, publish.id),
                            _ => (),
                        }
                        messages.push(publish);
                    }
                    Got::PubRel(id, _) => self.pubcomp(client, id),
                    other => panic!("not part of a delivery: {other:?}"),
                }
            }
        }
    }

    /// Takes the first received packet that `pick` wants and leaves the others to be read.
    pub(crate) fn expect<T>(&mut self, client: Client, pick: impl Fn(&Got) -> Option<T>) -> T {
        self.drain(client);
        let inbox = &mut self.wire(client).inbox;
        let found = (0..inbox.len()).find_map(|i| Some((i, pick(&inbox[i])?)));
        let Some((place, picked)) = found else {
            panic!("not among what was received: {inbox:?}")
        };
        inbox.remove(place);
        picked
    }

    pub(crate) fn is_closed(&mut self, client: Client) -> bool {
        self.wire(client).closed
    }

    /// The reason of the DISCONNECT that closed a 5.0 connection, the last packet it got.
    pub(crate) fn goodbye(&mut self, client: Client) -> ReasonCode {
        assert!(self.is_closed(client), "still open");
        match self.read(client).pop() {
            Some(Got::Disconnect(reason)) => reason,
            other => panic!("not a DISCONNECT: {other:?}"),
        }
    }

    /// Unsent bytes for the client.
    pub(crate) fn unsent(&mut self, client: Client) -> usize {
        self.shards[client.shard].link(client.at).unwrap().out.len()
    }

    // --- what a driver does for an authentication method ---

    /// What clients said for the mechanism: whether it begins, and the data.
    pub(crate) fn proofs(&mut self, client: Client) -> Vec<(bool, Option<Vec<u8>>)> {
        let steps = std::mem::take(&mut self.fx[client.shard].authentications);
        let of = |step: AuthenticationStep| {
            assert_eq!((step.conn, &*step.method), (client.conn, METHOD));
            (step.begins, step.data)
        };
        steps.into_iter().map(of).collect()
    }

    pub(crate) fn challenge(&mut self, client: Client, data: &[u8]) {
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        shard.challenge(client.at, data, self.now, fx);
        self.after_step();
    }

    pub(crate) fn proved(
        &mut self,
        client: Client,
        identity: &Identity,
    ) -> Result<(), AnotherIdentity> {
        let (shard, fx) = (&mut self.shards[client.shard], &mut self.fx[client.shard]);
        let identity = Arc::new(identity.clone());
        let kept = shard.reauthenticated(
            client.at,
            (identity, self.expires_at),
            Some(b"last"),
            self.now,
            fx,
        );
        self.after_step();
        kept
    }

    // --- time ---

    pub(crate) fn pass_millis(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        let due = |shards: &[Shard]| shards.iter().filter_map(Shard::next_timeout).min();
        while let Some(next) = due(&self.shards).filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = until;
        self.tick();
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.pass_millis(secs * 1000);
    }

    fn tick(&mut self) {
        for (shard, fx) in self.shards.iter_mut().zip(&mut self.fx) {
            shard.tick(self.now, fx);
        }
        self.after_step();
    }

    // --- effects ---

    pub(crate) fn after_step(&mut self) {
        self.collect();
        if self.automatic {
            self.settle();
        }
        while self.store_step() {
            self.collect();
        }
    }

    /// Carries out what needs no other shard.
    pub(crate) fn collect(&mut self) {
        for fx in &mut self.fx {
            self.events.append(&mut fx.events);
            for conn in fx.dirty.drain(..) {
                self.wires[conn.slot as usize].dirty = true;
            }
            for close in fx.closed.drain(..) {
                let wire = &mut self.wires[close.conn.slot as usize];
                assert!(!wire.closed, "closed twice");
                wire.closed = true;
                wire.incoming.extend_from_slice(&close.bytes);
            }
        }
    }

    /// Lets the shards talk until they have nothing more to say.
    pub(crate) fn settle(&mut self) {
        while self.step_all() || self.store_step() || self.has_to_tell() {
            self.collect();
        }
    }

    /// Whether a shard has something for another one.
    fn has_to_tell(&self) -> bool {
        let mut outboxes = self.fx.iter().flat_map(|fx| &fx.peers);
        outboxes.any(|peer| !peer.messages.is_empty())
    }

    /// One round: every shard hands over, then every shard reads its inbox.
    fn step_all(&mut self) -> bool {
        let shards = self.shards.len();
        for from in 0..shards {
            self.hand_over(from);
        }
        let mut worked = false;
        for to in 0..shards {
            while self.run_inbox(to) {
                worked = true;
            }
        }
        worked
    }

    /// What a driver does at the end of a turn: messages first, confirmations behind them.
    pub(crate) fn hand_over(&mut self, from: usize) {
        for to in 0..self.shards.len() {
            self.carry(from, to);
        }
        self.release_confirmations(from);
        for to in 0..self.shards.len() {
            self.carry(from, to);
        }
    }

    /// Moves one outbox to its inbox. Returns whether there was something in it.
    pub(crate) fn carry(&mut self, from: usize, to: usize) -> bool {
        let messages = std::mem::take(&mut self.fx[from].peers[to].messages);
        let some = !messages.is_empty();
        if some {
            self.inboxes[to].push_back((ShardId::new(from as u8), messages));
        }
        some
    }

    /// Puts the confirmations behind the messages, once all of those have left. Returns whether
    /// that was possible and moved something.
    pub(crate) fn release_confirmations(&mut self, from: usize) -> bool {
        let peers = &mut self.fx[from].peers;
        if peers.iter().any(|peer| !peer.messages.is_empty()) {
            return false;
        }
        let some = peers.iter().any(|peer| !peer.confirmations.is_empty());
        for peer in peers {
            peer.messages.append(&mut peer.confirmations);
        }
        some
    }

    /// One batch of an inbox. Returns whether there was one.
    pub(crate) fn run_inbox(&mut self, to: usize) -> bool {
        let Some((from, messages)) = self.inboxes[to].pop_front() else {
            return false;
        };
        for message in messages {
            self.shards[to].peer(from, message, self.now, &mut self.fx[to]);
        }
        self.collect();
        true
    }

    pub(crate) fn set_policy(&mut self, policy: &Arc<Snapshot>) {
        for (shard, fx) in self.shards.iter_mut().zip(&mut self.fx) {
            shard.set_policy(Arc::clone(policy), self.now, fx);
        }
        self.after_step();
    }

    // --- looking inside ---

    pub(crate) fn sessions(&self) -> usize {
        self.shards.iter().map(|s| s.sizes().sessions).sum()
    }

    pub(crate) fn dropped(&self) -> u64 {
        let dropped = |shard: &Shard| shard.counters().messages_dropped_total;
        self.shards.iter().map(dropped).sum()
    }

    /// Events of this name since the last call.
    pub(crate) fn events(&mut self, id: &str) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.retain(|event| event.meta().id == id);
        events
    }

    /// A client id whose home is `shard`.
    pub(crate) fn client_id_at(&self, shard: usize, prefix: &str) -> String {
        let at = |id: &String| self.topology.home(ANNA, id).index() == shard;
        (0..).map(|n| format!("{prefix}{n}")).find(at).unwrap()
    }

    /// A topic that `shard` owns.
    pub(crate) fn topic_of(&self, shard: usize, prefix: &str) -> String {
        let of = |topic: &String| self.topology.owner(topic).index() == shard;
        (0..).map(|n| format!("{prefix}{n}")).find(of).unwrap()
    }
}

fn subscribe_packet<'a>(
    id: u16,
    filters: &[(&'a str, SubscriptionOptions)],
    subscription_id: Option<u32>,
    storage: &'a mut Vec<Subscription<'a>>,
) -> Packet<'a> {
    storage.extend(filters.iter().map(|(filter, options)| Subscription {
        filter: TopicFilter::new(filter, &moat_codec::Limits::generous()).unwrap(),
        options: *options,
    }));
    let mut subscribe = Subscribe::new(packet_id(id), storage);
    subscribe.subscription_id = subscription_id.map(|id| NonZeroU32::new(id).unwrap());
    Packet::Subscribe(subscribe)
}

/// Decodes a packet of the server. What does not decode is a bug of the server.
fn got(bytes: &[u8], version: Version) -> Got {
    let packet = Packet::decode(bytes, version, &moat_codec::Limits::generous()).unwrap();
    let id = |ack: &Ack<'_>| (ack.packet_id.value(), ack.reason);
    match packet {
        Packet::ConnAck(connack) => Got::ConnAck(Granted {
            session_present: connack.session_present,
            reason: connack.reason,
            session_expiry_secs: connack.properties.session_expiry_secs,
            receive_maximum: connack.properties.receive_maximum.map(NonZeroU16::get),
            maximum_packet_size: connack.properties.maximum_packet_size,
            assigned_client_id: connack.properties.assigned_client_id.map(str::to_owned),
            topic_alias_maximum: connack.properties.topic_alias_maximum,
            server_keep_alive_secs: connack.properties.server_keep_alive_secs,
            shared_subscription_available: connack.properties.shared_subscription_available,
        }),
        Packet::Publish(publish) => Got::Publish(Pub {
            topic: publish.topic.to_owned(),
            payload: publish.payload.to_vec(),
            qos: publish.qos.bits(),
            dup: publish.dup,
            retain: publish.retain,
            id: publish.packet_id.map_or(0, PacketId::value),
            expiry: publish.message_expiry_secs,
            subscription_ids: publish.subscription_ids.iter().collect(),
            alias: publish.topic_alias.map(NonZeroU16::get),
        }),
        Packet::PubAck(ack) => Got::PubAck(id(&ack).0, id(&ack).1),
        Packet::PubRec(ack) => Got::PubRec(id(&ack).0, id(&ack).1),
        Packet::PubRel(ack) => Got::PubRel(id(&ack).0, id(&ack).1),
        Packet::PubComp(ack) => Got::PubComp(id(&ack).0, id(&ack).1),
        Packet::SubAck(ack) => Got::SubAck(ack.packet_id.value(), ack.reasons.iter().collect()),
        Packet::UnsubAck(ack) => Got::UnsubAck(ack.packet_id.value(), ack.reasons.iter().collect()),
        Packet::PingResp => Got::PingResp,
        Packet::Disconnect(disconnect) => Got::Disconnect(disconnect.reason),
        Packet::Auth(auth) => {
            assert_eq!(auth.authentication_method, Some(METHOD));
            let data = auth.authentication_data.unwrap_or_default();
            Got::Auth(auth.reason, data.to_vec())
        }
        other => panic!("not a server's: {other:?}"),
    }
}

/// Options with a way of handling what is retained.
pub(crate) fn handling(qos: u8, retain_handling: RetainHandling) -> SubscriptionOptions {
    SubscriptionOptions {
        retain_handling,
        ..options(qos)
    }
}

/// The refusal a CONNECT got, decoded.
pub(crate) fn refusal(refused: &Refused, version: Version) -> ReasonCode {
    match got(&refused.bytes, version) {
        Got::ConnAck(granted) => {
            assert!(!granted.session_present);
            granted.reason
        }
        other => panic!("not a CONNACK: {other:?}"),
    }
}

/// Whether a packet of this type is in the list.
pub(crate) fn has(got: &[Got], packet: PacketType) -> bool {
    got.iter().any(|got| {
        let of = match got {
            Got::ConnAck(_) => PacketType::ConnAck,
            Got::Publish(_) => PacketType::Publish,
            Got::PubAck(..) => PacketType::PubAck,
            Got::PubRec(..) => PacketType::PubRec,
            Got::PubRel(..) => PacketType::PubRel,
            Got::PubComp(..) => PacketType::PubComp,
            Got::SubAck(..) => PacketType::SubAck,
            Got::UnsubAck(..) => PacketType::UnsubAck,
            Got::PingResp => PacketType::PingResp,
            Got::Disconnect(_) => PacketType::Disconnect,
            Got::Auth(..) => PacketType::Auth,
        };
        of == packet
    })
}
