//! `floor`: a server that does a broker's work on sockets and nothing else. One thread with epoll; it answers CONNECT,
//! SUBSCRIBE and PINGREQ, and passes the bytes of a connection's PUBLISH packets on to whoever subscribed to the first
//! topic the connection used (or to `first-level/#` of it).
//!
//! No matching for each message, no limit of a queue, no packet ids of its own, no session. One read of up to 64 KiB for
//! each socket that is ready, one write for each that gets something, per turn. A correct broker cannot be expected to
//! reach it with ordinary sockets; how many times its cost a broker takes says how much of the time is the broker's own.

mod accept;
mod client;

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, TcpListener};

use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;

use crate::options::Options;
use client::Client;

/// The listener's number among the sockets.
const LISTENER: u64 = u64::MAX;
/// Sockets that are told to be ready at once.
const EVENTS: usize = 1024;
/// Bytes of one read.
const READ_BYTES: usize = 64 * 1024;

/// Serves `--port` (0: a free one, which the first line of the output names) until the process is killed.
///
/// # Errors
/// The port is taken, or epoll fails.
pub(crate) fn serve(options: &Options) -> Result<(), String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port))
        .map_err(|error| format!("port {}: {error}", options.port))?;
    let address = listener
        .local_addr()
        .map_err(|error| format!("floor: {error}"))?;
    println!("{{\"floor\":\"{address}\",\"pid\":{}}}", std::process::id());
    let failed = |error: std::io::Error| format!("floor: {error}");
    if options.cert.is_some() {
        return accept::serve(options, &listener);
    }
    Floor::new(listener)
        .and_then(|mut floor| floor.run())
        .map_err(failed)
}

/// All clients, by number, and who of them wants what.
#[derive(Default)]
pub(super) struct Clients {
    all: Vec<Option<Client>>,
    by_filter: HashMap<String, Vec<usize>>,
    /// Who has something to be written.
    dirty: Vec<usize>,
}

struct Floor {
    listener: TcpListener,
    epoll: OwnedFd,
    clients: Clients,
    free: Vec<usize>,
}

impl Floor {
    fn new(listener: TcpListener) -> std::io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            listener,
            epoll,
            clients: Clients::default(),
            free: Vec::new(),
        })
    }

    fn run(&mut self) -> std::io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0u8; READ_BYTES];
        loop {
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in events.drain(..) {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    number => self.ready(number as usize, event.flags, &mut buffer)?,
                }
            }
            self.write()?;
        }
    }

    fn accept(&mut self) -> std::io::Result<()> {
        // Ends with WouldBlock, or with what the next turn will say again.
        while let Ok((socket, _)) = self.listener.accept() {
            socket.set_nonblocking(true)?;
            socket.set_nodelay(true)?;
            let number = self.free.pop().unwrap_or_else(|| {
                self.clients.all.push(None);
                self.clients.all.len() - 1
            });
            epoll::add(
                &self.epoll,
                &socket,
                EventData::new_u64(number as u64),
                EventFlags::IN,
            )?;
            self.clients.all[number] = Some(Client::new(socket));
        }
        Ok(())
    }

    fn ready(
        &mut self,
        number: usize,
        flags: EventFlags,
        buffer: &mut [u8],
    ) -> std::io::Result<()> {
        let Some(mut client) = self.clients.all[number].take() else {
            return Ok(());
        };
        let mut is_gone = false;
        if flags.contains(EventFlags::OUT) {
            is_gone = client.flush(&self.epoll, number)?;
        }
        if !is_gone && flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            is_gone = match (&client.socket).read(buffer) {
                Ok(0) => true,
                Ok(bytes) => client.input(&buffer[..bytes], number, &mut self.clients),
                Err(error) => error.kind() != ErrorKind::WouldBlock,
            };
        }
        if is_gone {
            self.forget(&client, number);
            return Ok(());
        }
        if client.has_output() && !client.is_dirty {
            client.is_dirty = true;
            self.clients.dirty.push(number);
        }
        self.clients.all[number] = Some(client);
        Ok(())
    }

    fn forget(&mut self, client: &Client, number: usize) {
        for filter in &client.filters {
            if let Some(subscribers) = self.clients.by_filter.get_mut(filter) {
                subscribers.retain(|other| *other != number);
            }
        }
        if !client.filters.is_empty() {
            // The number may be in remembered lists: they are looked up again.
            for other in self.clients.all.iter_mut().flatten() {
                other.targets = None;
            }
        }
        self.clients.dirty.retain(|other| *other != number);
        self.free.push(number);
    }

    fn write(&mut self) -> std::io::Result<()> {
        for number in self.clients.dirty.drain(..) {
            if let Some(client) = self.clients.all[number].as_mut() {
                client.is_dirty = false;
                if !client.waits_for_room {
                    // One who is gone is noticed when read.
                    client.flush(&self.epoll, number)?;
                }
            }
        }
        Ok(())
    }
}
