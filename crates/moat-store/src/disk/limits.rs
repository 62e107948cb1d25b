//! What bounds the disk store: each cache, buffer and count by name.

/// A segment of the log ends with the commit that reaches so many bytes of records.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// A segment that is this old ends with the next append, in milliseconds.
pub const SEGMENT_AGE_MS: u64 = 10 * 60 * 1000;
/// A part with this many segments ends one by age only if it holds [`SEGMENT_AGED_BYTES_MIN`]: a
/// session that is away for weeks must not keep a thousand tiny ones open.
pub const SEGMENTS_AGED_MAX: usize = 32;
/// See [`SEGMENTS_AGED_MAX`], in bytes of records.
pub const SEGMENT_AGED_BYTES_MIN: u64 = 1024 * 1024;
/// Most records that are stored under one key: they are read and checked together.
pub(super) const CHUNK_RECORDS_MAX: usize = 64;
/// A chunk ends with the record with which it reaches so many bytes.
pub(super) const CHUNK_BYTES: usize = 4096;
/// Most buckets.
pub const DISK_BUCKETS_MAX: usize = 64;
/// Bytes of a segment that are in memory before they are moved from the journal into a table.
pub(super) const SEGMENT_MEMTABLE_BYTES: u64 = 8 * 1024 * 1024;
/// The same for a bucket.
pub(super) const BUCKET_MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;
/// The same for the store's own notes, which every commit adds to.
pub(super) const NOTES_MEMTABLE_BYTES: u64 = 2 * 1024 * 1024;
/// Blocks of tables that are kept in memory, in bytes.
pub(super) const BLOCK_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// Table files that are kept open.
pub(super) const OPEN_FILES_MAX: usize = 256;
/// Threads that move journals into tables and merge tables.
pub(super) const WORKER_THREADS: usize = 2;
/// Full memtables of a keyspace that wait to be written; the writer waits for one. The engine stops at 4.
pub(super) const UNWRITTEN_MEMTABLES_MAX: usize = 3;
/// Tables of a keyspace that wait to be merged; the writer waits for a merge. The engine slows down at
/// 20 and stops at 30.
pub(super) const UNMERGED_TABLES_MAX: usize = 24;
/// Sealed journals beyond this many bytes make the buckets they belong to write their tables.
pub(super) const JOURNALS_BYTES: u64 = 64 * 1024 * 1024;
/// A journal file beyond this is no journal of this store: 4 times what it may reach.
pub(super) const JOURNAL_FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// How much a full store may still take for what is not a record: what frees room has to be written.
pub(super) const RESERVE_BYTES: u64 = 16 * 1024 * 1024;
/// The size of the store is measured anew after so many bytes were written.
pub(super) const MEASURE_EVERY_BYTES: u64 = 32 * 1024 * 1024;
/// Most problems that one report of `verify` lists.
pub const PROBLEMS_MAX: usize = 1000;
