//! One MQTT connection with its receive buffer.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::options::Options;
use crate::packet;
use crate::tls::TlsStream;

/// How long an answer of the broker may take.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a session without a connection stays.
const EXPIRY_SECS: u32 = 3600;

/// Kinds of packets, the upper half of their first byte.
pub(crate) const SUBACK: u8 = 9;
pub(crate) const UNSUBACK: u8 = 11;
pub(crate) const PINGRESP: u8 = 13;

/// Who a connection says it is.
pub(crate) struct Who {
    pub(crate) id: String,
    /// `None` for a clean session, else how many seconds it stays.
    pub(crate) expiry_secs: Option<u32>,
    /// The number of the connection, which chooses its source address.
    pub(crate) number: usize,
}

impl Who {
    /// A connection whose session outlives it.
    pub(crate) fn lasting(id: String, number: usize) -> Self {
        Self {
            expiry_secs: Some(EXPIRY_SECS),
            ..Self::clean(id, number)
        }
    }

    /// A connection without a past and without a future.
    pub(crate) fn clean(id: String, number: usize) -> Self {
        Self {
            id,
            expiry_secs: None,
            number,
        }
    }
}

/// What a broker sent.
pub(crate) enum Event {
    Publish {
        qos: u8,
        packet_id: u16,
        sent_ns: u64,
        publisher: u32,
        sequence: u32,
    },
    /// PUBACK (4), PUBREC (5), PUBREL (6) or PUBCOMP (7).
    Ack {
        kind: u8,
        packet_id: u16,
    },
    Disconnect {
        code: u8,
    },
    Other {
        kind: u8,
    },
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
}

/// A connection after its CONNACK.
pub(crate) struct Connection {
    stream: Stream,
    /// As long as its capacity; filled from `start` to `end`.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of a payload that are still to be dropped.
    skip: usize,
    v5: bool,
    pub(crate) session_present: bool,
    pub(crate) receive_maximum: u16,
    pub(crate) is_resumed: bool,
}

impl Connection {
    /// Connects, shakes hands, and waits for the CONNACK.
    ///
    /// # Errors
    /// What went wrong, and in which of these steps.
    pub(crate) async fn open(
        options: &Options,
        tls: Option<&Arc<ClientConfig>>,
        who: &Who,
    ) -> Result<Self, String> {
        let socket = tcp(options, who.number)
            .await
            .map_err(|error| format!("tcp: {error}"))?;
        let mut is_resumed = false;
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(config) => {
                let name = ServerName::try_from(options.sni.clone())
                    .map_err(|error| format!("--sni {}: {error}", options.sni))?;
                let stream = TlsStream::connect(Arc::clone(config), name, socket)
                    .await
                    .map_err(|error| format!("tls: {error}"))?;
                is_resumed = stream.is_resumed();
                Stream::Tls(Box::new(stream))
            }
        };
        let mut connection = Self {
            stream,
            buffer: vec![0; options.buffer_bytes],
            start: 0,
            end: 0,
            skip: 0,
            v5: options.v5,
            session_present: false,
            receive_maximum: u16::MAX,
            is_resumed,
        };
        let mut hello = Vec::with_capacity(128);
        packet::connect(
            &mut hello,
            &packet::Connect {
                v5: options.v5,
                client_id: &who.id,
                clean: who.expiry_secs.is_none(),
                expiry_secs: who.expiry_secs.unwrap_or(0),
                keepalive_secs: options.keepalive_secs,
                user: options.user.as_deref(),
                password: options.password.as_deref(),
            },
        );
        connection.send(&hello).await?;
        connection.connack().await?;
        Ok(connection)
    }

    async fn connack(&mut self) -> Result<(), String> {
        loop {
            self.fill()
                .await
                .map_err(|error| format!("connack: {error}"))?;
            let Some((bytes, used)) = packet::length(&self.buffer[1.min(self.end)..self.end])
            else {
                continue;
            };
            let total = (1 + used).saturating_add(bytes);
            if self.buffer[0] != 0x20 {
                return Err(format!("expected CONNACK, got {:#x}", self.buffer[0]));
            }
            if self.end < total {
                continue;
            }
            let connack = packet::connack(&self.buffer[1 + used..total], self.v5)
                .ok_or("the CONNACK is malformed")?;
            if connack.code != 0 {
                return Err(format!("connack code {}", connack.code));
            }
            self.session_present = connack.session_present;
            self.receive_maximum = connack.receive_maximum;
            self.start = total;
            return Ok(());
        }
    }

    /// One read into the buffer; the end of the stream is an error.
    #[inline]
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.end == self.buffer.len() {
            self.buffer.resize(self.end * 2, 0);
        }
        let room = &mut self.buffer[self.end..];
        let read = match &mut self.stream {
            Stream::Plain(stream) => stream.read(room).await?,
            Stream::Tls(stream) => stream.read(room).await?,
        };
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end += read;
        Ok(read)
    }

    /// Takes apart all that is in the buffer. Payloads are skipped by their length, never copied.
    #[inline]
    pub(crate) fn parse(&mut self, mut tell: impl FnMut(Event)) {
        loop {
            let dropped = self.skip.min(self.end - self.start);
            self.start += dropped;
            self.skip -= dropped;
            if self.skip > 0 {
                return;
            }
            let bytes = &self.buffer[self.start..self.end];
            let Some((rest, used)) = bytes.get(1..).and_then(packet::length) else {
                return;
            };
            let head = 1 + used;
            let total = head.saturating_add(rest);
            let event = match bytes[0] >> 4 {
                3 => publish(bytes, head, total, self.v5),
                _ if bytes.len() < total => None,
                kind @ 4..=7 if rest >= 2 => Some(Event::Ack {
                    kind,
                    packet_id: u16::from_be_bytes([bytes[head], bytes[head + 1]]),
                }),
                14 => Some(Event::Disconnect {
                    code: if rest > 0 { bytes[head] } else { 0 },
                }),
                kind => Some(Event::Other { kind }),
            };
            let Some(event) = event else { return };
            tell(event);
            let here = bytes.len().min(total);
            self.start += here;
            self.skip = total - here;
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// The connection is gone.
    #[inline]
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(bytes).await,
            Stream::Tls(stream) => stream.write_all(bytes).await,
        };
        sent.map_err(|error| format!("write: {error}"))
    }

    /// Waits for one packet of `kind` and drops what comes before it.
    ///
    /// # Errors
    /// The connection ends, or it takes longer than a minute.
    pub(crate) async fn wait(&mut self, kind: u8) -> Result<(), String> {
        let mut is_there = false;
        loop {
            self.parse(|event| {
                is_there |= matches!(event, Event::Other { kind: other } if other == kind)
            });
            if is_there {
                return Ok(());
            }
            match timeout(ANSWER, self.fill()).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(format!("waiting for packet {kind}: {error}")),
                Err(_) => return Err(format!("waiting for packet {kind}: nothing for {ANSWER:?}")),
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> Result<(), String> {
        let mut out = Vec::new();
        packet::subscribe(&mut out, self.v5, 1, [filter], qos);
        self.send(&out).await?;
        self.wait(SUBACK).await
    }

    /// Sends a PINGREQ and waits for the answer: then the broker has read all before it.
    pub(crate) async fn ping(&mut self) -> Result<(), String> {
        let mut out = Vec::new();
        packet::pingreq(&mut out);
        self.send(&out).await?;
        self.wait(PINGRESP).await
    }

    /// Disconnects in good order.
    pub(crate) async fn bye(&mut self) {
        let mut out = Vec::new();
        packet::disconnect(&mut out);
        let _gone = self.send(&out).await;
        let _gone = match &mut self.stream {
            Stream::Plain(stream) => stream.shutdown().await,
            Stream::Tls(stream) => stream.shutdown().await,
        };
    }
}

/// The facts of a PUBLISH that begins `bytes`, once its header and that of its payload are there.
#[inline]
fn publish(bytes: &[u8], head: usize, total: usize, v5: bool) -> Option<Event> {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    };
    let qos = (bytes[0] >> 1) & 3;
    let mut at = head + 2 + number(head)? as usize;
    let mut packet_id = 0;
    if qos > 0 {
        packet_id = number(at)?;
        at += 2;
    }
    if v5 {
        let (properties, used) = packet::length(bytes.get(at..)?)?;
        at += properties + used;
    }
    let (mut sent_ns, mut publisher, mut sequence) = (0, u32::MAX, 0);
    if total.saturating_sub(at) >= packet::HEADER_BYTES {
        let header: &[u8; packet::HEADER_BYTES] =
            bytes.get(at..at + packet::HEADER_BYTES)?.try_into().ok()?;
        let [
            t0,
            t1,
            t2,
            t3,
            t4,
            t5,
            t6,
            t7,
            p0,
            p1,
            p2,
            p3,
            s0,
            s1,
            s2,
            s3,
        ] = *header;
        sent_ns = u64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        publisher = u32::from_le_bytes([p0, p1, p2, p3]);
        sequence = u32::from_le_bytes([s0, s1, s2, s3]);
    } else if bytes.len() < total {
        return None;
    }
    Some(Event::Publish {
        qos,
        packet_id,
        sent_ns,
        publisher,
        sequence,
    })
}

async fn tcp(options: &Options, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if options.source_addresses > 0 {
        let last = 2 + (number % options.source_addresses.min(200)) as u8;
        socket.bind(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)))?;
    }
    if options.receive_buffer_bytes > 0 {
        socket.set_recv_buffer_size(options.receive_buffer_bytes)?;
    }
    let stream = socket.connect(options.addr).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The acknowledgement a subscriber owes for a PUBLISH.
#[inline]
pub(crate) fn acknowledge(out: &mut Vec<u8>, qos: u8, packet_id: u16) {
    match qos {
        0 => {}
        1 => packet::ack(out, 4, packet_id),
        _ => packet::ack(out, 5, packet_id),
    }
}
