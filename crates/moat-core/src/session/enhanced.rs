//! Enhanced authentication as a session's connection knows it (4.12): which method, and whose turn it is.

use std::fmt;

use crate::{ConnId, Time};

/// Seconds a re-authentication may take, from the client's AUTH 0x19 to the verdict.
pub const REAUTHENTICATION_SECS_MAX: u64 = 10;

/// The method a connection was opened with, on its way from the CONNECT to the CONNACK.
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Its name, as the client wrote it.
    pub method: Box<str>,
    /// The mechanism's last word for the CONNACK.
    pub data: Option<Box<[u8]>>,
}

impl fmt::Debug for Authentication {
    /// Without the data, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

/// What a connection that was opened with an authentication method remembers of it.
#[derive(Debug)]
pub struct Enhanced {
    /// The only method its AUTH packets may name [MQTT-4.12.1-1].
    pub method: Box<str>,
    /// Whose turn it is.
    pub turn: Turn,
    /// When a re-authentication has to be over.
    pub deadline: Time,
}

/// Whose turn it is in a re-authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Turn {
    /// None is under way.
    Nobody,
    /// The mechanism has to judge what the client said.
    Server,
    /// The client has to answer a challenge.
    Client,
}

impl Enhanced {
    /// A connection that has just been authenticated by `method`.
    #[must_use]
    pub fn new(method: Box<str>) -> Box<Self> {
        Box::new(Enhanced {
            method,
            turn: Turn::Nobody,
            deadline: Time::NEVER,
        })
    }
}

/// What a connected client said about who it is, for the mechanism to judge.
pub struct AuthenticationStep {
    /// Whose connection.
    pub conn: ConnId,
    /// Whether it begins a re-authentication, with AUTH 0x19.
    pub begins: bool,
    /// The method of the connection.
    pub method: Box<str>,
    /// What the client sent for the mechanism; a secret.
    pub data: Option<Vec<u8>>,
}

impl fmt::Debug for AuthenticationStep {
    /// Without the data, which may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationStep")
            .field("conn", &self.conn)
            .field("begins", &self.begins)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}
