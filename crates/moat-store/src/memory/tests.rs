use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{BUCKETS_MAX, MemoryLimits, MemoryStore};
use crate::WATCHES_MAX;
use crate::{
    BATCH_RECORDS_MAX, DEDUP_IDS_KEPT, Expect, Part, READ_EXAMINED_MAX, Record, Sequence, Store,
    StoreError, Want, WatchFrom, conformance,
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const PART: Part = Part(0);

fn record(id: Option<usize>, payload: &'static [u8]) -> Record {
    Record {
        part: PART,
        topic: "t".into(),
        headers: Bytes::new(),
        payload: Bytes::from_static(payload),
        dedup_id: id.map(|id| Bytes::from(id.to_string())),
        takers: 1,
    }
}

fn put(
    store: &MemoryStore,
    bucket: &str,
    key: &[u8],
    value: &'static [u8],
) -> Result<(), StoreError> {
    store
        .put(
            bucket,
            key,
            Bytes::from_static(value),
            Expect::Any,
            None,
            NOW,
        )
        .map(|_| ())
}

#[test]
fn it_conforms() {
    conformance::run(&|| Box::new(MemoryStore::default()));
}

#[test]
fn a_full_log_refuses_until_it_is_trimmed() {
    let store = MemoryStore::new(MemoryLimits {
        log_bytes: 10,
        bucket_bytes: 0,
    });
    store
        .append(vec![record(Some(1), b"abcd"), record(None, b"abc")])
        .unwrap();
    let full = Err(StoreError::Full { limit: 10 });
    assert_eq!(store.append(vec![record(None, b"")]), full.clone());
    assert!(
        store.append(vec![record(Some(1), b"abcd")]).is_ok(),
        "what is known takes no room"
    );
    store.trim(PART, Sequence(2)).unwrap();
    assert_eq!(
        store.append(vec![record(None, b"abcdef")]),
        full,
        "4 are used, 7 would be added"
    );
    store.append(vec![record(None, b"abcde")]).unwrap();
    store.trim(PART, Sequence(99)).unwrap();
    store.append(vec![record(None, b"abcdefghi")]).unwrap();
}

#[test]
fn full_buckets_refuse_until_something_goes() {
    let store = MemoryStore::new(MemoryLimits {
        log_bytes: 0,
        bucket_bytes: 10,
    });
    put(&store, "a", b"k", b"1234").unwrap();
    put(&store, "b", b"k", b"1234").unwrap();
    assert_eq!(
        put(&store, "b", b"", b"1"),
        Err(StoreError::Full { limit: 10 })
    );
    put(&store, "a", b"k", b"4321").unwrap();
    put(&store, "a", b"k", b"").unwrap();
    put(&store, "b", b"k2", b"12").unwrap();
    store.delete("b", b"k", Expect::Any, NOW).unwrap();
    put(&store, "b", b"", b"12345").unwrap();
}

#[test]
fn ended_values_give_their_room_back() {
    let store = MemoryStore::new(MemoryLimits {
        log_bytes: 0,
        bucket_bytes: 5,
    });
    let ttl = Some(Duration::from_secs(1));
    store
        .put(
            "a",
            b"k",
            Bytes::from_static(b"1234"),
            Expect::Any,
            ttl,
            NOW,
        )
        .unwrap();
    store.expire(NOW + Duration::from_secs(1)).unwrap();
    put(&store, "a", b"x", b"1234").unwrap();
}

#[test]
fn more_dedup_ids_than_are_kept_forget_the_oldest() {
    let store = MemoryStore::default();
    let ids: Vec<_> = (0..=DEDUP_IDS_KEPT).collect();
    for chunk in ids.chunks(BATCH_RECORDS_MAX) {
        store
            .append(chunk.iter().map(|id| record(Some(*id), b"")).collect())
            .unwrap();
    }
    let sequence = |id| {
        store.append(vec![record(Some(id), b"")]).unwrap()[0]
            .sequence
            .0
    };
    let count = DEDUP_IDS_KEPT as u64 + 1;
    assert_eq!(sequence(1), 2, "the second is known");
    assert_eq!(sequence(0), count + 1, "the first is not");
}

#[test]
fn a_read_looks_at_a_bounded_number_of_records() {
    let store = MemoryStore::default();
    for _ in 0..=READ_EXAMINED_MAX / BATCH_RECORDS_MAX {
        store
            .append(vec![record(None, b""); BATCH_RECORDS_MAX])
            .unwrap();
    }
    let page = store
        .read(PART, Sequence::FIRST, 1, &Want::Topics(&|_| false))
        .unwrap();
    assert_eq!(
        (page.records.len(), page.next),
        (0, Sequence(READ_EXAMINED_MAX as u64 + 1))
    );
}

#[test]
fn buckets_are_bounded_and_an_empty_one_makes_room() {
    let store = MemoryStore::default();
    for n in 0..BUCKETS_MAX {
        put(&store, &format!("b{n}"), b"k", b"").unwrap();
    }
    assert_eq!(
        put(&store, "new", b"k", b""),
        Err(StoreError::TooManyBuckets { limit: BUCKETS_MAX })
    );
    put(&store, "b0", b"k2", b"").unwrap();
    store.delete("b1", b"k", Expect::Any, NOW).unwrap();
    put(&store, "new", b"k", b"").unwrap();
}

#[test]
fn watches_are_bounded_and_a_dropped_one_makes_room() {
    let store = MemoryStore::default();
    let open = || store.watch("b", b"", WatchFrom::Now, NOW);
    let mut watches: Vec<_> = (0..WATCHES_MAX).map(|_| open().unwrap()).collect();
    assert_eq!(
        open().err(),
        Some(StoreError::TooManyWatches { limit: WATCHES_MAX })
    );
    watches.pop();
    assert!(open().is_ok());
}

#[test]
fn a_snapshot_does_not_keep_the_buckets_locked() {
    let store = MemoryStore::default();
    put(&store, "b", b"k", b"").unwrap();
    let mut watch = store.watch("b", b"", WatchFrom::Snapshot, NOW).unwrap();
    watch.next(Duration::ZERO).unwrap();
    assert!(store.buckets.try_lock().is_ok());
}
