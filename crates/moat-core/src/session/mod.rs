//! One client's session: what it is owed and what it has promised, online or offline.

pub mod aliases;
pub mod durable;
pub mod enhanced;
pub mod entry;
pub mod inflight;
pub mod lent;
pub mod link;
pub mod opening;
pub mod outbound;
pub mod parcel;
pub mod rate;
pub mod share;
pub mod subscriptions;
pub mod will;

mod deliver;
mod pump;

use std::sync::Arc;

use moat_codec::PacketId;
use moat_policy::{Identity, Subject};

pub use deliver::{Delivered, Wish};
pub use durable::Durable;
pub use lent::{GivenUp, Lent};
pub use link::{Link, PartialPacket};
pub use opening::Opening;
pub use outbound::Outbound;
pub use pump::{PUMPED_MESSAGES_MAX, Pumped};
pub use share::{Membership, Memberships, Share};
pub use subscriptions::{SessionIndex, Subscriber, Subscriptions};
pub use will::Will;

use crate::Time;
use crate::durable::SessionRecord;

/// A session, keyed by (identity, client identifier).
pub struct Session {
    /// Whose it is. A new connection brings its own proof of the same name.
    pub identity: Arc<Identity>,
    /// The client identifier.
    pub client_id: Box<str>,
    /// Its connection, if there is one.
    pub link: Option<Box<Link>>,
    /// Its filters.
    pub subscriptions: Subscriptions,
    /// Its part in shared subscriptions; absent while it has none.
    pub shares: Option<Box<Memberships>>,
    /// What it is owed; absent while that is nothing.
    pub outbound: Option<Box<Outbound>>,
    /// Its side in the store; absent in a session that ends with its connection.
    pub durable: Option<Box<Durable>>,
    /// QoS 2 identifiers of the client that await PUBREL, sorted [MQTT-4.3.3-10].
    pub inbound: Vec<PacketId>,
    /// The will.
    pub will: Option<Arc<Will>>,
    /// How long the session outlives its connection, in seconds; `u32::MAX` is for ever.
    pub expiry_secs: u32,
    /// When an offline session ends.
    pub ends_at: Time,
    /// When the will is due.
    pub will_at: Time,
    /// The earliest moment this session stands in the timer heap for.
    pub timer_at: Time,
    /// Tells this session from an earlier one in the same place.
    pub generation: u32,
    /// Messages handed to each topic-owning shard and not yet confirmed; empty when none ever was.
    /// They may be under way still when the next connection has come.
    pub via_owner: Box<[u32]>,
    /// Publications of its client that this shard writes and that are not durable yet.
    pub unwritten: u32,
    /// Whether messages of an earlier session of its client are under way.
    pub follows: bool,
    /// QoS 1 and 2 messages it has lost to its limits.
    pub dropped: u64,
    /// Messages its subscriptions matched and the policy kept back, where it judges each delivery.
    pub withheld: u64,
    /// The fan-out that last chose this session, and where it stands in it.
    pub chosen: (u64, u32),
}

impl Session {
    /// A session without a connection, a subscription or a will.
    #[must_use]
    pub fn new(identity: Arc<Identity>, client_id: Box<str>, generation: u32) -> Self {
        Session {
            identity,
            client_id,
            link: None,
            subscriptions: Subscriptions::default(),
            shares: None,
            outbound: None,
            durable: None,
            inbound: Vec::new(),
            will: None,
            expiry_secs: 0,
            ends_at: Time::NEVER,
            will_at: Time::NEVER,
            timer_at: Time::NEVER,
            generation,
            via_owner: Box::default(),
            unwritten: 0,
            follows: false,
            dropped: 0,
            withheld: 0,
            chosen: (0, 0),
        }
    }

    /// Who the policy has to judge.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        Subject {
            identity: &self.identity,
            client_id: &self.client_id,
        }
    }

    /// Who the policy has to judge, and the connection, if there is one.
    pub fn linked(&mut self) -> Option<(Subject<'_>, &mut Link)> {
        let link = self.link.as_deref_mut()?;
        let subject = Subject {
            identity: &self.identity,
            client_id: &self.client_id,
        };
        Some((subject, link))
    }

    /// As it stands in the store.
    #[must_use]
    pub fn record(&self, offline_since: Option<Time>) -> SessionRecord {
        SessionRecord {
            identity: Arc::clone(&self.identity),
            client_id: self.client_id.clone(),
            expiry_secs: self.expiry_secs,
            offline_since,
        }
    }

    /// The next moment something is due.
    #[must_use]
    pub fn next_timeout(&self) -> Time {
        let keep_alive = self
            .link
            .as_ref()
            .map_or(Time::NEVER, |link| link.keep_alive_deadline());
        let proof = self.link.as_ref().map_or(Time::NEVER, |link| {
            link.reauthentication_deadline().min(link.expires_at)
        });
        keep_alive.min(proof).min(self.ends_at).min(self.will_at)
    }

    /// What it is owed, made on first need.
    pub fn outbound_mut(&mut self) -> &mut Outbound {
        self.outbound.get_or_insert_default()
    }

    /// Messages waiting for it.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.outbound
            .as_ref()
            .map_or(0, |outbound| outbound.queued())
    }
}
