//! WebSocket under MQTT, server side: the upgrade and the frames of RFC 6455, without a socket.
//!
//! # Layout
//! - [`layer`]: one connection: bytes of the socket in, bytes of MQTT out, and back.
//! - [`handshake`]: the HTTP/1.1 request that becomes a WebSocket, or the answer that refuses it.
//! - [`frame`]: headers of frames, and the mask.
//! - [`error`]: why a connection ends.
//!
//! # What it may not know
//! Sockets, TLS, the clock, and what an MQTT packet is: packets lie across and within frames [MQTT-6.0.0-2].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

#[cfg(feature = "checks")]
pub mod checks;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod layer;

pub use error::{Refusal, WsError};
pub use handshake::Rules;
pub use layer::{WsLayer, WsReceived};
