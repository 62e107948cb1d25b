//! What is to be done.

use std::time::Duration;

use moat_codec::QoS;

use super::arguments::INFLIGHT_DEFAULT;

/// Connections of one run that are opened at the same time unless the command says otherwise.
const OPENING_DEFAULT: usize = 100;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Messages to the broker.
    Pub,
    /// Messages from the broker.
    Sub,
    /// Connections, each ended as soon as it was accepted.
    Connect,
    /// Messages through the broker, and how long they took.
    Latency,
}

impl Mode {
    /// As the subcommand is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pub => "pub",
            Self::Sub => "sub",
            Self::Connect => "connect",
            Self::Latency => "latency",
        }
    }
}

/// What one connection does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Publishes to this topic.
    Publisher(String),
    /// Subscribes to this filter.
    Subscriber(String),
    /// Connects and goes.
    Visitor,
}

/// A run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What is measured.
    pub(crate) mode: Mode,
    /// One for each connection; a single one for [`Mode::Connect`]. A pair of [`Mode::Latency`] is a subscriber with
    /// its publisher behind it.
    pub(crate) roles: Vec<Role>,
    /// Quality of service of messages and subscriptions.
    pub(crate) qos: QoS,
    /// Bytes of a payload.
    pub(crate) size: usize,
    /// Messages of one client that wait for their acknowledgement.
    pub(crate) inflight: u16,
    /// Messages per second of all clients; `None` for as many as possible.
    pub(crate) rate: Option<u64>,
    /// Messages, or connections, in all.
    pub(crate) count: Option<u64>,
    /// How long.
    pub(crate) duration: Option<Duration>,
    /// Connections opened at the same time.
    pub(crate) opening: usize,
}

impl Plan {
    /// A plan that has no end yet.
    pub(crate) fn new(mode: Mode, roles: Vec<Role>) -> Self {
        Self {
            mode,
            roles,
            qos: QoS::AtMostOnce,
            size: 0,
            inflight: INFLIGHT_DEFAULT,
            rate: None,
            count: None,
            duration: None,
            opening: OPENING_DEFAULT,
        }
    }

    /// Connections in all.
    pub(super) fn connections(&self) -> u64 {
        match (self.mode, self.count) {
            (Mode::Connect, Some(count)) => count,
            _ => self.roles.len() as u64,
        }
    }

    /// What the connection of this number does.
    pub(super) fn role(&self, number: u64) -> &Role {
        usize::try_from(number)
            .ok()
            .and_then(|number| self.roles.get(number))
            .unwrap_or(&Role::Visitor)
    }
}

/// The topic of one client: `%i` stands for its number, counted from 0.
pub(crate) fn numbered(topic: &str, number: usize) -> String {
    topic.replace("%i", &number.to_string())
}
