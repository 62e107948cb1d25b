//! The service against a store that stalls, fills up and fails on demand.
//!
//! - [`commits`]: what becomes one commit, and when;
//! - [`trouble`]: a disk that is slow, full or broken;
//! - [`loads`]: what is read back.

mod commits;
mod loads;
mod moody;
mod trouble;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use moat_codec::QoS;
use moat_core::durable::{LoadFor, Loaded, Place, Position, QueueId, Taker, Write};
use moat_core::message::MessageParts;
use moat_core::session::inflight::SubscriptionIdList;
use moat_core::{Message, Time};

use super::*;
use crate::inbox::{Envelope, Inbox, inbox};
use moody::Moody;

/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    store: Arc<Moody>,
    storage: Storage,
    inboxes: Vec<Inbox>,
    events: Receiver<Event>,
    /// What the next openings say.
    openings: Arc<Mutex<VecDeque<StoreError>>>,
    /// How often the store was opened again.
    opened: Arc<AtomicUsize>,
    _polls: Vec<mio::Poll>,
}

fn rig(store: Moody) -> Rig {
    rig_with(store, |_| {})
}

fn rig_with(store: Moody, change: impl FnOnce(&mut StorageSetup)) -> Rig {
    rig_beating(writer::HEARTBEAT, opening(false), store, change)
}

fn opening(has_sessions: bool) -> Opening {
    Opening {
        batches: Vec::new(),
        has_sessions,
    }
}

fn rig_beating(
    heartbeat: Duration,
    opening: Opening,
    store: Moody,
    change: impl FnOnce(&mut StorageSetup),
) -> Rig {
    let store = Arc::new(store);
    let mut polls = Vec::new();
    let (mut senders, mut inboxes) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let poll = mio::Poll::new().unwrap();
        let waker = mio::Waker::new(poll.registry(), mio::Token(0)).unwrap();
        let (sender, inbox) = inbox(waker, 1024);
        polls.push(poll);
        senders.push(sender);
        inboxes.push(inbox);
    }
    let (sender, events) = EventSender::collect();
    let openings: Arc<Mutex<VecDeque<StoreError>>> = Arc::default();
    let opened: Arc<AtomicUsize> = Arc::default();
    let (says, counts) = (Arc::clone(&openings), Arc::clone(&opened));
    let mut setup = StorageSetup {
        store: Arc::clone(&store) as Arc<dyn Store>,
        reopen: Box::new(move || {
            counts.fetch_add(1, Ordering::SeqCst);
            says.lock().unwrap().pop_front().map_or(Ok(()), Err)
        }),
        restored: Restored::default(),
        commit_bytes_max: 4 << 20,
        commit_wait: Duration::ZERO,
        store_bytes_max: 1000,
    };
    change(&mut setup);
    let storage =
        Storage::start_at(heartbeat, setup, opening, senders, sender, Clock::start()).unwrap();
    Rig {
        store,
        storage,
        inboxes,
        events,
        openings,
        opened,
        _polls: polls,
    }
}

impl Rig {
    /// The next thing in the inbox of a shard.
    fn next(&self, shard: u8) -> Envelope {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(envelope) = self.inboxes[usize::from(shard)].receive() {
                return envelope;
            }
            assert!(Instant::now() < deadline, "nothing came");
            std::thread::yield_now();
        }
    }

    fn ticket(&self, shard: u8) -> u64 {
        match self.next(shard) {
            Envelope::Committed(ticket) => ticket,
            _ => panic!("something else came"),
        }
    }

    fn loaded(&self, shard: u8) -> Loaded {
        match self.next(shard) {
            Envelope::Loaded(loaded) => *loaded,
            _ => panic!("something else came"),
        }
    }

    fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).unwrap()
    }

    fn until(&self, what: impl Fn(&Rig) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(self) {
            assert!(Instant::now() < deadline, "it never was so");
            std::thread::yield_now();
        }
    }
}

fn shard(number: u8) -> ShardId {
    ShardId::new(number)
}

fn message(payload: &[u8]) -> Arc<Message> {
    Arc::new(Message::of_parts(&MessageParts {
        topic: "t",
        properties: b"",
        payload,
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: Some(Time::NEVER),
        publisher: &"anna".into(),
    }))
}

fn position(part: u8, sequence: u64) -> Position {
    Position {
        part: part.into(),
        sequence,
    }
}

fn append(at: Position, payload: &[u8]) -> Write {
    Write::Append {
        position: at,
        message: message(payload),
        takers: vec![Taker {
            queue: QueueId(1),
            place: Place::Arrival(at.sequence),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIdList::None,
            group: None,
        }],
    }
}

fn batch(ticket: u64, writes: Vec<Write>) -> Batch {
    Batch { ticket, writes }
}

fn retain(ticket: u64, payload: &[u8]) -> Batch {
    batch(ticket, vec![Write::PutRetained(message(payload))])
}

fn load(name: &str, positions: &[Position]) -> Load {
    Load {
        to: LoadFor::Group(name.into()),
        positions: positions.to_vec(),
    }
}
