//! Which names a device may have.

use crate::PkiError;

/// Longest device name, in characters: the upper bound of a common name (RFC 5280 `ub-common-name`).
pub const DEVICE_NAME_CHARS_MAX: usize = 64;

/// The rule in words, for error texts.
pub(crate) const DEVICE_NAME_ALLOWED: &str = "1 to 64 characters of A-Z a-z 0-9 . _ : @ - that do not begin with `-` or `.`, and not the word \"ca\"";

/// Checks a device name.
///
/// The name becomes an identity, a topic level of the default policy and a file name, so it can't
/// hold `+ # /`, and can't look like an option or a hidden file. "ca" is taken: `ca.crt` is the
/// authority's certificate in every device bundle.
///
/// # Errors
/// [`PkiError::InvalidName`], naming the rule that is broken and what is allowed.
pub fn check_device_name(name: &str) -> Result<(), PkiError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > DEVICE_NAME_CHARS_MAX {
        "it is too long"
    } else if name.starts_with(['-', '.']) {
        "it begins with `-` or `.`"
    } else if name == "ca" {
        "ca.crt is the authority's own file"
    } else if !name.bytes().all(is_allowed) {
        "it holds another character"
    } else {
        return Ok(());
    };
    Err(PkiError::InvalidName {
        name: name.chars().take(DEVICE_NAME_CHARS_MAX).collect(),
        problem,
    })
}

fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_pass() {
        let longest = "a".repeat(DEVICE_NAME_CHARS_MAX);
        for name in [
            "whatwatt-001",
            "a",
            "00:1B:44",
            "m@lab.example",
            "_x",
            "CA",
            &longest,
        ] {
            assert_eq!(check_device_name(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn names_that_could_be_wildcards_paths_or_options_are_refused() {
        let too_long = "a".repeat(DEVICE_NAME_CHARS_MAX + 1);
        for name in [
            "",
            "+",
            "a/b",
            "#",
            "-v",
            ".hidden",
            "..",
            "a b",
            "ä",
            "a\n",
            "a\0",
            "${identity}",
            "ca",
            &too_long,
        ] {
            let error = check_device_name(name).unwrap_err();
            assert!(error.to_string().contains(DEVICE_NAME_ALLOWED), "{error}");
        }
    }
}
