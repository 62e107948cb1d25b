//! Topic filters to entries, and all entries whose filter matches a topic.
//!
//! Filters without wildcards live in one hash map, so a topic finds them with one look-up. The
//! others live in a tree of levels that a topic walks along at most two branches per level.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::RandomState;
use hashbrown::HashTable;

use super::list::List;
use super::text::{FilterText, LevelText};

/// Something stored under a filter, told apart by its key.
pub trait Entry: Clone {
    /// What makes two entries under one filter the same.
    type Key: PartialEq;
    /// The entry's key.
    fn key(&self) -> Self::Key;
}

const ROOT: u32 = 0;

/// A node of the wildcard tree: the entries that end here, and those that end in `#` below here.
struct Node<V> {
    here: List<V>,
    below: List<V>,
    /// The child for `+`; none is [`ROOT`], which is nobody's child.
    plus: u32,
    /// Literal children plus the `+` child; a node with none and no entries is removed.
    children: u32,
}

impl<V> Node<V> {
    fn new() -> Self {
        Node {
            here: List::default(),
            below: List::default(),
            plus: ROOT,
            children: 0,
        }
    }

    fn is_unused(&self) -> bool {
        self.here.is_empty() && self.below.is_empty() && self.children == 0
    }
}

/// A literal level below a node.
struct Edge {
    parent: u32,
    level: LevelText,
    child: u32,
}

/// One exact filter with its entries.
struct Exact<V> {
    filter: FilterText,
    entries: List<V>,
}

/// Filters with their entries.
pub struct Trie<V> {
    hasher: RandomState,
    exact: HashTable<Exact<V>>,
    nodes: slab::Slab<Node<V>>,
    edges: HashTable<Edge>,
    entries: usize,
    wildcards: usize,
    changes: u64,
}

impl<V: Entry> Default for Trie<V> {
    fn default() -> Self {
        let mut nodes = slab::Slab::new();
        nodes.insert(Node::new());
        Trie {
            // Levels come from strangers, so the hash is keyed.
            hasher: RandomState::new(),
            exact: HashTable::new(),
            nodes,
            edges: HashTable::new(),
            entries: 0,
            wildcards: 0,
            changes: 0,
        }
    }
}

impl<V: Entry> Trie<V> {
    /// Entries in all.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// How often entries came and went: while it is the same, each topic matches what it matched.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Stores `entry` under `filter`, in place of one with the same key. Returns that one.
    pub fn insert(&mut self, filter: &str, entry: V) -> Option<V> {
        self.changes += 1;
        let old = if has_wildcard(filter) {
            let (node, ends_in_hash) = self.make_path(filter);
            let node = &mut self.nodes[node as usize];
            let list = if ends_in_hash {
                &mut node.below
            } else {
                &mut node.here
            };
            let old = list.put(entry);
            self.wildcards += usize::from(old.is_none());
            old
        } else {
            self.insert_exact(filter, entry)
        };
        self.entries += usize::from(old.is_none());
        old
    }

    /// Removes the entry with `key` from `filter`.
    pub fn remove(&mut self, filter: &str, key: &V::Key) -> Option<V> {
        self.changes += 1;
        let removed = if has_wildcard(filter) {
            let removed = self.remove_wildcard(filter, key);
            self.wildcards -= usize::from(removed.is_some());
            removed
        } else {
            self.remove_exact(filter, key)
        };
        self.entries -= usize::from(removed.is_some());
        removed
    }

    /// The entry with `key` of `filter`. Its key must stay what it is.
    pub fn get_mut(&mut self, filter: &str, key: &V::Key) -> Option<&mut V> {
        let list = if has_wildcard(filter) {
            let last = *self.find_path(filter)?.last()?;
            let node = &mut self.nodes[last as usize];
            if ends_in_hash(filter) {
                &mut node.below
            } else {
                &mut node.here
            }
        } else {
            let hash = exact_hash(&self.hasher, filter.as_bytes());
            let exact = self
                .exact
                .find_mut(hash, |e| e.filter.as_bytes() == filter.as_bytes())?;
            &mut exact.entries
        };
        let mut entries = list.as_mut_slice().iter_mut();
        entries.find(|entry| entry.key() == *key)
    }

    /// Calls `found` for each entry whose filter matches `topic` [MQTT-4.7.1-1..4].
    ///
    /// A wildcard on the first level does not match a topic that starts with `$` [MQTT-4.7.2-1]. Returns how many nodes were
    /// looked at: what it cost.
    pub fn matches<'a>(&'a self, topic: &str, mut found: impl FnMut(&'a V)) -> usize {
        let hash = exact_hash(&self.hasher, topic.as_bytes());
        if let Some(exact) = self
            .exact
            .find(hash, |e| e.filter.as_bytes() == topic.as_bytes())
        {
            exact.entries.as_slice().iter().for_each(&mut found);
        }
        if self.wildcards == 0 {
            return 1;
        }
        1 + self.walk(ROOT, Some(topic), topic.starts_with('$'), &mut found)
    }

    /// One level of the walk. `rest` is what is left of the topic, `None` past its last level.
    ///
    /// The depth is bounded by the levels of the stored filters, which the codec's limit bounds.
    fn walk<'a>(
        &'a self,
        at: u32,
        rest: Option<&str>,
        system: bool,
        found: &mut impl FnMut(&'a V),
    ) -> usize {
        let node = &self.nodes[at as usize];
        let hidden = system && at == ROOT;
        if !hidden {
            node.below.as_slice().iter().for_each(&mut *found);
        }
        let Some(rest) = rest else {
            node.here.as_slice().iter().for_each(found);
            return 1;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        let mut visits = 1;
        if node.plus != ROOT && !hidden {
            visits += self.walk(node.plus, rest, system, found);
        }
        if let Some(child) = self.child(at, level) {
            visits += self.walk(child, rest, system, found);
        }
        visits
    }

    fn insert_exact(&mut self, filter: &str, entry: V) -> Option<V> {
        let hash = exact_hash(&self.hasher, filter.as_bytes());
        if let Some(exact) = self
            .exact
            .find_mut(hash, |e| e.filter.as_bytes() == filter.as_bytes())
        {
            return exact.entries.put(entry);
        }
        let hasher = self.hasher.clone();
        let exact = Exact {
            filter: FilterText::new(filter),
            entries: List::One(entry),
        };
        self.exact
            .insert_unique(hash, exact, |e| exact_hash(&hasher, e.filter.as_bytes()));
        None
    }

    fn remove_exact(&mut self, filter: &str, key: &V::Key) -> Option<V> {
        let hash = exact_hash(&self.hasher, filter.as_bytes());
        let mut found = self
            .exact
            .find_entry(hash, |e| e.filter.as_bytes() == filter.as_bytes())
            .ok()?;
        let removed = found.get_mut().entries.take(key);
        if found.get().entries.is_empty() {
            found.remove();
        }
        removed
    }

    fn remove_wildcard(&mut self, filter: &str, key: &V::Key) -> Option<V> {
        let path = self.find_path(filter)?;
        let last = *path.last()?;
        let node = &mut self.nodes[last as usize];
        let list = if ends_in_hash(filter) {
            &mut node.below
        } else {
            &mut node.here
        };
        let removed = list.take(key)?;
        self.prune(filter, &path);
        Some(removed)
    }

    /// The node where `filter` ends, made if need be, and whether the filter ends in `#`.
    fn make_path(&mut self, filter: &str) -> (u32, bool) {
        let mut at = ROOT;
        for level in filter.split('/') {
            match level {
                "#" => return (at, true),
                "+" => at = self.make_plus(at),
                literal => at = self.make_child(at, literal),
            }
        }
        (at, false)
    }

    fn make_plus(&mut self, at: u32) -> u32 {
        let plus = self.nodes[at as usize].plus;
        if plus != ROOT {
            return plus;
        }
        let plus = self.new_node();
        let node = &mut self.nodes[at as usize];
        node.plus = plus;
        node.children += 1;
        plus
    }

    fn make_child(&mut self, at: u32, level: &str) -> u32 {
        if let Some(child) = self.child(at, level) {
            return child;
        }
        let child = self.new_node();
        self.nodes[at as usize].children += 1;
        let hash = edge_hash(&self.hasher, at, level.as_bytes());
        let hasher = self.hasher.clone();
        let edge = Edge {
            parent: at,
            level: LevelText::new(level),
            child,
        };
        self.edges.insert_unique(hash, edge, |e| {
            edge_hash(&hasher, e.parent, e.level.as_bytes())
        });
        child
    }

    fn new_node(&mut self) -> u32 {
        // Four billion nodes do not fit in memory before this saturates.
        u32::try_from(self.nodes.insert(Node::new())).unwrap_or(u32::MAX)
    }

    fn child(&self, at: u32, level: &str) -> Option<u32> {
        let hash = edge_hash(&self.hasher, at, level.as_bytes());
        self.edges
            .find(hash, |e| {
                e.parent == at && e.level.as_bytes() == level.as_bytes()
            })
            .map(|e| e.child)
    }

    /// The nodes from the root to where `filter` ends.
    fn find_path(&self, filter: &str) -> Option<Vec<u32>> {
        let mut path = vec![ROOT];
        let mut at = ROOT;
        for level in filter.split('/') {
            at = match level {
                "#" => break,
                "+" => match self.nodes[at as usize].plus {
                    ROOT => return None,
                    plus => plus,
                },
                literal => self.child(at, literal)?,
            };
            path.push(at);
        }
        Some(path)
    }

    /// Removes the nodes at the end of `path` that nothing uses any more.
    fn prune(&mut self, filter: &str, path: &[u32]) {
        let levels: Vec<&str> = filter.split('/').collect();
        for depth in (1..path.len()).rev() {
            if !self.nodes[path[depth] as usize].is_unused() {
                return;
            }
            let (parent, level) = (path[depth - 1], levels[depth - 1]);
            if level == "+" {
                self.nodes[parent as usize].plus = ROOT;
            } else {
                let hash = edge_hash(&self.hasher, parent, level.as_bytes());
                let edge = self.edges.find_entry(hash, |e| {
                    e.parent == parent && e.level.as_bytes() == level.as_bytes()
                });
                if let Ok(edge) = edge {
                    edge.remove();
                }
            }
            self.nodes[parent as usize].children -= 1;
            self.nodes.remove(path[depth] as usize);
        }
    }
}

fn exact_hash(hasher: &RandomState, filter: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    state.write(filter);
    state.finish()
}

fn edge_hash(hasher: &RandomState, parent: u32, level: &[u8]) -> u64 {
    let mut state = hasher.build_hasher();
    parent.hash(&mut state);
    state.write(level);
    state.finish()
}

/// Whether a valid filter holds `+` or `#`; in a valid filter they stand only for themselves.
fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|b| b == b'+' || b == b'#')
}

fn ends_in_hash(filter: &str) -> bool {
    filter.ends_with('#')
}
