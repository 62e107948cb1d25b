//! `moat start`: the wiring diagram of the broker. Each step ends with one clear error or hands its result on.
//!
//! Read configuration, lock the data folder, make its files, read certificates, policy and users, bind, give up
//! rights, make Unix sockets, open the store, and only then start threads: the log, the password workers, the packet threads, the service plane.

use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use moat_api::ListenerStatus;
use moat_auth::{AuthPool, Mechanisms};
use moat_broker::listener::{self, Bound, Listener};
use moat_broker::{Broker, Setup, StorageSetup};
use moat_config::{Config, Limits, LogDestination, LogFormat, LogLevel, Protocol};
use moat_events::{Destination, Event, EventLog, EventSender, Format, Level, Options};
use moat_websocket::Rules;
use rustix::fs::Mode;

use crate::account::Account;
use crate::admin_socket::AdminSocket;
use crate::banner::Banner;
use crate::cli::StartArgs;
use crate::config_file::{self, Settings};
use crate::data_folder::{self, DataPlace};
use crate::exit::Failure;
use crate::ground::Ground;
use crate::limits;
use crate::material::Material;
use crate::output::Output;
use crate::privileges::{self, Hardening};
use crate::service::reload::{Reload, tell_expiring};
use crate::service::signals::Signals;
use crate::service::{self, Facts, Service, Surroundings};
use crate::{store, tls_files};

/// What a file or folder of the broker is closed to, unless its maker closes it further.
const UMASK: u32 = 0o027;

/// The longest queue before password checks that a pool is started with if the configuration says none.
const QUEUE_MIN: usize = 1;

/// Starts the broker and serves until it is told to end.
///
/// # Errors
/// Whatever keeps it from serving, with what to do; nothing half-made is left.
pub(crate) fn run(args: &StartArgs, place: &DataPlace, output: &Output) -> Result<(), Failure> {
    rustix::process::umask(Mode::from_raw_mode(UMASK));
    let settings = configuration(args, place)?;
    let config = &settings.config;
    let account = config.user.as_deref().map(Account::find).transpose()?;
    let ground = if args.dev {
        Ground::dev(place)?
    } else {
        Ground::prepare(place, config, account.as_ref())?
    };
    let watch = ground.watch(config);
    let material = Material::read(config, &ground)?;
    let mut bound = bind(config, &material)?;
    let limits = within_open_files(&config.limits);
    let hardening = privileges::give_up(account.as_ref(), &ground.folder)?;
    open_sockets(config, &mut bound)?;
    let socket = AdminSocket::bind(&ground.folder)?;

    let (events, log) = EventLog::start(log_options(config)).map_err(|error| {
        Failure::failed(format!("cannot open the log {}: {error}", log_name(config)))
    })?;
    let (runtime, signals) = service_plane()?;
    let warnings = warnings(&settings, &ground, &material, &limits);
    let banner = banner(&settings, &ground, &bound, &hardening, warnings);
    let facts = facts(config, &bound, &hardening);
    let reload = reload(config, &ground, &bound, &material);
    tell_opened(&events, config, &bound, &hardening);
    tell_expiring(&events, &material.certificates());
    let storage = store::open(&config.store, &events)?;
    let broker = start_broker(config, &limits, bound, material, storage, &events)?;
    events.send(Event::ServerStarted {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        shards: u64::from(facts.shards),
    });
    banner.print(output);
    let surroundings = Surroundings {
        runtime,
        signals,
        watch,
        socket,
        log,
    };
    service::run(Service::new(broker, reload, facts, events), surroundings)
}

fn configuration(args: &StartArgs, place: &DataPlace) -> Result<Settings, Failure> {
    data_folder::check_place(&place.path)?;
    // Whose the folder is comes before what is in it: a stranger's configuration is nothing to complain about. Root
    // can read it, and the folder may belong to the user it names.
    if !rustix::process::geteuid().is_root() && data_folder::exists(&place.path)? {
        data_folder::check_owner(&place.path, None)?;
    }
    config_file::for_start(place, args)
}

fn bind(config: &Config, material: &Material) -> Result<Vec<Bound>, Failure> {
    let listeners = config.listeners.iter().zip(&material.tls);
    listeners
        .map(|(settings, tls)| {
            let packet_bytes_max = config.limits.packet_bytes_max.get();
            let websocket = || Rules::new(&settings.path, &settings.origins, packet_bytes_max);
            let rules = Listener {
                name: settings.name.as_str().into(),
                tls: tls
                    .as_ref()
                    .map(|tls| ArcSwap::from(Arc::clone(&tls.config))),
                websocket: (settings.protocol.is_websocket()).then(|| Arc::new(websocket())),
                anonymous: settings.anonymous,
                client_id: settings.client_id,
                identity_key: tls_files::identity_key(settings.identity_from),
            };
            listener::bind(rules, &settings.bind).map_err(Failure::failed)
        })
        .collect()
}

/// Unix sockets, as the user the broker has become: the files are that user's, who has to remove them again.
fn open_sockets(config: &Config, bound: &mut [Bound]) -> Result<(), Failure> {
    for (settings, bound) in config.listeners.iter().zip(bound) {
        let Some(path) = (settings.protocol == Protocol::Unix)
            .then_some(settings.socket.as_deref())
            .flatten()
        else {
            continue;
        };
        bound
            .add_unix(path, settings.socket_mode.bits())
            .map_err(|error| {
                let (name, path) = (&settings.name, path.display());
                Failure::failed(format!(
                    "listener \"{name}\": cannot listen on unix:{path}: {error}"
                ))
            })?;
    }
    Ok(())
}

fn log_options(config: &Config) -> Options {
    Options {
        format: match config.log.format {
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
        },
        destination: match &config.log.destination {
            LogDestination::Stderr => Destination::Stderr,
            LogDestination::File(path) => Destination::File(path.clone()),
        },
        level: match config.log.level {
            LogLevel::Error => Level::Error,
            LogLevel::Warning => Level::Warning,
            LogLevel::Notice => Level::Notice,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
        },
    }
}

fn log_name(config: &Config) -> String {
    match &config.log.destination {
        LogDestination::Stderr => "standard error".to_owned(),
        LogDestination::File(path) => path.display().to_string(),
    }
}

/// Signals are caught from here on.
fn service_plane() -> Result<(tokio::runtime::Runtime, Signals), Failure> {
    let failed =
        |error: io::Error| Failure::failed(format!("cannot start the service plane: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("service")
        .build()
        .map_err(failed)?;
    let signals = {
        let _inside = runtime.enter();
        Signals::catch().map_err(failed)?
    };
    Ok((runtime, signals))
}

/// The limits, with as many connections as files can be open.
fn within_open_files(limits: &Limits) -> Limits {
    let wanted = limits.connections_max;
    let room = privileges::raise_open_files(wanted.get());
    let connections_max = NonZeroUsize::new(room).unwrap_or(wanted);
    // What is kept for newcomers must leave room for the others.
    let reserve = limits.new_address_connections_reserve.min(room / 2);
    Limits {
        connections_max,
        new_address_connections_reserve: reserve,
        ..limits.clone()
    }
}

fn start_broker(
    config: &Config,
    limits: &Limits,
    bound: Vec<Bound>,
    material: Material,
    storage: Option<StorageSetup>,
    events: &EventSender,
) -> Result<Broker, Failure> {
    let failed = |error: io::Error| {
        Failure::failed(format!(
            "cannot start the threads of the broker: {error}; is a limit of processes or memory reached?"
        ))
    };
    let workers = limits.password_checks_max.get();
    let queue = limits.password_checks_queued_max.max(QUEUE_MIN);
    let auth = AuthPool::start(Arc::clone(&material.chain), workers, queue).map_err(failed)?;
    Broker::start(Setup {
        shards: config.shards.count().get().into(),
        listeners: bound,
        limits: limits::core(limits, &config.store),
        admission: limits::admission(limits),
        connect_timeout_secs: limits.connect_timeout_secs.get().into(),
        stop_timeout_secs: limits.stop_timeout_secs.get().into(),
        server_reference: config.mqtt.server_reference.as_deref().map(Arc::from),
        inbox_messages_max: limits.inbox_messages_max.get(),
        policy: material.policy,
        chain: material.chain,
        mechanisms: Mechanisms::default(),
        auth: Arc::new(auth),
        events: events.clone(),
        storage,
    })
    .map_err(failed)
}

fn reload(config: &Config, ground: &Ground, bound: &[Bound], material: &Material) -> Reload {
    let tls = bound.iter().zip(&material.tls);
    let tls = tls.filter_map(|(bound, tls)| {
        Some((Arc::clone(&bound.listener), tls.as_ref()?.files.clone()))
    });
    Reload {
        config: config.clone(),
        data: ground.folder.clone(),
        has_files: !ground.is_dev(),
        tls: tls.collect(),
        chain: Arc::clone(&material.chain),
        policy_version: AtomicU64::new(material.policy.version()),
        certificates: Mutex::new(material.certificates()),
    }
}

/// Each listener's settings with the addresses it got.
fn opened<'a>(
    config: &'a Config,
    bound: &'a [Bound],
) -> impl Iterator<Item = (&'a moat_config::Listener, Vec<String>)> {
    let got = |bound: &Bound| bound.sockets.iter().map(ToString::to_string).collect();
    config.listeners.iter().zip(bound.iter().map(got))
}

fn facts(config: &Config, bound: &[Bound], hardening: &Hardening) -> Facts {
    let mut listeners = Vec::new();
    for (listener, addresses) in opened(config, bound) {
        listeners.extend(addresses.iter().map(|address| ListenerStatus {
            name: listener.name.clone(),
            address: address.clone(),
            protocol: listener.protocol.word().to_owned(),
            client_auth: listener.client_auth.word().to_owned(),
        }));
    }
    Facts {
        shards: config.shards.count().get(),
        listeners,
        hardening: hardening.clone(),
        started_at: SystemTime::now(),
        started: Instant::now(),
        stop_timeout: Duration::from_secs(config.limits.stop_timeout_secs.get().into()),
    }
}

fn tell_opened(events: &EventSender, config: &Config, bound: &[Bound], hardening: &Hardening) {
    events.send(Event::PrivilegesDropped {
        user: hardening.became.clone(),
        detail: hardening.detail(),
    });
    for (listener, addresses) in opened(config, bound) {
        for address in addresses {
            events.send(Event::ListenerOpened {
                listener: listener.name.clone(),
                address: address.clone(),
                protocol: listener.protocol.word().to_owned(),
                client_auth: listener.client_auth.word().to_owned(),
            });
            if listener.anonymous {
                events.send(Event::AnonymousListener {
                    listener: listener.name.clone(),
                    address,
                });
            }
        }
    }
}

fn banner(
    settings: &Settings,
    ground: &Ground,
    bound: &[Bound],
    hardening: &Hardening,
    warnings: Vec<String>,
) -> Banner {
    let config = &settings.config;
    let ca = ground.prepared.as_ref().map(|prepared| {
        let file = prepared.authority.ca_path().display().to_string();
        (prepared.authority.fingerprint(), file)
    });
    let none = || {
        if ground.is_dev() {
            return "none: --dev lets everybody do everything, for trying out only".to_owned();
        }
        let file = config_file::default_file(&ground.folder);
        format!("defaults; to change them, write {}", file.display())
    };
    Banner {
        listeners: opened(config, bound)
            .map(|(l, addresses)| (l.clone(), addresses))
            .collect(),
        ca,
        data: ground.folder.display().to_string(),
        is_new: ground
            .prepared
            .as_ref()
            .is_some_and(|prepared| prepared.is_new),
        config: settings
            .file
            .as_ref()
            .map_or_else(none, |file| file.display().to_string()),
        log: log_name(config),
        runs_as: runs_as(hardening, ground),
        data_argument: ground.data_argument.clone(),
        warnings,
        is_dev: ground.is_dev(),
    }
}

fn runs_as(hardening: &Hardening, ground: &Ground) -> String {
    let advice = if hardening.is_root && !ground.is_dev() {
        "; the key user makes it a user of its own"
    } else {
        ""
    };
    format!("{} ({}{advice})", hardening.user, hardening.detail())
}

fn warnings(
    settings: &Settings,
    ground: &Ground,
    material: &Material,
    limits: &Limits,
) -> Vec<String> {
    let of_files = settings.warnings.iter().map(ToString::to_string);
    let mut warnings: Vec<String> = of_files.chain(material.warnings.iter().cloned()).collect();
    if let Some(prepared) = &ground.prepared
        && let Some(reason) = prepared.renewed
        && !prepared.is_new
    {
        warnings.push(format!("the server certificate was issued anew: {reason}"));
    }
    let (wanted, possible) = (
        settings.config.limits.connections_max,
        limits.connections_max,
    );
    if possible < wanted {
        warnings.push(format!(
            "the limit of open files has room for {possible} connections only, not for limits.connections_max = \
             {wanted}; raise it (LimitNOFILE, ulimit -Hn)"
        ));
    }
    warnings
}
