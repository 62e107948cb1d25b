//! The packet plane: event loops, listeners, TLS and the driver of shards.
//!
//! # Layout
//! - [`broker`]: all shards of one broker, started, asked and stopped together.
//! - [`event_loop`]: one shard's loop; the only place where sockets, time and `moat-core` meet.
//! - [`connection`]: one connection with its layers; one read and one write per turn.
//! - [`inbox`]: the bounded way into a shard.
//! - [`listener`]: what is bound, and under which rules.
//! - [`unix_socket`]: the file of a Unix socket.
//! - [`admission`]: who may connect at all.
//! - [`tls`]: the TLS layer, sans-IO, and its configuration from files.
//! - [`control`]: what the operator's side asks of a running shard.
//! - [`storage`]: the way to the store and back. [`clock`]: what time it is.
//!
//! # What it may not know
//! tokio, how passwords are stored, who issues certificates, and the admin API.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod admission;
pub mod broker;
pub mod clock;
pub mod connection;
pub mod control;
pub mod event_loop;
mod greeter;
pub mod inbox;
pub mod listener;
pub mod storage;
pub mod tls;
pub mod unix_socket;

pub use broker::{Broker, NoAnswer, Setup};
pub use clock::Clock;
pub use storage::{StorageSetup, StoreReport};
