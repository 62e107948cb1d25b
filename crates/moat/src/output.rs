//! What a command prints: for people, or JSON for programs.

use std::io::{self, IsTerminal, Write};

use serde_json::{Value, json};

use crate::exit::Failure;

/// Where and how a command prints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    colours: bool,
}

impl Output {
    /// JSON if it was asked for; colours only on a terminal of somebody who has not said no.
    pub(crate) fn new(json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
        Self {
            json,
            colours: !json && wanted && io::stdout().is_terminal(),
        }
    }

    /// Whether the reader is a program.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a result: `text` for people, `value` for programs.
    pub(crate) fn result(&self, text: &str, value: impl FnOnce() -> Value) {
        if self.json {
            self.raw(format!("{}\n", value()).as_bytes());
        } else {
            self.raw(format!("{}\n", text.trim_end()).as_bytes());
        }
    }

    /// Prints bytes as they are. A reader that has gone away wants no more.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(bytes).and_then(|()| stdout.flush());
    }

    /// Prints a remark that is not the result, to standard error.
    pub(crate) fn remark(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Prints why a command did not do its work, to standard error.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.json {
            let value = json!({ "errors": failure.errors, "exit": failure.exit.code() });
            self.remark(&value.to_string());
            return;
        }
        for error in &failure.errors {
            self.remark(&format!("moat: {error}"));
        }
    }

    /// Makes text stand out on a terminal.
    pub(crate) fn strong(&self, text: &str) -> String {
        if self.colours {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
