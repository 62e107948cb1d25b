//! What the fuzz target `password_file` asserts, and the replay of its corpus.

use std::path::Path;

use super::hash::StoredHash;
use super::table::UserTable;

/// Reads any bytes as a users file: no panic, twice the same, and what a hash is written as is read as
/// the same hash. No hash is computed.
pub fn password_file(input: &[u8]) {
    let read = || UserTable::parse(Path::new("users"), input);
    let count = |table: &UserTable| (table.len(), table.warning(Path::new("users")));
    let (first, second) = (read(), read());
    assert_eq!(
        first.as_ref().map(count),
        second.as_ref().map(count),
        "the same bytes, read twice"
    );
    for line in String::from_utf8_lossy(input).lines() {
        let hash = line.rsplit_once(':').map_or(line, |(_, hash)| hash).trim();
        if let Some(stored) = StoredHash::parse(hash) {
            assert_eq!(StoredHash::parse(&stored.to_string()), Some(stored));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn password_file_corpus_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/password_file");
        let mut good = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let input = fs::read(entry.unwrap().path()).unwrap();
            password_file(&input);
            good += usize::from(UserTable::parse(Path::new("users"), &input).is_ok());
        }
        assert!(good > 0, "seeds without errors lead a fuzzer on");
    }
}
