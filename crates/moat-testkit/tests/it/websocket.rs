//! What is particular to WebSocket, over TCP and TLS.

use moat_codec::{Connect, Packet, QoS, ReasonCode, Version};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::publish;
use moat_testkit::raw::{RawClient, encode};
use moat_testkit::websocket::{BINARY, CLOSING, PING, PONG, REQUEST, frame};

const BOTH: [Transport; 2] = [Transport::Ws, Transport::Wss];

/// Sends a request and reads the answer to its end.
fn refused(broker: &TestBroker, transport: Transport, request: &[u8]) -> String {
    let mut client = broker.client_below(transport);
    client.send(request);
    String::from_utf8(client.read_to_end()).unwrap()
}

#[test]
fn a_refused_upgrade_is_answered_and_closed() {
    let broker = TestBroker::builder().start();
    let good = String::from_utf8(REQUEST.to_vec()).unwrap();
    for transport in BOTH {
        for (what, instead, status) in [
            ("GET", "PUT", "405"),
            ("/mqtt", "/admin", "404"),
            ("Upgrade: websocket\r\n", "", "426"),
            ("Version: 13", "Version: 7", "426"),
            ("Protocol: mqtt", "Protocol: chat", "400"),
            (
                "\r\n\r\n",
                "\r\nOrigin: https://evil.example\r\n\r\n",
                "403",
            ),
            ("GET", "\x10\x10", "400"),
        ] {
            let answer = refused(
                &broker,
                transport,
                good.replacen(what, instead, 1).as_bytes(),
            );
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{answer}"
            );
        }
    }
    broker.stop();
}

#[test]
fn a_request_that_never_ends_is_closed() {
    let broker = TestBroker::builder().connect_timeout_secs(1).start();
    for transport in BOTH {
        let answer = refused(&broker, transport, &[b'G'; 9000]);
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
        assert_eq!(refused(&broker, transport, &REQUEST[..40]), "");
    }
    broker.stop();
}

#[test]
fn a_page_of_the_same_host_may_connect() {
    let broker = TestBroker::builder().start();
    let good = String::from_utf8(REQUEST.to_vec()).unwrap();
    let request = good.replacen("\r\n\r\n", "\r\nOrigin: http://localhost\r\n\r\n", 1);
    let mut client = broker.client_below(Transport::Ws);
    client.send(request.as_bytes());
    client.half_close_rudely();
    assert!(client.read_to_end().starts_with(b"HTTP/1.1 101 "));
    broker.stop();
}

#[test]
fn a_ping_is_answered_before_and_after_connack() {
    let broker = TestBroker::builder().start();
    for transport in BOTH {
        let mut client = broker.client(transport);
        client.try_send_below(&frame(PING, b"early")).unwrap();
        client.hello("pinger");
        client.try_send_below(&frame(PING, b"late")).unwrap();
        client.ping();
        let pongs = [(PONG, b"early".to_vec()), (PONG, b"late".to_vec())];
        assert_eq!(client.control_frames(), pongs);
    }
    broker.stop();
}

#[test]
fn a_client_that_pings_and_does_not_read_is_not_answered_without_bound() {
    const PINGS: usize = 200_000;
    let broker = TestBroker::builder().start();
    for transport in BOTH {
        let mut client = broker.client_with_receive_buffer(transport, 4096);
        client.hello("flooder");
        let pings = frame(PING, &[7; 125]).repeat(100);
        for _ in 0..PINGS / 100 {
            client.try_send_below(&pings).unwrap();
        }
        client.ping();
        let pongs = client.control_frames();
        assert!(!pongs.is_empty() && pongs.len() < PINGS, "{}", pongs.len());
        assert!(pongs.iter().all(|pong| *pong == (PONG, vec![7; 125])));
    }
    broker.stop();
}

#[test]
fn control_frames_stand_between_the_fragments_of_a_packet() {
    let broker = TestBroker::builder().start();
    for transport in BOTH {
        let mut client = broker.client(transport);
        let connect = encode(
            &Packet::Connect(Connect::new(Version::V5, "parts")),
            Version::V5,
        );
        let frames = [
            frame(BINARY & 0x0F, &connect[..3]),
            frame(PING, b""),
            frame(0x00, &connect[3..9]),
            frame(0x80, &connect[9..]),
        ];
        client.try_send_below(&frames.concat()).unwrap();
        assert_eq!(client.connack(), ReasonCode::Success);
    }
    broker.stop();
}

#[test]
fn a_close_is_echoed_after_what_was_sent_before_it_is_handled() {
    let broker = TestBroker::builder().start();
    for transport in BOTH {
        let mut subscriber = broker.client(transport);
        subscriber.hello("reader").subscribe("t", QoS::AtMostOnce);
        let mut client = broker.client(transport);
        client.hello("closer");
        client.send_packet(&publish("t", b"last", QoS::AtMostOnce, 0));
        client.try_send_below(&frame(CLOSING, b"\x03\xE9")).unwrap();
        client.expect_closed();
        assert_eq!(client.control_frames(), [(CLOSING, vec![3, 0xE9])]);
        assert_eq!(subscriber.message().payload, b"last");
    }
    broker.stop();
}

#[test]
fn a_disconnect_is_followed_by_a_close_frame() {
    let broker = TestBroker::builder().start();
    for transport in BOTH {
        let mut client = broker.client(transport);
        client.hello("leaver").send(&[0xE0, 0]);
        client.expect_closed();
        assert_eq!(client.control_frames(), [(CLOSING, vec![3, 0xE8])]);
    }
    broker.stop();
}

#[test]
fn a_broken_frame_is_closed_with_its_code() {
    let broker = TestBroker::builder().start();
    let text = frame(0x81, b"hello");
    let reserved = frame(0xC2, b"x");
    let too_large = [BINARY, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0].to_vec();
    let unmasked = vec![BINARY, 1, 0];
    for transport in BOTH {
        for (bytes, code) in [
            (&text, 1003_u16),
            (&reserved, 1002),
            (&unmasked, 1002),
            (&too_large, 1009),
        ] {
            for is_known in [false, true] {
                let mut client = broker.client(transport);
                if is_known {
                    client.hello("breaker");
                }
                client.try_send_below(bytes).unwrap();
                client.expect_closed();
                let close = (CLOSING, code.to_be_bytes().to_vec());
                assert_eq!(client.control_frames(), [close]);
            }
        }
    }
    broker.stop();
}

#[test]
fn a_tls_client_on_the_plain_websocket_port_is_told_so() {
    let broker = TestBroker::builder().start();
    let mut client = RawClient::connect(broker.ws);
    client.send(&[0x16, 3, 1, 0, 5]);
    assert!(client.read_to_end().starts_with(b"HTTP/1.1 400 "));
    broker.stop();
}
