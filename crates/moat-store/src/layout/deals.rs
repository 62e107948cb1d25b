//! Deals whose record is gone.

use bytes::Bytes;
use moat_core::Time;

use super::keys;
use super::load::{LoadError, PARTS_MAX, damaged, wall_clock};
use crate::{Part, SCAN_KEYS_MAX, Store, Write};

/// Removes the deals of records that the log has dropped. Returns how many they were.
///
/// # Errors
/// [`LoadError`]; what is left can be removed later.
pub fn forget_deals(store: &dyn Store, now: Time) -> Result<usize, LoadError> {
    let now = wall_clock(now);
    let mut removed = 0;
    for part in 0..PARTS_MAX {
        let extent = store.head(Part(part))?;
        loop {
            let page = store.scan(keys::DEALS, &part.to_be_bytes(), None, SCAN_KEYS_MAX, now)?;
            let mut writes = Vec::new();
            for entry in &page.entries {
                let deal = keys::deal(&entry.key).map_err(damaged(keys::DEALS, &entry.key))?;
                if deal.position.sequence >= extent.first.0 {
                    break;
                }
                writes.push(Write::Delete {
                    bucket: keys::DEALS,
                    key: Bytes::copy_from_slice(&entry.key),
                });
            }
            let is_last = writes.len() < page.entries.len() || !page.more;
            if writes.is_empty() {
                break;
            }
            removed += writes.len();
            store.commit(writes, now)?;
            if is_last {
                break;
            }
        }
    }
    Ok(removed)
}
