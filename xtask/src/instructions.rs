//! `cargo xtask instructions`: how many instructions the hottest paths take, against the numbers in the repository.
//!
//! Time depends on who else uses the machine; what callgrind counts does not, so CI can hold a path to its number.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::build_release;
use crate::words::{self, Failure};

/// The numbers to keep to: a line per path, its name and its instructions, with a tab between.
const NUMBERS: &str = "crates/moat-paths/instructions.tsv";
/// How much more a path may take. Unit: percent.
const TOLERANCE_PERCENT: u64 = 3;
/// Passes that are counted.
const PASSES: u64 = 500;

/// Counts all paths, and compares or, with `--write`, keeps the numbers.
///
/// # Errors
/// Another word, a path that cannot be counted, or one that is not as [`check`] wants it.
pub(crate) fn run(root: &Path, words: &[&str]) -> Result<(), Failure> {
    let given = words::options("instructions", words, &[("--write", "")])?;
    let result = if given.is_empty() {
        check(root)
    } else {
        write(root)
    };
    Ok(result?)
}

/// Keeps what is counted.
fn write(root: &Path) -> Result<(), String> {
    let counted = count_all(root)?;
    std::fs::write(root.join(NUMBERS), table(&counted))
        .map_err(|error| format!("{NUMBERS}: {error}"))
}

/// Fails if a path is further from its number than [`TOLERANCE_PERCENT`].
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let counted = count_all(root)?;
    let known = std::fs::read_to_string(root.join(NUMBERS))
        .map_err(|error| format!("{NUMBERS}: {error}"))?;
    let wrong = compare(&parse(&known)?, &counted);
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nIf that is meant, say why in the commit and run: cargo xtask instructions --write",
        wrong.join("\n")
    ))
}

/// The instructions of every path.
fn count_all(root: &Path) -> Result<Vec<(String, u64)>, String> {
    let program = build(root)?;
    let mut counted = Vec::new();
    for name in names(&program)? {
        let count = count(&program, &name)?;
        println!("{count:>8}  {name}");
        counted.push((name, count));
    }
    Ok(counted)
}

/// Builds the program as it is released, with its names.
fn build(root: &Path) -> Result<PathBuf, String> {
    let with_names = ["--config", "profile.release.strip=\"none\""];
    let program = ["--package", "moat-paths", "--bin", "moat-paths"];
    let release = build_release(root, &[&with_names[..], &program].concat())?;
    Ok(release.join("moat-paths"))
}

fn names(program: &Path) -> Result<Vec<String>, String> {
    let listed = Command::new(program).output();
    let listed = listed.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let names = text.lines().filter_map(|line| line.split('\t').next());
    Ok(names.map(str::to_owned).collect())
}

/// Instructions of one pass.
fn count(program: &Path, name: &str) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg("--toggle-collect=moat_paths::counted");
    command.arg(program).args([name, &PASSES.to_string()]);
    let output = command.output();
    let output = output.map_err(|error| {
        format!("cannot run valgrind ({error}); it counts the instructions: install it")
    })?;
    let told = String::from_utf8_lossy(&output.stderr);
    let total = collected(&told).filter(|_| output.status.success());
    let total = total.ok_or_else(|| format!("{name} was not counted:\n{told}"))?;
    Ok(total / PASSES)
}

/// The number in valgrind's last words: `==1== Collected : 4711`.
fn collected(told: &str) -> Option<u64> {
    let line = told.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

fn table(counted: &[(String, u64)]) -> String {
    let mut text = String::new();
    for (name, count) in counted {
        let _written = writeln!(text, "{name}\t{count}");
    }
    text
}

fn parse(text: &str) -> Result<Vec<(String, u64)>, String> {
    let entry = |line: &str| {
        let (name, count) = line.split_once('\t')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    let lines = (1..).zip(text.lines());
    let wrong = |number: usize| format!("{NUMBERS}:{number}: not a name, a tab and a number");
    lines
        .map(|(number, line)| entry(line).ok_or_else(|| wrong(number)))
        .collect()
}

/// What takes more than it may, or is in one list only.
fn compare(known: &[(String, u64)], counted: &[(String, u64)]) -> Vec<String> {
    let of = |list: &[(String, u64)], name: &str| {
        list.iter()
            .find_map(|(other, count)| (other == name).then_some(*count))
    };
    let mut wrong = Vec::new();
    for (name, count) in counted {
        match of(known, name) {
            None => wrong.push(format!("{name}: {count} instructions, and no number in {NUMBERS}")),
            Some(known) if *count > known + known * TOLERANCE_PERCENT / 100 => wrong.push(format!(
                "{name}: {count} instructions, {known} in {NUMBERS}; allowed: {TOLERANCE_PERCENT} % more"
            )),
            Some(known) if *count < known - known * TOLERANCE_PERCENT / 100 => wrong.push(format!(
                "{name}: {count} instructions, {known} in {NUMBERS}: better, so keep it to that"
            )),
            Some(_) => {}
        }
    }
    let gone = known.iter().filter(|(name, _)| of(counted, name).is_none());
    wrong.extend(gone.map(|(name, _)| format!("{name}: in {NUMBERS}, and no path")));
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(pairs: &[(&str, u64)]) -> Vec<(String, u64)> {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn three_percent_more_is_let_through_and_one_more_is_not() {
        let known = list(&[("a", 1000)]);
        assert!(compare(&known, &list(&[("a", 1030)])).is_empty());
        assert_eq!(compare(&known, &list(&[("a", 1031)])).len(), 1);
        assert!(compare(&known, &list(&[("a", 970)])).is_empty());
        assert_eq!(compare(&known, &list(&[("a", 969)])).len(), 1);
    }

    #[test]
    fn a_path_without_a_number_and_a_number_without_a_path_are_told() {
        let wrong = compare(&list(&[("a", 1)]), &list(&[("b", 1)]));
        assert_eq!(wrong.len(), 2);
        assert!(wrong[0].starts_with("b: 1 ") && wrong[1].starts_with("a: in "));
    }

    #[test]
    fn what_was_written_is_read() {
        let counted = list(&[("qos-0", 1460), ("match", 99)]);
        assert_eq!(parse(&table(&counted)), Ok(counted));
        assert!(parse("qos-0 1").unwrap_err().contains(":1:"));
    }

    #[test]
    fn the_number_is_found_in_the_last_words() {
        assert_eq!(collected("==7== \n==7== Collected : 4711\n"), Some(4711));
        assert_eq!(collected("==7== Killed\n"), None);
    }
}
