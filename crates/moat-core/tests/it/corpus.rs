//! Replays `fuzz/corpus/session`, so that what a fuzzer once found stays fixed on machines without
//! one, and keeps its seeds.

use std::fs;
use std::path::PathBuf;

use moat_codec::packet_table::{Sender, rows};
use moat_core::checks;

/// Larger packets teach a fuzzer nothing a small one does not.
const SEED_BYTES_MAX: usize = 100;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/session")
}

#[test]
fn session_corpus_holds() {
    let files: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(!files.is_empty());
    for file in files {
        let input = fs::read(&file).unwrap();
        if std::panic::catch_unwind(|| checks::session(&input)).is_err() {
            panic!("the check fails for {}", file.display());
        }
    }
}

/// Every packet of the table that a client sends, followed by all that may be invented.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let mut kinds = std::collections::HashSet::new();
    let invented: Vec<u8> = (0..checks::OPERATIONS)
        .flat_map(|op| [op, 0x55, op])
        .collect();
    rows()
        .unwrap()
        .into_iter()
        .filter(|row| row.sender == Sender::Client && row.bytes.len() <= SEED_BYTES_MAX)
        .filter(|row| kinds.insert((row.bytes.first().copied(), row.version.is_v5())))
        .map(|row| {
            let chunk = checks::chunk(row.version, &row.bytes);
            (row.name.to_owned(), [&chunk[..], &invented].concat())
        })
        .collect()
}

#[test]
fn seeds_of_the_packet_table_hold() {
    for (name, seed) in seeds() {
        if std::panic::catch_unwind(|| checks::session(&seed)).is_err() {
            panic!("the check fails for {name}");
        }
    }
}

/// Writes the seeds: `cargo test -p moat-core --test it -- --ignored write_seeds`.
#[test]
#[ignore = "writes files; run by hand when the table or the operations change"]
fn write_seeds() {
    fs::create_dir_all(folder()).unwrap();
    for (name, seed) in seeds() {
        fs::write(folder().join(name), seed).unwrap();
    }
}
