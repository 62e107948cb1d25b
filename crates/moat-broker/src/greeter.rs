//! Greeters: threads for TLS handshakes, one beside each shard. Those who are there do not wait for the signatures of those who
//! come: a greeter takes the processor time that the shards leave.
//!
//! A greeter is an event loop whose shard is nobody's home, so everybody it has greeted moves on.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use moat_core::shard::Topology;
use moat_core::{Limits, Shard, ShardId};
use moat_policy::Snapshot;

use crate::event_loop::{Common, EventLoop};
use crate::listener::Bound;

/// How far its thread stands back, in the steps of nice(2): beside a shard that is busy it has about a tenth of the core.
const NICENESS: i32 = 10;

/// How many there are: none if nobody comes with TLS.
pub(crate) fn count(topology: &Topology, listeners: &[Bound]) -> usize {
    let has_tls = listeners.iter().any(|bound| bound.listener.tls.is_some());
    if has_tls { topology.len() } else { 0 }
}

/// The shard of a greeter: its number comes behind those of all shards there are, and no session has its home in it.
pub(crate) fn shard(
    number: usize,
    topology: &Topology,
    limits: &Limits,
    policy: &Arc<Snapshot>,
) -> Shard {
    // Shards are at most 64, and greeters as many.
    let id = ShardId::new(u8::try_from(topology.len() + number).unwrap_or(u8::MAX));
    Shard::new(id, topology.clone(), limits.clone(), Arc::clone(policy))
}

/// What it shares with the shards. It keeps nothing, so it has no store.
pub(crate) fn common(common: &Arc<Common>) -> Arc<Common> {
    Arc::new(Common {
        storage: None,
        ..(**common).clone()
    })
}

/// Starts its thread.
///
/// # Errors
/// The kernel gives none.
pub(crate) fn spawn(
    number: usize,
    event_loop: EventLoop,
) -> io::Result<JoinHandle<io::Result<()>>> {
    std::thread::Builder::new()
        .name(format!("greeter-{number}"))
        .spawn(move || {
            // Of this thread only. Without it, handshakes cost the shards what their share of a core is.
            let _as_before = rustix::process::setpriority_process(None, NICENESS);
            event_loop.run()
        })
}
