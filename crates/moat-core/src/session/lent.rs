//! An entry of somebody else's queue that a message was dealt from to a session that keeps nothing itself.
//!
//! Whoever had the entry keeps it until the message has been dealt with: so a crash finds it there, and a member that goes away gives it back
//! as it was. As with [`super::Share`], a message that leaves by any way at all gives its entry up by itself.

use std::sync::{Arc, Mutex, PoisonError};

use crate::shard::Origin;

/// Entries that their messages have given up, until the end of the turn.
#[derive(Clone, Debug, Default)]
pub struct GivenUp(Arc<Mutex<Vec<Origin>>>);

impl GivenUp {
    /// Takes them all.
    #[must_use]
    pub fn take(&self) -> Vec<Origin> {
        // One thread uses a shard at a time, so nobody waits for this lock.
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn push(&self, origin: Origin) {
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.push(origin);
    }
}

/// The entry of one message. [`super::parcel::Parcel`] holds it until its client has the message.
#[derive(Debug)]
pub struct Lent {
    origin: Mutex<Option<Box<Origin>>>,
    given_up: GivenUp,
}

impl Lent {
    /// The entry at `origin`, which goes to `given_up` in the end.
    #[must_use]
    pub fn new(origin: Box<Origin>, given_up: &GivenUp) -> Arc<Lent> {
        Arc::new(Lent {
            origin: Mutex::new(Some(origin)),
            given_up: given_up.clone(),
        })
    }

    /// The entry, for whoever is dealt the message next.
    #[must_use]
    pub fn take(&self) -> Option<Box<Origin>> {
        let mut origin = self.origin.lock().unwrap_or_else(PoisonError::into_inner);
        origin.take()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(origin) = self.take() {
            self.given_up.push(*origin);
        }
    }
}
