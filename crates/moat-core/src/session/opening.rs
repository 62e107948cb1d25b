//! What a CONNECT asked for, owned: it waits while the client is being authenticated, and moves
//! with its connection to the session's home shard.

use std::num::NonZeroU32;
use std::sync::Arc;

use moat_codec::{Connect, ReasonCode, Version};

use super::enhanced::Authentication;
use super::will::Will;
use crate::Limits;

/// Receive Maximum of a client that does not state one [MQTT-3.1.2.11.3].
const RECEIVE_MAXIMUM_DEFAULT: u16 = u16::MAX;

/// A CONNECT without its credentials.
#[derive(Debug)]
pub struct Opening {
    /// The client's protocol version.
    pub version: Version,
    /// Whether a session that exists is to be dropped.
    pub clean_start: bool,
    /// As the client asked, in seconds; 0 is none.
    pub keep_alive_secs: u16,
    /// As the client sent it, or made here when it sent none.
    pub client_id: Box<str>,
    /// Whether `client_id` was made here.
    pub client_id_assigned: bool,
    /// The will, if there is one.
    pub will: Option<Arc<Will>>,
    /// How long the session may outlive its connection, in seconds; `u32::MAX` is for ever.
    pub session_expiry_secs: u32,
    /// QoS 1 and 2 messages the client takes at once.
    pub receive_maximum: u16,
    /// The largest packet the client takes, in bytes.
    pub maximum_packet_size: u32,
    /// The largest topic alias the client takes; 0 is none, and always so before 5.0.
    pub topic_alias_maximum: u16,
    /// Whether reason strings may be sent with anything but CONNACK and DISCONNECT.
    pub request_problem_information: bool,
    /// The authentication method it named, if it did.
    pub authentication: Option<Box<Authentication>>,
}

impl Opening {
    /// Takes over what a CONNECT says. `fresh_client_id` is used when it names none [MQTT-3.1.3-6]; `speaks` says
    /// which authentication methods there are. Whoever knows one has to lead the exchange.
    ///
    /// # Errors
    /// With the reason for the CONNACK when it asks for what this server does not have.
    pub fn of_packet(
        connect: &Connect<'_>,
        speaks: impl FnOnce(&str) -> bool,
        fresh_client_id: impl FnOnce() -> Box<str>,
    ) -> Result<Opening, ReasonCode> {
        let properties = &connect.properties;
        let method = properties.authentication_method;
        if method.is_some_and(|method| !speaks(method)) {
            // [MQTT-4.12.0-1]
            return Err(ReasonCode::BadAuthenticationMethod);
        }
        let client_id_assigned = connect.client_id.is_empty();
        let session_expiry_secs = match connect.version {
            Version::V5 => properties.session_expiry_secs.unwrap_or(0),
            Version::V31 | Version::V311 if connect.clean_start => 0,
            Version::V31 | Version::V311 => u32::MAX,
        };
        Ok(Opening {
            version: connect.version,
            clean_start: connect.clean_start,
            keep_alive_secs: connect.keep_alive_secs,
            client_id: if client_id_assigned {
                fresh_client_id()
            } else {
                connect.client_id.into()
            },
            client_id_assigned,
            will: connect
                .will
                .as_ref()
                .map(|will| Arc::new(Will::of_packet(will))),
            session_expiry_secs,
            receive_maximum: properties
                .receive_maximum
                .map_or(RECEIVE_MAXIMUM_DEFAULT, |max| max.get()),
            maximum_packet_size: properties
                .maximum_packet_size
                .map_or(u32::MAX, NonZeroU32::get),
            topic_alias_maximum: match connect.version {
                Version::V5 => properties.topic_alias_maximum,
                Version::V31 | Version::V311 => 0,
            },
            request_problem_information: properties.request_problem_information,
            authentication: method.map(|method| {
                Box::new(Authentication {
                    method: method.into(),
                    data: None,
                })
            }),
        })
    }

    /// The keep alive that will hold, and whether the client must be told so.
    ///
    /// 5.0 is told by Server Keep Alive [MQTT-3.1.2-21]; a 3.x client that asks for none or too
    /// much is held to the maximum, which 3.1.1 section 3.1.2.10 allows.
    #[must_use]
    pub fn keep_alive(&self, limits: &Limits) -> (u16, bool) {
        let max = limits.keep_alive_secs_max;
        if max == 0 || (1..=max).contains(&self.keep_alive_secs) {
            return (self.keep_alive_secs, false);
        }
        (max, self.version.is_v5())
    }
}
