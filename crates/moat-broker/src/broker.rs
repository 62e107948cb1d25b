//! All shards of one broker: started together, asked and stopped together.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mio::Poll;
use moat_auth::{AuthPool, Chain, Mechanisms};
use moat_core::durable::Batch;
use moat_core::shard::{Topology, restore_all};
use moat_core::sys::SysMessage;
use moat_core::{Effects, Limits, Shard, ShardId, Time};
use moat_events::EventSender;
use moat_policy::Snapshot;

use crate::admission::{Admission, AdmissionLimits};
use crate::clock::Clock;
use crate::control::{Control, ShardReport};
use crate::event_loop::{Common, EventLoop, WAKER};
use crate::greeter;
use crate::inbox::{Envelope, Inbox, InboxSender, inbox};
use crate::listener::Bound;
use crate::storage::{Opening, Storage, StorageSetup, StoreReport};

/// How long a shard may take to answer a question of the operator's.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Everything a broker is made of.
pub struct Setup {
    /// Event loops; one per core as a rule.
    pub shards: usize,
    /// Where clients come in.
    pub listeners: Vec<Bound>,
    /// What sessions and the router keep to, for the whole broker.
    pub limits: Limits,
    /// What connections keep to.
    pub admission: AdmissionLimits,
    /// From accept to CONNACK, in seconds.
    pub connect_timeout_secs: u64,
    /// How long a stop may take, in seconds.
    pub stop_timeout_secs: u64,
    /// Where clients of 5.0 are sent when the broker stops, in the form of MQTT 5.0 section 4.11.
    pub server_reference: Option<Arc<str>>,
    /// Messages one shard's inbox holds.
    pub inbox_messages_max: usize,
    /// Who may do what.
    pub policy: Arc<Snapshot>,
    /// Who vouches for clients.
    pub chain: Arc<Chain>,
    /// Authentication methods of MQTT 5.0 that clients may name; every other one is refused.
    pub mechanisms: Mechanisms,
    /// The workers that ask the chain.
    pub auth: Arc<AuthPool>,
    /// Where events go.
    pub events: EventSender,
    /// What sessions and retained messages are kept in; without it nothing outlives the process.
    pub storage: Option<StorageSetup>,
}

/// A running broker. Dropping it does not stop it; [`Broker::stop`] does.
pub struct Broker {
    /// Of the shards, and behind them of the greeters.
    inboxes: Vec<InboxSender>,
    shards: usize,
    threads: Vec<JoinHandle<io::Result<()>>>,
    admission: Arc<Admission>,
    storage: Option<Arc<Storage>>,
}

/// A shard did not answer in time, or is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a shard did not answer within {} s; the broker is overloaded or stopping", ANSWER_TIMEOUT.as_secs())]
pub struct NoAnswer;

impl Broker {
    /// Starts the shards.
    ///
    /// # Errors
    /// When the kernel gives no poll, thread or registration.
    pub fn start(setup: Setup) -> io::Result<Broker> {
        let topology = Topology::new(setup.shards);
        let greeters = greeter::count(&topology, &setup.listeners);
        let (inboxes, mut doors) = doors(topology.len() + greeters, setup.inbox_messages_max)?;
        let admission = Admission::new(setup.admission);
        let clock = Clock::start();
        let limits = share_of(&setup.limits, topology.len());
        let mut shards: Vec<Shard> = topology
            .shards()
            .map(|id| {
                let policy = Arc::clone(&setup.policy);
                Shard::new(id, topology.clone(), limits.clone(), policy)
            })
            .collect();
        let mut effects: Vec<Effects> = topology
            .shards()
            .map(|_| Effects::new(topology.len()))
            .collect();
        let storage = match setup.storage {
            None => None,
            Some(mut storage) => {
                let restored = std::mem::take(&mut storage.restored);
                let has_sessions = !restored.sessions.is_empty();
                restore_all(&mut shards, &mut effects, restored, clock.now());
                let opening = Opening {
                    batches: opening_batches(&mut shards, &mut effects, clock.now()),
                    has_sessions,
                };
                let events = setup.events.clone();
                let of_shards = inboxes[..topology.len()].to_vec();
                let storage = Storage::start(storage, opening, of_shards, events, clock)?;
                Some(Arc::new(storage))
            }
        };
        let common = Arc::new(Common {
            clock,
            storage: storage.clone(),
            connect_timeout_secs: setup.connect_timeout_secs,
            stop_timeout_secs: setup.stop_timeout_secs,
            server_reference: setup.server_reference,
            admission: Arc::clone(&admission),
            chain: setup.chain,
            mechanisms: setup.mechanisms,
            auth: setup.auth,
            events: setup.events,
            inboxes: inboxes.clone(),
            topology: topology.clone(),
        });
        let mut listeners = Some(setup.listeners);
        let mut threads = Vec::with_capacity(doors.len());
        let greeting = doors.split_off(topology.len());
        for ((shard, fx), (poll, inbox)) in shards.into_iter().zip(effects).zip(doors) {
            let name = format!("shard-{}", shard.id().index());
            // The first shard accepts for all.
            let listeners = listeners.take().unwrap_or_default();
            let common = Arc::clone(&common);
            let event_loop = EventLoop::new(shard, fx, poll, inbox, common, listeners)?;
            threads.push(
                std::thread::Builder::new()
                    .name(name)
                    .spawn(move || event_loop.run())?,
            );
        }
        for (number, (poll, inbox)) in greeting.into_iter().enumerate() {
            let shard = greeter::shard(number, &topology, &limits, &setup.policy);
            let fx = Effects::new(topology.len());
            let common = greeter::common(&common);
            let event_loop = EventLoop::new(shard, fx, poll, inbox, common, Vec::new())?;
            threads.push(greeter::spawn(number, event_loop)?);
        }
        Ok(Broker {
            inboxes,
            shards: topology.len(),
            threads,
            admission,
            storage,
        })
    }

    /// Connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.connections()
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// Puts a policy into force. Returns when every shard judges by it.
    ///
    /// # Errors
    /// When a shard does not confirm in time; it will do so later, in order.
    pub fn set_policy(&self, policy: &Arc<Snapshot>) -> Result<(), NoAnswer> {
        self.ask(|done| Control::SetPolicy(Arc::clone(policy), done))
            .map(|_| ())
    }

    /// Puts out whom the chain does not vouch for any more, after its files have been read again. Returns when every
    /// shard has done so.
    ///
    /// # Errors
    /// When a shard does not confirm in time; it will do so later.
    pub fn put_out(&self) -> Result<(), NoAnswer> {
        self.ask(Control::PutOut).map(|_| ())
    }

    /// The sum of what all shards report.
    ///
    /// # Errors
    /// When a shard does not answer in time.
    pub fn report(&self) -> Result<ShardReport, NoAnswer> {
        let reports = self.ask(Control::Report)?;
        Ok(reports
            .iter()
            .fold(ShardReport::default(), |mut sum, report| {
                sum.add(report);
                sum
            }))
    }

    /// How the store is, if there is one.
    #[must_use]
    pub fn store_report(&self) -> Option<StoreReport> {
        self.storage.as_ref().map(|storage| storage.report())
    }

    /// Publishes values of the broker itself, below `$SYS/`.
    pub fn publish_system(&self, messages: Vec<SysMessage>) {
        // One shard for all of them, so that they are told in order. It passes them on to their owners.
        if let Some(first) = self.inboxes.first() {
            first.send_waiting(Envelope::Control(Control::PublishSystem(messages)));
        }
    }

    /// Says goodbye to everybody and ends. Returns when all shards have ended and what they
    /// handed in is durable.
    ///
    /// # Errors
    /// The first error that ended a shard, or a panic of one, or why the store failed.
    pub fn stop(self) -> io::Result<()> {
        for inbox in &self.inboxes {
            inbox.send_waiting(Envelope::Control(Control::Stop));
        }
        self.join()
    }

    /// Why the broker cannot go on, if it cannot: a shard has ended by itself, which it does only by an error, or the store has failed.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.threads.iter().any(JoinHandle::is_finished) {
            return Some("a packet thread has ended by itself".to_owned());
        }
        let cause = self.storage.as_ref()?.failure()?;
        Some(format!("the store failed: {cause}"))
    }

    fn join(self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a shard panicked")));
            result = result.and(ended);
        }
        // Last, since each shard hands in something at its end.
        result.and(self.storage.map_or(Ok(()), |storage| storage.stop()))
    }

    fn ask<T>(&self, question: impl Fn(SyncSender<T>) -> Control) -> Result<Vec<T>, NoAnswer> {
        let (sender, answers) = sync_channel(self.inboxes.len());
        for inbox in &self.inboxes {
            inbox.send_waiting(Envelope::Control(question(sender.clone())));
        }
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        (0..self.inboxes.len())
            .map(|_| {
                let left = deadline.saturating_duration_since(Instant::now());
                answers.recv_timeout(left).map_err(|_| NoAnswer)
            })
            .collect()
    }
}

/// What an event loop is woken by, and its side of its inbox.
type Door = (Poll, Inbox);

/// The ways into so many event loops.
fn doors(count: usize, messages_max: usize) -> io::Result<(Vec<InboxSender>, Vec<Door>)> {
    let door = |_| {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKER)?;
        let (sender, receiver) = inbox(waker, messages_max);
        Ok((sender, (poll, receiver)))
    };
    (0..count).map(door).collect()
}

/// What shards have to write since they were restored.
fn opening_batches(
    shards: &mut [Shard],
    effects: &mut [Effects],
    now: Time,
) -> Vec<(ShardId, Batch)> {
    let all = shards.iter_mut().zip(effects);
    all.filter_map(|(shard, fx)| {
        shard.finish_turn(now, fx);
        Some((shard.id(), fx.journal.take()?))
    })
    .collect()
}

/// The limits of one of `shards` shards: what counts for the whole broker is dealt out.
fn share_of(limits: &Limits, shards: usize) -> Limits {
    Limits {
        sessions_max: limits.sessions_max.div_ceil(shards),
        retained_messages_max: limits.retained_messages_max.div_ceil(shards),
        retained_bytes_max: limits.retained_bytes_max.div_ceil(shards),
        retained_per_identity_max: limits.retained_per_identity_max,
        ..limits.clone()
    }
}
