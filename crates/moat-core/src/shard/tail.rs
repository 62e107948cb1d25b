//! The newest messages of the log, in memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;

use crate::durable::Position;
use crate::message::Message;

/// Bookkeeping bytes counted per message besides its own.
const TAIL_OVERHEAD_BYTES: usize = 192;

/// Messages that sessions wait for and that need not be read from the store yet: the newest ones.
pub(super) struct Tail {
    messages: HashMap<Position, Arc<Message>, RandomState>,
    order: VecDeque<Position>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// A tail of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail {
            messages: HashMap::default(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Keeps a message in place of the oldest ones.
    pub(super) fn keep(&mut self, position: Position, message: &Arc<Message>) {
        if self
            .messages
            .insert(position, Arc::clone(message))
            .is_some()
        {
            return;
        }
        self.order.push_back(position);
        self.bytes += message.weight() + TAIL_OVERHEAD_BYTES;
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(message) = self.messages.remove(&oldest) {
                self.bytes -= message.weight() + TAIL_OVERHEAD_BYTES;
            }
        }
    }

    /// The message at `position`, if it is still here.
    pub(super) fn find(&self, position: Position) -> Option<&Arc<Message>> {
        self.messages.get(&position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::MessageParts;

    #[test]
    fn bytes_max_bounds_it_and_the_oldest_go() {
        let message = Arc::new(Message::of_parts(&MessageParts {
            topic: "t",
            properties: &[],
            payload: &[0; 99],
            qos: moat_codec::QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher: &"p".into(),
        }));
        let each = message.weight() + TAIL_OVERHEAD_BYTES;
        let mut tail = Tail::new(3 * each);
        let at = |sequence| Position { part: 0, sequence };
        for sequence in 0..5 {
            tail.keep(at(sequence), &message);
        }
        let here: Vec<bool> = (0..5).map(|n| tail.find(at(n)).is_some()).collect();
        assert_eq!(here, [false, false, true, true, true]);
        assert_eq!(tail.bytes, 3 * each);
    }
}
