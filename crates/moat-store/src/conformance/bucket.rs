//! Get, put, delete, scan, lifetimes, and the buckets' bounds.

use std::time::Duration;

use bytes::Bytes;

use super::{Make, at, seconds, value, zeroes};
use crate::bucket::{
    BUCKET_NAME_CHARS_MAX, EXPIRE_KEYS_MAX, KEY_BYTES_MAX, SCAN_BYTES_MAX, SCAN_KEYS_MAX,
    VALUE_BYTES_MAX,
};
use crate::{Expect, Revision, ScanPage, Store, StoreError};

pub(super) fn run(make: Make<'_>) {
    what_is_put_can_be_got(&*make());
    expectations_are_checked(&*make());
    a_delete_removes(&*make());
    revisions_rise(&*make());
    of_writers_at_once_one_wins(&*make());
    scans_are_ordered_and_go_on(&*make());
    values_end(&*make());
    an_ended_value_is_absent_before_it_is_removed(&*make());
    a_new_lifetime_replaces_the_old(&*make());
    names_keys_and_values_are_bounded(&*make());
    pages_and_sweeps_are_bounded(&*make());
}

fn put(store: &dyn Store, key: &str, text: &str) -> Revision {
    put_as(store, key, text, Expect::Any).unwrap()
}

fn put_as(
    store: &dyn Store,
    key: &str,
    text: &str,
    expect: Expect,
) -> Result<Revision, StoreError> {
    store.put(
        "b",
        key.as_bytes(),
        Bytes::copy_from_slice(text.as_bytes()),
        expect,
        None,
        at(0),
    )
}

fn put_for(store: &dyn Store, key: &str, ttl: u64, now: u64) -> Revision {
    store
        .put(
            "b",
            key.as_bytes(),
            Bytes::from_static(b"v"),
            Expect::Any,
            seconds(ttl),
            at(now),
        )
        .unwrap()
}

fn get(store: &dyn Store, key: &str, now: u64) -> Option<Bytes> {
    value(store.get("b", key.as_bytes(), at(now)))
}

fn keys(page: &ScanPage) -> Vec<&str> {
    page.entries
        .iter()
        .map(|entry| std::str::from_utf8(&entry.key).unwrap())
        .collect()
}

fn what_is_put_can_be_got(store: &dyn Store) {
    assert_eq!(get(store, "k", 0), None);
    let revision = put(store, "k", "one");
    let found = store.get("b", b"k", at(0)).unwrap().unwrap();
    assert_eq!(
        (&*found.value, found.revision, found.expires_at),
        (&b"one"[..], revision, None)
    );
    put(store, "k", "two");
    assert_eq!(get(store, "k", 0).as_deref(), Some(&b"two"[..]));
    assert_eq!(
        value(store.get("other", b"k", at(0))),
        None,
        "buckets are apart"
    );
    store
        .put("b", b"", Bytes::new(), Expect::Any, None, at(0))
        .unwrap();
    assert_eq!(
        get(store, "", 0),
        Some(Bytes::new()),
        "empty keys and values are values"
    );
}

fn expectations_are_checked(store: &dyn Store) {
    let gone = Revision(u64::MAX);
    let absent = Err(StoreError::Conflict { current: None });
    assert_eq!(put_as(store, "k", "x", Expect::At(gone)), absent);
    let first = put_as(store, "k", "one", Expect::Absent).unwrap();
    let at_first = Err(StoreError::Conflict {
        current: Some(first),
    });
    assert_eq!(put_as(store, "k", "x", Expect::Absent), at_first);
    assert_eq!(put_as(store, "k", "x", Expect::At(gone)), at_first);
    assert_eq!(
        get(store, "k", 0).as_deref(),
        Some(&b"one"[..]),
        "a conflict changes nothing"
    );
    let second = put_as(store, "k", "two", Expect::At(first)).unwrap();
    assert_eq!(
        put_as(store, "k", "x", Expect::At(first)),
        Err(StoreError::Conflict {
            current: Some(second)
        })
    );
}

fn a_delete_removes(store: &dyn Store) {
    let revision = put(store, "k", "one");
    let wrong = store.delete("b", b"k", Expect::At(Revision(u64::MAX)), at(0));
    assert_eq!(
        wrong,
        Err(StoreError::Conflict {
            current: Some(revision)
        })
    );
    let removed = store
        .delete("b", b"k", Expect::At(revision), at(0))
        .unwrap()
        .unwrap();
    assert!(removed > revision);
    assert_eq!(get(store, "k", 0), None);
    assert_eq!(store.delete("b", b"k", Expect::Any, at(0)), Ok(None));
    let absent = store.delete("b", b"k", Expect::At(revision), at(0));
    assert_eq!(absent, Err(StoreError::Conflict { current: None }));
    assert!(put_as(store, "k", "x", Expect::Absent).is_ok());
}

fn revisions_rise(store: &dyn Store) {
    let mut last = put(store, "a", "x");
    for key in ["b", "a", "c"] {
        let next = put(store, key, "x");
        assert!(next > last);
        last = next;
    }
    store.delete("b", b"a", Expect::Any, at(0)).unwrap();
    store.delete("b", b"b", Expect::Any, at(0)).unwrap();
    store.delete("b", b"c", Expect::Any, at(0)).unwrap();
    assert!(
        put(store, "a", "x") > last,
        "also after the bucket was empty"
    );
}

fn of_writers_at_once_one_wins(store: &dyn Store) {
    for key in ["a", "b", "c", "d"] {
        let won = std::thread::scope(|scope| {
            let write = || put_as(store, key, "x", Expect::Absent).is_ok();
            let writers = [scope.spawn(write), scope.spawn(write), scope.spawn(write)];
            writers
                .map(|writer| writer.join().unwrap())
                .into_iter()
                .filter(|won| *won)
                .count()
        });
        assert_eq!(won, 1);
    }
}

fn scans_are_ordered_and_go_on(store: &dyn Store) {
    for key in ["b/2", "a", "b/1", "b", "c", "b/3", "b/\u{7f}"] {
        put(store, key, "x");
    }
    let scan = |prefix: &str, after: Option<&str>, max| {
        store
            .scan("b", prefix.as_bytes(), after.map(str::as_bytes), max, at(0))
            .unwrap()
    };
    assert_eq!(
        keys(&scan("", None, 99)),
        ["a", "b", "b/1", "b/2", "b/3", "b/\u{7f}", "c"]
    );
    let first = scan("b/", None, 2);
    assert_eq!((keys(&first), first.more), (vec!["b/1", "b/2"], true));
    let rest = scan("b/", Some("b/2"), 2);
    assert_eq!((keys(&rest), rest.more), (vec!["b/3", "b/\u{7f}"], false));
    assert_eq!(
        keys(&scan("b/", Some("a"), 1)),
        ["b/1"],
        "a cursor before the prefix is its beginning"
    );
    assert_eq!(keys(&scan("b/", Some("zz"), 1)), Vec::<&str>::new());
    assert_eq!(keys(&scan("d", None, 1)), Vec::<&str>::new());
    assert_eq!(store.scan("none", b"", None, 9, at(0)).unwrap().entries, []);
}

fn values_end(store: &dyn Store) {
    put_for(store, "short", 10, 0);
    put_for(store, "long", 20, 0);
    put(store, "forever", "x");
    assert_eq!(
        store.get("b", b"short", at(9)).unwrap().unwrap().expires_at,
        Some(at(10))
    );
    assert_eq!(store.expire(at(9)), Ok(0));
    assert!(get(store, "short", 9).is_some());
    assert_eq!(store.expire(at(10)), Ok(1), "the end itself is too late");
    assert_eq!(
        get(store, "short", 0),
        None,
        "what was removed does not come back"
    );
    assert_eq!(store.expire(at(10)), Ok(0));
    assert_eq!(store.expire(at(1000)), Ok(1));
    assert!(get(store, "forever", 1000).is_some());
    let never = store.put(
        "b",
        b"k",
        Bytes::new(),
        Expect::Any,
        Some(Duration::MAX),
        at(0),
    );
    assert_eq!(never, Err(StoreError::TtlTooLong));
}

fn an_ended_value_is_absent_before_it_is_removed(store: &dyn Store) {
    put_for(store, "k", 10, 0);
    assert_eq!(get(store, "k", 10), None);
    assert_eq!(store.scan("b", b"", None, 9, at(10)).unwrap().entries, []);
    assert_eq!(store.delete("b", b"k", Expect::Any, at(10)), Ok(None));
    let put = store.put(
        "b",
        b"k",
        Bytes::from_static(b"new"),
        Expect::Absent,
        None,
        at(10),
    );
    assert!(put.is_ok());
    assert_eq!(store.expire(at(10)), Ok(0), "the new value has no end");
    assert_eq!(get(store, "k", 10).as_deref(), Some(&b"new"[..]));
}

fn a_new_lifetime_replaces_the_old(store: &dyn Store) {
    put_for(store, "k", 10, 0);
    put_for(store, "k", 10, 5);
    assert_eq!(store.expire(at(10)), Ok(0));
    assert!(get(store, "k", 14).is_some());
    assert_eq!(store.expire(at(15)), Ok(1));
    put_for(store, "k", 10, 20);
    store.delete("b", b"k", Expect::Any, at(20)).unwrap();
    put(store, "k", "x");
    assert_eq!(store.expire(at(99)), Ok(0));
}

fn names_keys_and_values_are_bounded(store: &dyn Store) {
    let put =
        |bucket: &str, key: &[u8], value| store.put(bucket, key, value, Expect::Any, None, at(0));
    let long = "b".repeat(BUCKET_NAME_CHARS_MAX);
    assert!(put(&long, b"k", Bytes::new()).is_ok());
    for bad in ["", "B", "a_b", "a/b", &format!("{long}b")] {
        let refused = |error| matches!(error, StoreError::BucketName { .. });
        assert!(refused(put(bad, b"k", Bytes::new()).unwrap_err()), "{bad}");
        assert!(refused(store.get(bad, b"k", at(0)).unwrap_err()));
    }
    assert!(put("b", &[1; KEY_BYTES_MAX], Bytes::new()).is_ok());
    assert!(put("b", &[0; KEY_BYTES_MAX - 1], Bytes::new()).is_ok());
    assert_eq!(
        put("b", &[0; KEY_BYTES_MAX], Bytes::new()),
        Err(StoreError::KeyTooLong {
            bytes: KEY_BYTES_MAX
        })
    );
    let bytes = KEY_BYTES_MAX + 1;
    assert_eq!(
        put("b", &zeroes(bytes), Bytes::new()),
        Err(StoreError::KeyTooLong { bytes })
    );
    assert_eq!(
        store.get("b", &zeroes(bytes), at(0)),
        Err(StoreError::KeyTooLong { bytes })
    );
    assert!(put("b", b"k", zeroes(VALUE_BYTES_MAX)).is_ok());
    let bytes = VALUE_BYTES_MAX + 1;
    assert_eq!(
        put("b", b"k", zeroes(bytes)),
        Err(StoreError::ValueTooLong { bytes })
    );
}

fn pages_and_sweeps_are_bounded(store: &dyn Store) {
    for n in 0..=SCAN_KEYS_MAX.max(EXPIRE_KEYS_MAX) {
        put_for(store, &format!("{n:08}"), 10, 0);
    }
    let page = store.scan("b", b"", None, usize::MAX, at(0)).unwrap();
    assert_eq!((page.entries.len(), page.more), (SCAN_KEYS_MAX, true));
    assert_eq!(store.expire(at(10)), Ok(EXPIRE_KEYS_MAX));
    assert!(store.expire(at(10)).unwrap() > 0);
    for n in 0..3 {
        let half = zeroes(SCAN_BYTES_MAX / 2);
        store
            .put("b", &[n], half, Expect::Any, None, at(0))
            .unwrap();
    }
    let page = store.scan("b", b"", None, usize::MAX, at(0)).unwrap();
    assert_eq!((page.entries.len(), page.more), (2, true));
}
