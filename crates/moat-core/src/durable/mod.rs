//! What has to survive the end of the process: the writes a shard asks for, and what it starts from again.
//!
//! A shard never waits for a disk. It puts [`Write`]s into the [`Journal`] of its effects; its driver commits them as one batch, all or
//! nothing, in the order of the batches, and tells the shard when that is done. What must not be said before it is durable waits for
//! that.
//!
//! # A message that durable sessions wait for
//! is one record in the log ([`Write::Append`]) however many they are, with the list of its takers. A taker's entry is known by
//! its *arrival*, the number of the messages that came to that queue before. Packet identifiers follow from it: an entry's *ordinal* is its arrival, plus the retained
//! messages that were sent ahead of it ([`Progress::shifts`]), and its identifier is the ordinal, counted from 1 to 65,535 again and again. So what a client
//! was sent, and under which identifier, is known after a crash though it was written nowhere but in that one record.
//!
//! A queue's [`Progress`] says which ordinals are done with. An entry that is done is also told to the log ([`Write::Release`]): a segment of it
//! whose entries are all done is dropped.

mod journal;
mod load;
mod record;
mod restored;
mod state;

pub use journal::{Batch, Journal, Write};
pub use load::{LOAD_BYTES_MAX, LOAD_MESSAGES_MAX, Load, LoadFor, Loaded};
pub use record::{Place, Progress, QueueId, SessionRecord, Taker};
pub use restored::{Restored, RestoredEntry, RestoredGroup, RestoredSession};
pub use state::StoreState;

/// Where a record of the log is: the part it is in, which is the shard that wrote it, and its number there, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Position {
    /// The part.
    pub part: u16,
    /// The number in the part.
    pub sequence: u64,
}
