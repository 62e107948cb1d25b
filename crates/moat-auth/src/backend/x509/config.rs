//! Settings of the certificate backend.

/// Nothing to set yet: which field becomes the identity is decided where the chain is verified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config;
