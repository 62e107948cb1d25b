//! The command line. The doc comments are its help and its man pages.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::command::{bench, publish, subscribe};
use crate::data_folder::DataPlace;

/// The data folder if none is named.
pub(crate) const DEFAULT_DATA_FOLDER: &str = "moat-data";

/// The port of `start --dev` if none is named.
const DEV_PORT: u16 = 1883;

/// A hardened MQTT broker: encrypted, authenticated and least-privileged from the first command on.
#[derive(Debug, Parser)]
#[command(
    name = "moat",
    version,
    propagate_version = true,
    after_help = "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 bad configuration."
)]
pub(crate) struct Cli {
    /// The folder that holds everything: configuration, certificates, policy, users, socket.
    #[arg(long, global = true, value_name = "DIR", default_value = DEFAULT_DATA_FOLDER)]
    pub(crate) data: PathBuf,
    /// The configuration file; without it `moat.toml` of the data folder, if there is one.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One variant for each command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the broker; the first start makes everything it needs.
    Start(StartArgs),
    /// Check configuration, policy, users and certificates without starting.
    Check(CheckArgs),
    /// Show how the running broker is.
    Status,
    /// Devices and their certificates.
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Users and their passwords.
    #[command(subcommand)]
    User(UserCommand),
    /// The store of sessions and messages, while no broker runs.
    #[command(subcommand)]
    Store(StoreCommand),
    /// Publish a message.
    Pub(publish::PubArgs),
    /// Subscribe and print the messages.
    Sub(subscribe::SubArgs),
    /// Put load on a broker, any broker, and measure it.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Print the man page, or write one for each command.
    Man(ManArgs),
}

/// Commands about devices.
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Give a device a key and a certificate, also while the broker runs.
    Add(DeviceAddArgs),
    /// Print the certificates the devices got, oldest first.
    List,
}

/// Commands about users.
#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Add a user; a running broker knows it within a second.
    Add(UserArgs),
    /// Give a user another password; a running broker knows it within a second.
    Passwd(UserArgs),
    /// Print the names of the users.
    List,
    /// Remove a user; a running broker knows it within a second and closes the connections that are open.
    Remove(UserRemoveArgs),
}

/// Commands about the store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreCommand {
    /// Read every file, record and value of the store and name what is damaged.
    Verify,
    /// Count what is in the store.
    Stats,
}

/// `moat start`
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Listen on this address instead of the configured ones; may be given several times. Port 0 is a free port. With a
    /// port it is for TLS, and the WebSocket listener of a broker without configuration is left away.
    #[arg(long, value_name = "ADDR[:PORT]")]
    pub(crate) bind: Vec<BindAddress>,
    /// For trying out, test suites and benchmarks: plain MQTT on loopback, anonymous with every right.
    #[arg(long)]
    pub(crate) dev: bool,
    /// The port of `--dev`.
    #[arg(long, requires = "dev", default_value_t = DEV_PORT)]
    pub(crate) port: u16,
    /// How many packet threads run, 1 to 64; without it as configured, by default one for each core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(moat_config::SHARDS_MAX)))]
    pub(crate) shards: Option<u16>,
}

/// `moat check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration file; without it as for every command.
    pub(crate) file: Option<PathBuf>,
}

/// `moat device add`
#[derive(Debug, Args)]
pub(crate) struct DeviceAddArgs {
    /// The name of the device: its identity, and its place in the default policy, `devices/NAME/#`.
    pub(crate) name: String,
    /// The folder for key, certificate and settings; without it a new one called NAME.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// The host name or address by which the device reaches this broker; without it this machine's name.
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Issue another certificate although the device has one that is valid.
    #[arg(long)]
    pub(crate) reissue: bool,
}

/// `moat user add` and `moat user passwd`. A password is never an argument: arguments can be read by every user.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("password"))]
pub(crate) struct UserArgs {
    /// The name of the user, which is its identity.
    pub(crate) name: String,
    /// Read the password from the first line of this file, `-` for standard input; without it moat asks for it.
    #[arg(long, value_name = "FILE", group = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// Make a password of 24 random bytes and print it once.
    #[arg(long, group = "password")]
    pub(crate) generate: bool,
}

/// `moat user remove`
#[derive(Debug, Args)]
pub(crate) struct UserRemoveArgs {
    /// The name of the user.
    pub(crate) name: String,
}

/// `moat completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

/// `moat man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Write a page for each command into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// An address with or without a port: `127.0.0.1`, `::1`, `127.0.0.1:8883`, `[::1]:8883`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BindAddress {
    /// The address.
    pub(crate) ip: IpAddr,
    /// The port, if one was given.
    pub(crate) port: Option<u16>,
}

impl BindAddress {
    /// The address with its port, or with another one if it has none.
    pub(crate) fn or_port(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, self.port.unwrap_or(port))
    }
}

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            let (ip, port) = (address.ip(), Some(address.port()));
            return Ok(Self { ip, port });
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        let ip = bare.parse().map_err(|_| {
            "allowed: an IP address with or without a port, like 127.0.0.1, 0.0.0.0:8883 or [::1]:8883"
                .to_owned()
        })?;
        Ok(Self { ip, port: None })
    }
}

impl DataPlace {
    /// The place that the command line names.
    pub(crate) fn new(path: PathBuf, config: Option<PathBuf>) -> Self {
        let is_named = path.as_os_str() != DEFAULT_DATA_FOLDER;
        Self {
            path,
            is_named,
            config,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        let read = |text: &str| text.parse::<BindAddress>().map(|bind| bind.or_port(8883));
        assert_eq!(read("127.0.0.1"), Ok("127.0.0.1:8883".parse().unwrap()));
        assert_eq!(read("::1"), Ok("[::1]:8883".parse().unwrap()));
        assert_eq!(read("[::1]"), Ok("[::1]:8883".parse().unwrap()));
        assert_eq!(read("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
        assert!(read("localhost").is_err() && read("127.0.0.1:x").is_err());
    }

    #[test]
    fn no_argument_takes_a_password() {
        let args = ["moat", "user", "add", "anna", "--password", "secret"];
        assert!(Cli::try_parse_from(args).is_err());
        let args = ["moat", "user", "add", "anna", "secret"];
        assert!(Cli::try_parse_from(args).is_err());
    }

    #[test]
    fn a_port_needs_dev() {
        let fails =
            |args: &[&str]| Cli::try_parse_from(["moat", "start"].iter().chain(args)).is_err();
        assert!(fails(&["--port", "1884"]));
        assert!(!fails(&["--dev", "--port", "1884"]));
    }
}
