//! The storage thread: gathers what has arrived during the last commit, commits it as one, and tells the shards.

use std::collections::BTreeMap;

use moat_core::Time;
use moat_core::durable::{Batch, Load, Loaded, StoreState};

use super::Planted;
use super::broker::Envelope;
use super::crash::Phase;
use super::store::Disk;
use super::world::{Event, Step, World};

/// Milliseconds until a commit that found no room is tried again.
const FULL_RETRY_MILLIS: u64 = 100;
/// Milliseconds that batches have to be durable for certain, behind the last moment at which none waited.
const SETTLED_MILLIS: u64 = 500;

/// What waits for the disk.
pub(super) struct Storage {
    pub(super) disk: Box<dyn Disk>,
    /// Batches that no commit has begun with, by shard.
    arrived: Vec<(usize, Batch)>,
    running: Vec<(usize, Batch)>,
    is_running: bool,
    /// Whether what the start had to write is not durable yet.
    pub(super) is_opening: bool,
    /// No room until this moment.
    full_until: Time,
    /// Whether a commit has found no room since.
    is_full: bool,
    /// Batches of each shard that are not durable.
    pending: Vec<usize>,
    loads: BTreeMap<u64, (usize, Load)>,
    loads_made: u64,
    /// The last moment at which nothing waited.
    idle_at: Time,
}

impl Storage {
    pub(super) fn new(disk: Box<dyn Disk>) -> Self {
        Storage {
            disk,
            arrived: Vec::new(),
            running: Vec::new(),
            is_running: false,
            is_opening: false,
            full_until: Time::ZERO,
            is_full: false,
            pending: Vec::new(),
            loads: BTreeMap::new(),
            loads_made: 0,
            idle_at: Time::ZERO,
        }
    }

    /// The process has ended; a commit that was under way has not happened.
    pub(super) fn crash(&mut self, shards: usize) {
        self.arrived.clear();
        self.running.clear();
        self.is_running = false;
        self.full_until = Time::ZERO;
        self.is_full = false;
        self.pending = vec![0; shards];
        self.loads.clear();
        self.disk.crash();
    }

    /// How the store is for a shard.
    pub(super) fn state(&self, shard: usize, behind: usize) -> StoreState {
        if self.is_full {
            StoreState::Full
        } else if self.pending[shard] > behind {
            StoreState::Behind
        } else {
            StoreState::Ready
        }
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.arrived.is_empty() && !self.is_running && self.loads.is_empty()
    }

    /// Whether what a shard wrote at that moment is durable for certain.
    pub(super) fn has_settled(&self, since: Time) -> bool {
        self.idle_at > since.plus_millis(SETTLED_MILLIS)
    }

    /// Whether batches wait that no commit has begun with.
    pub(super) fn has_waiting(&self) -> bool {
        !self.arrived.is_empty()
    }
}

impl World {
    /// What the start of the broker has to write before anything else: one commit.
    pub(super) fn store_opening(&mut self, batches: Vec<(usize, Batch)>) {
        for (lane, batch) in &batches {
            self.note(|| format!("shard {lane}, at the start: {:?}", batch.writes));
            self.storage.pending[*lane] += 1;
        }
        self.storage.is_opening = !batches.is_empty();
        self.storage.arrived = batches;
        self.begin_commit();
    }

    /// A shard's batch of this turn.
    pub(super) fn store(&mut self, lane: usize, batch: Batch) {
        self.note(|| format!("shard {lane}: batch {} {:?}", batch.ticket, batch.writes));
        if self.planted == Some(Planted::AckBeforeCommit) {
            let early = Envelope::Committed(batch.ticket);
            self.lanes[lane].inbox.push_back(early);
            self.wake(lane);
        }
        self.storage.pending[lane] += 1;
        self.storage.arrived.push((lane, batch));
        if !self.storage.is_running {
            self.begin_commit();
        }
    }

    fn begin_commit(&mut self) {
        let storage = &mut self.storage;
        storage.running = std::mem::take(&mut storage.arrived);
        storage.is_running = !storage.running.is_empty();
        if !storage.is_running {
            storage.idle_at = self.now;
            return;
        }
        if self.is_rough && self.dice.chance(self.plan.full_percent) {
            let millis = 100 + self.dice.below(3000);
            self.storage.full_until = self.now.plus_millis(millis);
        }
        let millis = self.commit_millis();
        let life = self.life;
        self.after(millis, Event::Committed { life });
    }

    fn commit_millis(&mut self) -> u64 {
        match self.dice.below(100) {
            0..5 if self.is_rough => self.dice.below(500),
            5..50 => self.dice.below(3),
            _ => self.dice.below(1 + self.plan.commit_millis),
        }
    }

    /// The commit under way is over.
    pub(super) fn end_commit(&mut self) -> Step {
        if self.now < self.storage.full_until {
            self.coverage.full += 1;
            self.storage.is_full = true;
            self.wake_all();
            let life = self.life;
            self.after(FULL_RETRY_MILLIS, Event::Committed { life });
            return Ok(());
        }
        self.storage.is_full = false;
        self.phase(Phase::BeforeCommit)?;
        let batches = std::mem::take(&mut self.storage.running);
        self.storage.is_opening = false;
        let mut tickets: BTreeMap<usize, u64> = BTreeMap::new();
        for (lane, batch) in &batches {
            self.storage.pending[*lane] -= 1;
            tickets.insert(*lane, batch.ticket);
        }
        self.coverage.commits += 1;
        self.coverage.shared_commits += u64::from(tickets.len() > 1);
        let batches = batches.into_iter().map(|(_, batch)| batch).collect();
        let (disk, now) = (&mut self.storage.disk, self.now);
        disk.commit(batches, now, &mut self.coverage);
        self.note(|| format!("committed {tickets:?}"));
        self.phase(Phase::AfterCommit)?;
        for (lane, ticket) in tickets {
            self.lanes[lane]
                .inbox
                .push_back(Envelope::Committed(ticket));
            self.phase(Phase::BetweenNotices)?;
        }
        self.wake_all();
        self.begin_commit();
        Ok(())
    }

    /// A shard wants messages back.
    pub(super) fn load(&mut self, lane: usize, load: Load) {
        self.note(|| format!("shard {lane}: {load:?}"));
        let number = self.storage.loads_made;
        self.storage.loads_made += 1;
        self.storage.loads.insert(number, (lane, load));
        let millis = self.dice.below(20);
        let life = self.life;
        self.after(millis, Event::Loaded { life, number });
    }

    /// What a load has found goes to its shard.
    pub(super) fn end_load(&mut self, number: u64) -> Step {
        self.step()?;
        let Some((lane, Load { to, positions })) = self.storage.loads.remove(&number) else {
            return Ok(());
        };
        let disk = &self.storage.disk;
        let found = positions.into_iter().map(|at| (at, disk.find(at)));
        let messages: Vec<_> = found.collect();
        self.coverage.loads += messages.len() as u64;
        let loaded = Loaded { to, messages };
        self.lanes[lane].inbox.push_back(Envelope::Loaded(loaded));
        self.wake(lane);
        Ok(())
    }
}
