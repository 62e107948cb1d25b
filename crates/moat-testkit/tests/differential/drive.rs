//! Runs a sequence against a broker and collects what it says, step by step and connection by connection.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use moat_codec::{PacketType, Version};

use crate::answer::{Identifiers, Reader, Said, client_of, sort};
use crate::sequence::{Answer, Habit, SLOTS, Sequence, Step, rendered, version_of};
use crate::shape::{NONCE, Shape, first_packet};

/// How long a broker may be silent. A passing test does not wait: it asks until it is answered.
const PATIENCE: Duration = Duration::from_secs(10);
/// Identifiers of the UNSUBSCRIBEs that show that everything before them was handled; no step uses them.
const MARKERS: std::ops::Range<u16> = 0xFF00..0xFFF0;
/// Rounds after which a broker that always has more to say is left alone.
const ROUNDS_MAX: usize = 100;

/// What was said in one step on each connection.
pub(crate) type StepAnswers = [Vec<Said>; SLOTS];

struct Connection {
    stream: TcpStream,
    reader: Reader,
    habit: Habit,
    client: Vec<u8>,
    input: Vec<u8>,
    /// Sent, but not a whole packet.
    partial: Vec<u8>,
    /// What came in this step.
    said: Vec<Said>,
    open: bool,
    /// What waits for a step to answer it: the packet, and the broker's identifier.
    waiting: Vec<(PacketType, u16)>,
    /// Acknowledged something of which the broker may say more.
    answered: bool,
}

/// A sequence under way.
struct Run {
    address: SocketAddr,
    nonce: [u8; 8],
    connections: [Option<Connection>; SLOTS],
    identifiers: HashMap<Vec<u8>, Identifiers>,
    marker: u16,
}

/// Runs it. The answers of each step, in order.
pub(crate) fn run(address: SocketAddr, sequence: &Sequence, nonce: [u8; 8]) -> Vec<StepAnswers> {
    let mut run = Run {
        address,
        nonce,
        connections: Default::default(),
        identifiers: HashMap::new(),
        marker: MARKERS.start,
    };
    let answers = sequence.steps.iter().map(|step| run.step(step)).collect();
    for slot in 0..SLOTS {
        run.close(slot);
    }
    answers
}

impl Run {
    fn step(&mut self, step: &Step) -> StepAnswers {
        let slot = step.slot();
        match step {
            Step::Open { habit, bytes, .. } => {
                self.close(slot);
                self.open(slot, *habit, bytes);
            }
            Step::Send { bytes, .. } => {
                let bytes = rendered(bytes, &self.nonce);
                if let Some(connection) = self.at(slot) {
                    connection.send(&bytes);
                }
            }
            Step::Ack { nth, answer, .. } => {
                if let Some(connection) = self.at(slot) {
                    connection.answer_waiting(*nth, *answer);
                }
            }
            Step::Close { .. } => self.close(slot),
        }
        self.settle(slot);
        std::array::from_fn(|slot| self.take(slot))
    }

    fn at(&mut self, slot: usize) -> Option<&mut Connection> {
        self.connections[slot]
            .as_mut()
            .filter(|connection| connection.open)
    }

    fn open(&mut self, slot: usize, habit: Habit, bytes: &[u8]) {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let mut connection = Connection {
            stream,
            reader: Reader::new(version_of(bytes), &self.nonce),
            habit,
            client: client_of(bytes),
            input: Vec::new(),
            partial: Vec::new(),
            said: Vec::new(),
            open: true,
            waiting: Vec::new(),
            answered: false,
        };
        connection.send(&rendered(bytes, &self.nonce));
        // What the one before said at its end belongs to this step too.
        if let Some(before) = self.connections[slot].take() {
            connection.said = before.said;
        }
        self.connections[slot] = Some(connection);
    }

    /// Closes the client's side and reads to the end: the broker knows then.
    fn close(&mut self, slot: usize) {
        if let Some(connection) = self.at(slot) {
            let _ = connection.stream.shutdown(Shutdown::Write);
            connection.read_until(None);
            connection.open = false;
            connection
                .said
                .retain(|said| !matches!(said, Said::Closed | Said::Torn));
        }
    }

    /// Asks the one that has acted, then the others, until nobody has anything more to say.
    fn settle(&mut self, acting: usize) {
        for _ in 0..ROUNDS_MAX {
            for slot in (0..SLOTS).map(|offset| (acting + offset) % SLOTS) {
                let marker = self.next_marker();
                if let Some(connection) = self.at(slot) {
                    connection.settle(marker);
                }
            }
            let mut again = false;
            for connection in self.connections.iter_mut().flatten() {
                again |= std::mem::take(&mut connection.answered);
            }
            if !again {
                return;
            }
        }
    }

    fn next_marker(&mut self) -> u16 {
        self.marker += 1;
        if self.marker == MARKERS.end {
            self.marker = MARKERS.start;
        }
        self.marker
    }

    /// What came on a connection, in order, and with its own identifiers.
    fn take(&mut self, slot: usize) -> Vec<Said> {
        let Some(connection) = self.connections[slot].as_mut() else {
            return Vec::new();
        };
        let mut said = std::mem::take(&mut connection.said);
        sort(&mut said);
        let fresh = |said: &Said| {
            matches!(
                said,
                Said::ConnAck {
                    present: false,
                    reason: 0,
                    ..
                }
            )
        };
        let key = &connection.client;
        if said.iter().any(fresh) {
            self.identifiers.remove(key);
        }
        let identifiers = self.identifiers.entry(key.clone()).or_default();
        for said in &mut said {
            if connection.habit != Habit::Answers && connection.open {
                let wants = said.wants_answer();
                // A PUBREL is sent at once or is a step of its own.
                let wants = wants.filter(|(kind, _)| *kind != PacketType::PubRel);
                connection.waiting.extend(wants);
            }
            match said {
                Said::Publish(message) => {
                    message.id = message.id.map(|id| identifiers.ordinal(id));
                }
                Said::PubRel(id, _) => *id = identifiers.ordinal(*id),
                _ => {}
            }
        }
        said
    }
}

impl Connection {
    /// Sends, and remembers whether what was sent ends with a whole packet. A broker that has closed shows when reading.
    fn send(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while let Some(total) = first_packet(&self.partial).filter(|total| *total > 0) {
            self.partial.drain(..total);
        }
        let _ = self.stream.write_all(bytes);
    }

    fn settle(&mut self, marker: u16) {
        if !self.partial.is_empty() {
            // Neither can know whether the broker has read it: the end will show.
            return;
        }
        let unsubscribe = Shape::new(0xA2)
            .id(marker)
            .properties(self.reader.version, Vec::new())
            .text(NONCE);
        let _ = self.stream.write_all(&unsubscribe.bytes());
        self.read_until(Some(marker));
    }

    /// Reads until the answer to a marker, or the end.
    fn read_until(&mut self, marker: Option<u16>) {
        let until = Instant::now() + PATIENCE;
        loop {
            while let Some(total) = first_packet(&self.input) {
                let packet: Vec<u8> = self.input.drain(..total).collect();
                let said = self.reader.read(&packet);
                if let (Said::UnsubAck(id, _), Some(marker)) = (&said, marker)
                    && *id == marker
                {
                    return;
                }
                self.heard(said);
            }
            let left = until.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).unwrap();
            let mut buffer = [0; 16 << 10];
            match self.stream.read(&mut buffer) {
                Ok(count) if count > 0 => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    return self.end(Said::Silent);
                }
                Ok(_) | Err(_) => {
                    let torn = !self.input.is_empty();
                    return self.end(if torn { Said::Torn } else { Said::Closed });
                }
            }
        }
    }

    fn end(&mut self, how: Said) {
        self.said.push(how);
        self.open = false;
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn heard(&mut self, said: Said) {
        if let Some((kind, id)) = said.wants_answer() {
            let at_once = match self.habit {
                Habit::Answers => true,
                Habit::Waits => kind == PacketType::PubRel,
                Habit::Holds => false,
            };
            if at_once {
                self.acknowledge(kind, id, 0);
                self.answered = true;
            }
        }
        self.said.push(said);
    }

    fn answer_waiting(&mut self, nth: usize, answer: Answer) {
        if self.waiting.is_empty() {
            return;
        }
        let nth = nth % self.waiting.len();
        let (kind, id) = match answer {
            Answer::Right | Answer::Refused => self.waiting.remove(nth),
            Answer::WrongKind => self.waiting[nth],
        };
        match answer {
            Answer::Right => self.acknowledge(kind, id, 0),
            // PUBCOMP has one other reason only [MQTT-3.7.2-1].
            Answer::Refused if kind == PacketType::PubComp => self.acknowledge(kind, id, 0x92),
            Answer::Refused => self.acknowledge(kind, id, 0x80),
            Answer::WrongKind => {
                let wrong = match kind {
                    PacketType::PubAck => PacketType::PubRec,
                    PacketType::PubRec => PacketType::PubAck,
                    _ => PacketType::PubRec,
                };
                self.acknowledge(wrong, id, 0);
            }
        }
    }

    fn acknowledge(&mut self, kind: PacketType, id: u16, reason: u8) {
        let first = match kind {
            PacketType::PubAck => 0x40,
            PacketType::PubRec => 0x50,
            PacketType::PubRel => 0x62,
            _ => 0x70,
        };
        let mut shape = Shape::new(first).id(id);
        if reason != 0 && self.reader.version == Version::V5 {
            shape = shape.raw(&[reason]);
        }
        self.send(&shape.bytes());
    }
}
