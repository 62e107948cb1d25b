//! The broker: shards, each driven in turns as the real event loop drives it.

mod handing;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use moat_codec::{Framed, Packet, frame};
use moat_core::durable::{Loaded, StoreState};
use moat_core::session::{Opening, SessionIndex};
use moat_core::shard::{Arrival, Pause, PeerMessage, Then, Topology, restore_all};
use moat_core::{Close, ConnId, Effects, Shard, ShardId, Time};
use moat_policy::{Identity, Snapshot};

use super::world::{Event, Step, World};

/// Envelopes handled per turn.
const ENVELOPES_PER_TURN_MAX: usize = 16;
/// Milliseconds until a turn tries again to hand over to a shard whose inbox was full.
const STUCK_RETRY_MILLIS: u64 = 1;

/// What an inbox holds.
pub(super) enum Envelope {
    Peers(ShardId, Vec<PeerMessage>),
    Connection(Box<Conn>),
    Committed(u64),
    Loaded(Loaded),
}

/// How far a connection has come.
enum Stage {
    Arriving(Box<Opening>),
    Attached(SessionIndex),
    Closing,
}

/// Why a connection is not read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Paused {
    Until(Time),
    Peers,
}

/// The broker's side of a connection.
pub(super) struct Conn {
    slot: u32,
    stage: Stage,
    /// Bytes that no packet has used yet.
    input: Vec<u8>,
    has_input: bool,
    is_listed: bool,
    paused: Option<Paused>,
}

/// One shard with its connections.
pub(super) struct Lane {
    pub(super) shard: Shard,
    pub(super) fx: Effects,
    pub(super) inbox: VecDeque<Envelope>,
    conns: BTreeMap<u32, Conn>,
    ready: Vec<u32>,
    unflushed: Vec<u32>,
    waiting_for_peers: Vec<u32>,
    timers: Vec<(Time, u32)>,
    peers_moved: bool,
    is_stuck: bool,
    state: StoreState,
    /// When its next turn is.
    next_turn: Time,
}

fn id(slot: u32) -> ConnId {
    ConnId {
        slot,
        generation: 1,
    }
}

impl World {
    /// A broker starts on what the store has.
    pub(super) fn start(&mut self) {
        self.life += 1;
        let before = self.shards;
        self.shards = 1 + self.dice.place(3);
        self.coverage.reshards += u64::from(self.life > 1 && before != self.shards);
        let topology = Topology::seeded(self.shards, self.dice.roll());
        let limits = self.plan.limits(&mut self.dice);
        let policy = Arc::new(Snapshot::allow_all());
        let shard = |id| Shard::new(id, topology.clone(), limits.clone(), Arc::clone(&policy));
        let mut shards: Vec<Shard> = topology.shards().map(shard).collect();
        let mut effects: Vec<Effects> = shards.iter().map(|_| Effects::new(shards.len())).collect();
        self.storage.crash(self.shards);
        let restored = self.storage.disk.restored(self.alive_at);
        self.note(|| format!("start with {} shards on {restored:?}", topology.len()));
        restore_all(&mut shards, &mut effects, restored, self.now);
        let mut opening = Vec::new();
        for (at, (shard, fx)) in shards.iter_mut().zip(&mut effects).enumerate() {
            shard.finish_turn(self.now, fx);
            opening.extend(fx.journal.take().map(|batch| (at, batch)));
        }
        let lane = |(shard, fx)| Lane {
            shard,
            fx,
            inbox: VecDeque::new(),
            conns: BTreeMap::new(),
            ready: Vec::new(),
            unflushed: Vec::new(),
            waiting_for_peers: Vec::new(),
            timers: Vec::new(),
            peers_moved: false,
            is_stuck: false,
            state: StoreState::Ready,
            next_turn: Time::NEVER,
        };
        self.lanes = shards.into_iter().zip(effects).map(lane).collect();
        self.topology = topology;
        self.is_up = true;
        self.history.record(crate::history::Event::Started);
        self.started_at = self.history.events().len();
        self.store_opening(opening);
        self.wake_all();
    }

    /// Gives a shard a turn soon.
    pub(super) fn wake(&mut self, lane: usize) {
        let millis = u64::from(self.is_rough && self.dice.chance(20));
        self.turn_at(lane, self.now.plus_millis(millis));
    }

    pub(super) fn wake_all(&mut self) {
        for lane in 0..self.lanes.len() {
            self.wake(lane);
        }
    }

    fn turn_at(&mut self, lane: usize, at: Time) {
        if at < self.lanes[lane].next_turn {
            self.lanes[lane].next_turn = at;
            let life = self.life;
            self.at(at, Event::Turn { life, lane });
        }
    }

    /// One turn of a shard.
    pub(super) fn turn(&mut self, at: usize) -> Step {
        if self.now < self.lanes[at].next_turn {
            // It has had that turn already.
            return Ok(());
        }
        self.lanes[at].next_turn = Time::NEVER;
        self.step()?;
        let state = self.storage.state(at, self.plan.behind);
        self.coverage.behind += u64::from(state == StoreState::Behind);
        let lane = &mut self.lanes[at];
        lane.shard.set_store_state(state);
        // Who waits for the store tries again when it is better.
        lane.peers_moved |= std::mem::replace(&mut lane.state, state) != state;
        self.serve_ready(at)?;
        self.drain_inbox(at)?;
        self.run_timers(at)?;
        self.flush_dirty(at)?;
        self.step()?;
        let now = self.now;
        let lane = &mut self.lanes[at];
        lane.shard.finish_turn(now, &mut lane.fx);
        let batch = lane.fx.journal.take();
        let loads = std::mem::take(&mut lane.fx.loads);
        lane.fx.events.clear();
        if let Some(batch) = batch {
            self.store(at, batch);
        }
        for load in loads {
            self.load(at, load);
        }
        self.hand_over(at);
        self.plan_turn(at);
        Ok(())
    }

    fn plan_turn(&mut self, at: usize) {
        let lane = &self.lanes[at];
        let is_busy = !lane.ready.is_empty()
            || !lane.unflushed.is_empty()
            || !lane.fx.dirty.is_empty()
            || !lane.inbox.is_empty();
        let mut due = lane.shard.next_timeout().unwrap_or(Time::NEVER);
        due = due.min(
            lane.timers
                .iter()
                .map(|(due, _)| *due)
                .min()
                .unwrap_or(Time::NEVER),
        );
        if lane.is_stuck {
            due = due.min(self.now.plus_millis(STUCK_RETRY_MILLIS));
        }
        if is_busy {
            self.wake(at);
        } else if due != Time::NEVER {
            // At least one millisecond on: a clock does not stand still between two polls.
            self.turn_at(at, due.max(self.now.plus_millis(1)));
        }
    }

    // --- connections ---

    /// Bytes of a client, or its end, have arrived.
    pub(super) fn arrived(&mut self, slot: u32) {
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        match wire.lane {
            Some(lane) => {
                self.list(lane, slot);
                self.wake(lane);
            }
            None => self.greet(slot),
        }
    }

    /// Reads the CONNECT and sends the connection to the home of its session.
    fn greet(&mut self, slot: u32) {
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        let input = self.greeting.entry(slot).or_default();
        input.extend(wire.up.receive(self.now, usize::MAX));
        let limits = moat_codec::Limits::default();
        let Ok(Framed::Complete { total, .. }) = frame(input, &limits) else {
            if wire.up.is_over(self.now) {
                self.greeting.remove(&slot);
                self.hang_up(slot, &[]);
            }
            return;
        };
        let rest = input.split_off(total);
        let first = std::mem::replace(input, rest);
        let version = moat_codec::Version::V5;
        let Ok(Packet::Connect(connect)) = Packet::decode(&first, version, &limits) else {
            panic!("a client of the simulation does not say CONNECT");
        };
        let opening = Opening::of_packet(&connect, |_| false, || "".into()).unwrap();
        let home = self
            .topology
            .home(&opening.client_id, &opening.client_id)
            .index();
        let input = self.greeting.remove(&slot).unwrap_or_default();
        wire.lane = Some(home);
        let conn = Conn {
            slot,
            stage: Stage::Arriving(Box::new(opening)),
            has_input: !input.is_empty(),
            input,
            is_listed: false,
            paused: None,
        };
        self.lanes[home]
            .inbox
            .push_back(Envelope::Connection(Box::new(conn)));
        self.wake(home);
    }

    /// A connection is at the home of its session.
    fn arrive(&mut self, at: usize, mut conn: Conn) -> Step {
        let slot = conn.slot;
        let now = self.now;
        let Stage::Arriving(opening) = std::mem::replace(&mut conn.stage, Stage::Closing) else {
            return Ok(());
        };
        self.step()?;
        let Some(wire) = self.wires.get_mut(&slot) else {
            return Ok(());
        };
        let client = wire.client;
        wire.present = self.ledger.expected(client, opening.clean_start, now);
        let expiry_secs = opening.session_expiry_secs;
        self.note_will(slot, opening.clean_start);
        let name = opening.client_id.to_string();
        let arrival = Arrival {
            conn: id(slot),
            address: SocketAddr::from(([127, 0, 0, 1], 1000)).into(),
            listener: "simulation".into(),
            tls: None,
            opening: *opening,
            identity: Arc::new(Identity::from_password(&*name)),
            expires_at: Time::NEVER,
        };
        let lane = &mut self.lanes[at];
        match lane.shard.connect(arrival, now, &mut lane.fx) {
            Ok(session) => {
                let durable = lane
                    .shard
                    .session(session)
                    .and_then(|of| of.durable.as_ref());
                let queue = durable.map(|durable| durable.queue);
                if let Some(wire) = self.wires.get_mut(&slot) {
                    wire.queue = queue;
                }
                self.ledger.online(client, slot, expiry_secs);
                conn.stage = Stage::Attached(session);
                self.lanes[at].conns.insert(slot, conn);
                self.settle(at);
                self.list(at, slot);
            }
            Err(refused) => {
                self.settle(at);
                self.hang_up(slot, &refused.bytes);
            }
        }
        Ok(())
    }

    fn list(&mut self, at: usize, slot: u32) {
        let now = self.now;
        let Some(wire) = self.wires.get(&slot) else {
            return;
        };
        let lane = &mut self.lanes[at];
        let Some(conn) = lane.conns.get_mut(&slot) else {
            return;
        };
        let may_read = wire.up.next().is_some_and(|next| next <= now);
        if conn.paused.is_none() && (conn.has_input || may_read) && !conn.is_listed {
            conn.is_listed = true;
            lane.ready.push(slot);
        }
    }

    fn serve_ready(&mut self, at: usize) -> Step {
        for slot in std::mem::take(&mut self.lanes[at].ready) {
            if let Some(conn) = self.lanes[at].conns.get_mut(&slot) {
                conn.is_listed = false;
                self.serve(at, slot)?;
                self.list(at, slot);
            }
        }
        Ok(())
    }

    /// Reads once and handles what came, or goes on with what an earlier turn left.
    fn serve(&mut self, at: usize, slot: u32) -> Step {
        self.step()?;
        let now = self.now;
        let (Some(wire), Some(conn)) = (
            self.wires.get_mut(&slot),
            self.lanes[at].conns.get_mut(&slot),
        ) else {
            return Ok(());
        };
        let Stage::Attached(session) = conn.stage else {
            return Ok(());
        };
        if conn.paused.is_some() {
            return Ok(());
        }
        if !std::mem::take(&mut conn.has_input) {
            let max = match self.is_rough {
                true => 1 + self.dice.place(self.plan.read_bytes),
                false => usize::MAX,
            };
            conn.input.extend(wire.up.receive(now, max));
        }
        let input = std::mem::take(&mut conn.input);
        if !input.is_empty() {
            let lane = &mut self.lanes[at];
            let received = lane.shard.receive(session, &input, now, &mut lane.fx);
            if received.then == Then::Closed
                && let Some(wire) = self.wires.get(&slot)
            {
                // Its last packet was the DISCONNECT if all it ever said was handled.
                let is_last = received.consumed == input.len() && wire.up.len() == 0;
                let (client, asked) = (wire.client, wire.last_expiry);
                self.ledger.offline(client, slot, asked, is_last, now);
            }
            self.settle(at);
            self.digested(at, slot, &input[received.consumed..], received.then);
        }
        self.end_if_over(at, slot)
    }

    fn digested(&mut self, at: usize, slot: u32, rest: &[u8], then: Then) {
        let lane = &mut self.lanes[at];
        let Some(conn) = lane.conns.get_mut(&slot) else {
            return;
        };
        conn.input = rest.to_vec();
        match then {
            Then::NeedMore(_) | Then::Closed => {}
            Then::Budget => {
                self.coverage.budgets += 1;
                conn.has_input = !conn.input.is_empty();
            }
            Then::Pause(Pause::Until(until)) => {
                self.coverage.pauses += 1;
                conn.paused = Some(Paused::Until(until));
                lane.timers.push((until, slot));
            }
            Then::Pause(Pause::Peers) => {
                self.coverage.pauses += 1;
                conn.paused = Some(Paused::Peers);
                lane.waiting_for_peers.push(slot);
            }
        }
    }

    /// Ends a connection whose client has closed its side, once all that came before is handled.
    fn end_if_over(&mut self, at: usize, slot: u32) -> Step {
        let now = self.now;
        let (Some(wire), Some(conn)) = (self.wires.get(&slot), self.lanes[at].conns.get(&slot))
        else {
            return Ok(());
        };
        let Stage::Attached(session) = conn.stage else {
            return Ok(());
        };
        if conn.paused.is_some() || conn.has_input || !wire.up.is_over(now) {
            return Ok(());
        }
        let client = wire.client;
        self.step()?;
        self.ledger.offline(client, slot, None, false, now);
        let lane = &mut self.lanes[at];
        let why = "connection closed by the client";
        lane.shard.connection_lost(session, why, now, &mut lane.fx);
        self.settle(at);
        self.lanes[at].conns.remove(&slot);
        self.hang_up(slot, &[]);
        Ok(())
    }

    /// Carries out the closes a shard has asked for.
    fn settle(&mut self, at: usize) {
        while let Some(Close { conn, bytes }) = self.lanes[at].fx.closed.pop() {
            let slot = conn.slot;
            if let Some(wire) = self.wires.get(&slot) {
                let (client, asked) = (wire.client, wire.last_expiry);
                self.ledger.offline(client, slot, asked, false, self.now);
            }
            let gone = self.lanes[at].conns.remove(&slot);
            if gone.is_some_and(|conn| conn.paused.is_some()) {
                self.not_heard(slot);
            }
            self.hang_up(slot, &bytes);
        }
    }

    /// Sends the last bytes and closes.
    fn hang_up(&mut self, slot: u32, bytes: &[u8]) {
        let delay = self.delay();
        let now = self.now;
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        wire.is_over = true;
        let client = wire.client;
        wire.down.send(now, bytes, delay);
        let end = wire.down.end(now, 0);
        self.at(end, Event::ToClient { slot });
        self.ended(client, slot);
    }

    // --- the rest of a turn ---

    fn drain_inbox(&mut self, at: usize) -> Step {
        let now = self.now;
        for _ in 0..ENVELOPES_PER_TURN_MAX {
            let Some(envelope) = self.lanes[at].inbox.pop_front() else {
                return Ok(());
            };
            match envelope {
                Envelope::Peers(from, messages) => {
                    self.lanes[at].peers_moved = true;
                    for message in messages {
                        self.step()?;
                        self.note(|| format!("shard {at} from {}: {message:?}", from.number()));
                        let lane = &mut self.lanes[at];
                        lane.shard.peer(from, message, now, &mut lane.fx);
                    }
                }
                Envelope::Connection(conn) => self.arrive(at, *conn)?,
                Envelope::Committed(ticket) => {
                    self.step()?;
                    let lane = &mut self.lanes[at];
                    lane.shard.committed(ticket, now, &mut lane.fx);
                    lane.peers_moved = true;
                }
                Envelope::Loaded(loaded) => {
                    self.step()?;
                    let lane = &mut self.lanes[at];
                    lane.shard.loaded(loaded, now, &mut lane.fx);
                }
            }
            self.settle(at);
        }
        Ok(())
    }

    fn run_timers(&mut self, at: usize) -> Step {
        let now = self.now;
        let timers = std::mem::take(&mut self.lanes[at].timers);
        for (due, slot) in timers {
            if due > now {
                self.lanes[at].timers.push((due, slot));
            } else {
                self.resume(at, slot);
            }
        }
        self.step()?;
        let lane = &mut self.lanes[at];
        lane.shard.tick(now, &mut lane.fx);
        self.coverage.keep_alive_timeouts += lane.fx.closed.len() as u64;
        self.settle(at);
        Ok(())
    }

    fn resume(&mut self, at: usize, slot: u32) {
        if let Some(conn) = self.lanes[at].conns.get_mut(&slot) {
            conn.paused = None;
            conn.has_input |= !conn.input.is_empty();
            self.list(at, slot);
        }
    }
}
