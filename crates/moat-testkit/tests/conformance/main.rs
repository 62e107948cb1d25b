//! The specifications of MQTT 3.1.1 and 5.0, statement by statement, as bytes on the wire: one module per section.
//!
//! A check says above its function which statements it proves, and `cargo xtask gen` makes `docs/conformance.md` of
//! that. It fails when the code behind any of them is removed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

/// Runs each check over TCP with two shards, TLS with one, and WebSocket with two, as three tests of their own.
macro_rules! everywhere {
    ($($check:ident),* $(,)?) => {$(
        mod $check {
            use moat_testkit::broker::Transport;

            #[test]
            fn over_tcp_with_two_shards() {
                super::$check(Transport::Plain, 2);
            }

            #[test]
            fn over_tls_with_one_shard() {
                super::$check(Transport::Tls, 1);
            }

            #[test]
            fn over_ws_with_two_shards() {
                super::$check(Transport::Ws, 2);
            }
        }
    )*};
}

mod scene;
mod section_1_data;
mod section_2_packet;
mod section_3_10_unsubscribe;
mod section_3_11_unsuback;
mod section_3_12_pingreq;
mod section_3_14_disconnect;
mod section_3_15_auth;
mod section_3_1_connect;
mod section_3_1_limits;
mod section_3_1_session;
mod section_3_1_will;
mod section_3_2_connack;
mod section_3_3_properties;
mod section_3_3_publish;
mod section_3_3_retain;
mod section_3_4_puback;
mod section_3_5_pubrec;
mod section_3_6_pubrel;
mod section_3_7_pubcomp;
mod section_3_8_subscribe;
mod section_3_9_suback;
mod section_4_12_enhanced_authentication;
mod section_4_13_errors;
mod section_4_1_session_state;
mod section_4_2_network_connections;
mod section_4_3_quality_of_service;
mod section_4_4_delivery_retry;
mod section_4_5_message_receipt;
mod section_4_6_message_ordering;
mod section_4_7_topics;
mod section_4_8_shared_subscriptions;
mod section_4_9_flow_control;
mod section_6_websocket;
mod wire;
