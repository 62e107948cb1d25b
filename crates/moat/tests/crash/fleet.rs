//! Many clients in one thread, and the history they write together.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use moat_codec::{Framed, Limits, Packet, PacketType, QoS, Version, frame};
use moat_testkit::RawClient;
use moat_testkit::fume::Dice;
use moat_testkit::history::{Event, History, Verdict};

use crate::client::{Client, HEAD_BYTES, Last, Plan, message_of};

/// The first subscriber's number; publishers count from 0.
const FIRST_SUBSCRIBER: u32 = 1000;
/// Topics that all publishers share, of each kind.
const SHARED_TOPICS: u32 = 4;
/// How long one turn waits for something to happen.
const TURN: Duration = Duration::from_millis(20);
/// How long nothing may come in until everything has.
const QUIET: Duration = Duration::from_millis(1500);
/// How long anything that has to happen may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long retained messages that are there for certain may take.
const RETAINED_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read at once.
const READ_BYTES_MAX: usize = 64 << 10;

/// Packets of each client that are kept for when something goes wrong.
const TAPE_PACKETS_MAX: usize = 80;

/// A connection of a client.
struct Line {
    stream: TcpStream,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What a client heard last and what it answered, for when that was wrong.
#[derive(Default)]
struct Tape(VecDeque<(bool, Vec<u8>, Version)>);

impl Tape {
    fn received(&mut self, bytes: &[u8], version: Version) {
        self.put(false, bytes, version);
    }

    fn sent(&mut self, bytes: &[u8], version: Version) {
        let mut rest = bytes.to_vec();
        while let Some(packet) = next_packet(&mut rest) {
            self.put(true, &packet, version);
        }
    }

    fn put(&mut self, is_own: bool, bytes: &[u8], version: Version) {
        if self.0.len() == TAPE_PACKETS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((is_own, bytes.to_vec(), version));
    }
}

impl fmt::Display for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (is_own, bytes, version) in &self.0 {
            let who = if *is_own { "  client" } else { "broker" };
            match decode(bytes, *version) {
                Packet::Publish(publish) => {
                    let id = publish.packet_id.map(|id| id.value());
                    let message =
                        (publish.payload.len() >= HEAD_BYTES).then(|| message_of(publish.payload));
                    writeln!(
                        f,
                        "{who}: PUBLISH {id:?} {:?} dup {} on {}: {message:?}",
                        publish.qos, publish.dup, publish.topic
                    )?;
                }
                Packet::PubAck(ack)
                | Packet::PubRec(ack)
                | Packet::PubRel(ack)
                | Packet::PubComp(ack) => {
                    let id = ack.packet_id.value();
                    writeln!(f, "{who}: {:?} {id}", PacketType::of_first_byte(bytes[0]))?;
                }
                other => writeln!(f, "{who}: {other:?}")?,
            }
        }
        Ok(())
    }
}

/// All clients.
pub(crate) struct Fleet {
    pub(crate) history: History,
    pub(crate) clients: Vec<Client>,
    lines: Vec<Option<Line>>,
    tapes: Vec<Tape>,
    poll: Poll,
    address: SocketAddr,
    dice: Dice,
    /// How many more messages may be published.
    pub(crate) budget: usize,
    /// Acknowledgements so far.
    pub(crate) acknowledged: usize,
    /// When the last of them came.
    acknowledged_at: Instant,
    /// When something was received last.
    heard: Instant,
    /// The broker may close connections.
    is_dying: bool,
}

impl Fleet {
    /// A fleet for the broker at `address`, nobody connected.
    pub(crate) fn new(clients: Vec<Client>, address: SocketAddr, dice: Dice) -> Self {
        Fleet {
            history: History::new(),
            lines: clients.iter().map(|_| None).collect(),
            tapes: clients.iter().map(|_| Tape::default()).collect(),
            clients,
            poll: Poll::new().unwrap(),
            address,
            dice,
            budget: 0,
            acknowledged: 0,
            acknowledged_at: Instant::now(),
            heard: Instant::now(),
            is_dying: false,
        }
    }

    /// The same clients with what they know now, without their connections: what there is after a power cut at this moment, when
    /// `at` is where the next broker is.
    pub(crate) fn memory(&self) -> (Vec<Client>, History) {
        let mut clients = self.clients.clone();
        for client in &mut clients {
            client.lost();
        }
        (clients, self.history.clone())
    }

    /// Goes on from [`Self::memory`], with a broker that runs on what the last one left.
    pub(crate) fn remember(
        (clients, mut history): (Vec<Client>, History),
        address: SocketAddr,
        dice: Dice,
    ) -> Self {
        history.record(Event::Crashed);
        history.record(Event::Started);
        let mut fleet = Fleet::new(clients, address, dice);
        fleet.history = history;
        fleet
    }

    /// Connects everybody who is not, but for some.
    pub(crate) fn connect_all(&mut self, but: &BTreeSet<usize>) {
        for place in 0..self.clients.len() {
            if self.lines[place].is_none() && !but.contains(&place) {
                self.connect(place);
            }
        }
    }

    /// Connects a client.
    pub(crate) fn connect(&mut self, place: usize) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        registry
            .register(&mut stream, Token(place), interest)
            .unwrap();
        let mut output = Vec::new();
        self.clients[place].connect(&mut self.history, &mut output);
        self.lines[place] = Some(Line {
            stream,
            input: Vec::new(),
            output,
        });
    }

    /// Cuts a client off without a word, if it is connected. While it waits for CONNACK it is left alone: if it came back at once, the broker could
    /// take the two for each other's successor.
    pub(crate) fn cut(&mut self, place: usize) {
        let client = &mut self.clients[place];
        if client.is_connected {
            client.lost();
            let client = client.number;
            // Recorded first: from when the socket is closed on, the will may come.
            self.history.record(Event::Cut { client });
            self.lines[place] = None;
        }
    }

    /// Lets a client answer nothing any more on this connection, if it is connected.
    pub(crate) fn be_lazy(&mut self, place: usize) {
        let client = &mut self.clients[place];
        client.is_lazy = client.is_connected;
    }

    /// Lets a client say goodbye, if it is connected.
    pub(crate) fn leave(&mut self, place: usize) {
        if let Some(line) = self.lines[place]
            .as_mut()
            .filter(|_| self.clients[place].is_connected)
        {
            self.clients[place].leave(&mut self.history, &mut line.output);
            self.flush(place);
        }
    }

    /// Where the broker is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How long no acknowledgement has come.
    pub(crate) fn since_acknowledged(&self) -> Duration {
        self.acknowledged_at.elapsed()
    }

    /// Whether a client has a connection, or is making one.
    pub(crate) fn has_line(&self, place: usize) -> bool {
        self.lines[place].is_some()
    }

    /// Lets everybody publish what the window and the budget allow, and does what there is to do. Fails if the broker ends a connection.
    pub(crate) fn turn(&mut self) {
        for place in 0..self.clients.len() {
            self.publish(place);
        }
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(TURN)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return,
            other => other.unwrap(),
        }
        for event in &events {
            let Token(place) = event.token();
            self.serve(place);
        }
    }

    /// Turns until a condition holds. Returns whether it did in time.
    pub(crate) fn run_until(
        &mut self,
        at_most: Duration,
        mut is_done: impl FnMut(&mut Fleet) -> bool,
    ) -> bool {
        let until = Instant::now() + at_most;
        while !is_done(self) {
            if Instant::now() > until {
                return false;
            }
            self.turn();
        }
        true
    }

    /// Turns until everybody is connected and subscribed.
    pub(crate) fn run_until_all_are_there(&mut self) {
        let is_there = self.run_until(PATIENCE, |fleet| {
            let mut clients = fleet.clients.iter();
            clients.all(|client| {
                client.is_connected && (client.filters.is_empty() || client.is_settled())
            })
        });
        assert!(is_there, "not everybody got in within {PATIENCE:?}");
    }

    /// Publishes nothing new any more, connects everybody, and turns until nothing comes in.
    pub(crate) fn settle(&mut self) {
        self.budget = 0;
        for place in 0..self.clients.len() {
            // What it has not answered comes again on another connection.
            if self.clients[place].is_lazy {
                self.cut(place);
            }
        }
        let is_settled = self.run_until(PATIENCE, |fleet| {
            // Who is still leaving gets in once that is done.
            fleet.connect_all(&BTreeSet::new());
            let mut clients = fleet.clients.iter();
            clients.all(|client| client.is_connected && client.is_settled())
                && fleet.heard.elapsed() > QUIET
        });
        let open = self.clients.iter().zip(&self.tapes);
        let open: Vec<_> = open
            .filter(|(client, _)| !(client.is_connected && client.is_settled()))
            .map(|(client, tape)| format!("{}\n{tape}", client.standing()))
            .collect();
        assert!(
            is_settled,
            "not settled within {PATIENCE:?}:\n{}",
            open.join("\n")
        );
    }

    /// Publishes nothing new, settles, reads the retained messages and checks everything.
    pub(crate) fn verdict(&mut self) -> Verdict {
        self.settle();
        self.read_retained();
        self.history.check()
    }

    /// The broker is dead: takes what it has said last.
    pub(crate) fn bury(&mut self) {
        self.is_dying = true;
        for place in 0..self.lines.len() {
            self.serve(place);
            self.lines[place] = None;
            self.clients[place].lost();
        }
        self.is_dying = false;
        self.history.record(Event::Crashed);
    }

    /// The broker may end from now on, and its connections with it.
    pub(crate) fn expect_death(&mut self) {
        self.is_dying = true;
    }

    /// Another broker runs on what the last one left. Nobody is connected yet.
    pub(crate) fn started(&mut self, address: SocketAddr) {
        self.address = address;
        self.history.record(Event::Started);
    }

    /// Reads the retained messages of all topics that have had one. Waits only for those that are there for certain: a topic
    /// of which none is read without that has none for all the history knows.
    pub(crate) fn read_retained(&mut self) {
        let asked = self.history.now();
        let certain: BTreeSet<Arc<str>> = self.history.retained_for_certain().into_iter().collect();
        let mut found = std::collections::BTreeMap::new();
        let mut reader = RawClient::connect(self.address);
        reader.hello("reader");
        reader
            .subscribe("state/#", QoS::AtMostOnce)
            .subscribe("clear/#", QoS::AtMostOnce);
        reader.send(&[0xc0, 0]);
        let (mut input, mut is_answered) = (Vec::new(), false);
        let until = Instant::now() + RETAINED_PATIENCE;
        while Instant::now() < until {
            while let Some(packet) = next_packet(&mut input) {
                match decode(&packet, Version::V5) {
                    // Without the flag, it is being published just now.
                    Packet::Publish(publish) if !publish.retain => {}
                    Packet::Publish(publish) => {
                        found.insert(Arc::from(publish.topic), message_of(publish.payload));
                    }
                    Packet::PingResp => is_answered = true,
                    other => panic!("the reader got {other:?}"),
                }
            }
            if is_answered && certain.iter().all(|topic| found.contains_key(topic)) {
                break;
            }
            assert!(reader.read_available(&mut input), "the reader was cut off");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let topics: BTreeSet<Arc<str>> = self
            .retained_topics()
            .chain(found.keys().cloned())
            .collect();
        for topic in topics {
            let message = found.get(&topic).copied();
            self.history.record(Event::RetainedRead {
                topic,
                asked,
                message,
            });
        }
    }

    fn retained_topics(&self) -> impl Iterator<Item = Arc<str>> {
        let plans = self.clients.iter().flat_map(|client| &client.plans);
        plans
            .filter(|plan| plan.is_retained)
            .map(|plan| plan.topic.clone())
    }

    fn publish(&mut self, place: usize) {
        let Some(line) = &mut self.lines[place] else {
            return;
        };
        let before = line.output.len();
        while self.budget > 0
            && self.clients[place].publish(&mut self.dice, &mut self.history, &mut line.output)
        {
            self.budget -= 1;
        }
        if line.output.len() > before {
            self.flush(place);
        }
    }

    /// Reads all there is, answers it and writes.
    fn serve(&mut self, place: usize) {
        let Some(line) = &mut self.lines[place] else {
            return;
        };
        let is_open = read(line);
        let client = &mut self.clients[place];
        let mut is_heard = false;
        let mut used = 0;
        while let Ok(Framed::Complete { total, .. }) =
            frame(&line.input[used..], &Limits::generous())
        {
            let bytes = &line.input[used..used + total];
            used += total;
            is_heard = true;
            let packet = decode(bytes, client.version);
            if let Packet::Disconnect(disconnect) = &packet {
                assert!(
                    self.is_dying,
                    "client {} got {disconnect:?}\n{}",
                    client.number, self.tapes[place]
                );
                continue;
            }
            self.tapes[place].received(bytes, client.version);
            let before = line.output.len();
            let is_ack = client.handle(&packet, &mut self.history, &mut line.output);
            self.tapes[place].sent(&line.output[before..], client.version);
            if is_ack {
                self.acknowledged += 1;
                self.acknowledged_at = Instant::now();
            }
        }
        line.input.drain(..used);
        if is_heard {
            self.heard = Instant::now();
        }
        if is_open {
            self.flush(place);
        } else {
            let client = &self.clients[place];
            let is_expected = self.is_dying || client.is_leaving;
            assert!(
                is_expected,
                "client {} was cut off\n{}",
                client.number, self.tapes[place]
            );
            self.lines[place] = None;
            self.clients[place].lost();
        }
    }

    fn flush(&mut self, place: usize) {
        let Some(line) = &mut self.lines[place] else {
            return;
        };
        while !line.output.is_empty() {
            match line.stream.write(&line.output) {
                Ok(count) => {
                    line.output.drain(..count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Not writable yet, not connected yet, or gone, which shows when it is read.
                Err(_) => return,
            }
        }
    }
}

fn read(line: &mut Line) -> bool {
    let mut buffer = vec![0; READ_BYTES_MAX];
    loop {
        match line.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => line.input.extend_from_slice(&buffer[..count]),
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock | ErrorKind::NotConnected => return true,
                _ => return false,
            },
        }
    }
}

fn next_packet(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    match frame(input, &Limits::generous()) {
        Ok(Framed::Complete { total, .. }) => Some(input.drain(..total).collect()),
        _ => None,
    }
}

fn decode(bytes: &[u8], version: Version) -> Packet<'_> {
    moat_testkit::raw::decode(bytes, version)
}

/// Publishers with topics of their own and shared ones, some retained, every fourth with a will; and subscribers to parts of it and, some, to
/// all of it.
pub(crate) fn clients(publishers: u32, subscribers: u32) -> Vec<Client> {
    let publishers_all = (0..publishers).map(publisher);
    let subscribers_all = (0..subscribers).map(|place| subscriber(place, publishers));
    publishers_all.chain(subscribers_all).collect()
}

fn publisher(number: u32) -> Client {
    let mut client = Client::new(number);
    let plan = |topic: String, qos, is_retained| Plan {
        clears: topic.starts_with("clear/"),
        topic: topic.into(),
        qos,
        is_retained,
    };
    let group = number % SHARED_TOPICS;
    let by_turns = if number % 4 < 2 {
        QoS::AtLeastOnce
    } else {
        QoS::ExactlyOnce
    };
    client.plans = vec![
        plan(format!("own/{number}/one"), QoS::AtLeastOnce, false),
        plan(format!("own/{number}/two"), QoS::ExactlyOnce, false),
        plan(format!("shared/{group}/one"), QoS::AtLeastOnce, false),
        plan(format!("shared/{group}/two"), QoS::ExactlyOnce, false),
        plan(format!("state/{number}"), by_turns, true),
        plan(format!("state/shared/{group}"), by_turns, true),
        plan(format!("clear/{number}"), by_turns, true),
    ];
    client.last = number.is_multiple_of(4).then(|| Last {
        topic: format!("will/{number}").into(),
        qos: if number.is_multiple_of(3) {
            QoS::ExactlyOnce
        } else {
            QoS::AtLeastOnce
        },
        is_delayed: number % 16 == 12,
    });
    // Of both versions, with and without a will.
    if number % 8 == 4 && number % 16 != 12 {
        client.version = Version::V311;
    }
    client
}

fn subscriber(place: u32, publishers: u32) -> Client {
    let mut client = Client::new(FIRST_SUBSCRIBER + place);
    let own = match place % 3 {
        0 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let own_filter = if place % 100 == 50 {
        "own/#".to_owned()
    } else {
        format!("own/{}/+", place % publishers)
    };
    client.filters.push((own_filter.into(), own));
    let wide = match place % 25 {
        0 => Some(("shared/#", QoS::ExactlyOnce)),
        1 => Some(("shared/+/one", QoS::AtLeastOnce)),
        2 => Some(("state/#", QoS::ExactlyOnce)),
        3 => Some(("will/+", QoS::ExactlyOnce)),
        4 => Some(("will/#", QoS::AtLeastOnce)),
        _ => None,
    };
    client
        .filters
        .extend(wide.map(|(filter, qos)| (filter.into(), qos)));
    client
}
