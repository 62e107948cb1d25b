//! Clients that mean no good: they cost little, get nothing, and disturb nobody.

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_events::Event;
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::certs::{Authority, Validity};
use moat_testkit::mqtt::publish;
use moat_testkit::raw::{RawClient, TlsOptions, encode};

everywhere!(
    a_connect_that_never_ends_is_closed_after_the_timeout,
    a_silent_connection_is_closed_after_the_timeout,
    more_than_64_kib_before_connack_is_closed,
    an_announced_length_costs_nothing,
    all_strangers_together_have_one_budget,
    a_packet_before_connect_is_closed,
    malformed_bytes_close_their_own_connection_only,
);

/// The first byte of a TLS alert record.
const ALERT: u8 = 21;

/// A CONNECT that announces `length` bytes, at least 16,384, and has its first ten.
fn announced_connect(length: u32) -> Vec<u8> {
    let [low, middle, high] =
        [length & 127, length >> 7 & 127, length >> 14].map(|n| u8::try_from(n).unwrap());
    let mut bytes = vec![0x10, low | 128, middle | 128, high];
    bytes.extend([0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60]);
    bytes
}

fn refusal(broker: &TestBroker) -> String {
    broker.wait_for(|event| match event {
        Event::ConnectionRefused { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

fn a_connect_that_never_ends_is_closed_after_the_timeout(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .connect_timeout_secs(1)
        .start();
    let mut client = broker.client(transport);
    client.send(&announced_connect(20_000));
    client.expect_closed();
    assert!(refusal(&broker).contains("connect_timeout_secs"));
    broker.stop();
}

fn a_silent_connection_is_closed_after_the_timeout(transport: Transport, shards: usize) {
    let broker = TestBroker::builder()
        .shards(shards)
        .connect_timeout_secs(1)
        .start();
    // By TLS, one without and one with a handshake.
    let mut silent = broker.bare_client(transport);
    let mut greeted = broker.client(transport);
    assert!(silent.read_to_end().is_empty());
    greeted.expect_closed();
    broker.stop();
}

fn more_than_64_kib_before_connack_is_closed(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut client = broker.client(transport);
    client.send(&announced_connect(200_000));
    // The broker may close before all of it is sent.
    let _closed_already = client.try_send(&vec![0; 100_000]);
    assert!(client.read_to_end().is_empty());
    assert!(refusal(&broker).contains("64 KiB"));
    broker.stop();
}

fn an_announced_length_costs_nothing(transport: Transport, shards: usize) {
    const STRANGERS: usize = 200;
    // Enough for what they send, and by far not for what they announce: 12 MB.
    let broker = TestBroker::builder()
        .shards(shards)
        .admission(|limits| limits.preauth_bytes_total_max = 4 << 20)
        .start();
    let mut strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut client = broker.client(transport);
            client.send(&announced_connect(60_000));
            client
        })
        .collect();
    // Nobody was closed for it, and a newcomer comes in.
    broker.client(transport).hello("newcomer").ping();
    assert_eq!(
        broker.report().sizes.sessions,
        0,
        "clean sessions end with their connections"
    );
    for client in &mut strangers {
        // What follows makes it malformed, which is noticed only when all of it has come.
        let _closed_already = client.try_send(&vec![0xff; 60_000 - 10]);
        assert_ne!(client.read_to_end(), [0; 0], "a CONNACK that says why");
    }
    broker.stop();
}

fn all_strangers_together_have_one_budget(transport: Transport, shards: usize) {
    const STRANGERS: usize = 12;
    let broker = TestBroker::builder()
        .shards(shards)
        .admission(|limits| limits.preauth_bytes_total_max = 300_000)
        .start();
    let mut friend = broker.client(transport);
    friend.hello("friend");
    let _strangers: Vec<_> = (0..STRANGERS)
        .map(|_| {
            let mut client = broker.client(transport);
            client.send(&announced_connect(65_000));
            let _closed_already = client.try_send(&vec![0; 50_000]);
            client
        })
        .collect();
    assert!(refusal(&broker).contains("preauth_bytes_total_max"));
    friend.ping();
    broker.stop();
}

fn a_packet_before_connect_is_closed(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let first = [Packet::PingReq, publish("t", b"x", QoS::AtMostOnce, 0)];
    for packet in &first {
        let mut client = broker.client(transport);
        client.send_packet(packet);
        client.expect_closed();
        assert!(refusal(&broker).contains("not a CONNECT"));
    }
    broker.stop();
}

fn malformed_bytes_close_their_own_connection_only(transport: Transport, shards: usize) {
    let broker = TestBroker::builder().shards(shards).start();
    let mut friend = broker.client(transport);
    friend.hello("friend");
    for bytes in [
        &[0xff, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x00],
        &[0x32, 0x05, 0, 1, b't', 0, 0],
        &[0x00],
    ] {
        let mut client = broker.client(transport);
        client.hello("hostile").send(bytes);
        assert!(client.expect_disconnect().is_error(), "{bytes:02x?}");
        client.expect_closed();
        friend.ping();
    }
    broker.stop();
}

#[test]
fn garbage_on_a_tls_port_gets_an_alert() {
    let broker = TestBroker::builder().start();
    let connect = encode(
        &Packet::Connect(Connect::new(Version::V5, "plain")),
        Version::V5,
    );
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        connect,
        vec![0xff; 1000],
    ] {
        let mut client = RawClient::connect(broker.tls);
        client.send(&bytes);
        let answer = client.read_to_end();
        assert_eq!(answer.first(), Some(&ALERT), "{answer:02x?}");
        broker.wait_for(|event| matches!(event, Event::TlsHandshakeFailed { .. }).then_some(()));
    }
    broker.stop();
}

/// In TLS 1.3 the client is done before the server has looked at its certificate: the alert comes with the first read.
fn is_refused(connected: std::io::Result<RawClient>) -> bool {
    let Ok(mut client) = connected else {
        return true;
    };
    let connect = encode(
        &Packet::Connect(Connect::new(Version::V5, "refused")),
        Version::V5,
    );
    let _closed_already = client.try_send(&connect);
    client.read_to_end().is_empty()
}

#[test]
fn certificates_nobody_vouches_for_are_refused() {
    let broker = TestBroker::builder().identity_required().start();
    let stranger = Authority::new("stranger").client("device-7");
    let expired = broker.authority.client_valid("device-7", Validity::Expired);
    let early = broker.authority.client_valid("device-7", Validity::NotYet);
    let server = broker.authority.server();
    for credential in [&stranger, &expired, &early, &server] {
        assert!(is_refused(broker.client_with_certificate(credential)));
        broker.wait_for(|event| matches!(event, Event::TlsHandshakeFailed { .. }).then_some(()));
    }
    let good = broker.authority.client("device-7");
    broker
        .client_with_certificate(&good)
        .unwrap()
        .hello("device-7");
    broker.stop();
}

#[test]
fn a_client_that_does_not_know_the_authority_goes_away() {
    let broker = TestBroker::builder().start();
    let other = Authority::new("other");
    let refused = RawClient::connect_tls(
        broker.tls,
        &TlsOptions {
            ca_pem: other.pem(),
            ..TlsOptions::default()
        },
    );
    assert!(refused.is_err());
    broker.wait_for(|event| matches!(event, Event::TlsHandshakeFailed { .. }).then_some(()));
    broker.stop();
}

#[test]
fn nobody_comes_in_without_an_identity() {
    let broker = TestBroker::builder()
        .identity_required()
        .user("anna", "correct horse battery")
        .start();
    for transport in [
        Transport::Plain,
        Transport::Tls,
        Transport::Ws,
        Transport::Wss,
    ] {
        let mut client = broker.client(transport);
        assert_eq!(client.try_hello("nobody"), ReasonCode::NotAuthorized);
        client.expect_closed();
        for (password, expected) in [
            (&b"wrong"[..], ReasonCode::BadUserNameOrPassword),
            (b"", ReasonCode::BadUserNameOrPassword),
            (b"correct horse battery", ReasonCode::Success),
        ] {
            let mut connect = Connect::new(Version::V5, "anna");
            (connect.username, connect.password) = (Some("anna"), Some(password));
            assert_eq!(broker.client(transport).connect_with(&connect), expected);
        }
    }
    broker.stop();
}

#[test]
fn one_address_has_a_share_of_the_strangers_only() {
    let broker = TestBroker::builder()
        .admission(|limits| limits.unauthenticated_per_address_max = 3)
        .start();
    let strangers: Vec<_> = (0..3).map(|_| RawClient::connect(broker.plain)).collect();
    let mut refused = RawClient::connect(broker.plain);
    refused.expect_closed();
    assert!(refusal(&broker).contains("unauthenticated_per_address_max"));
    drop(strangers);
    broker.stop();
}
