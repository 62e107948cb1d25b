//! Everything there is, and the clock: what happens next, one thing after the other.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use moat_core::Time;
use moat_core::shard::Topology;

use crate::fume::Dice;
use crate::history::{History, MessageId};

use super::broker::Lane;
use super::client::Client;
use super::crash::{CrashAt, Dead};
use super::ledger::Ledger;
use super::network::{Pipe, Wire};
use super::plan::Plan;
use super::storage::Storage;
use super::store::ModelDisk;
use super::{Coverage, Planted};

/// The moment a simulation begins, in milliseconds since 1970.
const BEGIN_MILLIS: u64 = 1_700_000_000_000;

/// Events after which a seed is not taken for one that ends.
const ENDLESS: u64 = 300_000;

/// What a part of a turn returns: nothing, or that the broker is dead.
pub(super) type Step<T = ()> = Result<T, Dead>;

/// Something that happens at a moment.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Event {
    /// A broker starts.
    Start,
    /// A shard has a turn.
    Turn { life: u32, lane: usize },
    /// A commit is over.
    Committed { life: u32 },
    /// A load is over.
    Loaded { life: u32, number: u64 },
    /// Bytes arrive at the broker.
    ToBroker { slot: u32 },
    /// Bytes arrive at a client.
    ToClient { slot: u32 },
    /// The network fails a connection.
    Cut { slot: u32 },
    /// A client does something.
    Act { client: usize },
    /// A client sends what it has put off.
    Answer { client: usize },
}

/// Everything there is.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) planted: Option<Planted>,
    pub(super) dice: Dice,
    pub(super) now: Time,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    pub(super) happened: u64,
    // The broker.
    pub(super) is_up: bool,
    /// How many brokers there have been.
    pub(super) life: u32,
    pub(super) shards: usize,
    pub(super) topology: Topology,
    pub(super) lanes: Vec<Lane>,
    pub(super) storage: Storage,
    pub(super) alive_at: Time,
    // The network.
    pub(super) wires: BTreeMap<u32, Wire>,
    pub(super) greeting: BTreeMap<u32, Vec<u8>>,
    slots: u32,
    /// Whether things go wrong; not any more at the end.
    pub(super) is_rough: bool,
    // Crashes.
    pub(super) crash_at: CrashAt,
    pub(super) crashes_left: u64,
    /// Calls into shards.
    pub(super) steps: u64,
    // Clients and what is known of them.
    pub(super) clients: Vec<Client>,
    pub(super) operations_left: u64,
    pub(super) history: History,
    pub(super) ledger: Ledger,
    pub(super) coverage: Coverage,
    /// The event by which each message was sent first.
    pub(super) sent_at: BTreeMap<MessageId, usize>,
    /// The event by which this broker started.
    pub(super) started_at: usize,
    /// What a reader of retained messages has got.
    pub(super) retained_read: Option<BTreeMap<String, MessageId>>,
    /// Broken promises that the history has no word for.
    pub(super) complaints: Vec<String>,
    /// What happened, if somebody wants to read it.
    pub(super) trace: Option<Vec<String>>,
}

impl World {
    pub(super) fn new(seed: u64, planted: Option<Planted>, is_traced: bool) -> World {
        let mut dice = Dice::new(seed, 0);
        let plan = Plan::new(&mut dice);
        let clients: Vec<Client> = (0..plan.clients)
            .map(|number| Client::new(number, &mut dice))
            .collect();
        let crashes_left = 1 + dice.below(4);
        let mut world = World {
            operations_left: plan.operations,
            planted,
            now: Time::from_millis(BEGIN_MILLIS),
            events: BinaryHeap::new(),
            order: 0,
            happened: 0,
            is_up: false,
            life: 0,
            shards: 0,
            topology: Topology::seeded(1, 0),
            lanes: Vec::new(),
            storage: Storage::new(Box::new(ModelDisk::new(planted))),
            alive_at: Time::ZERO,
            wires: BTreeMap::new(),
            greeting: BTreeMap::new(),
            slots: 0,
            is_rough: true,
            crash_at: CrashAt::Never,
            crashes_left,
            steps: 0,
            ledger: Ledger::new(clients.len()),
            clients,
            history: History::new(),
            coverage: Coverage {
                seeds: 1,
                ..Coverage::default()
            },
            sent_at: BTreeMap::new(),
            started_at: 0,
            retained_read: None,
            complaints: Vec::new(),
            trace: is_traced.then(Vec::new),
            plan,
            dice,
        };
        world.plan_crash();
        world.at(world.now, Event::Start);
        for client in 0..world.clients.len() {
            world.after(1 + client as u64, Event::Act { client });
        }
        world
    }

    // --- time ---

    pub(super) fn at(&mut self, at: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((at, self.order, event)));
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) {
        self.at(self.now.plus_millis(millis), event);
    }

    /// Lets happen what is due until that moment, or until nothing is left to do.
    pub(super) fn run_until(&mut self, end: Time) {
        while let Some(Reverse((at, ..))) = self.events.peek() {
            if *at > end {
                break;
            }
            self.next();
        }
        self.now = self.now.max(end);
    }

    /// Lets the next thing happen.
    pub(super) fn next(&mut self) {
        let Some(Reverse((at, _, event))) = self.events.pop() else {
            return;
        };
        self.now = self.now.max(at);
        self.happened += 1;
        assert!(self.happened < ENDLESS, "the seed does not end");
        if self.happen(event).is_err() {
            self.crash();
        }
    }

    fn happen(&mut self, event: Event) -> Step {
        let is_now = |life| self.is_up && self.life == life;
        match event {
            Event::Start => self.start(),
            Event::Turn { life, lane } if is_now(life) => {
                return self.turn(lane);
            }
            Event::Committed { life } if is_now(life) => return self.end_commit(),
            Event::Loaded { life, number } if is_now(life) => return self.end_load(number),
            Event::Turn { .. } | Event::Committed { .. } | Event::Loaded { .. } => {}
            Event::ToBroker { slot } if self.is_up => self.arrived(slot),
            Event::ToBroker { .. } => {}
            Event::ToClient { slot } => self.read(slot),
            Event::Cut { slot } => self.cut(slot),
            Event::Act { client } => self.act(client),
            Event::Answer { client } => self.answer(client),
        }
        Ok(())
    }

    // --- the network ---

    /// Milliseconds that bytes are under way.
    pub(super) fn delay(&mut self) -> u64 {
        match self.is_rough && self.dice.chance(3) {
            true => self.dice.below(2000),
            false => self.dice.below(1 + self.plan.delay_millis),
        }
    }

    /// A client opens a connection.
    pub(super) fn open(&mut self, client: usize) -> u32 {
        let slot = self.slots;
        self.slots += 1;
        let wire = Wire {
            client,
            up: Pipe::default(),
            down: Pipe::default(),
            lane: None,
            present: None,
            queue: None,
            is_over: false,
            last_expiry: None,
        };
        self.wires.insert(slot, wire);
        if self.is_rough && self.dice.chance(self.plan.cut_percent) {
            let millis = self.dice.below(4000);
            self.after(millis, Event::Cut { slot });
        }
        slot
    }

    /// A client writes, in one piece or several.
    pub(super) fn write(&mut self, slot: u32, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_whole = !self.is_rough || !self.dice.chance(15);
            let size = if is_whole {
                rest.len()
            } else {
                1 + self.dice.place(rest.len())
            };
            let delay = self.delay();
            let now = self.now;
            let Some(wire) = self.wires.get_mut(&slot) else {
                return;
            };
            let arrives = wire.up.send(now, &rest[..size], delay);
            self.at(arrives, Event::ToBroker { slot });
            rest = &rest[size..];
        }
    }

    /// The network fails: both sides get what had left the other one, up to some byte, and the end.
    pub(super) fn cut(&mut self, slot: u32) {
        let now = self.now;
        let Some(wire) = self.wires.get(&slot) else {
            return;
        };
        let client = wire.client;
        if self.clients[client].wire != Some(slot) || !self.is_rough {
            // It is over already, or said goodbye: that has to arrive.
            return;
        }
        self.coverage.cuts += 1;
        let (up, down) = (wire.up.len(), wire.down.len());
        let (up, down) = (self.dice.place(up + 1), self.dice.place(down + 1));
        self.note(|| format!("connection {slot} of client {} is cut", client + 1));
        let Some(wire) = self.wires.get_mut(&slot) else {
            return;
        };
        let (to_broker, to_client) = (wire.up.cut(now, up), wire.down.cut(now, down));
        self.at(to_broker, Event::ToBroker { slot });
        self.at(to_client, Event::ToClient { slot });
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.now.millis() - BEGIN_MILLIS;
            let events = self.history.events().len();
            trace.push(format!("{at:>8} {events:>5} {}", text()));
        }
    }

    pub(super) fn complain(&mut self, text: String) {
        self.note(|| format!("COMPLAINT: {text}"));
        self.complaints.push(text);
    }
}
