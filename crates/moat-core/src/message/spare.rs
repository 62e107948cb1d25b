//! Messages nobody has any more, whose memory the next ones take.

use std::sync::Arc;

use super::Message;

/// Messages kept for reuse.
pub const SPARE_MESSAGES_MAX: usize = 1024;
/// A message of more bytes is freed.
pub const SPARE_MESSAGE_BYTES_MAX: usize = 1 << 10;

/// A stack of messages that were acknowledged. What a device publishes has the size of what it published before as a rule, so most of
/// what is kept until an acknowledgement needs no allocation.
#[derive(Default)]
pub(crate) struct SpareMessages {
    spare: Vec<Arc<Message>>,
}

impl SpareMessages {
    /// Takes a message that is done with, unless somebody else has it, too.
    pub(crate) fn give(&mut self, message: Arc<Message>) {
        if self.spare.len() < SPARE_MESSAGES_MAX
            && Arc::strong_count(&message) == 1
            && message.weight() <= SPARE_MESSAGE_BYTES_MAX
        {
            self.spare.push(message);
        }
    }

    /// One that nobody else has; its content is an old one's.
    pub(crate) fn take(&mut self) -> Option<Arc<Message>> {
        self.spare.pop()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MessageParts;
    use super::*;
    use moat_codec::QoS;

    fn message(payload: &[u8]) -> Arc<Message> {
        Arc::new(Message::of_parts(&MessageParts {
            topic: "t",
            properties: &[],
            payload,
            qos: QoS::AtLeastOnce,
            retain: false,
            expires_at: None,
            publisher: &"p".into(),
        }))
    }

    #[test]
    fn keeps_at_most_the_named_number_of_messages() {
        let mut spares = SpareMessages::default();
        for _ in 0..SPARE_MESSAGES_MAX + 10 {
            spares.give(message(b"x"));
        }
        assert_eq!(spares.spare.len(), SPARE_MESSAGES_MAX);
    }

    #[test]
    fn a_large_message_is_not_kept() {
        let mut spares = SpareMessages::default();
        spares.give(message(&[0; SPARE_MESSAGE_BYTES_MAX]));
        assert!(spares.take().is_none());
        spares.give(message(&[0; SPARE_MESSAGE_BYTES_MAX - 1]));
        assert!(spares.take().is_some());
    }

    #[test]
    fn what_somebody_else_has_is_not_kept() {
        let mut spares = SpareMessages::default();
        let one = message(b"x");
        let _subscriber = Arc::clone(&one);
        spares.give(one);
        assert!(spares.take().is_none());
    }
}
