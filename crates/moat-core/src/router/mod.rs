//! Who wants a topic: this shard's subscribers, the other shards, and what is retained here.

pub mod interest;
mod list;
pub mod retained;
pub mod shared;
mod text;
pub mod trie;

pub use interest::{Applied, Interest, ShardSet};
pub use retained::{RetainRefusal, Retained};
pub use shared::Shared;
pub use trie::{Entry, Trie};
