//! Errors and warnings with their place in the file.

use std::fmt;
use std::ops::Range;

/// A place in the file, both counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// One thing that is wrong. Displays as `moat.toml:12:5: what is wrong and what is allowed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named by the caller.
    pub file: String,
    /// Where, unless it concerns the whole file.
    pub position: Option<Position>,
    /// What is wrong, the value, what is allowed.
    pub message: String,
}

/// Everything that is wrong, in the order of the file; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

/// Something that is allowed but worth a second thought. Displays like a [`ConfigError`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWarning {
    /// The file as it was named by the caller.
    pub file: String,
    /// Where, unless it concerns the whole file.
    pub position: Option<Position>,
    /// What it exposes or costs.
    pub message: String,
}

impl ConfigErrors {
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        Self(vec![ConfigError {
            file: file.to_owned(),
            position: None,
            message,
        }])
    }

    /// The errors, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problem(f, &self.file, self.position, &self.message)
    }
}

impl fmt::Display for ConfigWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_problem(f, &self.file, self.position, &self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}

fn write_problem(
    f: &mut fmt::Formatter<'_>,
    file: &str,
    position: Option<Position>,
    message: &str,
) -> fmt::Result {
    match position {
        Some(Position { line, column }) => write!(f, "{file}:{line}:{column}: {message}"),
        None => write!(f, "{file}: {message}"),
    }
}

/// The most errors told at once; a file of another kind would produce thousands.
pub(crate) const ERRORS_MAX: usize = 100;

/// Collects errors and warnings while a file is read.
pub(crate) struct Problems<'t> {
    file: &'t str,
    text: &'t str,
    errors: Vec<(Range<usize>, String)>,
    warnings: Vec<(Range<usize>, String)>,
}

impl<'t> Problems<'t> {
    pub(crate) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn error(&mut self, at: Range<usize>, message: String) {
        self.errors.push((at, message));
    }

    pub(crate) fn warning(&mut self, at: Range<usize>, message: String) {
        self.warnings.push((at, message));
    }

    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// The warnings, or the errors if there is one.
    pub(crate) fn finish(mut self) -> Result<Vec<ConfigWarning>, ConfigErrors> {
        self.errors.sort_by_key(|(at, _)| at.start);
        self.warnings.sort_by_key(|(at, _)| at.start);
        let place = |at: &Range<usize>| Some(position(self.text, at.start));
        let error = |(at, message): (Range<usize>, String)| ConfigError {
            file: self.file.to_owned(),
            position: place(&at),
            message,
        };
        if !self.errors.is_empty() {
            let errors = self.errors.into_iter().take(ERRORS_MAX);
            return Err(ConfigErrors(errors.map(error).collect()));
        }
        let warning = |(at, message): (Range<usize>, String)| ConfigWarning {
            file: self.file.to_owned(),
            position: place(&at),
            message,
        };
        Ok(self.warnings.into_iter().map(warning).collect())
    }
}

/// The place of a byte offset.
fn position(text: &str, offset: usize) -> Position {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Position {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or("").chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let text = "ä = 1\nüü = 2\n";
        let at = |offset| position(text, offset);
        assert_eq!(at(0), Position { line: 1, column: 1 });
        assert_eq!(at(3), Position { line: 1, column: 3 });
        assert_eq!(at(text.find('2').unwrap()), Position { line: 2, column: 6 });
        assert_eq!(at(text.len()), Position { line: 3, column: 1 });
    }

    #[test]
    fn no_more_errors_are_told_than_a_person_reads() {
        let mut problems = Problems::new("moat.toml", "");
        for _ in 0..=ERRORS_MAX {
            problems.error(0..0, "wrong".to_owned());
        }
        assert_eq!(problems.finish().unwrap_err().0.len(), ERRORS_MAX);
    }
}
