//! The whole configuration.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use crate::limits::Limits;
use crate::listener::Listener;
use crate::section::{Section, SectionSpec, section};
use crate::sections::{Auth, Log, LogDestination, Mqtt, PolicyFiles, Tls};
use crate::setting::{Kind, Setting, Value, count_of, quoted};
use crate::store::Store;

/// The most packet threads.
pub const SHARDS_MAX: u16 = 64;

/// The whole configuration, every key with its value.
///
/// Paths that were written are absolute after [`load`](crate::load); those that are defaults are relative to the data folder.
/// `data_folder.join(path)` is right for both, and [`Config::with_data_folder`] does it for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The user the broker becomes when it is started as root.
    pub user: Option<String>,
    /// How many packet threads run.
    pub shards: Shards,
    /// How often `$SYS/#` is published, in seconds; 0 for never.
    pub sys_interval_secs: u32,
    /// Whether `$SYS/broker/version` is published.
    pub sys_version: bool,
    /// At least one listener, each with a name of its own.
    pub listeners: Vec<Listener>,
    /// What all TLS listeners have in common.
    pub tls: Tls,
    /// What clients are told of other servers.
    pub mqtt: Mqtt,
    /// What clients may take.
    pub limits: Limits,
    /// How clients without a certificate prove who they are.
    pub auth: Auth,
    /// Where the rules are.
    pub policy: PolicyFiles,
    /// What survives the end of the broker.
    pub store: Store,
    /// Where events are told.
    pub log: Log,
}

section! {
    /// The process itself. These keys stand before the first section.
    pub(crate) struct Process = "" {
        /// The user the broker becomes when it is started as root, after it has bound its ports. Packages set it.
        user: Option<String> = None => Kind::Name, example "\"moat\"", unset "not set: moat drops its capabilities and stays the user it is";
        /// How many packet threads run. `auto` is one for each core, at most 64.
        shards: Shards = Shards::Auto => Kind::AutoOrCount { max: SHARDS_MAX as u64 }, example "2";
        /// How often the broker publishes its figures below `$SYS/`, under the names that mosquitto has for them. 0 for never.
        /// Only who has a rule for `$SYS/#` can read them.
        sys_interval_secs: u32 = 10 => Kind::Secs { min: 0, max: 3600 }, example "60";
        /// Whether `$SYS/broker/version` tells the version of moat: to everybody who may read it, and so what to attack.
        sys_version: bool = false => Kind::Bool, example "true";
    }
}

/// How many packet threads run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shards {
    /// One for each core, at most [`SHARDS_MAX`].
    Auto,
    /// So many, at most [`SHARDS_MAX`].
    Count(NonZeroU16),
}

impl Shards {
    /// The number of threads on this machine.
    pub fn count(self) -> NonZeroU16 {
        match self {
            Self::Count(count) => count,
            Self::Auto => std::thread::available_parallelism()
                .ok()
                .and_then(|cores| u16::try_from(cores.get()).ok())
                .and_then(|cores| NonZeroU16::new(cores.min(SHARDS_MAX)))
                .unwrap_or(NonZeroU16::MIN),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            user: None,
            shards: Shards::Auto,
            sys_interval_secs: Process::default().sys_interval_secs,
            sys_version: false,
            listeners: Listener::defaults(),
            tls: Tls::default(),
            mqtt: Mqtt::default(),
            limits: Limits::default(),
            auth: Auth::default(),
            policy: PolicyFiles::default(),
            store: Store::default(),
            log: Log::default(),
        }
    }
}

impl Config {
    /// The configuration of `moat start --dev`: one plain, anonymous listener on loopback, limits raised.
    pub fn dev(port: u16) -> Self {
        Self {
            listeners: vec![Listener::dev(port)],
            limits: Limits::dev(),
            store: Store::dev(),
            ..Self::default()
        }
    }

    /// The same configuration with every relative path starting at the data folder.
    #[must_use]
    pub fn with_data_folder(mut self, data_folder: &Path) -> Self {
        let place = |path: &mut PathBuf| *path = data_folder.join(&*path);
        place(&mut self.auth.users);
        place(&mut self.store.path);
        self.policy.files.iter_mut().for_each(place);
        if let LogDestination::File(path) = &mut self.log.destination {
            place(path);
        }
        for listener in &mut self.listeners {
            for path in [
                &mut listener.certificate,
                &mut listener.key,
                &mut listener.client_ca,
                &mut listener.socket,
            ] {
                path.iter_mut().for_each(place);
            }
        }
        self
    }

    /// The sections in the order of the reference.
    pub(crate) fn specs() -> Vec<SectionSpec> {
        vec![
            Process::spec(),
            Listener::spec(),
            Tls::spec(),
            Mqtt::spec(),
            Auth::spec(),
            PolicyFiles::spec(),
            Limits::spec(),
            Store::spec(),
            Log::spec(),
        ]
    }
}

impl Setting for Shards {
    fn read<'v, 'i>(value: &'v Value<'i>, kind: &Kind, _: &Path) -> Result<Self, &'v Value<'i>> {
        if value.get_ref().as_str() == Some("auto") {
            return Ok(Self::Auto);
        }
        count_of(value, kind)
            .and_then(|count| u16::try_from(count).ok())
            .and_then(NonZeroU16::new)
            .map(Self::Count)
            .ok_or(value)
    }

    fn to_toml(&self, _: &Kind) -> Option<String> {
        Some(match self {
            Self::Auto => quoted("auto"),
            Self::Count(count) => count.to_string(),
        })
    }
}
