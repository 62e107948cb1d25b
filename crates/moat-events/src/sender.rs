//! Where events are handed in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::SystemTime;

use crate::catalogue::{Level, Value};
use crate::table::Event;
use crate::throttle::Throttle;

/// The most events that wait for the writer. More are dropped and counted.
pub const EVENT_QUEUE_MAX: usize = 65_536;

/// The most bytes of events that wait for the writer. More are dropped and counted.
pub const EVENT_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Bytes counted per waiting event besides its texts: itself, and what the allocator adds.
const EVENT_OVERHEAD_BYTES: usize = size_of::<Occurrence>() + 64;

/// The most events a test can leave unread with [`EventSender::collect`]. More are dropped.
pub const COLLECTED_EVENTS_MAX: usize = 16_384;

/// Hands events to the log. Cheap to clone, usable from every thread, never blocks.
#[derive(Clone)]
pub struct EventSender {
    sink: Sink,
}

#[derive(Clone)]
enum Sink {
    /// To the writer of a log.
    Queue(Arc<Queue>),
    /// To a test that reads the events.
    Collect(SyncSender<Event>),
    /// To nobody.
    Discard,
}

/// The sending side of the queue in front of a writer.
pub(crate) struct Queue {
    pub(crate) entries: SyncSender<Entry>,
    /// Events lost since the writer last said so.
    pub(crate) dropped: AtomicU64,
    /// Bytes of the events that wait.
    pub(crate) bytes: Arc<AtomicUsize>,
    /// Events above this level are not queued.
    pub(crate) level: Level,
    /// Holds back what a hostile client causes too often.
    pub(crate) throttle: Throttle,
}

/// What the writer takes from the queue.
pub(crate) enum Entry {
    /// Boxed, so that the queue's slots, which exist from the start, stay small.
    Event(Box<Occurrence>),
    /// Nothing to write: the writer is to look at what its handle asks for.
    Wake,
}

/// An event with what its line says besides its fields.
pub(crate) struct Occurrence {
    pub(crate) at: SystemTime,
    pub(crate) event: Event,
    /// Events of the same kind held back since the last one that was written.
    pub(crate) suppressed: u64,
    /// Its place in the bytes of the queue.
    pub(crate) _charge: Charge,
}

/// Bytes of the queue that are given back when the event has been written.
pub(crate) struct Charge {
    queue: Arc<AtomicUsize>,
    bytes: usize,
}

impl Charge {
    /// Takes the room for an event, if there is that much.
    fn take(queue: &Arc<AtomicUsize>, event: &Event) -> Option<Self> {
        let texts = event.fields().map(|(_, value)| match value {
            Value::Text(text) => text.len(),
            _ => 0,
        });
        let bytes = EVENT_OVERHEAD_BYTES + texts.sum::<usize>();
        let charge = Self {
            queue: Arc::clone(queue),
            bytes,
        };
        let before = queue.fetch_add(bytes, Ordering::Relaxed);
        (before + bytes <= EVENT_QUEUE_BYTES_MAX).then_some(charge)
    }

    /// For an event that never waits.
    pub(crate) fn none() -> Self {
        Self {
            queue: Arc::default(),
            bytes: 0,
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.queue.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl EventSender {
    pub(crate) fn queue(queue: Arc<Queue>) -> Self {
        Self {
            sink: Sink::Queue(queue),
        }
    }

    /// A sender whose events go nowhere, for tests and tools.
    pub fn discard() -> Self {
        Self {
            sink: Sink::Discard,
        }
    }

    /// A sender whose events, of every level, come out of the receiver, for tests.
    pub fn collect() -> (Self, Receiver<Event>) {
        let (sender, receiver) = sync_channel(COLLECTED_EVENTS_MAX);
        let sink = Sink::Collect(sender);
        (Self { sink }, receiver)
    }

    /// Hands in an event. If the queue is full it is dropped, and the next line written says how many were.
    pub fn send(&self, event: Event) {
        match &self.sink {
            Sink::Queue(queue) => queue.push(event),
            // A test that reads no more has seen what it wanted.
            Sink::Collect(sender) => drop(sender.try_send(event)),
            Sink::Discard => {}
        }
    }

    /// Whether events of this level are written at all: lets a caller skip making one.
    pub fn wants(&self, level: Level) -> bool {
        match &self.sink {
            Sink::Queue(queue) => level <= queue.level,
            Sink::Collect(_) => true,
            Sink::Discard => false,
        }
    }
}

impl Queue {
    fn push(&self, event: Event) {
        let meta = event.meta();
        if meta.level > self.level {
            return;
        }
        let Some(suppressed) = self.throttle.admit(meta.id) else {
            return;
        };
        let Some(charge) = Charge::take(&self.bytes, &event) else {
            self.lost(meta.id, suppressed);
            return;
        };
        let entry = Entry::Event(Box::new(Occurrence {
            at: SystemTime::now(),
            event,
            suppressed,
            _charge: charge,
        }));
        match self.entries.try_send(entry) {
            Ok(()) => {}
            // After the stop of the log nobody is left to tell.
            Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.lost(meta.id, suppressed),
        }
    }

    fn lost(&self, id: &'static str, suppressed: u64) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        self.throttle.give_back(id, suppressed);
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sink = match self.sink {
            Sink::Queue(_) => "log",
            Sink::Collect(_) => "collect",
            Sink::Discard => "discard",
        };
        f.debug_tuple("EventSender").field(&sink).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::throttle::THROTTLED_BURST_MAX;

    fn reloaded(what: &str) -> Event {
        Event::ReloadSucceeded { what: what.into() }
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let (entries, receiver) = sync_channel(5);
        let (queue, sender) = in_front_of(entries);
        for _ in 0..7 {
            sender.send(Event::ServerStopped {});
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 2);
        assert_eq!(receiver.try_iter().count(), 5);
    }

    #[test]
    fn a_queue_holds_a_bounded_number_of_bytes_and_what_is_written_makes_room() {
        let (entries, receiver) = sync_channel(EVENT_QUEUE_MAX);
        let (queue, sender) = in_front_of(entries);
        let long = "x".repeat(64 << 10);
        let fits = EVENT_QUEUE_BYTES_MAX / (long.len() + EVENT_OVERHEAD_BYTES);
        for _ in 0..fits + 3 {
            sender.send(reloaded(&long));
        }
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        drop(receiver.try_recv().unwrap());
        sender.send(reloaded(&long));
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 3);
        assert_eq!(receiver.try_iter().count(), fits);
        assert_eq!(queue.bytes.load(Ordering::Relaxed), 0);
    }

    fn in_front_of(entries: SyncSender<Entry>) -> (Arc<Queue>, EventSender) {
        let queue = Arc::new(Queue {
            entries,
            dropped: AtomicU64::new(0),
            level: Level::Info,
            bytes: Arc::default(),
            throttle: Throttle::new(),
        });
        (Arc::clone(&queue), EventSender::queue(queue))
    }

    #[test]
    fn the_level_filters_before_the_queue() {
        let (entries, receiver) = sync_channel(2);
        let queue = Queue {
            entries,
            dropped: AtomicU64::new(0),
            level: Level::Error,
            bytes: Arc::default(),
            throttle: Throttle::new(),
        };
        let sender = EventSender::queue(Arc::new(queue));
        sender.send(reloaded("policy"));
        assert!(receiver.try_recv().is_err());
        sender.send(Event::EventsDropped { count: 1 });
        assert!(receiver.try_recv().is_ok());
        assert!(sender.wants(Level::Error) && !sender.wants(Level::Warning));
    }

    #[test]
    fn a_flood_of_refusals_is_held_back_before_the_queue() {
        let (entries, receiver) = sync_channel(EVENT_QUEUE_MAX);
        let (queue, sender) = in_front_of(entries);
        for port in 1..=60_000 {
            sender.send(Event::ConnectionRefused {
                address: std::net::SocketAddr::from(([127, 0, 0, 1], port)).into(),
                listener: "tls".into(),
                reason: "connections_max reached".into(),
            });
        }
        let queued = receiver.try_iter().count() as u64;
        // However slow this machine is, it does not take a quarter of an hour.
        assert!((THROTTLED_BURST_MAX..5_000).contains(&queued), "{queued}");
        assert_eq!(queue.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn collected_events_come_out_in_order() {
        let (sender, events) = EventSender::collect();
        sender.clone().send(reloaded("policy"));
        sender.send(reloaded("users"));
        drop(sender);
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events, [reloaded("policy"), reloaded("users")]);
    }

    #[test]
    fn collecting_more_than_the_limit_does_not_block() {
        let (sender, events) = EventSender::collect();
        for _ in 0..=COLLECTED_EVENTS_MAX {
            sender.send(Event::ServerStopped {});
        }
        drop(sender);
        assert_eq!(events.iter().count(), COLLECTED_EVENTS_MAX);
    }
}
