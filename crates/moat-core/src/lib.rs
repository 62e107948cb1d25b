//! What MQTT means: sessions, routing and shards, without sockets and without a clock.
//!
//! # Layout
//! - [`shard`]: the whole of one shard's state and the doors in and out of it. An event loop (or a
//!   test) hands it bytes, answers and the time; it fills out-buffers and [`effects::Effects`].
//! - [`session`]: what one client is owed and has been promised, online or offline.
//! - [`router`]: who wants a topic: the subscription trie, the interest of other shards, and the
//!   retained messages this shard owns.
//! - [`durable`]: what has to survive the end of the process.
//! - [`sys`]: what the broker says about itself, below `$SYS/`.
//! - [`message`]: a publication that must outlive the packet it came in.
//!
//! # What it may not know
//! Sockets, TLS, threads, files, configuration files, and what time it is.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

pub mod buffer_pool;
#[cfg(feature = "checks")]
pub mod checks;
pub mod counters;
pub mod durable;
pub mod effects;
pub mod limits;
pub mod message;
pub mod router;
pub mod session;
pub mod shard;
pub mod sys;
pub mod time;

pub use effects::{Close, ConnId, Effects};
pub use limits::Limits;
pub use message::Message;
pub use shard::{Shard, ShardId};
pub use time::Time;
