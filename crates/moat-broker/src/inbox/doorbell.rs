//! Whether a sleeping shard has to be woken: the one hand-written piece of synchronisation.
//!
//! The sleeper announces its sleep and *then* looks at the queue once more; a sender pushes and
//! *then* looks for the announcement. With a sequentially consistent fence between the two steps
//! on both sides, at least one of them sees the other, so no message is left without a wake. The
//! model check in `tests/loom_doorbell.rs` runs this very file.

use super::sync::{AtomicBool, Ordering, fence};

/// One per inbox.
#[derive(Debug)]
pub struct Doorbell {
    sleeping: AtomicBool,
}

impl Default for Doorbell {
    fn default() -> Self {
        Doorbell {
            sleeping: AtomicBool::new(false),
        }
    }
}

impl Doorbell {
    /// The owner is about to sleep. It must look at its queue after this, and not sleep if the
    /// queue holds something.
    pub fn announce_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake.
    pub fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Something was pushed. Returns whether the caller has to wake the owner; of many callers
    /// only one is told so per sleep.
    #[must_use]
    pub fn ring(&self) -> bool {
        fence(Ordering::SeqCst);
        self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::AcqRel)
    }
}
