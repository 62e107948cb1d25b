//! One shard's event loop: the only place where sockets, time and the shard's logic meet.
//!
//! A turn: poll, serve every connection on the ready list, drain the inbox, timers, flush every
//! dirty connection with one write, hand over to the other shards with one wake each, hand in what has to be
//! durable.

mod accept;
mod close;
mod exchange;
mod flush;
mod greet;
mod hand_over;
mod mail;
mod ready;
mod serve;
mod store;
mod survey;
mod timers;
mod turns;

use std::collections::BinaryHeap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use moat_auth::{AuthPool, Chain, Mechanisms};
use moat_core::sys::Traffic;
use moat_core::{ConnId, Effects, Shard, ShardId, Time};
use moat_events::EventSender;

pub use greet::Answer;

use crate::admission::Admission;
use crate::clock::Clock;
use crate::connection::{Buffers, Connection};
use crate::inbox::{Inbox, InboxSender};
use crate::listener::Bound;
use crate::storage::Storage;

/// Events taken from the kernel per poll.
const EVENTS_PER_TURN_MAX: usize = 1024;
/// Milliseconds until a turn tries again to hand over to a shard whose inbox was full.
const STUCK_RETRY_MILLIS: u64 = 1;

/// The inbox's bell.
pub(crate) const WAKER: Token = Token(usize::MAX);
/// Listeners count down from here; connections count up from 0.
const LISTENERS: usize = usize::MAX - 1;

/// What all event loops share.
#[derive(Clone)]
pub struct Common {
    /// What time it is.
    pub clock: Clock,
    /// Where what is durable is kept; nothing is, without one.
    pub storage: Option<Arc<Storage>>,
    /// How long a client has from accept to CONNACK, in seconds.
    pub connect_timeout_secs: u64,
    /// How long a stop may take, in seconds.
    pub stop_timeout_secs: u64,
    /// Where clients are sent when the broker stops.
    pub server_reference: Option<Arc<str>>,
    /// Who may connect.
    pub admission: Arc<Admission>,
    /// Who vouches for clients.
    pub chain: Arc<Chain>,
    /// Which authentication methods there are beside it.
    pub mechanisms: Mechanisms,
    /// The workers that ask the chain when the answer takes time.
    pub auth: Arc<AuthPool>,
    /// Where events go.
    pub events: EventSender,
    /// Every shard's inbox, by shard, and behind them those of the greeters.
    pub inboxes: Vec<InboxSender>,
    /// Which shard is whose home.
    pub topology: moat_core::shard::Topology,
}

/// One shard with its sockets.
pub struct EventLoop {
    shard: Shard,
    fx: Effects,
    poll: Poll,
    inbox: Inbox,
    common: Arc<Common>,
    listeners: Vec<accept::Accepting>,
    connections: slab::Slab<Box<Connection>>,
    generations: u32,
    /// Connections that may do something without a further event from the kernel.
    ready: Vec<ConnId>,
    /// Connections with bytes for the wire that are not in `fx.dirty`.
    unflushed: Vec<ConnId>,
    /// Connections that pause until other shards have room or have answered.
    waiting_for_peers: Vec<ConnId>,
    /// Connections on their way to another shard.
    leaving: Vec<(ConnId, ShardId)>,
    /// Those whose new shard's inbox was full.
    homeless: Vec<(Box<Connection>, ShardId)>,
    timers: BinaryHeap<timers::Timer>,
    buffers: Buffers,
    /// Running totals, for `$SYS`.
    traffic: Traffic,
    turns: turns::Turns,
    /// Reports that somebody waits for.
    surveys: survey::Surveys,
    /// Whose turn it is to greet who comes in: without TLS, and with it.
    next_shard: usize,
    next_greeter: usize,
    /// Whether another shard took or brought something since those who wait for it last tried.
    peers_moved: bool,
    /// Whether an inbox of another shard was full at the last hand-over.
    stuck: bool,
    stopping: Option<Time>,
    now: Time,
}

impl EventLoop {
    /// An event loop around `shard`, with the effects it has had so far and the listeners it accepts for.
    ///
    /// # Errors
    /// When a listener cannot be registered.
    pub fn new(
        shard: Shard,
        fx: Effects,
        poll: Poll,
        inbox: Inbox,
        common: Arc<Common>,
        listeners: Vec<Bound>,
    ) -> io::Result<Self> {
        let listeners = accept::register(&poll, listeners)?;
        Ok(EventLoop {
            fx,
            shard,
            poll,
            inbox,
            common,
            listeners,
            connections: slab::Slab::new(),
            generations: 0,
            ready: Vec::new(),
            unflushed: Vec::new(),
            waiting_for_peers: Vec::new(),
            leaving: Vec::new(),
            homeless: Vec::new(),
            timers: BinaryHeap::new(),
            buffers: Buffers::new(),
            traffic: Traffic::default(),
            turns: turns::Turns::default(),
            surveys: survey::Surveys::default(),
            next_shard: 0,
            next_greeter: 0,
            peers_moved: false,
            stuck: false,
            stopping: None,
            now: Time::ZERO,
        })
    }

    /// Runs until told to stop.
    ///
    /// # Errors
    /// When the kernel's poll fails, which nothing can mend.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN_MAX);
        while !self.is_over() {
            self.turn(&mut events)?;
        }
        self.store_the_rest();
        Ok(())
    }

    /// One turn.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        self.poll(events)?;
        let began = Instant::now();
        self.now = self.common.clock.at(began);
        self.note_store();
        self.note_readiness(events);
        self.serve_ready();
        self.drain_inbox();
        self.go_on_with_survey();
        self.run_timers();
        self.flush_dirty();
        self.hand_over();
        self.store();
        self.tell();
        self.turns.note(began.elapsed(), self.now);
        Ok(())
    }

    fn poll(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.timeout();
        let poll = &mut self.poll;
        self.inbox.while_asleep(|empty| {
            let timeout = if empty { timeout } else { Some(Duration::ZERO) };
            match poll.poll(events, timeout) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                polled => polled,
            }
        })
    }

    /// How long the poll may wait: not at all while something is left to do.
    fn timeout(&self) -> Option<Duration> {
        let busy =
            !self.ready.is_empty() || !self.fx.dirty.is_empty() || !self.unflushed.is_empty();
        if busy || !self.surveys.is_empty() {
            return Some(Duration::ZERO);
        }
        let mut due = self.next_timer().unwrap_or(Time::NEVER);
        due = due.min(self.next_accept().unwrap_or(Time::NEVER));
        due = due.min(self.shard.next_timeout().unwrap_or(Time::NEVER));
        if self.stuck || !self.fx.loads.is_empty() {
            due = due.min(self.now.plus_millis(STUCK_RETRY_MILLIS));
        }
        if due == Time::NEVER {
            return None;
        }
        // The kernel counts whole milliseconds and may round down, hence one more.
        Some(Duration::from_millis(due.millis_since(self.clock()) + 1))
    }

    /// Whether this loop only greets; see [`crate::greeter`].
    fn is_greeter(&self) -> bool {
        self.shard.id().index() >= self.common.topology.len()
    }

    fn clock(&self) -> Time {
        self.common.clock.now()
    }

    /// Sends what happened in this turn to the log.
    fn tell(&mut self) {
        for event in self.fx.events.drain(..) {
            self.common.events.send(event);
        }
    }

    /// Takes a connection in. Its socket is registered here, once, for reading and writing.
    fn adopt(&mut self, mut connection: Box<Connection>) -> Option<ConnId> {
        self.generations = self.generations.wrapping_add(1);
        connection.generation = self.generations;
        // True until a write says otherwise; the kernel's first event would only cost a turn.
        connection.ready.writable = true;
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        let interest = mio::Interest::READABLE | mio::Interest::WRITABLE;
        if self
            .poll
            .registry()
            .register(connection.socket(), Token(slot), interest)
            .is_err()
        {
            return None;
        }
        let deadline = connection.deadline;
        entry.insert(connection);
        // Descriptors are far fewer than four billion.
        let id = ConnId {
            slot: u32::try_from(slot).unwrap_or(u32::MAX),
            generation: self.generations,
        };
        self.set_timer(deadline, id);
        Some(id)
    }

    fn connection(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.connections
            .get_mut(id.slot as usize)
            .filter(|connection| connection.generation == id.generation)
            .map(|connection| &mut **connection)
    }
}
