//! The retained messages this shard owns, by level, so that a filter finds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::{Message, Time};

/// Bookkeeping bytes counted per retained message besides its own.
pub const RETAINED_OVERHEAD_BYTES: usize = 128;

/// Why a retained message was not kept. The message itself is still delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetainRefusal {
    /// The shard holds `retained_messages_max` messages.
    TooMany,
    /// The shard holds `retained_bytes_max` bytes.
    TooLarge,
    /// The publisher has `retained_per_identity_max` retained messages.
    TooManyOfIdentity,
}

/// Limits of one [`Retained`].
#[derive(Clone, Copy, Debug)]
pub struct RetainedLimits {
    /// Messages in all.
    pub messages_max: usize,
    /// Bytes in all, bookkeeping included.
    pub bytes_max: usize,
    /// Messages of one identity.
    pub per_identity_max: usize,
}

#[derive(Default)]
struct Level {
    message: Option<Arc<Message>>,
    children: BTreeMap<Box<str>, Level>,
}

/// Retained messages by topic.
#[derive(Default)]
pub struct Retained {
    root: Level,
    messages: usize,
    bytes: usize,
    by_identity: HashMap<Arc<str>, usize>,
}

impl Retained {
    /// Messages kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// Bytes kept, bookkeeping included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps `message` for its topic in place of the one before; an empty payload removes that one
    /// and is not kept itself [MQTT-3.3.1-5], [MQTT-3.3.1-6], [MQTT-3.3.1-7].
    ///
    /// # Errors
    /// When a limit forbids it; the message before is kept then.
    pub fn set(
        &mut self,
        message: &Arc<Message>,
        limits: &RetainedLimits,
    ) -> Result<(), RetainRefusal> {
        if message.payload().is_empty() {
            self.remove(message.topic());
            return Ok(());
        }
        self.admit(message, limits)?;
        let old = self.place(message);
        self.count(message);
        if let Some(old) = old {
            self.discount(&old);
        }
        Ok(())
    }

    /// Keeps a value of the broker itself. It is not counted, so it takes no room from anybody: clients cannot make
    /// more of them.
    pub fn set_system(&mut self, message: &Arc<Message>) {
        self.place(message);
    }

    /// Puts `message` at its topic. Returns the one before.
    fn place(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let mut level = &mut self.root;
        for name in message.topic().split('/') {
            if !level.children.contains_key(name) {
                level.children.insert(name.into(), Level::default());
            }
            level = level.children.get_mut(name)?;
        }
        level.message.replace(Arc::clone(message))
    }

    /// Whether `message` fits beside what stays when it replaces its predecessor.
    fn admit(&self, message: &Message, limits: &RetainedLimits) -> Result<(), RetainRefusal> {
        let old = self.find(message.topic());
        let others = self.messages - usize::from(old.is_some());
        let other_bytes = self.bytes - old.map_or(0, |m| weight(m));
        let of_identity = self
            .by_identity
            .get(&message.publisher)
            .copied()
            .unwrap_or(0);
        let replaced_own = old.is_some_and(|m| m.publisher == message.publisher);
        if others >= limits.messages_max {
            Err(RetainRefusal::TooMany)
        } else if other_bytes + weight(message) > limits.bytes_max {
            Err(RetainRefusal::TooLarge)
        } else if of_identity - usize::from(replaced_own) >= limits.per_identity_max {
            Err(RetainRefusal::TooManyOfIdentity)
        } else {
            Ok(())
        }
    }

    fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut level = &self.root;
        for name in topic.split('/') {
            level = level.children.get(name)?;
        }
        level.message.as_ref()
    }

    /// Forgets the message of `topic`.
    pub fn remove(&mut self, topic: &str) {
        if let Some(old) = remove_below(&mut self.root, topic) {
            self.discount(&old);
        }
    }

    /// Calls `found` for each message whose topic `filter` matches and that has not expired.
    pub fn matching(&self, filter: &str, now: Time, mut found: impl FnMut(&Arc<Message>)) {
        visit(&self.root, filter, true, &mut |message| {
            if !message.is_expired(now) {
                found(message);
            }
        });
    }

    /// Forgets expired messages; meant to run now and then, off the hot path.
    pub fn sweep(&mut self, now: Time) {
        let mut expired = Vec::new();
        visit(&self.root, "#", false, &mut |message| {
            if message.is_expired(now) {
                expired.push(Arc::clone(message));
            }
        });
        for message in expired {
            self.remove(message.topic());
        }
    }

    fn count(&mut self, message: &Message) {
        self.messages += 1;
        self.bytes += weight(message);
        *self
            .by_identity
            .entry(Arc::clone(&message.publisher))
            .or_default() += 1;
    }

    fn discount(&mut self, message: &Message) {
        self.messages -= 1;
        self.bytes -= weight(message);
        if let Some(count) = self.by_identity.get_mut(&message.publisher) {
            *count -= 1;
            if *count == 0 {
                self.by_identity.remove(&message.publisher);
            }
        }
    }
}

fn weight(message: &Message) -> usize {
    message.weight() + RETAINED_OVERHEAD_BYTES
}

/// Removes the message at `topic` and every level that only led to it.
fn remove_below(level: &mut Level, topic: &str) -> Option<Arc<Message>> {
    let (name, rest) = match topic.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (topic, None),
    };
    let child = level.children.get_mut(name)?;
    let removed = match rest {
        Some(rest) => remove_below(child, rest),
        None => child.message.take(),
    };
    if child.message.is_none() && child.children.is_empty() {
        level.children.remove(name);
    }
    removed
}

/// Visits the messages that `filter` matches below `level`. With `hide_system`, a wildcard on this
/// level passes over names that start with `$` [MQTT-4.7.2-1].
fn visit(level: &Level, filter: &str, hide_system: bool, found: &mut impl FnMut(&Arc<Message>)) {
    let (name, rest) = match filter.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (filter, None),
    };
    match name {
        "#" => visit_all(level, hide_system, found),
        "+" => {
            for (name, child) in &level.children {
                if !(hide_system && name.starts_with('$')) {
                    visit_child(child, rest, found);
                }
            }
        }
        literal => {
            if let Some(child) = level.children.get(literal) {
                visit_child(child, rest, found);
            }
        }
    }
}

fn visit_child(child: &Level, rest: Option<&str>, found: &mut impl FnMut(&Arc<Message>)) {
    match rest {
        None => child.message.iter().for_each(found),
        Some(rest) => {
            // `a/#` matches `a` itself too (4.7.1.2).
            if rest == "#" {
                child.message.iter().for_each(&mut *found);
            }
            visit(child, rest, false, found);
        }
    }
}

fn visit_all(level: &Level, hide_system: bool, found: &mut impl FnMut(&Arc<Message>)) {
    for (name, child) in &level.children {
        if hide_system && name.starts_with('$') {
            continue;
        }
        child.message.iter().for_each(&mut *found);
        visit_all(child, false, found);
    }
}
