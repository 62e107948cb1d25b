//! Single messages of the log.

use std::sync::Arc;

use moat_core::Message;
use moat_core::durable::Position;

use super::load::LoadError;
use super::{engine_position, message};
use crate::{READ_EXACT_MAX, Store, StoreError};

/// A position that was asked for, and the message there, if the store still has one.
pub type Found = (Position, Option<Arc<Message>>);

/// The messages at `positions`, in the order asked; `None` where the store has none any more. Sorted positions are read fastest.
///
/// # Errors
/// [`LoadError::Store`], [`LoadError::DamagedRecord`].
pub fn read_messages(store: &dyn Store, positions: &[Position]) -> Result<Vec<Found>, LoadError> {
    let mut messages = Vec::with_capacity(positions.len());
    let mut publisher: Arc<str> = Arc::from("");
    while let Some(left) = positions
        .get(messages.len()..)
        .filter(|left| !left.is_empty())
    {
        let some = left.iter().take(READ_EXACT_MAX);
        let wanted: Vec<_> = some.copied().map(engine_position).collect();
        let records = store.read_exact(&wanted)?;
        if records.is_empty() {
            let cause = "it read nothing where records were asked for".to_owned();
            return Err(StoreError::Broken { cause }.into());
        }
        for (position, record) in left.iter().zip(records) {
            let Some(record) = record else {
                messages.push((*position, None));
                continue;
            };
            let (head, _) = message::decode_headers(&record.headers).map_err(|what| {
                LoadError::DamagedRecord {
                    part: position.part,
                    sequence: position.sequence,
                    what,
                }
            })?;
            let message = head.message(&record.topic, &record.payload, &mut publisher);
            messages.push((*position, Some(Arc::new(message))));
        }
    }
    Ok(messages)
}
