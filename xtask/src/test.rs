//! `cargo xtask test`: everything CI checks, each step with its duration, the number of tests at the end.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cargo::{cargo, succeed};
use crate::tests_run::{self, Count};
use crate::{foreign, generate, install, instructions, tidy};

/// Crates that must not be linked: one crypto provider, no OpenSSL, nothing unmaintained.
const FORBIDDEN_CRATES: &[&str] = &["ring", "openssl-sys", "native-tls", "rustls-pemfile"];

/// Runs every step, those after a failed one too, so that one run tells everything.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut steps = Steps::default();
    let cargo = |arguments: &str| {
        let mut command = cargo(root);
        command.args(arguments.split(' '));
        command
    };
    steps.step("format", || succeed(&mut cargo("fmt --all --check")));
    steps.step("lints", || {
        succeed(&mut cargo(
            "clippy --quiet --workspace --all-targets -- -D warnings",
        ))
    });
    steps.step("tidy", || tidy::run(root));
    steps.step("generated files", || generate::check(root));
    steps.step("docs", || {
        let mut doc = cargo("doc --quiet --workspace --no-deps");
        succeed(doc.env("RUSTDOCFLAGS", "-D warnings"))
    });
    steps.step("providers", || {
        FORBIDDEN_CRATES
            .iter()
            .try_for_each(|name| is_not_linked(name, cargo))
    });
    // The tests speak to Debian's mosquitto, as a client and as a second opinion.
    steps.step("MQTT clients", || install::run(install::FOR_TESTS));
    steps.step("instructions", || instructions::check(root));
    if has_nextest(cargo) {
        // The same build serves both: only the filter differs.
        let nextest = "nextest run --workspace --no-fail-fast --status-level fail -E";
        steps.tests("tests", nextest_of(cargo(nextest), "not package(moat)"));
        let mut durable = nextest_of(cargo(nextest), "package(moat-core)");
        durable.env("MOAT_TEST_STORE", "1");
        steps.tests("core with a store", durable);
        steps.tests("tests of the docs", cargo("test --quiet --workspace --doc"));
        steps.tests("end to end", nextest_of(cargo(nextest), "package(moat)"));
    } else {
        steps.tests(
            "tests and end to end",
            cargo("test --quiet --workspace --no-fail-fast"),
        );
    }
    // Last, since it needs the program that the end to end tests have built.
    steps.counted("foreign clients", |count| foreign::run_all(root, count));
    steps.finish()
}

/// What happened so far.
#[derive(Default)]
struct Steps {
    count: Count,
    failed: Vec<&'static str>,
}

impl Steps {
    fn step(&mut self, name: &'static str, run: impl FnOnce() -> Result<(), String>) {
        println!("==> {name}");
        let start = Instant::now();
        let result = run();
        let secs = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("==> {name}: ok, {secs:.1} s"),
            Err(message) => {
                self.failed.push(name);
                println!("{message}\n==> {name}: FAILED, {secs:.1} s");
            }
        }
    }

    fn tests(&mut self, name: &'static str, command: Command) {
        self.counted(name, |count| tests_run::run(command, count));
    }

    fn counted(&mut self, name: &'static str, run: impl FnOnce(&mut Count) -> Result<(), String>) {
        let mut count = Count::default();
        self.step(name, || run(&mut count));
        self.count.add(count);
        // Its failed tests are counted one by one, so the step itself is not.
        if count.failed > 0 {
            self.failed.pop();
        }
    }

    fn finish(self) -> Result<(), String> {
        if !self.failed.is_empty() {
            println!("failed: {}", self.failed.join(", "));
        }
        let failed_steps = u64::try_from(self.failed.len()).unwrap_or(u64::MAX);
        let failed = self.count.failed + failed_steps;
        let line = format!("{} passed, {failed} failed", self.count.passed);
        if failed > 0 {
            return Err(line);
        }
        println!("{line}");
        Ok(())
    }
}

fn nextest_of(mut command: Command, filter: &str) -> Command {
    command.arg(filter);
    command
}

fn has_nextest(cargo: impl Fn(&str) -> Command) -> bool {
    cargo("nextest --version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Fails if a crate is linked into anything of the workspace.
fn is_not_linked(name: &str, cargo: impl Fn(&str) -> Command) -> Result<(), String> {
    let mut tree = cargo("tree --workspace --all-features -i");
    let output = tree
        .arg(name)
        .output()
        .map_err(|error| format!("cannot run {tree:?}: {error}"))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    let is_absent =
        complaint.contains("did not match any packages") || complaint.contains("nothing to print");
    if is_absent && output.stdout.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{name} must not be linked, but:\n{}{complaint}",
        String::from_utf8_lossy(&output.stdout)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_last_line_has_the_sum_of_all_tests() {
        let mut steps = Steps::default();
        steps.tests("a", shell("echo 'test result: ok. 3 passed; 0 failed'"));
        steps.tests(
            "b",
            shell("echo '  Summary [ 1s] 4 tests run: 4 passed, 0 skipped' >&2"),
        );
        assert_eq!(
            steps.count,
            Count {
                passed: 7,
                failed: 0
            }
        );
        assert_eq!(steps.finish(), Ok(()));
    }

    #[test]
    fn a_failed_step_is_a_failure_even_if_all_tests_pass() {
        let mut steps = Steps::default();
        steps.step("lints", || Err("a warning".to_owned()));
        steps.tests("a", shell("echo 'test result: ok. 3 passed; 0 failed'"));
        assert_eq!(steps.finish(), Err("3 passed, 1 failed".to_owned()));
    }

    #[test]
    fn tests_that_do_not_build_are_a_failure() {
        let mut steps = Steps::default();
        steps.tests("a", shell("exit 101"));
        assert_eq!(steps.finish(), Err("0 passed, 1 failed".to_owned()));
    }

    #[test]
    fn failed_tests_are_counted_once() {
        let mut steps = Steps::default();
        steps.tests(
            "a",
            shell("echo 'test result: FAILED. 1 passed; 2 failed'; exit 1"),
        );
        assert_eq!(steps.finish(), Err("1 passed, 2 failed".to_owned()));
    }

    #[test]
    fn a_linked_crate_is_found_and_another_error_is_no_pass() {
        let linked = |_: &str| shell("echo 'ring v0.17'");
        assert!(is_not_linked("ring", linked).is_err());
        let broken = |_: &str| shell("echo 'no lock file' >&2; exit 101");
        assert!(is_not_linked("ring", broken).is_err());
        let absent =
            |_: &str| shell("echo 'error: `ring` did not match any packages' >&2; exit 101");
        assert_eq!(is_not_linked("ring", absent), Ok(()));
    }
}
