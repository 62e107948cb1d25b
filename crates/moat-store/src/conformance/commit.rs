//! Commits: all or nothing, in order, applied again without harm, and what takers keep.

use std::time::Duration;

use bytes::Bytes;

use super::{Make, at, value, zeroes};
use crate::bucket::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::log::{READ_BYTES_MAX, READ_EXACT_MAX, RECORD_BYTES_MAX};
use crate::{
    COMMIT_BYTES_MAX, COMMIT_WRITES_MAX, Event, Expect, Part, Position, Record, Sequence, Store,
    StoreError, Want, WatchFrom, Write,
};

const PART: Part = Part(5);
/// Longer than any segment is written to, in seconds.
const LONG: u64 = 3600;

pub(super) fn run(make: Make<'_>) {
    everything_in_order(&*make());
    a_refused_write_in_the_middle_refuses_all(&*make());
    the_last_write_of_a_key_counts(&*make());
    a_prefix_takes_what_this_commit_put(&*make());
    applied_again_it_changes_nothing(&*make());
    a_gap_is_refused(&*make());
    parts_have_their_own_numbers(&*make());
    dedup_ids_count_here_too(&*make());
    expectations_see_commits(&*make());
    a_commit_ends_a_lifetime(&*make());
    a_watcher_sees_commits_without_a_gap(&*make());
    commits_are_bounded(&*make());
    what_has_a_taker_stays(&*make());
    what_has_none_goes(&*make());
    a_recount_says_who_waits(&*make());
    exact_reads_are_in_the_order_asked(&*make());
    exact_reads_are_bounded(&*make());
    readers_see_whole_commits(&*make());
}

fn record(payload: &str, takers: u32) -> Record {
    Record {
        part: PART,
        topic: "a/b".into(),
        headers: Bytes::from_static(b"h"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        dedup_id: None,
        takers,
    }
}

fn append(at: u64, payload: &str) -> Write {
    Write::Append {
        at: Some(Sequence(at)),
        record: record(payload, 1),
    }
}

fn next(record: Record) -> Write {
    Write::Append { at: None, record }
}

fn put(key: &str, text: &str) -> Write {
    Write::Put {
        bucket: "b",
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn delete(key: &str) -> Write {
    Write::Delete {
        bucket: "b",
        key: Bytes::copy_from_slice(key.as_bytes()),
    }
}

fn delete_prefix(prefix: &str) -> Write {
    Write::DeletePrefix {
        bucket: "b",
        prefix: Bytes::copy_from_slice(prefix.as_bytes()),
    }
}

fn position(sequence: u64) -> Position {
    Position {
        part: PART,
        sequence: Sequence(sequence),
    }
}

fn commit(store: &dyn Store, writes: Vec<Write>) -> Vec<u64> {
    commit_at(store, writes, 0)
}

fn commit_at(store: &dyn Store, writes: Vec<Write>, seconds: u64) -> Vec<u64> {
    let positions = store.commit(writes, at(seconds)).unwrap();
    positions.iter().map(|place| place.sequence.0).collect()
}

/// `number:payload` of everything in the part.
fn log(store: &dyn Store) -> Vec<String> {
    let page = store.read(PART, Sequence::FIRST, 9999, &Want::All).unwrap();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    page.records
        .iter()
        .map(|(sequence, record)| format!("{}:{}", sequence.0, text(&record.payload)))
        .collect()
}

/// `key=value` of everything in the bucket.
fn pairs(store: &dyn Store) -> Vec<String> {
    let page = store.scan("b", b"", None, 9999, at(0)).unwrap();
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    page.entries
        .iter()
        .map(|entry| format!("{}={}", text(&entry.key), text(&entry.versioned.value)))
        .collect()
}

fn everything_in_order(store: &dyn Store) {
    assert_eq!(commit(store, Vec::new()), []);
    commit(store, vec![put("old", "x")]);
    let positions = commit(
        store,
        vec![
            append(1, "one"),
            put("a", "1"),
            append(2, "two"),
            delete("old"),
            put("b", "2"),
        ],
    );
    assert_eq!(positions, [1, 2]);
    assert_eq!(log(store), ["1:one", "2:two"]);
    assert_eq!(pairs(store), ["a=1", "b=2"]);
    let page = store.read(PART, Sequence::FIRST, 1, &Want::All).unwrap();
    assert_eq!(
        page.records[0].1,
        record("one", 1),
        "every field comes back"
    );
}

fn a_refused_write_in_the_middle_refuses_all(store: &dyn Store) {
    commit(store, vec![append(1, "one"), put("k", "old")]);
    let with = |bad| {
        store.commit(
            vec![append(2, "two"), put("k", "new"), bad, put("l", "x")],
            at(0),
        )
    };
    let long_value = Write::Put {
        bucket: "b",
        key: Bytes::new(),
        value: zeroes(VALUE_BYTES_MAX + 1),
    };
    let long_key = Write::Delete {
        bucket: "b",
        key: zeroes(KEY_BYTES_MAX + 1),
    };
    let no_bucket = Write::DeletePrefix {
        bucket: "B",
        prefix: Bytes::new(),
    };
    let long_record = next(Record {
        payload: zeroes(RECORD_BYTES_MAX + 1),
        ..record("", 1)
    });
    assert!(matches!(
        with(long_value),
        Err(StoreError::ValueTooLong { .. })
    ));
    assert!(matches!(with(long_key), Err(StoreError::KeyTooLong { .. })));
    assert!(matches!(
        with(no_bucket),
        Err(StoreError::BucketName { .. })
    ));
    assert!(matches!(
        with(long_record),
        Err(StoreError::RecordTooLarge { index: 2, .. })
    ));
    assert!(matches!(with(append(9, "x")), Err(StoreError::Gap { .. })));
    assert_eq!(
        (log(store), pairs(store)),
        (vec!["1:one".into()], vec!["k=old".into()])
    );
}

fn the_last_write_of_a_key_counts(store: &dyn Store) {
    commit(
        store,
        vec![
            put("a", "1"),
            put("a", "2"),
            put("b", "1"),
            delete("b"),
            delete("c"),
            put("c", "3"),
            put("", "empty"),
        ],
    );
    assert_eq!(pairs(store), ["=empty", "a=2", "c=3"]);
    commit(
        store,
        vec![delete("a"), put("a", "4"), delete("c"), delete("")],
    );
    assert_eq!(pairs(store), ["a=4"]);
}

fn a_prefix_takes_what_this_commit_put(store: &dyn Store) {
    commit(
        store,
        vec![
            put("s/1", "x"),
            put("s/2", "x"),
            put("s", "x"),
            put("t", "x"),
        ],
    );
    commit(
        store,
        vec![
            put("s/3", "x"),
            put("s/1", "y"),
            delete_prefix("s/"),
            put("s/2", "new"),
        ],
    );
    assert_eq!(pairs(store), ["s=x", "s/2=new", "t=x"]);
    commit(store, vec![delete_prefix("none"), delete_prefix("")]);
    assert_eq!(pairs(store), Vec::<String>::new());
}

fn applied_again_it_changes_nothing(store: &dyn Store) {
    let writes = || {
        vec![
            append(1, "one"),
            put("k", "1"),
            append(2, "two"),
            delete_prefix("old"),
        ]
    };
    assert_eq!(commit(store, writes()), [1, 2]);
    assert_eq!(commit(store, writes()), [1, 2]);
    assert_eq!(log(store), ["1:one", "2:two"]);
    assert_eq!(
        commit(store, vec![append(2, "other"), append(3, "three")]),
        [2, 3],
        "what is there stays, what is new is added"
    );
    assert_eq!(log(store), ["1:one", "2:two", "3:three"]);
    store.trim(PART, Sequence(3)).unwrap();
    assert_eq!(commit(store, writes()), [1, 2]);
    assert_eq!(
        log(store),
        ["3:three"],
        "nor does what was trimmed come back"
    );
}

fn a_gap_is_refused(store: &dyn Store) {
    let gap = |at, next| {
        Err(StoreError::Gap {
            part: PART.0,
            at,
            next,
        })
    };
    assert_eq!(store.commit(vec![append(2, "x")], at(0)), gap(2, 1));
    assert_eq!(
        store.commit(vec![append(1, "x"), append(3, "x")], at(0)),
        gap(3, 2)
    );
    assert_eq!(log(store), Vec::<String>::new());
}

fn parts_have_their_own_numbers(store: &dyn Store) {
    let other = |at| Write::Append {
        at: Some(Sequence(at)),
        record: Record {
            part: Part(6),
            ..record("other", 1)
        },
    };
    assert_eq!(
        commit(
            store,
            vec![append(1, "a"), other(1), append(2, "b"), other(2)]
        ),
        [1, 1, 2, 2]
    );
    assert_eq!(log(store), ["1:a", "2:b"]);
    assert_eq!(store.head(Part(6)).unwrap().next, Sequence(3));
}

fn dedup_ids_count_here_too(store: &dyn Store) {
    let identified = |id: &'static [u8]| {
        next(Record {
            dedup_id: Some(Bytes::from_static(id)),
            ..record("x", 1)
        })
    };
    assert_eq!(
        commit(
            store,
            vec![identified(b"a"), identified(b"b"), identified(b"a")]
        ),
        [1, 2, 1]
    );
    assert_eq!(
        commit(store, vec![identified(b"b"), next(record("y", 1))]),
        [2, 3]
    );
}

fn expectations_see_commits(store: &dyn Store) {
    commit(store, vec![put("k", "1")]);
    let put_as = |expect| store.put("b", b"k", Bytes::from_static(b"2"), expect, None, at(0));
    let there = store.get("b", b"k", at(0)).unwrap().unwrap().revision;
    let conflict = Err(StoreError::Conflict {
        current: Some(there),
    });
    assert_eq!(put_as(Expect::Absent), conflict);
    commit(store, vec![put("k", "3")]);
    assert!(
        matches!(put_as(Expect::At(there)), Err(StoreError::Conflict { .. })),
        "a commit is a change"
    );
    let now = store.get("b", b"k", at(0)).unwrap().unwrap().revision;
    assert!(now > there);
    assert!(put_as(Expect::At(now)).unwrap() > now);
    commit(store, vec![delete("k")]);
    assert!(put_as(Expect::Absent).is_ok());
}

fn a_commit_ends_a_lifetime(store: &dyn Store) {
    let ttl = Some(Duration::from_secs(10));
    store
        .put("b", b"k", Bytes::new(), Expect::Any, ttl, at(0))
        .unwrap();
    commit(store, vec![put("k", "stays")]);
    assert_eq!(store.expire(at(99)), Ok(0));
    assert_eq!(
        value(store.get("b", b"k", at(99))).as_deref(),
        Some(&b"stays"[..])
    );
}

fn a_watcher_sees_commits_without_a_gap(store: &dyn Store) {
    const COMMITS: u32 = 300;
    commit(store, vec![put("a", "0"), put("b", "0")]);
    let mut watch = store.watch("b", b"", WatchFrom::Snapshot, at(0)).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=COMMITS {
                commit(
                    store,
                    vec![put("a", &n.to_string()), put("b", &n.to_string())],
                );
            }
            commit(store, vec![delete("a"), delete("none"), delete_prefix("b")]);
        });
        let mut seen = [None; 2];
        let mut gone = 0;
        while gone < 2 {
            let event = watch.next(Duration::from_secs(20)).unwrap();
            match event.expect("an event is missing") {
                Event::SnapshotEnd => {}
                Event::Put(entry) => {
                    let text = std::str::from_utf8(&entry.versioned.value).unwrap();
                    let number: u32 = text.parse().unwrap();
                    let last = &mut seen[usize::from(entry.key[0] - b'a')];
                    assert!(
                        last.is_none_or(|last| number == last + 1),
                        "{number} after {last:?}"
                    );
                    *last = Some(number);
                }
                Event::Delete { key, expired, .. } => {
                    assert!(!expired && (*key == *b"a" || *key == *b"b"), "{key:?}");
                    gone += 1;
                }
            }
        }
        assert_eq!(seen, [Some(COMMITS); 2]);
    });
}

fn commits_are_bounded(store: &dyn Store) {
    let many = |count| vec![put("k", ""); count];
    assert!(store.commit(many(COMMIT_WRITES_MAX), at(0)).is_ok());
    assert!(matches!(
        store.commit(many(COMMIT_WRITES_MAX + 1), at(0)),
        Err(StoreError::CommitTooLarge { writes, .. }) if writes == COMMIT_WRITES_MAX + 1
    ));
    let half = |extra| Write::Put {
        bucket: "b",
        key: Bytes::from_static(b"k"),
        value: zeroes(COMMIT_BYTES_MAX / 2 - 1 - extra),
    };
    assert!(store.commit(vec![half(0), half(0)], at(0)).is_ok());
    assert_eq!(
        store.commit(vec![half(0), half(0), put("k", "")], at(0)),
        Err(StoreError::CommitTooLarge {
            writes: 3,
            bytes: COMMIT_BYTES_MAX + 1
        })
    );
}

fn what_has_a_taker_stays(store: &dyn Store) {
    commit(
        store,
        vec![
            next(record("a", 1)),
            next(record("b", 2)),
            next(record("c", 1)),
        ],
    );
    commit(
        store,
        vec![
            Write::Release(position(1)),
            Write::Release(position(2)),
            Write::Release(position(3)),
        ],
    );
    // Long after, so that a new segment begins.
    commit_at(store, vec![next(record("d", 1))], LONG);
    let kept = store.read_exact(&[position(2), position(4)]).unwrap();
    assert!(
        kept.iter().all(Option::is_some),
        "one taker of two is not done"
    );
    assert!(store.head(PART).unwrap().first <= Sequence(2));
}

fn what_has_none_goes(store: &dyn Store) {
    commit(store, vec![next(record("a", 1)), next(record("b", 2))]);
    commit_at(store, vec![next(record("c", 1))], LONG);
    let release = |sequence| Write::Release(position(sequence));
    commit_at(store, vec![release(1), release(2)], LONG);
    assert!(store.read_exact(&[position(2)]).unwrap()[0].is_some());
    commit_at(store, vec![release(2)], LONG);
    assert_eq!(store.head(PART).unwrap().first, Sequence(3));
    assert_eq!(log(store), ["3:c"]);
    assert_eq!(store.read_exact(&[position(1)]), Ok(vec![None]));
    commit_at(store, vec![release(3), release(1), release(99)], LONG);
    assert_eq!(
        commit_at(store, vec![append(4, "d")], 3 * LONG),
        [4],
        "numbers are never given twice"
    );
    assert_eq!(log(store), ["4:d"], "released before its segment ended");
}

fn a_recount_says_who_waits(store: &dyn Store) {
    for n in 0..3 {
        commit_at(store, vec![next(record("x", 9))], n * LONG);
    }
    store
        .recount(&[(position(2), 1), (position(77), 1)])
        .unwrap();
    assert!(store.read_exact(&[position(2)]).unwrap()[0].is_some());
    assert_eq!(
        store.head(PART).unwrap().first,
        Sequence(2),
        "nobody waits for the first"
    );
    commit_at(
        store,
        vec![Write::Release(position(2)), next(record("y", 1))],
        9 * LONG,
    );
    assert_eq!(log(store), ["4:y"]);
}

fn exact_reads_are_in_the_order_asked(store: &dyn Store) {
    assert_eq!(store.read_exact(&[]), Ok(Vec::new()));
    assert_eq!(store.read_exact(&[position(1)]), Ok(vec![None]));
    commit(
        store,
        (0..300).map(|n| next(record(&n.to_string(), 1))).collect(),
    );
    commit(store, vec![next(record("300", 1))]);
    let elsewhere = Position {
        part: Part(99),
        sequence: Sequence(1),
    };
    let asked: Vec<_> = [301, 1, 0, 150, 302, 149, 1].map(position).to_vec();
    let found = store
        .read_exact(&[&asked[..], &[elsewhere]].concat())
        .unwrap();
    let texts: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().map(|record| record.payload.to_vec()))
        .collect();
    let text = |n: &str| Some(n.as_bytes().to_vec());
    assert_eq!(
        texts,
        [
            text("300"),
            text("0"),
            None,
            text("149"),
            None,
            text("148"),
            text("0"),
            None
        ]
    );
}

fn exact_reads_are_bounded(store: &dyn Store) {
    let positions = READ_EXACT_MAX + 1;
    assert_eq!(
        store.read_exact(&vec![position(1); positions]),
        Err(StoreError::ReadTooLarge { positions })
    );
    for _ in 0..3 {
        let half = Record {
            payload: zeroes(READ_BYTES_MAX / 2),
            ..record("", 1)
        };
        commit(store, vec![next(half)]);
    }
    let found = store.read_exact(&[1, 2, 3].map(position)).unwrap();
    assert_eq!(found.len(), 2, "ask again for the rest");
}

fn readers_see_whole_commits(store: &dyn Store) {
    const COMMITS: u32 = 200;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 0..COMMITS {
                let text = n.to_string();
                commit(store, vec![put("a", &text), put("b", &text)]);
            }
        });
        loop {
            let done = writer.is_finished();
            let page = store.scan("b", b"", None, 9, at(0)).unwrap();
            let values: Vec<_> = page.entries.iter().map(|e| &e.versioned.value).collect();
            assert!(
                values.windows(2).all(|pair| pair[0] == pair[1]),
                "half a commit"
            );
            assert_ne!(values.len(), 1, "half a commit");
            if done {
                break;
            }
        }
    });
}
