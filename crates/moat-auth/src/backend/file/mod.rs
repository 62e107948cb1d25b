//! Users and password hashes in a file.
//!
//! moat writes Argon2id. It also reads what `mosquitto_passwd` writes, `$7$…` and `$6$…`, and warns
//! of hashes that are weak.
//!
//! ```text
//! # a comment
//! anna:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$aGFzaCBvZiAzMiBieXRlcyBpbiBiYXNlNjQh...
//! ```

#[cfg(any(test, feature = "checks"))]
pub mod checks;
mod config;
mod edit;
mod hash;
mod lookup;
mod table;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use edit::{EditError, UserFile};
pub use hash::{
    MEMORY_KIB_MAX, PARALLELISM_MAX, PASSES_MAX, PBKDF2_ITERATIONS_MAX,
    PBKDF2_ITERATIONS_STRONG_MIN,
};
pub use lookup::FileBackend;
pub use table::{LINE_BYTES_MAX, LineProblem, USERS_FILE_BYTES_MAX, UsersError};

use std::sync::Arc;

use crate::{Authenticator, ReloadError};

/// The name in configuration and logs.
pub const NAME: &str = "file";

/// Makes the backend and reads its file.
///
/// # Errors
/// What is wrong with the file, with its line.
pub(crate) fn build(config: &Config) -> Result<Arc<dyn Authenticator>, ReloadError> {
    match FileBackend::open(config) {
        Ok(backend) => Ok(Arc::new(backend)),
        Err(error) => Err(ReloadError {
            backend: NAME,
            problem: error.to_string(),
        }),
    }
}
