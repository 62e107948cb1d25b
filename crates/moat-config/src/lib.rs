//! The configuration file: typed, with defaults, errors that name file, line and column, and a generated reference.
//!
//! [`load`] reads `moat.toml` in two stages: the TOML tree with its positions, then a [`Config`] in which
//! every key has its value. All errors are found at once, warnings apart. The doc comments of the sections
//! are the reference page, see [`mod@reference`]. This crate opens no socket and knows no other moat crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod check;
#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod choice;
mod config;
mod example;
mod limits;
mod listener;
mod nearest;
mod problem;
mod raw;
pub mod reference;
mod schema;
mod section;
mod sections;
mod setting;
mod store;
mod units;

use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use config::{Config, SHARDS_MAX, Shards};
pub use limits::Limits;
pub use listener::{
    ClientAuth, ClientIdMode, DEFAULT_PORT, DEFAULT_WSS_PORT, IdentityFrom, LISTENERS_MAX,
    Listener, Protocol, SOCKET_PATH_BYTES_MAX,
};
pub use nearest::nearest;
pub use problem::{ConfigError, ConfigErrors, ConfigWarning, Position};
pub use sections::{
    Auth, Log, LogDestination, LogFormat, LogLevel, Mqtt, PolicyFiles, Tls, TlsVersion,
};
pub use setting::FileMode;
pub use store::{Durability, QueueFull, Store};

/// The largest configuration file read, in bytes.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration without errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration, with defaults where the file says nothing.
    pub config: Config,
    /// What is allowed but worth a second thought.
    pub warnings: Vec<ConfigWarning>,
}

/// Reads a configuration file. Relative paths in it start at the folder of the file.
///
/// # Errors
/// The file cannot be read, or everything that is wrong in it.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    let name = path.display().to_string();
    let unreadable = |why: String| ConfigErrors::of_file(&name, format!("cannot be read: {why}"));
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(CONFIG_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > CONFIG_BYTES_MAX) {
        return Err(unreadable(format!(
            "it is larger than {CONFIG_BYTES_MAX} bytes; is it the right file?"
        )));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        unreadable(format!("byte {} is not UTF-8", at + 1))
    })?;
    let absolute = std::path::absolute(path).map_err(|error| unreadable(error.to_string()))?;
    raw::read(&name, absolute.parent().unwrap_or(Path::new("/")), &text)
}

/// Reads a configuration from `text`, naming it `file_name` in errors. Relative paths start at its folder.
///
/// # Errors
/// Everything that is wrong in it.
pub fn parse(file_name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    let folder = Path::new(file_name).parent().unwrap_or(Path::new(""));
    raw::read(file_name, folder, text)
}

#[cfg(test)]
mod tests;
