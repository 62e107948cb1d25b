//! TLS for the packet plane: memory in, memory out.
//!
//! - `layer`: one connection's records, decrypted and sealed in the caller's buffers.
//! - `server_config`: certificate, key and client CAs from files into a `ServerConfig`.
//! - `client_verifier`: client certificates, with a bound on the chain.
//! - `identity`: the name a verified chain stands for.
//! - `error`: what can go wrong with a connection's records, and with the files.
//!
//! No socket, no clock but the one rustls asks for the validity of certificates, and no file
//! outside `server_config`.

mod client_verifier;
mod error;
mod identity;
mod layer;
mod server_config;

#[cfg(test)]
mod fixtures;

pub use client_verifier::CHAIN_DEPTH_DEFAULT;
pub use error::{Plaintext, TlsConfigError, TlsConfigWarning, TlsError};
pub use identity::{IDENTITY_BYTES_MAX, IdentityError, IdentityKey, identity_from_chain};
pub use layer::{HELD_BYTES_MAX, Received, TlsLayer, UNDRAINED_BYTES_MAX};
pub use server_config::{ClientAuth, EXPIRY_WARNING, Loaded, PEM_FILE_BYTES_MAX, TlsFiles, load};
