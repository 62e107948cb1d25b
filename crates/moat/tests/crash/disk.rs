//! What a disk holds while a program writes: what is durable, and what would be lost if the power went now.
//!
//! It promises as little as POSIX: a sync of a file makes its bytes and its length durable, a sync of a folder its entries, and of everything else any part may
//! be there after a power cut, in any combination; of a write also only its first bytes.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use moat_testkit::fume::Dice;

use crate::trace::Call;

const PAGE_BYTES: usize = 4096;

/// A file's bytes; pages that are not there are zeros.
#[derive(Clone, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

/// A change of a file.
#[derive(Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    SetLen(u64),
}

/// A change of a folder.
#[derive(Clone)]
enum Entry {
    Add(String, usize),
    Remove(String),
    /// Within one folder, so that it happens as a whole or not.
    Rename(String, String, usize),
}

/// Something not yet durable, and when the call that made it returned.
#[derive(Clone)]
struct Pending<T> {
    ended: u64,
    what: T,
}

/// A file or a folder.
#[derive(Clone)]
struct Node {
    mode: u32,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    File {
        /// Its length for the program.
        len: u64,
        durable: Content,
        pending: Vec<Pending<Change>>,
    },
    Folder {
        /// Its entries for the program.
        entries: BTreeMap<String, usize>,
        durable: BTreeMap<String, usize>,
        pending: Vec<Pending<Entry>>,
    },
}

/// An open file. Descriptors that are copies of each other share it.
#[derive(Clone)]
struct Open {
    node: usize,
    position: u64,
    appends: bool,
    is_sync: bool,
}

/// How much of what was not synced is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Loss {
    All,
    /// So many of a hundred changes.
    Some(u64),
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "only the disk's own tests lose nothing")
    )]
    None,
}

/// A folder and everything below it.
#[derive(Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    nodes: Vec<Node>,
    opens: Vec<Open>,
    descriptors: HashMap<i64, usize>,
}

impl Disk {
    /// The folder as it is now, all of it durable.
    pub(crate) fn of_folder(root: &Path) -> Self {
        let mut disk = Disk {
            root: root.to_owned(),
            nodes: Vec::new(),
            opens: Vec::new(),
            descriptors: HashMap::new(),
        };
        disk.load(root);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let node = self.nodes.len();
        let metadata = fs::symlink_metadata(path).unwrap();
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            self.nodes.push(Node::folder(mode));
            let mut entries = BTreeMap::new();
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                if kind.is_file() || kind.is_dir() {
                    let name = entry.file_name().into_string().unwrap();
                    entries.insert(name, self.load(&entry.path()));
                }
            }
            let folder = self.nodes[node].entries_mut();
            folder.clone_from(&entries);
            let Kind::Folder { durable, .. } = &mut self.nodes[node].kind else {
                unreachable!("a folder was put there");
            };
            *durable = entries;
        } else {
            let mut content = Content::default();
            content.write(0, &fs::read(path).unwrap());
            let (len, pending) = (content.len, Vec::new());
            let durable = content;
            let kind = Kind::File {
                len,
                durable,
                pending,
            };
            self.nodes.push(Node { mode, kind });
        }
        node
    }

    /// Does what the program did up to a moment. Of calls that had not returned by then, whatever they do may be lost.
    pub(crate) fn replay(&mut self, calls: &[Call], until: u64) {
        for call in calls.iter().filter(|call| call.ended <= until) {
            self.apply(call);
        }
        for call in calls
            .iter()
            .filter(|call| call.begun <= until && until < call.ended)
        {
            if !is_sync(&call.name) {
                self.apply(call);
            }
        }
    }

    /// Names that are not durable, and files with so many changes that are not.
    pub(crate) fn unsynced(&self) -> Vec<String> {
        let mut paths = vec![(0, PathBuf::from("."))];
        let mut unsynced = Vec::new();
        while let Some((node, path)) = paths.pop() {
            let path_text = path.display();
            match &self.nodes[node].kind {
                Kind::File { pending, .. } if pending.is_empty() => {}
                Kind::File { pending, .. } => {
                    unsynced.push(format!("{path_text}: {} changes", pending.len()));
                }
                Kind::Folder {
                    entries, pending, ..
                } => {
                    let names = pending.iter().map(|entry| match &entry.what {
                        Entry::Add(name, _) => format!("{path_text}: + {name}"),
                        Entry::Remove(name) => format!("{path_text}: - {name}"),
                        Entry::Rename(from, to, _) => format!("{path_text}: {from} -> {to}"),
                    });
                    unsynced.extend(names);
                    paths.extend(entries.iter().map(|(name, node)| (*node, path.join(name))));
                }
            }
        }
        unsynced
    }

    /// Writes what a power cut leaves into an empty folder.
    pub(crate) fn leave(&self, folder: &Path, loss: Loss, dice: &mut Dice) {
        self.leave_node(0, folder, loss, dice);
    }

    fn leave_node(&self, node: usize, path: &Path, loss: Loss, dice: &mut Dice) {
        match &self.nodes[node].kind {
            Kind::File {
                durable, pending, ..
            } => {
                let mut content = durable.clone();
                for change in pending {
                    if let Some(change) = change.what.survivor(loss, dice) {
                        content.apply(&change);
                    }
                }
                content.save(path);
            }
            Kind::Folder {
                durable, pending, ..
            } => {
                let mut entries = durable.clone();
                for entry in pending {
                    if loss.spares(dice) {
                        entry.what.apply(&mut entries);
                    }
                }
                if !path.exists() {
                    fs::create_dir(path).unwrap();
                }
                for (name, node) in entries {
                    self.leave_node(node, &path.join(name), loss, dice);
                }
            }
        }
        let mode = fs::Permissions::from_mode(self.nodes[node].mode);
        fs::set_permissions(path, mode).unwrap();
    }

    fn apply(&mut self, call: &Call) {
        match call.name.as_str() {
            "openat" => self.open(call, 1, 2),
            "open" => self.open(call, 0, 1),
            "close" => {
                self.descriptors.remove(&call.number(0));
            }
            "dup" | "dup2" | "dup3" => self.copy_descriptor(call),
            "fcntl" if call.args[1].starts_with("F_DUPFD") => self.copy_descriptor(call),
            "read" | "readv" => {
                if let Some(open) = self.opened(call) {
                    self.opens[open].position += unsigned(call.result);
                }
            }
            "lseek" => {
                if let Some(open) = self.opened(call) {
                    self.opens[open].position = unsigned(call.result);
                }
            }
            "write" | "writev" => self.write(call),
            "pwrite64" | "pwritev" | "pwritev2" => {
                let at = unsigned(call.number(3));
                self.write_at(call, at);
            }
            "ftruncate" => self.set_len(call, unsigned(call.number(1))),
            "fallocate" => {
                // Without a mode it makes the file longer, and nothing else that can be seen.
                let is_plain = matches!(call.args[1].as_str(), "0");
                let is_known = is_plain || call.args[1] == "FALLOC_FL_KEEP_SIZE";
                assert!(
                    self.opened(call).is_none() || is_known,
                    "not modelled: {call:?}"
                );
                let end = unsigned(call.number(2) + call.number(3));
                if is_plain && self.opened(call).is_some_and(|open| self.len(open) < end) {
                    self.set_len(call, end);
                }
            }
            "rename" => self.rename(call, 0, 1),
            "renameat" | "renameat2" => self.rename(call, 1, 3),
            "unlink" | "rmdir" => self.remove(call, 0),
            "unlinkat" => self.remove(call, 1),
            "mkdir" => self.make_folder(call, 0),
            "mkdirat" => self.make_folder(call, 1),
            "fsync" | "fdatasync" => self.sync(call),
            "sync" | "syncfs" => {
                (0..self.nodes.len()).for_each(|node| self.nodes[node].sync(call.begun))
            }
            // It promises nothing.
            "sync_file_range" => {}
            "fcntl" | "clone" | "clone3" | "msync" => {}
            "mmap" => {
                let is_shared = call.has_flag(3, "MAP_SHARED") && call.has_flag(2, "PROT_WRITE");
                let is_ours = self
                    .descriptors
                    .contains_key(&call.args[4].parse().unwrap_or(-1));
                assert!(!(is_shared && is_ours), "not modelled: {call:?}");
            }
            _ => self.is_elsewhere(call),
        }
    }

    /// Fails if a call that is not modelled is about a file of ours.
    fn is_elsewhere(&self, call: &Call) {
        let numbers = call.args.iter().filter_map(|word| word.parse().ok());
        let is_ours = numbers
            .into_iter()
            .any(|number: i64| self.descriptors.contains_key(&number));
        let paths = (0..call.args.len()).map(|place| call.bytes(place));
        let is_below = paths
            .filter_map(|bytes| String::from_utf8(bytes).ok())
            .any(|path| Path::new(&path).starts_with(&self.root));
        assert!(!is_ours && !is_below, "not modelled: {call:?}");
    }

    fn open(&mut self, call: &Call, path: usize, flags: usize) {
        let descriptor = call.result;
        self.descriptors.remove(&descriptor);
        let Some((folder, name)) = self.place_of(call, path) else {
            return;
        };
        let found = match &name {
            None => Some(folder),
            Some(name) => self.nodes[folder].entries().get(name).copied(),
        };
        let node = found.unwrap_or_else(|| {
            assert!(
                call.has_flag(flags, "O_CREAT"),
                "opened, but not there: {call:?}"
            );
            self.nodes.push(Node::file());
            let node = self.nodes.len() - 1;
            self.enter(call, folder, Entry::Add(name.clone().unwrap(), node));
            node
        });
        self.opens.push(Open {
            node,
            position: 0,
            appends: call.has_flag(flags, "O_APPEND"),
            is_sync: call.has_flag(flags, "O_SYNC") || call.has_flag(flags, "O_DSYNC"),
        });
        self.descriptors.insert(descriptor, self.opens.len() - 1);
        if call.has_flag(flags, "O_TRUNC") && found.is_some() {
            self.change(call, self.opens.len() - 1, Change::SetLen(0));
        }
    }

    fn copy_descriptor(&mut self, call: &Call) {
        match self.opened(call) {
            Some(open) => self.descriptors.insert(call.result, open),
            None => self.descriptors.remove(&call.result),
        };
    }

    fn opened(&self, call: &Call) -> Option<usize> {
        self.descriptors.get(&call.number(0)).copied()
    }

    fn len(&self, open: usize) -> u64 {
        match &self.nodes[self.opens[open].node].kind {
            Kind::File { len, .. } => *len,
            Kind::Folder { .. } => 0,
        }
    }

    fn write(&mut self, call: &Call) {
        let Some(open) = self.opened(call) else {
            return;
        };
        let at = if self.opens[open].appends {
            self.len(open)
        } else {
            self.opens[open].position
        };
        let written = self.write_at(call, at);
        self.opens[open].position = at + written;
    }

    fn write_at(&mut self, call: &Call, at: u64) -> u64 {
        let Some(open) = self.opened(call) else {
            return 0;
        };
        let mut bytes = call.bytes(1);
        // Of a call that never returned, how much it wrote is for the dice.
        if call.ended != u64::MAX {
            bytes.truncate(usize::try_from(call.result).unwrap());
        }
        let count = bytes.len() as u64;
        self.change(call, open, Change::Write { at, bytes });
        count
    }

    fn set_len(&mut self, call: &Call, len: u64) {
        if let Some(open) = self.opened(call) {
            self.change(call, open, Change::SetLen(len));
        }
    }

    fn change(&mut self, call: &Call, open: usize, change: Change) {
        let node = self.opens[open].node;
        let Kind::File { len, pending, .. } = &mut self.nodes[node].kind else {
            panic!("written to a folder: {call:?}");
        };
        *len = match &change {
            Change::Write { at, bytes } => (*len).max(at + bytes.len() as u64),
            Change::SetLen(len) => *len,
        };
        let ended = call.ended;
        pending.push(Pending {
            ended,
            what: change,
        });
        if self.opens[open].is_sync && ended != u64::MAX {
            self.nodes[node].sync(ended);
        }
    }

    fn rename(&mut self, call: &Call, from: usize, to: usize) {
        let (from, to) = (self.place_of(call, from), self.place_of(call, to));
        let (Some((from_folder, Some(from))), Some((to_folder, Some(to)))) = (from, to) else {
            return;
        };
        let node = self.nodes[from_folder].entries()[&from];
        if from_folder == to_folder {
            self.enter(call, from_folder, Entry::Rename(from, to, node));
        } else {
            self.enter(call, to_folder, Entry::Add(to, node));
            self.enter(call, from_folder, Entry::Remove(from));
        }
    }

    fn remove(&mut self, call: &Call, path: usize) {
        if let Some((folder, Some(name))) = self.place_of(call, path) {
            self.enter(call, folder, Entry::Remove(name));
        }
    }

    fn make_folder(&mut self, call: &Call, path: usize) {
        if let Some((folder, Some(name))) = self.place_of(call, path) {
            self.nodes.push(Node::folder(0o700));
            let node = self.nodes.len() - 1;
            self.enter(call, folder, Entry::Add(name, node));
        }
    }

    fn enter(&mut self, call: &Call, folder: usize, entry: Entry) {
        let Kind::Folder {
            entries, pending, ..
        } = &mut self.nodes[folder].kind
        else {
            panic!("not a folder: {call:?}");
        };
        entry.apply(entries);
        pending.push(Pending {
            ended: call.ended,
            what: entry,
        });
    }

    fn sync(&mut self, call: &Call) {
        if let Some(open) = self.opened(call) {
            let node = self.opens[open].node;
            // What was still being written when it began may have come too late.
            self.nodes[node].sync(call.begun);
        }
    }

    /// The folder and the name in it that a path leads to, if that is below the root; of the root itself, no name.
    fn place_of(&self, call: &Call, place: usize) -> Option<(usize, Option<String>)> {
        let path = PathBuf::from(String::from_utf8(call.bytes(place)).ok()?);
        let (mut folder, path) = if path.is_absolute() {
            (0, path.strip_prefix(&self.root).ok()?.to_owned())
        } else {
            // Relative to a folder that is open; there is no other way to be in ours.
            let descriptor = place
                .checked_sub(1)
                .and_then(|before| call.args[before].parse().ok())?;
            let open = *self.descriptors.get(&descriptor)?;
            (self.opens[open].node, path)
        };
        let names = path.components().filter(|part| *part != Component::CurDir);
        let mut names: Vec<String> = names
            .map(|part| part.as_os_str().to_str().unwrap().to_owned())
            .collect();
        let last = names.pop();
        for name in names {
            assert_ne!(name, "..", "not modelled: {call:?}");
            folder = *self.nodes[folder].entries().get(&name)?;
        }
        Some((folder, last))
    }
}

impl Node {
    fn file() -> Self {
        let kind = Kind::File {
            len: 0,
            durable: Content::default(),
            pending: Vec::new(),
        };
        Node { mode: 0o600, kind }
    }

    fn folder(mode: u32) -> Self {
        let kind = Kind::Folder {
            entries: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
        };
        Node { mode, kind }
    }

    fn entries(&self) -> &BTreeMap<String, usize> {
        match &self.kind {
            Kind::Folder { entries, .. } => entries,
            Kind::File { .. } => panic!("a file where a folder was expected"),
        }
    }

    fn entries_mut(&mut self) -> &mut BTreeMap<String, usize> {
        match &mut self.kind {
            Kind::Folder { entries, .. } => entries,
            Kind::File { .. } => panic!("a file where a folder was expected"),
        }
    }

    /// Makes durable what had been done by a moment.
    fn sync(&mut self, by: u64) {
        match &mut self.kind {
            Kind::File {
                durable, pending, ..
            } => settle(pending, by, |change| durable.apply(change)),
            Kind::Folder {
                durable, pending, ..
            } => settle(pending, by, |entry| entry.apply(durable)),
        }
    }
}

fn settle<T>(pending: &mut Vec<Pending<T>>, by: u64, mut apply: impl FnMut(&T)) {
    pending.retain(|change| {
        let is_durable = change.ended <= by;
        if is_durable {
            apply(&change.what);
        }
        !is_durable
    });
}

impl Entry {
    fn apply(&self, entries: &mut BTreeMap<String, usize>) {
        match self {
            Entry::Add(name, node) => {
                entries.insert(name.clone(), *node);
            }
            Entry::Remove(name) => {
                entries.remove(name);
            }
            Entry::Rename(from, to, node) => {
                entries.remove(from);
                entries.insert(to.clone(), *node);
            }
        }
    }
}

impl Change {
    /// What is left of it after a power cut.
    fn survivor(&self, loss: Loss, dice: &mut Dice) -> Option<Change> {
        if !loss.spares(dice) {
            return None;
        }
        match self {
            Change::Write { at, bytes } if loss != Loss::None && dice.chance(25) => {
                let bytes = bytes[..dice.place(bytes.len().max(1))].to_vec();
                Some(Change::Write { at: *at, bytes })
            }
            whole => Some(whole.clone()),
        }
    }
}

impl Loss {
    fn spares(self, dice: &mut Dice) -> bool {
        match self {
            Loss::All => false,
            Loss::Some(percent) => !dice.chance(percent),
            Loss::None => true,
        }
    }
}

impl Content {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { at, bytes } => self.write(*at, bytes),
            Change::SetLen(len) => self.set_len(*len),
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) {
        let mut at = at;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (page, offset) = place_in_page(at);
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - offset));
            let is_zero = now.iter().all(|byte| *byte == 0);
            if !is_zero || self.pages.contains_key(&page) {
                let page = self
                    .pages
                    .entry(page)
                    .or_insert_with(|| Box::new([0; PAGE_BYTES]));
                page[offset..offset + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            rest = later;
        }
        self.len = self.len.max(at);
    }

    fn set_len(&mut self, len: u64) {
        if len < self.len {
            let (page, offset) = place_in_page(len);
            self.pages.retain(|number, _| *number <= page);
            if let Some(page) = self.pages.get_mut(&page) {
                page[offset..].fill(0);
            }
        }
        self.len = len;
    }

    fn save(&self, path: &Path) {
        let file = fs::File::create(path).unwrap();
        file.set_len(self.len).unwrap();
        for (number, page) in &self.pages {
            let at = number * PAGE_BYTES as u64;
            let end = usize::try_from((self.len - at).min(PAGE_BYTES as u64)).unwrap();
            file.write_all_at(&page[..end], at).unwrap();
        }
    }
}

fn place_in_page(at: u64) -> (u64, usize) {
    let page = PAGE_BYTES as u64;
    (at / page, usize::try_from(at % page).unwrap())
}

fn is_sync(name: &str) -> bool {
    matches!(name, "fsync" | "fdatasync" | "sync" | "syncfs")
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap()
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
