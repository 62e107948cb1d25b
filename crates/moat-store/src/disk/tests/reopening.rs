//! The suite again, with a store that is closed and opened between its calls, and what has to
//! outlive a start.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Opens itself again before the first writes, and before one now and then.
struct Restless {
    store: DiskStore,
    writes: AtomicUsize,
}

const OFTEN: usize = 4;
const SELDOM: usize = 1999;

impl Restless {
    fn store(&self) -> &DiskStore {
        let count = self.writes.fetch_add(1, Ordering::Relaxed);
        if count < OFTEN || count.is_multiple_of(SELDOM) {
            self.store.reopen().unwrap();
        }
        &self.store
    }
}

impl Store for Restless {
    fn commit(&self, writes: Vec<Write>, now: SystemTime) -> Result<Vec<Position>, StoreError> {
        self.store().commit(writes, now)
    }
    fn append(&self, batch: Vec<Record>) -> Result<Vec<Position>, StoreError> {
        self.store().append(batch)
    }
    fn read(
        &self,
        part: Part,
        from: Sequence,
        max: usize,
        want: &Want<'_>,
    ) -> Result<Page, StoreError> {
        self.store.read(part, from, max, want)
    }
    fn read_exact(&self, positions: &[Position]) -> Result<Vec<Option<Record>>, StoreError> {
        self.store.read_exact(positions)
    }
    fn recount(&self, live: &[(Position, u32)]) -> Result<(), StoreError> {
        self.store().recount(live)
    }
    fn bytes(&self) -> u64 {
        self.store.bytes()
    }
    fn trim(&self, part: Part, below: Sequence) -> Result<(), StoreError> {
        self.store().trim(part, below)
    }
    fn head(&self, part: Part) -> Result<Extent, StoreError> {
        self.store.head(part)
    }
    fn get(
        &self,
        bucket: &str,
        key: &[u8],
        now: SystemTime,
    ) -> Result<Option<Versioned>, StoreError> {
        self.store.get(bucket, key, now)
    }
    fn put(
        &self,
        bucket: &str,
        key: &[u8],
        value: Bytes,
        expect: Expect,
        ttl: Option<Duration>,
        now: SystemTime,
    ) -> Result<Revision, StoreError> {
        self.store().put(bucket, key, value, expect, ttl, now)
    }
    fn delete(
        &self,
        bucket: &str,
        key: &[u8],
        expect: Expect,
        now: SystemTime,
    ) -> Result<Option<Revision>, StoreError> {
        self.store().delete(bucket, key, expect, now)
    }
    fn scan(
        &self,
        bucket: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        max: usize,
        now: SystemTime,
    ) -> Result<ScanPage, StoreError> {
        self.store.scan(bucket, prefix, after, max, now)
    }
    fn watch(
        &self,
        bucket: &str,
        prefix: &[u8],
        from: WatchFrom,
        now: SystemTime,
    ) -> Result<Box<dyn Watch>, StoreError> {
        self.store.watch(bucket, prefix, from, now)
    }
    fn expire(&self, now: SystemTime) -> Result<usize, StoreError> {
        self.store().expire(now)
    }
}

#[test]
fn it_conforms_though_it_is_opened_again_and_again() {
    let folders = std::cell::RefCell::new(Vec::new());
    conformance::run(&|| {
        let folder = TempDir::new().unwrap();
        let store = DiskStore::open(folder.path(), QUICK).unwrap();
        folders.borrow_mut().push(folder);
        let writes = AtomicUsize::new(0);
        Box::new(Restless { store, writes })
    });
}

#[test]
fn nothing_is_dropped_before_a_recount() {
    let folder = TempDir::new().unwrap();
    let open = || DiskStore::open(folder.path(), QUICK).unwrap();
    let later = |hours: u64| now() + Duration::from_secs(3600 * hours);
    let store = open();
    store.commit(vec![append("a"), append("b")], now()).unwrap();
    store.commit(vec![append("c")], later(1)).unwrap();
    drop(store);
    let store = open();
    store
        .commit(vec![Write::Release(position(1)), append("d")], later(2))
        .unwrap();
    assert_eq!(store.head(PART).unwrap().first, Sequence(1));
    assert_eq!(store.parts()[0].segments.len(), 3);
    store
        .recount(&[(position(3), 2), (position(4), 1)])
        .unwrap();
    assert_eq!(store.head(PART).unwrap().first, Sequence(3));
    store
        .commit(vec![Write::Release(position(3)); 2], later(2))
        .unwrap();
    drop(store);
    let store = open();
    assert_eq!(
        store.head(PART).unwrap(),
        Extent {
            first: Sequence(4),
            next: Sequence(5)
        }
    );
}

#[test]
fn a_segment_in_the_middle_goes_before_an_older_one() {
    let folder = TempDir::new().unwrap();
    let open = || DiskStore::open(folder.path(), QUICK).unwrap();
    let store = open();
    for n in 0..4 {
        let later = now() + Duration::from_secs(3600 * n);
        store.commit(vec![append(&n.to_string())], later).unwrap();
    }
    let release = |n| vec![Write::Release(position(n))];
    store.commit(release(2), now()).unwrap();
    let there = |store: &DiskStore| -> Vec<u64> {
        let page = store.read(PART, Sequence(1), 9, &Want::All).unwrap();
        page.records
            .iter()
            .map(|(sequence, _)| sequence.0)
            .collect()
    };
    assert_eq!(there(&store), [1, 3, 4]);
    drop(store);
    let store = open();
    assert_eq!(there(&store), [1, 3, 4]);
    assert_eq!(store.read_exact(&[position(2)]), Ok(vec![None]));
    assert_eq!(store.parts()[0].segments.len(), 3);
    store
        .recount(&[(position(3), 1), (position(4), 1)])
        .unwrap();
    assert_eq!(there(&store), [3, 4]);
    assert_eq!(
        store.head(PART).unwrap().first,
        Sequence(3),
        "past the hole too"
    );
    drop(store);
    assert_eq!(there(&open()), [3, 4]);
    assert_eq!(verify(folder.path(), &mut |_| {}).unwrap().problems, []);
}

#[test]
fn many_old_segments_are_joined_by_no_tiny_ones() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    for n in 0..SEGMENTS_AGED_MAX as u64 + 9 {
        let later = now() + Duration::from_secs(3600 * n);
        store.commit(vec![append("x")], later).unwrap();
    }
    assert_eq!(store.parts()[0].segments.len(), SEGMENTS_AGED_MAX);
}

#[test]
fn a_segment_ends_when_it_is_large() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    let large = "x".repeat(8 << 20);
    let count = SEGMENT_BYTES / large.len() as u64;
    for _ in 0..count + 2 {
        store.commit(vec![append(&large)], now()).unwrap();
    }
    let segments = store.parts().remove(0).segments;
    let records: Vec<_> = segments.iter().map(|segment| segment.records).collect();
    assert_eq!(records, [count, 2]);
}

#[test]
fn buckets_are_bounded() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    let put = |n: usize| {
        let bucket = format!("b{n}");
        store.put(&bucket, b"k", Bytes::new(), Expect::Any, None, now())
    };
    for n in 0..DISK_BUCKETS_MAX {
        put(n).unwrap();
    }
    let limit = DISK_BUCKETS_MAX;
    assert_eq!(put(limit), Err(StoreError::TooManyBuckets { limit }));
    assert!(put(0).is_ok());
}

#[test]
fn readers_and_a_reopening_store_get_along() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    fill(&store, 50);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for n in 0..2000 {
                let found = store.read_exact(&[position(1 + n % 100)]).unwrap();
                assert!(found[0].is_some());
            }
        });
        while !reader.is_finished() {
            store.reopen().unwrap();
        }
    });
}
