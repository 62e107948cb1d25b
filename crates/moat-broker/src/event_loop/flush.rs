//! One write for every connection that has something to say.

use moat_core::ConnId;

use super::EventLoop;
use super::turns::Part;
use crate::connection::{Flushed, Stage};

impl EventLoop {
    /// Flushes everybody who became dirty in this turn, once, unless that takes too long. Who has more after that is dirty
    /// again and has the next turn.
    pub(super) fn flush_dirty(&mut self) {
        let mut part = Part::default();
        let mut dirty = std::mem::take(&mut self.unflushed);
        dirty.append(&mut self.fx.dirty);
        let mut flushed = 0;
        while let Some(&id) = dirty.get(flushed) {
            if part.is_over(flushed) {
                break;
            }
            flushed += 1;
            self.flush(id);
        }
        // Who was not flushed comes before who has more. It keeps its capacity.
        dirty.drain(..flushed);
        dirty.append(&mut self.unflushed);
        self.unflushed = dirty;
    }

    fn flush(&mut self, id: ConnId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if !connection.ready.writable {
            // The kernel has not said so yet; when it does, the connection is flushed.
            return;
        }
        match connection.stage {
            Stage::Closing => self.flush_closing(id),
            Stage::Attached(at) => self.flush_attached(id, at),
            Stage::Greeting
            | Stage::AwaitingAuth(_)
            | Stage::Exchanging(..)
            | Stage::Arriving(..) => self.flush_handshake(id),
        }
    }

    fn flush_handshake(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id.slot as usize) else {
            return;
        };
        if connection.write(self.shard.pool()).is_err() {
            self.drop_connection(id);
        }
    }

    fn flush_attached(&mut self, id: ConnId, at: moat_core::session::SessionIndex) {
        let Some(connection) = self.connections.get_mut(id.slot as usize) else {
            return;
        };
        let Some(link) = self.shard.link(at) else {
            return;
        };
        if link.is_unannounced {
            // Its CONNACK waits for the store.
            return;
        }
        let mut out = std::mem::take(&mut link.out);
        let pool = self.shard.pool();
        let offered = out.len();
        let written = connection
            .seal(&mut out, pool)
            .and_then(|()| connection.write(pool));
        self.traffic.bytes_sent_total += (offered - out.len()) as u64;
        // What could not be sealed because the socket is blocked goes back where it was.
        if let Some(link) = self.shard.link(at) {
            link.out = out;
        }
        match written {
            Ok(Flushed::Blocked) => {}
            Ok(Flushed::All) => {
                let owes_pong = connection.owes_pong();
                self.shard.flushed(at, self.now, &mut self.fx);
                if owes_pong || self.has_output(at) {
                    self.unflushed.push(id);
                }
            }
            Err(error) => {
                let why = format!("connection failed: {}", error.kind());
                self.shard.connection_lost(at, &why, self.now, &mut self.fx);
                self.settle();
                self.drop_connection(id);
            }
        }
    }

    /// Whether there is more: left behind while the wire was busy, or sent now that there is room.
    fn has_output(&mut self, at: moat_core::session::SessionIndex) -> bool {
        self.shard
            .link(at)
            .is_some_and(|link| !link.out.is_empty() && !link.is_unannounced)
    }
}
