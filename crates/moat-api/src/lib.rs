//! The admin API as a definition: types and endpoints, no server code.
//!
//! An [`Endpoint`] says its verb, path, permission, audit class, request and response. The server serves
//! [`ENDPOINTS`], the command line speaks the same types, and `api/openapi.json` is made from them by
//! [`openapi::document`]. Errors are [`Problem`]s. This crate knows no other moat crate.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::panic))]

mod describe;
mod endpoint;
pub mod openapi;
mod problem;
mod status;

pub use describe::Describe;
pub use endpoint::{Audit, ENDPOINTS, Endpoint, EndpointMeta, Nothing, Permission, Verb};
pub use problem::{PROBLEM_CONTENT_TYPE, Problem, ProblemKind};
pub use status::{
    CertificateStatus, GetStatus, HardeningStatus, ListenerStatus, Status, StoreStatus,
};
