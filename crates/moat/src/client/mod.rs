//! The MQTT client of `moat pub` and `moat sub`: blocking, one connection, our own codec. `moat bench` shares its options and errors.
//!
//! - `options`: the arguments both commands share, and what follows from them.
//! - `device`: the folder that `moat device add` makes.
//! - `target`: where the broker is.
//! - `credentials`: the password, never from an argument.
//! - `connection`: TCP and TLS, packet by packet.
//! - `session`: CONNECT, PUBLISH and SUBSCRIBE with their answers.
//! - `error`: what can go wrong, and what to do about it.
//! - `interrupt`: Ctrl-C and SIGTERM.
//! - `printable`: what strangers sent, safe on a terminal.

mod connection;
mod credentials;
mod device;
mod error;
mod interrupt;
mod options;
mod printable;
mod session;
mod target;
#[cfg(test)]
mod tests;

pub(crate) use connection::{ANSWER_TIMEOUT_SECS, reachable};
pub(crate) use error::ClientError;
pub(crate) use interrupt::on_interrupt;
pub(crate) use options::{ConnectArgs, parse_qos};
pub(crate) use printable::{printable, printable_bytes, printable_json};
pub(crate) use session::{KEEP_ALIVE_SECS, Login, Message, Session};
pub(crate) use target::Target;
