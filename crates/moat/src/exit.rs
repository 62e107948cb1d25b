//! How a command ends.

use std::process::ExitCode;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Refused or failed.
    Failed,
    /// The command line makes no sense. The parser of the command line exits with the same code.
    Usage,
    /// A configuration, policy, users or certificate file is wrong.
    BadConfiguration,
}

impl Exit {
    /// The number the shell sees; 0 is a command that has done its work.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::BadConfiguration => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command did not do its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What is wrong and what to do; several for the mistakes of a file.
    pub(crate) errors: Vec<String>,
}

impl Failure {
    /// Something was refused or failed.
    pub(crate) fn failed(error: impl ToString) -> Self {
        Self::of(Exit::Failed, [error])
    }

    /// The command line makes no sense.
    pub(crate) fn usage(error: impl ToString) -> Self {
        Self::of(Exit::Usage, [error])
    }

    /// Files of the configuration are wrong.
    pub(crate) fn configuration<E: ToString>(errors: impl IntoIterator<Item = E>) -> Self {
        Self::of(Exit::BadConfiguration, errors)
    }

    fn of<E: ToString>(exit: Exit, errors: impl IntoIterator<Item = E>) -> Self {
        let errors = errors.into_iter().map(|error| error.to_string()).collect();
        Self { exit, errors }
    }

    /// All errors as one text, for an event.
    pub(crate) fn text(&self) -> String {
        self.errors.join("; ")
    }
}
