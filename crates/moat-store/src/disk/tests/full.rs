//! No room: by our own limit, and on a disk that is really full.

use std::process::Command;

use super::*;

#[test]
fn a_full_store_refuses_records_and_takes_what_makes_room() {
    const LIMIT: u64 = 3 * 1024 * 1024;
    let folder = TempDir::new().unwrap();
    let options = DiskOptions {
        store_bytes_max: LIMIT,
        ..QUICK
    };
    let store = DiskStore::open(folder.path(), options).unwrap();
    let text = "x".repeat(100_000);
    let mut taken = 0;
    let refused = loop {
        match store.commit(vec![append(&text)], now()) {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::Full { limit: LIMIT });
    assert!((20..=30).contains(&taken), "{taken}");
    assert!(store.bytes() <= LIMIT + 1024 * 1024);
    assert_eq!(store.head(PART).unwrap().next, Sequence(taken + 1));
    store.commit(vec![put("k", "progress")], now()).unwrap();
    let release = (1..=taken).map(|n| Write::Release(position(n))).collect();
    store
        .commit(release, now() + Duration::from_secs(3600))
        .unwrap();
    assert_eq!(store.head(PART).unwrap().first, Sequence(taken + 1));
}

/// A file system of its own, if this user may have one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(megabytes: u32) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder.path())
            .status();
        mount
            .is_ok_and(|status| status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    full_disk(6, 3);
}

#[test]
fn a_disk_that_is_too_small_for_tables_is_a_full_one() {
    full_disk(60, 20);
}

/// Fills a disk, takes the ballast away, and looks for every commit.
#[allow(clippy::print_stderr, reason = "a test that did not run says so")]
fn full_disk(megabytes: u32, ballast_megabytes: usize) {
    let Some(disk) = SmallDisk::new(megabytes) else {
        eprintln!("SKIPPED: this user may not mount a small file system");
        return;
    };
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; ballast_megabytes << 20]).unwrap();
    let store = DiskStore::open(&disk.0.path().join("store"), SAFE).unwrap();
    let text = "x".repeat(50_000);
    let writes = |at| {
        vec![
            Write::Append {
                at: Some(Sequence(at)),
                record: record(&text),
            },
            put("last", &at.to_string()),
            put(&format!("k{}", at % 9), &text),
        ]
    };
    let mut next = 1;
    let refused = loop {
        match store.commit(writes(next), now()) {
            Ok(_) => next += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, StoreError::DiskFull);
    assert!(next > 5, "{next}");
    assert_eq!(
        store.commit(writes(next), now()),
        Err(StoreError::DiskFull),
        "until it is reopened"
    );
    assert!(
        store.read_exact(&[position(1)]).unwrap()[0].is_some(),
        "reads go on"
    );
    // Opening it again may find a little room; sooner or later there is none.
    while store.reopen().is_ok() && store.commit(writes(next), now()).is_ok() {
        next += 1;
    }
    std::fs::remove_file(ballast).unwrap();
    store.reopen().unwrap();
    for at in next..next + 5 {
        assert_eq!(store.commit(writes(at), now()).unwrap(), [position(at)]);
    }
    next += 5;
    let parts = store.parts();
    let takers: u64 = parts[0]
        .segments
        .iter()
        .filter_map(|segment| segment.takers)
        .sum();
    assert_eq!(takers, next - 1, "each is counted once");
    drop(store);
    let store = DiskStore::open(&disk.0.path().join("store"), SAFE).unwrap();
    for at in 1..next {
        let found = store.read_exact(&[position(at)]).unwrap();
        assert!(
            found[0]
                .as_ref()
                .is_some_and(|found| *found.payload == *text.as_bytes())
        );
    }
    assert_eq!(store.head(PART).unwrap().next, Sequence(next));
}
