//! The engine's lists of tables, checked before it trusts them.
//!
//! Each keyspace has a folder: `current` names the latest list of tables, `vN`, and its checksum;
//! the engine does not compare it. The list has the checksum of each table.

use std::io::Read;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::open::{OpenError, failed};

/// A table file, and what its bytes have to add up to.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) path: PathBuf,
    pub(super) checksum: u128,
}

/// A folder of a keyspace.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) id: u64,
    pub(super) path: PathBuf,
}

/// The folders of all keyspaces under `keyspaces`, in order of their numbers.
pub(super) fn folders(keyspaces: &Path) -> Result<Vec<Folder>, OpenError> {
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(keyspaces).map_err(|error| failed(keyspaces, &error))? {
        let entry = entry.map_err(|error| failed(keyspaces, &error))?;
        let path = entry.path();
        let id = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok());
        let Some(id) = id.filter(|_| path.is_dir()) else {
            return Err(OpenError::Corrupt {
                place: path.display().to_string(),
                lost: "this is not the store's; move it away".to_owned(),
            });
        };
        folders.push(Folder { id, path });
    }
    folders.sort_by_key(|folder| folder.id);
    Ok(folders)
}

/// The tables of a keyspace; none if it was never finished, or is being deleted.
pub(super) fn tables(folder: &Folder) -> Result<Vec<Table>, OpenError> {
    let current = folder.path.join("current");
    let bytes = match std::fs::read(&current) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&current, &error)),
    };
    let damaged = |path: &Path| OpenError::Corrupt {
        place: path.display().to_string(),
        lost: "the list of the tables of a keyspace, and so all that is in them".to_owned(),
    };
    let (version, sum) = parse_current(&bytes).ok_or_else(|| damaged(&current))?;
    let path = folder.path.join(format!("v{version}"));
    let bytes = std::fs::read(&path).map_err(|_| damaged(&current))?;
    if xxh3_128(&bytes) != sum {
        return Err(damaged(&path));
    }
    let tables = list(&path, &folder.path.join("tables"));
    tables.ok_or_else(|| damaged(&path))
}

/// Whether the bytes of a table are those that were written.
pub(super) fn is_whole(table: &Table, mut progress: impl FnMut(u64)) -> std::io::Result<bool> {
    let mut file = std::fs::File::open(&table.path)?;
    let mut sum = Xxh3::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(sum.digest128() == table.checksum);
        }
        sum.update(&buffer[..read]);
        progress(read as u64);
    }
}

fn parse_current(bytes: &[u8]) -> Option<(u64, u128)> {
    let version = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let sum = u128::from_le_bytes(bytes.get(8..24)?.try_into().ok()?);
    (bytes.get(24..)? == [0]).then_some((version, sum))
}

fn list(path: &Path, tables: &Path) -> Option<Vec<Table>> {
    let archive = sfa::Reader::new(path).ok()?;
    let mut section = archive.toc().section(b"tables")?.buf_reader(path).ok()?;
    let mut found = Vec::new();
    for _ in 0..number::<1>(&mut section)? {
        for _ in 0..number::<1>(&mut section)? {
            for _ in 0..number::<4>(&mut section)? {
                let id = number::<8>(&mut section)?;
                let _kind_of_checksum = number::<1>(&mut section)?;
                let low = number::<8>(&mut section)?;
                let high = number::<8>(&mut section)?;
                let _seqno = number::<8>(&mut section)?;
                found.push(Table {
                    path: tables.join(id.to_string()),
                    checksum: u128::from(high) << 64 | u128::from(low),
                });
            }
        }
    }
    Some(found)
}

fn number<const N: usize>(reader: &mut impl Read) -> Option<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes[..N]).ok()?;
    Some(u64::from_le_bytes(bytes))
}
