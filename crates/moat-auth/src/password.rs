//! Passwords in memory, and which new ones are good enough.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::{Zeroize, Zeroizing};

/// Fewest characters of a password that is set through moat.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Most bytes of a password that is set through moat.
pub const PASSWORD_BYTES_MAX: usize = 1024;
/// Random bytes in a generated password.
pub const GENERATED_PASSWORD_BYTES: usize = 24;

/// A password as it was sent or typed: any bytes.
///
/// Overwritten when dropped; has neither `Debug` nor `Display`, so it can't reach a log.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for a hash or a comparison.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes().to_vec())
    }
}

/// Why a new password is refused. No variant holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Fewer than [`PASSWORD_CHARS_MIN`] characters.
    #[error(
        "the password has {chars} characters, at least {PASSWORD_CHARS_MIN} are needed: take a longer one or let moat generate it"
    )]
    TooShort {
        /// How many it has.
        chars: usize,
    },
    /// More than [`PASSWORD_BYTES_MAX`] bytes.
    #[error("the password has {bytes} bytes, at most {PASSWORD_BYTES_MAX} are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// Not UTF-8, or with a line end or another control character: a mistake of the file or prompt.
    #[error("the password holds a control character or is not UTF-8: give one line of text")]
    NotText,
    /// The system has no random bytes.
    #[error("no random bytes for a password or a salt")]
    NoRandomBytes,
}

/// Checks a password that is about to be set.
///
/// # Errors
/// [`PasswordError`], which does not repeat the password.
pub fn check_new_password(password: &Password) -> Result<(), PasswordError> {
    let bytes = password.reveal();
    if bytes.len() > PASSWORD_BYTES_MAX {
        return Err(PasswordError::TooLong { bytes: bytes.len() });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PasswordError::NotText)?;
    if text.chars().any(char::is_control) {
        return Err(PasswordError::NotText);
    }
    let chars = text.chars().count();
    if chars < PASSWORD_CHARS_MIN {
        return Err(PasswordError::TooShort { chars });
    }
    Ok(())
}

/// A password nobody can guess: base64 of 24 random bytes, 32 characters.
///
/// # Errors
/// [`PasswordError::NoRandomBytes`].
pub fn generate_password() -> Result<Zeroizing<String>, PasswordError> {
    let mut bytes = random_bytes::<GENERATED_PASSWORD_BYTES>()?;
    let text = Zeroizing::new(STANDARD_NO_PAD.encode(bytes));
    bytes.zeroize();
    Ok(text)
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], PasswordError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| PasswordError::NoRandomBytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_characters_are_enough_and_eleven_are_not() {
        assert_eq!(check_new_password(&"ä".repeat(12).as_str().into()), Ok(()));
        assert_eq!(
            check_new_password(&"ä".repeat(11).as_str().into()),
            Err(PasswordError::TooShort { chars: 11 })
        );
    }

    #[test]
    fn overlong_and_broken_passwords_are_refused() {
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        assert_eq!(check_new_password(&longest.as_str().into()), Ok(()));
        let bytes = PASSWORD_BYTES_MAX + 1;
        assert_eq!(
            check_new_password(&"x".repeat(bytes).as_str().into()),
            Err(PasswordError::TooLong { bytes })
        );
        for broken in [
            &b"twelve chars\n"[..],
            b"twelve\0chars",
            b"\xff\xfe not utf-8 at all",
        ] {
            assert_eq!(
                check_new_password(&Password::new(broken.to_vec())),
                Err(PasswordError::NotText)
            );
        }
    }

    #[test]
    fn generated_passwords_are_good_and_differ() {
        let (one, two) = (generate_password().unwrap(), generate_password().unwrap());
        assert_eq!(one.len(), 32);
        assert_ne!(*one, *two);
        assert_eq!(check_new_password(&one.as_str().into()), Ok(()));
    }
}
