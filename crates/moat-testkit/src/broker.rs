//! A broker in this process, on ports the kernel chose.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use moat_auth::{
    AuthPool, BackendConfig, Chain, ContinueOnError, EnhancedAuth, Mechanisms, Password, file, x509,
};
use moat_broker::admission::AdmissionLimits;
use moat_broker::control::ShardReport;
use moat_broker::listener::{Bound, Listener, bind};
use moat_broker::tls::{IdentityKey, TlsFiles, load};
use moat_broker::{Broker, Setup};
use moat_config::ClientIdMode;
use moat_core::Limits;
use moat_events::{Event, EventSender};
use moat_policy::{PolicyFormat, PolicySourceText, Snapshot};
use moat_websocket::Rules;
use tempfile::TempDir;

use crate::certs::{Authority, Credential, write_private};
use crate::raw::{DEADLINE, RawClient, TlsOptions};

/// Threads that check passwords.
const AUTH_WORKERS: usize = 2;
/// Password checks that wait.
const AUTH_QUEUE_MAX: usize = 64;
/// Messages in a shard's inbox.
const INBOX_MESSAGES_MAX: usize = 8192;
/// Seconds a stop may take.
const STOP_TIMEOUT_SECS: u64 = 10;

/// How a test broker is to be. By default everybody may come in and do everything.
pub struct Builder {
    shards: usize,
    limits: Limits,
    admission: AdmissionLimits,
    connect_timeout_secs: u64,
    anonymous: bool,
    client_id: ClientIdMode,
    policy: Snapshot,
    users: Vec<(String, String)>,
    server_reference: Option<Arc<str>>,
    mechanisms: Mechanisms,
}

/// A running broker with a plain and a TLS listener on loopback, WebSocket over each, and a Unix socket.
pub struct TestBroker {
    /// Where it listens without TLS.
    pub plain: SocketAddr,
    /// Where it listens with TLS.
    pub tls: SocketAddr,
    /// Where it listens for WebSocket without TLS, at `/mqtt`.
    pub ws: SocketAddr,
    /// Where it listens for WebSocket over TLS, at `/mqtt`.
    pub wss: SocketAddr,
    /// The Unix socket it listens on.
    pub unix: PathBuf,
    /// Issues the server's certificate, and those of clients.
    pub authority: Authority,
    /// Behind a lock so that threads of a test can share the broker.
    events: Mutex<Receiver<Event>>,
    broker: Option<Broker>,
    folder: TempDir,
}

/// How a client of a test reaches the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls,
    /// WebSocket over plain TCP.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// A Unix socket.
    Unix,
}

impl Transport {
    /// Whether TLS protects it.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::Wss)
    }

    /// Whether it is WebSocket.
    #[must_use]
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }
}

impl Builder {
    /// Event loops, 1 by default.
    #[must_use]
    pub fn shards(mut self, shards: usize) -> Self {
        self.shards = shards;
        self
    }

    /// Changes what sessions and the router keep to.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Changes what connections keep to.
    #[must_use]
    pub fn admission(mut self, change: impl FnOnce(&mut AdmissionLimits)) -> Self {
        change(&mut self.admission);
        self
    }

    /// Seconds from accept to CONNACK, 10 by default.
    #[must_use]
    pub fn connect_timeout_secs(mut self, secs: u64) -> Self {
        self.connect_timeout_secs = secs;
        self
    }

    /// Nobody comes in without a certificate or a password.
    #[must_use]
    pub fn identity_required(mut self) -> Self {
        self.anonymous = false;
        self
    }

    /// How client identifiers are bound to identities.
    #[must_use]
    pub fn client_id(mut self, mode: ClientIdMode) -> Self {
        self.client_id = mode;
        self
    }

    /// The rules, as in `policy.toml`.
    #[must_use]
    pub fn policy(mut self, text: &str) -> Self {
        self.policy = compile(text);
        self
    }

    /// Each identity has its own subtree, as with a new data folder.
    #[must_use]
    pub fn built_in_policy(mut self) -> Self {
        self.policy = Snapshot::built_in();
        self
    }

    /// Somebody with a password of at least 12 characters.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Where clients are sent when it stops.
    #[must_use]
    pub fn server_reference(mut self, reference: &str) -> Self {
        self.server_reference = Some(reference.into());
        self
    }

    /// An authentication method that clients may name.
    #[must_use]
    pub fn mechanism(mut self, mechanism: Arc<dyn EnhancedAuth>) -> Self {
        self.mechanisms = Mechanisms::new(vec![mechanism]).unwrap();
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> TestBroker {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("moat-testkit");
        let chain = Arc::new(self.chain(folder.path()));
        let files = tls_files(folder.path(), &authority);
        let unix = folder.path().join("mqtt.sock");
        let listeners = vec![
            self.listener("plain", None, false),
            self.listener("tls", Some(&files), false),
            self.listener("ws", None, true),
            self.listener("wss", Some(&files), true),
            self.unix_listener(&unix),
        ];
        let address = |n: usize| listeners[n].sockets[0].ip().unwrap();
        let (plain, tls, ws, wss) = (address(0), address(1), address(2), address(3));
        let (sender, events) = EventSender::collect();
        let auth = AuthPool::start(Arc::clone(&chain), AUTH_WORKERS, AUTH_QUEUE_MAX).unwrap();
        let setup = Setup {
            shards: self.shards,
            listeners,
            limits: self.limits,
            admission: self.admission,
            connect_timeout_secs: self.connect_timeout_secs,
            stop_timeout_secs: STOP_TIMEOUT_SECS,
            server_reference: self.server_reference,
            inbox_messages_max: INBOX_MESSAGES_MAX,
            policy: Arc::new(self.policy),
            chain,
            mechanisms: self.mechanisms,
            auth: Arc::new(auth),
            events: sender,
            storage: None,
        };
        let broker = Some(Broker::start(setup).unwrap());
        TestBroker {
            plain,
            tls,
            ws,
            wss,
            unix,
            authority,
            events: Mutex::new(events),
            broker,
            folder,
        }
    }

    fn chain(&self, folder: &Path) -> Chain {
        let path = folder.join("users");
        for (name, password) in &self.users {
            file::UserFile::add(&path, name, &Password::new(password.clone().into_bytes()))
                .unwrap();
        }
        let backends = [
            BackendConfig::X509(x509::Config),
            BackendConfig::File(file::Config { path }),
        ];
        Chain::build(&backends, ContinueOnError::No).unwrap()
    }

    fn listener(&self, name: &str, files: Option<&TlsFiles>, is_websocket: bool) -> Bound {
        let rules = self.rules(name, files, is_websocket);
        bind(rules, &[SocketAddr::from(([127, 0, 0, 1], 0))]).unwrap()
    }

    fn unix_listener(&self, path: &Path) -> Bound {
        let mut bound = bind(self.rules("unix", None, false), &[]).unwrap();
        bound.add_unix(path, 0o600).unwrap();
        bound
    }

    fn rules(&self, name: &str, files: Option<&TlsFiles>, is_websocket: bool) -> Listener {
        let rules = || Rules::new("/mqtt", &[], self.limits.packet.packet_bytes_max);
        Listener {
            name: name.into(),
            tls: files.map(|files| ArcSwap::from(load(files).unwrap().config)),
            websocket: is_websocket.then(|| Arc::new(rules())),
            anonymous: self.anonymous,
            client_id: self.client_id,
            identity_key: IdentityKey::CommonName,
        }
    }
}

impl TestBroker {
    /// A broker to be changed before it starts.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            shards: 1,
            limits: Limits {
                // Large UNSUBSCRIBEs are what tests fill buffers with; that rate has tests of its own.
                filters_per_sec_max: 0,
                ..Limits::default()
            },
            admission: AdmissionLimits {
                connections_max: 1000,
                new_address_connections_reserve: 0,
                unauthenticated_per_address_max: 1000,
                connections_per_identity_max: 1000,
                preauth_bytes_total_max: 16 << 20,
            },
            connect_timeout_secs: 10,
            anonymous: true,
            client_id: ClientIdMode::Any,
            policy: Snapshot::allow_all(),
            users: Vec::new(),
            server_reference: None,
            mechanisms: Mechanisms::default(),
        }
    }

    /// A new connection.
    #[must_use]
    pub fn client(&self, transport: Transport) -> RawClient {
        self.upgraded(transport, self.client_below(transport))
    }

    /// A new connection without its WebSocket upgrade, if the transport has one.
    #[must_use]
    pub fn client_below(&self, transport: Transport) -> RawClient {
        if transport == Transport::Unix {
            return RawClient::connect_unix(&self.unix);
        }
        let address = self.address(transport);
        if transport.is_tls() {
            RawClient::connect_tls(address, &self.tls_options()).unwrap()
        } else {
            RawClient::connect(address)
        }
    }

    /// A new connection that has not said anything yet, not even in a TLS handshake.
    #[must_use]
    pub fn bare_client(&self, transport: Transport) -> RawClient {
        match transport {
            Transport::Unix => RawClient::connect_unix(&self.unix),
            _ => RawClient::connect(self.address(transport)),
        }
    }

    /// Where it listens for a transport.
    ///
    /// # Panics
    /// For a Unix socket, which has no such address.
    #[must_use]
    pub fn address(&self, transport: Transport) -> SocketAddr {
        match transport {
            Transport::Plain => self.plain,
            Transport::Tls => self.tls,
            Transport::Ws => self.ws,
            Transport::Wss => self.wss,
            Transport::Unix => panic!("a Unix socket has a path: see `unix`"),
        }
    }

    fn upgraded(&self, transport: Transport, mut client: RawClient) -> RawClient {
        if transport.is_websocket() {
            client.upgrade();
        }
        client
    }

    /// A new connection whose receive buffer is small. A Unix socket has none: what is sent waits at the sender, so
    /// that its own buffer is what fills.
    #[must_use]
    pub fn client_with_receive_buffer(&self, transport: Transport, bytes: usize) -> RawClient {
        if transport == Transport::Unix {
            return RawClient::connect_unix(&self.unix);
        }
        let address = self.address(transport);
        let client = if transport.is_tls() {
            RawClient::connect_tls_with_receive_buffer(address, &self.tls_options(), bytes).unwrap()
        } else {
            RawClient::connect_with_receive_buffer(address, bytes)
        };
        self.upgraded(transport, client)
    }

    /// A new TLS connection with a client certificate.
    ///
    /// # Errors
    /// When the handshake fails.
    pub fn client_with_certificate(&self, credential: &Credential) -> std::io::Result<RawClient> {
        RawClient::connect_tls(
            self.tls,
            &TlsOptions {
                credential: Some(credential),
                ..self.tls_options()
            },
        )
    }

    /// What a client needs to trust the broker.
    #[must_use]
    pub fn tls_options(&self) -> TlsOptions<'_> {
        TlsOptions {
            ca_pem: self.authority.pem(),
            ..TlsOptions::default()
        }
    }

    /// A folder of this broker's own, gone with it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Puts other rules into force.
    pub fn set_policy(&self, text: &str) {
        self.running().set_policy(&Arc::new(compile(text))).unwrap();
    }

    /// How its shards are.
    #[must_use]
    pub fn report(&self) -> ShardReport {
        self.running().report().unwrap()
    }

    /// Connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.running().connections()
    }

    /// What has happened since somebody last asked or waited.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap().try_iter().collect()
    }

    /// Waits for an event for which `pick` has an answer; those before it are dropped.
    pub fn wait_for<T>(&self, mut pick: impl FnMut(&Event) -> Option<T>) -> T {
        let until = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        let events = self.events.lock().unwrap();
        loop {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(event) => match pick(&event) {
                    Some(found) => return found,
                    None => seen.push(event),
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("the event did not come; these did: {seen:#?}")
                }
            }
        }
    }

    /// Stops it and fails if a shard ended badly.
    pub fn stop(mut self) {
        if let Some(broker) = self.broker.take() {
            broker.stop().unwrap();
        }
    }

    fn running(&self) -> &Broker {
        self.broker
            .as_ref()
            .expect("it runs until stop, which consumes it")
    }
}

impl Drop for TestBroker {
    fn drop(&mut self) {
        let Some(broker) = self.broker.take() else {
            return;
        };
        let stopped = broker.stop();
        if !std::thread::panicking() {
            stopped.unwrap();
        }
    }
}

fn compile(text: &str) -> Snapshot {
    let source = PolicySourceText {
        file: "policy.toml".into(),
        format: PolicyFormat::Toml,
        text: text.into(),
    };
    Snapshot::compile(vec![source], 1).unwrap_or_else(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        panic!("{}", errors.join("\n"))
    })
}

fn tls_files(folder: &Path, authority: &Authority) -> TlsFiles {
    let (cert, key) = authority.server().write(folder, "server");
    let ca = folder.join("ca.crt");
    write_private(&ca, authority.pem());
    TlsFiles::new(cert, key, ca)
}
