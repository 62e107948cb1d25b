//! The load generator of `moat bench`: many connections on one thread, over our codec, against any broker.
//!
//! - `plan`: what is to be done.
//! - `engine`: the loop: open, send what is due, read, end. `engine::connections`: what it does with each.
//! - `client`: what one connection says and understands.
//! - `exchange`: messages on their way to the broker, and how long it takes for them.
//! - `stamp`: what stands in the payload, so that each message is known again.
//! - `wire`: a socket that never blocks, with TLS if there is some.
//! - `pace`: when the next message is due.
//! - `histogram`: durations, counted in little memory.
//! - `tally`: what happened. `report`: how it is told.
//! - `arguments`: numbers and durations as people write them, with their bounds.

mod arguments;
mod client;
mod engine;
mod exchange;
mod histogram;
mod pace;
mod plan;
mod progress;
mod report;
mod stamp;
mod tally;
mod wire;

pub(crate) use arguments::{
    INFLIGHT_DEFAULT, parse_clients, parse_concurrency, parse_count, parse_for, parse_inflight,
    parse_pairs, parse_rate, parse_size,
};
pub(crate) use engine::run;
pub(crate) use plan::{Mode, Plan, Role, numbered};
pub(crate) use report::finish;
pub(crate) use stamp::STAMP_BYTES;
