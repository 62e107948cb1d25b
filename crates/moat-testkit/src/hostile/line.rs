//! A hostile client's connection: plain bytes, and no opinion about what comes back.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use moat_codec::{
    Connect, Framed, Limits, Packet, PacketType, Publish, QoS, Subscribe, Subscription,
    SubscriptionOptions, TopicFilter, Version, frame,
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::mqtt::packet_id;
use crate::raw::encode;

/// How long a line waits for an answer before it is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection.
pub struct Line {
    stream: TcpStream,
    /// The version it speaks.
    pub version: Version,
    input: Vec<u8>,
}

impl Line {
    /// Connects by TCP, and says nothing.
    #[must_use]
    pub fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}")))
    }

    /// As [`Self::open`], with a receive buffer so small that the broker soon cannot send any more.
    #[must_use]
    pub fn open_deaf(address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Line {
            stream,
            version: Version::V5,
            input: Vec::new(),
        }
    }

    /// Connects by TCP and MQTT 5.0. Returns nothing if the broker refuses.
    #[must_use]
    pub fn attached(address: SocketAddr, client_id: &str) -> Option<Self> {
        Self::open(address).attach(&Connect::new(Version::V5, client_id))
    }

    /// Sends a CONNECT and waits for its CONNACK. Returns nothing if the broker refuses.
    #[must_use]
    pub fn attach(mut self, connect: &Connect<'_>) -> Option<Self> {
        self.version = connect.version;
        self.say_packet(&Packet::Connect(connect.clone()));
        let accepted = self.until(
            PacketType::ConnAck,
            |packet| matches!(packet, Packet::ConnAck(connack) if !connack.reason.is_error()),
        );
        (accepted == Some(true)).then_some(self)
    }

    /// Sends bytes. Returns whether the broker still takes them.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Encodes and sends a packet.
    pub fn say_packet(&mut self, packet: &Packet<'_>) -> bool {
        let bytes = encode(packet, self.version);
        self.say(&bytes)
    }

    /// Sends PINGREQ and waits for its answer: everything before was handled by then. Returns false when the broker has
    /// closed the connection.
    pub fn settle(&mut self) -> bool {
        self.say(&[0xc0, 0]) && self.until(PacketType::PingResp, |_| ()).is_some()
    }

    /// Subscribes to one filter and waits for the SUBACK.
    pub fn subscribe(&mut self, filter: &str, qos: QoS) -> bool {
        self.say(&subscribe(&[filter], qos, self.version))
            && self.until(PacketType::SubAck, |_| ()).is_some()
    }

    /// Reads up to and with the next packet of a type, and shows it. Returns nothing when the connection ends before.
    pub fn until<T>(&mut self, kind: PacketType, look: impl FnOnce(Packet<'_>) -> T) -> Option<T> {
        let limits = Limits::generous();
        loop {
            while let Ok(Framed::Complete { total, .. }) = frame(&self.input, &limits) {
                let bytes: Vec<u8> = self.input.drain(..total).collect();
                let packet = Packet::decode(&bytes, self.version, &limits)
                    .unwrap_or_else(|error| panic!("the broker sent a bad packet: {error}"));
                if packet.packet_type() == kind {
                    return Some(look(packet));
                }
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Reads until the broker closes the connection; it has to.
    pub fn until_closed(&mut self) {
        let since = Instant::now();
        while self.read() {
            assert!(since.elapsed() < PATIENCE, "the broker does not close");
        }
    }

    /// Whether the broker has closed the connection; reads what is there without waiting.
    pub fn is_closed(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let closed = loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) => break error.kind() != ErrorKind::WouldBlock,
            }
        };
        self.stream.set_nonblocking(false).unwrap();
        closed
    }

    /// Closes with a reset, as a client that has crashed.
    pub fn reset(self) {
        // A socket that is gone already is as good.
        let _gone = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Closes this side.
    pub fn half_close(&self) {
        let _gone = self.stream.shutdown(Shutdown::Write);
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                true
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(!late, "no answer within {PATIENCE:?}");
                false
            }
        }
    }
}

/// The bytes of a SUBSCRIBE to any filters.
#[must_use]
pub(super) fn subscribe(filters: &[&str], qos: QoS, version: Version) -> Vec<u8> {
    let limits = Limits::generous();
    let subscriptions: Vec<_> = filters
        .iter()
        .map(|filter| Subscription {
            filter: TopicFilter::new(filter, &limits).unwrap(),
            options: SubscriptionOptions::qos(qos),
        })
        .collect();
    let packet = Packet::Subscribe(Subscribe::new(packet_id(1), &subscriptions));
    encode(&packet, version)
}

/// The bytes of a PUBLISH.
#[must_use]
pub(super) fn publish(topic: &str, payload: &[u8], qos: QoS, id: u16, version: Version) -> Vec<u8> {
    let mut publish = Publish::new(topic, payload);
    publish.qos = qos;
    publish.packet_id = (qos != QoS::AtMostOnce).then(|| packet_id(id));
    encode(&Packet::Publish(publish), version)
}

/// The fixed header of a packet that announces `length` more bytes.
#[must_use]
pub(super) fn announce(first: u8, mut length: u32) -> Vec<u8> {
    let mut bytes = vec![first];
    loop {
        let low = u8::try_from(length & 127).unwrap();
        length >>= 7;
        if length == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 128);
    }
}
