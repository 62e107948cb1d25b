//! Accepting: on the first shard, which deals the connections out to all in turn.

use std::io;
use std::sync::Arc;

use mio::{Interest, Poll, Token};
use moat_core::Time;
use moat_events::{Event, PeerAddress};

use super::{EventLoop, LISTENERS};
use crate::connection::{Connection, Socket};
use crate::inbox::Envelope;
use crate::listener::{Bound, Listener, Listening};
use crate::tls::TlsLayer;

/// Connections accepted per listener and turn.
const ACCEPTS_PER_TURN_MAX: usize = 16;
/// Milliseconds a listener rests after the kernel refused a connection, for want of descriptors as
/// a rule: without the rest, an edge would be lost or the loop would spin.
const REST_AFTER_ERROR_MILLIS: u64 = 100;

/// A registered listening socket.
pub(super) struct Accepting {
    socket: Listening,
    listener: Arc<Listener>,
    /// There may be connections to accept.
    pub(super) ready: bool,
    /// Not before this moment.
    pub(super) resting_until: Time,
}

/// Registers the sockets of all listeners.
pub(super) fn register(poll: &Poll, bound: Vec<Bound>) -> io::Result<Vec<Accepting>> {
    let mut accepting = Vec::new();
    for Bound { listener, sockets } in bound {
        for mut socket in sockets {
            let token = Token(LISTENERS - accepting.len());
            poll.registry()
                .register(socket.source(), token, Interest::READABLE)?;
            let listener = Arc::clone(&listener);
            accepting.push(Accepting {
                socket,
                listener,
                ready: false,
                resting_until: Time::ZERO,
            });
        }
    }
    Ok(accepting)
}

impl EventLoop {
    /// Accepts what waits, at most a turn's worth per listener.
    pub(super) fn accept_ready(&mut self) {
        for n in 0..self.listeners.len() {
            if !self.listeners[n].ready || self.listeners[n].resting_until > self.now {
                continue;
            }
            for _ in 0..ACCEPTS_PER_TURN_MAX {
                match self.listeners[n].socket.accept() {
                    Ok((socket, address)) => self.accepted(n, socket, address),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.listeners[n].ready = false;
                        break;
                    }
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        self.rest(n, &error);
                        break;
                    }
                }
            }
        }
    }

    /// Whether a listener has to be looked at again without an event, and when.
    pub(super) fn next_accept(&self) -> Option<Time> {
        self.listeners
            .iter()
            .filter(|l| l.ready)
            .map(|l| l.resting_until)
            .min()
    }

    fn rest(&mut self, n: usize, error: &io::Error) {
        let listener = &mut self.listeners[n];
        listener.resting_until = self.now.plus_millis(REST_AFTER_ERROR_MILLIS);
        let address = listener.socket.ip();
        let address = address.map_or(PeerAddress::UNKNOWN, PeerAddress::Ip);
        self.fx.events.push(Event::ConnectionRefused {
            address,
            listener: listener.listener.name.to_string(),
            reason: format!("cannot accept: {error}"),
        });
    }

    fn accepted(&mut self, n: usize, socket: Socket, address: PeerAddress) {
        self.traffic.sockets_total += 1;
        let listener = Arc::clone(&self.listeners[n].listener);
        let permit = match self.common.admission.admit(address) {
            Ok(permit) => permit,
            Err(refused) => {
                let (listener, reason) = (listener.name.to_string(), refused.reason().to_owned());
                self.fx.events.push(Event::ConnectionRefused {
                    address,
                    listener,
                    reason,
                });
                return;
            }
        };
        let tls = match &listener.tls {
            None => None,
            Some(config) => match TlsLayer::new(config.load_full()) {
                Ok(layer) => Some(Box::new(layer)),
                Err(error) => {
                    let (listener, error) = (listener.name.to_string(), error.to_string());
                    self.fx.events.push(Event::TlsHandshakeFailed {
                        address,
                        listener,
                        error,
                    });
                    return;
                }
            },
        };
        let deadline = self.now.plus_secs(self.common.connect_timeout_secs);
        self.deal(Box::new(Connection::new(
            socket, tls, address, listener, permit, deadline,
        )));
    }

    /// Gives a new connection to the shards in turn, or to the greeters if it begins with a handshake. One whose inbox is full is
    /// passed over: this shard then greets it itself.
    fn deal(&mut self, connection: Box<Connection>) {
        let shards = self.common.topology.len();
        let greeters = self.common.inboxes.len() - shards;
        let to = if connection.tls.is_some() && greeters > 0 {
            self.next_greeter = (self.next_greeter + 1) % greeters;
            shards + self.next_greeter
        } else {
            self.next_shard = (self.next_shard + 1) % shards;
            self.next_shard
        };
        if to == self.shard.id().index() {
            self.adopt(connection);
            return;
        }
        let refused = self.common.inboxes[to]
            .send(Envelope::Connection(connection))
            .err();
        if let Some(Envelope::Connection(connection)) = refused.map(|envelope| *envelope) {
            self.adopt(connection);
        }
    }

    /// Accepts nobody any more.
    pub(super) fn close_listeners(&mut self) {
        self.listeners.clear();
    }
}
