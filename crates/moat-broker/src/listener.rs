//! Where clients come in: what is bound, and under which rules.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use moat_config::ClientIdMode;
use moat_events::PeerAddress;
use moat_websocket::Rules;
use rustls::ServerConfig;

use crate::connection::Socket;
use crate::tls::IdentityKey;
use crate::unix_socket::{self, SocketFile, UnixSocketError};

/// Connections the kernel completes before they are accepted.
pub const LISTEN_BACKLOG: i32 = 4096;

/// The rules of one listener, shared by all of its connections.
pub struct Listener {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Its TLS configuration; `None` for plain TCP and Unix sockets. Swapped on reload.
    pub tls: Option<ArcSwap<ServerConfig>>,
    /// What a WebSocket upgrade has to be like; `None` where MQTT comes without WebSocket.
    pub websocket: Option<Arc<Rules>>,
    /// Whether a client without any credential may come in.
    pub anonymous: bool,
    /// How client identifiers are bound to identities.
    pub client_id: ClientIdMode,
    /// Which field of a certificate is the identity.
    pub identity_key: IdentityKey,
}

/// A listener with its sockets, not yet accepting.
pub struct Bound {
    /// Its rules.
    pub listener: Arc<Listener>,
    /// Its sockets.
    pub sockets: Vec<Listening>,
}

/// A listening socket.
#[derive(Debug)]
pub enum Listening {
    /// TCP, with the address it got.
    Tcp(mio::net::TcpListener, SocketAddr),
    /// A Unix socket, with its file.
    Unix(mio::net::UnixListener, SocketFile),
}

impl Listening {
    /// The address in a network; `None` for a Unix socket.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(_, address) => Some(*address),
            Self::Unix(..) => None,
        }
    }

    /// What is registered with the poll.
    pub(crate) fn source(&mut self) -> &mut dyn mio::event::Source {
        match self {
            Self::Tcp(listener, _) => listener,
            Self::Unix(listener, _) => listener,
        }
    }

    /// Takes one connection.
    ///
    /// # Errors
    /// As the kernel says; `ConnectionAborted` for one that is gone already.
    pub(crate) fn accept(&self) -> io::Result<(Socket, PeerAddress)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, address) = listener.accept()?;
                Ok((Socket::Tcp(stream), address.into()))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                // Without them it has no address, so it does not come in.
                let credentials = unix_socket::credentials(&stream)
                    .map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
                Ok((Socket::Unix(stream), PeerAddress::Unix(credentials)))
            }
        }
    }
}

/// As in the log and the status: `192.0.2.1:8883`, or `unix:/run/moat/mqtt.sock`.
impl fmt::Display for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => address.fmt(f),
            Self::Unix(_, file) => write!(f, "unix:{}", file.path().display()),
        }
    }
}

impl Bound {
    /// Listens on a Unix socket as well, whose file has the permissions `mode`.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn add_unix(&mut self, path: &Path, mode: u32) -> Result<(), UnixSocketError> {
        let (listener, file) = unix_socket::listen(path, mode)?;
        self.sockets.push(Listening::Unix(listener, file));
        Ok(())
    }
}

/// An address could not be bound.
#[derive(Debug)]
pub struct BindError {
    /// The listener's name.
    pub listener: Arc<str>,
    /// The address.
    pub address: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            listener,
            address,
            source,
        } = self;
        write!(f, "listener \"{listener}\": cannot listen on {address}: ")?;
        match source.kind() {
            io::ErrorKind::AddrInUse => write!(
                f,
                "the port is taken by another program; find it with `ss -ltnp 'sport = :{}'`, or choose another `bind`",
                address.port()
            ),
            io::ErrorKind::PermissionDenied => {
                write!(
                    f,
                    "ports below 1024 need root or CAP_NET_BIND_SERVICE; choose another `bind`, or start as root"
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                write!(f, "this machine has no such address; check `bind`")
            }
            _ => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds every address of a listener.
///
/// An IPv6 socket takes IPv6 only, so that `[::]` and `0.0.0.0` can stand side by side. A machine
/// without IPv6 is served by the other addresses.
///
/// # Errors
/// When an address cannot be bound.
pub fn bind(listener: Listener, addresses: &[SocketAddr]) -> Result<Bound, BindError> {
    let listener = Arc::new(listener);
    let mut sockets = Vec::with_capacity(addresses.len());
    for address in addresses {
        match bind_one(*address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_without_ipv6(*address, &error) && addresses.len() > 1 => {}
            Err(source) => {
                return Err(BindError {
                    listener: Arc::clone(&listener.name),
                    address: *address,
                    source,
                });
            }
        }
    }
    Ok(Bound { listener, sockets })
}

fn is_without_ipv6(address: SocketAddr, error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    // EAFNOSUPPORT has no kind of its own that is stable.
    let unsupported = error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error());
    address.is_ipv6() && (unsupported || matches!(error.kind(), Unsupported | AddrNotAvailable))
}

fn bind_one(address: SocketAddr) -> io::Result<Listening> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // So that a restart does not wait for connections in TIME_WAIT; a listening socket still
    // conflicts, which is how a second broker on the port is noticed.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Small answers must not wait for the peer's delayed acknowledgement. What is accepted has the option from the socket it came by.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    let listener = mio::net::TcpListener::from_std(socket.into());
    let bound = listener.local_addr()?;
    Ok(Listening::Tcp(listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_accepted_sends_small_answers_at_once() {
        let listening = bind_one(([127, 0, 0, 1], 0).into()).unwrap();
        let _client = std::net::TcpStream::connect(listening.ip().unwrap()).unwrap();
        let accepted = loop {
            match listening.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                accepted => break accepted.unwrap(),
            }
        };
        let (Socket::Tcp(stream), _) = accepted else {
            panic!("not a TCP socket");
        };
        assert!(stream.nodelay().unwrap());
    }
}
