//! Client certificates.
//!
//! The TLS layer has verified the chain and made an identity of it; this backend only decides what
//! a user name beside it means. A password beside a certificate is ignored.

mod config;
mod lookup;
#[cfg(test)]
mod tests;

pub use config::Config;
pub use lookup::X509;

use std::sync::Arc;

use crate::{Authenticator, ReloadError};

/// The name in configuration and logs.
pub const NAME: &str = "x509";

/// Makes the backend.
///
/// # Errors
/// None: it has no files.
pub(crate) fn build(_config: &Config) -> Result<Arc<dyn Authenticator>, ReloadError> {
    Ok(Arc::new(X509))
}
