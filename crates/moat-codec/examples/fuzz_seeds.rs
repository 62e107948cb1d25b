//! Writes the seeds of the fuzz targets, `fuzz/corpus/*`, from the packet table:
//! `cargo run -p moat-codec --example fuzz_seeds --features packet-table`.

use std::collections::HashSet;
use std::path::Path;
use std::{fs, io};

use moat_codec::packet_table::{Expect, Row, rows};
use moat_codec::{PacketType, Property};

/// Larger packets teach a fuzzer nothing a small one does not.
const SEED_BYTES_MAX: usize = 256;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let rows = rows().map_err(io::Error::other)?;
    let (mut accepted, mut round, mut refused) = (HashSet::new(), HashSet::new(), HashSet::new());
    for row in rows.iter().filter(|row| row.bytes.len() <= SEED_BYTES_MAX) {
        match row.expect {
            Expect::Ok { .. } => {
                if accepted.insert((kind(row), property(row))) {
                    write(&corpus, "decode", row)?;
                }
                if round.insert(kind(row)) {
                    write(&corpus, "roundtrip", row)?;
                }
            }
            Expect::DecodeError { variant, .. } | Expect::AliasError { variant, .. } => {
                if refused.insert(variant) {
                    write(&corpus, "decode", row)?;
                }
            }
        }
    }
    Ok(())
}

/// One seed is enough for packets that go the same way: first byte and family of versions.
fn kind(row: &Row) -> (Option<u8>, bool) {
    (row.bytes.first().copied(), row.version.is_v5())
}

/// The last byte that may be a property's identifier: tells rows about properties apart well enough.
fn property(row: &Row) -> Option<u8> {
    let is_subscribe = row.bytes.first() == Some(&PacketType::Subscribe.first_byte());
    let property = row
        .bytes
        .iter()
        .copied()
        .rev()
        .find(|byte| Property::IDS.contains(byte));
    property.filter(|_| row.version.is_v5() && !is_subscribe)
}

fn write(corpus: &Path, target: &str, row: &Row) -> io::Result<()> {
    let folder = corpus.join(target);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join(row.name), &row.bytes)
}
