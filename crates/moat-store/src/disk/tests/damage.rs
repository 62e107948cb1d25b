//! Torn ends, flipped bytes, missing files: named, never skipped.

use super::*;

const COMMITS: usize = 12;

/// A closed store with [`COMMITS`] commits, its journal without reserved room.
fn filled(options: DiskOptions) -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), options).unwrap();
    fill(&store, COMMITS);
    drop(store);
    let copy = TempDir::new().unwrap();
    copy_folder(folder.path(), copy.path());
    copy
}

/// A copy in which the newest journal was changed.
fn with_journal(folder: &TempDir, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let copy = TempDir::new().unwrap();
    copy_folder(folder.path(), copy.path());
    let journal = journal_of(copy.path());
    let mut bytes = std::fs::read(&journal).unwrap();
    change(&mut bytes);
    std::fs::write(journal, bytes).unwrap();
    copy
}

fn corrupt(opened: Result<DiskStore, OpenError>) -> String {
    match opened {
        Err(error @ OpenError::Corrupt { .. }) => error.to_string(),
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("damage was not seen"),
    }
}

fn quiet() -> impl FnMut(VerifyProgress) {
    |_| {}
}

#[test]
fn a_torn_end_takes_only_the_commit_that_was_cut() {
    let folder = filled(SAFE);
    let journal = std::fs::read(journal_of(folder.path())).unwrap();
    let ends = journal::ends(&journal);
    let (last, end) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    assert_eq!(end, journal.len());
    for (turn, cut) in (last + 1..end).step_by(23).chain([end - 1]).enumerate() {
        let torn = with_journal(&folder, |bytes| {
            bytes.truncate(cut);
            // As if the room was reserved in advance, every second time.
            if turn % 2 == 1 {
                bytes.extend([0; 5000]);
            }
        });
        let store = DiskStore::open(torn.path(), SAFE).unwrap();
        let told = store.opened().torn.clone().unwrap();
        assert_eq!((told.at, told.whole_batches), (last as u64, 0));
        assert_eq!(check_filled(&store, COMMITS - 1), Ok(()), "cut at {cut}");
        // And it goes on from there.
        assert_eq!(
            store.commit(vec![append("new")], now()).unwrap(),
            [position(2 * COMMITS as u64 - 1)]
        );
        drop(store);
        let store = DiskStore::open(torn.path(), SAFE).unwrap();
        assert_eq!(store.opened().torn, None);
        assert_eq!(store.head(PART).unwrap().next, Sequence(2 * COMMITS as u64));
    }
}

#[test]
fn holes_in_the_last_commit_take_it_whole() {
    let folder = filled(SAFE);
    let journal = std::fs::read(journal_of(folder.path())).unwrap();
    let ends = journal::ends(&journal);
    let (last, end) = (ends[ends.len() - 2], ends[ends.len() - 1]);
    for at in (last..end - 16).step_by(31) {
        let torn = with_journal(&folder, |bytes| bytes[at..at + 16].fill(0));
        if std::fs::read(journal_of(torn.path())).unwrap() == journal {
            continue;
        }
        let store = DiskStore::open(torn.path(), SAFE).unwrap();
        assert_eq!(check_filled(&store, COMMITS - 1), Ok(()), "hole at {at}");
    }
}

#[test]
fn a_flipped_byte_inside_the_journal_is_named() {
    let folder = filled(SAFE);
    let journal = std::fs::read(journal_of(folder.path())).unwrap();
    let ends = journal::ends(&journal);
    let last = ends[ends.len() - 2];
    for at in (0..last).step_by(61) {
        let flipped = with_journal(&folder, |bytes| bytes[at] ^= 0x10);
        let told = corrupt(DiskStore::open(flipped.path(), SAFE));
        assert!(told.contains(".jnl: the batch at byte"), "{told}");
        let report = verify(flipped.path(), &mut quiet()).unwrap();
        assert!(report.problems[0].place.ends_with(".jnl"), "byte {at}");
    }
}

#[test]
fn a_hole_is_only_told_if_commits_were_not_synced() {
    let folder = filled(QUICK);
    let ends = journal::ends(&std::fs::read(journal_of(folder.path())).unwrap());
    let (hole, cut) = (ends[ends.len() - 4], 3);
    let holed = with_journal(&folder, |bytes| bytes[hole + 40] ^= 1);
    let store = DiskStore::open(holed.path(), SAFE).unwrap();
    let told = store.opened().torn.clone().unwrap();
    assert_eq!((told.at, told.whole_batches), (hole as u64, cut - 1));
    assert_eq!(check_filled(&store, COMMITS - cut), Ok(()));
    drop(store);
    // From now on its commits are synced, and it knows.
    let store = DiskStore::open(holed.path(), SAFE).unwrap();
    assert_eq!(store.opened().torn, None);
}

#[test]
fn a_payload_that_looks_like_a_commit_is_none() {
    let folder = filled(SAFE);
    let journal = std::fs::read(journal_of(folder.path())).unwrap();
    let ends = journal::ends(&journal);
    let mut forged = journal[ends[0]..ends[1]].to_vec();
    let mark = Format::read(folder.path()).unwrap().unwrap().mark;
    let at = forged
        .windows(mark.len())
        .position(|bytes| *bytes == mark)
        .unwrap();
    forged[at] ^= 1;
    let forged = journal::resealed(&forged);
    let torn = with_journal(&folder, |bytes| {
        let cut = bytes.len() - 10;
        bytes.truncate(cut);
        bytes.extend(&forged);
    });
    let store = DiskStore::open(torn.path(), SAFE).unwrap();
    assert_eq!(check_filled(&store, COMMITS - 1), Ok(()));
}

#[test]
fn a_missing_journal_is_named() {
    let folder = filled(SAFE);
    let journal = journal_of(folder.path());
    std::fs::rename(&journal, folder.path().join("db/7.jnl")).unwrap();
    std::fs::copy(
        folder.path().join("db/7.jnl"),
        folder.path().join("db/5.jnl"),
    )
    .unwrap();
    let told = corrupt(DiskStore::open(folder.path(), SAFE));
    assert!(told.contains("6.jnl: the journal is missing"), "{told}");
    std::fs::remove_file(folder.path().join("db/5.jnl")).unwrap();
    std::fs::remove_file(folder.path().join("db/7.jnl")).unwrap();
    let told = corrupt(DiskStore::open(folder.path(), SAFE));
    assert!(told.contains("there is no journal"), "{told}");
}

/// A closed store with everything in tables.
fn flushed() -> TempDir {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    fill(&store, COMMITS);
    flush(&store);
    drop(store);
    let copy = TempDir::new().unwrap();
    copy_folder(folder.path(), copy.path());
    copy
}

#[test]
fn a_flipped_byte_in_any_file_is_named_by_verify() {
    let folder = flushed();
    let all = verify(folder.path(), &mut quiet()).unwrap();
    assert_eq!(
        (all.problems, all.records, all.values),
        (vec![], 2 * COMMITS as u64, COMMITS as u64)
    );
    for path in files_under(&folder.path().join("db/keyspaces")) {
        if is_outdated(&path) {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        for at in [bytes.len() / 9, bytes.len() / 2, bytes.len() - 1] {
            let copy = TempDir::new().unwrap();
            copy_folder(folder.path(), copy.path());
            let beside = copy.path().join(path.strip_prefix(folder.path()).unwrap());
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x04;
            std::fs::write(&beside, flipped).unwrap();
            let report = verify(copy.path(), &mut quiet()).unwrap();
            let name = beside.display().to_string();
            let parent = beside.parent().unwrap().display().to_string();
            assert!(
                report
                    .problems
                    .iter()
                    .any(|problem| problem.place == name || problem.place.starts_with(&parent)),
                "{name} at {at}: {report:?}"
            );
            // A broker says so, or reads what was written.
            if let Ok(store) = DiskStore::open(copy.path(), SAFE)
                && let Err(told) = check_filled(&store, COMMITS)
            {
                assert!(told.contains("damaged"), "{name} at {at}: {told}");
            }
        }
    }
}

/// A list of tables that was replaced and is yet to be removed.
fn is_outdated(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_str().unwrap();
    let current = std::fs::read(path.with_file_name("current")).unwrap_or(vec![0; 8]);
    let current = u64::from_le_bytes(current[..8].try_into().unwrap());
    name.starts_with('v') && name != format!("v{current}")
}

#[test]
fn verify_says_what_a_table_was_a_table_of() {
    let folder = flushed();
    let keyspaces = folder.path().join("db/keyspaces");
    let tables = files_under(&keyspaces);
    for path in tables
        .iter()
        .filter(|path| path.parent().unwrap().ends_with("tables"))
    {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[20] ^= 1;
        std::fs::write(path, bytes).unwrap();
    }
    let report = verify(folder.path(), &mut quiet()).unwrap();
    let text = format!("{:?}", report.problems);
    // The engine's own notes are among them, so the names may not be known.
    assert!(report.problems.len() >= 4, "{text}");
    let folder = flushed();
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    let (_, tables) = segment_tables(&store);
    drop(store);
    let mut bytes = std::fs::read(&tables).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&tables, bytes).unwrap();
    let report = verify(folder.path(), &mut quiet()).unwrap();
    let text = format!("{:?}", report.problems);
    assert!(text.contains("part 3, records from 1 on"), "{text}");
}

/// The first segment's folder and a table of it.
fn segment_tables(store: &DiskStore) -> (PathBuf, PathBuf) {
    let found = store.shared.with(|live| {
        let keyspace = live.engine.existing("s.3.1")?.unwrap();
        let folder = keyspace.path().to_path_buf();
        let table = files_under(&folder.join("tables")).remove(0);
        Ok((folder, table))
    });
    found.unwrap()
}

#[test]
fn a_missing_folder_is_named() {
    let folder = flushed();
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    let (segment, _) = segment_tables(&store);
    drop(store);
    std::fs::remove_dir_all(segment).unwrap();
    let told = corrupt(DiskStore::open(folder.path(), SAFE));
    assert!(
        told.contains("keyspace s.3.1: its folder is missing"),
        "{told}"
    );
    std::fs::remove_dir_all(folder.path().join("db")).unwrap();
    let told = corrupt(DiskStore::open(folder.path(), SAFE));
    assert!(told.contains("db: the folder is missing"), "{told}");
}

#[test]
fn a_damaged_record_and_value_are_named() {
    let folder = TempDir::new().unwrap();
    let store = DiskStore::open(folder.path(), SAFE).unwrap();
    fill(&store, 3);
    // Past the engine, whose own checksums would see it first.
    let spoiled = store.shared.with(|live| {
        for (name, key) in [
            ("s.3.1", 3u64.to_be_bytes().to_vec()),
            ("b.things", b"1".to_vec()),
        ] {
            let keyspace = live.engine.existing(name)?.unwrap();
            let mut bytes = keyspace.get(&key).unwrap().unwrap().to_vec();
            *bytes.last_mut().unwrap() ^= 1;
            keyspace.insert(&key, bytes).unwrap();
        }
        Ok(())
    });
    spoiled.unwrap();
    let told = store.read_exact(&[position(4)]).unwrap_err().to_string();
    assert!(told.contains("part 3, record 4"), "{told}");
    assert!(
        store
            .read_exact(&[position(1), position(3), position(5)])
            .is_ok()
    );
    let told = store.get("things", b"1", now()).unwrap_err().to_string();
    assert!(told.contains("bucket things, key 1: its value"), "{told}");
    assert!(store.read(PART, Sequence(1), 9, &Want::All).is_err());
    assert!(store.scan("things", b"", None, 9, now()).is_err());
    drop(store);
    let places: Vec<_> = verify(folder.path(), &mut quiet())
        .unwrap()
        .problems
        .into_iter()
        .map(|problem| problem.place)
        .collect();
    assert_eq!(places, ["part 3, record 4", "bucket things, key 1"]);
}
