//! For whom a decision is made.

use crate::identity::Identity;

/// For whom a decision is made: the identity, and the client id of the connection.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Who the connection belongs to.
    pub identity: &'a Identity,
    /// The client id of the connection. The client chose it, unless the listener binds it to the
    /// identity.
    pub client_id: &'a str,
}
