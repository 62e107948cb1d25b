//! The packet plane as its clients see it: bytes over every transport, with one shard and with two.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    non_snake_case,
    reason = "a panic is how a test fails"
)]

/// Runs each check over every transport, with one shard and with two, each as a test of its own.
macro_rules! everywhere {
    ($($check:ident),* $(,)?) => {$(
        mod $check {
            use moat_testkit::broker::Transport;

            #[test]
            fn over_tcp_with_one_shard() {
                super::$check(Transport::Plain, 1);
            }

            #[test]
            fn over_tcp_with_two_shards() {
                super::$check(Transport::Plain, 2);
            }

            #[test]
            fn over_tls_with_one_shard() {
                super::$check(Transport::Tls, 1);
            }

            #[test]
            fn over_tls_with_two_shards() {
                super::$check(Transport::Tls, 2);
            }

            #[test]
            fn over_ws_with_one_shard() {
                super::$check(Transport::Ws, 1);
            }

            #[test]
            fn over_ws_with_two_shards() {
                super::$check(Transport::Ws, 2);
            }

            #[test]
            fn over_wss_with_one_shard() {
                super::$check(Transport::Wss, 1);
            }

            #[test]
            fn over_wss_with_two_shards() {
                super::$check(Transport::Wss, 2);
            }

            #[test]
            fn over_unix_with_one_shard() {
                super::$check(Transport::Unix, 1);
            }

            #[test]
            fn over_unix_with_two_shards() {
                super::$check(Transport::Unix, 2);
            }
        }
    )*};
}

mod edge_trigger;
mod enhanced_auth;
mod hostile;
mod session_over_wire;
mod unix;
mod websocket;
