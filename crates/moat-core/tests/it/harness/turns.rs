//! A driver's part: time, and what shards want carried to clients and to each other.

use std::sync::Arc;

use moat_core::{Shard, ShardId};
use moat_policy::Snapshot;

use super::World;

impl World {
    pub(crate) fn pass_millis(&mut self, millis: u64) {
        let until = self.now.plus_millis(millis);
        let due = |shards: &[Shard]| shards.iter().filter_map(Shard::next_timeout).min();
        while let Some(next) = due(&self.shards).filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = until;
        self.tick();
    }

    pub(crate) fn pass_secs(&mut self, secs: u64) {
        self.pass_millis(secs * 1000);
    }

    fn tick(&mut self) {
        for (shard, fx) in self.shards.iter_mut().zip(&mut self.fx) {
            shard.tick(self.now, fx);
        }
        self.after_step();
    }

    // --- effects ---

    pub(crate) fn after_step(&mut self) {
        self.collect();
        if self.automatic {
            self.settle();
        }
        while self.store_step() {
            self.collect();
        }
    }

    /// Carries out what needs no other shard.
    pub(crate) fn collect(&mut self) {
        for fx in &mut self.fx {
            self.events.append(&mut fx.events);
            for conn in fx.dirty.drain(..) {
                self.wires[conn.slot as usize].dirty = true;
            }
            for close in fx.closed.drain(..) {
                let wire = &mut self.wires[close.conn.slot as usize];
                assert!(!wire.closed, "closed twice");
                wire.closed = true;
                wire.incoming.extend_from_slice(&close.bytes);
            }
        }
    }

    /// Lets the shards talk until they have nothing more to say.
    pub(crate) fn settle(&mut self) {
        while self.step_all() || self.store_step() || self.has_to_tell() {
            self.collect();
        }
    }

    /// Whether a shard has something for another one.
    fn has_to_tell(&self) -> bool {
        let mut outboxes = self.fx.iter().flat_map(|fx| &fx.peers);
        outboxes.any(|peer| !peer.messages.is_empty())
    }

    /// One round: every shard hands over, then every shard reads its inbox.
    fn step_all(&mut self) -> bool {
        let shards = self.shards.len();
        for from in 0..shards {
            self.hand_over(from);
        }
        let mut worked = false;
        for to in 0..shards {
            while self.run_inbox(to) {
                worked = true;
            }
        }
        worked
    }

    /// What a driver does at the end of a turn: messages first, confirmations behind them.
    pub(crate) fn hand_over(&mut self, from: usize) {
        for to in 0..self.shards.len() {
            self.carry(from, to);
        }
        self.release_confirmations(from);
        for to in 0..self.shards.len() {
            self.carry(from, to);
        }
    }

    /// Moves one outbox to its inbox. Returns whether there was something in it.
    pub(crate) fn carry(&mut self, from: usize, to: usize) -> bool {
        let messages = std::mem::take(&mut self.fx[from].peers[to].messages);
        let some = !messages.is_empty();
        if some {
            self.inboxes[to].push_back((ShardId::new(from as u8), messages));
        }
        some
    }

    /// Puts the confirmations behind the messages, once all of those have left. Returns whether
    /// that was possible and moved something.
    pub(crate) fn release_confirmations(&mut self, from: usize) -> bool {
        let peers = &mut self.fx[from].peers;
        if peers.iter().any(|peer| !peer.messages.is_empty()) {
            return false;
        }
        let some = peers.iter().any(|peer| !peer.confirmations.is_empty());
        for peer in peers {
            peer.messages.append(&mut peer.confirmations);
        }
        some
    }

    /// One batch of an inbox. Returns whether there was one.
    pub(crate) fn run_inbox(&mut self, to: usize) -> bool {
        let Some((from, messages)) = self.inboxes[to].pop_front() else {
            return false;
        };
        for message in messages {
            self.shards[to].peer(from, message, self.now, &mut self.fx[to]);
        }
        self.collect();
        true
    }

    pub(crate) fn set_policy(&mut self, policy: &Arc<Snapshot>) {
        for (shard, fx) in self.shards.iter_mut().zip(&mut self.fx) {
            shard.set_policy(Arc::clone(policy), self.now, fx);
        }
        self.after_step();
    }
}
