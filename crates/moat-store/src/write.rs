//! What one commit can do.

use bytes::Bytes;

use crate::{
    DEDUP_ID_BYTES_MAX, Position, RECORD_BYTES_MAX, Record, Sequence, StoreError, check_bucket,
    check_key, check_value,
};

/// Most writes in one commit.
pub const COMMIT_WRITES_MAX: usize = 65_536;
/// Most bytes in one commit: records, keys and values.
pub const COMMIT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// One change of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// A record of the log.
    Append {
        /// Where it goes. The next of its part: it is stored. One before: it is there already, and
        /// nothing happens. One after: [`StoreError::Gap`]. `None`: it is the next.
        at: Option<Sequence>,
        /// The record.
        record: Record,
    },
    /// Sets the value of a key, whatever is there; it has no end.
    Put {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a key, if it is there.
    Delete {
        /// The bucket.
        bucket: &'static str,
        /// The key.
        key: Bytes,
    },
    /// Removes every key that begins so, those of this commit included. It has to look, so it costs
    /// more than the others.
    DeletePrefix {
        /// The bucket.
        bucket: &'static str,
        /// How the keys begin.
        prefix: Bytes,
    },
    /// One taker of a record is done with it.
    Release(Position),
}

impl Write {
    /// What counts against the bounds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Append { record, .. } => record.size(),
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } => key.len(),
            Self::DeletePrefix { prefix, .. } => prefix.len(),
            Self::Release(_) => 0,
        }
    }

    fn check(&self, index: usize) -> Result<(), StoreError> {
        match self {
            Self::Append { record, .. } => {
                let bytes = record.size();
                let id = record.dedup_id.as_ref().map_or(0, Bytes::len);
                if bytes > RECORD_BYTES_MAX || id > DEDUP_ID_BYTES_MAX {
                    return Err(StoreError::RecordTooLarge { index, bytes });
                }
                Ok(())
            }
            Self::Put { bucket, key, value } => {
                check_bucket(bucket)?;
                check_key(key)?;
                check_value(value)
            }
            Self::Delete { bucket, key } => {
                check_bucket(bucket)?;
                check_key(key)
            }
            Self::DeletePrefix { bucket, prefix } => {
                check_bucket(bucket)?;
                check_key(prefix)
            }
            Self::Release(_) => Ok(()),
        }
    }
}

/// Checks a commit against the bounds, for implementations.
///
/// # Errors
/// [`StoreError::CommitTooLarge`], and the bounds of records, names, keys and values.
pub fn check_commit(writes: &[Write]) -> Result<(), StoreError> {
    let mut bytes = 0;
    for (index, write) in writes.iter().enumerate() {
        write.check(index)?;
        bytes += write.size();
    }
    if writes.len() > COMMIT_WRITES_MAX || bytes > COMMIT_BYTES_MAX {
        return Err(StoreError::CommitTooLarge {
            writes: writes.len(),
            bytes,
        });
    }
    Ok(())
}
