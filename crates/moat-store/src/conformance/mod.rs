//! What every store must do. Panics on the first failure: for tests only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test suite, and a library only so that other crates can run it"
)]

mod bucket;
mod commit;
mod log;
mod watch;

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::{Store, StoreError, Versioned};

/// Makes an empty store with room for at least 64 MiB in the log and in the buckets.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Store>;

/// Runs every check, each with a fresh store.
pub fn run(make: Make<'_>) {
    for check in [log::run, bucket::run, watch::run, commit::run] {
        check(make);
    }
}

/// A fixed moment plus `seconds`.
fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn seconds(count: u64) -> Option<Duration> {
    Some(Duration::from_secs(count))
}

fn zeroes(count: usize) -> Bytes {
    Bytes::from(vec![0; count])
}

fn value(found: Result<Option<Versioned>, StoreError>) -> Option<Bytes> {
    found.unwrap().map(|versioned| versioned.value)
}
