//! Which names a user may have.

/// Longest user name, in characters.
pub const USER_NAME_CHARS_MAX: usize = 128;

/// A user name outside the rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "user name {name:?} is refused ({problem}): allowed is 1 to 128 characters of A-Z a-z 0-9 . _ : @ - that do not begin with `-` or `.`"
)]
pub struct NameError {
    /// The name as given, cut to the longest allowed.
    pub name: String,
    /// The rule it breaks.
    pub problem: &'static str,
}

/// Checks a user name: as a device's name, and up to 128 characters.
///
/// The name becomes an identity and a topic level of the default policy, so it can't hold `+ # /`.
///
/// # Errors
/// [`NameError`], naming the rule that is broken and what is allowed.
pub fn check_user_name(name: &str) -> Result<(), NameError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > USER_NAME_CHARS_MAX {
        "it is too long"
    } else if name.starts_with(['-', '.']) {
        "it begins with `-` or `.`"
    } else if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b))
    {
        "it holds another character"
    } else {
        return Ok(());
    };
    Err(NameError {
        name: name.chars().take(USER_NAME_CHARS_MAX).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_up_to_the_bound_pass() {
        for name in ["anna", "a:b@c.d_e-f", &"a".repeat(USER_NAME_CHARS_MAX)] {
            assert_eq!(check_user_name(name), Ok(()));
        }
    }

    #[test]
    fn names_that_could_be_wildcards_or_options_are_refused() {
        let too_long = "a".repeat(USER_NAME_CHARS_MAX + 1);
        for name in [
            "",
            "-a",
            ".a",
            "a/b",
            "+",
            "#",
            "a b",
            "ä",
            "a\n",
            "<anonymous>",
            &too_long,
        ] {
            assert!(check_user_name(name).is_err(), "{name:?}");
        }
    }
}
