//! `[store]`: what survives the end of the broker, and how sure that is.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::choice::choice;
use crate::section::section;
use crate::setting::n;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The largest packet with a store: what is stored with a message is less than its half of the largest record.
pub(crate) const STORED_PACKET_BYTES_MAX: u32 = 8 << 20;

section! {
    /// What survives the end of the broker, and how sure that is. Sessions with an expiry, what waits for them, and retained messages
    /// are kept in one folder; see [durability](durability.md).
    pub struct Store = "[store]" {
        /// What an acknowledgement promises. `fsync`: the message is on the disk, whatever happens. `os`: it is with the operating
        /// system; a power cut or a crash of the machine loses the last seconds, a crash of moat nothing. `none`: it is in memory; every end of
        /// moat loses all sessions, queued and retained messages.
        durability: Durability = Durability::Fsync => Kind::Choice(Durability::WORDS), example "\"os\"";
        /// The folder of the store, on a local disk.
        path: PathBuf = PathBuf::from("store") => Kind::Path, example "\"/srv/moat/store\"",
            unset "`store` in the data folder";
        /// The most bytes in one commit. What comes while one commit is written to the disk is the next one, up to this size.
        commit_bytes_max: NonZeroUsize = n(4 * MIB) => Kind::Bytes { min: 64 * KIB, max: 16 * MIB }, example "\"1 MiB\"";
        /// How long a commit waits for more to come, in milliseconds. Raise it to spare a slow disk or a worn flash; every
        /// acknowledgement waits as long.
        commit_wait_ms: u32 = 0 => Kind::Count { min: 0, max: 1000 }, example "5";
        /// The latest messages of the store that are kept in memory as well, so that sessions that are almost up to date are served
        /// without reading.
        log_memory_bytes_max: usize = n(64 * MIB) => Kind::Bytes { min: 0, max: 1024 * GIB }, example "\"256 MiB\"";
        /// The most bytes of the store on the disk. Above it a message that would have to be stored is refused: MQTT 5.0 clients get reason
        /// code 0x97 (quota exceeded), older ones wait.
        log_bytes_max: NonZeroUsize = n(8 * GIB) => Kind::Bytes { min: 64 * MIB, max: 1024 * 1024 * GIB }, example "\"100 GiB\"";
        /// How long a message waits for a session that is away or does not read, in seconds; 0 for as long as the session lives. A start of
        /// the broker begins the time anew.
        queued_message_age_secs_max: u32 = 0 => Kind::Secs { min: 0, max: 10 * 365 * 24 * 3600 }, example "\"7 d\"";
        /// Which message goes when the queue of a session is full, see `limits.queued_messages_max`: the one that has just come or the
        /// oldest one.
        queue_full: QueueFull = QueueFull::DropNewest => Kind::Choice(QueueFull::WORDS), example "\"drop-oldest\"";
    }
}

choice! {
    /// What an acknowledgement promises.
    pub enum Durability {
        /// It is on the disk.
        Fsync = "fsync",
        /// It is with the operating system.
        Os = "os",
        /// It is in memory.
        None = "none",
    }
}

choice! {
    /// Which message a full queue gives up.
    pub enum QueueFull {
        /// The one that has just come.
        DropNewest = "drop-newest",
        /// The oldest one that is not under way.
        DropOldest = "drop-oldest",
    }
}

impl Store {
    /// The store of `moat start --dev`: none.
    pub fn dev() -> Self {
        Self {
            durability: Durability::None,
            ..Self::default()
        }
    }
}
