//! Where a peer is: what an event, the status and the log call its address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerAddress {
    /// Address and port of a peer in a network.
    Ip(SocketAddr),
    /// Who holds the other end of a Unix socket, as the kernel says.
    Unix(PeerCredentials),
}

/// The process at the other end of a Unix socket when it connected, as seen from here (unix(7), `SO_PEERCRED`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerCredentials {
    /// The process, or 0 if it is in a namespace whose processes have no number here.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

impl PeerAddress {
    /// For whoever has no address any more.
    pub const UNKNOWN: Self = Self::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));
}

impl From<SocketAddr> for PeerAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

/// As in logs: `192.0.2.1:5000`, or `unix:uid:1000,gid:1000,pid:4242`. Never needs quotes.
impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(PeerCredentials { pid, uid, gid }) => {
                write!(f, "unix:uid:{uid},gid:{gid},pid:{pid}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_stand_in_the_place_of_an_address() {
        let peer = PeerAddress::Unix(PeerCredentials {
            pid: 4242,
            uid: 1000,
            gid: 100,
        });
        assert_eq!(peer.to_string(), "unix:uid:1000,gid:100,pid:4242");
        assert_eq!(PeerAddress::UNKNOWN.to_string(), "0.0.0.0:0");
    }
}
