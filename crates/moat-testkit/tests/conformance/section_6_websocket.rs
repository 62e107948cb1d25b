//! MQTT over WebSocket, with and without TLS.

use moat_codec::Version::{V5, V311};
use moat_codec::{Connect, Packet, QoS};
use moat_testkit::TestBroker;
use moat_testkit::broker::Transport;
use moat_testkit::mqtt::publish;
use moat_testkit::raw::encode;
use moat_testkit::websocket::{BINARY, CLOSING, REQUEST, frame};

use crate::scene::BOTH;

const TRANSPORTS: [Transport; 2] = [Transport::Ws, Transport::Wss];
const TEXT: u8 = 0x81;

/// Before the first packet, between packets, and as the first part of a message.
///
/// Proves 5.0 [MQTT-6.0.0-1]; 3.1.1 [MQTT-6.0.0-1].
#[test]
fn a_text_frame_closes_the_connection() {
    let broker = TestBroker::builder().start();
    for transport in TRANSPORTS {
        for version in BOTH {
            for first in [TEXT, TEXT & 0x0F] {
                for is_known in [false, true] {
                    let mut client = broker.client(transport);
                    client.version = version;
                    if is_known {
                        client.hello("client");
                    }
                    client.try_send_below(&frame(first, &[0xC0, 0])).unwrap();
                    client.expect_closed();
                    let unacceptable = (CLOSING, 1003_u16.to_be_bytes().to_vec());
                    assert_eq!(client.control_frames(), [unacceptable]);
                }
            }
        }
    }
    broker.stop();
}

/// Proves 5.0 [MQTT-6.0.0-2]; 3.1.1 [MQTT-6.0.0-2].
#[test]
fn packets_and_frames_need_not_begin_together() {
    let broker = TestBroker::builder().start();
    for transport in TRANSPORTS {
        for version in BOTH {
            let connect = encode(&Packet::Connect(Connect::new(version, "client")), version);
            let publish = encode(&publish("a", b"x", QoS::AtLeastOnce, 1), version);
            let bytes = [&connect, &publish[..], &[0xC0, 0]].concat();
            for size in [1, 3, connect.len() + 1, bytes.len()] {
                let mut client = broker.client(transport);
                client.version = version;
                for part in bytes.chunks(size) {
                    client.try_send_below(&frame(BINARY, part)).unwrap();
                }
                assert_eq!(client.read_packet()[0], 0x20);
                assert_eq!(client.read_packet()[0], 0x40);
                assert_eq!(client.read_packet(), [0xD0, 0]);
            }
        }
    }
    broker.stop();
}

/// Also when the client offers others before it.
///
/// Proves 5.0 [MQTT-6.0.0-4]; 3.1.1 [MQTT-6.0.0-4].
#[test]
fn the_selected_subprotocol_is_mqtt() {
    let broker = TestBroker::builder().start();
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    for transport in TRANSPORTS {
        for offer in ["mqtt", "chat, mqtt", "mqttv3.1, mqtt"] {
            let mut client = broker.client_below(transport);
            let offered = request.replace("Protocol: mqtt", &format!("Protocol: {offer}"));
            client.send(offered.as_bytes());
            client.half_close_rudely();
            let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            assert!(
                answer.contains("\r\nSec-WebSocket-Protocol: mqtt\r\n"),
                "{answer}"
            );
        }
    }
    broker.stop();
}

/// A client of 3.1 does not know the name `mqtt`.
///
/// Proves 5.0 [MQTT-6.0.0-4]; 3.1.1 [MQTT-6.0.0-4].
#[test]
fn a_client_that_offers_no_mqtt_gets_mqttv3_1_or_nothing() {
    let broker = TestBroker::builder().start();
    let request = String::from_utf8(REQUEST.to_vec()).unwrap();
    for (offer, status) in [("mqttv3.1", "101"), ("chat", "400"), ("MQTT", "400")] {
        let mut client = broker.client_below(Transport::Ws);
        let offered = request.replace("Protocol: mqtt", &format!("Protocol: {offer}"));
        client.send(offered.as_bytes());
        client.half_close_rudely();
        let answer = String::from_utf8_lossy(&client.read_to_end()).into_owned();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        let selected = answer.contains("\r\nSec-WebSocket-Protocol: mqttv3.1\r\n");
        assert_eq!(selected, status == "101");
    }
    broker.stop();
}

/// Neither version is bound to the path or to the subprotocol: the CONNECT says which it is.
///
/// Proves 3.1.1 [MQTT-7.0.0-2].
#[test]
fn both_versions_come_by_the_same_subprotocol() {
    let broker = TestBroker::builder().start();
    for transport in TRANSPORTS {
        for version in [V311, V5] {
            let mut client = broker.client(transport);
            client.version = version;
            client.hello("client").ping();
        }
    }
    broker.stop();
}
