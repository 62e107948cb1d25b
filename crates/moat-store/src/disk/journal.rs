//! A look at the engine's journals before it opens them.
//!
//! The engine ends a journal at the first byte that it does not understand, in silence, and cuts
//! the file there. That is right for the end of the newest journal, where a batch was cut off by a
//! crash: it was never acknowledged. It is loss anywhere else. So the journals are read first: a
//! whole batch behind a broken one means that the broken one had been whole.
//!
//! The first item of every batch holds the store's mark, random bytes that nobody else knows: a payload
//! that looks like a batch is not taken for one.
//!
//! A journal is a row of batches: a start (tag 1, number of items, sequence number), its items
//! (tag 2 for a key and its value, tag 4 for a keyspace that was emptied), and an end (tag 3, the
//! checksum of the items, four bytes that close it). Zeros follow the last: room reserved in advance.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use rustix::fs::SeekFrom;
use rustix::io::Errno;
use xxhash_rust::xxh3::xxh3_64;

use super::limits::JOURNAL_FILE_BYTES_MAX;
use super::open::{OpenError, failed};

const CLOSING: &[u8] = b"FJL\x03";
const START_BYTES: usize = 1 + 4 + 8;
const ITEM_HEAD_BYTES: usize = 1 + 1 + 1 + 8 + 2 + 4 + 4;
const CLEAR_BYTES: usize = 1 + 8;
/// The key of a batch's first item, whose value is the mark.
pub(super) const MARK_KEY: &[u8] = b"k";
pub(super) const MARK_BYTES: usize = 16;
/// Where a batch has its mark.
const MARK_AT: usize = START_BYTES + ITEM_HEAD_BYTES + MARK_KEY.len();
const END_BYTES: usize = 1 + 8 + CLOSING.len();

/// A batch that was not whole at the end of the newest journal, and is no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The journal.
    pub file: PathBuf,
    /// Where it was cut, in bytes.
    pub at: u64,
    /// How many bytes were dropped.
    pub bytes: u64,
    /// How many whole batches were among them; only possible with [`super::Durability::Os`].
    pub whole_batches: usize,
}

/// Journals of a store, the oldest first, and what is wrong with them.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) files: Vec<PathBuf>,
    pub(super) batches: u64,
    pub(super) bytes: u64,
    /// What may be dropped.
    pub(super) torn: Option<TornTail>,
    /// What may not: file and what is lost.
    pub(super) damages: Vec<(PathBuf, String)>,
}

/// What the journals of a store are like.
pub(super) struct Expected {
    pub(super) mark: [u8; MARK_BYTES],
    /// Each batch was synced before the next was written, so nothing whole can lie behind a batch that
    /// is not.
    pub(super) in_order: bool,
}

/// Reads every journal in `folder`.
pub(super) fn survey(folder: &Path, expected: &Expected) -> Result<Survey, OpenError> {
    let mut survey = Survey::default();
    let numbers = numbers(folder)?;
    for pair in numbers.windows(2) {
        if pair[1] != pair[0] + 1 {
            let missing = folder.join(format!("{}.jnl", pair[0] + 1));
            let lost = "the journal is missing, with every write in it".to_owned();
            survey.damages.push((missing, lost));
        }
    }
    if numbers.is_empty() {
        let lost = "there is no journal: the latest writes are lost".to_owned();
        survey.damages.push((folder.to_path_buf(), lost));
    }
    let mut last_seqno = None;
    for (index, number) in numbers.iter().enumerate() {
        let path = folder.join(format!("{number}.jnl"));
        let bytes = read(&path)?;
        let newest = index + 1 == numbers.len();
        let (batches, end) = whole_batches(&bytes, &mut last_seqno);
        survey.batches += batches;
        survey.bytes += end as u64;
        if !is_zero(&bytes[end..]) {
            survey.judge(&path, &bytes, end, newest, expected);
        }
        survey.files.push(path);
    }
    Ok(survey)
}

/// Cuts a torn tail off, durably.
pub(super) fn cut(torn: &TornTail) -> Result<(), OpenError> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(&torn.file)?;
        file.set_len(torn.at)?;
        file.sync_all()
    };
    cut().map_err(|error| failed(&torn.file, &error))
}

impl Survey {
    /// `bytes` are no whole batch at `end`, and not zeros.
    fn judge(&mut self, path: &Path, bytes: &[u8], end: usize, newest: bool, expected: &Expected) {
        let behind = batches_behind(&bytes[end..], &expected.mark);
        if newest && (behind == 0 || !expected.in_order) {
            let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
            self.torn = Some(TornTail {
                file: path.to_path_buf(),
                at: end as u64,
                bytes: (used - end) as u64,
                whole_batches: behind,
            });
        } else {
            let lost = format!(
                "the batch at byte {end} is damaged, {behind} whole batches follow it: what it wrote is lost"
            );
            self.damages.push((path.to_path_buf(), lost));
        }
    }
}

fn numbers(folder: &Path) -> Result<Vec<u64>, OpenError> {
    let mut numbers = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|error| failed(folder, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed(folder, &error))?;
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "jnl") {
            continue;
        }
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        numbers.push(number.ok_or_else(|| OpenError::Corrupt {
            place: path.display().to_string(),
            lost: "no journal has such a name; move it away".to_owned(),
        })?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A journal up to its last byte that was ever written: the room reserved behind it is a hole.
fn read(path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut bytes = Vec::new();
    let mut read = || {
        let mut file = File::open(path)?;
        let end = end_of_data(&file)?.min(JOURNAL_FILE_BYTES_MAX);
        file.rewind()?;
        file.take(end).read_to_end(&mut bytes)
    };
    read().map_err(|error| failed(path, &error))?;
    Ok(bytes)
}

fn end_of_data(file: &File) -> std::io::Result<u64> {
    let mut end = 0;
    loop {
        match rustix::fs::seek(file, SeekFrom::Data(end)) {
            Ok(data) => end = rustix::fs::seek(file, SeekFrom::Hole(data))?,
            Err(Errno::NXIO) => return Ok(end),
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes
        .chunks(ZEROS.len())
        .all(|chunk| chunk == &ZEROS[..chunk.len()])
}

/// How many whole batches `bytes` begin with, and where they end.
fn whole_batches(bytes: &[u8], last_seqno: &mut Option<u64>) -> (u64, usize) {
    let (mut count, mut end) = (0, 0);
    while let Some(batch) = batch(&bytes[end..]) {
        // Sequence numbers rise; they are the only thing that no checksum covers.
        if last_seqno.is_some_and(|last| batch.seqno <= last) {
            break;
        }
        *last_seqno = Some(batch.seqno);
        end += batch.length;
        count += 1;
    }
    (count, end)
}

/// How many whole batches begin somewhere behind the start of `bytes`.
fn batches_behind(bytes: &[u8], mark: &[u8; MARK_BYTES]) -> usize {
    let marked = bytes
        .windows(MARK_BYTES)
        .enumerate()
        .filter(|(_, bytes)| bytes == mark);
    let starts = marked.filter_map(|(at, _)| at.checked_sub(MARK_AT));
    starts
        .filter(|start| batch(&bytes[*start..]).is_some())
        .count()
}

#[derive(Debug, PartialEq, Eq)]
struct Batch {
    seqno: u64,
    length: usize,
}

/// The batch that `bytes` begin with, if it is whole.
fn batch(bytes: &[u8]) -> Option<Batch> {
    let start = bytes.get(..START_BYTES).filter(|start| start[0] == 1)?;
    let items = u32::from_le_bytes(start[1..5].try_into().ok()?);
    let seqno = u64::from_le_bytes(start[5..].try_into().ok()?);
    let mut at = START_BYTES;
    for _ in 0..items {
        at = at.checked_add(item(bytes.get(at..)?)?)?;
    }
    let end = bytes.get(at..at + END_BYTES).filter(|end| end[0] == 3)?;
    let sum = u64::from_le_bytes(end[1..9].try_into().ok()?);
    let whole = &end[9..] == CLOSING && xxh3_64(&bytes[START_BYTES..at]) == sum;
    whole.then_some(Batch {
        seqno,
        length: at + END_BYTES,
    })
}

/// The length of the item that `bytes` begin with.
fn item(bytes: &[u8]) -> Option<usize> {
    match bytes.first()? {
        2 => {
            let head = bytes.get(..ITEM_HEAD_BYTES)?;
            let key = u16::from_le_bytes(head[11..13].try_into().ok()?);
            let value = u32::from_le_bytes(head[17..21].try_into().ok()?);
            let length = ITEM_HEAD_BYTES + usize::from(key);
            length.checked_add(usize::try_from(value).ok()?)
        }
        4 => Some(CLEAR_BYTES),
        _ => None,
    }
}

/// Where each whole batch ends.
#[cfg(test)]
pub(super) fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut end = 0;
    while let Some(batch) = batch(&bytes[end..]) {
        end += batch.length;
        ends.push(end);
    }
    ends
}

/// A batch with the checksum of what it holds.
#[cfg(test)]
pub(super) fn resealed(batch: &[u8]) -> Vec<u8> {
    let mut sealed = batch.to_vec();
    let end = sealed.len() - END_BYTES;
    let sum = xxh3_64(&sealed[START_BYTES..end]);
    sealed[end + 1..end + 9].copy_from_slice(&sum.to_le_bytes());
    sealed
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: [u8; MARK_BYTES] = *b"0123456789abcdef";

    fn journal(batches: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        for seqno in 1..=batches {
            bytes.push(1);
            bytes.extend(1u32.to_le_bytes());
            bytes.extend(seqno.to_le_bytes());
            let start = bytes.len();
            bytes.extend([2, 0, 0]);
            bytes.extend(7u64.to_le_bytes());
            bytes.extend(1u16.to_le_bytes());
            bytes.extend(16u32.to_le_bytes());
            bytes.extend(16u32.to_le_bytes());
            bytes.extend(b"k");
            bytes.extend(MARK);
            let sum = xxh3_64(&bytes[start..]);
            bytes.push(3);
            bytes.extend(sum.to_le_bytes());
            bytes.extend(CLOSING);
        }
        bytes
    }

    #[test]
    fn every_flipped_byte_ends_the_whole_batches() {
        let bytes = journal(3);
        let length = bytes.len() / 3;
        assert_eq!(whole_batches(&bytes, &mut None), (3, bytes.len()));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x40;
            // A sequence number may rise by any step: only the order of the batches is lost then.
            if at % length >= 5 && at % length < START_BYTES {
                continue;
            }
            let (whole, end) = whole_batches(&flipped, &mut None);
            assert_eq!((whole, end), ((at / length) as u64, at / length * length));
            assert_eq!(
                batches_behind(&flipped[end..], &MARK),
                2 - at / length,
                "{at}"
            );
        }
    }

    #[test]
    fn a_sequence_number_that_falls_is_damage() {
        let mut bytes = journal(3);
        let length = bytes.len() / 3;
        bytes[5] = 200;
        assert_eq!(whole_batches(&bytes, &mut None), (1, length));
    }

    #[test]
    fn a_batch_without_the_mark_is_none() {
        assert_eq!(batches_behind(&journal(1), &MARK), 1);
        assert_eq!(batches_behind(&journal(1), &[7; MARK_BYTES]), 0);
    }

    #[test]
    fn a_cut_batch_is_a_torn_tail() {
        let bytes = journal(2);
        for cut in bytes.len() / 2 + 1..bytes.len() {
            let mut rest = bytes[..cut].to_vec();
            rest.extend([0; 99]);
            let (whole, end) = whole_batches(&rest, &mut None);
            assert_eq!((whole, batches_behind(&rest[end..], &MARK)), (1, 0));
        }
    }
}
