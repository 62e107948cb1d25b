//! Who may open what.

use super::*;

#[test]
fn a_second_opener_is_refused_and_the_next_is_not() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    for refused in [
        DiskStore::open(folder.path(), QUICK).err().unwrap(),
        verify(folder.path(), &mut |_| {}).err().unwrap(),
        stats(folder.path()).err().unwrap(),
    ] {
        assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    }
    drop(store);
    assert!(DiskStore::open(folder.path(), QUICK).is_ok());
}

#[test]
fn a_watch_that_outlives_its_store_does_not_keep_it_open() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    let mut watch = store.watch("b", b"", WatchFrom::Snapshot, now()).unwrap();
    drop(store);
    assert!(watch.next(Duration::ZERO).is_err());
    assert!(DiskStore::open(folder.path(), QUICK).is_ok());
}

#[test]
fn a_newer_format_is_refused_with_both_numbers() {
    let folder = TempDir::new().unwrap();
    drop(DiskStore::open(folder.path(), QUICK).unwrap());
    set_format(folder.path(), FORMAT + 1);
    let refused = DiskStore::open(folder.path(), QUICK).err().unwrap();
    let told = refused.to_string();
    assert!(
        told.contains("format 2") && told.contains("up to 1"),
        "{told}"
    );
    let refused = verify(folder.path(), &mut |_| {}).err().unwrap();
    assert!(matches!(refused, OpenError::NewerFormat { .. }));
}

#[test]
fn an_older_format_is_migrated_step_by_step() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    fill(&store, 2);
    drop(store);
    set_format(folder.path(), 0);
    let refused = DiskStore::open(folder.path(), QUICK).err().unwrap();
    assert!(matches!(
        refused,
        OpenError::OlderFormat {
            found: 0,
            known: FORMAT,
            ..
        }
    ));
    let failing = Migration {
        from: 0,
        run: |folder| {
            Err(OpenError::DiskFull {
                place: folder.display().to_string(),
            })
        },
    };
    let made_up = Migration {
        from: 0,
        run: |folder| {
            std::fs::write(folder.join("migrated"), b"yes").unwrap();
            Ok(())
        },
    };
    let open = |step| DiskStore::open_with(folder.path(), Purpose::Serve(QUICK), &[step]);
    assert!(matches!(open(failing), Err(OpenError::DiskFull { .. })));
    let store = open(made_up).unwrap();
    assert_eq!(store.opened().migrated_from, Some(0));
    assert!(folder.path().join("migrated").exists());
    assert_eq!(check_filled(&store, 2), Ok(()));
    drop(store);
    assert_eq!(open(made_up).unwrap().opened().migrated_from, None);
}

#[test]
fn a_folder_that_cannot_be_written_to_is_told() {
    // Not even root may make a folder here.
    let refused = DiskStore::open(Path::new("/sys/moat-store-test"), QUICK)
        .err()
        .unwrap();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused}");
}

#[test]
fn a_file_in_the_place_of_the_folder_is_told() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    std::fs::write(&path, b"").unwrap();
    let refused = DiskStore::open(&path, QUICK).err().unwrap();
    assert!(matches!(&refused, OpenError::Io { place, .. } if place.ends_with("store")));
}

#[test]
fn a_start_that_was_cut_short_begins_anew() {
    let folder = TempDir::new().unwrap();
    drop(DiskStore::open(folder.path(), QUICK).unwrap());
    // As if it ended before the last step of its creation, and before the first commit.
    std::fs::remove_file(folder.path().join("format")).unwrap();
    std::fs::remove_dir_all(folder.path().join("db")).unwrap();
    std::fs::create_dir_all(folder.path().join("db/keyspaces")).unwrap();
    std::fs::write(folder.path().join("db/0.jnl"), [0; 100]).unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    assert!(store.opened().created);
    fill(&store, 1);
    drop(store);
    std::fs::remove_file(folder.path().join("format")).unwrap();
    let refused = DiskStore::open(folder.path(), QUICK).err().unwrap();
    assert!(
        refused.to_string().contains("format: the file is missing"),
        "{refused}"
    );
}

#[test]
fn what_is_not_there_is_not_made_by_a_look() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store");
    assert!(matches!(
        verify(&path, &mut |_| {}),
        Err(OpenError::Missing { .. })
    ));
    assert!(matches!(stats(&path), Err(OpenError::Missing { .. })));
    assert!(!path.exists());
}

#[test]
fn stats_count_what_is_there() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), QUICK).unwrap();
    fill(&store, 10);
    assert_eq!(store.parts()[0].segments[0].takers, Some(20));
    drop(store);
    let found = stats(folder.path()).unwrap();
    assert!(found.bytes > 0);
    let part = &found.parts[0];
    assert_eq!(
        (part.part, part.first, part.next),
        (PART, Sequence(1), Sequence(21))
    );
    let segment = &part.segments[0];
    assert_eq!(
        (segment.first, segment.records, segment.takers),
        (Sequence(1), 20, None)
    );
    assert!(segment.bytes > 20 * 20);
    assert_eq!(segment.created_ms, 1_800_000_000_000);
    assert_eq!(
        (&*found.buckets[0].name, found.buckets[0].keys),
        ("things", 10)
    );
    assert_eq!(
        DiskStore::open(folder.path(), QUICK)
            .unwrap()
            .head(PART)
            .unwrap()
            .next,
        Sequence(21)
    );
}

fn set_format(folder: &Path, number: u32) {
    let format = Format::read(folder).unwrap().unwrap();
    Format { number, ..format }.write(folder).unwrap();
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/format-1")
}

#[test]
fn a_store_of_format_1_opens() {
    let folder = TempDir::new().unwrap();
    copy_folder(&fixture(), folder.path());
    let report = verify(folder.path(), &mut |_| {}).unwrap();
    assert_eq!(
        (report.problems, report.records, report.values),
        (vec![], 41, 21)
    );
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    assert_eq!(store.opened(), &Opened::default());
    assert_eq!(store.head(PART).unwrap().next, Sequence(42));
    let page = store.read(PART, Sequence(39), 9, &Want::All).unwrap();
    assert_eq!(page.records[2].1.dedup_id.as_deref(), Some(&b"id"[..]));
    let value = store.get("ending", b"k", now()).unwrap().unwrap();
    assert_eq!(value.expires_at, Some(now() + Duration::from_secs(9)));
    store.trim(PART, Sequence(42)).unwrap();
    let again = Record {
        dedup_id: Some(Bytes::from_static(b"id")),
        ..record("")
    };
    assert_eq!(store.append(vec![again]).unwrap(), [position(41)]);
}

/// Run by hand, once for each format: `cargo test -p moat-store -- --ignored writes_the_fixture`.
#[test]
#[ignore = "writes into the source tree"]
fn writes_the_fixture() {
    assert!(!fixture().exists(), "a fixture is never written again");
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    fill(&store, 10);
    flush(&store);
    for n in 10..20 {
        let text = n.to_string();
        let writes = vec![append(&text), put(&text, &text), append("second")];
        store.commit(writes, now()).unwrap();
    }
    let identified = Record {
        dedup_id: Some(Bytes::from_static(b"id")),
        ..record("identified")
    };
    store.append(vec![identified]).unwrap();
    let ttl = Some(Duration::from_secs(9));
    store
        .put(
            "ending",
            b"k",
            Bytes::from_static(b"v"),
            Expect::Any,
            ttl,
            now(),
        )
        .unwrap();
    drop(store);
    copy_folder(folder.path(), &fixture());
}
