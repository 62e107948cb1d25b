//! Durable state behind one trait: a log and buckets.
//!
//! The *log* holds messages, once each, in parts; whoever reads it keeps positions, not copies. A
//! *bucket* maps keys to values, with a revision for every change, a lifetime for values that end by
//! themselves, and watches that miss nothing.
//!
//! [`MemoryStore`] keeps everything in memory. Implementations on disk and in a cluster have the
//! same trait and pass the same suite, `conformance::run` (feature `conformance`).
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod bucket;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod disk;
mod error;
pub mod layout;
mod log;
mod memory;
mod store;
mod watch;
mod write;

pub use bucket::{
    BUCKET_NAME_CHARS_MAX, EXPIRE_KEYS_MAX, Entry, Event, Expect, KEY_BYTES_MAX, Revision,
    SCAN_BYTES_MAX, SCAN_KEYS_MAX, ScanPage, VALUE_BYTES_MAX, Versioned, WATCH_QUEUE_BYTES_MAX,
    WATCH_QUEUE_EVENTS_MAX, WatchFrom, check_bucket, check_key, check_value,
};
pub use error::{StoreError, WatchError};
pub use log::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, DEDUP_ID_BYTES_MAX, DEDUP_IDS_KEPT, Extent, Page, Part,
    Position, READ_BYTES_MAX, READ_EXACT_MAX, READ_EXAMINED_MAX, READ_RECORDS_MAX,
    RECORD_BYTES_MAX, Record, Sequence, Want, check_batch, check_positions,
};
pub use memory::{BUCKETS_MAX, MemoryLimits, MemoryStore};
pub use store::{Store, Watch};
pub use watch::WATCHES_MAX;
pub use write::{COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, Write, check_commit};
