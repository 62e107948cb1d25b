//! Nothing acknowledged is lost: the real program is killed, its machine loses power, its disk is full or fails, and what its clients saw is
//! checked as one history (`moat_testkit::history`).
//!
//! | file | what happens to the broker |
//! |---|---|
//! | `kill` | `kill -9` under load, again and again; `MOAT_CRASH_ROUNDS=300` for more rounds, `MOAT_CRASH_SEED` for the same dice |
//! | `power_cut` | its folder is rebuilt without what was not synced, from a log of its system calls |
//! | `full_disk` | its store is on a disk of a few MiB |
//! | `failed_fsync` | a sync returns an error |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "tests"
)]

mod client;
mod disk;
mod failed_fsync;
mod fleet;
mod full_disk;
mod kill;
mod place;
mod power_cut;
mod trace;
