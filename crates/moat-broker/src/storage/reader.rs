//! Loads: the messages that wait only in the store.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use ahash::RandomState;
use moat_core::durable::{Load, Loaded, Position};
use moat_core::{Message, ShardId};
use moat_events::Event;
use moat_store::{StoreError, layout};

use super::{Shared, Wish};
use crate::inbox::Envelope;

/// Loads that are read together: sessions that drain at once often want the same messages.
pub(super) const LOADS_JOINED_MAX: usize = 64;
/// Time until a load is tried again while the store is closed because the disk is full.
const RETRY: Duration = Duration::from_millis(200);

pub(super) struct Reader {
    shared: Arc<Shared>,
    wishes: Receiver<Wish>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, wishes: Receiver<Wish>) -> Self {
        Reader { shared, wishes }
    }

    pub(super) fn run(self) {
        loop {
            let Ok(first) = self.wishes.recv() else {
                return;
            };
            let more = self.wishes.try_iter().take(LOADS_JOINED_MAX - 1);
            let mut loads = Vec::new();
            for wish in std::iter::once(first).chain(more) {
                match wish {
                    Wish::Load(shard, load) => loads.push((shard, load)),
                    Wish::End => return,
                }
            }
            if self.serve(loads).is_none() {
                return;
            }
        }
    }

    /// Reads each message once and gives it to all who want it. None: the store has failed, or everything ends.
    fn serve(&self, loads: Vec<(ShardId, Load)>) -> Option<()> {
        let mut wanted: Vec<Position> = loads
            .iter()
            .flat_map(|(_, load)| &load.positions)
            .copied()
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let found = self.read(&wanted)?;
        let counters = &self.shared.counters;
        for (shard, load) in loads {
            let message = |position: Position| {
                let message = found.get(&position).cloned().flatten();
                (position, message)
            };
            let messages: Vec<_> = load.positions.into_iter().map(message).collect();
            let count = u64::try_from(messages.len()).unwrap_or(u64::MAX);
            counters.loaded.fetch_add(count, Ordering::Relaxed);
            let loaded = Loaded {
                to: load.to,
                messages,
            };
            self.shared.inboxes[shard.index()].send_waiting(Envelope::Loaded(Box::new(loaded)));
        }
        Some(())
    }

    fn read(
        &self,
        wanted: &[Position],
    ) -> Option<HashMap<Position, Option<Arc<Message>>, RandomState>> {
        let shared = &self.shared;
        loop {
            if shared.has_failed() {
                return None;
            }
            match layout::read_messages(&*shared.store, wanted) {
                Ok(found) => {
                    for (position, _) in found.iter().filter(|(_, message)| message.is_none()) {
                        self.missing(*position);
                    }
                    return Some(found.into_iter().collect());
                }
                Err(_) if shared.is_ending.load(Ordering::Relaxed) => return None,
                // It is closed, to be opened again when there is room.
                Err(error) if shared.is_full.load(Ordering::Relaxed) && !is_damage(&error) => {
                    std::thread::park_timeout(RETRY);
                }
                Err(error) => {
                    shared.fail(error.to_string());
                    return None;
                }
            }
        }
    }

    fn missing(&self, position: Position) {
        self.shared.counters.missing.fetch_add(1, Ordering::Relaxed);
        self.shared.events.send(Event::StoreMessageMissing {
            part: position.part.into(),
            sequence: position.sequence,
        });
    }
}

fn is_damage(error: &layout::LoadError) -> bool {
    !matches!(
        error,
        layout::LoadError::Store(
            StoreError::Broken { .. } | StoreError::Full { .. } | StoreError::DiskFull
        )
    )
}
