//! The end of a turn: bytes to clients, and what shards tell each other.

use super::super::network::Wire;
use super::super::world::{Event, Step, World};
use super::{Envelope, Paused, Stage, id};

impl World {
    pub(super) fn flush_dirty(&mut self, at: usize) -> Step {
        let lane = &mut self.lanes[at];
        let mut dirty: Vec<u32> = lane.fx.dirty.drain(..).map(|conn| conn.slot).collect();
        dirty.append(&mut lane.unflushed);
        for slot in dirty {
            self.flush(at, slot)?;
        }
        Ok(())
    }

    fn flush(&mut self, at: usize, slot: u32) -> Step {
        let now = self.now;
        let delay = self.delay();
        let window = self.plan.window;
        let lane = &mut self.lanes[at];
        let (Some(wire), Some(conn)) = (self.wires.get_mut(&slot), lane.conns.get(&slot)) else {
            return Ok(());
        };
        let Stage::Attached(session) = conn.stage else {
            return Ok(());
        };
        let Some(link) = lane
            .shard
            .link(session)
            .filter(|link| link.conn == id(slot))
        else {
            return Ok(());
        };
        let room = window.saturating_sub(wire.down.len());
        let fits = room.min(link.out.len());
        let rest = link.out.split_off(fits);
        let bytes = std::mem::replace(&mut link.out, rest);
        let is_all = link.out.is_empty();
        if fits > 0 {
            let arrives = wire.down.send(now, &bytes, delay);
            if !wire.down.is_void {
                self.at(arrives, Event::ToClient { slot });
            }
        }
        if !is_all {
            // The client's reading is what makes room.
            self.coverage.blocked_writes += 1;
            return Ok(());
        }
        self.step()?;
        let lane = &mut self.lanes[at];
        lane.shard.flushed(session, now, &mut lane.fx);
        self.settle(at);
        Ok(())
    }

    /// What the broker has of a connection, for people.
    pub(in crate::simulation) fn told_connection(&self, slot: u32) -> String {
        let Some(lane) = self.wires.get(&slot).and_then(|wire| wire.lane) else {
            return "not arrived".to_owned();
        };
        let of = &self.lanes[lane];
        let Some(conn) = of.conns.get(&slot) else {
            return format!("shard {lane} does not have it");
        };
        let is_paused = match conn.paused {
            None => "no",
            Some(Paused::Until(_)) => "for a while",
            Some(Paused::Peers) => "until others have moved",
        };
        let (read, stuck) = (conn.input.len(), of.is_stuck);
        let under_way = self.wires.get(&slot).map_or(0, |wire| wire.down.len());
        let unsent = match conn.stage {
            Stage::Attached(at) => {
                let link = of
                    .shard
                    .session(at)
                    .and_then(|session| session.link.as_ref());
                link.map_or(0, |link| link.out.len())
            }
            Stage::Arriving(_) | Stage::Closing => 0,
        };
        format!(
            "shard {lane}, paused: {is_paused}, {read} bytes read, {unsent} unsent, {under_way} under way, shard stuck: {stuck}"
        )
    }

    /// A client has read: there is room for more.
    pub(in crate::simulation) fn made_room(&mut self, slot: u32) {
        let Some(Wire {
            lane: Some(lane), ..
        }) = self.wires.get(&slot)
        else {
            return;
        };
        let lane = *lane;
        if lane < self.lanes.len() && self.lanes[lane].conns.contains_key(&slot) {
            self.lanes[lane].unflushed.push(slot);
            self.wake(lane);
        }
    }

    /// Gives every other shard its batch of this turn.
    pub(super) fn hand_over(&mut self, from: usize) {
        self.lanes[from].is_stuck = false;
        for to in 0..self.lanes.len() {
            self.send_batch(from, to);
        }
        if self.lanes[from].is_stuck {
            return;
        }
        // A confirmation promises that what it confirms is in every inbox: so it goes last.
        for to in 0..self.lanes.len() {
            let outbox = &mut self.lanes[from].fx.peers[to];
            outbox.messages.append(&mut outbox.confirmations);
            self.send_batch(from, to);
        }
        if std::mem::take(&mut self.lanes[from].peers_moved) {
            for slot in std::mem::take(&mut self.lanes[from].waiting_for_peers) {
                let paused = self.lanes[from].conns.get(&slot).map(|conn| conn.paused);
                if paused == Some(Some(Paused::Peers)) {
                    self.resume(from, slot);
                }
            }
        }
    }

    fn send_batch(&mut self, from: usize, to: usize) {
        if self.lanes[from].fx.peers[to].messages.is_empty() {
            return;
        }
        if self.lanes[to].inbox.len() >= self.plan.inbox_envelopes {
            self.coverage.full_inboxes += 1;
            self.lanes[from].is_stuck = true;
            return;
        }
        let messages = std::mem::take(&mut self.lanes[from].fx.peers[to].messages);
        let id = self.lanes[from].shard.id();
        self.lanes[to]
            .inbox
            .push_back(Envelope::Peers(id, messages));
        self.lanes[from].peers_moved = true;
        self.wake(to);
    }
}
