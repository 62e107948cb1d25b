//! Raw clients, hostile clients and brokers in a box, for tests only.
//!
//! - [`raw`]: a blocking client that sends any bytes, over TCP and TLS, and WebSocket over either.
//! - [`websocket`]: frames, as a client makes and reads them.
//! - [`mqtt`]: what a well-behaved client says, on top of it.
//! - [`broker`]: a broker in this process, on ports the kernel chose.
//! - [`process`]: the `moat` program as a child process.
//! - [`certs`]: certificate authorities, servers and devices, good and bad.
//! - [`history`]: what clients did and saw, and whether the broker kept its promises.
//! - [`fume`]: sessions with broken bytes in them, from a seed.
//! - [`simulation`]: a whole broker on a virtual clock, with crashes, from a seed.
//! - [`hostile`]: attacks, the program with small limits that they are made on, and an honest client beside them.
//!
//! Everything panics when something is not as expected, with what was there instead: a test has nothing
//! better to do with an error.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "only tests use this crate, and a panic is how a test fails"
)]

pub mod broker;
pub mod certs;
pub mod fume;
pub mod history;
pub mod hostile;
pub mod mechanism;
pub mod mqtt;
pub mod process;
pub mod raw;
pub mod simulation;
pub mod websocket;

pub use broker::TestBroker;
pub use process::MoatProcess;
pub use raw::RawClient;
