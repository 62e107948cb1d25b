//! The retained messages this shard owns, by level, so that a filter finds them.

mod search;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use search::{SearchBounds, SearchStep};

use crate::{Message, Time};

/// Bookkeeping bytes counted per retained message besides its own.
pub const RETAINED_OVERHEAD_BYTES: usize = 128;
/// Bookkeeping bytes counted per level of the tree, besides its name.
pub const RETAINED_LEVEL_BYTES: usize = 160;
/// Bookkeeping bytes counted per level that has levels below it: a topic of many levels that it shares with nobody costs far more than
/// its bytes.
pub const RETAINED_BRANCH_BYTES: usize = 520;

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

/// A message with its place in the order of keeping.
struct Kept {
    message: Arc<Message>,
    number: u64,
}

/// Levels by name.
type Children = BTreeMap<Box<str>, Level>;

static NO_CHILDREN: Children = BTreeMap::new();

#[derive(Default)]
struct Level {
    message: Option<Kept>,
    /// Absent while there are none: nearly every level is the last one of its topic.
    children: Option<Box<Children>>,
}

impl Level {
    fn children(&self) -> &Children {
        self.children.as_deref().unwrap_or(&NO_CHILDREN)
    }
}

/// Retained messages by topic.
#[derive(Default)]
pub struct Retained {
    root: Level,
    messages: usize,
    bytes: usize,
    /// Levels of the tree, the root not counted, and those of them, the root counted, that have others below them.
    levels: usize,
    branches: usize,
    by_identity: HashMap<Arc<str>, usize>,
    kept_total: u64,
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
        self.bytes + tree_bytes(self.levels, self.branches)
    }

    /// Messages ever kept: the number of the latest one.
    #[must_use]
    pub fn kept_total(&self) -> u64 {
        self.kept_total
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

    /// Keeps a value of the broker itself. Only the levels of its topic are counted, a few kilobytes for all of them: clients cannot
    /// make more.
    pub fn set_system(&mut self, message: &Arc<Message>) {
        self.place(message);
    }

    /// Puts `message` at its topic. Returns the one before.
    fn place(&mut self, message: &Arc<Message>) -> Option<Arc<Message>> {
        let mut level = &mut self.root;
        for name in message.topic().split('/') {
            let children = level.children.get_or_insert_default();
            if !children.contains_key(name) {
                self.levels += 1;
                self.branches += usize::from(children.is_empty());
                children.insert(name.into(), Level::default());
            }
            level = children.get_mut(name)?;
        }
        self.kept_total += 1;
        let kept = Kept {
            message: Arc::clone(message),
            number: self.kept_total,
        };
        level.message.replace(kept).map(|old| old.message)
    }

    /// Whether `message` fits beside what stays when it replaces its predecessor.
    fn admit(&self, message: &Message, limits: &RetainedLimits) -> Result<(), RetainRefusal> {
        let old = self.find(message.topic());
        let others = self.messages - usize::from(old.is_some());
        let other_bytes =
            self.bytes() - old.map_or(0, |m| weight(m)) + self.missing(message.topic());
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

    /// Bytes of bookkeeping that `topic` adds to the tree.
    fn missing(&self, topic: &str) -> usize {
        let (mut level, mut names) = (&self.root, topic.split('/'));
        while let Some(name) = names.next() {
            match level.children().get(name) {
                Some(child) => level = child,
                None => {
                    let below = names.count();
                    let branches = below + usize::from(level.children().is_empty());
                    return tree_bytes(below + 1, branches);
                }
            }
        }
        0
    }

    fn find(&self, topic: &str) -> Option<&Arc<Message>> {
        let mut level = &self.root;
        for name in topic.split('/') {
            level = level.children().get(name)?;
        }
        level.message.as_ref().map(|kept| &kept.message)
    }

    /// Forgets the message of `topic`.
    pub fn remove(&mut self, topic: &str) {
        let mut gone = Gone::default();
        if let Some(old) = remove_below(&mut self.root, topic, &mut gone) {
            self.levels -= gone.levels;
            self.branches -= gone.branches;
            self.discount(&old);
        }
    }

    /// Calls `found` for each message whose topic `filter` matches and that has not expired, without a bound: for tests.
    pub fn matching(&self, filter: &str, now: Time, found: impl FnMut(&Arc<Message>)) {
        let bounds = SearchBounds {
            visits_max: usize::MAX,
            messages_max: usize::MAX,
        };
        self.search(filter, None, self.kept_total, now, bounds, found);
    }

    /// Forgets expired messages and returns them; meant to run now and then, off the hot path.
    pub fn sweep(&mut self, now: Time) -> Vec<Arc<Message>> {
        let mut expired = Vec::new();
        visit_all(&self.root, &mut |message| {
            if message.is_expired(now) {
                expired.push(Arc::clone(message));
            }
        });
        for message in &expired {
            self.remove(message.topic());
        }
        expired
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

fn tree_bytes(levels: usize, branches: usize) -> usize {
    levels * RETAINED_LEVEL_BYTES + branches * RETAINED_BRANCH_BYTES
}

/// Levels that went with a message.
#[derive(Default)]
struct Gone {
    levels: usize,
    branches: usize,
}

/// Removes the message at `topic` and every level that only led to it.
fn remove_below(level: &mut Level, topic: &str, gone: &mut Gone) -> Option<Arc<Message>> {
    let (name, rest) = match topic.split_once('/') {
        Some((name, rest)) => (name, Some(rest)),
        None => (topic, None),
    };
    let children = level.children.as_deref_mut()?;
    let child = children.get_mut(name)?;
    let removed = match rest {
        Some(rest) => remove_below(child, rest, gone),
        None => child.message.take().map(|kept| kept.message),
    };
    if child.message.is_none() && child.children.is_none() {
        children.remove(name);
        gone.levels += 1;
        if children.is_empty() {
            level.children = None;
            gone.branches += 1;
        }
    }
    removed
}

fn visit_all(level: &Level, found: &mut impl FnMut(&Arc<Message>)) {
    for child in level.children().values() {
        child.message.iter().for_each(|kept| found(&kept.message));
        visit_all(child, found);
    }
}
