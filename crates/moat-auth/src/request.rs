//! What is known about somebody who wants to connect.

use std::fmt;
use std::sync::Arc;

use moat_events::PeerAddress;
use moat_policy::Identity;

use crate::Password;

/// The credentials of one CONNECT and where they came from.
pub struct ConnectRequest {
    /// The client id, as the client sent it or as the server assigned it.
    pub client_id: String,
    /// User Name of the CONNECT [MQTT-3.1.3-11]; proves nothing by itself.
    pub username: Option<String>,
    /// Password of the CONNECT: any bytes (MQTT 5 section 3.1.3.6).
    pub password: Option<Password>,
    /// The identity of the client's certificate, after its chain was verified.
    pub certificate: Option<Identity>,
    /// The client's address, as the listener believes it.
    pub address: PeerAddress,
    /// The name of the listener it came in by.
    pub listener: Arc<str>,
}

impl fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("client_id", &self.client_id)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field(
                "certificate",
                &self.certificate.as_ref().map(|identity| &identity.name),
            )
            .field("address", &self.address)
            .field("listener", &self.listener)
            .finish()
    }
}
