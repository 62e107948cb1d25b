//! `cargo xtask hostile` and `cargo xtask fume`: builds the program and its attackers for release, and lets them loose on it.

use std::path::Path;
use std::process::Command;

use crate::cargo::{build_release, end_of};
use crate::words::{self, Failure, Known};

/// The options of `fume`.
const FUME: &[Known] = &[
    ("--minutes", "N"),
    ("--seed", "S"),
    ("--first", "BATCH"),
    ("--batches", "N"),
];
/// The longest time `fume` may take: a week.
const MINUTES_MAX: u64 = 7 * 24 * 60;

/// Makes the attacks with `words` in their name, or all.
///
/// # Errors
/// More than one word or no such attack; something does not build, or the tool has found something wrong and said so.
pub(crate) fn hostile(root: &Path, words: &[&str]) -> Result<(), Failure> {
    if words.len() > 1 || words.iter().any(|word| word.starts_with('-')) {
        return Err(Failure::Words(format!(
            "hostile {}: not known; write at most one part of the name of an attack",
            words.join(" ")
        )));
    }
    run(root, "hostile", words)
}

/// Sends broken sessions.
///
/// # Errors
/// A word that is no option, or a value that does not fit; something does not build, or the tool has found something wrong and said so.
pub(crate) fn fume(root: &Path, words: &[&str]) -> Result<(), Failure> {
    for (name, value) in words::options("fume", words, FUME)? {
        let allowed = match name {
            "--minutes" => 1..=MINUTES_MAX,
            "--batches" => 1..=u64::MAX,
            _ => 0..=u64::MAX,
        };
        words::number(name, value, allowed)?;
    }
    run(root, "fume", words)
}

/// Builds `moat` and the example of `moat-testkit` called `tool`, and runs it with the program and `words`.
fn run(root: &Path, tool: &str, words: &[&str]) -> Result<(), Failure> {
    build_release(root, &["-p", "moat"])?;
    let release = build_release(root, &["-p", "moat-testkit", "--example", tool])?;
    let mut run = Command::new(release.join("examples").join(tool));
    run.arg(release.join("moat")).args(words);
    let status = end_of(run.current_dir(root))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::of_program(tool, status))
}
