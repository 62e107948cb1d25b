//! How long a start takes: writes a store of sessions, messages that wait and retained messages, opens it again and loads it.
//!
//! `cargo run --release -p moat-store --example load -- FOLDER [SESSIONS [MESSAGES [RETAINED]]]`; a folder that has a store is
//! only loaded.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use moat_codec::{QoS, SubscriptionOptions};
use moat_core::durable::{Batch, Place, Position, QueueId, SessionRecord, Taker, Write};
use moat_core::message::MessageParts;
use moat_core::session::parcel::SubscriptionIdList;
use moat_core::{Message, Time};
use moat_policy::Identity;
use moat_store::Store;
use moat_store::disk::{DiskOptions, DiskStore, Durability};
use moat_store::layout::{encode, load};

const NOW: Time = Time::from_millis(1_700_000_000_000);
/// Writes of one commit.
const BATCH: usize = 10_000;

fn main() {
    let mut args = std::env::args().skip(1);
    let folder = args.next().unwrap();
    let mut number = |default: u64| args.next().map_or(default, |arg| arg.parse().unwrap());
    let (sessions, messages, retained) = (number(100_000), number(1_000_000), number(1_000_000));
    let folder = Path::new(&folder);
    let options = DiskOptions {
        durability: Durability::Os,
        ..DiskOptions::default()
    };
    if !folder.exists() {
        let store = DiskStore::open(folder, options).unwrap();
        let started = Instant::now();
        fill(&store, sessions, messages, retained);
        println!("filled in {:?}", started.elapsed());
    }
    let started = Instant::now();
    let store = DiskStore::open(folder, options).unwrap();
    println!("opened in {:?}, {} bytes", started.elapsed(), store.bytes());
    let started = Instant::now();
    let loaded = load(&store, NOW).unwrap();
    println!("loaded in {:?}: {:?}", started.elapsed(), loaded.tally);
}

fn fill(store: &dyn Store, sessions: u64, messages: u64, retained: u64) {
    let sessions_of = (0..sessions).flat_map(session);
    let messages_of = (0..messages).map(|n| append(n, sessions));
    let retained_of = (0..retained).map(|n| Write::PutRetained(message(&format!("kept/{n}"), n)));
    let mut writes = sessions_of.chain(messages_of).chain(retained_of).peekable();
    let mut ticket = 0;
    while writes.peek().is_some() {
        ticket += 1;
        let batch = Batch {
            ticket,
            writes: writes.by_ref().take(BATCH).collect(),
        };
        store
            .commit(encode(&batch, NOW), SystemTime::now())
            .unwrap();
    }
}

fn session(n: u64) -> [Write; 3] {
    let queue = QueueId(n);
    let record = SessionRecord {
        identity: Arc::new(Identity::from_password(format!("device-{n}"))),
        client_id: format!("client-{n}").into(),
        expiry_secs: 3600,
        offline_since: Some(NOW),
    };
    [
        Write::PutSession(queue, Box::new(record)),
        Write::PutSubscription {
            queue,
            filter: format!("devices/device-{n}/#").into(),
            options: SubscriptionOptions::default(),
            id: None,
        },
        Write::PutProgress(queue, Box::default()),
    ]
}

fn append(n: u64, sessions: u64) -> Write {
    let queue = QueueId(n % sessions);
    Write::Append {
        position: Position {
            part: 0,
            sequence: n + 1,
        },
        message: message(&format!("devices/device-{}/state", queue.0), n),
        takers: vec![Taker {
            queue,
            place: Place::Arrival(n / sessions),
            qos: QoS::AtLeastOnce,
            retain: false,
            ids: SubscriptionIdList::None,
            group: None,
        }],
    }
}

fn message(topic: &str, n: u64) -> Arc<Message> {
    let payload = format!("{n:064}");
    Arc::new(Message::of_parts(&MessageParts {
        topic,
        properties: b"",
        payload: payload.as_bytes(),
        qos: QoS::AtLeastOnce,
        retain: false,
        expires_at: None,
        publisher: &"plant".into(),
    }))
}
