//! Settings of the users file backend.

use std::path::PathBuf;

/// Where the users are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The users file, `<data>/users` unless the configuration names another. One that does not
    /// exist holds nobody.
    pub path: PathBuf,
}
