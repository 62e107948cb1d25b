//! When the broker dies, and how another one starts on what it left.

use moat_core::Time;

use crate::history;

use super::world::{Event, World};

/// The broker is dead: nothing of the turn at hand goes on.
#[derive(Debug)]
pub(super) struct Dead;

/// Moments of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    BeforeCommit,
    AfterCommit,
    BetweenNotices,
    /// The commit has failed: the broker acknowledges nothing more and ends.
    Failed,
}

/// When the broker dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CrashAt {
    Never,
    /// After so many calls into its shards.
    Steps(u64),
    /// At that moment of a commit, after so many of them.
    Phase(Phase, u64),
}

/// Milliseconds between two signs of life in a store that has nothing to write.
const HEARTBEAT_MILLIS: u64 = 60_000;
/// Calls into shards until a death that is due at last.
const LAST_STEPS: u64 = 60;

impl World {
    /// One more call into a shard, unless the broker dies before it.
    pub(super) fn step(&mut self) -> Result<(), Dead> {
        self.steps += 1;
        match &mut self.crash_at {
            CrashAt::Steps(0) => {
                self.coverage.crashes_in_turn += 1;
                Err(Dead)
            }
            CrashAt::Steps(left) => {
                *left -= 1;
                Ok(())
            }
            CrashAt::Phase(..) | CrashAt::Never => Ok(()),
        }
    }

    /// A moment of a commit, unless the broker dies in it.
    pub(super) fn phase(&mut self, phase: Phase) -> Result<(), Dead> {
        let CrashAt::Phase(due, left) = &mut self.crash_at else {
            return Ok(());
        };
        let is_it = *due == phase || *due == Phase::Failed && phase == Phase::BeforeCommit;
        if !is_it || *left > 0 {
            *left -= u64::from(is_it);
            return Ok(());
        }
        let count = match due {
            Phase::BeforeCommit => &mut self.coverage.crashes_before_commit,
            Phase::AfterCommit => &mut self.coverage.crashes_after_commit,
            Phase::BetweenNotices => &mut self.coverage.crashes_between_notices,
            Phase::Failed => &mut self.coverage.crashes_by_failed_commit,
        };
        *count += 1;
        Err(Dead)
    }

    /// Chooses when the broker dies next.
    pub(super) fn plan_crash(&mut self) {
        if self.crashes_left == 0 {
            self.crash_at = CrashAt::Never;
            return;
        }
        self.crashes_left -= 1;
        let count = self.dice.below(self.plan.commits_until_crash);
        self.crash_at = match self.dice.below(8) {
            0 => CrashAt::Phase(Phase::BeforeCommit, count),
            1 => CrashAt::Phase(Phase::AfterCommit, count),
            2 => CrashAt::Phase(Phase::BetweenNotices, count),
            3 => CrashAt::Phase(Phase::Failed, count),
            _ => CrashAt::Steps(self.dice.below(self.plan.steps_until_crash)),
        };
    }

    /// Lets it die soon, if it never did: the end of the seed is near.
    pub(super) fn crash_soon_at_last(&mut self) {
        self.crashes_left = 0;
        self.crash_at = match self.coverage.crashes {
            0 => CrashAt::Steps(self.dice.below(LAST_STEPS)),
            _ => CrashAt::Never,
        };
    }

    /// The process ends: memory is gone, and what has not left it.
    pub(super) fn crash(&mut self) {
        self.note(|| "the broker crashed".to_owned());
        self.coverage.crashes += 1;
        self.count_what_was_open();
        self.note_expired();
        self.is_up = false;
        let open: Vec<u32> = self.wires.keys().copied().collect();
        for conn in open {
            self.break_off(conn);
        }
        self.wires.clear();
        self.lanes.clear();
        self.greeting.clear();
        self.history.record(history::Event::Crashed);
        self.doubt_volatile_wills();
        let alive_at = self.alive_at();
        self.ledger.crashed(alive_at, self.now, &self.storage);
        self.storage.crash(0);
        self.alive_at = alive_at;
        self.plan_crash();
        let millis = match self.dice.below(10) {
            0 if self.is_rough => self.dice.below(20_000),
            _ => self.dice.below(2000),
        };
        self.after(millis, Event::Start);
    }

    /// A session whose time is over has nothing to get any more, even if it comes back since its end was not durable.
    fn note_expired(&mut self) {
        for client in self.ledger.expired(self.now) {
            let number = self.clients[client].number;
            self.history
                .record(history::Event::SessionEnded { client: number });
        }
    }

    /// What had left the broker may still come; then the connection is gone.
    fn break_off(&mut self, conn: u32) {
        let Some(wire) = self.wires.get_mut(&conn) else {
            return;
        };
        let client = wire.client;
        let kept = match self.dice.below(3) {
            0 => 0,
            1 => wire.down.len(),
            _ => self.dice.place(wire.down.len() + 1),
        };
        wire.down.cut(self.now, kept);
        wire.down.hasten(self.now);
        self.read_all(conn);
        if self.clients[client].wire == Some(conn) {
            self.lost(client);
        }
    }

    fn alive_at(&self) -> Time {
        let beat = self.now.millis().saturating_sub(HEARTBEAT_MILLIS);
        if self.storage.is_opening {
            // No heart beats before.
            return self.alive_at;
        }
        let known = self.alive_at.max(self.storage.disk.committed_at());
        known.max(Time::from_millis(beat))
    }

    fn count_what_was_open(&mut self) {
        let coverage = &mut self.coverage;
        coverage.crashes_with_waiting_batches += u64::from(self.storage.has_waiting());
        let mut any = [false; 5];
        for client in &self.clients {
            any[0] |= client.out.iter().any(|out| !out.is_received);
            any[1] |= client.out.iter().any(|out| out.is_received);
            any[2] |= !client.held.is_empty();
            any[3] |= client.wire.is_some() && !client.is_connected;
            any[4] |= client.subscribing.is_some();
        }
        coverage.crashes_with_unacknowledged += u64::from(any[0]);
        coverage.crashes_in_qos2_in += u64::from(any[1]);
        coverage.crashes_in_qos2_out += u64::from(any[2]);
        coverage.crashes_in_connect += u64::from(any[3]);
        coverage.crashes_in_subscribe += u64::from(any[4]);
    }
}
