//! One connection's turn: one read, through the layers, packet by packet.

use moat_codec::{Framed, frame};
use moat_core::ConnId;
use moat_core::shard::{Pause, Then};
use moat_events::Event;

use super::EventLoop;
use crate::connection::{
    Buffers, Connection, Discarded, Ended, Filled, PREAUTH_INPUT_BYTES_MAX, Paused, Stage,
};

/// Bytes that the buffer of an incomplete packet may be larger than twice what is in it.
const INPUT_SLACK_BYTES_MAX: usize = 4 << 10;

impl EventLoop {
    /// Reads once and handles what came, or goes on with what an earlier turn left.
    pub(super) fn serve(&mut self, id: ConnId) {
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.plaintext.clear();
        self.serve_with(id, &mut buffers);
        self.buffers = buffers;
    }

    fn serve_with(&mut self, id: ConnId, buffers: &mut Buffers) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if matches!(connection.stage, Stage::Closing) {
            if connection.discard(&mut buffers.read) == Discarded::Ended {
                self.drop_connection(id);
            }
            return;
        }
        if connection.ready.input && connection.paused.is_none() {
            connection.ready.input = false;
            self.digest(id, &[]);
            self.end_if_finished(id);
            return;
        }
        let filled = connection.fill(buffers);
        let plaintext = &buffers.plaintext;
        if !connection.wire.is_empty() && connection.ready.writable {
            self.unflushed.push(id);
        }
        match filled {
            Filled::Nothing => {}
            Filled::Plain(read) => self.digest(id, &buffers.read[..read]),
            Filled::Decrypted => self.digest(id, plaintext),
            Filled::Ended(Ended::ByPeer) => {
                if let Some(connection) = self.connection(id) {
                    (connection.ready.readable, connection.ready.layer) = (false, false);
                    connection.half_closed = true;
                }
                self.digest(id, plaintext);
                self.end_if_finished(id);
            }
            Filled::Ended(ended) => {
                self.digest(id, plaintext);
                self.ended(id, &ended);
            }
        }
    }

    /// Handles fresh bytes behind those that are left from before.
    fn digest(&mut self, id: ConnId, fresh: &[u8]) {
        self.traffic.bytes_received_total += fresh.len() as u64;
        let Some(connection) = self.connection(id) else {
            return;
        };
        if matches!(connection.stage, Stage::Closing)
            || (fresh.is_empty() && connection.input.is_empty())
        {
            return;
        }
        let mut fresh = fresh;
        if !connection.input.is_empty() {
            fresh = self.digest_left(id, fresh);
        }
        if !fresh.is_empty() {
            let used = self.consume(id, fresh);
            if used < fresh.len() {
                // Of a size that fits: a pooled buffer may be many times larger, and half a packet may stay for long.
                self.keep_input(id, fresh[used..].to_vec());
            }
        }
        self.check_preauth(id);
    }

    /// Handles what is left from before, with as much of `fresh` as the packet at hand lacks: only that is copied. Returns what there is
    /// behind it, unless that has to wait or nobody wants it any more.
    fn digest_left<'f>(&mut self, id: ConnId, mut fresh: &'f [u8]) -> &'f [u8] {
        let limits = self.shard.limits().packet.clone();
        let Some(connection) = self.connection(id) else {
            return &[];
        };
        let mut input = std::mem::take(&mut connection.input);
        while let Ok(Framed::Incomplete { need }) = frame(&input, &limits) {
            let lacking = need.saturating_sub(input.len()).min(fresh.len());
            if lacking == 0 {
                break;
            }
            let (more, behind) = fresh.split_at(lacking);
            input.extend_from_slice(more);
            fresh = behind;
        }
        let used = self.consume(id, &input);
        let goes_on = |connection: &mut Connection| {
            let is_held_up = connection.paused.is_some() || connection.ready.input;
            !is_held_up && !matches!(connection.stage, Stage::Closing)
        };
        if used == input.len() && self.connection(id).is_some_and(goes_on) {
            return fresh;
        }
        input.drain(..used);
        input.extend_from_slice(fresh);
        if input.capacity() > INPUT_SLACK_BYTES_MAX + 2 * input.len() {
            input.shrink_to_fit();
        }
        self.keep_input(id, input);
        &[]
    }

    /// Keeps bytes that no packet has used yet, if the connection still wants them.
    fn keep_input(&mut self, id: ConnId, rest: Vec<u8>) {
        if let Some(connection) = self.connection(id)
            && !matches!(connection.stage, Stage::Closing)
        {
            connection.input = rest;
        }
    }

    /// Uses up packets from the front of `bytes`. Returns how many bytes.
    fn consume(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut used = 0;
        let Some(connection) = self.connection(id) else {
            return used;
        };
        match connection.stage {
            Stage::Greeting => used = self.greet(id, bytes),
            Stage::Exchanging(..) => used = self.exchange(id, bytes),
            _ => {}
        }
        let Some(connection) = self.connection(id) else {
            return used;
        };
        let Stage::Attached(at) = connection.stage else {
            return used;
        };
        let received = self
            .shard
            .receive(at, &bytes[used..], self.now, &mut self.fx);
        self.settle();
        if !self.fx.authentications.is_empty() {
            self.authenticate_again();
        }
        if let Some(connection) = self.connection(id) {
            match received.then {
                Then::NeedMore(_) | Then::Closed => {}
                Then::Budget => connection.ready.input = true,
                Then::Pause(pause) => self.pause(id, pause),
            }
        }
        used + received.consumed
    }

    fn pause(&mut self, id: ConnId, pause: Pause) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        match pause {
            Pause::Until(until) => {
                connection.paused = Some(Paused::Until(until));
                self.set_timer(until, id);
            }
            Pause::Peers => {
                connection.paused = Some(Paused::Peers);
                self.waiting_for_peers.push(id);
            }
        }
    }

    /// Holds a connection that is not yet authenticated to its own cap and to the common budget.
    fn check_preauth(&mut self, id: ConnId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let full = connection.input.len() >= PREAUTH_INPUT_BYTES_MAX;
        match connection.stage {
            Stage::Attached(_) | Stage::Closing => return,
            Stage::Greeting if full => {
                self.refuse_silently(id, "CONNECT larger than 64 KiB");
                return;
            }
            Stage::Exchanging(..) if full => {
                self.refuse_silently(id, "AUTH larger than 64 KiB");
                return;
            }
            Stage::AwaitingAuth(_) | Stage::Arriving(..) if full => {
                connection.paused = Some(Paused::Auth)
            }
            _ => {}
        }
        let held = connection.held_bytes();
        if connection.permit.charge(held).is_err() {
            self.refuse_silently(id, "preauth_bytes_total_max reached");
        }
    }

    /// Ends a connection whose peer has closed its side, once all that came before is handled.
    fn end_if_finished(&mut self, id: ConnId) {
        if self
            .connection(id)
            .is_some_and(|connection| connection.is_finished())
        {
            self.ended(id, &Ended::ByPeer);
        }
    }

    /// The peer's side is over.
    fn ended(&mut self, id: ConnId, ended: &Ended) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        let why = match ended {
            Ended::ByPeer => "connection closed by the client".to_owned(),
            Ended::Socket(kind) => format!("connection failed: {kind}"),
            Ended::Tls(error) => format!("TLS failed: {error}"),
            Ended::WebSocket(error) => format!("WebSocket failed: {error}"),
        };
        match connection.stage {
            Stage::Closing => self.drop_connection(id),
            Stage::Attached(at) => {
                self.shard.connection_lost(at, &why, self.now, &mut self.fx);
                self.settle();
                self.close_after(id, ended);
            }
            Stage::Greeting
            | Stage::AwaitingAuth(_)
            | Stage::Exchanging(..)
            | Stage::Arriving(..) => {
                let (address, listener) =
                    (connection.address, connection.listener.name.to_string());
                self.fx.events.push(match ended {
                    Ended::Tls(error) => Event::TlsHandshakeFailed {
                        address,
                        listener,
                        error: error.to_string(),
                    },
                    Ended::ByPeer | Ended::Socket(_) | Ended::WebSocket(_) => {
                        Event::ConnectionRefused {
                            address,
                            listener,
                            reason: why,
                        }
                    }
                });
                self.close_after(id, ended);
            }
        }
    }

    /// A TLS alert or a close frame still has to go out; otherwise there is nobody to tell.
    fn close_after(&mut self, id: ConnId, ended: &Ended) {
        let has_frames = |c: &mut Connection| c.websocket.as_ref().is_some_and(|ws| ws.is_open());
        let is_owed = match ended {
            Ended::Tls(_) | Ended::WebSocket(_) => true,
            Ended::ByPeer => self.connection(id).is_some_and(has_frames),
            Ended::Socket(_) => false,
        };
        if is_owed {
            self.begin_closing(id, &[]);
        } else {
            self.drop_connection(id);
        }
    }
}
