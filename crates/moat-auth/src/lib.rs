//! Who is there: the chain of authenticators and their backends.
//!
//! A [`Chain`] asks its backends in order; each says [`Verdict::NotMine`], accepts, rejects or is
//! unavailable. Everything that is not an acceptance refuses. The calls block (a password hash
//! takes tens of milliseconds and 19 MiB), so the packet plane hands a [`ConnectRequest`] with a
//! password to an [`AuthPool`] and gets the verdict by a callback. A certificate that TLS has
//! verified costs nothing more to judge: that it asks the chain itself.
//!
//! A mechanism of MQTT 5.0's enhanced authentication is an [`EnhancedAuth`] in the [`Mechanisms`] of the broker.
//!
//! A new backend is a folder `backend/NAME/` with `mod`, `config`, `lookup` and `tests`, one line in
//! `backend/mod.rs` and one in `chain.rs`, and a run of the contract test.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod backend;
mod chain;
mod enhanced;
mod name;
mod password;
mod pool;
mod request;
mod verdict;

pub use backend::{file, x509};
pub use chain::{BackendConfig, CHAIN_LINKS_MAX, Chain, ChainError, ContinueOnError};
pub use enhanced::{
    Dialogue, EXCHANGE_STEPS_MAX, EnhancedAuth, Exchange, MECHANISMS_MAX, METHOD_BYTES_MAX,
    MechanismError, Mechanisms, Step,
};
pub use name::{NameError, USER_NAME_CHARS_MAX, check_user_name};
pub use password::{
    GENERATED_PASSWORD_BYTES, PASSWORD_BYTES_MAX, PASSWORD_CHARS_MIN, Password, PasswordError,
    check_new_password, generate_password,
};
pub use pool::{AuthPool, QUEUE_MAX, QueueFull, WORKERS_MAX};
pub use request::ConnectRequest;
pub use verdict::{Authenticator, BackendError, RejectReason, ReloadError, Verdict};
