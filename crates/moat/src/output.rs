//! What a command prints: for people, or JSON for programs.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

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

    /// A bar on standard error, if that is a terminal of a person; shown at most once in `every`.
    pub(crate) fn progress(&self, what: &'static str, every: Duration) -> Progress {
        Progress {
            what,
            every,
            is_shown: !self.json && io::stderr().is_terminal(),
            last: None,
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

/// How far something has come, for people who wait.
pub(crate) struct Progress {
    what: &'static str,
    every: Duration,
    is_shown: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Shows that `done` of `all` are done.
    pub(crate) fn show(&mut self, done: u64, all: u64) {
        let is_due = self.last.is_none_or(|last| last.elapsed() >= self.every);
        if !self.is_shown || !is_due {
            return;
        }
        self.last = Some(Instant::now());
        let _ = write!(io::stderr().lock(), "\r{}", bar(self.what, done, all));
    }

    /// Takes the bar away.
    pub(crate) fn end(&mut self) {
        if self.last.take().is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// A line of a bar.
fn bar(what: &str, done: u64, all: u64) -> String {
    const CELLS: usize = 30;
    let percent =
        usize::try_from((done.min(all) * 100).checked_div(all).unwrap_or(100)).unwrap_or(100);
    let full = percent * CELLS / 100;
    let (full, empty) = ("#".repeat(full), "-".repeat(CELLS - full));
    format!("{what} [{full}{empty}] {percent:3} % of {}", size(all))
}

/// A size in its greatest unit, with one decimal.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 3] = ["GiB", "MiB", "KiB"];
    for (unit, shift) in UNITS.into_iter().zip([30, 20, 10]) {
        if bytes >> shift > 0 {
            let tenths = (bytes >> (shift - 10)) * 10 / 1024;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

/// A duration in its two greatest units.
pub(crate) fn duration(secs: u64) -> String {
    let (days, hours, minutes) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{secs} s"),
        (0, 0, minutes) => format!("{minutes} min {} s", secs % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_its_greatest_unit() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.0 KiB");
        assert_eq!(size(1_500_000), "1.4 MiB");
        assert_eq!(size(8 << 30), "8.0 GiB");
    }

    #[test]
    fn a_duration_is_told_in_its_two_greatest_units() {
        assert_eq!(duration(7), "7 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(3 * 3600 + 60), "3 h 1 min");
        assert_eq!(duration(2 * 86_400 + 3600), "2 d 1 h");
    }

    #[test]
    fn a_bar_fills_and_never_overflows() {
        assert_eq!(
            bar("verify", 0, 2048),
            format!("verify [{}]   0 % of 2.0 KiB", "-".repeat(30))
        );
        assert_eq!(
            bar("verify", 1024, 2048),
            format!(
                "verify [{}{}]  50 % of 2.0 KiB",
                "#".repeat(15),
                "-".repeat(15)
            )
        );
        assert!(bar("verify", 9, 3).contains("100 %") && bar("verify", 0, 0).contains("100 %"));
    }
}
