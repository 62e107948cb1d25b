mod damage;
mod folder;
mod full;
mod killed;
mod random;
mod reopening;

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;

use super::*;
use crate::conformance;

const PART: Part = Part(3);

const QUICK: DiskOptions = DiskOptions {
    durability: Durability::Os,
    store_bytes_max: u64::MAX,
};
const SAFE: DiskOptions = DiskOptions {
    durability: Durability::Fsync,
    store_bytes_max: u64::MAX,
};

#[test]
fn it_conforms() {
    let folders = std::cell::RefCell::new(Vec::new());
    conformance::run(&|| {
        let folder = TempDir::new().unwrap();
        let store = DiskStore::open(folder.path(), QUICK).unwrap();
        folders.borrow_mut().push(folder);
        Box::new(store)
    });
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn record(payload: &str) -> Record {
    Record {
        part: PART,
        topic: "a/topic".into(),
        headers: Bytes::from_static(b"head"),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        dedup_id: None,
        takers: 1,
    }
}

fn append(payload: &str) -> Write {
    Write::Append {
        at: None,
        record: record(payload),
    }
}

fn put(key: &str, value: &str) -> Write {
    Write::Put {
        bucket: "things",
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    }
}

fn position(sequence: u64) -> Position {
    Position {
        part: PART,
        sequence: Sequence(sequence),
    }
}

/// `count` commits of a few records and a value each.
fn fill(store: &DiskStore, count: usize) {
    for n in 0..count {
        let text = format!("{n} {}", "x".repeat(n * 7 % 60));
        let writes = vec![append(&text), put(&n.to_string(), &text), append("second")];
        store.commit(writes, now()).unwrap();
    }
}

/// Whether the store has exactly the first `count` commits of [`fill`]; else what is wrong.
fn check_filled(store: &DiskStore, count: usize) -> Result<(), String> {
    let page = store.read(PART, Sequence::FIRST, 10_000, &Want::All);
    let page = page.map_err(|error| error.to_string())?;
    let scan = store.scan("things", b"", None, 4096, now());
    let scan = scan.map_err(|error| error.to_string())?;
    if (page.records.len(), scan.entries.len()) != (2 * count, count) {
        let found = (page.records.len(), scan.entries.len());
        return Err(format!("{found:?} records and values, not {count}"));
    }
    for n in 0..count {
        let text = format!("{n} {}", "x".repeat(n * 7 % 60));
        let value = store.get("things", n.to_string().as_bytes(), now());
        let value = value.map_err(|error| error.to_string())?;
        let same = value.is_some_and(|value| *value.value == *text.as_bytes());
        if page.records[2 * n].1 != record(&text) || !same {
            return Err(format!("commit {n} has changed"));
        }
    }
    Ok(())
}

/// Moves everything from the journal into tables.
fn flush(store: &DiskStore) {
    let flushed = store.shared.with(|live| {
        for name in live.engine.names() {
            let keyspace = live.engine.existing(&name)?.unwrap();
            keyspace.rotate_memtable_and_wait().unwrap();
        }
        Ok(())
    });
    flushed.unwrap();
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let beside = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &beside);
        } else {
            // Without the room that journals reserve.
            let mut bytes = std::fs::read(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                let used = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                bytes.truncate(used);
            }
            std::fs::write(beside, bytes).unwrap();
        }
    }
}

/// The newest journal.
fn journal_of(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder.join("db")).unwrap();
    let journals = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"));
    journals
        .max_by_key(|path| {
            path.file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .parse::<u64>()
                .unwrap()
        })
        .unwrap()
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}
