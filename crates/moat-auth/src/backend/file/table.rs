//! The users file in memory.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::hash::{Cost, StoredHash, allowed};
use crate::{NameError, check_user_name};

/// Longest users file, in bytes: about 250,000 users.
pub const USERS_FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// Longest line of it, in bytes.
pub const LINE_BYTES_MAX: usize = 512;

/// Why a users file was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsersError {
    /// A failure of the file system.
    #[error("can't read {}: {text}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The class of the failure.
        kind: io::ErrorKind,
        /// The system's own words.
        text: String,
    },
    /// Everybody on the machine can read or write the hashes.
    #[error("{} has mode {mode:04o}, others must have no access: run `chmod 600 {}`", .path.display(), .path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Longer than [`USERS_FILE_BYTES_MAX`].
    #[error("{} is longer than {USERS_FILE_BYTES_MAX} bytes: keep that many users in a database", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line that is no user.
    #[error("{}:{line}: {problem}", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: LineProblem,
    },
    /// The system has no random bytes, which the dummy hash needs.
    #[error("no random bytes")]
    NoRandomBytes,
}

/// What is wrong with a line. Never repeats a hash.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LineProblem {
    /// Not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Longer than [`LINE_BYTES_MAX`].
    #[error("longer than {LINE_BYTES_MAX} bytes")]
    TooLong,
    /// No colon between name and hash.
    #[error("no `:` found: allowed is `name:hash`, a line that begins with `#`, or an empty line")]
    NoColon,
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The hash is of another kind or outside the bounds.
    #[error(
        "the hash of user {name:?} is refused: allowed is {}; set it with `moat user passwd {name}`",
        allowed()
    )]
    Hash {
        /// The user.
        name: String,
    },
    /// The name has been there before.
    #[error("user {name:?} is on line {first} already: remove one of the two")]
    Duplicate {
        /// The user.
        name: String,
        /// The line where it was first.
        first: usize,
    },
}

/// Everybody in the file, and the hash that unknown users are measured against.
#[derive(Debug)]
pub(super) struct UserTable {
    users: HashMap<Box<str>, StoredHash>,
    dummy: StoredHash,
    warning: Option<WeakHashes>,
}

/// Hashes that are weak, though they work: the first of them and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
struct WeakHashes {
    line: usize,
    name: Box<str>,
    why: String,
    count: usize,
}

impl UserTable {
    /// Reads `path`; a file that does not exist holds nobody.
    pub(super) fn read(path: &Path) -> Result<Self, UsersError> {
        let bytes = read_file(path)?.unwrap_or_default();
        Self::parse(path, &bytes)
    }

    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, UsersError> {
        let mut users: HashMap<Box<str>, StoredHash> = HashMap::new();
        let mut lines: HashMap<Box<str>, usize> = HashMap::new();
        let mut warning: Option<WeakHashes> = None;
        for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let failed = |problem| UsersError::Line {
                path: path.to_path_buf(),
                line: number,
                problem,
            };
            let Some((name, hash)) = parse_line(line).map_err(failed)? else {
                continue;
            };
            if let Some(first) = lines.insert(name.into(), number) {
                return Err(failed(LineProblem::Duplicate {
                    name: name.to_owned(),
                    first,
                }));
            }
            if let Some(why) = hash.cost().weakness() {
                let first = warning.get_or_insert_with(|| WeakHashes {
                    line: number,
                    name: name.into(),
                    why,
                    count: 0,
                });
                first.count += 1;
            }
            users.insert(name.into(), hash);
        }
        let dummy = StoredHash::nobodys(most_common_cost(&users));
        Ok(Self {
            dummy: dummy.map_err(|_| UsersError::NoRandomBytes)?,
            users,
            warning,
        })
    }

    /// What is doubtful about the file `path` that this was read from. One line however many weak
    /// hashes there are, since after a move from mosquitto all of them are.
    pub(super) fn warning(&self, path: &Path) -> Option<String> {
        let WeakHashes {
            line,
            name,
            why,
            count,
        } = self.warning.as_ref()?;
        let others = match count - 1 {
            0 => String::new(),
            others => format!(", and {others} more hashes in this file are weak"),
        };
        Some(format!(
            "{}:{line}: the hash of user {name:?} is weak ({why}): set it again with `moat user passwd {name}`{others}",
            path.display()
        ))
    }

    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    /// The hash to compute, and whether it belongs to somebody.
    pub(super) fn hash_for(&self, name: &str) -> (&StoredHash, bool) {
        match self.users.get(name) {
            Some(hash) => (hash, true),
            None => (&self.dummy, false),
        }
    }
}

/// The whole file, or `None` if there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, UsersError> {
    let unreadable = |e: io::Error| UsersError::Unreadable {
        path: path.to_path_buf(),
        kind: e.kind(),
        text: e.to_string(),
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o7777;
    if mode & 0o007 != 0 {
        return Err(UsersError::Permissions {
            path: path.to_path_buf(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    let mut bounded = file.take(USERS_FILE_BYTES_MAX + 1);
    let length = bounded.read_to_end(&mut bytes).map_err(unreadable)?;
    if length as u64 > USERS_FILE_BYTES_MAX {
        return Err(UsersError::TooLarge {
            path: path.to_path_buf(),
        });
    }
    Ok(Some(bytes))
}

/// The name a line defines, without looking at its hash; `None` for comments and empty lines.
pub(super) fn name_of(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    // The name may hold colons, the hash can't.
    line.rsplit_once(':').map(|(name, _)| name)
}

fn parse_line(line: &[u8]) -> Result<Option<(&str, StoredHash)>, LineProblem> {
    if line.len() > LINE_BYTES_MAX {
        return Err(LineProblem::TooLong);
    }
    let line = std::str::from_utf8(line)
        .map_err(|_| LineProblem::NotText)?
        .trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line.rsplit_once(':').ok_or(LineProblem::NoColon)?;
    check_user_name(name)?;
    let parsed = StoredHash::parse(hash);
    let hash = parsed.ok_or_else(|| LineProblem::Hash {
        name: name.to_owned(),
    })?;
    Ok(Some((name, hash)))
}

/// What most users' hashes cost, so that an unknown user takes as long as most known ones.
fn most_common_cost(users: &HashMap<Box<str>, StoredHash>) -> Cost {
    let mut counts: HashMap<Cost, usize> = HashMap::new();
    for hash in users.values() {
        *counts.entry(hash.cost()).or_default() += 1;
    }
    let most = counts
        .into_iter()
        .max_by_key(|(cost, count)| (*count, *cost));
    most.map_or(Cost::DEFAULT, |(cost, _)| cost)
}
