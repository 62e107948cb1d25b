//! The words after the name of a command: read in one way, and what is wrong with them said in one way.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;
use std::process::ExitStatus;
use std::str::FromStr;

use moat_config::nearest;

/// What a program ends with that was given words it does not understand.
pub(crate) const WRONG_WORDS: u8 = 2;

/// Why a command did not succeed.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// The words are wrong, and nothing was done.
    Words(String),
    /// Something does not work, or is not as it should be.
    Work(String),
}

impl Failure {
    /// Of a program that was given the words and has said what is wrong.
    pub(crate) fn of_program(name: &str, status: ExitStatus) -> Self {
        let message = format!("{name}: {status}");
        if status.code() == Some(WRONG_WORDS.into()) {
            return Self::Words(message);
        }
        Self::Work(message)
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Work(message)
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Words(message) | Self::Work(message)) = self;
        f.write_str(message)
    }
}

/// An option of a command: its name, and what stands for its value; nothing if it has none.
pub(crate) type Known = (&'static str, &'static str);

/// The options among `words` with their values, in the order they were given.
///
/// # Errors
/// A word is no option of `command`, or its value is missing.
pub(crate) fn options<'w>(
    command: &str,
    words: &[&'w str],
    known: &'static [Known],
) -> Result<Vec<(&'static str, &'w str)>, Failure> {
    let mut given = Vec::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let Some(&(name, value)) = known.iter().find(|(name, _)| *name == word) else {
            let names = known.iter().map(|(name, _)| *name);
            return Err(unknown(&format!("{command} {word}"), word, names));
        };
        let value = match (value, words.as_slice()) {
            ("", _) => "",
            (value, []) => {
                return Err(Failure::Words(format!(
                    "{command} {name}: its value is missing; write {name} {value}"
                )));
            }
            (_, [value, rest @ ..]) => {
                words = rest.iter();
                value
            }
        };
        given.push((name, value));
    }
    Ok(given)
}

/// The number that `value` of the option `name` says.
///
/// # Errors
/// It is none, or none that is allowed.
pub(crate) fn number<N: FromStr + PartialOrd + Display>(
    name: &str,
    value: &str,
    allowed: RangeInclusive<N>,
) -> Result<N, Failure> {
    match value.parse() {
        Ok(number) if allowed.contains(&number) => Ok(number),
        _ => Err(Failure::Words(format!(
            "{name} {value}: not a number that is allowed; allowed are {} to {}",
            allowed.start(),
            allowed.end()
        ))),
    }
}

/// What to say of a `word` that is none of `known`; `said` is the word and what stands before it.
pub(crate) fn unknown<'k>(
    said: &str,
    word: &str,
    known: impl Iterator<Item = &'k str> + Clone,
) -> Failure {
    let all = known.clone().collect::<Vec<_>>().join(", ");
    Failure::Words(match nearest(word, known) {
        _ if all.is_empty() => format!("{said}: not known; nothing may stand there"),
        Some(near) => format!("{said}: not known; did you mean {near}? There are {all}"),
        None => format!("{said}: not known; there are {all}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Known] = &[("--quick", ""), ("--rounds", "N")];

    fn told(words: &[&str]) -> String {
        options("bench", words, KNOWN).unwrap_err().to_string()
    }

    #[test]
    fn options_come_in_their_order_with_their_values() {
        let words = ["--rounds", "3", "--quick", "--rounds", "--quick"];
        let expected = [("--rounds", "3"), ("--quick", ""), ("--rounds", "--quick")];
        assert_eq!(options("bench", &words, KNOWN).unwrap(), expected);
        assert_eq!(options("tidy", &[], &[]), Ok(Vec::new()));
    }

    #[test]
    fn an_unknown_word_names_the_nearest_and_all_there_are() {
        assert_eq!(
            told(&["--quick", "--round", "3"]),
            "bench --round: not known; did you mean --rounds? There are --quick, --rounds"
        );
        assert_eq!(
            told(&["banana"]),
            "bench banana: not known; there are --quick, --rounds"
        );
        assert_eq!(
            options("tidy", &["now"], &[]).unwrap_err().to_string(),
            "tidy now: not known; nothing may stand there"
        );
    }

    #[test]
    fn a_missing_value_is_shown_where_it_belongs() {
        assert_eq!(
            told(&["--rounds"]),
            "bench --rounds: its value is missing; write --rounds N"
        );
    }

    #[test]
    fn a_number_is_within_its_bounds_or_they_are_named() {
        assert_eq!(number("--rounds", "1", 1..=100), Ok(1));
        assert_eq!(number("--rounds", "100", 1..=100), Ok(100));
        for value in ["0", "101", "x", "-1", ""] {
            let told = number("--rounds", value, 1..=100).unwrap_err().to_string();
            assert!(told.starts_with(&format!("--rounds {value}: ")), "{told}");
            assert!(told.ends_with("allowed are 1 to 100"), "{told}");
        }
        assert!(number("--secs", "NaN", 0.1..=600.0).is_err());
    }

    #[test]
    fn only_a_program_that_does_not_understand_its_words_is_a_failure_of_words() {
        use std::os::unix::process::ExitStatusExt as _;
        let ended = |code: i32| Failure::of_program("tool", ExitStatus::from_raw(code << 8));
        assert!(matches!(ended(2), Failure::Words(_)));
        assert!(matches!(ended(1), Failure::Work(_)));
        assert!(matches!(ended(101), Failure::Work(_)));
    }
}
