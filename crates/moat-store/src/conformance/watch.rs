//! Watches: nothing missed, nothing twice out of order, and their bounds.

use std::time::Duration;

use bytes::Bytes;

use super::{Make, at, seconds, zeroes};
use crate::bucket::{VALUE_BYTES_MAX, WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_EVENTS_MAX};
use crate::{Event, Expect, Revision, Store, Watch, WatchError, WatchFrom};

/// Long enough for any machine; reached only by a store that loses an event.
const PATIENCE: Duration = Duration::from_secs(20);
const NO_WAIT: Duration = Duration::ZERO;

pub(super) fn run(make: Make<'_>) {
    a_snapshot_then_the_changes(&*make());
    only_changes_if_asked_so(&*make());
    other_buckets_and_prefixes_are_not_told(&*make());
    an_end_is_told(&*make());
    changes_during_a_snapshot_are_neither_lost_nor_undone(&*make());
    a_writer_beside_a_watcher_leaves_no_gap(&*make());
    a_slow_watcher_is_told_that_it_lagged(&*make());
    a_watcher_with_too_many_bytes_has_lagged(&*make());
    waiting_ends_with_an_event(&*make());
}

fn put(store: &dyn Store, key: &str, text: &str) -> Revision {
    store
        .put(
            "b",
            key.as_bytes(),
            Bytes::copy_from_slice(text.as_bytes()),
            Expect::Any,
            None,
            at(0),
        )
        .unwrap()
}

fn watch(store: &dyn Store, prefix: &str, from: WatchFrom) -> Box<dyn Watch> {
    store.watch("b", prefix.as_bytes(), from, at(0)).unwrap()
}

/// `key=value`, `-key`, `!key` (ended) or `|` (end of the snapshot).
fn short(event: &Event) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Put(entry) => format!("{}={}", text(&entry.key), text(&entry.versioned.value)),
        Event::Delete {
            key,
            expired: false,
            ..
        } => format!("-{}", text(key)),
        Event::Delete {
            key, expired: true, ..
        } => format!("!{}", text(key)),
        Event::SnapshotEnd => "|".into(),
    }
}

/// Everything that is there without waiting.
fn drain(watch: &mut dyn Watch) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = watch.next(NO_WAIT).unwrap() {
        events.push(short(&event));
    }
    events
}

fn a_snapshot_then_the_changes(store: &dyn Store) {
    put(store, "b", "1");
    put(store, "a", "2");
    let mut watch = watch(store, "", WatchFrom::Snapshot);
    assert_eq!(drain(&mut *watch), ["a=2", "b=1", "|"]);
    put(store, "a", "3");
    store.delete("b", b"b", Expect::Any, at(0)).unwrap();
    store.delete("b", b"none", Expect::Any, at(0)).unwrap();
    assert_eq!(drain(&mut *watch), ["a=3", "-b"]);
    let revision = put(store, "c", "4");
    let Some(Event::Put(entry)) = watch.next(NO_WAIT).unwrap() else {
        panic!("no event")
    };
    assert_eq!(entry.versioned.revision, revision);
    assert_eq!(
        drain(&mut *self::watch(store, "none", WatchFrom::Snapshot)),
        ["|"]
    );
}

fn only_changes_if_asked_so(store: &dyn Store) {
    put(store, "a", "1");
    let mut watch = watch(store, "", WatchFrom::Now);
    assert_eq!(drain(&mut *watch), Vec::<String>::new());
    put(store, "b", "2");
    assert_eq!(drain(&mut *watch), ["b=2"]);
}

fn other_buckets_and_prefixes_are_not_told(store: &dyn Store) {
    let mut watch = watch(store, "a/", WatchFrom::Snapshot);
    put(store, "a", "x");
    put(store, "b/1", "x");
    store
        .put("other", b"a/1", Bytes::new(), Expect::Any, None, at(0))
        .unwrap();
    put(store, "a/1", "x");
    assert_eq!(drain(&mut *watch), ["|", "a/1=x"]);
}

fn an_end_is_told(store: &dyn Store) {
    store
        .put("b", b"k", Bytes::new(), Expect::Any, seconds(10), at(0))
        .unwrap();
    let mut watch = watch(store, "", WatchFrom::Now);
    store.expire(at(9)).unwrap();
    assert_eq!(drain(&mut *watch), Vec::<String>::new());
    store.expire(at(10)).unwrap();
    assert_eq!(drain(&mut *watch), ["!k"]);
    let ended = store.watch("b", b"", WatchFrom::Snapshot, at(10));
    assert_eq!(drain(&mut *ended.unwrap()), ["|"]);
}

fn changes_during_a_snapshot_are_neither_lost_nor_undone(store: &dyn Store) {
    for n in 0..2000 {
        put(store, &format!("{n:04}"), "old");
    }
    let mut watch = watch(store, "", WatchFrom::Snapshot);
    let mut events = vec![short(&watch.next(NO_WAIT).unwrap().unwrap())];
    put(store, "0001", "new");
    put(store, "1999", "new");
    store.delete("b", b"1998", Expect::Any, at(0)).unwrap();
    put(store, "2000", "new");
    events.extend(drain(&mut *watch));
    let end = events.iter().position(|event| event == "|").unwrap();
    assert_eq!(
        &events[end + 1..],
        ["0001=new", "1999=new", "-1998", "2000=new"]
    );
    assert!(
        events[..end].iter().all(|event| event.ends_with("=old")),
        "a snapshot is of one moment"
    );
    assert!(
        (1997..=2000).contains(&end),
        "{end} keys: all but those that changed meanwhile"
    );
}

fn a_writer_beside_a_watcher_leaves_no_gap(store: &dyn Store) {
    const CHANGES: u32 = 2000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=CHANGES {
                put(store, "k", &n.to_string());
            }
        });
        let mut watch = watch(store, "", WatchFrom::Snapshot);
        let mut last = 0;
        let mut in_snapshot = true;
        while last < CHANGES {
            match watch.next(PATIENCE).unwrap().expect("an event is missing") {
                Event::SnapshotEnd => in_snapshot = false,
                Event::Put(entry) => {
                    let number: u32 = std::str::from_utf8(&entry.versioned.value)
                        .unwrap()
                        .parse()
                        .unwrap();
                    // The snapshot may begin anywhere, and so may the changes without one.
                    assert!(
                        number == last + 1 || last == 0,
                        "{number} after {last}, in snapshot: {in_snapshot}"
                    );
                    last = number;
                }
                Event::Delete { .. } => panic!("nobody deletes"),
            }
        }
    });
}

fn a_slow_watcher_is_told_that_it_lagged(store: &dyn Store) {
    let mut slow = watch(store, "", WatchFrom::Now);
    for _ in 0..WATCH_QUEUE_EVENTS_MAX {
        put(store, "k", "x");
    }
    let mut full = watch(store, "", WatchFrom::Now);
    assert!(
        slow.next(NO_WAIT).unwrap().is_some(),
        "a full queue is whole"
    );
    put(store, "k", "x");
    put(store, "k", "y");
    assert_eq!(slow.next(NO_WAIT), Err(WatchError::Lagged));
    assert_eq!(
        slow.next(PATIENCE),
        Err(WatchError::Lagged),
        "and does not wait for more"
    );
    assert_eq!(drain(&mut *full), ["k=x", "k=y"], "others go on");
    assert_eq!(
        drain(&mut *watch(store, "", WatchFrom::Snapshot)),
        ["k=y", "|"]
    );
}

fn a_watcher_with_too_many_bytes_has_lagged(store: &dyn Store) {
    let mut slow = watch(store, "", WatchFrom::Snapshot);
    for _ in 0..=WATCH_QUEUE_BYTES_MAX / VALUE_BYTES_MAX {
        store
            .put("b", b"k", zeroes(VALUE_BYTES_MAX), Expect::Any, None, at(0))
            .unwrap();
    }
    assert_eq!(
        slow.next(NO_WAIT),
        Err(WatchError::Lagged),
        "also during its snapshot"
    );
}

fn waiting_ends_with_an_event(store: &dyn Store) {
    let mut watch = watch(store, "", WatchFrom::Now);
    assert_eq!(watch.next(Duration::from_millis(1)), Ok(None));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(move || watch.next(PATIENCE).unwrap().map(|event| short(&event)));
        put(store, "k", "x");
        assert_eq!(waiter.join().unwrap().as_deref(), Some("k=x"));
    });
}
