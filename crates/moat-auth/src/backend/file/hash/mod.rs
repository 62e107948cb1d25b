//! Stored password hashes: moat's own, Argon2id, and the two that mosquitto's `mosquitto_passwd`
//! writes, so that its file can be taken over as it is.

mod argon2id;
mod mosquitto;

use std::fmt;

use self::argon2id::Argon2idHash;
use self::mosquitto::MosquittoHash;
use crate::{Password, PasswordError};

pub(super) use self::argon2id::HashError;
pub use self::argon2id::{MEMORY_KIB_MAX, PARALLELISM_MAX, PASSES_MAX};
pub use self::mosquitto::{PBKDF2_ITERATIONS_MAX, PBKDF2_ITERATIONS_STRONG_MIN};

/// What is allowed, for error texts.
pub(super) fn allowed() -> String {
    format!("{}; {}", argon2id::ALLOWED, mosquitto::ALLOWED)
}

/// A stored hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum StoredHash {
    Argon2id(Argon2idHash),
    Mosquitto(MosquittoHash),
}

/// What a hash costs. Of two costs that are equally common, the later one is taken for unknown
/// users, so Argon2id stands last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cost {
    Mosquitto(mosquitto::Cost),
    Argon2id(argon2id::Cost),
}

impl Cost {
    /// What a new hash costs.
    pub(super) const DEFAULT: Self = Self::Argon2id(argon2id::Cost::DEFAULT);

    /// KiB written or hashed by one run: a measure of its time that is no clock.
    pub(super) fn work_kib(self) -> u64 {
        match self {
            Self::Argon2id(cost) => cost.work_kib(),
            Self::Mosquitto(cost) => cost.work_kib(),
        }
    }

    /// Why the hash is too easily guessed by whoever gets the file; `None` if it is not.
    pub(super) fn weakness(self) -> Option<String> {
        match self {
            Self::Argon2id(_) => None,
            Self::Mosquitto(cost) => cost.weakness(),
        }
    }
}

impl StoredHash {
    /// Reads one of the notations; `None` for anything else or outside the bounds.
    pub(super) fn parse(text: &str) -> Option<Self> {
        Argon2idHash::parse(text)
            .map(Self::Argon2id)
            .or_else(|| MosquittoHash::parse(text).map(Self::Mosquitto))
    }

    /// Hashes a new password, always with Argon2id.
    pub(super) fn of(password: &Password) -> Result<Self, HashError> {
        Argon2idHash::of(password).map(Self::Argon2id)
    }

    /// A hash that no password fits, as costly as those of `cost`.
    pub(super) fn nobodys(cost: Cost) -> Result<Self, PasswordError> {
        match cost {
            Cost::Argon2id(cost) => Argon2idHash::nobodys(cost).map(Self::Argon2id),
            Cost::Mosquitto(cost) => MosquittoHash::nobodys(cost).map(Self::Mosquitto),
        }
    }

    pub(super) fn cost(&self) -> Cost {
        match self {
            Self::Argon2id(hash) => Cost::Argon2id(hash.cost),
            Self::Mosquitto(hash) => Cost::Mosquitto(hash.cost),
        }
    }

    /// Whether `password` is the one that was hashed; compares in constant time.
    pub(super) fn fits(&self, password: &Password) -> Result<bool, HashError> {
        match self {
            Self::Argon2id(hash) => hash.fits(password),
            Self::Mosquitto(hash) => Ok(hash.fits(password)),
        }
    }
}

impl fmt::Display for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argon2id(hash) => hash.fmt(f),
            Self::Mosquitto(hash) => hash.fmt(f),
        }
    }
}
