//! The catalogue of everything moat tells: one definition for logs, audit and documentation.
//!
//! An [`Event`] is made where something happens, handed to an [`EventSender`] (which never blocks) and
//! written by one thread, [`EventLog`], as text for people or as JSON lines. [`CATALOGUE`] describes every
//! event; the reference page is made from it. This crate knows no other moat crate, and no event carries
//! a password, a key, a token or a payload.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod address;
mod catalogue;
mod escape;
pub mod json;
mod log;
pub mod reference;
mod sender;
mod table;
pub mod text;
mod writer;

pub use address::{PeerAddress, PeerCredentials};
pub use catalogue::{EventMeta, FieldMeta, Level, UnknownLevel, Value};
pub use log::{Destination, EventLog, EventLogHandle, Format, Options};
pub use sender::{COLLECTED_EVENTS_MAX, EVENT_QUEUE_MAX, EventSender};
pub use table::{CATALOGUE, Event};
