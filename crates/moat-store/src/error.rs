//! Why a store refused.

use crate::{
    BATCH_BYTES_MAX, BATCH_RECORDS_MAX, BUCKET_NAME_CHARS_MAX, COMMIT_BYTES_MAX, COMMIT_WRITES_MAX,
    KEY_BYTES_MAX, READ_EXACT_MAX, RECORD_BYTES_MAX, Revision, VALUE_BYTES_MAX,
};

/// One variant per cause. Nothing was changed, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The key is not as the caller expected it. Read it again and decide anew.
    #[error("conflict: the key is at revision {current:?}")]
    Conflict {
        /// The revision that is there; `None`: the key is absent.
        current: Option<Revision>,
    },
    /// More than [`BATCH_RECORDS_MAX`] records, or several of more than [`BATCH_BYTES_MAX`] bytes.
    #[error(
        "a batch of {records} records and {bytes} bytes: at most {BATCH_RECORDS_MAX} and {BATCH_BYTES_MAX} are allowed, split it"
    )]
    BatchTooLarge {
        /// How many records.
        records: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// A record of more than [`RECORD_BYTES_MAX`] bytes, or with too long a dedup id.
    #[error(
        "record {index} of the batch has {bytes} bytes: at most {RECORD_BYTES_MAX} are allowed, and 64 in its dedup id"
    )]
    RecordTooLarge {
        /// Which record of the batch, from 0.
        index: usize,
        /// Its size.
        bytes: usize,
    },
    /// More than [`COMMIT_WRITES_MAX`] writes, or more than [`COMMIT_BYTES_MAX`] bytes.
    #[error(
        "a commit of {writes} writes and {bytes} bytes: at most {COMMIT_WRITES_MAX} and {COMMIT_BYTES_MAX} are allowed, split it"
    )]
    CommitTooLarge {
        /// How many writes.
        writes: usize,
        /// How many bytes.
        bytes: usize,
    },
    /// A record that says it is later than the next of its part: one before it was never written.
    #[error("record {at} of part {part} cannot be written: the next one of that part is {next}")]
    Gap {
        /// The part.
        part: u16,
        /// Where the record says it belongs.
        at: u64,
        /// Where the next record goes.
        next: u64,
    },
    /// More than [`READ_EXACT_MAX`] positions.
    #[error("{positions} positions in one read: at most {READ_EXACT_MAX} are allowed, split it")]
    ReadTooLarge {
        /// How many.
        positions: usize,
    },
    /// A bucket name outside the rules: a mistake in moat.
    #[error(
        "bucket name {name:?}: 1 to {BUCKET_NAME_CHARS_MAX} characters of a-z 0-9 - are allowed"
    )]
    BucketName {
        /// The name, cut to the longest allowed.
        name: String,
    },
    /// A key of more than [`KEY_BYTES_MAX`] bytes, or as many with a zero byte in front.
    #[error(
        "a key of {bytes} bytes: at most {KEY_BYTES_MAX} are allowed, one less if it begins with a zero byte"
    )]
    KeyTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A value of more than [`VALUE_BYTES_MAX`] bytes.
    #[error("a value of {bytes} bytes: at most {VALUE_BYTES_MAX} are allowed")]
    ValueTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A lifetime whose end no clock can show.
    #[error("the end of the value lies beyond what the clock can show")]
    TtlTooLong,
    /// No room. Acknowledge nothing until space returns.
    #[error(
        "the store is full ({limit} bytes): raise its limit or let sessions and retained messages expire"
    )]
    Full {
        /// The bound that was met, in bytes.
        limit: u64,
    },
    /// The medium has no room. What was asked for is in the store or it is not: open the store
    /// again and apply the same commit again, until it fits.
    #[error("no space is left on the disk of the store: free some, moat goes on by itself")]
    DiskFull,
    /// Bytes that are not those that were written. Never skipped: stop, loudly.
    #[error("the store is damaged: {place}: {lost}; `moat store verify` lists everything")]
    Corrupt {
        /// The file, or the bucket and key, or the part and record.
        place: String,
        /// What cannot be read.
        lost: String,
    },
    /// More buckets than the store holds: a mistake in moat.
    #[error("more than {limit} buckets")]
    TooManyBuckets {
        /// The bound.
        limit: usize,
    },
    /// More watches than the store serves.
    #[error("more than {limit} watches")]
    TooManyWatches {
        /// The bound.
        limit: usize,
    },
    /// The medium failed and what is durable is unknown. Never retried: stop, loudly.
    #[error("the store failed and must not be used any more: {cause}")]
    Broken {
        /// The medium's own words.
        cause: String,
    },
}

/// Why a watch ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// Events were not taken in time and are lost.
    #[error("the watch fell behind and lost events: open a new one with a snapshot")]
    Lagged,
    /// Its snapshot could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}
