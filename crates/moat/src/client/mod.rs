//! The MQTT client of `moat pub` and `moat sub`: blocking, one connection, our own codec.
//!
//! - `options`: the arguments both commands share, and what follows from them.
//! - `device`: the folder that `moat device add` makes.
//! - `target`: where the broker is.
//! - `credentials`: the password, never from an argument.
//! - `connection`: TCP and TLS, packet by packet.
//! - `session`: CONNECT, PUBLISH and SUBSCRIBE with their answers.
//! - `error`: what can go wrong, and what to do about it.
//! - `printable`: what strangers sent, safe on a terminal.

mod connection;
mod credentials;
mod device;
mod error;
mod options;
mod printable;
mod session;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use connection::Stopper;
pub(crate) use error::ClientError;
pub(crate) use options::{ConnectArgs, parse_qos};
pub(crate) use printable::{printable, printable_bytes, printable_json};
pub(crate) use session::{Message, Session};
