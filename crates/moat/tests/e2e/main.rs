//! The README's first two minutes with real clients: Debian's `mosquitto_pub` and `mosquitto_sub`
//! against the real binary, with the certificates and users that its own commands made.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod broker;
mod clients;
mod refusals;
mod sys;
mod two_minutes;
mod unix;
