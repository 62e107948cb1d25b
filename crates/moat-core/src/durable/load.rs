//! Messages that are in the store and no longer in memory.

use std::sync::Arc;

use super::Position;
use crate::message::Message;
use crate::shard::SessionRef;

/// Messages one load asks for.
pub const LOAD_MESSAGES_MAX: usize = 64;

/// Bytes of messages that one load asks for, unless one message is larger.
pub const LOAD_BYTES_MAX: usize = 1 << 20;

/// A session or a group wants messages back from the store.
#[derive(Debug)]
pub struct Load {
    /// For whom.
    pub to: LoadFor,
    /// Where they are, at most [`LOAD_MESSAGES_MAX`], in the order they will be sent.
    pub positions: Vec<Position>,
}

/// Who has asked for a [`Load`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadFor {
    /// A session, for its client.
    Session(SessionRef),
    /// A group of a shared subscription, by its filter, for its members.
    Group(Arc<str>),
}

/// What a [`Load`] brought.
#[derive(Debug)]
pub struct Loaded {
    /// For whom.
    pub to: LoadFor,
    /// Each position asked for, with its message; without one where the store has lost it.
    pub messages: Vec<(Position, Option<Arc<Message>>)>,
}
