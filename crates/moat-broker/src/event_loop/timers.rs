//! Time limits of connections: CONNECT, lingering, and the end of a pause.

use std::cmp::Reverse;

use moat_core::{ConnId, Time};

use super::EventLoop;
use crate::connection::{Paused, Stage};

/// When, which slot, which use of the slot.
pub(super) type Timer = Reverse<(Time, u32, u32)>;

impl EventLoop {
    /// Looks at a connection again at `due`.
    pub(super) fn set_timer(&mut self, due: Time, id: ConnId) {
        if due != Time::NEVER {
            self.timers.push(Reverse((due, id.slot, id.generation)));
        }
    }

    /// The earliest timer.
    pub(super) fn next_timer(&self) -> Option<Time> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    /// Does what is due, for connections and for sessions.
    pub(super) fn run_timers(&mut self) {
        while let Some(Reverse((due, slot, generation))) = self.timers.peek().copied() {
            if due > self.now {
                break;
            }
            self.timers.pop();
            self.timer_due(ConnId { slot, generation });
        }
        self.shard.tick(self.now, &mut self.fx);
        self.settle();
    }

    /// A timer says only that it is time to look; the connection knows what for.
    fn timer_due(&mut self, id: ConnId) {
        let now = self.now;
        let Some(connection) = self.connection(id) else {
            return;
        };
        match connection.stage {
            Stage::Closing if connection.deadline <= now => self.drop_connection(id),
            Stage::Greeting
            | Stage::AwaitingAuth(_)
            | Stage::Exchanging(..)
            | Stage::Arriving(..)
                if connection.deadline <= now =>
            {
                self.refuse_silently(id, "not connected within connect_timeout_secs");
            }
            _ => {
                if matches!(connection.paused, Some(Paused::Until(until)) if until <= now) {
                    self.resume(id);
                }
            }
        }
    }
}
