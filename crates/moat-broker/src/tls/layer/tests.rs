use std::io::{Read, Write};

use proptest::prelude::*;
use rustls::pki_types::ServerName;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
};

use super::*;
use crate::tls::fixtures::{Authority, Leaf, Setup, provider};
use crate::tls::server_config::{ClientAuth, load};

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
/// More than any test sends.
const NO_BUDGET: usize = 8 * 1024 * 1024;
const MIB: usize = 1024 * 1024;

/// A client and a server layer in memory.
struct Pair {
    client: ClientConnection,
    server: TlsLayer,
    /// Plaintext that arrived at the server.
    arrived: Vec<u8>,
    /// Ciphertext from the server that the client has not seen.
    out: Vec<u8>,
    handshakes_done: usize,
}

fn server_config(setup: &Setup, client_auth: ClientAuth) -> Arc<ServerConfig> {
    let mut files = setup.files.clone();
    files.client_auth = client_auth;
    load(&files).unwrap().config
}

fn client_config(
    setup: &Setup,
    version: &'static SupportedProtocolVersion,
    certificate: Option<&Authority>,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(setup.root.der()).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match certificate {
        Some(authority) => {
            let leaf = authority.issue(Leaf::client("device-7"));
            builder
                .with_client_auth_cert(vec![leaf.der()], leaf.key_der())
                .unwrap()
        }
        None => builder.with_no_client_auth(),
    })
}

impl Pair {
    fn new(client: Arc<ClientConfig>, server: Arc<ServerConfig>) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        Self {
            client: ClientConnection::new(client, name).unwrap(),
            server: TlsLayer::new(server).unwrap(),
            arrived: Vec::new(),
            out: Vec::new(),
            handshakes_done: 0,
        }
    }

    fn plain(version: &'static SupportedProtocolVersion) -> Self {
        let setup = Setup::new();
        Self::new(
            client_config(&setup, version, None),
            server_config(&setup, ClientAuth::Requested),
        )
    }

    fn connected(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::plain(version);
        pair.handshake(usize::MAX).unwrap();
        pair
    }

    /// What the client wants to send now.
    fn client_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// Gives the server bytes in chunks of at most `chunk`.
    fn feed(&mut self, bytes: &[u8], chunk: usize) -> Result<Received, TlsError> {
        let mut last = Received::default();
        for piece in bytes.chunks(chunk.min(bytes.len().max(1))) {
            last = self.feed_once(piece, NO_BUDGET)?;
        }
        Ok(last)
    }

    fn feed_once(&mut self, bytes: &[u8], budget: usize) -> Result<Received, TlsError> {
        let mut input = bytes.to_vec();
        let received = self
            .server
            .receive(&mut input, &mut self.arrived, &mut self.out, budget)?;
        self.handshakes_done += usize::from(received.handshake_done);
        Ok(received)
    }

    /// Gives the client what the server wrote.
    fn deliver(&mut self) -> Result<(), rustls::Error> {
        let out = std::mem::take(&mut self.out);
        let mut rest = &out[..];
        while !rest.is_empty() {
            self.client.read_tls(&mut rest).unwrap();
            self.client.process_new_packets()?;
        }
        Ok(())
    }

    fn handshake(&mut self, chunk: usize) -> Result<(), TlsError> {
        while self.client.is_handshaking() || self.server.is_handshaking() {
            let bytes = self.client_bytes();
            self.feed(&bytes, chunk)?;
            self.deliver().unwrap();
        }
        Ok(())
    }

    /// The ciphertext of application data from the client.
    fn client_data(&mut self, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.client.set_buffer_limit(None);
        self.client.writer().write_all(data).unwrap();
        bytes.append(&mut self.client_bytes());
        bytes
    }

    fn client_reads(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        // At the end of what arrived the reader says "would block", or stops at a close_notify.
        let _ = self.client.reader().read_to_end(&mut data);
        data
    }
}

/// Bytes that differ from place to place, so that a swap or a gap is seen.
fn pattern(length: usize) -> Vec<u8> {
    (0..length)
        .map(|i| u8::try_from((i ^ (i >> 8)) & 0xff).unwrap())
        .collect()
}

#[test]
fn a_handshake_completes_in_chunks_of_any_size() {
    for version in BOTH {
        for chunk in [1, 7, 1000, usize::MAX] {
            let setup = Setup::new();
            let mut pair = Pair::new(
                client_config(&setup, version, Some(&setup.root)),
                server_config(&setup, ClientAuth::Required),
            );
            pair.handshake(chunk).unwrap();
            assert_eq!(pair.handshakes_done, 1);
            assert_eq!(pair.server.protocol_version(), Some(version.version));
            assert!(matches!(
                pair.server.handshake_kind(),
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            ));
            assert_eq!(pair.server.peer_certificates().unwrap().len(), 1);
            assert_eq!(pair.server.buffered(), 0);
        }
    }
}

#[test]
fn data_goes_both_ways_byte_by_byte() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let bytes = pair.client_data(b"hello");
        for (i, byte) in bytes.iter().enumerate() {
            assert!(pair.arrived.is_empty(), "{i}");
            pair.feed_once(&[*byte], NO_BUDGET).unwrap();
        }
        assert_eq!(pair.arrived, b"hello");
        assert_eq!(pair.server.buffered(), 0);
        pair.server.seal(b"hallo", &mut pair.out).unwrap();
        pair.deliver().unwrap();
        assert_eq!(pair.client_reads(), b"hallo");
    }
}

#[test]
fn a_flood_in_one_input_arrives_whole() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let data = pattern(MIB);
        let bytes = pair.client_data(&data);
        let received = pair.feed_once(&bytes, NO_BUDGET).unwrap();
        assert_eq!(received, Received::default());
        assert!(pair.arrived == data);
        assert_eq!(pair.server.buffered(), 0);
    }
}

#[test]
fn many_small_records_in_one_input_arrive_in_order() {
    let mut pair = Pair::connected(&rustls::version::TLS13);
    let mut bytes = Vec::new();
    let data = pattern(2_000);
    for piece in data.chunks(1) {
        bytes.append(&mut pair.client_data(piece));
    }
    pair.feed_once(&bytes, NO_BUDGET).unwrap();
    assert!(pair.arrived == data);
}

#[test]
fn a_small_budget_delivers_a_flood_in_portions() {
    const BUDGET: usize = 1_000;
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let data = pattern(MIB);
        let bytes = pair.client_data(&data);
        let mut received = pair.feed_once(&bytes, BUDGET).unwrap();
        let mut calls = 1;
        while received.more {
            let before = pair.arrived.len();
            assert!(pair.server.buffered() > 0);
            received = pair.feed_once(&[], BUDGET).unwrap();
            let portion = pair.arrived.len() - before;
            assert!(portion < BUDGET + RECORD_PLAINTEXT_MAX, "{portion}");
            calls += 1;
        }
        assert_eq!(calls, MIB.div_ceil(RECORD_PLAINTEXT_MAX));
        assert!(pair.arrived == data);
        assert_eq!(pair.server.buffered(), 0);
    }
}

#[test]
fn input_behind_undrained_input_keeps_its_order() {
    let mut pair = Pair::connected(&rustls::version::TLS13);
    let data = pattern(100_000);
    let (first, second) = data.split_at(60_000);
    let bytes = pair.client_data(first);
    assert!(pair.feed_once(&bytes, 1).unwrap().more);
    let bytes = pair.client_data(second);
    let mut received = pair.feed_once(&bytes, 1).unwrap();
    while received.more {
        received = pair.feed_once(&[], 1).unwrap();
    }
    assert!(pair.arrived == data);
}

#[test]
fn a_driver_that_never_drains_is_stopped() {
    let mut pair = Pair::connected(&rustls::version::TLS13);
    let bytes = pair.client_data(&pattern(UNDRAINED_BYTES_MAX / 2));
    assert!(pair.feed_once(&bytes, 1).unwrap().more);
    let bytes = pair.client_data(&pattern(UNDRAINED_BYTES_MAX / 2 + 20_000));
    assert_eq!(pair.feed_once(&bytes, 1), Err(TlsError::NotDrained));
    assert_eq!(pair.server.buffered(), 0);
}

#[test]
fn a_megabyte_is_sealed_in_one_call() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let data = pattern(MIB);
        pair.server.seal(&data, &mut pair.out).unwrap();
        assert!(pair.out.len() < MIB + MIB / 100);
        let out = std::mem::take(&mut pair.out);
        let mut arrived = Vec::new();
        for mut piece in out.chunks(4096) {
            while !piece.is_empty() {
                pair.client.read_tls(&mut piece).unwrap();
                pair.client.process_new_packets().unwrap();
                arrived.append(&mut pair.client_reads());
            }
        }
        assert!(arrived == data);
    }
}

#[test]
fn sealing_nothing_writes_nothing() {
    let mut pair = Pair::connected(&rustls::version::TLS13);
    pair.server.seal(b"", &mut pair.out).unwrap();
    assert!(pair.out.is_empty());
}

#[test]
fn sealing_works_while_input_is_undrained_or_incomplete() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let bytes = pair.client_data(&pattern(40_000));
        let (first, last) = bytes.split_at(bytes.len() - 3);
        assert!(pair.feed_once(first, 1).unwrap().more);
        pair.server.seal(b"early", &mut pair.out).unwrap();
        while pair.feed_once(&[], 1).unwrap().more {}
        assert!(pair.server.buffered() > 0, "a part of the last record");
        pair.server.seal(b" and late", &mut pair.out).unwrap();
        pair.feed_once(last, 1).unwrap();
        assert!(pair.arrived == pattern(40_000));
        pair.deliver().unwrap();
        assert_eq!(pair.client_reads(), b"early and late");
    }
}

#[test]
fn data_right_behind_the_handshake_is_not_lost() {
    let mut pair = Pair::plain(&rustls::version::TLS13);
    let hello = pair.client_bytes();
    pair.feed(&hello, usize::MAX).unwrap();
    pair.deliver().unwrap();
    let bytes = pair.client_data(&pattern(50_000));
    let mut received = pair.feed_once(&bytes, 1).unwrap();
    assert!(received.handshake_done && received.more);
    // The answer is sealed while the ticket and the rest of the input are still under way.
    pair.server.seal(b"ok", &mut pair.out).unwrap();
    while received.more {
        received = pair.feed_once(&[], 1).unwrap();
        assert!(!received.handshake_done);
    }
    assert!(pair.arrived == pattern(50_000));
    pair.deliver().unwrap();
    assert_eq!(pair.client_reads(), b"ok");
}

#[test]
fn the_peers_close_notify_ends_its_data() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let mut bytes = pair.client_data(b"last words");
        pair.client.send_close_notify();
        bytes.append(&mut pair.client_bytes());
        bytes.extend_from_slice(b"garbage behind the end");
        let received = pair.feed_once(&bytes, NO_BUDGET).unwrap();
        assert!(received.peer_closed && !received.more);
        assert_eq!(pair.arrived, b"last words");
        let later = pair.feed_once(b"more garbage", NO_BUDGET).unwrap();
        assert!(later.peer_closed);
        assert_eq!(pair.server.buffered(), 0);
        // The other direction is still open.
        pair.server.seal(b"answer", &mut pair.out).unwrap();
        pair.server.close(&mut pair.out);
        pair.deliver().unwrap();
        assert_eq!(pair.client_reads(), b"answer");
    }
}

#[test]
fn our_close_notify_reaches_the_peer_once() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        pair.server.close(&mut pair.out);
        let length = pair.out.len();
        assert!(length > 0);
        pair.server.close(&mut pair.out);
        assert_eq!(pair.out.len(), length);
        assert_eq!(pair.server.seal(b"x", &mut pair.out), Err(TlsError::Closed));
        let out = std::mem::take(&mut pair.out);
        pair.client.read_tls(&mut &out[..]).unwrap();
        let state = pair.client.process_new_packets().unwrap();
        assert!(state.peer_has_closed());
        let bytes = pair.client_data(b"still under way");
        pair.feed(&bytes, 3).unwrap();
        assert_eq!(pair.arrived, b"still under way");
    }
}

#[test]
fn nothing_is_sealed_before_the_handshake() {
    let mut pair = Pair::plain(&rustls::version::TLS13);
    let result = pair.server.seal(b"x", &mut pair.out);
    assert_eq!(result, Err(TlsError::HandshakeNotDone));
    pair.server.close(&mut pair.out);
    assert!(pair.out.is_empty());
}

#[test]
fn plaintext_is_called_by_its_name() {
    for (text, looks_like) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], Plaintext::Http),
        (b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0", Plaintext::Mqtt),
        (b"\0\0\0\0\0\0\0\0\0\0", Plaintext::Unknown),
    ] {
        for chunk in [text.len(), 1] {
            let mut pair = Pair::plain(&rustls::version::TLS13);
            let result = pair.feed(text, chunk);
            assert_eq!(result, Err(TlsError::NotTls { looks_like }));
            assert_eq!(pair.server.buffered(), 0);
            assert!(pair.arrived.is_empty());
        }
    }
}

#[test]
fn garbage_is_answered_with_an_alert() {
    let mut pair = Pair::plain(&rustls::version::TLS13);
    // A handshake record whose content is no handshake message.
    let record = [&[22, 3, 1, 0, 8][..], &[0xff, 0, 0, 4, 1, 2, 3, 4]].concat();
    assert!(matches!(
        pair.feed_once(&record, NO_BUDGET),
        Err(TlsError::Protocol(_))
    ));
    assert_eq!(pair.out[0], 21, "an alert record");
    assert_eq!(pair.feed_once(b"x", NO_BUDGET), Err(TlsError::Closed));
}

#[test]
fn a_corrupt_record_is_answered_with_an_alert_the_peer_can_read() {
    for version in BOTH {
        let mut pair = Pair::connected(version);
        let mut bytes = pair.client_data(b"hello");
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(
            pair.feed_once(&bytes, NO_BUDGET),
            Err(TlsError::Protocol(rustls::Error::DecryptError))
        );
        assert!(pair.arrived.is_empty());
        assert_eq!(
            pair.deliver(),
            Err(rustls::Error::AlertReceived(AlertDescription::BadRecordMac))
        );
        assert_eq!(pair.server.seal(b"x", &mut pair.out), Err(TlsError::Closed));
    }
}

#[test]
fn client_certificates_are_judged_by_mode() {
    let setup = Setup::new();
    let stranger = Authority::root("stranger");
    for version in BOTH {
        let connect = |mode, certificate| {
            let mut pair = Pair::new(
                client_config(&setup, version, certificate),
                server_config(&setup, mode),
            );
            let result = loop {
                let bytes = pair.client_bytes();
                if let Err(error) = pair.feed(&bytes, usize::MAX) {
                    break Err(error);
                }
                pair.deliver().unwrap();
                if !pair.server.is_handshaking() {
                    break Ok(pair.server.peer_certificates().is_some());
                }
            };
            (result, pair.deliver())
        };
        assert_eq!(connect(ClientAuth::Off, Some(&setup.root)).0, Ok(false));
        assert_eq!(connect(ClientAuth::Requested, None).0, Ok(false));
        assert_eq!(
            connect(ClientAuth::Requested, Some(&setup.root)).0,
            Ok(true)
        );
        assert_eq!(connect(ClientAuth::Required, Some(&setup.root)).0, Ok(true));
        for mode in [ClientAuth::Requested, ClientAuth::Required] {
            let (result, at_client) = connect(mode, Some(&stranger));
            let cause = rustls::CertificateError::UnknownIssuer;
            assert_eq!(
                result,
                Err(TlsError::Protocol(rustls::Error::InvalidCertificate(cause)))
            );
            assert!(matches!(at_client, Err(rustls::Error::AlertReceived(_))));
        }
        let (result, at_client) = connect(ClientAuth::Required, None);
        assert_eq!(
            result,
            Err(TlsError::Protocol(rustls::Error::NoCertificatesPresented))
        );
        assert!(matches!(at_client, Err(rustls::Error::AlertReceived(_))));
    }
}

#[test]
fn sessions_resume_within_a_configuration_and_not_past_it() {
    let setup = Setup::new();
    for version in BOTH {
        let client = client_config(&setup, version, Some(&setup.root));
        let server = server_config(&setup, ClientAuth::Required);
        let kind = |server: &Arc<ServerConfig>| {
            let mut pair = Pair::new(Arc::clone(&client), Arc::clone(server));
            pair.handshake(usize::MAX).unwrap();
            assert_eq!(pair.server.peer_certificates().unwrap().len(), 1);
            pair.server.handshake_kind()
        };
        assert_ne!(kind(&server), Some(HandshakeKind::Resumed));
        assert_eq!(kind(&server), Some(HandshakeKind::Resumed));
        let reloaded = server_config(&setup, ClientAuth::Required);
        assert_ne!(kind(&reloaded), Some(HandshakeKind::Resumed));
    }
}

#[test]
fn a_key_update_is_answered_with_the_next_data() {
    let mut pair = Pair::connected(&rustls::version::TLS13);
    pair.client.refresh_traffic_keys().unwrap();
    let bytes = pair.client_data(b"new keys");
    pair.feed(&bytes, 1).unwrap();
    assert_eq!(pair.arrived, b"new keys");
    pair.server.seal(b"same here", &mut pair.out).unwrap();
    pair.server.seal(b", and on", &mut pair.out).unwrap();
    pair.deliver().unwrap();
    assert_eq!(pair.client_reads(), b"same here, and on");
}

#[test]
fn alpn_is_mqtt_or_nothing_and_http_where_websocket_follows() {
    let mut setup = Setup::new();
    let connect = |setup: &Setup, protocols: &[&str]| {
        let mut client = ClientConfig::clone(&client_config(setup, &rustls::version::TLS13, None));
        client.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let mut pair = Pair::new(Arc::new(client), server_config(setup, ClientAuth::Off));
        pair.handshake(usize::MAX)?;
        Ok(pair.client.alpn_protocol().map(<[u8]>::to_vec))
    };
    let http = Some(b"http/1.1".to_vec());
    assert_eq!(connect(&setup, &[]), Ok(None));
    assert_eq!(connect(&setup, &["x", "mqtt"]), Ok(Some(b"mqtt".to_vec())));
    assert_eq!(
        connect(&setup, &["http/1.1"]),
        Err(TlsError::Protocol(rustls::Error::NoApplicationProtocol))
    );
    // A browser that opens a WebSocket offers nothing else.
    setup.files.websocket = true;
    assert_eq!(connect(&setup, &["http/1.1"]), Ok(http));
}

#[test]
fn memory_follows_received_bytes_and_not_announced_ones() {
    let mut pair = Pair::plain(&rustls::version::TLS13);
    // A record of 16 KiB with the start of a ClientHello of 64 KiB, of which little comes.
    pair.feed(&[22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff, 3, 3], 1)
        .unwrap();
    assert!(pair.server.buffered() <= 32, "{}", pair.server.buffered());
}

#[test]
fn a_handshake_in_crumbs_is_bounded() {
    let mut pair = Pair::plain(&rustls::version::TLS13);
    pair.feed(&[22, 3, 1, 0, 4, 1, 0, 0xf0, 0], usize::MAX)
        .unwrap();
    // Each record carries one byte of a ClientHello that announced 60 KiB.
    let crumbs = [22, 3, 1, 0, 1, 0].repeat(1_000);
    let mut total = 0;
    let error = loop {
        total += crumbs.len();
        assert!(total < 2 * HELD_BYTES_MAX);
        match pair.feed_once(&crumbs, NO_BUDGET) {
            Ok(_) => assert!(pair.server.buffered() <= 2 * HELD_BYTES_MAX),
            Err(error) => break error,
        }
    };
    assert_eq!(error, TlsError::HandshakeTooLarge);
    assert_eq!(pair.server.buffered(), 0);
}

#[test]
fn an_idle_layer_is_small() {
    assert!(size_of::<TlsLayer>() <= 64, "{}", size_of::<TlsLayer>());
    let pair = Pair::connected(&rustls::version::TLS13);
    assert_eq!(pair.server.buffered(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn prop_records_split_anywhere_arrive_whole(
        writes in prop::collection::vec(1..40_000_usize, 1..12),
        splits in prop::collection::vec((1..30_000_usize, 1..60_000_usize), 1..16),
        tls13 in any::<bool>(),
    ) {
        let mut pair = Pair::connected(BOTH[usize::from(tls13)]);
        let data = pattern(writes.iter().sum());
        let mut bytes = Vec::new();
        let mut from = 0;
        for length in writes {
            bytes.append(&mut pair.client_data(&data[from..from + length]));
            from += length;
        }
        let mut rest = &bytes[..];
        for (length, budget) in splits.into_iter().cycle() {
            let (piece, behind) = rest.split_at(length.min(rest.len()));
            rest = behind;
            let mut received = pair.feed_once(piece, budget).unwrap();
            while received.more {
                received = pair.feed_once(&[], budget).unwrap();
            }
            prop_assert!(pair.server.buffered() <= 4 * RECORD_PLAINTEXT_MAX);
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(pair.arrived == data);
        prop_assert_eq!(pair.server.buffered(), 0);
    }

    #[test]
    fn prop_garbage_never_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        header in prop::sample::select(vec![20_u8, 21, 22, 23]),
        connected in any::<bool>(),
        chunk in 1..64_usize,
    ) {
        let mut pair = Pair::plain(&rustls::version::TLS13);
        if connected {
            pair.handshake(usize::MAX).unwrap();
        }
        let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
        let record = [&[header, 3, 3, length[0], length[1]], &bytes[..]].concat();
        let _ = pair.feed(&record, chunk);
        let _ = pair.feed(&bytes, chunk);
        let _ = pair.server.seal(b"x", &mut pair.out);
        pair.server.close(&mut pair.out);
    }
}

#[test]
fn a_client_of_tls_1_2_is_turned_away_where_only_1_3_is_allowed() {
    let mut setup = Setup::new();
    setup.files.allow_tls12 = false;
    for version in BOTH {
        let client = client_config(&setup, version, None);
        let mut pair = Pair::new(client, server_config(&setup, ClientAuth::Requested));
        let is_1_3 = version.version == ProtocolVersion::TLSv1_3;
        assert_eq!(pair.handshake(usize::MAX).is_ok(), is_1_3);
    }
}
