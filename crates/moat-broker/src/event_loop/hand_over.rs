//! To the other shards: connections that have another home, and what this turn has to tell.

use moat_core::{ConnId, ShardId};

use super::EventLoop;
use crate::connection::{Connection, Stage};
use crate::inbox::Envelope;

impl EventLoop {
    /// Gives every other shard its batch of this turn, with one wake each.
    pub(super) fn hand_over(&mut self) {
        self.send_home();
        self.stuck = !self.homeless.is_empty();
        for shard in self.common.topology.shards() {
            self.send_batch(shard);
        }
        if self.stuck {
            return;
        }
        // A confirmation promises that what it confirms is in every inbox: so it goes last.
        for shard in self.common.topology.shards() {
            let outbox = &mut self.fx.peers[shard.index()];
            outbox.messages.append(&mut outbox.confirmations);
            self.send_batch(shard);
        }
        // They wait for room or for an answer; without either, trying again would only spin.
        if std::mem::take(&mut self.peers_moved) {
            self.resume_peers();
        }
    }

    fn send_batch(&mut self, shard: ShardId) {
        let outbox = &mut self.fx.peers[shard.index()].messages;
        if outbox.is_empty() {
            return;
        }
        let batch = Envelope::Peers {
            from: self.shard.id(),
            messages: std::mem::take(outbox),
        };
        let refused = self.common.inboxes[shard.index()].send(batch).err();
        match refused.map(|envelope| *envelope) {
            Some(Envelope::Peers { messages, .. }) => {
                // Kept in order; those who fill it pause, and the next turn tries again.
                *outbox = messages;
                self.stuck = true;
            }
            _ => self.peers_moved = true,
        }
    }

    fn send_home(&mut self) {
        for (id, home) in std::mem::take(&mut self.leaving) {
            if let Some(connection) = self.take_out(id) {
                self.homeless.push((connection, home));
            }
        }
        for (connection, home) in std::mem::take(&mut self.homeless) {
            let envelope = Envelope::Connection(connection);
            let refused = self.common.inboxes[home.index()].send(envelope).err();
            if let Some(Envelope::Connection(connection)) = refused.map(|envelope| *envelope) {
                self.homeless.push((connection, home));
            }
        }
    }

    /// Takes a connection out of this loop, whole.
    fn take_out(&mut self, id: ConnId) -> Option<Box<Connection>> {
        let connection = self.connection(id)?;
        if !matches!(connection.stage, Stage::Arriving(..)) {
            return None;
        }
        let mut connection = self.connections.remove(id.slot as usize);
        // A connection that cannot be deregistered is closed by being dropped here.
        self.poll.registry().deregister(connection.socket()).ok()?;
        connection.ready.listed = false;
        Some(connection)
    }
}
