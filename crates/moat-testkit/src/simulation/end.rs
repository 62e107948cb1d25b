//! The end of a seed: all goes well from here on, everything is drained, and every promise is checked.

use std::collections::BTreeMap;

use moat_codec::{Disconnect, QoS, ReasonCode};
use moat_core::Time;

use crate::history::{Event, MessageId, Verdict};

use super::client::Client;
use super::crash::CrashAt;
use super::store::Left;
use super::world::World;

/// Seconds of quiet in which wills with a delay come.
const WILLS_SECS: u64 = 15;
/// Seconds in which a seed without a crash has one at last.
const CRASH_SECS: u64 = 60;
/// Milliseconds between two looks at whether all is quiet.
const LOOK_MILLIS: u64 = 500;
/// Looks after which something is stuck.
const LOOKS_MAX: u32 = 400;
/// Topics that have retained messages.
const RETAINED_TOPICS: [&str; 4] = ["r/0", "r/1", "r/2", "r/3"];

impl World {
    /// The whole seed.
    pub(super) fn run(&mut self) -> Verdict {
        while self.operations_left > 0 {
            self.next();
        }
        self.crash_soon_at_last();
        let soon = self.now.plus_secs(CRASH_SECS);
        while self.coverage.crashes == 0 {
            self.next();
            if self.now > soon && self.is_up && self.coverage.crashes == 0 {
                // Nobody does anything any more.
                self.crash();
            }
        }
        self.is_rough = false;
        self.crash_at = CrashAt::Never;
        self.crashes_left = 0;
        self.note(|| "---- all goes well from here on".to_owned());
        self.drain("with all clients");
        self.run_until(self.now.plus_secs(WILLS_SECS));
        self.drain("with all clients");
        let verdict = self.read_retained();
        self.count_expired();
        self.check_nothing_waits();
        self.end_sessions();
        verdict
    }

    /// Waits until everybody is connected, and nobody owes anything.
    fn drain(&mut self, what: &str) {
        for _ in 0..LOOKS_MAX {
            for client in 0..self.clients.len() {
                let of = &self.clients[client];
                if of.wire.is_none() {
                    self.connect(client, of.is_clean);
                }
            }
            self.run_until(self.now.plus_millis(LOOK_MILLIS));
            if self.is_quiet() {
                return;
            }
        }
        let busy = self.clients.iter().filter(|client| client.is_busy());
        let told = busy.map(|client| {
            let connection = client.wire.map(|slot| self.told_connection(slot));
            format!("{connection:?} {client:?}")
        });
        let told: Vec<_> = told.collect();
        let (idle, queued) = (self.storage.is_idle(), self.queued());
        let text = format!("not drained, {what}: storage idle: {idle}, queued: {queued}, {told:?}");
        self.complain(text);
    }

    fn is_quiet(&self) -> bool {
        self.is_up
            && !self.clients.iter().any(Client::is_busy)
            && self.storage.is_idle()
            && self.lanes.iter().all(|lane| lane.inbox.is_empty())
            && self.queued() == 0
    }

    fn queued(&self) -> usize {
        let queued = |lane: &super::broker::Lane| {
            lane.shard.census().queued_messages + lane.shard.sizes().shared_waiting
        };
        self.lanes.iter().map(queued).sum()
    }

    /// Reads every retained message with a client of its own, and has everything judged.
    fn read_retained(&mut self) -> Verdict {
        let reader = self.clients.len();
        self.clients.push(Client::reader(reader, &mut self.dice));
        self.ledger.add();
        self.drain("with the reader");
        let asked = self.history.now();
        let filters = RETAINED_TOPICS.map(|topic| (topic.to_owned(), QoS::AtLeastOnce));
        self.retained_read = Some(BTreeMap::new());
        self.subscribe(reader, filters.into());
        self.run_until(self.now.plus_secs(2));
        self.drain("with what is retained");
        let read: BTreeMap<String, MessageId> = self.retained_read.take().unwrap_or_default();
        for topic in RETAINED_TOPICS {
            self.history.record(Event::RetainedRead {
                topic: topic.into(),
                asked,
                message: read.get(topic).copied(),
            });
        }
        self.history.check()
    }

    fn count_expired(&mut self) {
        for lane in &self.lanes {
            let counters = lane.shard.counters();
            self.coverage.expired_messages += counters.messages_expired_total;
            self.coverage.expired += counters.sessions_expired_total;
        }
    }

    /// Nobody is owed anything, so nothing of it is in the store.
    fn check_nothing_waits(&mut self) {
        self.run_until(self.now.plus_secs(5));
        let left = self.storage.disk.left();
        if left.records > 0 || left.inbound > 0 {
            self.complain(format!("everything is drained, and the store has {left:?}"));
        }
        for at in 0..self.lanes.len() {
            let shard = &self.lanes[at].shard;
            let (census, in_groups) = (shard.census(), shard.sizes().shared_waiting);
            if census.queued_messages > 0 || census.queued_bytes > 0 || in_groups > 0 {
                self.complain(format!(
                    "everything is drained, and shard {at} has {census:?}, and {in_groups} wait in groups"
                ));
            }
        }
    }

    /// Ends every session: nothing of them stays.
    fn end_sessions(&mut self) {
        for client in 0..self.clients.len() {
            let of = &mut self.clients[client];
            (of.is_clean, of.expiry_secs, of.will) = (true, 0, None);
            self.leave_for_good(client);
        }
        self.run_until(self.now.plus_secs(2));
        self.drain("with clean sessions");
        for client in 0..self.clients.len() {
            self.leave_for_good(client);
        }
        self.run_until(self.now.plus_secs(WILLS_SECS));
        let left = self.storage.disk.left();
        if left != Left::default() {
            self.complain(format!("all sessions are over, and the store has {left:?}"));
        }
        for at in 0..self.lanes.len() {
            let shard = &self.lanes[at].shard;
            let (mut sizes, census) = (shard.sizes(), shard.census());
            sizes.retained_messages = 0;
            let is_empty = sizes == Default::default()
                && (census.queued_messages, census.queued_bytes) == (0, 0);
            if !is_empty {
                self.complain(format!(
                    "all sessions are over, and shard {at} has {sizes:?}, {census:?}"
                ));
            }
        }
    }

    fn leave_for_good(&mut self, client: usize) {
        self.clients[client].connect_by = Time::NEVER;
        self.leave(client, &Disconnect::new(ReasonCode::NORMAL_DISCONNECTION));
    }
}
