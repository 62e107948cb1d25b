//! The ready list: who may do something without a further event from the kernel.

use mio::Events;
use moat_core::ConnId;

use super::turns::Part;
use super::{EventLoop, LISTENERS, WAKER};
use crate::connection::Paused;

/// TLS handshake steps per turn; a storm of them slows handshakes, not messages.
const HANDSHAKE_STEPS_PER_TURN_MAX: usize = 2;
/// Bytes read in a turn after which what they led to is written, rather than at the turn's end: it is still in the processor's
/// cache, and a few out-buffers serve all connections.
const READ_BYTES_PER_FLUSH: u64 = 256 << 10;
/// Connections that are served, at least, before what they led to is written.
const SERVED_PER_FLUSH_MIN: usize = 4;

impl EventLoop {
    /// Remembers what the kernel said. With edge-triggered polling it says it once.
    pub(super) fn note_readiness(&mut self, events: &Events) {
        for event in events {
            let token = event.token();
            if token == WAKER {
                continue;
            }
            if let Some(listener) = LISTENERS
                .checked_sub(token.0)
                .and_then(|n| self.listeners.get_mut(n))
            {
                listener.ready = true;
                continue;
            }
            let Some(connection) = self.connections.get_mut(token.0) else {
                continue;
            };
            let ready = &mut connection.ready;
            ready.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            ready.read_closed |= event.is_read_closed() || event.is_error();
            let id = ConnId {
                slot: slot(token.0),
                generation: connection.generation,
            };
            if event.is_writable() && !std::mem::replace(&mut ready.writable, true) {
                self.unflushed.push(id);
            }
            self.list(id);
        }
    }

    /// Puts a connection on the ready list if it has something to do and is not on it.
    pub(super) fn list(&mut self, id: ConnId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        if connection.wants_turn() && !connection.ready.listed {
            connection.ready.listed = true;
            self.ready.push(id);
        }
    }

    /// Serves everybody on the ready list once, unless the turn becomes too long. Who has more to do goes to the end of the next one.
    pub(super) fn serve_ready(&mut self) {
        let mut part = Part::default();
        self.accept_ready();
        let mut ready = std::mem::take(&mut self.ready);
        let mut handshakes = 0;
        let mut flushed_at = self.traffic.bytes_received_total;
        let mut served = 0;
        let mut served_at_flush = 0;
        while let Some(&id) = ready.get(served) {
            if part.is_over(served) {
                break;
            }
            served += 1;
            let Some(connection) = self.connection(id) else {
                continue;
            };
            connection.ready.listed = false;
            if connection.is_handshaking() {
                handshakes += 1;
            }
            if !connection.is_handshaking() {
                self.serve(id);
            } else if handshakes <= HANDSHAKE_STEPS_PER_TURN_MAX {
                self.serve(id);
                if self.is_greeter() {
                    // A shard on the same core, if one waits, goes on now and not when this thread's slice is over.
                    std::thread::yield_now();
                }
            }
            self.list(id);
            let is_much = self.traffic.bytes_received_total - flushed_at >= READ_BYTES_PER_FLUSH;
            if is_much || gains_nothing_by_waiting(served - served_at_flush, self.fx.dirty.len()) {
                self.flush_dirty();
                flushed_at = self.traffic.bytes_received_total;
                served_at_flush = served;
            }
        }
        // Who was not served comes before who was. It keeps its capacity.
        ready.drain(..served);
        ready.append(&mut self.ready);
        self.ready = ready;
    }

    /// A pause is over: what was left unread or unused has its turn.
    pub(super) fn resume(&mut self, id: ConnId) {
        let Some(connection) = self.connection(id) else {
            return;
        };
        connection.paused = None;
        connection.ready.input |= !connection.input.is_empty() || connection.half_closed;
        self.list(id);
    }

    /// Those that waited for other shards try again; who still has to wait pauses anew.
    pub(super) fn resume_peers(&mut self) {
        for id in std::mem::take(&mut self.waiting_for_peers) {
            if self
                .connection(id)
                .is_some_and(|c| c.paused == Some(Paused::Peers))
            {
                self.resume(id);
            }
        }
    }
}

/// Whether what `served` connections have sent is for about as many others. Then it is written: a later write would hardly have more in
/// it, and those who were served first would wait for those who are served last.
fn gains_nothing_by_waiting(served: usize, dirty: usize) -> bool {
    served >= SERVED_PER_FLUSH_MIN && dirty >= served / 2 && dirty <= served * 2
}

fn slot(token: usize) -> u32 {
    // Descriptors are far fewer than four billion.
    u32::try_from(token).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_written_early_and_what_gathers_for_few_or_goes_to_many_is_not() {
        let few = SERVED_PER_FLUSH_MIN - 1;
        assert!(!gains_nothing_by_waiting(few, few));
        assert!(gains_nothing_by_waiting(4, 4));
        assert!(
            gains_nothing_by_waiting(4, 8),
            "with an acknowledgement each"
        );
        assert!(!gains_nothing_by_waiting(100, 1), "fan-in");
        assert!(!gains_nothing_by_waiting(4, 100), "fan-out of several");
    }
}
