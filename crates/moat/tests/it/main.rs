//! The real binary, from its command line to its exit codes.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod bad_input;
mod bench;
mod commands;
mod first_start;
mod folder;
mod full_disk;
mod reload;
mod rights;
mod stop;
mod store;
