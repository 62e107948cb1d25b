//! What the broker keeps, as records and values of a [`Store`](crate::Store): binary, compact, each with its version.
//!
//! [`encode`] makes one commit of what shards want durable, [`load`] makes of the whole store what shards start from, and
//! [`read_messages`] brings single messages back. Nothing else knows what the bytes mean.
//!
//! # Values
//! Each begins with [`VALUE_VERSION`]. Numbers are in groups of seven bits, the lowest first; texts and pieces have their length before
//! them; keys are big-endian, so that they sort as their numbers. A record of the log holds topic and payload as they are, and in its
//! headers the rest of the message and its takers. Bytes that are not what a value has to be are an error that names bucket and key:
//! a store that was damaged is not read half.

mod bytes;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod deals;
mod encode;
mod entries;
pub mod keys;
mod load;
mod message;
mod queue;
mod read;
mod session;
#[cfg(test)]
mod tests;

pub use bytes::Malformed;
pub use deals::forget_deals;
pub use encode::{Encoder, encode, engine_position, weight};
pub use load::{Inspection, Load, LoadError, Tally, inspect, load};
pub use read::{Found, read_messages};

/// The version that values are written with.
pub const VALUE_VERSION: u8 = 1;
/// The version of the layout as a whole: which buckets there are and what their keys mean.
pub const LAYOUT_VERSION: u64 = 1;
