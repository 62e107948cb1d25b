//! One connection of the floor.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;

use super::Clients;
use crate::packet;

/// Bytes of a PUBLISH that must be there before it is passed on: enough for its topic and packet id.
const HEAD_BYTES: usize = 256;

pub(super) struct Client {
    pub(super) socket: TcpStream,
    /// A frame that has not arrived completely.
    input: Vec<u8>,
    output: Vec<u8>,
    written: usize,
    pub(super) is_dirty: bool,
    /// The socket took no more: the next write waits until it is ready.
    pub(super) waits_for_room: bool,
    is_v5: bool,
    /// Who gets what this one publishes, once that was looked up.
    pub(super) targets: Option<Vec<usize>>,
    /// The rest of a large PUBLISH, which is passed on as it comes.
    skip: usize,
    pub(super) filters: Vec<String>,
}

impl Client {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            input: Vec::new(),
            output: Vec::new(),
            written: 0,
            is_dirty: false,
            waits_for_room: false,
            is_v5: false,
            targets: None,
            skip: 0,
            filters: Vec::new(),
        }
    }

    pub(super) fn has_output(&self) -> bool {
        !self.output.is_empty()
    }

    /// Writes what is pending; `true` if the other end is gone.
    pub(super) fn flush(&mut self, epoll: &OwnedFd, number: usize) -> std::io::Result<bool> {
        while self.written < self.output.len() {
            match (&self.socket).write(&self.output[self.written..]) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.wait_for_room(epoll, number, true)?;
                    return Ok(false);
                }
                Err(_) => return Ok(true),
            }
        }
        self.output.clear();
        self.written = 0;
        self.wait_for_room(epoll, number, false)?;
        Ok(false)
    }

    fn wait_for_room(
        &mut self,
        epoll: &OwnedFd,
        number: usize,
        waits: bool,
    ) -> std::io::Result<()> {
        if self.waits_for_room == waits {
            return Ok(());
        }
        self.waits_for_room = waits;
        let flags = if waits {
            EventFlags::IN | EventFlags::OUT
        } else {
            EventFlags::IN
        };
        epoll::modify(
            epoll,
            &self.socket,
            EventData::new_u64(number as u64),
            flags,
        )?;
        Ok(())
    }

    /// Answers and passes on what was read; `true` if the client takes its leave or speaks nonsense.
    pub(super) fn input(&mut self, new: &[u8], number: usize, clients: &mut Clients) -> bool {
        // Works on the buffer of the read itself, unless an earlier frame was cut.
        let joined;
        let mut bytes = new;
        if !self.input.is_empty() {
            self.input.extend_from_slice(new);
            joined = std::mem::take(&mut self.input);
            bytes = &joined;
        }
        if self.skip > 0 {
            let (rest, others) = bytes.split_at(self.skip.min(bytes.len()));
            self.pass_on(rest, clients);
            self.skip -= rest.len();
            bytes = others;
        }
        // Several whole PUBLISH in a row are passed on as one piece, which begins here.
        let mut run = 0;
        let mut at = 0;
        while let Some((rest, used)) = bytes.get(at + 1..).and_then(packet::length) {
            let head = 1 + used;
            let total = head.saturating_add(rest);
            let frame = &bytes[at..];
            let is_publish = frame[0] >> 4 == 3;
            if frame.len()
                < if is_publish {
                    total.min(head + 2 + HEAD_BYTES)
                } else {
                    total
                }
            {
                break;
            }
            if !is_publish {
                self.pass_on(&bytes[run..at], clients);
                if self
                    .answer(&frame[..total], head, number, clients)
                    .is_none()
                {
                    return true;
                }
                at += total;
                run = at;
                continue;
            }
            if self.on_publish(frame, head, clients).is_none() {
                return true;
            }
            if frame.len() < total {
                self.skip = total - frame.len();
                self.pass_on(&bytes[run..], clients);
                return false;
            }
            at += total;
        }
        self.pass_on(&bytes[run..at], clients);
        if at < bytes.len() {
            self.input = bytes[at..].to_vec();
        }
        false
    }

    fn pass_on(&mut self, bytes: &[u8], clients: &mut Clients) {
        if bytes.is_empty() {
            return;
        }
        let Some(targets) = self.targets.take() else {
            return;
        };
        for &target in &targets {
            if let Some(other) = clients.all[target].as_mut() {
                other.output.extend_from_slice(bytes);
                if !other.is_dirty {
                    other.is_dirty = true;
                    clients.dirty.push(target);
                }
            }
        }
        self.targets = Some(targets);
    }

    /// Looks up who gets it and acknowledges; `None` if it is malformed.
    fn on_publish(&mut self, frame: &[u8], head: usize, clients: &Clients) -> Option<()> {
        let topic = string(frame, head)?;
        if self.targets.is_none() {
            let topic = String::from_utf8_lossy(topic);
            let wanted = |filter: &str| clients.by_filter.get(filter).cloned().unwrap_or_default();
            let mut targets = wanted(&topic);
            if let Some((first, _)) = topic.split_once('/') {
                targets.extend(wanted(&format!("{first}/#")));
            }
            self.targets = Some(targets);
        }
        let qos = (frame[0] >> 1) & 3;
        if qos > 0 {
            let at = head + 2 + topic.len();
            let id = frame.get(at..at + 2)?;
            let kind = if qos == 1 { 0x40 } else { 0x50 };
            self.output.extend_from_slice(&[kind, 2, id[0], id[1]]);
        }
        Some(())
    }

    /// Answers any other packet; `None` if the client is done or it is malformed.
    fn answer(
        &mut self,
        frame: &[u8],
        head: usize,
        number: usize,
        clients: &mut Clients,
    ) -> Option<()> {
        let id = |at: usize| Some([*frame.get(at)?, *frame.get(at + 1)?]);
        match frame[0] >> 4 {
            1 => {
                self.is_v5 = *frame.get(head + 6)? == 5;
                self.output.extend_from_slice(connack(self.is_v5));
            }
            // The subscriber's PUBREC, and the publisher's PUBREL.
            5 => self.reply(&[0x62, 2], id(head)?),
            6 => self.reply(&[0x70, 2], id(head)?),
            8 => {
                let at = head + 2 + usize::from(self.is_v5);
                let filter = String::from_utf8_lossy(string(frame, at)?).into_owned();
                clients
                    .by_filter
                    .entry(filter.clone())
                    .or_default()
                    .push(number);
                self.filters.push(filter);
                if self.is_v5 {
                    self.reply(&[0x90, 4], id(head)?);
                    self.output.extend_from_slice(&[0, 0]);
                } else {
                    self.reply(&[0x90, 3], id(head)?);
                    self.output.push(0);
                }
            }
            12 => self.output.extend_from_slice(&[0xd0, 0]),
            14 => return None,
            _ => {}
        }
        Some(())
    }

    fn reply(&mut self, head: &[u8], id: [u8; 2]) {
        self.output.extend_from_slice(head);
        self.output.extend_from_slice(&id);
    }
}

/// A CONNACK that accepts.
pub(super) fn connack(is_v5: bool) -> &'static [u8] {
    if is_v5 {
        &[0x20, 3, 0, 0, 0]
    } else {
        &[0x20, 2, 0, 0]
    }
}

/// The bytes of a string with its length before it.
fn string(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let length = bytes.get(at..at + 2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    bytes.get(at + 2..at + 2 + length)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpListener};

    use super::*;

    /// A subscriber of the topic with number 0, and the publisher that is taken out as number 1.
    fn clients(topic: &str) -> (Clients, Client) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = || Client::new(TcpStream::connect(address).unwrap());
        let mut clients = Clients {
            all: vec![Some(client()), None],
            ..Clients::default()
        };
        let mut subscriber = clients.all[0].take().unwrap();
        let mut out = vec![];
        packet::subscribe(&mut out, false, 7, [topic], 0);
        assert!(!subscriber.input(&out, 0, &mut clients));
        assert_eq!(subscriber.output, [0x90, 3, 0, 7, 0]);
        subscriber.output.clear();
        clients.all[0] = Some(subscriber);
        (clients, client())
    }

    fn publishes(count: usize, payload_bytes: usize) -> Vec<u8> {
        let mut out = vec![];
        for _ in 0..count {
            let what = packet::Publish {
                v5: false,
                topic: "a/b",
                qos: 0,
                retain: false,
                payload_bytes,
                user_properties: 0,
            };
            packet::publish(&mut out, &what);
        }
        out
    }

    #[test]
    fn every_byte_of_a_publish_is_passed_on_however_it_is_cut() {
        for payload_bytes in [16, 1000] {
            let sent = publishes(5, payload_bytes);
            for piece in [1, 2, 7, 100, 300, 1003, sent.len()] {
                let (mut clients, mut publisher) = clients("a/#");
                for bytes in sent.chunks(piece) {
                    assert!(!publisher.input(bytes, 1, &mut clients));
                }
                let got = &clients.all[0].as_ref().unwrap().output;
                assert!(*got == sent, "{payload_bytes} bytes in pieces of {piece}");
            }
        }
    }

    #[test]
    fn a_publish_of_qos_1_is_acknowledged_and_one_nobody_wants_goes_nowhere() {
        let (mut clients, mut publisher) = clients("x/y");
        let bytes = [0x32, 7, 0, 3, b'a', b'/', b'b', 1, 2];
        assert!(!publisher.input(&bytes, 1, &mut clients));
        assert_eq!(publisher.output, [0x40, 2, 1, 2]);
        assert!(!clients.all[0].as_ref().unwrap().has_output());
    }

    #[test]
    fn a_client_that_says_goodbye_or_nonsense_is_done() {
        let (mut clients, mut publisher) = clients("x/y");
        assert!(publisher.input(&[0xe0, 0], 1, &mut clients));
        // A topic longer than its packet.
        assert!(publisher.input(&[0x30, 3, 0, 9, b'a'], 1, &mut clients));
    }
}
