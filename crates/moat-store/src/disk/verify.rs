//! A look at everything, and what there is: for the commands that need no running broker.

use std::fs;
use std::path::{Path, PathBuf};

use super::chunk::ChunkReader;
use super::engine::Engine;
use super::index::Segment;
use super::journal::{self, TornTail};
use super::limits::PROBLEMS_MAX;
use super::notes::{bucket_name, segment_name};
use super::open::{Format, OpenError, database};
use super::shared::Live;
use super::{DiskStore, Durability, Purpose, lock_existing, manifest, read_lock};
use crate::{Part, Sequence, StoreError};

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Files that were read: journals, lists of tables, tables.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Records of the log that are whole.
    pub records: u64,
    /// Values in buckets that are whole.
    pub values: u64,
    /// The end of the journal that a crash has left torn; the next start cuts it off. No loss: it was
    /// never acknowledged.
    pub torn: Option<TornTail>,
    /// What is wrong, at most [`PROBLEMS_MAX`].
    pub problems: Vec<Problem>,
    /// How many more problems there are.
    pub more_problems: u64,
}

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, the bucket and key, or the part and record.
    pub place: String,
    /// What is lost.
    pub lost: String,
}

/// How far [`verify`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Bytes read so far.
    pub done: u64,
    /// Bytes to read.
    pub all: u64,
}

/// Reads every file, every record and every value of a store that no broker uses, and names what is
/// wrong. Changes nothing, but for what each start does.
///
/// # Errors
/// [`OpenError`]: there is no store, it is in use, or its format is not known.
pub fn verify(
    folder: &Path,
    progress: &mut dyn FnMut(VerifyProgress),
) -> Result<Report, OpenError> {
    let (lock, format) = lock_existing(folder)?;
    let mut check = Check {
        report: Report::default(),
        done: 0,
        all: 0,
        progress,
    };
    let tables = check.lists(folder)?;
    check.journals(folder, format)?;
    let can_open = check.report.problems.is_empty();
    let damaged = check.tables(&tables);
    // The store takes the lock itself.
    drop(lock);
    if can_open {
        check.contents(folder, damaged);
    } else {
        for path in damaged {
            check.problem(path.display().to_string(), "a table".to_owned());
        }
    }
    Ok(check.report)
}

struct Check<'a> {
    report: Report,
    done: u64,
    all: u64,
    progress: &'a mut dyn FnMut(VerifyProgress),
}

impl Check<'_> {
    /// The tables of every keyspace.
    fn lists(&mut self, folder: &Path) -> Result<Vec<manifest::Table>, OpenError> {
        let mut tables = Vec::new();
        for keyspace in manifest::folders(&database(folder).join("keyspaces"))? {
            self.report.files += 1;
            match manifest::tables(&keyspace) {
                Ok(found) => tables.extend(found),
                Err(OpenError::Corrupt { place, lost }) => self.problem(place, lost),
                Err(error) => return Err(error),
            }
        }
        for table in &tables {
            // Read twice: as a file, and record by record.
            self.all += 2 * fs::metadata(&table.path).map_or(0, |metadata| metadata.len());
        }
        Ok(tables)
    }

    fn journals(&mut self, folder: &Path, format: Format) -> Result<(), OpenError> {
        let survey = journal::survey(&database(folder), &format.expected())?;
        self.report.files += survey.files.len() as u64;
        self.report.bytes += survey.bytes;
        self.report.torn = survey.torn;
        for (path, lost) in survey.damages {
            self.problem(path.display().to_string(), lost);
        }
        Ok(())
    }

    /// The tables whose bytes are not those that were written.
    fn tables(&mut self, tables: &[manifest::Table]) -> Vec<PathBuf> {
        let mut damaged = Vec::new();
        for table in tables {
            self.report.files += 1;
            let mut read = 0;
            let whole = manifest::is_whole(table, |bytes| read += bytes);
            self.report.bytes += read;
            self.advance(read);
            if !whole.unwrap_or(false) {
                damaged.push(table.path.clone());
            }
        }
        damaged
    }

    /// Every record and value, as a broker would read them.
    fn contents(&mut self, folder: &Path, damaged: Vec<PathBuf>) {
        let store = match DiskStore::open_for(folder, Purpose::Inspect) {
            Ok(store) => store,
            Err(error) => {
                let (place, lost) = match error {
                    OpenError::Corrupt { place, lost } => (place, lost),
                    error => (folder.display().to_string(), error.to_string()),
                };
                self.problem(place, lost);
                // The engine alone may know what its tables are.
                let engine = Engine::open(folder, Durability::Os);
                for path in damaged {
                    let owner = engine.as_ref().map(|engine| owner(engine, &path));
                    let owner = owner.unwrap_or_else(|_| "a table".to_owned());
                    self.problem(path.display().to_string(), owner);
                }
                return;
            }
        };
        let read = store.shared.with(|live| {
            for path in &damaged {
                self.problem(path.display().to_string(), owner(&live.engine, path));
            }
            let index = read_lock(&store.shared.index);
            for (number, part) in &index.parts {
                for (first, segment) in &part.segments {
                    self.segment(live, *number, *first, segment);
                }
            }
            for bucket in store.shared.buckets() {
                let mut last = None;
                for entry in bucket.entries_each(&live.engine) {
                    match entry {
                        Ok(entry) => {
                            self.report.values += 1;
                            last = Some(entry.key);
                        }
                        Err(StoreError::Corrupt { place, lost }) => {
                            let after = last.as_ref().map(|key| key.escape_ascii().to_string());
                            let after = after.unwrap_or_else(|| "the first".to_owned());
                            self.problem(place, format!("{lost} (after key {after})"));
                        }
                        Err(error) => self.problem(bucket.name.to_string(), error.to_string()),
                    }
                }
                self.advance(bucket.keyspace.disk_space());
            }
            Ok(())
        });
        if let Err(error) = read {
            self.problem(folder.display().to_string(), error.to_string());
        }
    }

    fn segment(&mut self, live: &Live, part: Part, first: u64, segment: &Segment) {
        let Some(keyspace) = &segment.keyspace else {
            return;
        };
        let name = segment_name(part, first);
        let place = |at: u64| format!("part {}, record {at}", part.0);
        let mut expected = first;
        let mut damaged = false;
        for entry in keyspace.iter() {
            let (key, chunk) = match entry.into_inner() {
                Ok(entry) => entry,
                Err(error) => {
                    let error = live.engine.error(&name, error);
                    self.problem(place(expected), error.to_string());
                    break;
                }
            };
            let start = <[u8; 8]>::try_from(&key[..]).map_or(0, u64::from_be_bytes);
            if start != expected && !damaged {
                let lost = format!("the records up to {}", start.saturating_sub(1));
                self.problem(place(expected), lost);
            }
            let mut reader = ChunkReader::new(part, Sequence(start), chunk.into());
            damaged = false;
            while let Some(record) = reader.read() {
                if record.is_err() {
                    let at = reader.next_sequence().0;
                    let lost = "the record, and those after it in its chunk".to_owned();
                    self.problem(place(at), lost);
                    // How many there were in the chunk, only the next one tells.
                    damaged = true;
                    break;
                }
                self.report.records += 1;
            }
            expected = reader.next_sequence().0;
        }
        if expected < segment.next && !damaged {
            let lost = format!("the records up to {}", segment.next - 1);
            self.problem(place(expected), lost);
        }
        self.advance(keyspace.disk_space());
    }

    fn problem(&mut self, place: String, lost: String) {
        if self.report.problems.len() < PROBLEMS_MAX {
            self.report.problems.push(Problem { place, lost });
        } else {
            self.report.more_problems += 1;
        }
    }

    fn advance(&mut self, bytes: u64) {
        self.done = self.all.min(self.done + bytes);
        (self.progress)(VerifyProgress {
            done: self.done,
            all: self.all,
        });
    }
}

/// What a table is a table of.
fn owner(engine: &Engine, table: &Path) -> String {
    for name in engine.names() {
        let Ok(Some(keyspace)) = engine.existing(&name) else {
            continue;
        };
        if !table.starts_with(keyspace.path()) {
            continue;
        }
        let mut fields = name.split('.');
        return match (fields.next(), fields.next(), fields.next()) {
            (Some("s"), Some(part), Some(first)) => {
                format!("some of part {part}, records from {first} on")
            }
            (Some("b"), Some(bucket), None) => format!("some of bucket {bucket}"),
            _ => format!("some of the store's own {name}"),
        };
    }
    "some of the engine's own notes".to_owned()
}

/// What is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes on disk.
    pub bytes: u64,
    /// The log.
    pub parts: Vec<PartStats>,
    /// The buckets.
    pub buckets: Vec<BucketStats>,
}

/// A part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartStats {
    /// Which.
    pub part: Part,
    /// The oldest record that was not trimmed.
    pub first: Sequence,
    /// What the next record will be.
    pub next: Sequence,
    /// Its segments, the oldest first.
    pub segments: Vec<SegmentStats>,
}

/// A segment of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentStats {
    /// Its first record.
    pub first: Sequence,
    /// How many records it has.
    pub records: u64,
    /// Their bytes; of an open store those that are in tables, and those written since the start.
    pub bytes: u64,
    /// When it was begun, in UNIX milliseconds.
    pub created_ms: u64,
    /// How many takers are not done with its records, together; known while a broker runs.
    pub takers: Option<u64>,
}

/// A bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketStats {
    /// Its name.
    pub name: String,
    /// How many keys it has.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// Counts what is in a store that no broker uses.
///
/// # Errors
/// [`OpenError`].
pub fn stats(folder: &Path) -> Result<Stats, OpenError> {
    let (lock, _) = lock_existing(folder)?;
    drop(lock);
    let store = DiskStore::open_for(folder, Purpose::Inspect)?;
    let counted = store.count();
    counted.map_err(|error| super::open_error(folder, error))
}

impl DiskStore {
    /// The log, as memory knows it; cheap.
    #[must_use]
    pub fn parts(&self) -> Vec<PartStats> {
        let index = read_lock(&self.shared.index);
        let parts = index.parts.iter().map(|(number, part)| PartStats {
            part: *number,
            first: Sequence(part.first),
            next: Sequence(part.next),
            segments: part
                .segments
                .iter()
                .filter(|(_, segment)| segment.keyspace.is_some())
                .map(|(first, segment)| SegmentStats {
                    first: Sequence(*first),
                    records: segment.next - first,
                    bytes: segment.bytes,
                    created_ms: segment.created,
                    takers: index.counted.then_some(segment.takers),
                })
                .collect(),
        });
        parts.collect()
    }

    /// Reads everything and counts it.
    fn count(&self) -> Result<Stats, StoreError> {
        let mut parts = self.parts();
        let buckets = self.shared.with(|live| {
            for part in &mut parts {
                for segment in &mut part.segments {
                    let name = segment_name(part.part, segment.first.0);
                    segment.bytes = count(live, &name)?.1;
                }
            }
            let buckets = self.shared.buckets();
            let counted = buckets.iter().map(|bucket| {
                let (keys, bytes) = count(live, &bucket_name(&bucket.name))?;
                let name = bucket.name.to_string();
                Ok(BucketStats { name, keys, bytes })
            });
            counted.collect()
        })?;
        Ok(Stats {
            bytes: self.shared.usage(),
            parts,
            buckets,
        })
    }
}

/// Keys of a keyspace, and bytes of keys and values.
fn count(live: &Live, name: &str) -> Result<(u64, u64), StoreError> {
    let (mut keys, mut bytes) = (0, 0);
    let keyspace = live.engine.existing(name)?;
    for entry in keyspace.iter().flat_map(fjall::Keyspace::iter) {
        let (key, value) = entry
            .into_inner()
            .map_err(|error| live.engine.error(name, error))?;
        keys += 1;
        bytes += (key.len() + value.len()) as u64;
    }
    Ok((keys, bytes))
}
