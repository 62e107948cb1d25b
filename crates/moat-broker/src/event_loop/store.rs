//! To the store: what this turn made durable, and what it wants back.

use std::sync::Arc;

use super::EventLoop;

impl EventLoop {
    /// Tells the shard how the store is.
    pub(super) fn note_store(&mut self) {
        if let Some(storage) = &self.common.storage {
            self.shard.set_store_state(storage.state(self.shard.id()));
        }
    }

    /// Hands in the batch of this turn, and the loads there is room for; the rest is tried again.
    pub(super) fn store(&mut self) {
        let Some(storage) = self.common.storage.clone() else {
            return;
        };
        self.shard.finish_turn(self.now, &mut self.fx);
        if let Some(batch) = self.fx.journal.take() {
            storage.submit(self.shard.id(), batch);
        }
        let mut loads = std::mem::take(&mut self.fx.loads).into_iter();
        for load in loads.by_ref() {
            if let Err(load) = storage.load(self.shard.id(), load) {
                self.fx.loads.push(load);
                break;
            }
        }
        self.fx.loads.extend(loads);
    }

    /// Nobody is connected any more: what would be written soon is written now.
    pub(super) fn store_the_rest(&mut self) {
        self.shard.finish_turn(self.now, &mut self.fx);
        self.shard.save_all(&mut self.fx);
        let batch = self.fx.journal.take();
        if let (Some(storage), Some(batch)) = (self.common.storage.as_ref().map(Arc::clone), batch)
        {
            storage.submit(self.shard.id(), batch);
        }
    }
}
