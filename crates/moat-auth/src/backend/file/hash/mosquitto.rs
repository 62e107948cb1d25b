//! Hashes that `mosquitto_passwd` writes: `$7$ITERATIONS$SALT$HASH` is PBKDF2-HMAC-SHA512 (RFC 8018
//! section 5.2), `$6$SALT$HASH` is one SHA-512 of the password and then the salt. The latter looks
//! like crypt(3)'s and is not.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::argon2id::{BASE64, number};
use crate::password::random_bytes;
use crate::{Password, PasswordError};

/// Most iterations of a `$7$` hash: about a second of one worker for each login.
pub const PBKDF2_ITERATIONS_MAX: u32 = 1_000_000;
/// Fewest iterations that are not warned about: OWASP's figure for PBKDF2-HMAC-SHA512.
pub const PBKDF2_ITERATIONS_STRONG_MIN: u32 = 210_000;
/// Bytes of a salt: mosquitto up to 2.0, and from 2.1 on.
const SALT_BYTES: [usize; 2] = [12, 64];
/// Bytes of a SHA-512.
const HASH_BYTES: usize = 64;

/// What is allowed, for error texts.
pub(super) const ALLOWED: &str = "mosquitto's $7$N$SALT$HASH with N from 1 to 1000000, or $6$SALT$HASH, with a salt of 12 or 64 and a hash of 64 bytes in base64";

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::backend::file) enum Cost {
    /// `$6$`
    Sha512,
    /// `$7$`
    Pbkdf2 { iterations: NonZeroU32 },
}

impl Cost {
    /// KiB hashed by one run. An HMAC-SHA512 hashes two blocks of 128 bytes.
    pub(in crate::backend::file) fn work_kib(self) -> u64 {
        match self {
            Self::Sha512 => 1,
            Self::Pbkdf2 { iterations } => u64::from(iterations.get()).div_ceil(4),
        }
    }

    pub(super) fn weakness(self) -> Option<String> {
        match self {
            Self::Sha512 => Some("one SHA-512".to_owned()),
            Self::Pbkdf2 { iterations } if iterations.get() < PBKDF2_ITERATIONS_STRONG_MIN => {
                Some(format!(
                    "PBKDF2 with {iterations} iterations, fewer than {PBKDF2_ITERATIONS_STRONG_MIN}"
                ))
            }
            Self::Pbkdf2 { .. } => None,
        }
    }
}

/// A hash from a mosquitto password file.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::backend::file) struct MosquittoHash {
    pub(super) cost: Cost,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl fmt::Debug for MosquittoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MosquittoHash")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for MosquittoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cost {
            Cost::Sha512 => f.write_str("$6")?,
            Cost::Pbkdf2 { iterations } => write!(f, "$7${iterations}")?,
        }
        let (salt, hash) = (STANDARD.encode(&self.salt), STANDARD.encode(self.hash));
        write!(f, "${salt}${hash}")
    }
}

impl MosquittoHash {
    /// Reads either notation; `None` for anything outside the bounds of this module.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (cost, rest) = if let Some(rest) = text.strip_prefix("$6$") {
            (Cost::Sha512, rest)
        } else {
            let (iterations, rest) = text.strip_prefix("$7$")?.split_once('$')?;
            let iterations = NonZeroU32::new(number(iterations, "")?)?;
            if iterations.get() > PBKDF2_ITERATIONS_MAX {
                return None;
            }
            (Cost::Pbkdf2 { iterations }, rest)
        };
        // A further `$` would be left in the hash, and is no base64.
        let (salt, hash) = rest.split_once('$')?;
        let salt = BASE64.decode(salt).ok()?;
        let hash = BASE64.decode(hash).ok()?.try_into().ok()?;
        SALT_BYTES
            .contains(&salt.len())
            .then_some(Self { cost, salt, hash })
    }

    /// A random salt and a random hash: no password fits, and finding that out costs as much as
    /// for a real user.
    pub(super) fn nobodys(cost: Cost) -> Result<Self, PasswordError> {
        Ok(Self {
            cost,
            salt: random_bytes::<{ SALT_BYTES[0] }>()?.to_vec(),
            hash: random_bytes()?,
        })
    }

    /// Whether `password` is the one that was hashed; compares in constant time.
    pub(super) fn fits(&self, password: &Password) -> bool {
        match self.cost {
            Cost::Sha512 => {
                let mut sha = digest::Context::new(&digest::SHA512);
                sha.update(password.reveal());
                sha.update(&self.salt);
                sha.finish().as_ref().ct_eq(&self.hash).into()
            }
            Cost::Pbkdf2 { iterations } => pbkdf2::verify(
                pbkdf2::PBKDF2_HMAC_SHA512,
                iterations,
                &self.salt,
                password.reveal(),
                &self.hash,
            )
            .is_ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by Debian's mosquitto_passwd 2.0.11 for the password `correct horse`.
    const PBKDF2: &str = include_str!("../../../../testdata/mosquitto-pbkdf2.txt");
    const SHA512: &str = include_str!("../../../../testdata/mosquitto-sha512.txt");

    fn with(iterations: &str, salt: usize, hash: usize) -> bool {
        let (salt, hash) = (
            STANDARD.encode(vec![7; salt]),
            STANDARD.encode(vec![7; hash]),
        );
        MosquittoHash::parse(&format!("$7${iterations}${salt}${hash}")).is_some()
    }

    #[test]
    fn hashes_that_mosquitto_wrote_fit() {
        for text in [PBKDF2, SHA512] {
            let stored = MosquittoHash::parse(text.trim()).unwrap();
            assert!(stored.fits(&"correct horse".into()));
            assert!(!stored.fits(&"correct horse ".into()));
            assert!(!stored.fits(&"".into()));
            assert_eq!(stored.to_string(), text.trim());
            assert!(stored.cost.weakness().is_some());
        }
    }

    #[test]
    fn iterations_at_their_bounds_pass_and_beyond_are_refused() {
        assert!(with("1", 12, 64) && with("1000000", 12, 64));
        for bad in ["0", "1000001", "4294967297", "-1", "+1", "01", "", "1e3"] {
            assert!(!with(bad, 12, 64), "{bad}");
        }
    }

    #[test]
    fn salts_and_hashes_of_other_lengths_are_refused() {
        assert!(with("101", 12, 64) && with("1000", 64, 64));
        for (salt, hash) in [
            (0, 64),
            (11, 64),
            (13, 64),
            (63, 64),
            (12, 63),
            (12, 65),
            (12, 0),
        ] {
            assert!(!with("101", salt, hash), "{salt} {hash}");
        }
    }

    #[test]
    fn other_notations_are_refused() {
        let good = PBKDF2.trim();
        for bad in [
            String::new(),
            good[1..].to_owned(),
            format!("{good}$"),
            format!("{good}!"),
            good.replacen("$7$", "$5$", 1),
            // Lacks the iterations, and this has too many fields for `$6$`.
            good.replacen("$7$101$", "$7$", 1),
            good.replacen("$7$", "$6$", 1),
            // What crypt(3) writes under the same number.
            "$6$saltsaltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/".into(),
        ] {
            assert_eq!(MosquittoHash::parse(&bad), None, "{bad}");
        }
    }

    #[test]
    fn only_few_iterations_are_weak() {
        let cost = |iterations| Cost::Pbkdf2 {
            iterations: NonZeroU32::new(iterations).unwrap(),
        };
        assert_eq!(cost(PBKDF2_ITERATIONS_STRONG_MIN).weakness(), None);
        let weak = cost(PBKDF2_ITERATIONS_STRONG_MIN - 1).weakness().unwrap();
        assert!(weak.contains("209999"), "{weak}");
    }

    #[test]
    fn nobodys_hash_fits_nothing_and_debug_hides_it() {
        let stored = MosquittoHash::nobodys(Cost::Sha512).unwrap();
        assert!(!stored.fits(&"x".into()));
        assert_eq!(format!("{stored:?}"), "MosquittoHash { cost: Sha512, .. }");
    }
}
