//! The certificate authority inside moat: root, intermediate, server and device certificates.
//!
//! Everything is a file below one folder (`<data>/pki`), every call is synchronous, and the time
//! is an argument: this crate reads no clock. Files appear whole or not at all, private keys are
//! mode 0600, and every certificate that leaves is first a line of `issued.jsonl`.
//!
//! ```text
//! root (P-384, 10 years, may stay offline) -> intermediate (P-256, 5 years) -> server (1 year)
//!                                                                           -> device (90 days)
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod authority;
mod bundle;
mod device;
mod error;
mod facts;
mod host;
mod index;
mod name;
mod placing;
mod profile;
mod server;
mod subject;

pub use authority::{Authority, CA_FILE};
pub use bundle::{BundlePaths, plan_device_bundle, write_device_bundle};
pub use device::Existing;
pub use error::PkiError;
pub use host::host_names;
pub use index::{INDEX_BYTES_MAX, INDEX_LINE_BYTES_MAX, IndexEntry, Kind};
pub use name::{DEVICE_NAME_CHARS_MAX, check_device_name};
pub use placing::KEY_MODE;
pub use profile::{
    DEVICE_DAYS, Issued, NOT_BEFORE_MARGIN, SANS_MAX, SERVER_DAYS, SERVER_RENEW_BEFORE_DAYS, San,
};
pub use server::{RenewReason, ServerFiles};
pub use subject::SubjectTemplate;
