//! Connections that end: their last bytes, and a while for the peer to take them.

use moat_core::{Close, ConnId};
use moat_events::Event;

use super::EventLoop;
use crate::connection::{Flushed, LINGER_MILLIS, Stage};

impl EventLoop {
    /// Carries out the closes a shard has asked for, before anything else can touch them: the
    /// session of a closing connection may belong to another one already.
    pub(super) fn settle(&mut self) {
        while let Some(Close { conn, bytes }) = self.fx.closed.pop() {
            self.begin_closing(conn, &bytes);
            self.shard.pool().give(bytes);
        }
    }

    /// Sends the last bytes and closes this side. The peer has [`LINGER_MILLIS`] to read them: a
    /// socket closed with bytes unread would be reset, and the goodbye lost.
    pub(super) fn begin_closing(&mut self, id: ConnId, bytes: &[u8]) {
        let deadline = self.now.plus_millis(LINGER_MILLIS);
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.stage = Stage::Closing;
        connection.input = Vec::new();
        connection.paused = None;
        connection.ready.layer = false;
        connection.ready.input = false;
        connection.deadline = deadline;
        let sealed = connection.seal_last(bytes);
        let is_over = sealed.is_err() || connection.wire.is_empty();
        self.traffic.bytes_sent_total += bytes.len() as u64;
        if is_over {
            self.drop_connection(id);
            return;
        }
        self.set_timer(deadline, id);
        self.unflushed.push(id);
    }

    /// Writes what a closing connection is still owed.
    pub(super) fn flush_closing(&mut self, id: ConnId) {
        let Some(connection) = self.connections.get_mut(id.slot as usize) else {
            return;
        };
        match connection.write(self.shard.pool()) {
            Ok(Flushed::All) => {
                connection.shut_down_writing();
                // The end of the peer's side is noticed by a read; it may have come already.
                connection.ready.readable = true;
                self.list(id);
            }
            Ok(Flushed::Blocked) => {}
            Err(_) => self.drop_connection(id),
        }
    }

    /// Lets go of a connection that nobody is owed anything on.
    pub(super) fn drop_connection(&mut self, id: ConnId) {
        if self.connection(id).is_some() {
            self.connections.remove(id.slot as usize);
        }
    }

    /// Turns away a client that has not authenticated, without an answer.
    pub(super) fn refuse_silently(&mut self, id: ConnId, reason: &str) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let (address, listener) = (connection.address, connection.listener.name.to_string());
        self.fx.events.push(Event::ConnectionRefused {
            address,
            listener,
            reason: reason.to_owned(),
        });
        self.begin_closing(id, &[]);
    }
}
