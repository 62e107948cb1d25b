//! The way into a shard: a bounded queue and a bell.
//!
//! Senders never wait: a full inbox gives the item back, and the sender keeps it and pauses whoever
//! makes more of them. Items of one sender arrive in order.

pub mod doorbell;

/// What `doorbell` is built on; the model check puts loom's types in their place.
mod sync {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering, fence};
}

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;
use doorbell::Doorbell;
use moat_core::ShardId;
use moat_core::durable::Loaded;
use moat_core::shard::PeerMessage;

use crate::connection::Connection;
use crate::control::Control;
use crate::event_loop::Answer;

/// Envelopes an inbox holds. A batch of messages is one envelope.
pub const INBOX_ENVELOPES_MAX: usize = 8192;

/// Something for a shard.
pub enum Envelope {
    /// What another shard said in one turn.
    Peers {
        /// Which shard.
        from: ShardId,
        /// What it said, in order.
        messages: Vec<PeerMessage>,
    },
    /// A connection that was just accepted, or has found its home here.
    Connection(Box<Connection>),
    /// What the service plane answers to a CONNECT.
    Answer(Answer),
    /// What the operator wants.
    Control(Control),
    /// Everything of this shard up to this ticket is durable.
    Committed(u64),
    /// Messages that this shard asked the store for.
    Loaded(Box<Loaded>),
}

impl Envelope {
    fn messages(&self) -> usize {
        match self {
            Envelope::Peers { messages, .. } => messages.len(),
            _ => 0,
        }
    }
}

struct Shared {
    queue: ArrayQueue<Envelope>,
    messages: AtomicUsize,
    messages_max: usize,
    bell: Doorbell,
    waker: mio::Waker,
    /// The receiving side is gone.
    ended: AtomicBool,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}

/// The sending side; any number of them.
#[derive(Clone)]
pub struct InboxSender(Arc<Shared>);

/// The receiving side, owned by the shard's event loop.
pub struct Inbox(Arc<Shared>);

/// An inbox that holds at most `messages_max` messages in [`INBOX_ENVELOPES_MAX`] envelopes, and
/// wakes its owner through `waker`.
#[must_use]
pub fn inbox(waker: mio::Waker, messages_max: usize) -> (InboxSender, Inbox) {
    let shared = Arc::new(Shared {
        queue: ArrayQueue::new(INBOX_ENVELOPES_MAX),
        messages: AtomicUsize::new(0),
        messages_max,
        bell: Doorbell::default(),
        waker,
        ended: AtomicBool::new(false),
    });
    (InboxSender(Arc::clone(&shared)), Inbox(shared))
}

impl InboxSender {
    /// Puts `envelope` into the inbox and wakes its owner if it sleeps.
    ///
    /// # Errors
    /// With the envelope when the inbox is full. One batch larger than the whole inbox is taken
    /// when the inbox is empty, since it could never be sent otherwise.
    pub fn send(&self, envelope: Envelope) -> Result<(), Box<Envelope>> {
        let messages = envelope.messages();
        let before = self.0.messages.fetch_add(messages, Ordering::Relaxed);
        if messages > 0 && before > 0 && before + messages > self.0.messages_max {
            self.0.messages.fetch_sub(messages, Ordering::Relaxed);
            return Err(Box::new(envelope));
        }
        if let Err(envelope) = self.0.queue.push(envelope) {
            self.0.messages.fetch_sub(messages, Ordering::Relaxed);
            return Err(Box::new(envelope));
        }
        self.wake();
        Ok(())
    }

    /// Sends what must not be lost, waiting for room if need be, unless the shard has ended. For
    /// threads of the service plane only: a shard never waits.
    pub fn send_waiting(&self, mut envelope: Envelope) {
        while let Err(refused) = self.send(envelope) {
            if self.0.ended.load(Ordering::Relaxed) {
                return;
            }
            envelope = *refused;
            std::thread::yield_now();
        }
    }

    fn wake(&self) {
        if self.0.bell.ring() {
            // A failed wake can only mean that the shard's poll is gone, and the shard with it.
            let _gone = self.0.waker.wake();
        }
    }
}

impl Inbox {
    /// The next envelope.
    #[must_use]
    pub fn receive(&self) -> Option<Envelope> {
        let envelope = self.0.queue.pop()?;
        self.0
            .messages
            .fetch_sub(envelope.messages(), Ordering::Relaxed);
        Some(envelope)
    }

    /// Runs `sleep` with whether it may block, in the order the bell asks for.
    ///
    /// # Errors
    /// Those of `sleep`.
    pub fn while_asleep(&self, sleep: impl FnOnce(bool) -> io::Result<()>) -> io::Result<()> {
        self.0.bell.announce_sleep();
        let slept = sleep(self.0.queue.is_empty());
        self.0.bell.awake();
        slept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(messages_max: usize) -> (InboxSender, Inbox, mio::Poll) {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, inbox) = inbox(waker, messages_max);
        (sender, inbox, poll)
    }

    fn batch(messages: usize) -> Envelope {
        let messages = (0..messages)
            .map(|n| PeerMessage::InterestApplied { ticket: n as u64 })
            .collect();
        Envelope::Peers {
            from: ShardId::new(0),
            messages,
        }
    }

    #[test]
    fn a_full_inbox_gives_the_batch_back() {
        let (sender, inbox, _poll) = pair(10);
        sender.send(batch(8)).unwrap_or_else(|_| panic!("refused"));
        let Err(refused) = sender.send(batch(3)) else {
            panic!("taken")
        };
        assert_eq!(refused.messages(), 3);
        assert!(inbox.receive().is_some());
        assert!(sender.send(*refused).is_ok());
    }

    #[test]
    fn envelopes_are_bounded_too() {
        let (sender, _inbox, _poll) = pair(10);
        for _ in 0..INBOX_ENVELOPES_MAX {
            assert!(sender.send(batch(0)).is_ok());
        }
        assert!(sender.send(batch(0)).is_err());
    }

    #[test]
    fn a_batch_larger_than_the_inbox_passes_when_it_is_empty() {
        let (sender, _inbox, _poll) = pair(10);
        assert!(sender.send(batch(11)).is_ok());
        assert!(sender.send(batch(1)).is_err());
    }

    #[test]
    fn nobody_waits_for_a_shard_that_has_ended() {
        let (sender, inbox, _poll) = pair(1);
        sender.send_waiting(batch(1));
        drop(inbox);
        sender.send_waiting(batch(1));
    }

    #[test]
    fn a_sleeper_is_woken_once() {
        let (sender, inbox, mut poll) = pair(10);
        inbox.0.bell.announce_sleep();
        assert!(sender.send(batch(1)).is_ok());
        assert!(sender.send(batch(1)).is_ok());
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(std::time::Duration::from_secs(5)))
            .unwrap();
        assert_eq!(events.iter().count(), 1);
        assert!(!inbox.0.bell.ring());
    }
}
