//! From the command line and the configuration file to the configuration in force.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use moat_config::{Config, ConfigWarning, Listener, Protocol, Shards};

use crate::cli::{BindAddress, StartArgs};
use crate::data_folder::{self, DataPlace};
use crate::exit::Failure;

/// The configuration file in the data folder.
const CONFIG_FILE: &str = "moat.toml";

/// The configuration in force.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Every key with its value, every path placed.
    pub(crate) config: Config,
    /// The file it came from; `None` for the defaults.
    pub(crate) file: Option<PathBuf>,
    /// What is allowed but worth a second thought.
    pub(crate) warnings: Vec<ConfigWarning>,
}

/// Reads the file that the command line names, or `moat.toml` of the data folder if there is one.
///
/// # Errors
/// Everything that is wrong in it.
pub(crate) fn load(place: &DataPlace) -> Result<Settings, Failure> {
    let data = &place.path;
    let file = match &place.config {
        Some(file) => Some(file.clone()),
        None => {
            let default = data.join(CONFIG_FILE);
            data_folder::exists(&default)?.then_some(default)
        }
    };
    let (config, warnings) = match &file {
        Some(file) => {
            let loaded =
                moat_config::load(file).map_err(|errors| Failure::configuration(errors.iter()))?;
            (loaded.config, loaded.warnings)
        }
        None => (Config::default(), Vec::new()),
    };
    Ok(Settings {
        config: config.with_data_folder(data),
        file,
        warnings,
    })
}

/// Where the configuration file is, or would be.
pub(crate) fn default_file(data: &Path) -> PathBuf {
    data.join(CONFIG_FILE)
}

/// The configuration of `moat start` with these arguments.
///
/// # Errors
/// The file is wrong, or arguments that contradict it or each other.
pub(crate) fn for_start(place: &DataPlace, args: &StartArgs) -> Result<Settings, Failure> {
    let mut settings = if args.dev {
        if place.config.is_some() {
            return Err(Failure::usage(
                "--dev takes no configuration; leave --config or --dev away",
            ));
        }
        Settings {
            config: dev(args)?,
            file: None,
            warnings: Vec::new(),
        }
    } else {
        let mut settings = load(place)?;
        let listeners = &mut settings.config.listeners;
        if *listeners == Config::default().listeners {
            bind_defaults(listeners, &args.bind);
        } else {
            bind(listeners, &args.bind)?;
        }
        settings
    };
    if let Some(count) = args.shards.and_then(NonZeroU16::new) {
        settings.config.shards = Shards::Count(count);
    }
    Ok(settings)
}

/// Plain and anonymous, so loopback only.
fn dev(args: &StartArgs) -> Result<Config, Failure> {
    let mut config = Config::dev(args.port);
    for bind in &args.bind {
        if !bind.ip.to_canonical().is_loopback() {
            return Err(Failure::usage(format!(
                "--dev lets everybody in, so it listens on loopback only; {} is not loopback: use 127.0.0.1 or ::1, \
                 or start without --dev",
                bind.ip
            )));
        }
    }
    let Some(listener) = config.listeners.first_mut() else {
        return Ok(config);
    };
    if args.bind.is_empty() {
        // A free port of IPv4 need not be free in IPv6.
        if args.port != 0 {
            listener.bind = vec![
                (Ipv6Addr::LOCALHOST, args.port).into(),
                (Ipv4Addr::LOCALHOST, args.port).into(),
            ];
        }
    } else {
        listener.bind = args.bind.iter().map(|b| b.or_port(args.port)).collect();
    }
    Ok(config)
}

/// Puts addresses in the place of those of the two default listeners. One with a port is meant for TLS; then there is
/// no WebSocket, which would need another port that nobody named.
fn bind_defaults(listeners: &mut Vec<Listener>, addresses: &[BindAddress]) {
    if addresses.is_empty() {
        return;
    }
    if addresses.iter().any(|bind| bind.port.is_some()) {
        listeners.retain(|listener| !listener.protocol.is_websocket());
    }
    for listener in listeners {
        let port = listener.bind.first().map_or(0, SocketAddr::port);
        listener.bind = addresses.iter().map(|bind| bind.or_port(port)).collect();
    }
}

/// Puts the addresses of the command line in the place of the configured ones.
fn bind(listeners: &mut [Listener], addresses: &[BindAddress]) -> Result<(), Failure> {
    if addresses.is_empty() {
        return Ok(());
    }
    // A Unix socket has no address.
    let mut bound: Vec<&mut Listener> = listeners
        .iter_mut()
        .filter(|listener| listener.protocol != Protocol::Unix)
        .collect();
    let [listener] = bound.as_mut_slice() else {
        return Err(Failure::usage(format!(
            "--bind is for a configuration with one listener on addresses, this one has {}; change their keys bind instead",
            bound.len()
        )));
    };
    let port = listener
        .bind
        .first()
        .map_or_else(|| moat_config::DEFAULT_PORT, SocketAddr::port);
    listener.bind = addresses.iter().map(|bind| bind.or_port(port)).collect();
    Ok(())
}

/// Whether a listener uses TLS, below WebSocket or MQTT.
pub(crate) fn is_tls(listener: &Listener) -> bool {
    listener.protocol.is_tls()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(bind: &[&str], dev: bool) -> StartArgs {
        StartArgs {
            bind: bind.iter().map(|text| text.parse().unwrap()).collect(),
            dev,
            port: 1883,
            shards: None,
        }
    }

    fn addresses(args: &StartArgs) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let place = DataPlace::new(folder.path().into(), None);
        let config = for_start(&place, args).unwrap().config;
        let bind = config.listeners.iter().flat_map(|listener| &listener.bind);
        bind.map(ToString::to_string).collect()
    }

    #[test]
    fn without_a_file_it_listens_with_tls_and_wss_on_every_address() {
        assert_eq!(
            addresses(&args(&[], false)),
            ["[::]:8883", "0.0.0.0:8883", "[::]:8084", "0.0.0.0:8084"]
        );
    }

    #[test]
    fn bind_without_a_port_is_for_both_default_listeners() {
        assert_eq!(
            addresses(&args(&["127.0.0.1"], false)),
            ["127.0.0.1:8883", "127.0.0.1:8084"]
        );
    }

    #[test]
    fn bind_with_a_port_is_for_tls_and_leaves_websocket_away() {
        assert_eq!(
            addresses(&args(&["127.0.0.1", "[::1]:0"], false)),
            ["127.0.0.1:8883", "[::1]:0"]
        );
    }

    #[test]
    fn dev_listens_on_both_loopback_addresses_and_on_nothing_else() {
        assert_eq!(
            addresses(&args(&[], true)),
            ["[::1]:1883", "127.0.0.1:1883"]
        );
        let folder = tempfile::tempdir().unwrap();
        let place = DataPlace::new(folder.path().into(), None);
        for bind in ["0.0.0.0", "::", "192.0.2.1:1883"] {
            let refused = for_start(&place, &args(&[bind], true)).unwrap_err();
            assert_eq!(refused.exit, crate::exit::Exit::Usage);
        }
        assert_eq!(addresses(&args(&["127.0.0.9:7"], true)), ["127.0.0.9:7"]);
    }
}
