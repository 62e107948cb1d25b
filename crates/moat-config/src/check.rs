//! What no single key can tell: keys that contradict each other, and what an operator should know.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::limits::Limits;
use crate::listener::{ClientAuth, Listener, Protocol, SOCKET_PATH_BYTES_MAX};
use crate::problem::Problems;
use crate::raw::Written;
use crate::store::{Durability, STORED_PACKET_BYTES_MAX, Store};

/// The port of MQTT without TLS, as an example.
const PLAIN_PORT: u16 = 1883;
/// The port of MQTT over WebSocket without TLS, as an example.
const PLAIN_WEBSOCKET_PORT: u16 = 8083;

/// Completes the listeners and checks each and all.
pub(crate) fn listeners(listeners: &mut [Written<Listener>], problems: &mut Problems<'_>) {
    for written in listeners.iter_mut() {
        // Who names a CA for clients wants their certificates, on every listener with TLS.
        let wants_certificates = written.section.protocol.is_tls() && written.has("client_ca");
        if !written.has("client_auth") && !wants_certificates {
            written.section.client_auth = written.section.default_client_auth();
        }
        if !written.has("bind") {
            written.section.bind = written.section.default_bind();
        }
        if !written.has("name") {
            written.section.name = written.section.default_name();
        }
        if !written.is_complete {
            continue;
        }
        if written.section.protocol == Protocol::Unix {
            unix_listener(written, problems);
        } else if written.section.protocol.is_tls() {
            tls_listener(written, problems);
        } else {
            plain_listener(written, problems);
        }
        if written.section.protocol != Protocol::Unix {
            without_socket(written, problems);
        }
        if !written.section.protocol.is_websocket() {
            without_websocket(written, problems);
        }
        anonymous(written, problems);
    }
    names_are_unique(listeners, problems);
    addresses_are_unique(listeners, problems);
    sockets_are_unique(listeners, problems);
}

/// Checks limits that depend on each other.
pub(crate) fn limits(written: &Written<Limits>, problems: &mut Problems<'_>) {
    if !written.is_complete {
        return;
    }
    let limits = &written.section;
    let (reserve, connections) = (
        limits.new_address_connections_reserve,
        limits.connections_max.get(),
    );
    if reserve >= connections {
        problems.error(
            written.at("new_address_connections_reserve"),
            format!(
                "limits.new_address_connections_reserve is {reserve}; allowed: less than \
                 limits.connections_max, which is {connections}"
            ),
        );
    }
    let packet = usize::try_from(limits.packet_bytes_max.get()).unwrap_or(usize::MAX);
    if limits.queued_messages_max > 0 && limits.queued_bytes_max < packet {
        problems.warning(
            written.at("queued_bytes_max"),
            format!(
                "limits.queued_bytes_max is {}, less than limits.packet_bytes_max, which is {packet}: the largest \
                 messages can never be queued and are dropped for clients that are absent",
                limits.queued_bytes_max
            ),
        );
    }
}

/// Says what the store does not promise, and checks that what has to be stored can be.
pub(crate) fn store(
    written: &Written<Store>,
    limits: &Written<Limits>,
    problems: &mut Problems<'_>,
) {
    if !written.is_complete {
        return;
    }
    let cost = match written.section.durability {
        Durability::Fsync => None,
        Durability::Os => Some(
            "a power cut or a crash of the machine loses messages of the last seconds that were acknowledged",
        ),
        Durability::None => Some(
            "every end of moat loses all sessions, subscriptions, queued and retained messages, though they were acknowledged",
        ),
    };
    if let Some(cost) = cost {
        problems.warning(
            written.at("durability"),
            format!(
                "store.durability is \"{}\": {cost}",
                written.section.durability
            ),
        );
    }
    if written.section.durability == Durability::None {
        for key in [
            "path",
            "commit_bytes_max",
            "commit_wait_ms",
            "log_memory_bytes_max",
            "log_bytes_max",
        ] {
            if written.has(key) {
                problems.warning(
                    written.at(key),
                    format!("store.{key} has no effect with durability = \"none\", which stores nothing; remove {key}"),
                );
            }
        }
        return;
    }
    let packet = limits.section.packet_bytes_max.get();
    if limits.is_complete && packet > STORED_PACKET_BYTES_MAX {
        problems.error(
            limits.at("packet_bytes_max"),
            format!(
                "limits.packet_bytes_max is {packet}; allowed: at most {STORED_PACKET_BYTES_MAX}, unless store.durability is \"none\""
            ),
        );
    }
}

fn tls_listener(written: &Written<Listener>, problems: &mut Problems<'_>) {
    for (one, other) in [("certificate", "key"), ("key", "certificate")] {
        if written.has(one) && !written.has(other) {
            problems.error(
                written.at(one),
                format!(
                    "listener.{one} without listener.{other}; write both, or none to use the certificate moat makes"
                ),
            );
        }
    }
    if written.section.client_auth == ClientAuth::Off && written.has("client_ca") {
        problems.error(
            written.at("client_ca"),
            "listener.client_ca with client_auth = \"off\", where no client is asked for a certificate; remove one of them"
                .to_owned(),
        );
    }
}

fn without_websocket(written: &Written<Listener>, problems: &mut Problems<'_>) {
    let protocol = written.section.protocol;
    for key in ["path", "origins"] {
        if written.has(key) {
            problems.warning(
                written.at(key),
                format!("listener.{key} has no effect with protocol = \"{protocol}\", which is not WebSocket; remove {key}, or use \"wss\""),
            );
        }
    }
}

fn plain_listener(written: &Written<Listener>, problems: &mut Problems<'_>) {
    let listener = &written.section;
    let (protocol, protected, port) = if listener.protocol.is_websocket() {
        (Protocol::Ws, Protocol::Wss, PLAIN_WEBSOCKET_PORT)
    } else {
        (Protocol::Tcp, Protocol::Tls, PLAIN_PORT)
    };
    without_certificates(written, protected, problems);
    if !written.has("bind") {
        problems.error(
            written.at("protocol"),
            format!(
                "a listener with protocol = \"{protocol}\" needs bind; write the addresses down, for example bind = [\"127.0.0.1:{port}\"]"
            ),
        );
        return;
    }
    let exposed = if is_loopback(listener) {
        "every user and program of this machine can connect and read along"
    } else {
        "everybody between client and broker can read and change user names, passwords and messages"
    };
    problems.warning(
        written.at("protocol"),
        format!(
            "listener \"{}\" on {} has no TLS: {exposed}",
            listener.name,
            addresses(listener)
        ),
    );
}

/// Without TLS there are no certificates; `protected` has them.
fn without_certificates(
    written: &Written<Listener>,
    protected: Protocol,
    problems: &mut Problems<'_>,
) {
    let (protocol, client_auth) = (written.section.protocol, written.section.client_auth);
    for key in ["certificate", "key", "client_ca"] {
        if written.has(key) {
            problems.error(
                written.at(key),
                format!("listener.{key} with protocol = \"{protocol}\", which has no certificates; use protocol = \"{protected}\" or remove {key}"),
            );
        }
    }
    if client_auth != ClientAuth::Off {
        problems.error(
            written.at("client_auth"),
            format!(
                "listener.client_auth is \"{client_auth}\" with protocol = \"{protocol}\", which has no certificates; use protocol = \"{protected}\" or remove client_auth"
            ),
        );
    }
}

fn unix_listener(written: &Written<Listener>, problems: &mut Problems<'_>) {
    let listener = &written.section;
    without_certificates(written, Protocol::Tls, problems);
    if written.has("bind") {
        problems.error(
            written.at("bind"),
            "listener.bind with protocol = \"unix\", which has no addresses; write a listener of its own for them, or remove bind"
                .to_owned(),
        );
    }
    let Some(socket) = &listener.socket else {
        problems.error(
            written.at("protocol"),
            "a listener with protocol = \"unix\" needs socket; write its path down, for example socket = \"/run/moat/mqtt.sock\""
                .to_owned(),
        );
        return;
    };
    let bytes = socket.as_os_str().len();
    if bytes > SOCKET_PATH_BYTES_MAX {
        problems.error(
            written.at("socket"),
            format!(
                "listener.socket is {}, which has {bytes} bytes; allowed: at most {SOCKET_PATH_BYTES_MAX}",
                socket.display()
            ),
        );
    }
    if listener.socket_mode.is_for_all() {
        problems.warning(
            written.at("socket_mode"),
            format!(
                "listener \"{}\" on {} has socket_mode = \"{}\": every user and program of this machine can connect",
                listener.name,
                addresses(listener),
                listener.socket_mode
            ),
        );
    }
}

fn without_socket(written: &Written<Listener>, problems: &mut Problems<'_>) {
    let protocol = written.section.protocol;
    for key in ["socket", "socket_mode"] {
        if written.has(key) {
            problems.warning(
                written.at(key),
                format!("listener.{key} has no effect with protocol = \"{protocol}\", which listens on addresses; remove {key}, or use \"unix\""),
            );
        }
    }
}

fn anonymous(written: &Written<Listener>, problems: &mut Problems<'_>) {
    let listener = &written.section;
    if !listener.anonymous {
        return;
    }
    let message = if listener.client_auth == ClientAuth::Required {
        format!(
            "listener \"{}\" has anonymous = true without effect: client_auth = \"required\" lets nobody in without a certificate",
            listener.name
        )
    } else {
        let mode = listener.socket_mode;
        let who = if listener.protocol == Protocol::Unix && !mode.is_for_all() {
            if mode.is_for_group() {
                "the user and the group the broker runs as"
            } else {
                "the user the broker runs as"
            }
        } else if is_loopback(listener) {
            "every user and program of this machine"
        } else {
            "everybody who reaches it"
        };
        format!(
            "listener \"{}\" on {} lets {who} in without an identity: the policy's rules for the identity \"<anonymous>\" hold for them",
            listener.name,
            addresses(listener)
        )
    };
    problems.warning(written.at("anonymous"), message);
}

fn names_are_unique(listeners: &[Written<Listener>], problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for written in listeners.iter().filter(|written| written.is_complete) {
        let count = seen.entry(&written.section.name).or_default();
        *count += 1;
        if *count == 2 {
            problems.error(
                written.at("name"),
                format!(
                    "two listeners have the name \"{}\"; give each its own",
                    written.section.name
                ),
            );
        }
    }
}

fn addresses_are_unique(listeners: &[Written<Listener>], problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<SocketAddr, &str> = BTreeMap::new();
    for written in listeners.iter().filter(|written| written.is_complete) {
        for address in &written.section.bind {
            // Port 0 is a free port, another one each time.
            if address.port() == 0 {
                continue;
            }
            if let Some(other) = seen.insert(*address, &written.section.name) {
                problems.error(
                    written.at("bind"),
                    format!("{address} is already an address of listener \"{other}\"; each address serves one listener"),
                );
            }
        }
    }
}

fn sockets_are_unique(listeners: &[Written<Listener>], problems: &mut Problems<'_>) {
    let mut seen: BTreeMap<&Path, &str> = BTreeMap::new();
    for written in listeners.iter().filter(|written| written.is_complete) {
        let listener = &written.section;
        let (Protocol::Unix, Some(socket)) = (listener.protocol, &listener.socket) else {
            continue;
        };
        if let Some(other) = seen.insert(socket, &listener.name) {
            problems.error(
                written.at("socket"),
                format!(
                    "{} is already the socket of listener \"{other}\"; each socket serves one listener",
                    socket.display()
                ),
            );
        }
    }
}

fn is_loopback(listener: &Listener) -> bool {
    listener
        .bind
        .iter()
        .all(|address| address.ip().to_canonical().is_loopback())
}

fn addresses(listener: &Listener) -> String {
    if let (Protocol::Unix, Some(socket)) = (listener.protocol, &listener.socket) {
        return format!("unix:{}", socket.display());
    }
    let addresses: Vec<String> = listener.bind.iter().map(SocketAddr::to_string).collect();
    addresses.join(" and ")
}
