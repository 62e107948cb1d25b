//! Argon2id hashes in PHC notation, `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
//!
//! Parsed here because the argon2 crate's own parser stops at salts of 48 bytes, and mosquitto
//! writes 64. Numbers are capped when read: a file must not be able to make each login cost
//! gigabytes.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::password::random_bytes;
use crate::{Password, PasswordError};

/// Most memory of one hash, in KiB.
pub const MEMORY_KIB_MAX: u32 = 262_144;
/// Most passes over that memory.
pub const PASSES_MAX: u32 = 10;
/// Most lanes.
pub const PARALLELISM_MAX: u32 = 8;
/// Lengths of a salt, in bytes. RFC 9106 section 3.1 asks for at least 8.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Lengths of a hash, in bytes.
const HASH_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// What new hashes have.
const NEW_SALT_BYTES: usize = 16;
const NEW_HASH_BYTES: usize = 32;

/// What is allowed, for error texts.
pub(super) const ALLOWED: &str = "$argon2id$v=19$m=M,t=T,p=P$SALT$HASH with M from 8*P to 262144 KiB, T from 1 to 10, P from 1 to 8, a salt of 8 to 64 and a hash of 16 to 64 bytes in base64";

/// Standard alphabet; written without padding as PHC wants, read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::backend::file) struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Cost {
    /// OWASP's recommendation and the argon2 crate's default.
    pub(super) const DEFAULT: Self = Self {
        memory_kib: 19_456,
        passes: 2,
        lanes: 1,
    };

    /// KiB written by one run: a measure of its time that is no clock.
    pub(super) fn work_kib(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    fn is_allowed(self) -> bool {
        (1..=PARALLELISM_MAX).contains(&self.lanes)
            && (1..=PASSES_MAX).contains(&self.passes)
            && (8 * self.lanes..=MEMORY_KIB_MAX).contains(&self.memory_kib)
    }
}

/// A stored hash.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::backend::file) struct Argon2idHash {
    pub(super) cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl fmt::Debug for Argon2idHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argon2idHash")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Argon2idHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let (salt, hash) = (BASE64.encode(&self.salt), BASE64.encode(&self.hash));
        write!(
            f,
            "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"
        )
    }
}

impl Argon2idHash {
    /// Reads PHC notation; `None` for anything outside the bounds of this module.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (numbers, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let mut numbers = numbers.split(',');
        let cost = Cost {
            memory_kib: number(numbers.next()?, "m=")?,
            passes: number(numbers.next()?, "t=")?,
            lanes: number(numbers.next()?, "p=")?,
        };
        if numbers.next().is_some() || !cost.is_allowed() {
            return None;
        }
        let (salt, hash) = (BASE64.decode(salt).ok()?, BASE64.decode(hash).ok()?);
        let fits = SALT_BYTES.contains(&salt.len()) && HASH_BYTES.contains(&hash.len());
        fits.then_some(Self { cost, salt, hash })
    }

    /// Hashes a new password with today's cost and a random salt.
    pub(super) fn of(password: &Password) -> Result<Self, HashError> {
        let mut stored = Self::nobodys(Cost::DEFAULT)?;
        let mut hash = vec![0; NEW_HASH_BYTES];
        stored.compute(password, &mut hash)?;
        stored.hash = hash;
        Ok(stored)
    }

    /// A random salt and a random hash: no password fits, and finding that out costs as much as
    /// for a real user.
    pub(super) fn nobodys(cost: Cost) -> Result<Self, PasswordError> {
        Ok(Self {
            cost,
            salt: random_bytes::<NEW_SALT_BYTES>()?.to_vec(),
            hash: random_bytes::<NEW_HASH_BYTES>()?.to_vec(),
        })
    }

    /// Whether `password` is the one that was hashed; compares in constant time.
    pub(super) fn fits(&self, password: &Password) -> Result<bool, HashError> {
        let mut computed = Zeroizing::new(vec![0; self.hash.len()]);
        self.compute(password, &mut computed)?;
        Ok(computed.ct_eq(&self.hash).into())
    }

    fn compute(&self, password: &Password, out: &mut [u8]) -> Result<(), HashError> {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let params =
            Params::new(memory_kib, passes, lanes, Some(out.len())).map_err(HashError::library)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2
            .hash_password_into(password.reveal(), &self.salt, out)
            .map_err(HashError::library)
    }
}

/// A hash that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::backend::file) enum HashError {
    /// No random bytes for a salt.
    #[error(transparent)]
    Random(#[from] PasswordError),
    /// The library's message.
    #[error("argon2: {0}")]
    Library(String),
}

impl HashError {
    fn library(error: argon2::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// A decimal number behind its key, without sign or leading zero.
pub(super) fn number(text: &str, key: &str) -> Option<u32> {
    let digits = text.strip_prefix(key)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Debian's argon2 (reference implementation): `printf 'correct horse' | argon2
    /// saltsaltsaltsalt -id -t 2 -k 64 -p 2 -l 32 -e`.
    const REFERENCE: &str = include_str!("../../../../testdata/argon2id-reference.txt");
    /// The same with a 64-character salt, `-t 1 -k 1024 -p 1 -l 64`, as mosquitto 2.1 has them.
    const LONG_SALT: &str = include_str!("../../../../testdata/argon2id-long-salt.txt");

    fn tiny() -> Argon2idHash {
        let cost = Cost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        };
        let mut stored = Argon2idHash::nobodys(cost).unwrap();
        let mut hash = vec![0; NEW_HASH_BYTES];
        stored.compute(&"right".into(), &mut hash).unwrap();
        stored.hash = hash;
        stored
    }

    #[test]
    fn hashes_of_the_reference_implementation_fit() {
        for text in [REFERENCE, LONG_SALT] {
            let stored = Argon2idHash::parse(text.trim()).unwrap();
            assert_eq!(stored.fits(&"correct horse".into()), Ok(true));
            assert_eq!(stored.fits(&"correct horse ".into()), Ok(false));
            assert_eq!(stored.to_string(), text.trim());
        }
        assert_eq!(
            Argon2idHash::parse(LONG_SALT.trim()).unwrap().salt.len(),
            64
        );
    }

    #[test]
    fn a_new_hash_fits_its_password_and_is_salted() {
        let (one, two) = (
            Argon2idHash::of(&"right".into()).unwrap(),
            Argon2idHash::of(&"right".into()).unwrap(),
        );
        assert_ne!(one.to_string(), two.to_string());
        let read = Argon2idHash::parse(&one.to_string()).unwrap();
        assert_eq!(read, one);
        assert_eq!(
            (read.fits(&"right".into()), read.fits(&"wrong".into())),
            (Ok(true), Ok(false))
        );
        assert!(
            one.to_string()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );
    }

    #[test]
    fn nobodys_hash_fits_nothing() {
        let cost = Cost {
            memory_kib: 8,
            passes: 1,
            lanes: 1,
        };
        assert_eq!(
            Argon2idHash::nobodys(cost).unwrap().fits(&"".into()),
            Ok(false)
        );
    }

    #[test]
    fn padding_is_accepted_when_read() {
        let stored = tiny();
        let text = stored.to_string();
        let (front, hash) = text.rsplit_once('$').unwrap();
        let (front, salt) = front.rsplit_once('$').unwrap();
        assert_eq!(
            Argon2idHash::parse(&format!("{front}${salt}==${hash}=")),
            Some(stored)
        );
    }

    #[test]
    fn numbers_at_their_bounds_pass_and_beyond_are_refused() {
        let with = |numbers: &str| {
            let text = tiny().to_string().replace("m=8,t=1,p=1", numbers);
            Argon2idHash::parse(&text).is_some()
        };
        for good in ["m=262144,t=10,p=8", "m=8,t=1,p=1", "m=64,t=1,p=8"] {
            assert!(with(good), "{good}");
        }
        for bad in [
            "m=262145,t=1,p=1",
            "m=8,t=11,p=1",
            "m=1024,t=1,p=9",
            "m=63,t=1,p=8",
            "m=7,t=1,p=1",
            "m=8,t=0,p=1",
            "m=8,t=1,p=0",
            "m=4294967304,t=1,p=1",
            "m=+8,t=1,p=1",
            "m=08,t=1,p=1",
            "m=,t=1,p=1",
            "t=1,m=8,p=1",
            "m=8,t=1",
            "m=8,t=1,p=1,x=1",
            "m=-8,t=1,p=1",
        ] {
            assert!(!with(bad), "{bad}");
        }
    }

    #[test]
    fn salts_and_hashes_outside_their_lengths_are_refused() {
        let with = |salt: usize, hash: usize| {
            let (salt, hash) = (BASE64.encode(vec![7; salt]), BASE64.encode(vec![7; hash]));
            Argon2idHash::parse(&format!("$argon2id$v=19$m=8,t=1,p=1${salt}${hash}")).is_some()
        };
        assert!(with(8, 16) && with(64, 64));
        assert!(!with(7, 32) && !with(65, 32) && !with(16, 15) && !with(16, 65) && !with(0, 0));
    }

    #[test]
    fn other_notations_are_refused() {
        let good = tiny().to_string();
        for bad in [
            good.replace("argon2id", "argon2i"),
            good.replace("v=19", "v=16"),
            good.replace("v=19$", ""),
            format!("{good}$"),
            format!("{good}!"),
            good[1..].to_owned(),
            String::new(),
            "$7$101$c2FsdA==$aGFzaA==".into(),
        ] {
            assert_eq!(Argon2idHash::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn debug_output_holds_neither_salt_nor_hash() {
        let stored = tiny();
        let text = format!("{stored:?}");
        assert!(
            !text.contains(&BASE64.encode(&stored.hash)) && !text.contains("salt:"),
            "{text}"
        );
    }
}
