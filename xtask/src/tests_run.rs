//! Runs tests and counts them from what the runner prints.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many tests passed and failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a test runner, shows what it prints, and counts.
///
/// # Errors
/// The runner could not be started or ended without success; the count is right in that case too.
pub(crate) fn run(mut command: Command, count: &mut Count) -> Result<(), String> {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    let counted = Mutex::new(Count::default());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        scope.spawn(|| stdout.map(|pipe| show_and_count(pipe, io::stdout(), &counted)));
        scope.spawn(|| stderr.map(|pipe| show_and_count(pipe, io::stderr(), &counted)));
    });
    let counted = counted.into_inner().unwrap_or_else(PoisonError::into_inner);
    count.add(counted);
    let status = child
        .wait()
        .map_err(|error| format!("cannot wait for {command:?}: {error}"))?;
    if status.success() {
        return Ok(());
    }
    Err(match counted.failed {
        0 => format!("the test runner failed: {status}"),
        failed => format!("{failed} tests failed"),
    })
}

fn show_and_count(pipe: impl Read, mut shown: impl Write, counted: &Mutex<Count>) {
    let mut pipe = BufReader::new(pipe);
    let mut line = Vec::new();
    while pipe.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // What cannot be shown is still counted.
        let _ = shown.write_all(&line);
        let text = String::from_utf8_lossy(&line);
        if let Some(count) = of_nextest(&text).or_else(|| of_cargo_test(&text)) {
            counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(count);
        }
        line.clear();
    }
}

/// Counts from `Summary [ 0.1s] 31 tests run: 29 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
fn of_nextest(line: &str) -> Option<Count> {
    let rest = line.trim_start().strip_prefix("Summary [")?;
    let (_, results) = rest.split_once("run: ")?;
    let of = |what: &str| -> u64 {
        results
            .split(", ")
            .filter_map(|part| part.trim().split_once(' '))
            .filter(|(_, kind)| kind.starts_with(what))
            .filter_map(|(number, _)| number.parse::<u64>().ok())
            .sum()
    };
    Some(Count {
        passed: of("passed"),
        failed: of("failed") + of("timed out") + of("exec failed"),
    })
}

/// Counts from `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
fn of_cargo_test(line: &str) -> Option<Count> {
    let (_, results) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let of = |what: &str| -> u64 {
        results
            .split("; ")
            .filter_map(|part| part.trim().split_once(' '))
            .filter(|(_, kind)| *kind == what)
            .filter_map(|(number, _)| number.parse::<u64>().ok())
            .sum()
    };
    Some(Count {
        passed: of("passed"),
        failed: of("failed"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_of_nextest_is_counted() {
        let count = |line| of_nextest(line).map(|count| (count.passed, count.failed));
        assert_eq!(
            count("     Summary [   0.163s] 30 tests run: 30 passed, 0 skipped\n"),
            Some((30, 0))
        );
        assert_eq!(
            count("     Summary [   1.106s] 1 test run: 1 passed (1 slow, 1 leaky), 2 skipped\n"),
            Some((1, 0))
        );
        assert_eq!(
            count(
                "     Summary [   9s] 13/20 tests run: 9 passed (1 flaky), 2 failed, 1 timed out, 1 exec failed, 5 skipped"
            ),
            Some((9, 4))
        );
        assert_eq!(count("     Running [ 00:00:01] 3/4: 3 passed"), None);
    }

    #[test]
    fn the_result_of_cargo_test_is_counted() {
        let count = |line| of_cargo_test(line).map(|count| (count.passed, count.failed));
        assert_eq!(
            count(
                "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n"
            ),
            Some((3, 0))
        );
        assert_eq!(
            count("test result: FAILED. 1 passed; 2 failed; 0 ignored\n"),
            Some((1, 2))
        );
        assert_eq!(count("test a::b ... ok"), None);
    }

    #[test]
    fn a_runner_that_fails_is_an_error_and_is_counted() {
        let mut count = Count::default();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo 'test result: FAILED. 4 passed; 2 failed; 0 ignored'; exit 1",
        ]);
        assert_eq!(run(command, &mut count), Err("2 tests failed".to_owned()));
        assert_eq!(
            count,
            Count {
                passed: 4,
                failed: 2
            }
        );
    }
}
