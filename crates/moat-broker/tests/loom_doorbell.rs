//! Model check of the doorbell: in no interleaving does a pushed message go without a wake.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../src/inbox/doorbell.rs"]
#[allow(unreachable_pub, reason = "the file is public where it lives")]
mod doorbell;

mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, Ordering, fence};
}

use doorbell::Doorbell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

struct Model {
    bell: Doorbell,
    queued: AtomicUsize,
    woken: AtomicUsize,
}

fn model(senders: usize) {
    loom::model(move || {
        let model = Arc::new(Model {
            bell: Doorbell::default(),
            queued: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
        });
        let senders: Vec<_> = (0..senders)
            .map(|_| {
                let model = Arc::clone(&model);
                loom::thread::spawn(move || {
                    model.queued.fetch_add(1, Ordering::Relaxed);
                    if model.bell.ring() {
                        model.woken.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        model.bell.announce_sleep();
        let saw = model.queued.load(Ordering::Relaxed);
        for sender in senders {
            sender.join().unwrap();
        }
        let woken = model.woken.load(Ordering::Relaxed);
        model.bell.awake();
        assert!(!model.bell.ring(), "rang for an owner who is awake");
        // Asleep for good only if the queue looked empty and nobody rang: then nothing may be in it.
        let slept_on = saw == 0 && woken == 0;
        assert!(
            !slept_on || model.queued.load(Ordering::Relaxed) == 0,
            "a message without a wake"
        );
        assert!(woken <= 1, "woken twice for one sleep");
    });
}

#[test]
fn loom_one_sender_never_leaves_a_message_without_a_wake() {
    model(1);
}

#[test]
fn loom_two_senders_wake_at_most_once() {
    model(2);
}
