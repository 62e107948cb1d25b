//! Who may connect at all: counts of connections in all, by address, and by identity.
//!
//! Touched when a connection comes, is authenticated, and goes; never for a packet.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use moat_events::PeerAddress;

/// Address entries after which those nobody uses are swept out.
const ADDRESSES_SWEPT_AT: usize = 4096;

/// Limits of [`Admission`]; the configuration's names.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLimits {
    /// Connections in all.
    pub connections_max: usize,
    /// Of these, kept for addresses that have none yet.
    pub new_address_connections_reserve: usize,
    /// Connections of one address that have yet to authenticate.
    pub unauthenticated_per_address_max: u32,
    /// Connections of one identity.
    pub connections_per_identity_max: u32,
    /// Bytes held for all connections that have yet to authenticate.
    pub preauth_bytes_total_max: usize,
}

#[derive(Debug, Default)]
struct AddressUse {
    connections: AtomicU32,
    unauthenticated: AtomicU32,
}

/// Whose connections count together: those of one IP address, and by Unix socket those of one user. Ports and processes
/// are as many as somebody wants.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Neighbour {
    /// An IP address.
    Ip(IpAddr),
    /// A user of this machine, by its number.
    User(u32),
}

impl From<PeerAddress> for Neighbour {
    fn from(address: PeerAddress) -> Self {
        match address {
            PeerAddress::Ip(address) => Self::Ip(address.ip()),
            PeerAddress::Unix(credentials) => Self::User(credentials.uid),
        }
    }
}

/// The counts, shared by all shards.
#[derive(Debug)]
pub struct Admission {
    limits: AdmissionLimits,
    connections: AtomicUsize,
    preauth_bytes: AtomicUsize,
    addresses: Mutex<HashMap<Neighbour, Arc<AddressUse>>>,
    identities: Mutex<HashMap<Arc<str>, u32>>,
}

/// Why a connection is not taken. The text names the limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAdmitted {
    /// There are `connections_max`.
    ConnectionsMax,
    /// What is left is kept for addresses without a connection.
    Reserved,
    /// Too many unauthenticated connections of one address.
    UnauthenticatedPerAddress,
}

impl NotAdmitted {
    /// For the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            NotAdmitted::ConnectionsMax => "connections_max reached",
            NotAdmitted::Reserved => {
                "connections left are reserved for new addresses (new_address_connections_reserve)"
            }
            NotAdmitted::UnauthenticatedPerAddress => "unauthenticated_per_address_max reached",
        }
    }
}

impl Admission {
    /// No connections yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits) -> Arc<Self> {
        Arc::new(Admission {
            limits,
            connections: AtomicUsize::new(0),
            preauth_bytes: AtomicUsize::new(0),
            addresses: Mutex::default(),
            identities: Mutex::default(),
        })
    }

    /// Connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Takes one connection of `address` into account.
    ///
    /// # Errors
    /// When a limit forbids it.
    pub fn admit(self: &Arc<Self>, address: PeerAddress) -> Result<Permit, NotAdmitted> {
        let used = self.connections.load(Ordering::Relaxed);
        if used >= self.limits.connections_max {
            return Err(NotAdmitted::ConnectionsMax);
        }
        let entry = self.address(address.into());
        let left = self.limits.connections_max - used;
        if left <= self.limits.new_address_connections_reserve
            && entry.connections.load(Ordering::Relaxed) > 0
        {
            return Err(NotAdmitted::Reserved);
        }
        if entry.unauthenticated.load(Ordering::Relaxed)
            >= self.limits.unauthenticated_per_address_max
        {
            return Err(NotAdmitted::UnauthenticatedPerAddress);
        }
        self.connections.fetch_add(1, Ordering::Relaxed);
        entry.connections.fetch_add(1, Ordering::Relaxed);
        entry.unauthenticated.fetch_add(1, Ordering::Relaxed);
        Ok(Permit {
            admission: Arc::clone(self),
            address: entry,
            identity: None,
            authenticated: false,
            charged: 0,
        })
    }

    fn address(&self, address: Neighbour) -> Arc<AddressUse> {
        let mut addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if addresses.len() >= ADDRESSES_SWEPT_AT.max(self.connections() * 2) {
            addresses.retain(|_, entry| Arc::strong_count(entry) > 1);
        }
        Arc::clone(addresses.entry(address).or_default())
    }
}

/// One connection's place in the counts; dropping it gives the place back.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    address: Arc<AddressUse>,
    identity: Option<Arc<str>>,
    authenticated: bool,
    charged: usize,
}

/// There is no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LimitReached;

impl Permit {
    /// The connection is authenticated; it counts for `identity`, if there is one to count for.
    ///
    /// # Errors
    /// When the identity has `connections_per_identity_max` already.
    pub fn authenticated_as(&mut self, identity: Option<&Arc<str>>) -> Result<(), LimitReached> {
        if let Some(identity) = identity {
            let mut identities = self
                .admission
                .identities
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let count = identities.entry(Arc::clone(identity)).or_default();
            if *count >= self.admission.limits.connections_per_identity_max {
                return Err(LimitReached);
            }
            *count += 1;
        }
        self.identity = identity.cloned();
        if !std::mem::replace(&mut self.authenticated, true) {
            self.address.unauthenticated.fetch_sub(1, Ordering::Relaxed);
        }
        self.uncharge();
        Ok(())
    }

    /// Accounts for the `bytes` now held for this connection before it is authenticated.
    ///
    /// # Errors
    /// When all such connections together hold `preauth_bytes_total_max`.
    pub fn charge(&mut self, bytes: usize) -> Result<(), LimitReached> {
        let total = &self.admission.preauth_bytes;
        let before = std::mem::replace(&mut self.charged, bytes);
        total.fetch_sub(before, Ordering::Relaxed);
        let others = total.fetch_add(bytes, Ordering::Relaxed);
        if bytes > before && others + bytes > self.admission.limits.preauth_bytes_total_max {
            return Err(LimitReached);
        }
        Ok(())
    }

    fn uncharge(&mut self) {
        let charged = std::mem::take(&mut self.charged);
        self.admission
            .preauth_bytes
            .fetch_sub(charged, Ordering::Relaxed);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.uncharge();
        self.admission.connections.fetch_sub(1, Ordering::Relaxed);
        self.address.connections.fetch_sub(1, Ordering::Relaxed);
        if !self.authenticated {
            self.address.unauthenticated.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(identity) = self.identity.take() else {
            return;
        };
        let mut identities = self
            .admission
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = identities.get_mut(&identity) {
            *count -= 1;
            if *count == 0 {
                identities.remove(&identity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use moat_events::PeerCredentials;

    use super::*;

    const LIMITS: AdmissionLimits = AdmissionLimits {
        connections_max: 4,
        new_address_connections_reserve: 1,
        unauthenticated_per_address_max: 2,
        connections_per_identity_max: 1,
        preauth_bytes_total_max: 100,
    };

    fn address(last: u8) -> PeerAddress {
        SocketAddr::from(([127, 0, 0, last], 4000)).into()
    }

    fn process(pid: u32, uid: u32) -> PeerAddress {
        PeerAddress::Unix(PeerCredentials { pid, uid, gid: 0 })
    }

    #[test]
    fn the_processes_of_one_user_count_together() {
        let admission = Admission::new(LIMITS);
        let _held: Vec<_> = (1..=2)
            .map(|pid| admission.admit(process(pid, 1000)).unwrap())
            .collect();
        assert_eq!(
            admission.admit(process(3, 1000)).unwrap_err(),
            NotAdmitted::UnauthenticatedPerAddress
        );
        assert!(admission.admit(process(4, 1001)).is_ok());
    }

    #[test]
    fn one_address_cannot_hold_more_than_its_share_of_unauthenticated_connections() {
        let admission = Admission::new(LIMITS);
        let _held: Vec<_> = (0..2)
            .map(|_| admission.admit(address(1)).unwrap())
            .collect();
        assert_eq!(
            admission.admit(address(1)).unwrap_err(),
            NotAdmitted::UnauthenticatedPerAddress
        );
        assert!(admission.admit(address(2)).is_ok());
    }

    #[test]
    fn the_last_connections_are_kept_for_new_addresses() {
        let admission = Admission::new(AdmissionLimits {
            unauthenticated_per_address_max: 9,
            ..LIMITS
        });
        let mut held: Vec<_> = (0..3)
            .map(|_| admission.admit(address(1)).unwrap())
            .collect();
        assert_eq!(
            admission.admit(address(1)).unwrap_err(),
            NotAdmitted::Reserved
        );
        held.push(admission.admit(address(2)).unwrap());
        assert_eq!(
            admission.admit(address(3)).unwrap_err(),
            NotAdmitted::ConnectionsMax
        );
        held.clear();
        assert_eq!(admission.connections(), 0);
        assert!(admission.admit(address(1)).is_ok());
    }

    #[test]
    fn one_identity_has_its_number_of_connections_and_gets_them_back() {
        let admission = Admission::new(LIMITS);
        let name: Arc<str> = "device-1".into();
        let mut first = admission.admit(address(1)).unwrap();
        let mut second = admission.admit(address(1)).unwrap();
        first.authenticated_as(Some(&name)).unwrap();
        assert_eq!(second.authenticated_as(Some(&name)), Err(LimitReached));
        drop(first);
        second.authenticated_as(Some(&name)).unwrap();
    }

    #[test]
    fn bytes_before_authentication_share_one_budget() {
        let admission = Admission::new(LIMITS);
        let mut first = admission.admit(address(1)).unwrap();
        let mut second = admission.admit(address(2)).unwrap();
        first.charge(60).unwrap();
        assert_eq!(second.charge(60), Err(LimitReached));
        drop(second);
        first.charge(100).unwrap();
    }
}
